"""hermes_router/cli/doctor/processes.py: who runs, and who listens."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

import pytest

from hermes_router.cli.doctor.processes import daemons, is_original, listeners, originals
from hermes_router.cli.original.install import runs

_LISTEN = (
    "import socket, sys\n"
    "s = socket.socket()\n"
    "s.bind(('127.0.0.1', 0))\n"
    "s.listen()\n"
    "print(s.getsockname()[1], flush=True)\n"
    "sys.stdin.read()\n"
)


class OldRouter:
    """A process that looks like the original router: `python router.py`, run in its own directory."""

    def __init__(self, folder: Path, *, name: str = "router.py") -> None:
        self._folder = folder
        self._name = name

    def __enter__(self) -> Self:
        self._folder.mkdir()
        (self._folder / self._name).write_text(_LISTEN)
        self._process = subprocess.Popen(
            [sys.executable, self._name, "--secret", "sk-canary"],
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.pid = self._process.pid
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.communicate("")


def test_both_families_are_seen() -> None:
    """A port on ::1 is as taken as one on 127.0.0.1; another port is not."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as holder:
            holder.bind((address, 0))
            number = holder.getsockname()[1]
            assert [one for one in listeners(number) if one.address == address] == []  # bound, and not listening
            holder.listen()
            (found,) = listeners(number)
        assert found.address == address
        assert found.uid == os.geteuid()
        assert found.process is not None
        assert found.process.pid == os.getpid()


def test_no_argument_of_a_program_is_told(tmp_path: Path) -> None:
    """It may be a secret: an interpreter's script is all that is kept."""
    with OldRouter(tmp_path / "somewhere", name="serve.py") as other:
        (found,) = listeners(other.port)
        assert found.process is not None
        assert found.process.program.endswith(" serve.py")
        assert "canary" not in str(found)


def test_the_original_is_known_by_its_directory(tmp_path: Path) -> None:
    """A router.py that lies beside other things is somebody else's; the doctor and the import see the same."""
    with OldRouter(tmp_path / "network-lab") as other:
        assert other.pid not in {one.pid for one in originals()}
        (tmp_path / "network-lab" / "auth.json").write_text('{"providers": {}}')
        assert other.pid in {one.pid for one in originals()}
        assert runs([]) != ""
        (found,) = listeners(other.port)
        assert found.process is not None
        assert is_original(found.process)
        assert "canary" not in str(originals())


def test_a_process_that_is_not_seen_into_is_known_by_its_user(tmp_path: Path) -> None:
    """As for another user's: the table of sockets says whose it is."""
    net = tmp_path / "net"
    net.mkdir()
    line = "   0: 0100007F:207F 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1500        0 4242 1"
    (net / "tcp").write_text(f"  sl  local_address ...\n{line}\n")
    (found,) = listeners(8319, tmp_path)
    assert (found.address, found.uid, found.process) == ("127.0.0.1", 1500, None)
    assert listeners(8320, tmp_path) == []


def test_daemons_of_ours_are_found_by_their_module(tmp_path: Path) -> None:
    """Not a shell that has the name in a longer word."""
    for pid, raw in ((1, b"python\0-m\0hermes_router.daemon\0"), (2, b"grep\0hermes_router.daemon.x\0")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_bytes(raw)
    assert [one.pid for one, _ in daemons(tmp_path)] == [1]


def test_where_there_is_no_proc_lsof_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, by a fake of it: its fields in their order; without it nothing is known."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert listeners(8319, tmp_path) == []
    fake = tmp_path / "lsof"
    fake.write_text("#!/bin/sh\nprintf 'p77\\ncnode\\nu501\\nf12\\nn127.0.0.1:8319\\nf13\\nn[::1]:8319\\n'\n")
    fake.chmod(0o755)
    found = listeners(8319, tmp_path)
    assert [(one.address, one.uid) for one in found] == [("127.0.0.1", 501), ("::1", 501)]
    assert found[0].process is not None
    assert (found[0].process.pid, found[0].process.program) == (77, "node")
