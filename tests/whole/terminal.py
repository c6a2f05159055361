"""An `hr` on a pseudo-terminal: what it shows is read, what a person would type is typed."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios
from contextlib import suppress
from typing import Any, Self

from .home import HR, Home

PATIENCE_S = 30.0
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """One command on a terminal of 80 columns; `shown` is all that stood on it."""

    def __init__(self, home: Home, *args: str, columns: int = 80, **env: str) -> None:
        self._home = home
        self._args = args
        self._env = env
        self._columns = columns
        self._more = asyncio.Event()
        self._ended = False
        self._seen = 0
        self.raw = ""

    @property
    def shown(self) -> str:
        return _COLOURS.sub("", self.raw).replace("\r\n", "\n")

    async def __aenter__(self) -> Self:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, self._columns, 0, 0))
        environ = {**self._home.environ, "TERM": "xterm-256color", **self._env}
        environ.pop("COLUMNS", None)
        self.process = await asyncio.create_subprocess_exec(
            *HR, *self._args, env=environ, cwd=self._home.path, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        self._close()
        os.close(self._master)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # the other side is closed
            data = b""
        if not data:
            self._close()
        self.raw += data.decode(errors="replace")
        self._more.set()

    def _close(self) -> None:
        if not self._ended:
            self._ended = True
            asyncio.get_running_loop().remove_reader(self._master)

    async def until(self, text: str) -> str:
        """Wait for a text that was not waited for yet; what stood before it."""
        async with asyncio.timeout(PATIENCE_S):
            while text not in self.shown[self._seen :]:
                assert not self._ended, f"{text!r} never came:\n{self.shown}"
                self._more.clear()
                await self._more.wait()
        end = self.shown.index(text, self._seen) + len(text)
        passed, self._seen = self.shown[self._seen : end], end
        return passed

    def type(self, text: str = "", *, end: str = "\n") -> None:
        os.write(self._master, (text + end).encode())

    async def answer(self, question: str, text: str = "") -> str:
        """Wait for a question, and answer it."""
        passed = await self.until(question)
        self.type(text)
        return passed

    async def interrupt(self) -> int:
        """Press Ctrl-C, and once more where it fell into the moment before the prompt listens, as a person would.

        readline hears of a signal only while it waits for a key. The exit code.
        """
        async with asyncio.timeout(PATIENCE_S):
            while self.process.returncode is None and not self._ended:
                self.type("\x03", end="")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.process.wait(), 3.0)
        return await self.end()

    async def end(self) -> int:
        """Wait for its end; its exit code."""
        async with asyncio.timeout(PATIENCE_S):
            code: Any = await self.process.wait()
            while not self._ended:
                self._more.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._more.wait(), 0.5)
        return int(code)
