"""A real systemd in a box: booted from this machine's own files in about a second, and gone without a trace.

Owns the client's side: what can be run inside, as whom, and what a new installation of ours looks like there. The box
sees the host's files and can change none of them; its network is a loopback of its own.
"""

import importlib.metadata
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from .. import wheel
from . import keeper

HERE = Path(__file__).resolve().parent
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
PYTHON = "/opt/python"  # where the interpreter of the tests lies inside, if others cannot reach it where it is
HR = "/opt/hr"  # a venv that everybody can read, as `pipx install --global` makes one
WHEELS = "/opt/wheels"
WAIT_S = 60.0
TOOLS = (
    "unshare",
    "nsenter",
    "setpriv",
    "ip",
    "mount",
    "systemctl",
    "journalctl",
    "loginctl",
    "dbus-daemon",
    "useradd",
)


class Ran(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


def absent() -> str:
    """Why no box can be made here; empty where one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a box needs Linux and root"
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        return f"a box needs {', '.join(missing)} (Debian: systemd dbus-user-session libpam-systemd)"
    if not any(Path(p, "systemd", "systemd").exists() for p in ("/lib", "/usr/lib")):
        return "a box needs systemd"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "a box needs overlayfs"
    if keeper.hierarchy() is None:
        return "a box needs a cgroup2 hierarchy that can be written"
    return ""


class Box:
    """One box. Use as a context manager; `start` boots it, and again after `stop` from the same disk."""

    def __init__(self) -> None:
        scratch = Path(tempfile.mkdtemp(prefix="hr-box-"))  # the keeper removes it
        scratch.chmod(0o755)
        self.folder = scratch / "box"
        self.folder.mkdir()
        self.leader = 0
        self.booted_at = 0.0
        self.wheels = scratch / "wheels"
        self.wheels.mkdir()
        binds = [f"{self.wheels}={WHEELS}", f"{HERE.parent.parent}=/opt/tree"]
        self.python = sys.executable
        base = Path(sys.base_prefix).resolve()
        if reachable(base):
            self.python = str(base / "bin" / f"python3.{sys.version_info.minor}")
        else:
            binds.append(f"{base}={PYTHON}")
            self.python = f"{PYTHON}/bin/python3.{sys.version_info.minor}"
        words = ["unshare", "--mount", "--propagation", "private", sys.executable, "-S", str(HERE / "keeper.py")]
        self._keeper = subprocess.Popen(
            [*words, str(self.folder), *binds],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and wait until nothing of it is left."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait(30)
        if self._keeper.stdout is not None:
            self._keeper.stdout.close()

    def _ask(self, word: str) -> dict[str, Any]:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(f"{word}\n")
        self._keeper.stdin.flush()
        line = self._keeper.stdout.readline()
        if not line:
            raise RuntimeError("the box's keeper ended")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise RuntimeError(said["error"])
        return said

    # --- its life -----------------------------------------------------------------------------------

    def power_on(self) -> None:
        """Boot, and return once there is a systemd that boots."""
        said = self._ask("start")
        self.leader, self.booted_at = said["pid"], said["at"]

    def start(self) -> None:
        """Boot, and return once everything is up."""
        self.power_on()
        self.until(lambda: self.run("systemctl", "is-system-running").out.strip() in {"running", "degraded"})
        found = self.path("/etc/ld.so.conf.d/000-box.conf")
        if self.python.startswith(PYTHON) and not found.exists():
            found.write_text(
                f"{PYTHON}/lib\n"
            )  # a shared libpython is looked for where others may not go, and then here
            self.check("ldconfig")

    def stop(self) -> None:
        """Power off as a person would: every service is asked to end."""
        self._ask("stop")

    def kill(self) -> None:
        """Pull the plug."""
        self._ask("kill")

    def reboot(self) -> None:
        self.stop()
        self.start()

    def until(self, true: Callable[[], Any], *, wait_s: float = 30.0, what: str = "") -> Any:
        """Look until it is so. Raises AssertionError with what the journal says."""
        deadline = time.monotonic() + wait_s
        while not (found := true()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{what or true} not within {wait_s} s\n{self.journal()}")
            time.sleep(0.03)
        return found

    # --- what is done in it ---------------------------------------------------------------------------

    def argv(self, words: Sequence[str], user: str = "root", env: Mapping[str, str] | None = None) -> list[str]:
        """The command that runs these words inside, in a bare shell's environment."""
        home, uid = "/root", 0
        if user != "root":
            uid, home = self.who(user)
        given = {
            "PATH": PATH,
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            **(env or {}),
        }
        drop = [] if user == "root" else ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--init-groups"]
        enter = ["nsenter", "-t", str(self.leader), "-p", "-m", "-i", "-u", "-n", "-C", "-r", "-w"]
        return [*enter, "--", "env", "-i", "-C", home, *(f"{k}={v}" for k, v in given.items()), *drop, *words]

    def run(
        self,
        *words: str,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        given: str = "",
        wait_s: float = WAIT_S,
    ) -> Ran:
        """Run to its end."""
        done = subprocess.run(
            self.argv(words, user, env), input=given, capture_output=True, text=True, timeout=wait_s, check=False
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def check(self, *words: str, **more: Any) -> str:
        """Run, and it must have worked."""
        done = self.run(*words, **more)
        assert done.code == 0, (words, done, self.journal())
        return done.out

    def spawn(self, *words: str, user: str = "root", env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """Run beside us."""
        return subprocess.Popen(
            self.argv(words, user, env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def hr(self, *words: str, user: str = "hermes", **more: Any) -> Ran:
        """Run `hr`."""
        return self.run(f"{HR}/bin/hr", *words, user=user, **more)

    def path(self, inside: str) -> Path:
        """A file inside, as this process reaches it. Not through absolute links."""
        return Path(f"/proc/{self.leader}/root{inside}")

    def put(self, inside: str, text: str, *, mode: int = 0o644, user: str = "root") -> None:
        """A file of this text."""
        place = self.path(inside)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)
        uid = 0 if user == "root" else self.who(user)[0]
        os.chown(place, uid, uid)

    def journal(self, *words: str, lines: int = 30) -> str:
        """The last of the journal."""
        return self.run("journalctl", "--no-pager", "-q", "-n", str(lines), "-o", "short-precise", *words).all

    # --- what is in it --------------------------------------------------------------------------------

    def who(self, user: str) -> tuple[int, str]:
        """The uid and home of a user of the box."""
        for line in self.path("/etc/passwd").read_text().splitlines():
            name, _, uid, _, _, home, *_ = line.split(":")
            if name == user:
                return int(uid), home
        raise KeyError(user)

    def add_user(self, name: str = "hermes", *, lingers: bool = False) -> None:
        """A person."""
        self.check("useradd", "-m", "-s", "/bin/bash", name)
        if lingers:
            self.check("loginctl", "enable-linger", name)
            uid = self.who(name)[0]
            self.until(lambda: self.path(f"/run/user/{uid}/bus").exists(), what="the user's manager")

    def install(self, venv: str = HR, *, user: str = "root", file: Path | None = None) -> None:
        """A venv with our wheel and what it needs, the interpreter being that of the tests: no index is asked."""
        place = self.path(venv)
        site = place / f"lib/python3.{sys.version_info.minor}/site-packages"
        site.mkdir(parents=True)
        (place / "bin").mkdir()
        (place / "bin/python").symlink_to(self.python)
        (place / "bin/python3").symlink_to("python")
        (place / "pyvenv.cfg").write_text(f"home = {Path(self.python).parent}\ninclude-system-site-packages = false\n")
        for dist in needed():
            for entry in dist.files or ():
                if ".." not in entry.parts and not entry.is_absolute():
                    target = site / entry
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(str(dist.locate_file(entry)), target)
        self.pip(venv, file or wheel.built())
        if user != "root":
            self.check("chown", "-R", f"{user}:", venv)

    def pip(self, venv: str, file: Path) -> None:
        """Install this wheel."""
        self.check(f"{venv}/bin/python", "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-cache-dir",
                   "--root-user-action=ignore", "--disable-pip-version-check", self.wheel(file))  # fmt: skip

    def wheel(self, file: Path) -> str:
        """The wheel's path inside."""
        if not (self.wheels / file.name).exists():
            shutil.copy(file, self.wheels / file.name)
            (self.wheels / file.name).chmod(0o644)
        return f"{WHEELS}/{file.name}"


def reachable(path: Path) -> bool:
    """Whether everybody may go there."""
    return all(step.stat().st_mode & 0o001 for step in (path, *path.parents))


def needed() -> Iterator[importlib.metadata.Distribution]:
    """What our wheel needs, as installed here, and pip."""
    seen: set[str] = set()
    todo = ["hermes-router", "pip"]
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            dist = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system or Python
        todo += [re.match(r"[\w.-]+", one)[0] for one in dist.requires or () if "extra ==" not in one]  # type: ignore[index]
        if name != "hermes-router":
            yield dist


def nobody() -> str:
    """A user that every machine has."""
    return pwd.getpwnam("nobody").pw_name
