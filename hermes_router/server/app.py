"""The public application: paths to handlers, and a listener that never answers in HTML.

Owns the table of paths (contract.md, Callers: with, without and with doubled `/v1`; no redirects). It must never hold
state: two of them live in one test.
"""

import errno
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from aiohttp import web

from hermes_router.core.catalog import DialectName
from hermes_router.core.ports import Ids
from hermes_router.engine.context import Engine
from hermes_router.engine.report import model_rows
from hermes_router.server.access import Access
from hermes_router.server.arrival import Handler
from hermes_router.server.boundary import Boundary, KeyedHandler
from hermes_router.server.front import LEAST_DRAIN_S, FrontServer
from hermes_router.server.responses import ResponsesRoutes
from hermes_router.server.routes import Routes, wrong_method
from hermes_router.server.through import WebHandler, through

_BACKLOG = 1024
_PREFIXES = ("/v1", "", "/v1/v1", "/anthropic/v1", "/anthropic", "/anthropic/v1/v1")
_HOT = web.AppKey("hot", dict[str, Handler])


def make_app(engine: Engine, access: Callable[[], Access], version: str) -> web.Application:
    """Build the application. `access` gives the checks of the current generation."""
    boundary = Boundary(access, engine.clock, engine.ids, engine.log)
    routes = Routes(engine, lambda eng, caller: model_rows(eng, caller.providers), version)
    responses = ResponsesRoutes(engine)
    app = web.Application(client_max_size=access().max_bytes)
    paths = _Paths(app, boundary, routes)
    asked: dict[str, tuple[KeyedHandler, DialectName]] = {
        "/chat/completions": (routes.chat, "openai_chat"),
        "/messages": (routes.messages, "anthropic_messages"),
        "/messages/count_tokens": (routes.messages_count, "anthropic_messages"),
        "/responses": (responses.create, "openai_responses"),
        "/responses/compact": (responses.compact, "openai_responses"),
        "/responses/input_tokens": (responses.count, "openai_responses"),
        "/embeddings": (routes.embeddings, "openai_chat"),
    }
    posts = {path: boundary.keyed(handler, dialect) for path, (handler, dialect) in asked.items()}
    app[_HOT] = {f"{prefix}{path}": handler for prefix in _PREFIXES for path, handler in posts.items()}
    for prefix in _PREFIXES:
        for path, handler in posts.items():
            others = {"GET": boundary.open_route(routes.socket)} if path == "/responses" else {}
            paths.add(f"{prefix}{path}", {"POST": handler, **others}, asked[path][1])
        kept = {"GET": responses.show, "DELETE": responses.erase}
        keyed = {method: boundary.keyed(handler, "openai_responses") for method, handler in kept.items()}
        paths.add(f"{prefix}/responses/{{id}}", keyed, "openai_responses")
        items = boundary.keyed(responses.items, "openai_responses")
        paths.add(f"{prefix}/responses/{{id}}/input_items", {"GET": items}, "openai_responses")
        paths.add(f"{prefix}/models", {"GET": boundary.keyed(routes.models)})
        paths.add(f"{prefix}/models/{{id:.+}}", {"GET": boundary.keyed(routes.model)})
        paths.add(f"{prefix}/status", {"GET": boundary.keyed(routes.status)})
    paths.add("/health", {"GET": boundary.open_route(routes.health)})
    paths.add("/ready", {"GET": boundary.open_route(routes.ready)})
    paths.add("/", {"GET": boundary.open_route(routes.root)})
    paths.add("/api/hello", {"HEAD": boundary.open_route(routes.root)})
    app.router.add_route("*", "/{path:.*}", paths.elsewhere)
    return app


class _Paths:
    """The known paths, each with its methods and OPTIONS; GET answers HEAD, the other methods are 405 in JSON."""

    def __init__(self, app: web.Application, boundary: Boundary, routes: Routes) -> None:
        self._router = app.router
        self._boundary = boundary
        self._unknown = through(boundary.open_route(routes.unknown))
        self._preflight = through(boundary.open_route(routes.preflight))
        self._known: dict[str, Mapping[str, WebHandler]] = {}

    def add(self, path: str, handlers: dict[str, Handler], dialect: DialectName | None = None) -> None:
        """Make a path known. Another method is refused in `dialect`; None = in that of the caller's SDK."""
        table = {method: through(handler) for method, handler in handlers.items()} | {"OPTIONS": self._preflight}
        if "GET" in handlers:
            table["HEAD"] = table["GET"]
        table["*"] = through(self._boundary.open_route(wrong_method(", ".join(handlers)), dialect))
        for method, handler in table.items():
            self._router.add_route(method, path, handler)
        self._known[path] = table

    async def elsewhere(self, request: web.Request) -> web.StreamResponse:
        """Any other path; one with slashes too many (a base URL that ends in one) is what it would be without."""
        tidy = "/" + "/".join(filter(None, request.path.split("/")))
        table = self._known.get(tidy)
        if table is None:
            handler = self._preflight if request.method == "OPTIONS" else self._unknown
        else:
            handler = table.get(request.method) or table["*"]
        return await handler(request)


class Runner(web.AppRunner):
    """An AppRunner over our connections. A caller who leaves cancels its handler; bodies come as they were sent."""

    def __init__(self, app: web.Application, ids: Ids) -> None:
        super().__init__(app, access_log=None, handle_signals=False, handler_cancellation=True, auto_decompress=False)
        self._ids = ids

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        hot = self.app[_HOT]
        plain = {path: through(handler) for path, handler in hot.items()}

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            """The few hot paths by one look-up (aiohttp resolves a path in 15 µs), all else through the application."""
            handler = plain.get(request.path) if request.method == "POST" and "expect" not in request.headers else None
            return await (made.request_handler(request) if handler is None else handler(cast(web.Request, request)))

        return FrontServer(
            handle,
            hot=hot,
            ids=self._ids,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001 - aiohttp offers no other way to name the connection's class
        )

    async def shutdown_within(self, drain_s: float) -> None:
        """Stop accepting, let what runs end for at most `drain_s` seconds, then cancel it."""
        self._shutdown_timeout = max(drain_s, LEAST_DRAIN_S)
        await self.cleanup()


def listen(host: str | None, port: int) -> list[socket.socket]:
    """Bound sockets: the host given, else 127.0.0.1 and ::1. Raises OSError where the port is taken.

    With port 0 both loopback addresses share the port that the first was given.
    """
    addresses: Sequence[str] = (host,) if host else ("127.0.0.1", "::1")
    bound: list[socket.socket] = []
    try:
        for address in addresses:
            try:
                bound.append(_bound(address, port or (bound[0].getsockname()[1] if bound else 0)))
            except OSError as error:
                if not bound or error.errno == errno.EADDRINUSE:
                    raise
                continue  # a machine without IPv6
        for sock in bound:
            sock.listen(_BACKLOG)
    except OSError:
        for sock in bound:
            sock.close()
        raise
    return bound


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
