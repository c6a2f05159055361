"""One inbound request for vectors: from the model that the router key is bound to, in as many calls as that takes.

Owns what is particular to vectors: the binding by the first use, batches, and that no vector of another model or length
ever goes out. Attempts, failover and waits are the exchange's, pinned to one model. It must never know a wire format.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from time import gmtime, strftime
from typing import Final, NamedTuple

from msgspec import Raw

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.chat import Warning as Notice
from hermes_router.core.errors import (
    CallerLimited,
    ContextTooLarge,
    ContextTooLong,
    DeadlinePassed,
    HermesError,
    Invalid,
    Malformed,
    NoCapableTarget,
    NoTarget,
    TimedOut,
    TooLargeHere,
    Unsupported,
    UpstreamError,
)
from hermes_router.core.events import Usage
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.ports import Outbound
from hermes_router.core.records import EmbedBinding
from hermes_router.engine.asking import Asked
from hermes_router.engine.attempt import Attempt
from hermes_router.engine.caller_limits import Lease
from hermes_router.engine.context import Engine
from hermes_router.engine.embed_sources import ENDS, calls, check, choices, own_size, source
from hermes_router.engine.exchange import Exchange, Question
from hermes_router.engine.reading import Reading
from hermes_router.engine.search import MOST_ATTEMPTS, Search
from hermes_router.engine.settlement import Settlement
from hermes_router.routing.names import Pin
from hermes_router.routing.scheduler import Candidate
from hermes_router.wire.chat.outgoing import Rendered as Outgoing
from hermes_router.wire.embeddings import FIXED, EmbedRequest, Told, compose, read_answer, recoded, render
from hermes_router.wire.lane import Lane
from hermes_router.wire.openai_errors import Rendered

__all__ = ["Embedding"]

_DIALECT: Final = "openai_embeddings"
_BREATH: Final = 30_000  # numbers after which the other requests have their turn: 2 to 8 ms
_LARGE: Final = 500_000  # numbers; a copy of so many takes 10 ms, and need not be the loop's
_HANDOVER_S: Final = 1.0  # when a successor answers
_WHY: Final = {
    "limited": "its quota is used up for the moment",
    "limited_day": "its quota is used up",
    "budget": "the budget is spent",
    "no_credit": "its keys have no credit left",
    "rejected_key": "its keys were rejected",
    "gone": "the provider says that the model is gone",
    "unreachable": "it cannot be reached",
    "slow": "it does not answer in time",
    "overloaded": "it is overloaded",
    "cut": "its answers break off",
    "broken": "it answers with errors",
}


class _Vectors(NamedTuple):
    """All that was asked for, as it is written to the caller; `size` is how many numbers a vector has."""

    facts: TargetFacts
    model: str
    rows: Sequence[Raw]
    size: int
    total_tokens: int


class Embedding(Exchange):
    """An exchange whose answer is vectors. Each call to the provider is searched, claimed and settled by itself."""

    __slots__ = (
        "_asked", "_calls", "_estimated", "_lease", "_model", "_odd", "_others", "_own", "_part", "_rows", "_size",
        "_tokens", "_total_tokens", "_waited_s", "_whole",
    )  # fmt: skip

    def __init__(self, engine: Engine, question: Question, asked: EmbedRequest) -> None:
        super().__init__(engine, question, None)
        self._asked = asked
        self._whole = question
        self._lease: Lease | None = None
        self._part = slice(0)
        self._rows: list[Raw] = []
        self._others = False  # another model could be asked
        self._size = 0  # numbers in a vector, 0 = any will do
        self._own = 0  # what it is where none was asked for, as far as that is proven
        self._odd = ""  # what was wrong with the length of a vector
        self._model = ""
        self._tokens = self._total_tokens = 0
        self._estimated = False  # a part of them at least
        self._calls = 0  # that gave vectors
        self._waited_s = 0.0

    def _admit(self) -> Lease:
        """Past the key's own limits; the same text twice is no caller gone wild. Raises CallerLimited."""
        self._lease = self._engine.limits.admit(self._q.caller, self._engine.clock.now())
        return self._lease

    async def _serve(self) -> Rendered:
        engine, question = self._engine, self._whole
        pin, key, profile = question.constraint.pin, question.caller.key, question.demand.profile
        if pin is not None:
            return await self._rendered(await self._pinned(pin))
        bound = engine.embed_bindings.get(key, profile)
        if bound is None:
            began_mono = engine.clock.mono()
            left_s = max(0.0, self._deadline_mono - began_mono)
            try:
                async with engine.embed_bindings.first_use(key, profile, left_s):
                    # A wait for another's first use is one: else many would wait their patience one after the other.
                    self._patience_s = max(0.0, self._patience_s - (engine.clock.mono() - began_mono))
                    bound = engine.embed_bindings.get(key, profile)
                    if bound is None:
                        return await self._rendered(await self._first(key, profile))
            except TimeoutError:
                raise DeadlinePassed(self._settlement.reports) from None
        return await self._rendered(await self._bound(bound))

    # -- whose vectors ---------------------------------------------------------------------------------

    async def _pinned(self, pin: Pin) -> _Vectors:
        assert pin.provider is not None
        now = self._engine.clock.now()
        facts = source(self._engine.snapshot, pin.provider, pin.model, self._whole.constraint, now, bound=False)
        check(facts, self._asked)
        return await self._vectors(facts)

    async def _bound(self, bound: EmbedBinding) -> _Vectors:
        """From the one model that there is for this key. Raises NoTarget in words that say so."""
        engine = self._engine
        constraint, now = self._whole.constraint, engine.clock.now()
        facts = source(engine.snapshot, bound.provider, bound.model, constraint, now, bound=True)
        check(facts, self._asked, bound.dimensions)
        self._own = bound.dimensions
        try:
            vectors = await self._vectors(facts)
        except NoTarget as error:
            raise self._down(error, bound) from None
        stands = (
            engine.embed_bindings.get(bound.key_id, bound.profile) is bound
        )  # its owner may have ended it meanwhile
        if stands and not bound.dimensions and self._asked.dimensions is None:
            await engine.embed_bindings.bind(bound._replace(dimensions=vectors.size))
        return vectors

    async def _first(self, key: RouterKeyId, profile: str) -> _Vectors:
        """From the first model that can, which the key is bound to from now on: on the disk, before a vector is out."""
        engine, bindings = self._engine, self._engine.embed_bindings
        vectors = await self._of_any()
        if bindings.resting:
            now = engine.clock.now()
            raise NoTarget(limited=False, retry_at=now + _HANDOVER_S, said="The router is being restarted.")
        target = vectors.facts.target
        size = vectors.size if self._asked.dimensions is None else 0
        await bindings.bind(
            EmbedBinding(key, profile, target.provider, target.model, size, round(engine.clock.now(), 3))
        )
        return vectors

    async def _of_any(self) -> _Vectors:
        """One model after the other, each without a wait; then, where that is worth it, a wait for the nearest."""
        engine = self._engine
        found = choices(engine.snapshot, self._asked, self._whole.constraint, engine.clock.now())
        if len(found) == 1:
            return await self._vectors(found[0])
        patience_s, self._patience_s = self._patience_s, 0.0
        down: list[tuple[float, NoTarget, TargetFacts]] = []
        other: HermesError | None = None
        for facts in found:
            self._others = facts is not found[-1]
            try:
                return await self._vectors(facts)
            except NoTarget as error:
                down.append((float("inf") if error.retry_at is None else error.retry_at, error, facts))
            except (ContextTooLarge, CallerLimited, NoCapableTarget) as error:
                other = other or error
        if not down:
            assert other is not None
            raise other
        retry_at, nearest, facts = min(down, key=_when)
        if retry_at - engine.clock.now() <= patience_s:
            self._patience_s = patience_s
            return await self._vectors(facts)
        raise NoTarget(
            limited=all(one.limited for _, one, _ in down),
            retry_at=nearest.retry_at,
            attempts=self._settlement.reports[-MOST_ATTEMPTS:],
            reasons=[reason for _, one, _ in down for reason in one.reasons[:2]],
            advice=nearest.advice,
        )

    def _down(self, error: NoTarget, bound: EmbedBinding) -> NoTarget:
        """The truth about a model that cannot serve now, where no other may."""
        name = f"{bound.provider}/{bound.model}"
        since = strftime("%Y-%m-%d", gmtime(bound.bound_at))
        classes = [str(report.wire_class) for report in self._settlement.reports]
        classes += self._search.in_the_way(name)
        found = dict.fromkeys(classes)
        if len(found) > 1:
            found.pop("broken", None)  # the breaker's word, and the others say what opened it
        words = [_WHY.get(one, one) for one in found]
        why = self._odd or " and ".join(words) or "none of its keys can be asked now"
        return NoTarget(
            limited=error.limited,
            retry_at=error.retry_at,
            attempts=error.attempts,
            reasons=error.reasons,
            advice=f"{error.advice} {ENDS}".strip(),
            said=f"The vectors of this router key come from {name} since {since}, and no other model's would compare "
            f"with them. It cannot serve now: {why}.",
        )

    # -- the calls -------------------------------------------------------------------------------------

    async def _vectors(self, facts: TargetFacts) -> _Vectors:
        """All of them from the keys of one model. Raises what `run` answers with; then none of them counts."""
        self._rows = []
        self._size = self._asked.dimensions or self._own or facts.model.embeds or 0  # 0 = any: no row tells
        self._tokens = self._total_tokens = 0
        self._estimated = False
        for part in calls(facts, self._asked):
            self._begin(facts, part)
            await super()._serve()
            self._calls += 1
        return _Vectors(facts, self._model, self._rows, self._size, self._total_tokens)

    def _begin(self, facts: TargetFacts, part: slice) -> None:
        """A search and a settlement for the next call; the trail tells of all."""
        engine, before, whole = self._engine, self._settlement, self._whole
        tokens = sum(self._asked.sizes[part])
        self._part = part
        self._dropped = frozenset()
        self._q = whole._replace(
            demand=whole.demand._replace(input_tokens=tokens),
            constraint=whole.constraint._replace(pin=Pin(facts.provider.name, facts.model.id)),
        )
        if self._standby is not None:
            self._waited_s += self._standby.waited_s
            self._patience_s = max(0.0, self._patience_s - self._standby.waited_s)
            self._standby = None
        self._search = Search(engine, self._q.demand, self._q.constraint, fallback_any=False)
        self._settlement = settlement = Settlement(engine, self._q.demand, whole.request_id)
        settlement.trail, settlement.reports = before.trail, before.reports
        self._search.lease = settlement.lease = self._lease

    def _outbound(self, facts: TargetFacts) -> tuple[Asked, Outbound]:
        """The call as it leaves. Raises KeyError where the secret is gone."""
        engine, target = self._engine, facts.target
        refused = engine.state.refused_params(target.provider, target.model)
        body, dropped = compose(
            self._asked, self._part, model=facts.model.id, own_size=own_size(facts.model, self._asked), without=refused
        )
        for name in dropped:
            self._notices[str(Notice("dropped", name))] = None
        agent = self._q.caller_agent
        headers = engine.authorizer.headers(facts, caller_agent=agent if agent.isascii() else "")
        url = facts.url_of("openai_chat") + "/embeddings"
        asked = Asked("openai_chat", url, Outgoing(body, (), altered=False, sent_max_tokens=None), translated=False)
        return asked, Outbound("POST", url, headers, body)

    def _first_token_limit(self, facts: TargetFacts) -> float:
        """Silence limit of the call in seconds: nothing is written token by token."""
        return self._engine.state.first_token_limit_s(facts, self._q.demand, self._settings.first_token_s)

    async def _try(self, candidate: Candidate) -> tuple[UpstreamError | None, Rendered | None]:
        """One attempt. What cannot be left out of a request for vectors is the caller's to change."""
        error, rendered = await super()._try(candidate)
        if isinstance(error, Unsupported) and error.param in FIXED:
            return _invalid(error, error.param), None
        if isinstance(error, ContextTooLong | TooLargeHere):  # of one input: it says nothing of what a call may hold
            return _invalid(error, "input"), None
        return error, rendered

    async def _deliver(self, reading: Reading, attempt: Attempt, lane: Lane | None) -> Rendered:  # noqa: ARG002
        """Take the vectors of a call. Raises the UpstreamError that a 200 turns out to be."""
        engine, asked, facts = self._engine, self._asked, attempt.facts
        sizes = asked.sizes[self._part]
        told = read_answer(
            attempt.body,
            len(sizes),
            lambda error: engine.in_band(facts.provider.rejection, error, engine.clock.now()),
        )
        rows = await self._checked(facts, told)
        estimated = told.prompt_tokens is None
        prompt = sum(sizes) if told.prompt_tokens is None else told.prompt_tokens
        self._settlement.usage = Usage(prompt, 0, estimated=estimated)
        self._estimated = self._estimated or estimated
        self._rows += rows
        self._tokens += prompt
        self._total_tokens += prompt if told.total_tokens is None else told.total_tokens
        self._model = told.model or facts.model.id
        return Rendered(200, {}, b"")

    async def _checked(self, facts: TargetFacts, told: Told) -> list[Raw]:
        """The vectors in the caller's encoding, all of the one length. Raises Malformed; Invalid for `dimensions`."""
        rows: list[Raw] = []
        wanted, done = self._size, 0
        for row, size in recoded(told.vectors, base64=self._asked.base64):
            if wanted and size != wanted:
                raise self._other_length(facts, size, wanted)
            wanted = size
            rows.append(row)
            done += size
            if done >= _BREATH:
                done = 0
                await asyncio.sleep(0)
        self._size = wanted
        return rows

    def _other_length(self, facts: TargetFacts, size: int, wanted: int) -> UpstreamError:
        name, asked = facts.target.name, self._asked
        if wanted == asked.dimensions and facts.model.embedding.sizes is None:
            return Invalid(
                f"{name} gives vectors of {size} numbers, and not the {wanted} asked for", param="dimensions"
            )
        self._odd = f"it answered with vectors of {size} numbers instead of {wanted}"
        return Malformed(f"vectors of {size} numbers instead of {wanted}", scope="model")

    def _follow(self, facts: TargetFacts, error: UpstreamError) -> None:
        """Take the next step. A binding is for long, so who failed is asked once more; who was silent is not."""
        super()._follow(facts, error)
        if self._others and isinstance(error, TimedOut):
            constraint = self._search.constraint
            self._search.constraint = constraint._replace(tried=constraint.tried | {facts.target})

    def alone(self) -> bool:
        """Whether nobody but the target under way could serve, no other model either."""
        return not self._others and super().alone()

    def _teach(self, attempt: Attempt) -> None:
        """Vectors show nothing of what a model can do in a chat."""

    # -- the end ---------------------------------------------------------------------------------------

    def _failed(self) -> int:
        """All attempts that are over: those that gave a part of the vectors, too."""
        return super()._failed() + self._calls

    async def _rendered(self, vectors: _Vectors) -> Rendered:
        headers = {**self._headers(vectors.facts), "x-hermes-attempts": str(self._failed())}
        write = partial(render, model=vectors.model, prompt_tokens=self._tokens, total_tokens=vectors.total_tokens)
        large = vectors.size * len(vectors.rows) > _LARGE
        body = await asyncio.to_thread(write, vectors.rows) if large else write(vectors.rows)
        return Rendered(200, {"content-type": "application/json", **headers}, body)

    def _report(self, outcome: str) -> None:
        question, settlement = self._whole, self._settlement
        settlement.trail.report(
            outcome,
            Usage(self._tokens, 0, estimated=self._estimated),
            request_id=question.request_id,
            router_key=question.caller.key,
            dialect=_DIALECT,
            model=question.inbound.request.model,
            demand=question.demand,
            stream=False,
            failures=len(settlement.reports),
            warnings=self._notices,
            waited_s=self._waited_s + (0.0 if self._standby is None else self._standby.waited_s),
        )


def _when(one: tuple[float, NoTarget, TargetFacts]) -> float:
    return one[0]


def _invalid(error: UpstreamError, param: str | None) -> Invalid:
    found = Invalid(error.excerpt, status=error.status, param=param)
    found.target = error.target
    return found
