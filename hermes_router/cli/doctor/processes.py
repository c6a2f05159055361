"""Who runs here: processes, and who of them listens on a port.

Owns the reading of /proc, and of `lsof` where there is none. Of a command line only the program is kept: what follows
it may be a secret.
"""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from hermes_router.cli.original import install as original

__all__ = ["Holder", "Process", "daemons", "is_original", "listeners", "originals"]

_LISTENS: Final = "0A"  # the state of a socket in /proc/net/tcp
_LSOF_S: Final = 4.0
_PYTHON: Final = re.compile(r"python[0-9.]*$|pypy[0-9.]*$")
_OURS: Final = "hermes_router.daemon"


class Process(NamedTuple):
    """One process. `program` is the file that it runs, and of an interpreter also the script or the module."""

    pid: int
    uid: int
    program: str
    cwd: str = ""


class Holder(NamedTuple):
    """Who listens at an address. `process` None = the system tells the user only; `uid` None = not even that."""

    address: str
    uid: int | None
    process: Process | None


def listeners(port: int, proc: Path = Path("/proc")) -> list[Holder]:
    """Everyone who listens on this TCP port."""
    if not (proc / "net" / "tcp").exists():
        return _by_lsof(port)
    held = {**_held(proc / "net" / "tcp", port), **_held(proc / "net" / "tcp6", port)}
    if not held:
        return []
    owners = _owners(proc, set(held))
    return [Holder(address, uid, owners.get(inode)) for inode, (address, uid) in held.items()]


def _held(table: Path, port: int) -> dict[str, tuple[str, int]]:
    """Inodes of listening sockets on this port, each with its address and its user."""
    found: dict[str, tuple[str, int]] = {}
    with suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            address, _, number = fields[1].partition(":")
            if fields[3] == _LISTENS and int(number, 16) == port:
                found[fields[9]] = (_address(address), int(fields[7]))
    return found


def _address(text: str) -> str:
    """`0100007F` is 127.0.0.1: words of four bytes, each in the machine's order."""
    words = [bytes.fromhex(text[at : at + 8]) for at in range(0, len(text), 8)]
    raw = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def _owners(proc: Path, inodes: set[str]) -> dict[str, Process]:
    """The processes that hold these sockets, as far as we may look into them."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, Process] = {}
    for entry in _processes(proc):
        with suppress(OSError):
            for descriptor in (entry / "fd").iterdir():
                with suppress(OSError):
                    inode = wanted.get(os.readlink(descriptor))  # noqa: PTH115 - the link leads to no file
                    if inode is not None and inode not in found:
                        found[inode] = _process(entry)
    return found


def _processes(proc: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (entry for entry in proc.iterdir() if entry.name.isdecimal())


def _process(entry: Path) -> Process:
    cwd = ""
    with suppress(OSError):
        cwd = os.readlink(entry / "cwd")  # noqa: PTH115 - it need not exist any longer
    return Process(int(entry.name), entry.stat().st_uid, _program((entry / "cmdline").read_bytes()), cwd)


def _program(raw: bytes) -> str:
    """What runs: `python router.py`, `python -m flask`, `nginx`; no other argument."""
    argv = [one.decode(errors="replace") for one in raw.split(b"\0") if one]
    if not argv:
        return ""
    said = argv[0].rpartition("/")[2]
    if not _PYTHON.search(said):
        return said.partition(" ")[0].rstrip(":")
    rest = iter(argv[1:])
    for one in rest:
        if one == "-m":
            return f"{said} -m {next(rest, '')}"
        if one == "-c":
            return said
        if not one.startswith("-"):
            return f"{said} {one}"
    return said


def _by_lsof(port: int) -> list[Holder]:
    """macOS: `lsof` says it of our own processes, and as root of all."""
    try:
        done = subprocess.run(  # noqa: S603 - a number, and words of ours
            ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpcun"],  # noqa: S607 - wherever it lies
            capture_output=True, timeout=_LSOF_S, check=False, text=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    found: list[Holder] = []
    pid, uid, program = 0, 0, ""
    for line in done.stdout.splitlines():
        kind, said = line[:1], line[1:]
        if kind == "p":
            pid = int(said)
        elif kind == "c":
            program = said
        elif kind == "u":
            uid = int(said)
        elif kind == "n":
            found.append(Holder(said.rpartition(":")[0].strip("[]"), uid, Process(pid, uid, program)))
    return found


# --- routers that run beside ours ------------------------------------------------------------------------


def daemons(proc: Path = Path("/proc")) -> list[tuple[Process, str]]:
    """The daemons of hermes-router on this machine with their homes; a home that we may not see is empty."""
    found: list[tuple[Process, str]] = []
    for entry in _processes(proc):
        with suppress(OSError):
            raw = (entry / "cmdline").read_bytes()
            argv = raw.split(b"\0")
            if _OURS.encode() in argv and b"--control-only" not in argv:
                found.append((_process(entry), _home(entry)))
    return found


def _home(entry: Path) -> str:
    with suppress(OSError):
        for pair in (entry / "environ").read_bytes().split(b"\0"):
            if pair.startswith(b"HOME="):
                return pair[5:].decode(errors="replace")
    return ""


def originals(proc: Path = Path("/proc")) -> list[Process]:
    """Processes that run the original hermes-router, as `hr auth import` sees them."""
    found = []
    for one in original.processes(proc):
        if original.home_of(one) is not None:
            program = _program(b"\0".join(map(os.fsencode, one.argv)))
            found.append(Process(one.pid, one.uid, program, str(one.cwd or "")))
    return found


def is_original(one: Process) -> bool:
    """Whether this process runs the original router."""
    cwd = Path(one.cwd) if one.cwd else None
    return original.home_of(original.Process(one.pid, one.program.split(" ", 1), cwd, one.uid)) is not None
