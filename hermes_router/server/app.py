"""The public application: paths to handlers, and a listener that never answers in HTML.

Owns the table of paths (contract.md, Callers: with, without and with doubled `/v1`; no redirects). It must never hold
state: two of them live in one test.
"""

import logging
import socket
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from hermes_router.core.errors import BadRequest
from hermes_router.engine.context import Engine
from hermes_router.engine.report import model_rows
from hermes_router.server.access import Access
from hermes_router.server.boundary import Boundary, Handler
from hermes_router.server.routes import Routes, wrong_method
from hermes_router.wire.openai_errors import render_error

_PREFIXES = ("/v1", "", "/v1/v1", "/anthropic/v1", "/anthropic")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def make_app(engine: Engine, access: Callable[[], Access], version: str) -> web.Application:
    """Build the application. `access` gives the checks of the current generation."""
    boundary = Boundary(access, engine.clock, engine.ids, engine.log)
    routes = Routes(engine, lambda eng, caller: model_rows(eng, caller.providers), version)
    app = web.Application(client_max_size=access().max_bytes)
    add = app.router.add_route
    for prefix in _PREFIXES:
        _add(app, boundary, f"{prefix}/chat/completions", {"POST": boundary.keyed(routes.chat)})
        _add(app, boundary, f"{prefix}/models", {"GET": boundary.keyed(routes.models)})
        _add(app, boundary, f"{prefix}/models/{{id:.+}}", {"GET": boundary.keyed(routes.model)})
        _add(app, boundary, f"{prefix}/status", {"GET": boundary.keyed(routes.status)})
    _add(app, boundary, "/health", {"GET": boundary.open_route(routes.health)})
    _add(app, boundary, "/ready", {"GET": boundary.open_route(routes.ready)})
    _add(app, boundary, "/", {"GET": boundary.open_route(routes.root)})
    add("HEAD", "/api/hello", boundary.open_route(routes.root))
    add("OPTIONS", "/{path:.*}", boundary.open_route(routes.preflight))
    add("*", "/{path:.*}", boundary.open_route(routes.unknown))
    return app


def _add(app: web.Application, boundary: Boundary, path: str, handlers: dict[str, Handler]) -> None:
    """A path with its methods; the others are 405 in JSON. GET answers HEAD too."""
    for method, handler in handlers.items():
        app.router.add_route(method, path, handler)
        if method == "GET":
            app.router.add_route("HEAD", path, handler)
    refuse = boundary.open_route(wrong_method(", ".join(handlers)))
    for method in _METHODS:
        if method not in handlers:
            app.router.add_route(method, path, refuse)


class _Handler(RequestHandler):
    """aiohttp's connection, with its own errors (bad request lines, bad chunking) in our envelope."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """JSON instead of text or HTML; nothing of the exception is shown."""
        if request.writer.output_size > 0:
            raise ConnectionError("the head is out already")
        if status >= 500 and exc is not None:
            logging.getLogger("hermes_router.server").error("server.fault", exc_info=exc)
        rendered = render_error(BadRequest("The HTTP request cannot be read."), now=0.0)
        response = web.Response(status=400 if status < 500 else 503, body=rendered.body)
        response.content_type = "application/json"
        response.force_close()
        return response


class _Server(web.Server):
    """A low-level server whose connections are ours."""

    def __call__(self) -> RequestHandler:
        return _Handler(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An AppRunner over our connections. A caller who leaves cancels its handler."""

    def __init__(self, app: web.Application) -> None:
        super().__init__(app, access_log=None, handle_signals=False, handler_cancellation=True)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001 - aiohttp offers no other way to name the connection's class
        )

    async def shutdown_within(self, drain_s: float) -> None:
        """Stop accepting, let what runs end for at most `drain_s` seconds, then cancel it."""
        self._shutdown_timeout = drain_s
        await self.cleanup()


def listen(host: str | None, port: int) -> list[socket.socket]:
    """Bound sockets: the host given, else 127.0.0.1 and ::1. Raises OSError where the port is taken.

    With port 0 both loopback addresses share the port that the first was given.
    """
    addresses: Sequence[str] = (host,) if host else ("127.0.0.1", "::1")
    bound: list[socket.socket] = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            if bound:
                continue  # a machine without IPv6
            raise
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind((address, port or (bound[0].getsockname()[1] if bound else 0)))
        except OSError as error:
            sock.close()
            if bound and address == "::1" and error.errno != 98:  # noqa: PLR2004 - EADDRINUSE is a real conflict
                continue
            for other in bound:
                other.close()
            raise
        sock.listen(1024)
        sock.setblocking(False)
        bound.append(sock)
    return bound
