"""The control socket of a running daemon: its application, its door, and its file.

Owns that the door can be shut without the file going away (a successor listens on the same socket), and that the file
goes only with the daemon that ends. It must never know what is asked there.
"""

import os
import socket
from pathlib import Path

from aiohttp import web

from hermes_router.daemon.doors import Door

__all__ = ["ControlDoor"]


class ControlDoor(Door):
    """One listening Unix socket, and the control application behind it.

    An `hr` that leaves does not cancel what it asked for: a change is made whole or not at all.
    """

    def __init__(self, sock: socket.socket, app: web.Application) -> None:
        super().__init__([sock])
        self._path = Path(os.fsdecode(sock.getsockname()))
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, handler_cancellation=False, auto_decompress=False
        )

    async def serve(self) -> None:
        """Open, or open again."""
        if self._runner.server is None:
            await self._runner.setup()
        assert self._runner.server is not None
        await self.open(self._runner.server)

    async def close(self, drain_s: float, *, remove: bool) -> None:
        """Let what was asked end for so long, event streams at once. `remove` takes the file away first."""
        self.shut()
        if remove:
            self._path.unlink(missing_ok=True)
        self._runner._shutdown_timeout = drain_s  # noqa: SLF001 - aiohttp knows it only at the beginning
        await self._runner.cleanup()
        self.discard()
