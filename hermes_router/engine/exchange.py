"""One inbound request with all it causes: admit, plan, attempt, relay, settle, report.

Owns the only retry loop of the program. It decides with `async`, and relays by push: after the commit point upstream
bytes go to the caller from within the transport's callback. It must never know HTTP servers, clients or vendors.
"""

import asyncio
from dataclasses import replace
from typing import NamedTuple

from hermes_router.core.catalog import Capability, Known, TargetFacts
from hermes_router.core.chat import Warning as Notice
from hermes_router.core.errors import (
    AttemptReport,
    ContextTooLarge,
    ContextTooLong,
    CredentialRejected,
    DeadlinePassed,
    HermesError,
    NoTarget,
    RequestRejected,
    TimedOut,
    Unsupported,
    UpstreamError,
)
from hermes_router.core.events import Usage
from hermes_router.core.observations import QuotaSeen
from hermes_router.core.ports import Outbound, ReplyStream
from hermes_router.engine.accounting import Trail
from hermes_router.engine.admission import Caller
from hermes_router.engine.attempt import Attempt
from hermes_router.engine.caller_limits import Lease
from hermes_router.engine.context import Engine
from hermes_router.engine.delivery import Delivery
from hermes_router.engine.reading import Reading
from hermes_router.routing import failover
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.scheduler import Candidate, Choice, Plan, plan
from hermes_router.routing.window import advertised_context
from hermes_router.wire.openai_chat import Inbound
from hermes_router.wire.openai_errors import Rendered, render_error
from hermes_router.wire.outgoing import Options, render
from hermes_router.wire.passthrough import Lane

_ABILITIES = frozenset({Capability.TOOLS, Capability.IMAGES, Capability.AUDIO})
_UNARY_TOKENS_PER_S = 20.0  # the slowest generation that is not taken for a hang
_UNARY_TOKENS = 2_048  # where the caller gives no cap


class Question(NamedTuple):
    """What an exchange is asked: the parsed request, scored, with what it may be served by."""

    inbound: Inbound
    demand: Demand
    constraint: Constraint
    caller: Caller
    caller_agent: str = ""
    notices: tuple[Notice, ...] = ()
    request_id: str = ""
    fallback_any: bool = False
    dialect: str = "openai_chat"


class Exchange:
    """One exchange. `run` answers it; a cancelled `run` (the caller left) cancels its upstream."""

    def __init__(self, engine: Engine, question: Question, reply: ReplyStream | None) -> None:
        self._engine = engine
        self._q = question
        self._settings = engine.snapshot.settings
        self._deadline_mono = engine.clock.mono() + self._settings.request_deadline_s
        self._constraint = question.constraint
        self._reports: list[AttemptReport] = []
        self._trail = Trail(engine)
        self._notices: dict[str, None] = dict.fromkeys(map(str, question.notices))
        self._delivery = None if reply is None else Delivery(question.inbound.request, reply, engine.clock, engine.ids)
        self._attempt: Attempt | None = None
        self._candidate: Candidate | None = None
        self._reading: Reading | None = None
        self._shown_before = 0  # characters that the caller had seen when the attempt began
        self._dropped: frozenset[str] = frozenset()
        self._refusal: RequestRejected | None = None  # what the caller gets back where nobody else can be asked
        self._altered = False
        self._cap_tokens: int | None = None
        self._paused = False  # the upstream waits for the caller
        self._wake: asyncio.Future[None] | None = None
        self._usage = Usage()

    # -- the six steps ---------------------------------------------------------------------------------

    async def run(self) -> Rendered | None:
        """Answer. Returns the whole answer or error, or None where it went out through the reply stream."""
        engine = self._engine
        outcome = "caller_left"
        lease: Lease | None = None
        engine.sweeper.watch(self)
        try:
            lease = engine.limits.admit(self._q.caller, engine.clock.now())
            rendered = await self._serve()
            outcome = "answered" if rendered is None or rendered.status == 200 else f"refused_{rendered.status}"
        except HermesError as error:
            outcome = type(error).__name__
            rendered = await self._refuse(error)
        finally:
            if lease is not None:
                lease.release()
            engine.sweeper.forget(self)
            self._leave()
            self._report(outcome)
            self._attempt = None  # exchange and attempt hold each other, and the body: not until the collector comes
        return rendered

    async def _serve(self) -> Rendered | None:
        """Plan and attempt until there is an answer; every plan is made anew on the current snapshot."""
        while True:
            candidate = self._next()
            error, rendered = await self._try(candidate)
            if error is None:
                return rendered
            self._note_failure(candidate.facts, error)
            delivery = self._delivery
            if delivery is not None:
                delivery.start_over()
                if not delivery.splice.may_restart:
                    raise error
            if not self._committed and self._engine.clock.mono() >= self._deadline_mono:
                raise DeadlinePassed(self._reports)
            self._follow(candidate, error)

    def _follow(self, candidate: Candidate, error: UpstreamError) -> None:
        """Take the step that the failover table says. Raises the error where that is to stop."""
        facts = candidate.facts
        step = failover.after(
            error,
            facts,
            self._constraint,
            altered=self._altered,
            input_tokens=self._q.demand.input_tokens,
            dropped=self._dropped,
            context=self._engine.state.learned.context(facts.target.provider, facts.target.model),
        )
        if step.action == "stop":
            raise error
        self._constraint = step.constraint
        if step.action == "same" and step.drop is not None:
            self._dropped |= {step.drop}
            self._refusal = None  # it is answered by leaving the field out

    @property
    def _committed(self) -> bool:
        return self._delivery is not None and self._delivery.committed

    def _next(self) -> Candidate:
        """The next candidate, its quota reserved in the same step. Raises what the caller gets if there is none."""
        engine = self._engine
        snapshot = engine.snapshot
        constraint = self._constraint
        planned = plan(
            self._q.demand,
            constraint,
            snapshot.roster,
            engine.state,
            snapshot.policy,
            engine.clock.now(),
            engine.rng,
        )
        candidate = planned.take()
        if candidate is not None:
            return candidate
        if constraint.pin is not None and self._q.fallback_any:
            self._constraint = constraint._replace(pin=None)
            return self._next()
        raise self._no_candidate(planned)

    def _no_candidate(self, planned: Plan) -> HermesError:
        """What the caller gets where nobody is left: its own fault, a wait, or the truth about the pool."""
        too_long = planned.too_long
        if too_long is not None:
            return ContextTooLarge(advertised=self._advertised(too_long[0]), needed=too_long[1])
        if self._refusal is not None:
            return self._refusal
        awaited = self._engine.snapshot.awaits_local and self._q.demand.profile == "local"
        if not self._reports and planned.hopeless is not None and not awaited:
            return planned.hopeless
        return NoTarget(
            limited=planned.limited, retry_at=planned.retry_at, attempts=self._reports, reasons=planned.reasons
        )

    def _advertised(self, window: int) -> int:
        """The window to name: agents store it, so it is the advertised one where no model was pinned."""
        if self._constraint.pin is not None:
            return window
        snapshot = self._engine.snapshot
        profile = self._q.demand.profile
        return advertised_context(snapshot.roster, self._settings, self._engine.state.learned, profile=profile)

    async def _try(self, candidate: Candidate) -> tuple[UpstreamError | None, Rendered | None]:
        """One attempt, to its verdict."""
        engine = self._engine
        self._candidate = candidate
        self._attempt = None
        facts = candidate.facts
        delivery = self._delivery
        reading = self._reading = Reading(engine, facts, self._q.inbound.request, self._q.caller.key)
        try:
            request = self._outbound(facts)
        except KeyError:
            error: UpstreamError = CredentialRejected("the credential is gone")
            error.target = facts.target
            self._account(error)
            self._settle(sent=False)
            return error, None
        lane: Lane | None = None
        if delivery is not None:
            delivery.splice.begin(self._cap_tokens)
            self._shown_before = delivery.splice.shown.chars
            lane = reading.lane(delivery.splice)
        attempt = self._attempt = Attempt(
            facts,
            self,
            lane,
            clock=engine.clock,
            border=engine.border,
            sweeper=engine.sweeper,
            first_token_limit_s=self._first_token_limit(facts),
            stall_s=self._settings.stall_s,
        )
        attempt.send(engine.transport, request)
        while not attempt.over:
            await self._wait()
        if attempt.error is not None:
            return attempt.error, None
        try:
            rendered = await self._deliver(reading, attempt, lane)
        except UpstreamError as error:
            attempt.overrule(error)
            return error, None
        self._succeeded(facts, attempt)
        return None, rendered

    # -- one attempt, prepared -------------------------------------------------------------------------

    def _outbound(self, facts: TargetFacts) -> Outbound:
        """The request as it leaves. Raises KeyError where the secret is gone."""
        engine = self._engine
        asked = self._q.inbound.request.max_output_tokens
        reasoning = facts.model.capability(Capability.REASONING).value is Known.YES
        refused = engine.state.refused_params(facts.target.provider, facts.target.model)
        rendered = render(
            self._q.inbound.fields,
            facts,
            Options(
                stream=self._delivery is not None,
                reserve_tokens=self._settings.reasoning_token_reserve,
                reasoning=reasoning,
                without=refused,
                traits=self._q.inbound.traits,
                input_tokens=self._q.demand.input_tokens,
            ),
            engine.memory.recall_for(facts, self._q.caller.key),
        )
        self._altered = rendered.altered
        for notice in rendered.warnings:
            self._notices[str(notice)] = None
        sent = rendered.sent_max_tokens
        self._cap_tokens = asked if asked is not None and sent is not None and sent > asked else None
        agent = self._q.caller_agent
        headers = engine.authorizer.headers(facts, caller_agent=agent if agent.isascii() else "")
        return Outbound("POST", f"{facts.base_url}/chat/completions", headers, rendered.body)

    def _first_token_limit(self, facts: TargetFacts) -> float:
        """Silence limit of the attempt in seconds. The deadline is looked at apart: what it cuts is nobody's fault."""
        limit = self._engine.state.first_token_limit_s(facts, self._q.demand, self._settings.first_token_s)
        if self._delivery is None:
            # All of it comes at once: the time of writing is part of the silence.
            tokens = self._q.inbound.request.max_output_tokens or _UNARY_TOKENS
            limit += min(tokens, facts.output_cap or tokens) / _UNARY_TOKENS_PER_S
        return limit

    # -- the answer ------------------------------------------------------------------------------------

    async def _deliver(self, reading: Reading, attempt: Attempt, lane: Lane | None) -> Rendered | None:
        """Hand the answer over. Raises the UpstreamError that a 200 turns out to be."""
        facts, delivery, prompt = attempt.facts, self._delivery, self._q.demand.input_tokens
        if delivery is None:
            whole = reading.whole(attempt.body, prompt_tokens=prompt, cap_tokens=self._cap_tokens)
            self._usage = whole.usage
            return Rendered(200, {"content-type": "application/json", **self._headers(facts)}, whole.body)
        if lane is not None and lane.over:
            usage = lane.usage
        else:
            out, usage = reading.streamed(attempt.body, delivery.splice)
            delivery.push(out)
        headers = self._headers(facts)
        await delivery.open(headers)
        counted = usage is not None and usage.output_tokens > 0
        self._usage = usage if usage and counted else reading.estimate(prompt, delivery.splice.shown.chars)
        await delivery.finish(headers, self._usage)
        if lane is not None:
            reading.remember(lane)
        return None

    def _headers(self, facts: TargetFacts) -> dict[str, str]:
        headers = {
            "x-hermes-target": facts.target.name,
            "x-hermes-attempts": str(len(self._reports) + 1),
        }
        if self._notices:
            headers["x-hermes-warnings"] = ",".join(self._notices)[:1_000]
        return headers

    # -- pushed ----------------------------------------------------------------------------------------

    def emit(self, data: bytes) -> None:
        """Bytes for the caller, from within the transport's callback."""
        delivery = self._delivery
        if not data or delivery is None:
            return
        slow = delivery.push(data)
        if not delivery.live:
            self.wake()
        elif slow and self._attempt is not None:
            self._paused = True
            self._attempt.pause()

    def wake(self) -> None:
        """Something changed: let `run` look."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def seen(self, quotas: tuple[QuotaSeen, ...]) -> None:
        """What the head of the answer says of the provider's windows."""
        if self._attempt is not None:
            self._engine.state.seen(self._attempt.facts.target, quotas, self._engine.clock.now())

    def alone(self) -> bool:
        """Whether nobody but the target under way could serve; asked only when its time for a first token is up."""
        attempt, snapshot, engine = self._attempt, self._engine.snapshot, self._engine
        if attempt is None:
            return False
        others = self._constraint._replace(tried=self._constraint.tried | {attempt.facts.target})
        planned = plan(
            self._q.demand, others, snapshot.roster, engine.state, snapshot.policy, engine.clock.now(), engine.rng
        )
        spare = (one.why for one in planned.explain() if isinstance(one, Choice))
        return all(why == "last resort" for why in spare)

    async def _wait(self) -> None:
        """Until something changed; then open the reply, where that is what is needed."""
        attempt = self._attempt
        assert attempt is not None
        if self._delivery is not None and self._delivery.opens:
            await self._delivery.open(self._headers(attempt.facts))
            return
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    def tick(self, mono: float) -> None:
        """All time limits of the exchange, and the relief of an upstream that was paused."""
        attempt, delivery = self._attempt, self._delivery
        if attempt is not None and not attempt.over:
            if self._paused and delivery is not None and delivery.relieved:
                self._paused = False
                attempt.resume()
            if mono >= self._deadline_mono and not self._committed:
                attempt.abort()
                attempt.failed(TimedOut("deadline"))
            else:
                attempt.tick(mono)
        if delivery is not None and delivery.tick(mono):
            self.wake()

    # -- what is learnt, and the end -------------------------------------------------------------------

    def _succeeded(self, facts: TargetFacts, attempt: Attempt) -> None:
        engine = self._engine
        now = engine.clock.now()
        if self._candidate is not None:
            self._trail.answered(self._candidate, attempt, self._usage)
        engine.state.succeeded(facts.target, now, ttft_s=attempt.ttft_s, demand=self._q.demand)
        if not self._usage.estimated and self._usage.input_tokens:
            engine.state.calibrate(
                facts.target.provider, facts.target.model, self._q.demand.input_tokens, self._usage.input_tokens
            )
        self._settle(sent=True)

    def _note_failure(self, facts: TargetFacts, error: UpstreamError) -> None:
        engine = self._engine
        now = engine.clock.now()
        error.target = facts.target
        if isinstance(error, TimedOut) and error.phase == "deadline":
            engine.state.abandoned(facts.target, now)  # our own deadline is nobody's fault
        else:
            engine.state.failed(facts.target, error, now, demand=self._q.demand)
        if isinstance(error, ContextTooLong) and error.limit_tokens:
            engine.state.learn_context(facts.target.provider, facts.target.model, error.limit_tokens)
        if isinstance(error, Unsupported) and error.param:
            engine.state.learn_refused(facts.target.provider, facts.target.model, error.param)
        if isinstance(error, RequestRejected) and error.wire_class == "refused":
            self._refusal = error
            if error.param in _ABILITIES:  # it said what the model lacks: the next such request goes elsewhere at once
                engine.state.learn_capability(
                    facts.target.provider, facts.target.model, Capability(error.param), Known.NO
                )
        self._reports.append(AttemptReport(facts.target.name, error.wire_class, error.retry_at))
        self._account(error)
        engine.log.warning(
            "attempt.failed",
            request_id=self._q.request_id,
            target=str(facts.target),
            error=type(error).__name__,
            status=error.status,
            said=error.excerpt[:200],
        )
        self._settle(sent=error.status is None or error.status == 200)

    def _account(self, error: UpstreamError | None) -> None:
        """Note the attempt that failed, before it is settled; None = the caller left."""
        if self._candidate is None:
            return
        delivery, reading = self._delivery, self._reading
        self._trail.failed(
            self._candidate,
            self._attempt,
            error,
            reported=reading.usage if reading is not None else None,
            prompt_tokens=self._q.demand.input_tokens,
            chars=delivery.splice.shown.chars - self._shown_before if delivery is not None else 0,
        )

    def _settle(self, *, sent: bool) -> None:
        """Settle the reservation, once."""
        candidate, self._candidate = self._candidate, None
        if candidate is None:
            return
        usage = self._usage
        self._engine.state.settle(
            candidate.reservation,
            self._engine.clock.now(),
            input_tokens=usage.input_tokens or None,
            output_tokens=usage.output_tokens or None,
            sent=sent,
        )

    def _leave(self) -> None:
        """The caller left, or all is done: close what is still open; nobody is blamed."""
        attempt, candidate = self._attempt, self._candidate
        if attempt is not None and not attempt.over:
            attempt.abort()
        if candidate is not None:
            self._engine.state.abandoned(candidate.facts.target, self._engine.clock.now())
            self._account(None)
        self._settle(sent=attempt is not None)

    async def _refuse(self, error: HermesError) -> Rendered | None:
        """The exchange failed: an HTTP error while the head is held, else the dialect's error event."""
        delivery = self._delivery
        if delivery is not None and delivery.live:
            await delivery.fail(error)
            return None
        rendered = render_error(error, now=self._engine.clock.now())
        headers = {"content-type": "application/json", "x-hermes-attempts": str(len(self._reports))}
        return replace(rendered, headers={**headers, **rendered.headers})

    def _report(self, outcome: str) -> None:
        question = self._q
        self._trail.report(
            outcome,
            self._usage,
            request_id=question.request_id,
            router_key=question.caller.key,
            dialect=question.dialect,
            model=question.inbound.request.model,
            demand=question.demand,
            stream=self._delivery is not None,
            failures=len(self._reports),
            warnings=self._notices,
        )
