"""The routes of the public API.

Owns what each path does: it reads, asks the engine, and hands over. It must never decide who serves.
"""

from collections.abc import Callable, Mapping

import msgspec

from hermes_router.core.errors import MethodNotAllowed, NotFound, UnknownModel, UpgradeRefused
from hermes_router.engine.admission import Caller
from hermes_router.engine.context import Engine
from hermes_router.engine.counting import count_tokens
from hermes_router.engine.embed_question import make_embed_question
from hermes_router.engine.embedding import Embedding
from hermes_router.engine.exchange import Exchange
from hermes_router.engine.question import make_question
from hermes_router.engine.report import former_row, is_ready, status_report
from hermes_router.server.arrival import Arrival, Handler
from hermes_router.server.boundary import VERSION_HEADER, Visit
from hermes_router.wire.chat import models as openai_models
from hermes_router.wire.chat.models import ModelRow
from hermes_router.wire.chat.request import parse_request as chat_request
from hermes_router.wire.embeddings import parse_request as embed_request
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.messages import models as messages_models
from hermes_router.wire.messages.request import parse_count as messages_count
from hermes_router.wire.messages.request import parse_request as messages_request
from hermes_router.wire.openai_errors import Rendered, render_error

_JSON = msgspec.json.Encoder()
_NO_PATH = "No such path: {} {}"

ModelRows = Callable[[Engine, Caller], list[ModelRow]]


class Routes:
    """The handlers over one engine."""

    def __init__(self, engine: Engine, model_rows: ModelRows, version: str) -> None:
        self._engine = engine
        self._model_rows = model_rows
        self._version = version

    # -- chat ------------------------------------------------------------------------------------------

    async def chat(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """POST /v1/chat/completions."""
        return await self._answer(chat_request(await arrival.body(visit.max_bytes), arrival.headers), arrival, visit)

    async def messages(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """POST /v1/messages; the query (`?beta=true`) says nothing."""
        inbound = messages_request(await arrival.body(visit.max_bytes), arrival.headers)
        return await self._answer(inbound, arrival, visit)

    async def _answer(self, inbound: Inbound, arrival: Arrival, visit: Visit) -> Rendered | None:
        question = make_question(self._engine, inbound, visit.caller, arrival.headers, visit.request_id)
        if inbound.request.stream:
            visit.reply = arrival.stream(visit.headers)
        return await Exchange(self._engine, question, visit.reply).run()

    # -- embeddings ------------------------------------------------------------------------------------

    async def embeddings(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """POST /v1/embeddings."""
        asked = embed_request(await arrival.body(visit.max_bytes))
        question = make_embed_question(self._engine, asked, visit.caller, arrival.headers, visit.request_id)
        return await Embedding(self._engine, question, asked).run()

    # -- counts ----------------------------------------------------------------------------------------

    async def messages_count(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """POST /v1/messages/count_tokens: an estimate, and no attempt."""
        inbound = messages_count(await arrival.body(visit.max_bytes), arrival.headers)
        return _json({"input_tokens": count_tokens(self._engine, inbound, visit.caller)})

    # -- models ----------------------------------------------------------------------------------------

    async def models(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """GET /v1/models, in the shape of the caller's SDK."""
        lists = messages_models if VERSION_HEADER in arrival.headers else openai_models
        return Rendered(200, {}, lists.render_list(self._model_rows(self._engine, visit.caller)))

    async def model(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """GET /v1/models/{id}; ids may hold slashes."""
        wanted = messages_models.original(listed := arrival.params["id"])
        for row in self._model_rows(self._engine, visit.caller):
            if row.id == wanted:
                lists = messages_models if VERSION_HEADER in arrival.headers else openai_models
                return Rendered(200, {}, lists.render_one(row._replace(id=listed)))
        former = former_row(self._engine, wanted, visit.caller.providers)
        if former is not None:
            lists = messages_models if VERSION_HEADER in arrival.headers else openai_models
            return Rendered(200, {}, lists.render_one(former._replace(id=listed)))
        raise UnknownModel(f"The model {wanted[:100]!r} does not exist.", param="model", code="model_not_found")

    # -- status ----------------------------------------------------------------------------------------

    async def status(self, arrival: Arrival, visit: Visit) -> Rendered | None:  # noqa: ARG002
        """GET /v1/status."""
        report = status_report(self._engine, self._version, providers=visit.caller.providers)
        return Rendered(200, {}, _JSON.encode(report))

    async def health(self, arrival: Arrival) -> Rendered | None:  # noqa: ARG002
        """GET /health: the process is alive."""
        return _json({"status": "ok"})

    async def ready(self, arrival: Arrival) -> Rendered | None:  # noqa: ARG002
        """GET /ready: a target could serve."""
        ready = is_ready(self._engine)
        return _json({"ready": ready}, status=200 if ready else 503)

    async def root(self, arrival: Arrival) -> Rendered | None:  # noqa: ARG002
        """GET / and HEAD /api/hello: probes of agents."""
        return _json({"name": "hermes-router", "version": self._version})

    async def preflight(self, arrival: Arrival) -> Rendered | None:  # noqa: ARG002
        """OPTIONS: the boundary has checked the origin and says what it may do."""
        return Rendered(204, {}, b"")

    async def socket(self, arrival: Arrival) -> Rendered | None:
        """GET /v1/responses: a websocket is refused so that the agent falls back to POST."""
        if arrival.headers.get("upgrade", "").lower() == "websocket":
            error = UpgradeRefused("Websockets are not served here; use POST.", code="upgrade_refused")
            rendered = render_error(error, now=0.0)
            rendered.headers["upgrade"] = "HTTP/1.1"  # RFC 9110, 15.5.22: a 426 says what is served
            return rendered
        raise NotFound(_NO_PATH.format(arrival.method, arrival.path[:200]), code="not_found")

    async def unknown(self, arrival: Arrival) -> Rendered | None:
        """Everything else: 404 JSON, never a page with status 200 (agents probe for other servers)."""
        raise NotFound(_NO_PATH.format(arrival.method, arrival.path[:200]), code="not_found")


def wrong_method(allowed: str) -> Handler:
    """A handler for a known path asked with another method."""

    async def handler(arrival: Arrival) -> Rendered | None:
        raise MethodNotAllowed(f"{arrival.method} is not answered here; use {allowed}.", code="method_not_allowed")

    return handler


def _json(what: Mapping[str, object], *, status: int = 200) -> Rendered:
    return Rendered(status, {}, _JSON.encode(what))
