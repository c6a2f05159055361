"""What `hr explain` and `hr ask` want: the plan of a request without sending it, and one question through the router.

Owns the making of such a request. Both go the way of every other one; it must never know a shorter way.
"""

from typing import Any, Final

import msgspec

from hermes_router.control import types as t
from hermes_router.core.errors import CallerError, ControlError
from hermes_router.core.ids import RouterKeyId
from hermes_router.engine.admission import Caller
from hermes_router.engine.context import Engine
from hermes_router.engine.exchange import Exchange
from hermes_router.engine.former import no_key
from hermes_router.engine.question import make_question
from hermes_router.routing.names import Pin
from hermes_router.routing.scheduler import Choice, Plan, plan
from hermes_router.wire.chat.request import parse_request

__all__ = ["AskDesk"]

OWNER: Final = Caller(RouterKeyId("hr"))
"""Whoever holds the control socket owns the daemon: no limits, all providers."""

_PIXEL: Final = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_BYTES_PER_TOKEN: Final = 4
_BODY: Final = "give the body of a Chat Completions request"
_FIRST_KEY: Final = "`hr auth add PROVIDER` adds one; `hr provider list` shows all"


class AskDesk:
    """Questions of the owner's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def plan(self, asked: t.PlanQuery) -> t.PlanReport:
        """Where a request would go, and why not elsewhere. Raises ControlError (2) for a request that is none."""
        engine = self._engine
        body = _example(asked) if asked.body is None else asked.body.encode()
        try:
            question = make_question(engine, parse_request(body, {}), OWNER, {}, "")
        except CallerError as error:
            raise ControlError(error.message, code="bad_request", next_step=_BODY, exit_code=2) from None
        snapshot = engine.snapshot
        planned = plan(
            question.demand,
            question.constraint,
            snapshot.roster,
            engine.state,
            snapshot.policy,
            engine.clock.now(),
            engine.rng,
        )
        rows: list[t.PlanRow] = []
        for found in planned.explain():
            if isinstance(found, Choice):
                rows.append(t.PlanRow(target=str(found.facts.target), place=len(rows) + 1, why=found.why))
            else:
                rows.append(t.PlanRow(target=str(found.facts.target), place=0, why=found.reason, until=found.until))
        demand = question.demand
        lost = no_key(snapshot.roster, question.constraint.pin, engine.clock.now())
        return t.PlanReport(
            difficulty=demand.difficulty,
            input_tokens=demand.input_tokens,
            profile=demand.profile,
            pin=_pin(question.constraint.pin),
            needs=sorted(map(str, demand.needs)),
            rows=rows,
            verdict=_verdict(planned, rows) if lost is None else lost.said.rstrip("."),
        )

    async def ask(self, asked: t.Ask) -> t.Answer:
        """One question, answered by whoever would answer any caller. Raises ControlError in the router's words."""
        engine = self._engine
        if not engine.snapshot.roster.facts:
            raise ControlError("no provider has a key", code="empty_pool", next_step=_FIRST_KEY)
        body = {"model": asked.model, "messages": [{"role": "user", "content": asked.text}]}
        request_id = engine.ids.new("req_")
        began = engine.clock.mono()
        try:
            inbound = parse_request(msgspec.json.encode(body), {})
            question = make_question(engine, inbound, OWNER, {}, request_id)
        except CallerError as error:
            raise ControlError(
                error.message, code="bad_request", next_step="`hr models` lists those that there are", exit_code=2
            ) from None
        rendered = await Exchange(engine, question, None).run()
        assert rendered is not None  # nothing was streamed
        answer: Any = msgspec.json.decode(rendered.body)
        if rendered.status != 200:
            raise ControlError(
                answer["error"]["message"],
                code="not_answered",
                next_step=f"`hr status` shows the pool, `hr request {request_id}` what was tried",
            )
        usage = answer.get("usage") or {}
        return t.Answer(
            text=answer["choices"][0]["message"].get("content") or "",
            target=rendered.headers.get("x-hermes-target", ""),
            attempts=int(rendered.headers.get("x-hermes-attempts", "1")),
            request_id=request_id,
            input_tokens=usage.get("prompt_tokens", 0),
            output_tokens=usage.get("completion_tokens", 0),
            duration_s=round(engine.clock.mono() - began, 3),
            warnings=[one for one in rendered.headers.get("x-hermes-warnings", "").split(",") if one],
        )


def _pin(pin: Pin | None) -> str:
    """A pin as a caller writes it."""
    if pin is None:
        return ""
    return f"{pin.provider}/{pin.model}" if pin.provider is not None else pin.model


def _example(asked: t.PlanQuery) -> bytes:
    """A request of this size and with these needs."""
    text = "x" * ((asked.tokens or 20) * _BYTES_PER_TOKEN)
    content: Any = text
    if asked.image:
        content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": _PIXEL}}]
    body: dict[str, Any] = {"model": asked.model, "messages": [{"role": "user", "content": content}]}
    if asked.tools:
        parameters = {"type": "object", "properties": {}}
        body["tools"] = [{"type": "function", "function": {"name": "example", "parameters": parameters}}]
    return msgspec.json.encode(body)


def _verdict(planned: Plan, rows: list[t.PlanRow]) -> str:
    """One sentence: who would be asked first, or why nobody."""
    if rows and rows[0].place == 1:
        return f"{rows[0].target} would be asked first"
    too_long = planned.too_long
    if too_long is not None:
        return f"too long for every configured target: {too_long[1]} tokens, the largest takes {too_long[0]}"
    if planned.hopeless is not None:
        return planned.hopeless.message
    if not rows:
        return f"no provider has a key: {_FIRST_KEY}"
    first = min((row for row in rows if row.until is not None), key=lambda row: row.until or 0.0, default=None)
    return "nobody could serve it now" + (f"; the first to return is {first.target}" if first is not None else "")
