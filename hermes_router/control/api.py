"""The control API: an application of its own, which only ever listens on a Unix socket.

Owns the border of the socket: who may ask, in which form, and how every failure is told (one envelope, `Problem`). It
must never know what a route does, and nothing that was sent reaches the log: bodies hold keys.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from hermes_router.control import types as t
from hermes_router.control.backend import Backend
from hermes_router.control.peer import NONE, Permission, peer_of_descriptor, permissions
from hermes_router.control.routes import ROUTES, Asked, Refusal, Route
from hermes_router.control.streaming import send_events
from hermes_router.core.errors import CallerError, ConfigError, ControlError, HermesError, VaultError
from hermes_router.core.ports import Log

__all__ = ["make_control_app"]

_LARGEST_BODY: Final = 1 << 20
_FRAMES_LOGGED: Final = 5
_STATUS: Final = {2: 400, 3: 409}  # by exit code
_USE_HR: Final = f"Use `hr`, or `curl --unix-socket PATH http://{t.HOST}/v1/status`."
_RESTART: Final = "If it came from `hr`, its version and the daemon's differ: run `hr restart`."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_control_app(
    backend: Backend,
    *,
    version: str,
    uid: int,
    log: Log,
    readers_gid: int | None = None,
    ping_s: float = 15.0,
) -> web.Application:
    """Build the application. `uid` is whose daemon it is; members of the group `readers_gid` may look."""
    border = _Border(version, uid, readers_gid, log)
    closing = asyncio.Event()
    app = web.Application(client_max_size=_LARGEST_BODY, middlewares=[border.guard])

    async def end_streams(_app: web.Application) -> None:
        closing.set()

    app.on_shutdown.append(end_streams)
    app.on_response_prepare.append(border.sign)

    # By signals, so that streams end at once under whatever runner closes the application, and it can be opened again.
    async def opens(_app: web.Application) -> None:
        closing.clear()

    async def closes(_app: web.Application) -> None:
        closing.set()

    app.on_startup.append(opens)
    app.on_shutdown.append(closes)
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _handler(route, backend, border, closing, ping_s))
    return app


def _handler(route: Route, backend: Backend, border: "_Border", closing: asyncio.Event, ping_s: float) -> Handler:
    decoder = msgspec.json.Decoder(route.body) if route.body is not None else None

    async def handle(request: web.Request) -> web.StreamResponse:
        granted = border.granted(request)
        if route.permission not in granted:
            raise Refusal(
                403,
                "You may look, but changes are for the daemon's own user and root.",
                code="forbidden",
                next_step="Run it with sudo.",
            )
        body = None if decoder is None else _decoded(decoder, await request.read())
        asked = Asked(request.match_info, request.query, body, granted, _last_id(request))
        result = route.call(backend, asked)
        if isinstance(result, Awaitable):
            return _json(200, await result)
        return await send_events(request, result, closing, ping_s)

    return handle


def _decoded(decoder: msgspec.json.Decoder[t.Type], raw: bytes) -> t.Type:
    try:
        return decoder.decode(raw or b"{}")
    except msgspec.DecodeError as error:
        said = str(error)  # msgspec names the path, and shows no value of ours (no field is an enum)
    except (UnicodeDecodeError, RecursionError):
        said = "it is no JSON text"
    raise Refusal(
        400,
        f"The body cannot be read: {said}.",
        code="bad_request",
        next_step=_RESTART,
        exit_code=2,
    )


def _last_id(request: web.Request) -> int | None:
    text = request.headers.get("last-event-id", "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Refusal(
            400,
            "Last-Event-ID is no number.",
            code="bad_request",
            next_step="Send the id of an event, or nothing.",
            exit_code=2,
        )
    return int(text)


def _json(status: int, value: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


def _problem(status: int, error: ControlError) -> web.Response:
    problem = t.Problem(
        code=error.code,
        message=_sayable(error.message),
        next_step=_sayable(error.next_step),
        exit_code=error.exit_code,
    )
    return _json(status, problem)


def _told(error: HermesError) -> ControlError | None:
    """What was raised on purpose, in the form of this API; None for what has no business here.

    A desk says it better where it knows what was asked; these texts name settings, files and fields, never a secret.
    """
    match error:
        case ControlError():
            return error
        case VaultError():
            return ControlError(error.message, code="vault", next_step=error.next_step or "Try again.")
        case ConfigError():
            return ControlError(str(error), code="config", next_step="Mend that, then try again.", exit_code=3)
        case CallerError():
            return ControlError(error.message, code="bad_request", next_step=_RESTART, exit_code=2)
        case _:
            return None


def _sayable(text: str) -> str:
    """Names from a command line may hold bytes that are no text."""
    return text.encode("utf-8", "replace").decode()


class _Border(NamedTuple):
    """What every request passes on its way in and every answer on its way out."""

    version: str
    uid: int
    readers_gid: int | None
    log: Log

    async def sign(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Put the daemon's version on every answer."""
        response.headers[t.VERSION_HEADER] = self.version
        response.headers[t.API_HEADER] = str(t.API)

    @property
    def guard(self) -> Any:
        """The outermost middleware."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                self._check(request)
                return await handler(request)
            except Refusal as error:
                return _problem(error.status, error)
            except HermesError as error:
                told = _told(error)
                if told is None:
                    return self._fault(request, error)
                return _problem(_STATUS.get(told.exit_code, 422), told)
            except web.HTTPException as error:
                return _routing_problem(request, error)
            except (ConnectionError, web.RequestPayloadError):
                return _problem(400, ControlError("The request was cut.", code="cut", next_step="Try again."))
            except Exception as error:  # noqa: BLE001 - the border
                return self._fault(request, error)

        return guard

    def _check(self, request: web.Request) -> None:
        """Who asks, then in which form; raises Refusal."""
        if not self.granted(request):
            raise Refusal(
                403,
                f"This daemon belongs to user {self.uid}, and answers only that user and root.",
                code="forbidden",
                next_step="Run `hr` as that user, or with sudo.",
            )
        headers = request.headers
        if headers.getall("host", []) != [t.HOST]:
            raise Refusal(403, f"The Host of a request must be {t.HOST}.", code="forbidden", next_step=_USE_HR)
        if "origin" in headers or "referer" in headers:
            raise Refusal(
                403, "Requests of web pages are refused (Origin, Referer).", code="forbidden", next_step=_USE_HR
            )
        theirs = headers.get(t.API_HEADER, str(t.API))  # a person with curl sends none
        version = headers.get(t.VERSION_HEADER, "")[:30]
        if theirs != str(t.API) and (request.method, request.path) not in t.FROZEN:
            raise Refusal(
                409,
                f"hr {version} and the daemon {self.version} do not understand each other.",
                code="api",
                next_step="Run `hr restart`.",
            )

    def granted(self, request: web.Request) -> frozenset[Permission]:
        """What the process at the other end may do."""
        transport = request.transport
        sock = transport.get_extra_info("socket") if transport is not None else None
        if sock is None:
            return NONE
        try:
            peer = peer_of_descriptor(sock.fileno())
        except OSError:
            return NONE
        return permissions(peer.uid, peer.gids, own_uid=self.uid, readers_gid=self.readers_gid)

    def _fault(self, request: web.Request, error: Exception) -> web.StreamResponse:
        """A bug of ours: where it happened goes to the log, its text does not, since it may quote what was sent."""
        resource = request.match_info.route.resource
        self.log.warning(
            "control.fault",
            method=request.method,
            path=resource.canonical if resource is not None else "",
            error=_kinds(error),
            where=_where(error),
        )
        if request.writer.output_size > 0 and request.transport is not None:
            request.transport.abort()  # a stream that breaks off must not look like one that ends
        return _problem(
            500,
            ControlError(
                "This went wrong inside the daemon, by a fault of its own.",
                code="internal",
                next_step="The daemon's log says where (`control.fault`); please report it.",
            ),
        )


def _routing_problem(request: web.Request, error: web.HTTPException) -> web.Response:
    what = f"{request.method} {request.path[:200]}"
    match error:
        case web.HTTPNotFound():
            problem = ControlError(f"There is no {what}.", code="not_found", next_step=_RESTART)
        case web.HTTPMethodNotAllowed():
            problem = ControlError(
                f"There is no {what}: it takes {', '.join(sorted(error.allowed_methods))}.",
                code="method_not_allowed",
                next_step=_RESTART,
            )
        case web.HTTPRequestEntityTooLarge():
            problem = ControlError(
                f"The body is larger than {_LARGEST_BODY} bytes.",
                code="too_large",
                next_step="Send less at once.",
                exit_code=2,
            )
        case _:
            problem = ControlError(
                f"The request cannot be served: {error.reason}.", code="bad_request", next_step=_RESTART
            )
    response = _problem(error.status, problem)
    if isinstance(error, web.HTTPMethodNotAllowed):
        response.headers["allow"] = ", ".join(sorted(error.allowed_methods))
    return response


def _kinds(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(_kinds(inner) for inner in error.exceptions)
    return type(error).__name__


def _where(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_LOGGED:]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
