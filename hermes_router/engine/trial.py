"""One tiny question sent to one target, as a caller's request would be, and what its answer proves.

Owns the reservation, the sending, and the reading of the answer. A refusal for quota, key or model counts like any
other; trouble on the way teaches nothing about the model. It must never choose what is asked (`prober.py`).
"""

import asyncio
from typing import NamedTuple

import msgspec

from hermes_router.core.catalog import Known
from hermes_router.core.errors import BadRequest, Blames, Overloaded, RequestRejected, UpstreamError
from hermes_router.core.events import fold
from hermes_router.core.observations import QuotaSeen
from hermes_router.core.ports import Outbound
from hermes_router.engine.attempt import Attempt
from hermes_router.engine.context import Engine
from hermes_router.engine.prober import Question
from hermes_router.engine.reading import Reading
from hermes_router.wire.chat.outgoing import NO_RECALL, Options, render

__all__ = ["Verdict", "ask"]

LONGEST_S = 60.0
_DEMANDS = ("required", "any")


class Verdict(NamedTuple):
    """What came of it: `known` None = nothing sure, and `said` why, for the log. `sent` False = it never left."""

    known: Known | None
    said: str = ""
    sent: bool = True


class _Trial:
    """The attempt's owner: it only waits."""

    def __init__(self, engine: Engine, question: Question) -> None:
        self._engine = engine
        self._target = question.facts.target
        self.attempt: Attempt | None = None
        self._over = asyncio.get_running_loop().create_future()

    async def wait(self) -> None:
        await self._over

    # -- as the attempt sees it

    def emit(self, data: bytes) -> None:
        """Nobody is shown anything."""

    def wake(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    def seen(self, quotas: tuple[QuotaSeen, ...]) -> None:
        self._engine.state.seen(self._target, quotas, self._engine.clock.now())

    def admitted(self) -> None:
        """That it was let in is no news to anyone."""

    def alone(self) -> bool:
        return False

    # -- as the sweeper sees it

    def tick(self, mono: float) -> None:
        if self.attempt is not None:
            self.attempt.tick(mono)


async def ask(engine: Engine, question: Question) -> Verdict:
    """Send a question and judge its answer. What it used is in the ledger, whatever came of it."""
    prepared = _outbound(engine, question)
    slot = engine.state.slot(question.facts.target)
    if isinstance(prepared, Verdict) or slot is None or slot.group is None:
        return prepared if isinstance(prepared, Verdict) else Verdict(None, "it left the pool", sent=False)
    request, is_demand = prepared
    reservation = engine.state.reserve(slot, question.demand, engine.clock.now())
    trial = _Trial(engine, question)
    attempt = trial.attempt = Attempt(
        question.facts,
        trial,
        None,
        clock=engine.clock,
        border=engine.border,
        sweeper=engine.sweeper,
        first_token_limit_s=LONGEST_S,
        stall_s=LONGEST_S,
    )
    engine.sweeper.watch(trial)
    inputs = outputs = None
    try:
        attempt.send(engine.transport, request)
        await trial.wait()
        reading = Reading(engine, question.facts, question.probe.inbound, "")
        verdict = _judged(question, attempt, reading, is_demand=is_demand)
        if reading.usage is not None:
            inputs, outputs = reading.usage.input_tokens or None, reading.usage.output_tokens or None
    finally:
        engine.sweeper.forget(trial)
        if not attempt.over:
            attempt.abort()
        _note(engine, question, attempt.error)
        status = attempt.error.status if attempt.error is not None else 200
        engine.state.settle(
            reservation,
            engine.clock.now(),
            input_tokens=inputs,
            output_tokens=outputs,
            sent=status is None or status == 200,
        )
    return verdict


def _outbound(engine: Engine, question: Question) -> tuple[Outbound, bool] | Verdict:
    """The request as it leaves, and whether a call is demanded in it; a verdict where it would prove nothing."""
    facts, probe = question.facts, question.probe
    inbound = probe.inbound
    if facts.asked_in("openai_chat", tools=False) != "openai_chat":
        return Verdict(None, "it is not asked in Chat", sent=False)
    without = engine.state.refused_params(facts.target.provider, facts.target.model)
    options = Options(stream=False, without=without, traits=inbound.traits)
    try:
        rendered = render(inbound.fields, facts, options, NO_RECALL)
        headers = engine.authorizer.headers(facts, caller_agent="")
    except (BadRequest, KeyError):
        return Verdict(None, "it cannot be asked", sent=False)
    body = msgspec.json.decode(rendered.body)
    if probe.field not in body or (probe.refused is None and body["messages"][-1] != probe.body["messages"][-1]):
        return Verdict(None, "its row does not let the question through", sent=False)
    request = Outbound("POST", f"{facts.url_of('openai_chat')}/chat/completions", headers, rendered.body)
    return request, body.get("tool_choice") in _DEMANDS


def _judged(question: Question, attempt: Attempt, reading: Reading, *, is_demand: bool) -> Verdict:
    probe = question.probe
    error = attempt.error
    if error is None:
        try:
            answer = fold(reading.decoder().whole(attempt.body))
        except UpstreamError as found:
            attempt.overrule(found)
            error = found
        else:
            error = answer.error
            if error is None:
                known = probe.judge(answer)
                if known is Known.NO and probe.firm and not is_demand:
                    return Verdict(None, "it answered in words, and no call could be demanded")
                return Verdict(known, "" if known is not None else "its answer proves nothing")
            attempt.overrule(error)
    said = f"{type(error).__name__}: {error.excerpt[:120]}"
    return Verdict(probe.refusal(error) if isinstance(error, RequestRejected) else None, said)


def _note(engine: Engine, question: Question, error: UpstreamError | None) -> None:
    """Tell the ledger what a caller's request would have: of quota, key and model. Silence is no evidence here."""
    if error is None:
        return
    now = engine.clock.now()
    if error.blames in (Blames.QUOTA, Blames.CREDENTIAL, Blames.MODEL) or isinstance(error, Overloaded):
        engine.state.failed(question.facts.target, error, now)
    else:
        engine.state.abandoned(question.facts.target, now)
    engine.prober.failed(question.facts, error, question.demand)
