"""The routes of the public API.

Owns what each path does: it reads, asks the engine, and hands over. It must never decide who serves.
"""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from hermes_router.core.chat import Warning as Notice
from hermes_router.core.errors import MethodNotAllowed, NotFound, UnknownModel, UpgradeRefused
from hermes_router.engine.admission import Caller
from hermes_router.engine.context import Engine
from hermes_router.engine.exchange import Exchange, Question
from hermes_router.engine.report import is_ready, status_report
from hermes_router.routing.demand import Constraint, affinity_key, assess
from hermes_router.routing.names import Resolved, resolve
from hermes_router.server.body import read_body
from hermes_router.server.boundary import Visit, respond
from hermes_router.server.streaming import SSEReply
from hermes_router.wire.openai_chat import Inbound, parse_request
from hermes_router.wire.openai_errors import Rendered, render_error
from hermes_router.wire.openai_models import ModelRow, render_list, render_one

_JSON = msgspec.json.Encoder()
_FALLBACK_ANY = "x-hermes-fallback"
_PROFILE = "x-hermes-profile"
_NO_PATH = "No such path: {} {}"

ModelRows = Callable[[Engine, Caller], list[ModelRow]]


class Routes:
    """The handlers over one engine."""

    def __init__(self, engine: Engine, model_rows: ModelRows, version: str) -> None:
        self._engine = engine
        self._model_rows = model_rows
        self._version = version

    # -- chat ------------------------------------------------------------------------------------------

    async def chat(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """POST /v1/chat/completions."""
        body = await read_body(request, visit.max_bytes)
        inbound = parse_request(body, request.headers)
        question = self._question(inbound, request, visit)
        if inbound.request.stream:
            visit.reply = SSEReply(request, visit.headers)
        rendered = await Exchange(self._engine, question, visit.reply).run()
        if rendered is not None:
            return respond(rendered)
        assert visit.reply is not None
        assert visit.reply.response is not None
        return visit.reply.response

    def _question(self, inbound: Inbound, request: web.Request, visit: Visit) -> Question:
        engine = self._engine
        caller = visit.caller
        snapshot = engine.snapshot
        settings = snapshot.settings
        asked = inbound.request
        resolved = resolve(asked.model, snapshot.roster, strict=settings.strict_models)
        if request.headers.get(_PROFILE, "").lower() == "fast" and resolved.profile == "main" and not resolved.pin:
            resolved = Resolved("fast", None, resolved.warning)
        key = affinity_key(asked, caller.key)
        demand = assess(
            asked,
            caller=caller.key,
            profile=resolved.profile,
            floor_difficulty=engine.state.difficulty_floor(key) if key else 1,
        )
        constraint = Constraint(
            pin=resolved.pin,
            providers=caller.providers,
            local_only=resolved.profile == "local",
            min_tier=caller.min_tier,
            no_training=settings.privacy == "no-training",
        )
        notices = (Notice(*resolved.warning.split(":", 1)),) if resolved.warning else ()
        return Question(
            inbound,
            demand,
            constraint,
            caller,
            caller_agent=_plain(request.headers.get("user-agent", "")),
            notices=notices,
            request_id=visit.request_id,
            fallback_any=request.headers.get(_FALLBACK_ANY, "").lower() == "any",
        )

    # -- models ----------------------------------------------------------------------------------------

    async def models(self, request: web.Request, visit: Visit) -> web.StreamResponse:  # noqa: ARG002
        """GET /v1/models."""
        return respond(Rendered(200, {}, render_list(self._model_rows(self._engine, visit.caller))))

    async def model(self, request: web.Request, visit: Visit) -> web.StreamResponse:
        """GET /v1/models/{id}; ids may hold slashes."""
        wanted = request.match_info["id"]
        for row in self._model_rows(self._engine, visit.caller):
            if row.id == wanted:
                return respond(Rendered(200, {}, render_one(row)))
        raise UnknownModel(f"The model {wanted[:100]!r} does not exist.", param="model", code="model_not_found")

    # -- status ----------------------------------------------------------------------------------------

    async def status(self, request: web.Request, visit: Visit) -> web.StreamResponse:  # noqa: ARG002
        """GET /v1/status."""
        report = status_report(self._engine, self._version, providers=visit.caller.providers)
        return respond(Rendered(200, {}, _JSON.encode(report)))

    async def health(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002
        """GET /health: the process is alive."""
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002
        """GET /ready: a target could serve."""
        ready = is_ready(self._engine)
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    async def root(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002
        """GET / and HEAD /api/hello: probes of agents."""
        return web.json_response({"name": "hermes-router", "version": self._version})

    async def preflight(self, request: web.Request) -> web.StreamResponse:  # noqa: ARG002
        """OPTIONS: the boundary has checked the origin and says what it may do."""
        return web.Response(status=204)

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/responses: a websocket is refused so that the agent falls back to POST."""
        if request.headers.get("upgrade", "").lower() == "websocket":
            error = UpgradeRefused("Websockets are not served here; use POST.", code="upgrade_refused")
            response = respond(render_error(error, now=0.0))
            response.headers["upgrade"] = "HTTP/1.1"  # RFC 9110, 15.5.22: a 426 says what is served
            return response
        raise NotFound(_NO_PATH.format(request.method, request.path[:200]), code="not_found")

    async def unknown(self, request: web.Request) -> web.StreamResponse:
        """Everything else: 404 JSON, never a page with status 200 (agents probe for other servers)."""
        raise NotFound(_NO_PATH.format(request.method, request.path[:200]), code="not_found")


def wrong_method(allowed: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler for a known path asked with another method."""

    async def handler(request: web.Request) -> web.StreamResponse:
        raise MethodNotAllowed(f"{request.method} is not answered here; use {allowed}.", code="method_not_allowed")

    return handler


def _plain(agent: str) -> str:
    """A User-Agent that can be sent on: printable ASCII, not endless."""
    return "".join(c for c in agent[:200] if " " <= c <= "~")
