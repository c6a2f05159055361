"""What an exchange consumed, attempt by attempt, and what is told of it once it is over.

Owns the records: which tokens an attempt is charged for, reported or estimated, and what they cost. One exchange is one
log line, one count and one record; the last records stay in memory, so that they can be asked for before any disk has
them. It must never know the caller's usage: that is of the answer alone (contract.md, Answers).
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice

from hermes_router.core.catalog import UNKNOWN_PRICE, ModelSpec, Price, PriceClass
from hermes_router.core.errors import Blames, CallerError, RequestRejected, TimedOut, Unreachable, UpstreamError
from hermes_router.core.events import CHARS_PER_TOKEN, Usage
from hermes_router.core.ports import Recorder
from hermes_router.core.records import AttemptRecord, By, ExchangeRecord, FailedAttempt, failed_attempts
from hermes_router.engine.attempt import Attempt
from hermes_router.engine.context import Engine
from hermes_router.routing.demand import Demand
from hermes_router.routing.scheduler import Candidate

__all__ = ["Recent", "Trail", "consumed", "cost_microusd", "owners_money"]

KEPT = 500
_MOST_TOKENS = 1_000_000_000  # more is a provider's mistake, and sums of it must fit 64 bits
_EXCERPT = 200
_NAME = 200
_WARNINGS = 20
_FREE = frozenset({PriceClass.FREE, PriceClass.SUBSCRIPTION})
_NO_PRICES = frozenset({Price(), UNKNOWN_PRICE})
_NOTHING = Usage()
_REFUSALS = frozenset({Blames.QUOTA, Blames.CREDENTIAL, Blames.REQUEST, Blames.MODEL})
_ROUTINE = frozenset({
    "answered", "caller_left", *(kind.__name__ for base in (CallerError, RequestRejected) for kind in (
        base, *base.__subclasses__())),
})  # fmt: skip
"""Ends of an exchange that are nothing to wake anybody for: the answer, or the caller's own doing."""


def cost_microusd(model: ModelSpec, usage: Usage) -> int:
    """What this usage costs at the row's price, in micro-US-dollars; of free credit, what it takes from the credit.

    A free model and one of a subscription cost nothing by the token. `usage.input_tokens` holds the cached ones, so
    they are counted once, at their own price where there is one.
    """
    price = model.price
    if model.price_class in _FREE:
        return 0
    cached = min(usage.cached_tokens, usage.input_tokens)
    of_cached = price.input_microusd if price.cached_microusd is None else price.cached_microusd
    fresh = usage.input_tokens - cached
    spent = fresh * price.input_microusd + cached * of_cached + usage.output_tokens * price.output_microusd
    return (spent + 500_000) // 1_000_000


def owners_money(model: ModelSpec, microusd: int) -> int:
    """What of an amount the owner pays, which is what budgets are about: free credit and subscriptions are not."""
    return microusd if model.price_class is PriceClass.PAID else 0


def consumed(reported: Usage | None, prompt_tokens: int, chars: int) -> Usage:
    """What an attempt without a good end has used, as far as it is known.

    What the provider reported, unless that leaves out the answer, of which `chars` characters came (Messages counts one
    token before it has said a word: providers.md 12.7); then an estimate: the prompt as it was sized, the answer as it
    came. Nobody's tokens are twice as long as those of the estimate.
    """
    said = -(-chars // CHARS_PER_TOKEN)
    if reported is not None and reported != _NOTHING and reported.output_tokens * 2 >= said:
        return reported
    prompt = reported.input_tokens if reported is not None and reported.input_tokens else prompt_tokens
    return Usage(prompt, said, estimated=True)


class Trail:
    """The attempts of one exchange, as they end. `report` tells of them all, once.

    `used` is what the last failed one is reckoned to have used of quota, None where the provider refused it. `again_at`
    is when the caller was told to come again, epoch seconds.
    """

    __slots__ = ("_arrived_at", "_arrived_mono", "_engine", "_records", "_words", "again_at", "used")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._arrived_at = engine.clock.now()
        self._arrived_mono = engine.clock.mono()
        self._records: list[AttemptRecord] = []
        self._words: list[str] = []
        self.used: Usage | None = None
        self.again_at: float | None = None

    def answered(
        self, candidate: Candidate, attempt: Attempt, usage: Usage, *, shown_chars: int = 0, by: By = ""
    ) -> int:
        """The attempt gave the answer, and this is its usage. Returns what it cost, in micro-US-dollars."""
        # A caller that is slow to take the end is not the provider's time.
        return self._add(
            candidate, attempt, "ok", usage, ended_mono=attempt.last_data_mono, shown_chars=shown_chars, by=by
        )

    def failed(
        self,
        candidate: Candidate,
        attempt: Attempt | None,
        error: UpstreamError | None,
        *,
        reported: Usage | None,
        prompt_tokens: int,
        chars: int,
        shown_chars: int = 0,
        by: By = "",
    ) -> int | None:
        """The attempt failed; None for an error = the caller left, for an attempt = nothing was sent.

        The provider may bill it where it took the request: a good head came back, and no word of refusal alone.
        Returns what it cost, in micro-US-dollars; None where nobody knows: the request went out, and the caller or we
        had no patience to hear what became of it, or the connection broke.
        """
        taken = attempt is not None and attempt.status is not None and 200 <= attempt.status < 300
        if taken and error is not None and error.blames in _REFUSALS and not chars:
            taken = reported is not None
        unheard = attempt is not None and attempt.status is None and (error is None or _unheard(error))
        self.used = consumed(reported, prompt_tokens, chars) if taken or unheard else None
        usage = self.used if taken else None
        outcome = error.wire_class if error is not None else "abandoned"
        ended_mono = self._engine.clock.mono()
        cost = self._add(
            candidate, attempt, outcome, usage, ended_mono=ended_mono, error=error, shown_chars=shown_chars, by=by
        )
        return None if unheard else cost

    def _add(
        self,
        candidate: Candidate,
        attempt: Attempt | None,
        outcome: str,
        usage: Usage | None,
        *,
        ended_mono: float,
        error: UpstreamError | None = None,
        shown_chars: int = 0,
        by: By = "",
    ) -> int:
        facts = candidate.facts
        model = facts.model
        sent_mono, ttft_s, status = ended_mono, None, None
        if attempt is not None:
            sent_mono, ttft_s, status = attempt.sent_mono, attempt.ttft_s, attempt.status
        said, retry_at = "", None
        if error is not None:
            said, retry_at, status = error.excerpt[:_EXCERPT], error.retry_at, status or error.status
        billed, cost, unpriced = usage is not None, 0, False  # an unpriced one costs budgets what it is taken for
        if usage is None:
            usage = _NOTHING
        else:
            if usage.input_tokens > _MOST_TOKENS or usage.output_tokens > _MOST_TOKENS:
                usage = _bounded(usage)
            if model.price_class not in _FREE:
                cost = cost_microusd(model, usage)
                unpriced = model.price_class is PriceClass.PAID and model.price in _NO_PRICES
        target = facts.target
        self._words.append(f"{target}:{outcome}")
        self._records.append(
            AttemptRecord(  # by position: it is made for every request, and names cost
                target.provider, target.model, target.credential, facts.credential.tail, outcome, candidate.why,
                status, said, retry_at, ended_mono - sent_mono, ttft_s, usage.input_tokens, usage.cached_tokens,
                usage.output_tokens, usage.estimated, billed, 0 if unpriced else cost, unpriced,
                self._arrived_at + sent_mono - self._arrived_mono, shown_chars, by,
            )
        )  # fmt: skip
        return cost

    def report(
        self,
        outcome: str,
        usage: Usage,
        *,
        request_id: str,
        router_key: str,
        dialect: str,
        model: str,
        demand: Demand,
        stream: bool,
        failures: int,
        warnings: Iterable[str],
        waited_s: float = 0.0,
    ) -> None:
        """The exchange is over: count it, log it, hand its record over. No await, so that nothing can lose it."""
        engine = self._engine
        duration_s = engine.clock.mono() - self._arrived_mono
        told = tuple(islice(warnings, _WARNINGS))
        engine.counters.count(outcome, failures)
        engine.recorder.put(
            ExchangeRecord(
                request_id, self._arrived_at, router_key, dialect, model[:_NAME], demand.profile, stream, outcome,
                duration_s, demand.difficulty, demand.input_tokens, tuple(self._records),
                told,
            )
        )  # fmt: skip
        more: dict[str, object] = {"waited_s": round(waited_s, 3)} if waited_s else {}
        if told:
            more["warnings"] = " ".join(told)
        if self.again_at is not None:
            more["again_in_s"] = max(0, round(self.again_at - engine.clock.now()))
        say = engine.log.info if outcome in _ROUTINE or outcome.startswith("refused_") else engine.log.warning
        say(
            "exchange.done",
            request_id=request_id,
            outcome=outcome,
            stream=stream,
            attempts=" ".join(self._words),
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            estimated=usage.estimated,
            duration_s=round(duration_s, 3),
            **more,
        )


class Recent:
    """A Recorder that keeps the last records in memory, and hands each on to `behind`."""

    def __init__(self, behind: Recorder | None = None, *, kept: int = KEPT) -> None:
        self.behind = behind
        self._records: deque[ExchangeRecord] = deque(maxlen=kept)

    def put(self, record: ExchangeRecord) -> None:
        """Keep it."""
        self._records.append(record)
        if self.behind is not None:
            self.behind.put(record)

    def request(self, request_id: str) -> ExchangeRecord | None:
        """The latest exchange of this id, None where it is not among the last."""
        return next((each for each in reversed(self._records) if each.request_id == request_id), None)

    def last_errors(self, n: int) -> list[FailedAttempt]:
        """The last `n` failed attempts of the exchanges kept, the latest first."""
        return list(islice((failed for each in reversed(self._records) for failed in failed_attempts(each)), n))


def _unheard(error: UpstreamError) -> bool:
    """Whether the request may have reached the provider, and nothing came back."""
    if isinstance(error, Unreachable):
        return error.sent
    return isinstance(error, TimedOut) and error.phase != "connect"


def _bounded(usage: Usage) -> Usage:
    return usage._replace(
        input_tokens=min(usage.input_tokens, _MOST_TOKENS),
        output_tokens=min(usage.output_tokens, _MOST_TOKENS),
        cached_tokens=min(usage.cached_tokens, _MOST_TOKENS),
    )
