"""The process that a box hangs on: it boots one and ends it, and takes everything with it when it goes.

Runs as `unshare --mount python keeper.py FOLDER [HOST=INSIDE...]`, so that every mount is its own and vanishes with it.
It reads commands from standard input, a line each (`start`, `stop`, `kill`), and answers each with a line of JSON. When
its standard input closes, however its parent ended, the box is killed and its cgroup removed.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "hr-box-"
BOOT_S, HALT_S = 30.0, 100.0
_POWEROFF = signal.SIGRTMIN + 4
_DEATHSIG = 1


def hierarchy() -> Path | None:
    """Where cgroup2 is mounted, if it can be written."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(place)
    return None


def sweep(top: Path) -> None:
    """Take away cgroups of boxes whose keepers are gone."""
    for old in top.glob(f"{NAME}*"):
        if not Path("/proc", old.name.removeprefix(NAME)).exists():
            remove(old)


def remove(group: Path) -> None:
    deadline = time.monotonic() + 5
    while group.exists() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(folder).rmdir()
        if group.exists():
            with suppress(OSError):
                (group / "cgroup.kill").write_text("1")
            time.sleep(0.02)


class Keeper:
    """One box, up or down."""

    def __init__(self, folder: Path, binds: list[str]) -> None:
        self.folder, self.binds = folder, binds
        self.shell: subprocess.Popen[bytes] | None = None
        top = hierarchy()
        if top is None:
            raise SystemExit("no cgroup2 hierarchy that can be written")
        sweep(top)
        self.group = top / f"{NAME}{os.getpid()}"
        self.group.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder)], check=True)
        for name in ("upper", "work", "root"):
            (folder / name).mkdir()

    def start(self) -> dict[str, object]:
        began = time.monotonic()
        with (self.folder / "console.log").open("ab") as console:
            self.shell = subprocess.Popen(
                ["unshare", "--pid", "--mount", "--ipc", "--uts", "--cgroup", "--net", "--fork", "--kill-child",
                 sys.executable, str(HERE / "inside.py"), str(self.folder), *self.binds],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True, preexec_fn=self._enter,  # noqa: PLW1509 - there are no threads
            )  # fmt: skip
        leader = None
        while time.monotonic() - began < BOOT_S and self.shell.poll() is None:
            leader = leader or next(children(self.shell.pid), None)
            if leader is not None and is_systemd(leader):
                return {"pid": leader, "at": time.time()}
            time.sleep(0.005)
        return {"error": f"it did not boot: {(self.folder / 'console.log').read_text(errors='replace')[-800:]}"}

    def _enter(self) -> None:
        ctypes.CDLL(None).prctl(_DEATHSIG, signal.SIGKILL)
        (self.group / "cgroup.procs").write_text(str(os.getpid()))

    def stop(self) -> dict[str, object]:
        """Power off, as a person would."""
        if self.shell is None:
            return {}
        for leader in children(self.shell.pid):
            with suppress(ProcessLookupError):
                os.kill(leader, _POWEROFF)
        with suppress(subprocess.TimeoutExpired):
            self.shell.wait(HALT_S)
        return self.kill()

    def kill(self) -> dict[str, object]:
        """Pull the plug."""
        if self.shell is not None:
            for leader in children(self.shell.pid):
                with suppress(ProcessLookupError):
                    os.kill(leader, signal.SIGKILL)
            self.shell.kill()
            self.shell.wait()
            self.shell = None
        return {}

    def close(self) -> None:
        self.kill()
        remove(self.group)
        subprocess.run(["umount", "-l", str(self.folder)], check=False)
        shutil.rmtree(self.folder.parent, ignore_errors=True)  # FOLDER is one of several in a place of the box's own


def children(pid: int) -> Iterator[int]:
    """The processes that have this parent."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, IndexError, ValueError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    yield int(entry.name)


def is_systemd(pid: int) -> bool:
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "comm").read_text().strip() == "systemd"
    return False


def main() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end comes over standard input
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    keeper = Keeper(Path(sys.argv[1]), sys.argv[2:])
    try:
        for line in sys.stdin:
            print(json.dumps(getattr(keeper, line.strip())()), flush=True)
    finally:
        keeper.close()


if __name__ == "__main__":
    main()
