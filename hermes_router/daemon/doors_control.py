"""The control socket of a running daemon: its application, its door, and its file.

Owns that the door can be shut without the file going away (a successor listens on the same socket), that the file goes
only with the daemon that ends, and that whoever had reached it by then is answered: two `hr` may share a daemon that is
there for one of them. It must never know what is asked there.
"""

import asyncio
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from aiohttp import web

from hermes_router.daemon.doors import Door

__all__ = ["ControlDoor"]

_SPEAK_S: Final = 1.0  # for one that has connected, and not said what it wants
_LOOK_S: Final = 0.005
_TURNS: Final = 5  # of the loop, for one that it has accepted, and not told the server of


class ControlDoor(Door):
    """One listening Unix socket, and the control application behind it.

    An `hr` that leaves does not cancel what it asked for: a change is made whole or not at all.
    """

    def __init__(self, sock: socket.socket, app: web.Application) -> None:
        super().__init__([sock])
        self._path = Path(os.fsdecode(sock.getsockname()))
        self._file = _file(self._path)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, handler_cancellation=False, auto_decompress=False
        )

    async def serve(self) -> None:
        """Open, or open again."""
        if self._runner.server is None:
            await self._runner.setup()
        assert self._runner.server is not None
        await self.open(self._runner.server)

    @property
    def lost(self) -> bool:
        """Whether its file was taken away: no `hr` finds this daemon any more."""
        return not os.path.lexists(self._path)

    async def move(self, sock: socket.socket) -> None:
        """Listen on this one instead; who is connected is served on."""
        self.shut()
        for old in self.sockets:
            old.close()
        self.sockets[:] = [sock]
        self._file = _file(self._path)
        await self.serve()

    async def close(self, drain_s: float, *, remove: bool) -> None:
        """Let what was asked end for so long, event streams at once. `remove`: the file goes first, if it is ours."""
        if remove and self._file is not None and _file(self._path) == self._file:
            with suppress(OSError):  # the directory cannot be written any more: the next daemon removes what is stale
                self._path.unlink()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self.shut()
        server = self._runner.server
        if server is not None:
            if remove:  # else a successor listens, and its queue is this one
                await self._let_in(server)
            await self._runner.shutdown()
            await self._heard(server)
        self._runner._shutdown_timeout = drain_s  # noqa: SLF001 - aiohttp knows it only at the beginning
        await self._runner.cleanup()
        self.discard()

    async def _let_in(self, server: web.Server) -> None:
        """Those who had connected, and were not accepted yet."""
        loop = asyncio.get_running_loop()
        for sock in self.sockets:
            with suppress(OSError):  # nobody is left
                while True:
                    late, _ = sock.accept()
                    late.setblocking(False)
                    await loop.connect_accepted_socket(server, late)

    async def _heard(self, server: web.Server) -> None:
        """Until all who are connected have said what they want: aiohttp closes the others without a word."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SPEAK_S
        while loop.time() < deadline:
            if all(one._request_count for one in server.connections):  # noqa: SLF001 - aiohttp does not tell
                return
            await asyncio.sleep(_LOOK_S)


def _file(path: Path) -> tuple[int, int] | None:
    """Which socket lies there, None where none does."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else None
