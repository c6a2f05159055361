"""One inbound request with all it causes: admit, plan, attempt, relay, settle, report.

Owns the only retry loop of the program. It decides with `async`, and relays by push: after the commit point upstream
bytes go to the caller from within the transport's callback. It must never know HTTP servers, clients or vendors.
"""

import asyncio
from typing import NamedTuple

from hermes_router.core.catalog import Capability, Known, Quirk, TargetFacts
from hermes_router.core.chat import Warning as Notice
from hermes_router.core.errors import (
    CallerLimited,
    CredentialRejected,
    DeadlinePassed,
    EmptyReply,
    HermesError,
    Inexpressible,
    NoTarget,
    TimedOut,
    UpstreamError,
)
from hermes_router.core.events import Usage
from hermes_router.core.observations import QuotaSeen
from hermes_router.core.ports import Outbound, ReplyStream
from hermes_router.engine.admission import Caller
from hermes_router.engine.asking import Asked, Asking
from hermes_router.engine.attempt import Attempt
from hermes_router.engine.caller_limits import Lease
from hermes_router.engine.context import Engine
from hermes_router.engine.delivery import Delivery
from hermes_router.engine.prober import LIST_VERSION
from hermes_router.engine.reading import Reading
from hermes_router.engine.resumption import Resumption, may_fold, tokens_of
from hermes_router.engine.search import Search
from hermes_router.engine.settlement import Settlement, Spoken
from hermes_router.engine.silence import before_the_first_token, between_tokens
from hermes_router.engine.standby import Standby
from hermes_router.engine.thoughts import LEFT_OUT, THOUGHTS, Thoughts
from hermes_router.routing import failover
from hermes_router.routing.demand import Constraint, Demand
from hermes_router.routing.scheduler import Candidate
from hermes_router.wire.chat.outgoing import Options
from hermes_router.wire.dialects import DIALECTS
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.lane import Lane
from hermes_router.wire.openai_errors import Rendered
from hermes_router.wire.seam import Seam
from hermes_router.wire.translated import FoldLane

_NEVER = float("inf")
_MOST_EMPTY = 3
_RENEWAL_S = 30.0  # how long a request waits for an account's new tokens before the next account is asked


class Question(NamedTuple):
    """What an exchange is asked: the parsed request, scored, with what it may be served by.

    `max_wait_s`: how long the caller lets it wait for quota, in seconds; None = as its key or the settings say.
    """

    inbound: Inbound
    demand: Demand
    constraint: Constraint
    caller: Caller
    caller_agent: str = ""
    notices: tuple[Notice, ...] = ()
    request_id: str = ""
    fallback_any: bool = False
    max_wait_s: float | None = None


class Exchange:
    """One exchange. `run` answers it; a cancelled `run` (the caller left) cancels its upstream."""

    __slots__ = (
        "_altered", "_asking", "_attempt", "_cap_tokens", "_deadline_mono", "_delivery", "_dropped", "_empty",
        "_engine", "_folds", "_lane", "_look_mono", "_notices", "_patience_s", "_paused", "_prompt_tokens", "_q",
        "_reading", "_resumption", "_seam", "_search", "_settings", "_settlement", "_standby", "_thoughts", "_wake",
    )  # fmt: skip

    def __init__(self, engine: Engine, question: Question, reply: ReplyStream | None) -> None:
        self._engine = engine
        self._q = question
        self._settings = settings = engine.snapshot.settings
        self._deadline_mono = engine.clock.mono() + settings.request_deadline_s
        patience_s = question.max_wait_s if question.max_wait_s is not None else question.caller.patience_s
        self._patience_s = settings.patience_s if patience_s is None else patience_s
        self._search = Search(engine, question.demand, question.constraint, fallback_any=question.fallback_any)
        self._settlement = Settlement(engine, question.demand, question.request_id)
        self._standby: Standby | None = None
        self._notices: dict[str, None] = dict.fromkeys(map(str, question.notices))
        self._asking = Asking(question.inbound, question.demand, engine.secret)
        self._delivery: Delivery | None = None
        if reply is not None:
            tokens = question.demand.input_tokens
            live = settings.stream_tool_args == "live"
            self._delivery = Delivery(question.inbound, tokens, reply, engine.clock, engine.ids, live_calls=live)
        self._resumption = Resumption(engine)
        self._seam: Seam | None = None  # of the attempt under way
        self._folds = False  # a whole answer is wanted, and asked for as a stream
        self._lane: Lane | None = None
        self._prompt_tokens = 0  # of the caller's own prompt, as the first attempt that showed something reported it
        self._attempt: Attempt | None = None
        self._reading: Reading | None = None
        self._dropped: frozenset[str] = frozenset()
        self._thoughts = Thoughts(engine.memory)
        self._empty: set[str] = set()  # providers that had nothing to say to this request
        self._altered = False
        self._cap_tokens: int | None = None
        self._paused = False  # the upstream waits for the caller
        self._look_mono = _NEVER  # when a wait for new tokens is over
        self._wake: asyncio.Future[None] | None = None

    # -- the six steps ---------------------------------------------------------------------------------

    async def run(self) -> Rendered | None:
        """Answer. Returns the whole answer or error, or None where it went out through the reply stream."""
        engine = self._engine
        outcome = "caller_left"
        lease: Lease | None = None
        engine.sweeper.watch(self)
        try:
            lease = self._admit()
            rendered = await self._serve()
            outcome = "answered" if rendered is None or rendered.status == 200 else f"refused_{rendered.status}"
        except HermesError as error:
            outcome = type(error).__name__
            if isinstance(error, NoTarget):
                self._settlement.trail.again_at = error.retry_at
            rendered = await self._refuse(error)
        finally:
            if lease is not None:
                lease.release()
            engine.sweeper.forget(self)
            self._leave()
            self._report(outcome)
            # Exchange and attempt hold each other, and the body: not until the collector comes.
            self._attempt = self._lane = None
            self._standby = None  # the same
        return rendered

    def _admit(self) -> Lease:
        """Past the key's own limits, and the runaway guard. Raises CallerLimited."""
        engine, caller = self._engine, self._q.caller
        now = engine.clock.now()
        lease = engine.limits.admit(caller, now)
        self._search.lease = self._settlement.lease = lease
        if self._settings.runaway_guard:
            try:
                notice = engine.guard.admit(caller.key, self._q.inbound, now, self._q.request_id)
            except CallerLimited:
                lease.release()
                raise
            if notice is not None:
                self._notices[str(notice)] = None
        return lease

    async def _serve(self) -> Rendered | None:
        """Plan and attempt until there is an answer; every plan is made anew on the current snapshot."""
        while True:
            candidate = self._next() or await self._stand_by()
            self._settlement.begin(candidate, self._search.passage)
            error, rendered = await self._try_renewed(candidate)
            if error is None:
                return rendered
            self._settlement.failed(candidate.facts, error, self._attempt, self._spoken())
            other_way = self._take_stock(candidate.facts, error)
            if not self._committed and self._engine.clock.mono() >= self._deadline_mono:
                raise DeadlinePassed(self._settlement.reports)
            if self._resumption.is_refusal(error, self._dropped):
                self._settlement.refusal = None  # what was refused is ours, not the caller's
                self._search.refused(candidate.facts, error, again=other_way)
            else:
                self._follow(candidate.facts, error)

    def _take_stock(self, facts: TargetFacts, error: UpstreamError) -> bool:
        """What a failed attempt leaves behind. Returns whether the same target should be asked in another way.

        Raises the error where no other attempt may join what is shown.
        """
        delivery = self._delivery
        if delivery is None or self._attempt is None:  # nothing was sent: what is shown stands as it stood
            return False
        other_way = self._resumption.failed(facts, error, delivery.splice, dropped=self._dropped)
        reported = self._reported
        if delivery.live and delivery.splice.shown_chars and not self._prompt_tokens and reported is not None:
            self._prompt_tokens = reported.input_tokens
        delivery.start_over()
        way = delivery.splice.way
        if way == "stop" or self._resumption.spent or (way == "on" and not self._asking.readable):
            raise error
        if way == "on":
            self._search.resend(tokens_of(delivery.splice.shown.chars))
        return other_way

    def _follow(self, facts: TargetFacts, error: UpstreamError) -> None:
        """Take the step that the failover table says. Raises the error where that is to stop.

        Raises NoTarget where provider after provider has nothing to say: then it is the request, and asking the whole
        pool would spend its quota and rest every one of its targets.
        """
        if isinstance(error, EmptyReply):
            self._empty.add(facts.provider.name)
            if len(self._empty) >= _MOST_EMPTY:
                advice = f"{_MOST_EMPTY} providers gave an empty answer to this request."
                raise NoTarget(limited=False, retry_at=None, attempts=self._settlement.reports, advice=advice)
        step = failover.after(
            error,
            facts,
            self._search.constraint,
            altered=self._altered,
            input_tokens=self._q.demand.input_tokens,
            dropped=self._dropped,
            context=self._engine.state.learned.context(facts.target.provider, facts.target.model),
        )
        if step.action == "stop":
            raise error
        self._search.failed(facts, error, step.constraint)
        if step.action == "same" and step.drop is not None:
            self._dropped |= {step.drop}
            self._settlement.refusal = None  # it is answered by leaving the field out

    @property
    def _committed(self) -> bool:
        return self._delivery is not None and self._delivery.committed

    def _next(self) -> Candidate | None:
        """The next candidate, its quota reserved in the same step; None where nobody can take the request now."""
        waiters, standby, search = self._engine.waiters, self._standby, self._search
        if waiters.waiting:
            waiters.serve()  # whoever has waited goes first
            if self._patience_s and not search.planned and waiters.expects(search.kind, search.size) is not None:
                return None
        waited_s = 0.0 if standby is None else standby.waited_s
        return search.take(left_s=self._patience_s - waited_s)

    async def _stand_by(self) -> Candidate:
        """Wait for whoever returns, where that is worth it (contract.md, Waiting). Raises what the caller gets else."""
        standby = self._standby
        if standby is None:
            standby = self._standby = Standby(
                self._engine,
                self._search,
                self._settlement,
                patience_s=self._patience_s,
                stretches=self._q.max_wait_s is None,
                arrived_mono=self._deadline_mono - self._settings.request_deadline_s,
                request_id=self._q.request_id,
                changed=self.wake,
            )
        self._attempt = None  # the last one is over, and its bodies need not wait
        standby.begin(_NEVER if self._committed else self._deadline_mono)
        while standby.on:
            await self._wait({})
        return standby.result()

    async def _try_renewed(self, candidate: Candidate) -> tuple[UpstreamError | None, Rendered | None]:
        """One attempt; where the provider says that an account's access token has ended, with another one once more."""
        renewals, credential = self._engine.renewals, candidate.facts.credential
        if renewals is None or credential.kind != "oauth":
            return await self._try(candidate)
        used = renewals.in_use(credential.id)
        error, rendered = await self._try(candidate)
        refused = isinstance(error, CredentialRejected) and self._attempt is not None and self._attempt.status == 401
        if not refused:
            return error, rendered
        answers: list[bool] = []

        def done(renewed: bool) -> None:
            answers.append(renewed)
            self.wake()

        clock = self._engine.clock
        self._look_mono = min(clock.mono() + _RENEWAL_S, self._deadline_mono)
        renewals.renew(credential.id, used, done)
        while not answers and clock.mono() < self._look_mono:
            await self._wait(None)
        self._look_mono = _NEVER
        if not (answers and answers[0]):
            return error, rendered
        if self._delivery is not None:
            self._delivery.start_over()
        return await self._try(candidate)

    async def _try(self, candidate: Candidate) -> tuple[UpstreamError | None, Rendered | None]:
        """One attempt, to its verdict."""
        engine = self._engine
        self._attempt = self._lane = None
        facts = candidate.facts
        delivery = self._delivery
        try:
            if self._search.constraint.fetches and not facts.provider.image_urls and self._asking.pictured is None:
                await self._fetch_images()
            asked, request = self._outbound(facts)
        except (KeyError, Inexpressible) as found:
            error = found if isinstance(found, Inexpressible) else CredentialRejected("the credential is gone")
            self._settlement.not_sent(facts, error)
            return error, None
        inbound = self._q.inbound
        reading = self._reading = Reading(
            engine, facts, inbound, self._q.caller.key, asked.dialect, translated=asked.translated
        )
        lane: Lane | None = None
        if self._folds:
            lane = FoldLane(reading.decoder())
        if delivery is not None:
            delivery.splice.begin(self._cap_tokens, self._seam)
            delivery.answered_by(facts.target.name)
            lane = reading.lane(delivery.splice)
        self._lane = lane
        limit_s, stall_s = self._first_token_limit(facts), self._settings.stall_s
        attempt = self._attempt = Attempt(
            facts,
            self,
            lane,
            clock=engine.clock,
            border=engine.border,
            sweeper=engine.sweeper,
            first_token_limit_s=limit_s,
            stall_s=between_tokens(stall_s, facts, inbound.request, first_token_limit_s=limit_s),
        )
        attempt.send(engine.transport, request)
        while not attempt.over:
            await self._wait(None)
        if reading.limits:
            self.seen(reading.limits)
        if attempt.error is not None:
            self._thoughts.refused(facts, attempt.error, request.body)
            return reading.judged(attempt.error), None
        try:
            rendered = await self._deliver(reading, attempt, lane)
        except UpstreamError as error:
            attempt.overrule(error)
            return error, None
        self._settlement.succeeded(facts, attempt, self._spoken())
        self._thoughts.answered(facts)
        self._teach(attempt)
        return None, rendered

    async def _fetch_images(self) -> None:
        """Have the images that the request names by their addresses, for who does not fetch them. Raises Unfetched."""
        from hermes_router.engine.pictures import LIMIT_S, Wait, put_in  # noqa: PLC0415 - nobody pays for what is off

        deadline_mono, limit_mono = self._deadline_mono, self._engine.clock.mono() + LIMIT_S
        self._look_mono = until_mono = limit_mono if self._committed else min(deadline_mono, limit_mono)
        try:
            await put_in(self._asking, self._engine, self._q, Wait(self._wait, self.wake, until_mono), self._notices)
        finally:
            self._look_mono = _NEVER

    def _teach(self, attempt: Attempt) -> None:
        """Let the prober look at the answer; what was shown beside an earlier attempt's part proves nothing."""
        alone, delivery, question = not self._settlement.reports, self._delivery, self._q
        prober, facts = self._engine.prober, attempt.facts
        if (version := attempt.headers.get(LIST_VERSION)) is not None:
            prober.listed_as(facts, version)
        prober.saw(
            facts,
            question.demand,
            question.inbound.fields,
            usage=self._settlement.usage,
            shown=delivery.splice.shown if alone and delivery is not None else None,
            body=attempt.body if alone and delivery is None else b"",
        )

    # -- one attempt, prepared -------------------------------------------------------------------------

    def _outbound(self, facts: TargetFacts) -> tuple[Asked, Outbound]:
        """The request as it leaves. Raises KeyError where the secret is gone, Inexpressible, BadRequest."""
        engine, inbound = self._engine, self._q.inbound
        wanted = inbound.request.max_output_tokens
        streams_only = Quirk.CODEX_BODY in facts.quirks
        whole = self._delivery is None and inbound.operation == "chat"
        self._folds = whole and (streams_only or (facts.provider.aggregate and may_fold(inbound)))
        options = Options(
            stream=self._folds or self._delivery is not None,
            reserve_tokens=self._settings.reasoning_token_reserve,
            reasoning=facts.model.capability(Capability.REASONING).value is Known.YES,
            without=engine.state.refused_params(facts.target.provider, facts.target.model),
            traits=inbound.traits,
            input_tokens=self._q.demand.input_tokens,
            betas=inbound.betas,
            strip_thoughts=THOUGHTS in self._dropped,
        )
        splice = None if self._delivery is None else self._delivery.splice
        recall = engine.memory.recall_for(facts, self._q.caller.key)
        first = not self._settlement.reports
        asked, self._seam = self._resumption.ask(self._asking, facts, options, recall, splice, first=first)
        rendered = asked.rendered
        self._altered = rendered.altered or asked.translated
        for notice in rendered.warnings:
            self._notices[str(notice)] = None
        if options.strip_thoughts or recall.left_out:
            self._notices[LEFT_OUT] = None
        sent = rendered.sent_max_tokens
        # Where no cap can be sent, or more than was to be, the answer is cut here.
        asked_for = asked.asked_tokens
        longer = sent > asked_for if asked_for is not None and sent is not None else Quirk.CODEX_BODY in facts.quirks
        self._cap_tokens = wanted if longer else None
        agent = self._q.caller_agent
        headers = engine.authorizer.headers(facts, caller_agent=agent if agent.isascii() else "")
        if rendered.headers:
            headers = {**headers, **dict(rendered.headers)}
        return asked, Outbound("POST", asked.url, headers, rendered.body)

    def _first_token_limit(self, facts: TargetFacts) -> float:
        limit_s = self._engine.state.first_token_limit_s(facts, self._q.demand, self._settings.first_token_s)
        whole = self._delivery is None and not self._folds
        return before_the_first_token(limit_s, facts, self._q.inbound.request, whole=whole)

    # -- the answer ------------------------------------------------------------------------------------

    async def _deliver(self, reading: Reading, attempt: Attempt, lane: Lane | None) -> Rendered | None:
        """Hand the answer over. Raises the UpstreamError that a 200 turns out to be."""
        facts, delivery, prompt = attempt.facts, self._delivery, self._q.demand.input_tokens
        if delivery is None:
            cap = self._cap_tokens
            if isinstance(lane, FoldLane) and lane.over:
                whole = reading.folded(lane, prompt_tokens=prompt, cap_tokens=cap)
            else:
                whole = reading.whole(attempt.body, prompt_tokens=prompt, cap_tokens=cap)
            self._settlement.usage = whole.usage
            return Rendered(200, {"content-type": "application/json", **self._headers(facts)}, whole.body)
        if lane is not None and lane.over:
            usage = lane.usage
        else:
            out, usage = reading.streamed(attempt.body, delivery.splice)
            delivery.push(out)
        headers = self._headers(facts)
        await delivery.open(headers)
        counted = usage is not None and usage.output_tokens > 0
        splice = delivery.splice
        sent = prompt + self._resumption.resent_tokens
        usage = usage if usage and counted else reading.estimate(sent, splice.said_chars)
        self._settlement.usage = usage
        if self._resumption.went_on:
            # Of more than one attempt: the prompt once, the completion as it was shown (contract.md, Answers).
            usage = reading.estimate(self._prompt_tokens or prompt, splice.shown.chars + splice.shown.beside)
        await delivery.finish(headers, usage)
        if lane is not None:
            reading.remember(lane)
        return None

    def _failed(self) -> int:
        """Attempts that are over and were no answer."""
        return len(self._settlement.reports)

    def _headers(self, facts: TargetFacts) -> dict[str, str]:
        headers = {
            "x-hermes-target": facts.target.name,
            "x-hermes-attempts": str(self._failed() + 1),
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
            candidate = self._settlement.candidate
            self._engine.state.seen(
                self._attempt.facts.target,
                quotas,
                self._engine.clock.now(),
                reservation=None if candidate is None else candidate.reservation,
            )

    def admitted(self) -> None:
        """A good head: the provider has let the request in, and those behind it may follow."""
        if self._settlement.passage is not None:
            self._settlement.passage.proved()
            self._engine.waiters.wake()

    def alone(self) -> bool:
        """Whether nobody but the target under way could serve; asked only when its time for a first token is up.

        Once the caller sees something there is no deadline, and silence of that length is an end all the same.
        """
        attempt = self._attempt
        if attempt is None:
            return False
        silent_s = self._engine.clock.mono() - attempt.sent_mono
        if self._committed and silent_s >= self._settings.request_deadline_s:
            return False
        return self._search.alone(attempt.facts)

    async def _wait(self, headers: dict[str, str] | None) -> None:
        """Until something changed; then open the reply, where that is what is needed.

        `headers` describe the answer; None = the attempt under way will give it.
        """
        delivery = self._delivery
        if delivery is not None and delivery.opens:
            if headers is None and self._attempt is not None:
                headers = self._headers(self._attempt.facts)
            await delivery.open(headers or {})
            return
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    def tick(self, mono: float) -> None:
        """All time limits of the exchange, and the relief of an upstream that was paused."""
        attempt, delivery, standby = self._attempt, self._delivery, self._standby
        if attempt is not None and not attempt.over:
            if self._paused and delivery is not None and delivery.relieved:
                self._paused = False
                attempt.resume()
            if mono >= self._deadline_mono and not self._committed:
                attempt.abort()
                attempt.failed(TimedOut("deadline"))
            else:
                attempt.tick(mono)
        elif standby is not None and standby.on:
            standby.tick(mono, deadline_mono=_NEVER if self._committed else self._deadline_mono)
        if mono >= self._look_mono or (delivery is not None and delivery.tick(mono)):
            self.wake()

    # -- the end ---------------------------------------------------------------------------------------

    @property
    def _reported(self) -> Usage | None:
        """What the provider has said of the usage of the attempt under way."""
        return self._reading.usage if self._reading is not None else None

    def _spoken(self) -> Spoken:
        """What the attempt under way has said so far."""
        delivery, resumption = self._delivery, self._resumption
        if self._attempt is None:  # nothing was sent
            return Spoken()
        said = 0 if self._lane is None else self._lane.said_chars
        shown = delivery.splice.shown_chars if delivery is not None and delivery.live else 0
        return Spoken(self._reported, said, shown, resumption.by, resumption.resent_tokens)

    def _leave(self) -> None:
        """The caller left, or all is done: close what is still open; nobody is blamed."""
        attempt = self._attempt
        if attempt is not None and not attempt.over:
            attempt.abort()
        if self._standby is not None:
            self._standby.end()
        if self._settlement.candidate is not None:
            self._settlement.left(attempt, self._spoken())

    async def _refuse(self, error: HermesError) -> Rendered | None:
        """The exchange failed: an HTTP error while the head is held, else the dialect's error event."""
        delivery = self._delivery
        if delivery is not None and delivery.live:
            await delivery.fail(error, self._q.request_id)
            return None
        render_error = DIALECTS[self._q.inbound.dialect].render_error
        rendered = render_error(error, now=self._engine.clock.now(), request_id=self._q.request_id)
        headers = {"content-type": "application/json", "x-hermes-attempts": str(self._failed())}
        return rendered._replace(headers={**headers, **rendered.headers})

    def _report(self, outcome: str) -> None:
        question, settlement = self._q, self._settlement
        settlement.trail.report(
            outcome,
            settlement.usage,
            request_id=question.request_id,
            router_key=question.caller.key,
            dialect=question.inbound.dialect,
            model=question.inbound.request.model,
            demand=question.demand,
            stream=self._delivery is not None,
            failures=len(settlement.reports),
            warnings=self._notices,
            waited_s=0.0 if self._standby is None else self._standby.waited_s,
        )
