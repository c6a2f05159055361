"""A process whose parent is the service manager, though we start it: so its end is noticed, whoever else has ended.

Owns the fork between, and the handle by which such a process is signalled: a descriptor, since its number could be
another's by then. It must never know what the process is for.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

__all__ = ["Orphan", "bear"]

# Starts the process, tells its number, and ends once told that it was heard: until then the number is nobody else's.
_BETWEEN: Final = """
import os, sys
told = int(sys.argv[1])
pid = os.fork()
if pid:
    os.write(told, b"%d" % pid)
    os.close(told)
    os.read(0, 1)
    os._exit(0)
os.close(told)
os.dup2(os.open(os.devnull, os.O_RDWR), 0)
os.execv(sys.argv[2], sys.argv[2:])
"""
_LIMIT_S: Final = 10.0


class Orphan:
    """A process that is not our child, as far as we can speak of it; like Popen, without its result."""

    stderr = None  # it has ours

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd: int | None = os.pidfd_open(pid)

    def send_signal(self, number: int) -> None:
        """Signal it; nothing happens once it has ended."""
        if self._fd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    def kill(self) -> None:
        """End it now."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int | None:
        """Return when it has ended; how, its parent knows. Raises subprocess.TimeoutExpired."""
        if self._fd is not None:
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            if not poll.poll(None if timeout is None else timeout * 1_000):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            os.close(self._fd)
            self._fd = None
        return None

    def poll(self) -> int | None:
        """Let go of it where it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return None


def bear(argv: Sequence[str], *, pass_fds: Sequence[int], environ: Mapping[str, str]) -> Orphan:
    """Start it; it inherits these descriptors, by their numbers, and our standard output and error. Raises OSError.

    Blocks for the time that an interpreter takes to start, ten seconds at most.
    """
    reader, writer = os.pipe()
    try:
        between = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-I", "-S", "-c", _BETWEEN, str(writer), *argv],
            pass_fds=(*pass_fds, writer),
            stdin=subprocess.PIPE,
            env=dict(environ),
        )
    except OSError:
        os.close(reader)
        raise
    finally:
        os.close(writer)
    try:
        heard, _, _ = select.select([reader], [], [], _LIMIT_S)
        said = os.read(reader, 32) if heard else b""
        if not said.isdigit():
            between.kill()
            raise OSError(0, "no process could be made")
        return Orphan(int(said))
    finally:
        os.close(reader)
        assert between.stdin is not None
        between.stdin.close()
        try:
            between.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            between.kill()
            between.wait()
