"""Where log lines go: a descriptor that may be full, closed or a terminal, and must never stop the daemon.

Owns the write. A line that cannot be taken at once is lost, counted and said later, since a reader who stopped reading
(a pager, a pipe) would otherwise stop every request. It must never know what a line says.
"""

import os
import select
import stat
import threading
from collections.abc import Callable

_PIECE = select.PIPE_BUF  # what a writable pipe takes without blocking
_MOST_HELD = 32_768  # characters


class Outlet:
    """A text stream over a descriptor; `write` and `flush` never raise and, files apart, never block."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._later: Callable[[], object] | None = None
        self._held: list[str] = []
        self._held_chars = 0
        self._own = _own_terminal(fd)
        self.lost_line: Callable[[int], str] = "{} log lines were lost".format
        self._may_block = not _is_file(fd)
        self._torn = False  # half a line is out
        self._lock = threading.Lock()
        self.lost = 0

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._fd)

    def write(self, text: str) -> int:
        """Write whole lines, or lose them. From any thread."""
        with self._lock:
            if self._later is not None and threading.get_ident() == self._home:
                self._hold(text)
            else:
                self._bring_out(text)
        return len(text)

    def gather(self, later: Callable[[Callable[[], None]], object]) -> None:
        """From now on lines of this thread go into a file together, since each write costs as much as its line.

        `later` calls what it is given a moment later, on this thread: `flush`. What a kill in that moment costs is that
        moment's lines. Where anybody may be reading along (a pipe, the journal, a terminal), nothing is held.
        """
        if not self._may_block:
            self._home = threading.get_ident()
            self._later = lambda: later(self.flush)

    def flush(self) -> None:
        """Hold nothing back."""
        with self._lock:
            self._bring_out("")

    def _hold(self, text: str) -> None:
        if not self._held and self._later is not None:
            self._later()
        self._held.append(text)
        self._held_chars += len(text)
        if self._held_chars > _MOST_HELD:
            self._bring_out("")

    def _bring_out(self, text: str) -> None:
        """Write what is held, and then this."""
        lines = 1 if text else 0
        if self._held:
            lines += len(self._held)
            text = "".join(self._held) + text
            self._held.clear()
            self._held_chars = 0
        if lines:
            self._out(text, lines)

    def _out(self, text: str, lines: int) -> None:
        before = f"{self.lost_line(self.lost)}\n" if self.lost else ""
        if self._put((before + text).encode("utf-8", "backslashreplace")):
            self.lost = 0
        else:
            self.lost += lines

    def _put(self, data: bytes) -> bool:
        if self._torn:
            data = b"\n" + data
        whole = len(data)
        fd = self._fd if self._own is None else self._own
        try:
            while data:
                if self._may_block and not select.select([], [fd], [], 0)[1]:
                    break
                data = data[os.write(fd, data[:_PIECE] if self._may_block else data) :]
        except (OSError, ValueError):
            pass
        if len(data) < whole:
            self._torn = bool(data)
        return not data


def _own_terminal(fd: int) -> int | None:
    """The terminal behind `fd`, opened anew: O_NONBLOCK on a shared one would hit the shell, too.

    A terminal says that it is writable and blocks all the same, as a pipe never does. None for whatever is none.
    """
    try:
        return os.open(os.ttyname(fd), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def _is_file(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False
