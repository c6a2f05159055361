"""The loopback address that a browser comes back to after a sign-in (facts/codex.md 5.1, 10).

Owns one small listener on 127.0.0.1, its ports, and the page that the person sees there. It must never know what a
sign-in is, nor log an address: the code is in it.
"""

import asyncio
import errno
import html
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from aiohttp import web

from hermes_router.core.sign_in import CALLBACK_PATH

__all__ = ["ANY_PORT", "PORTS", "CallbackListener", "Page"]

PORTS: Final = (1455, 1457)
"""Those that the server lets a browser return to (facts/codex.md 5.1); every other client wants them, too."""
ANY_PORT: Final = 0

_END_S: Final = 2.0  # for a page under way
_HOSTS: Final = frozenset({"localhost", "127.0.0.1"})
_HEADERS: Final = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "connection": "close",
}
_FORM: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>hermes-router</title>"
    "<style>body{{font:18px/1.5 sans-serif;max-width:32em;margin:20vh auto;padding:0 1em}}</style>"
    "<h1>{title}</h1><p>{said}</p></html>"
)


class Page(NamedTuple):
    """What the person reads in the browser."""

    title: str
    said: str
    status: int = 200


class CallbackListener:
    """Listens until it is closed. `take` gets the query of what a browser brings, and says what to show."""

    def __init__(self, take: Callable[[str], Awaitable[Page]]) -> None:
        self._take = take
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None

    async def open(self, ports: Sequence[int] = PORTS) -> int | None:
        """Listen on the first of these that is free, and say which; None where none is. Raises OSError otherwise."""
        app = web.Application()
        app.router.add_get(CALLBACK_PATH, self._come_back)
        runner = self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_END_S)
        await runner.setup()
        assert runner.server is not None
        for port in ports:
            try:
                self._server = await asyncio.get_running_loop().create_server(runner.server, "127.0.0.1", port)
            except OSError as error:
                if error.errno in (errno.EADDRINUSE, errno.EACCES):
                    continue
                await self.close()
                raise
            found: int = self._server.sockets[0].getsockname()[1]
            return found
        await self.close()
        return None

    async def close(self) -> None:
        """Stop listening; a page under way is still sent. Idempotent."""
        server, runner = self._server, self._runner
        self._server = self._runner = None
        if server is not None:
            server.close()
        if runner is not None:
            await runner.cleanup()

    async def _come_back(self, request: web.Request) -> web.Response:
        if request.url.host not in _HOSTS:  # a web page that points a name of its own at us
            return web.Response(status=403, headers=_HEADERS)
        page = await self._take(request.query_string)
        text = _FORM.format(title=html.escape(page.title), said=html.escape(page.said))
        return web.Response(status=page.status, text=text, content_type="text/html", headers=_HEADERS)
