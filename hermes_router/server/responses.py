"""The routes of `/v1/responses`: answers that go on behind remembered ones, and what is remembered itself.

Owns what each of these paths does: it reads, asks the engine, and hands over. It must never decide who serves, nor know
where an answer is kept.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from hermes_router.core.errors import NotFound, TooLarge
from hermes_router.core.kept import KeptResponse
from hermes_router.engine.context import Engine
from hermes_router.engine.counting import count_tokens
from hermes_router.engine.exchange import Exchange, Question
from hermes_router.engine.question import make_question
from hermes_router.engine.remembered import MOST_BYTES, Behind, Keeping
from hermes_router.server.arrival import Arrival
from hermes_router.server.boundary import Visit
from hermes_router.wire.fields import boolean
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.openai_errors import Rendered
from hermes_router.wire.responses.compact import parse_compact
from hermes_router.wire.responses.listing import list_items
from hermes_router.wire.responses.request import open_request, parse_fields, previous_of
from hermes_router.wire.responses.turn import Turn, items_of

__all__ = ["ResponsesRoutes"]

_JSON: Final = msgspec.json.Encoder()


class ResponsesRoutes:
    """The handlers over one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- requests --------------------------------------------------------------------------------------

    async def create(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """POST /v1/responses."""
        fields, behind = await self._opened(arrival, visit)
        inbound = parse_fields(fields, arrival.headers, None if behind is None else behind.past)
        question = make_question(self._engine, inbound, visit.caller, arrival.headers, visit.request_id)
        question, keeping = self._keeping(question, fields, behind)
        if not inbound.request.stream:
            rendered = await Exchange(self._engine, question, None).run()
            if keeping is not None and rendered is not None and rendered.status == 200:
                keeping.whole(rendered.body)
            return rendered
        visit.reply = reply = arrival.stream(visit.headers)
        return await Exchange(self._engine, question, reply if keeping is None else keeping.around(reply)).run()

    async def compact(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """POST /v1/responses/compact; what comes of it is not kept."""
        fields, behind = await self._opened(arrival, visit)
        inbound = parse_compact(fields, arrival.headers, None if behind is None else behind.past)
        question = make_question(self._engine, inbound, visit.caller, arrival.headers, visit.request_id)
        return await Exchange(self._engine, question, None).run()

    async def count(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """POST /v1/responses/input_tokens: an estimate, and no attempt."""
        fields, behind = await self._opened(arrival, visit)
        inbound = parse_fields(fields, arrival.headers, None if behind is None else behind.past)
        tokens = count_tokens(self._engine, inbound, visit.caller)
        return Rendered(200, {}, _JSON.encode({"object": "response.input_tokens", "input_tokens": tokens}))

    async def _opened(self, arrival: Arrival, visit: Visit) -> tuple[dict[str, Raw], Behind | None]:
        """A request's fields, and what it refers to.

        Raises BadRequest where that is not known, TooLarge where it is too much.
        """
        fields = open_request(await arrival.body(visit.max_bytes))
        previous = previous_of(fields)
        if not previous or not self._is_on:
            return fields, None
        behind = await self._engine.remembered.behind(previous, visit.caller.key)
        if sum(map(len, behind.past.items)) > visit.max_bytes:
            limit = f"MAX_REQUEST_BYTES ({visit.max_bytes} bytes)"
            raise TooLarge(f"The conversation behind {previous[:100]!r} is larger than {limit}.")
        return fields, behind

    @property
    def _is_on(self) -> bool:
        return self._engine.snapshot.settings.responses_store

    def _keeping(
        self, question: Question, fields: Mapping[str, Raw], behind: Behind | None
    ) -> tuple[Question, Keeping | None]:
        """Who keeps the answer, None where nobody may; and the request as one that says so."""
        wanted, inbound = boolean(fields, "store"), question.inbound
        may = wanted is not False and self._is_on and not question.constraint.local_only
        own = items_of(fields.get("input")) if may else None
        if own is None or len(own) > MOST_BYTES:
            if wanted and inbound.turn is None:  # else the answer would say what the request did
                question = question._replace(inbound=inbound._replace(turn=Turn()))
            return question, None
        conversation = inbound.request.conversation
        keeping = Keeping(self._engine.remembered, question.caller.key, own, behind, conversation)
        return question._replace(inbound=_kept(inbound)), keeping

    # -- what is remembered ----------------------------------------------------------------------------

    async def show(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """GET /v1/responses/{id}."""
        return Rendered(200, {}, (await self._found(arrival, visit)).response)

    async def erase(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """DELETE /v1/responses/{id}."""
        ident = arrival.params["id"]
        if not self._is_on or not await self._engine.remembered.forget(ident, visit.caller.key):
            raise _unknown(arrival)
        return Rendered(200, {}, _JSON.encode({"id": ident, "object": "response", "deleted": True}))

    async def items(self, arrival: Arrival, visit: Visit) -> Rendered | None:
        """GET /v1/responses/{id}/input_items: what its own request brought; what it refers to is listed there."""
        kept = await self._found(arrival, visit)
        return Rendered(200, {}, list_items(kept.input, arrival.params["id"], arrival.query))

    async def _found(self, arrival: Arrival, visit: Visit) -> KeptResponse:
        kept = await self._engine.remembered.find(arrival.params["id"], visit.caller.key) if self._is_on else None
        if kept is None:
            raise _unknown(arrival)
        return kept


def _kept(inbound: Inbound) -> Inbound:
    """A request whose answer is kept here, and therefore nowhere else."""
    turn = inbound.turn if inbound.turn is not None else Turn()
    fields = inbound.fields
    if "store" in fields:
        fields = {name: raw for name, raw in fields.items() if name != "store"}
    return inbound._replace(fields=fields, turn=turn._replace(kept=True))


def _unknown(arrival: Arrival) -> NotFound:
    return NotFound(f"Response with id '{arrival.params['id'][:100]}' not found.")
