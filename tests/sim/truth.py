"""What the providers of the simulated week really are: limits, clocks, credit, trouble and words. Nobody sees this but they.

Owns the hidden truths and the answers that follow from them, worded as in facts/providers.md. The published numbers
are in the catalogue; where a truth differs from them, a comment says how. It must never know a policy.
"""

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hermes_router.core.catalog import Capability, Known, TargetFacts
from hermes_router.sandbox import limits as words
from hermes_router.sandbox.quotas import Gauge
from hermes_router.sandbox.styles import STYLES
from hermes_router.sandbox.values import Hit, Refusal

from .load import Job
from .windows import DAY, HOUR, MINUTE, Count, Limit, day_of, ends_at, full_minutes

Reading = Literal["clock", "rolling"]
"""How the minutes are taken of which the facts do not say what they are: as the clock has them, or as they roll.

Gemini's (3.1: they "roll by minute", and yet one waits for the rest of the minute), Cohere's (3.8: the rest of the
minute, of low confidence), and all others but those of which it is known that they are buckets (3.5, 3.6, 3.14).
"""

READINGS: tuple[Reading, ...] = ("clock", "rolling")

Kind = Literal[
    "quota", "capacity", "server", "unreachable", "offline", "silence", "cut", "key", "credit", "length", "too_large",
]  # fmt: skip


@dataclass(slots=True)
class Answer:
    """What comes back of an attempt. `status` None = no HTTP answer; `wait_s` = how long it will truly stay so."""

    status: int | None
    kind: Kind | None = None  # None = a good answer
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ttft_s: float = 0.0
    took_s: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    microusd: int = 0
    span_s: float = 0.0  # of the window that refused
    done: Callable[[float], None] | None = None  # to be called by the world at the answer's end


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something wrong between two instants, at all targets of a provider or at one model's."""

    begins: float
    ends: float
    kind: Kind
    model: str | None = None
    credential: str | None = None

    def stands(self, facts: TargetFacts, now: float) -> bool:
        """Whether it does now, at this target."""
        return (
            self.begins <= now < self.ends
            and self.model in {None, facts.target.model}
            and self.credential in {None, facts.credential.id}
        )


@dataclass(frozen=True, slots=True)
class Provider:
    """The truth of one provider. `factor` = tokens that its models count for one of ours."""

    limits: tuple[Limit, ...] = ()
    reserve: Literal["prompt", "prompt_cap", "cerebras"] = "prompt"
    owners: Mapping[str, str] = field(default_factory=dict)  # credential to account, where the owner did not say so
    only: Mapping[str, tuple[Limit, ...]] = field(default_factory=dict)  # limits of one account in place of the others
    penniless: frozenset[str] = frozenset()  # accounts that are answered 402
    factor: float = 1.0
    factors: Mapping[str, float] = field(default_factory=dict)
    contexts: Mapping[str, int] = field(default_factory=dict)  # real windows, where the row's are wrong or absent
    ttft_s: tuple[float, float] = (0.4, 1.5)
    per_1k_s: float = 0.03
    tokens_per_s: float = 90.0
    slow: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    flaky: float = 0.002
    wording: Callable[[Hit], Refusal] | None = None


def _silent(hit: Hit) -> Refusal:
    """A 429 with an envelope and not a word on when."""
    return replace(words.bare(hit), headers={})


def _samba(_hit: Hit) -> Refusal:
    """No Retry-After; the headers of every answer tell the windows."""
    return Refusal(429, {"error": {"message": "Rate limit exceeded", "type": "rate_limit_exceeded", "code": None}})


def _gemini(hit: Hit) -> Refusal:
    """The day's delay is the trap of facts 3.1; the minute's is true."""
    if hit.window == "rpd" or math.isinf(hit.wait_s):
        return words.gemini(hit)
    said = words.gemini(replace(hit, wait_s=words.GEMINI_SHORT_DELAY_S))
    true = f"{hit.wait_s:.1f}s"
    return replace(said, body=json.loads(json.dumps(said.body).replace(f"{words.GEMINI_SHORT_DELAY_S}s", true)))


def _cohere_headers(gauges: Mapping[str, Gauge], _now: float) -> dict[str, str]:
    """The endpoint's minute, and of the month the limit only."""
    minute = gauges["rpm"]
    return {
        "x-trial-endpoint-call-limit": str(minute.limit),
        "x-trial-endpoint-call-remaining": str(minute.remaining),
        "x-endpoint-monthly-call-limit": str(gauges["month"].limit),
    }


HEADERS: Mapping[str, Callable[[Mapping[str, Gauge], float], dict[str, str]]] = {"cohere": _cohere_headers}

PACIFIC = day_of("America/Los_Angeles")
GEMINI_25, GEMINI_35, GEMINI_31 = "gemini-2.5-flash-lite", "gemini-3.5-flash-lite", "gemini-3.1-flash-lite"
GEMINI_38, GEMMA = "gemini-3.8-flash", "gemma-4-31b-it"
ULTRA = "nvidia/nemotron-3-ultra-550b-a55b"


def _gemini_model(model: str, rpm: int, rpd: int, tpm: int) -> tuple[Limit, ...]:
    one = frozenset({model})
    return (
        Limit("rpd", "requests", rpd, DAY, "ends", ends=PACIFIC, models=one),
        Limit("rpm", "requests", rpm, MINUTE, models=one),
        Limit("tpm", "input", tpm, MINUTE, models=one),
    )


def _by_the_clock(limits: Sequence[Limit]) -> tuple[Limit, ...]:
    """The same, with minutes that end with the clock's in place of those that roll."""
    return tuple(
        replace(one, kind="ends", ends=full_minutes) if one.kind == "log" and one.span_s == MINUTE else one
        for one in limits
    )


def providers(start: float, reading: Reading) -> dict[str, Provider]:
    """Every provider's truth, for a world that begins at `start`."""
    rows = _providers(start)
    if reading == "rolling":
        return rows
    return {
        name: replace(
            row,
            limits=_by_the_clock(row.limits),
            only={key: _by_the_clock(limits) for key, limits in row.only.items()},
        )
        for name, row in rows.items()
    }


def _providers(start: float) -> dict[str, Provider]:
    return {
        "gemini": Provider(
            limits=(
                *_gemini_model(GEMINI_25, 10, 20, 250_000),  # as published
                *_gemini_model(GEMINI_35, 15, 500, 250_000),  # no day published
                *_gemini_model(GEMINI_31, 15, 200, 250_000),  # published: 500 a day
                *_gemini_model(GEMINI_38, 5, 20, 250_000),  # nothing published
                *_gemini_model(GEMMA, 30, 14_400, 15_000),  # no day published
            ),
            factor=0.93,
            ttft_s=(0.4, 1.6),
            wording=_gemini,
        ),
        "openrouter": Provider(
            # Two keys of one account that nobody labelled; the third account once bought credits: 1,000, not 50.
            owners={"openrouter-1": "or-a", "openrouter-2": "or-a"},
            limits=(
                Limit("rpd", "requests", 50, DAY, "ends", "account", day_of("utc")),
                Limit("rpm", "requests", 20, MINUTE, owner="account"),
            ),
            only={
                "openrouter-3": (
                    Limit("rpd", "requests", 1_000, DAY, "ends", "account", day_of("utc")),
                    Limit("rpm", "requests", 20, MINUTE, owner="account"),
                )
            },
            factor=1.06,
            ttft_s=(0.8, 4.0),
            flaky=0.01,
        ),
        "sambanova": Provider(
            # Days roll here, the row assumes midnight UTC. The second account has no payment method (402).
            limits=(
                Limit("rpd", "requests", 20, DAY, owner="account"),
                Limit("tpd", "tokens", 200_000, DAY, owner="account"),
                Limit("rpm", "requests", 20, MINUTE, owner="account"),
            ),
            penniless=frozenset({"sambanova-2"}),
            factor=1.1,
            wording=_samba,
        ),
        "cerebras": Provider(
            # Published per model, counted per organisation.
            limits=(
                Limit("tpd", "tokens", 1_000_000, DAY, "bucket", "account"),
                Limit("tph", "tokens", 1_000_000, HOUR, "bucket", "account"),
                Limit("rpm", "requests", 5, MINUTE, owner="account"),
                Limit("tpm", "tokens", 30_000, MINUTE, "bucket", "account"),
            ),
            reserve="cerebras",
            tokens_per_s=900.0,
            ttft_s=(0.2, 0.6),
        ),
        "groq": Provider(
            # As published, but for the smaller window of qwen.
            limits=(
                Limit("rpd", "requests", 1_000, DAY),
                Limit("tpd", "tokens", 200_000, DAY),
                Limit("rpm", "requests", 30, MINUTE),
                Limit("tpm", "tokens", 8_000, MINUTE, "bucket", except_models=frozenset({"qwen/qwen3.8-27b"})),
                Limit("tpm", "tokens", 6_000, MINUTE, "bucket", models=frozenset({"qwen/qwen3.8-27b"})),
            ),
            reserve="prompt_cap",
            tokens_per_s=400.0,
            ttft_s=(0.2, 0.7),
            factors={"qwen/qwen3.8-27b": 1.08},
        ),
        "mistral": Provider(
            # The long quoted second is the workspace's, not each model's; the large model has less.
            limits=(
                Limit("rpm", "requests", 1, 1.0, owner="account"),
                Limit("rpm", "requests", 20, MINUTE, models=frozenset({"mistral-large-4"})),
                Limit("rpm", "requests", 60, MINUTE, except_models=frozenset({"mistral-large-4"})),
                Limit("tpm", "tokens", 500_000, MINUTE),
            ),
            factor=1.22,
            contexts={"zai-glm-5-3-flash": 131_072},
        ),
        "cohere": Provider(
            # The month ends on the day of signing up, and 300 calls of it were spent by somebody else.
            limits=(
                Limit("month", "requests", 1_000, 30 * DAY, "ends", "account", ends_at(start + 4.4 * DAY), spent=300),
                Limit("rpm", "requests", 20, MINUTE),
            ),
            factor=1.15,
        ),
        "zai": Provider(
            limits=(Limit("concurrency", "level", 1, 0.0, "level", "account"),),
            factor=0.97,
            ttft_s=(4.0, 40.0),
            tokens_per_s=60.0,
        ),
        "naga": Provider(
            # The day is assumed to end at midnight UTC; it begins with its first request.
            limits=(
                Limit("rpd", "requests", 100, DAY, "first", "account"),
                Limit("rpm", "requests", 10, MINUTE, owner="account"),
            ),
            wording=_silent,
            ttft_s=(1.0, 5.0),
        ),
        "nvidia": Provider(
            # "About 40": the account's, and less on the popular model.
            limits=(
                Limit("rpm", "requests", 40, MINUTE, owner="account"),
                Limit("rpm", "requests", 15, MINUTE, models=frozenset({ULTRA})),
            ),
            factor=1.09,
            ttft_s=(1.5, 8.0),
            per_1k_s=0.25,
            slow={ULTRA: (4.0, 60.0)},
            contexts={"minimaxai/minimax-m3.1-flash": 196_608},
            flaky=0.006,
        ),
        "huggingface": Provider(
            limits=(Limit("month", "microusd", 100_000, 30 * DAY, "ends", "account", ends_at(start + 8 * DAY)),),
            ttft_s=(0.8, 4.0),
        ),
        "kimi": Provider(
            # Nothing is in the row: five hours and a week, from the first use.
            limits=(
                Limit("month", "requests", 2_000, 7 * DAY, "first", "account"),
                Limit("rpd", "requests", 300, 5 * HOUR, "first", "account"),
            ),
            factor=1.05,
        ),
        "openai": Provider(
            limits=(
                Limit("rpm", "requests", 500, MINUTE, "bucket", "account_model"),
                Limit("tpm", "tokens", 200_000, MINUTE, "bucket", "account_model"),
            ),
        ),
    }


PRICES: Mapping[str, tuple[int, int]] = {
    # Micro-dollars per million tokens, what is truly billed; the row has no price for the last three.
    "gpt-4o-mini": (150_000, 600_000),
    "gpt-6-luna": (100_000, 500_000),
    "gpt-6.1-terra": (2_000_000, 10_000_000),
    "gpt-6.1-sol": (5_000_000, 25_000_000),
    "gpt-5.4-mini": (250_000, 2_000_000),
}
HF_PRICE = (60_000, 250_000)  # what the partners of the free credit charge


def troubles(start: float, days: float, seed: int) -> dict[str, list[Trouble]]:
    """Outages, overloads, revoked keys and our own network, drawn from a seed of their own."""
    rng = random.Random(seed)

    def at(day: float, hour: float, minutes: float, kind: Kind, **where: str) -> Trouble:
        begins = start + day * DAY + hour * HOUR
        return Trouble(begins, begins + minutes * 60.0, kind, **where)

    found: dict[str, list[Trouble]] = {
        "nvidia": [at(1, 14, 25, "server"), at(4, 3, 40, "unreachable")],
        "mistral": [at(3, 10, 50, "server")],
        "gemini": [at(0, 16, 10, "server"), at(2, 20, 6, "server")],
        "openrouter": [at(5, 12, 12, "server")],
        "zai": [at(3, 9, 24 * 60, "key", credential="zai-2")],
        "groq": [at(2, 11, 15, "silence")],
    }
    # Shortage at one model, which several providers say with a 429 (facts 3): a few minutes, a few times a day.
    crowded = {
        "openrouter": (("nvidia/nemotron-3-ultra-550b-a55b:free", 2), ("google/gemma-4-31b-it:free", 2)),
        "mistral": (("mistral-medium-latest", 1),),
        "zai": (("glm-4.7-flash", 2),),
        "nvidia": (("deepseek-ai/deepseek-v4.1-flash", 1),),
    }
    for name, models in crowded.items():
        for model, times in models:
            for day in range(math.ceil(days)):
                for _ in range(times):
                    hour, minutes = rng.uniform(7, 23), rng.uniform(2, 6)
                    found.setdefault(name, []).append(at(day, hour, minutes, "capacity", model=model))
    own = at(5, 4, 3, "offline")
    for name in _providers(start):
        found.setdefault(name, []).append(own)  # our own line
    return found


class Truth:
    """All providers with their counters. Times are true ones; everything is synchronous.

    `calm` = no trouble and no flakiness. `slack_s` lengthens what rolls: for whoever knows the limits, but not how long
    the next request will be on its way.
    """

    def __init__(
        self,
        start: float,
        days: float,
        *,
        seed: int,
        reading: Reading = "clock",
        calm: bool = False,
        slack_s: float = 0.0,
    ) -> None:
        self._rng = random.Random(seed)
        self._start = start
        self._slack_s = slack_s
        self._rows = providers(start, reading)
        self._troubles = {} if calm else troubles(start, days, seed + 1)
        self._counts: dict[tuple[object, ...], Count] = {}
        self._calm = calm
        self.spent_microusd: dict[int, int] = {}

    # --- who owns what -------------------------------------------------------------------------------

    def account(self, facts: TargetFacts) -> str:
        """Whose quota a target truly spends."""
        row = self._rows[facts.provider.name]
        return row.owners.get(facts.credential.id, str(facts.credential.account))

    def counts(self, facts: TargetFacts, now: float) -> list[Count]:
        """The counters that a request at this target draws on, the longest window first."""
        row = self._rows[facts.provider.name]
        model, account = str(facts.target.model), self.account(facts)
        found = []
        for number, limit in enumerate(row.only.get(facts.credential.id, row.limits)):
            if (limit.models is not None and model not in limit.models) or model in limit.except_models:
                continue
            owner = {"account": (account,), "account_model": (account, model), "model": (model,), "provider": ()}
            key = (facts.provider.name, number, *owner[limit.owner])
            count = self._counts.get(key)
            if count is None:
                rolls = limit.kind == "log" and self._slack_s > 0.0
                count = self._counts[key] = Count(
                    replace(limit, span_s=limit.span_s + self._slack_s) if rolls else limit, now
                )
            found.append(count)
        return found

    def factor(self, facts: TargetFacts) -> float:
        """Tokens that this model counts for one of ours."""
        row = self._rows[facts.provider.name]
        return row.factors.get(str(facts.target.model), row.factor)

    def alone(self) -> None:
        """Every credential owns its quota: for scenarios of their own keys."""
        self._rows = {name: replace(row, owners={}, only={}) for name, row in self._rows.items()}

    # --- questions that only the world may ask -----------------------------------------------------------

    def fits(self, facts: TargetFacts, job: Job) -> bool:
        """Whether this target could ever serve it."""
        if facts.disabled is not None or facts.model.embeds is not None:
            return False
        if job.pin is not None and (
            job.pin.model != facts.target.model or job.pin.provider not in {None, facts.provider.name}
        ):
            return False
        if job.request.tools and facts.model.capability(Capability.TOOLS).value is Known.NO:
            return False
        return self._tokens(facts, job) + 64 < self._context(facts)

    def free_at(self, facts: TargetFacts, job: Job, now: float, *, cap: int | None = None) -> float:
        """When it would be accepted here, as things stand; infinite where never, or not within these days."""
        row = self._rows[facts.provider.name]
        if self.account(facts) in row.penniless:
            return math.inf
        at = now
        for _ in range(8):
            later = max(
                (one.ends for one in self._troubles.get(facts.provider.name, ()) if one.stands(facts, at)), default=at
            )
            if later == at:
                break
            at = later
        asked = self._asked(facts, job, cap)
        for count in self.counts(facts, now):
            wait_s = count.wait_s(now, asked[count.limit.unit])
            if wait_s > 0.0:
                at = max(at, now + wait_s)
        return at

    def sized(self, facts: TargetFacts) -> bool:
        """Whether the size of a request matters for when this target has room: it counts tokens in a minute or hour."""
        row = self._rows[facts.provider.name]
        units = {one.unit for one in row.only.get(facts.credential.id, row.limits)}
        return bool(units & {"tokens", "input", "microusd"})

    # --- an attempt --------------------------------------------------------------------------------------

    def ask(self, facts: TargetFacts, job: Job, now: float, *, cap: int | None) -> Answer:
        """What the provider does with a request that reaches it now, with `cap` as its output limit."""
        row, rng = self._rows[facts.provider.name], self._rng
        said = STYLES[facts.provider.name].sayings
        for one in self._troubles.get(facts.provider.name, ()):
            if one.stands(facts, now):
                return self._troubled(one.kind, facts, said)
        if self.account(facts) in row.penniless:
            return _refused(said.no_credit, "credit")
        inputs, window = self._tokens(facts, job), self._context(facts)
        if inputs + 64 >= window:
            return _refused(said.too_long(window, inputs), "length")
        asked = self._asked(facts, job, cap)
        counts = self.counts(facts, now)
        for count in counts:
            wait_s = count.wait_s(now, asked[count.limit.unit])
            if wait_s > 0:
                return self._limited(count, facts, asked[count.limit.unit], wait_s, now)
        if not self._calm and rng.random() < row.flaky:
            kind = rng.choice(("server", "server", "cut", "silence") if rng.random() < 0.2 else ("server", "cut"))
            if kind != "cut":
                return self._troubled(kind, facts, said)
            cut = self._granted(facts, job, counts, asked, now)  # it was let in, and counts
            shown_s = rng.uniform(0.2, 1.0)
            cut.kind, cut.took_s = "cut", cut.ttft_s + shown_s
            cut.output_tokens = min(cut.output_tokens, int(shown_s * row.tokens_per_s))
            return cut
        return self._granted(facts, job, counts, asked, now)

    def _granted(
        self, facts: TargetFacts, job: Job, counts: Sequence[Count], asked: Mapping[str, int], now: float
    ) -> Answer:
        row, rng = self._rows[facts.provider.name], self._rng
        entries = [(count, count.charge(now, asked[count.limit.unit])) for count in counts]
        inputs = self._tokens(facts, job)
        cost = self._cost(facts, inputs, job.output_tokens)
        used = {"requests": 1, "tokens": inputs + job.output_tokens, "input": inputs, "level": 0, "microusd": cost}

        def done(at: float) -> None:
            for count, entry in entries:
                if row.reserve != "cerebras" or count.limit.unit != "tokens":
                    count.settle(entry, used[count.limit.unit], at)
            if facts.provider.name == "openai":
                day = int((at - self._start) // DAY)
                self.spent_microusd[day] = self.spent_microusd.get(day, 0) + cost

        low, high = row.slow.get(str(facts.target.model), row.ttft_s)
        ttft_s = low + (high - low) * rng.random() ** 3 + row.per_1k_s * inputs / 1_000
        took_s = ttft_s + job.output_tokens / (row.tokens_per_s * rng.uniform(0.7, 1.3))
        return Answer(
            200,
            None,
            self._headers(facts, counts, now),
            b"",
            ttft_s,
            took_s,
            inputs,
            job.output_tokens,
            cost,
            done=done,
        )

    def _limited(self, count: Count, facts: TargetFacts, amount: int, wait_s: float, now: float) -> Answer:
        limit = count.limit
        if limit.unit == "microusd":
            return _refused(STYLES[facts.provider.name].sayings.no_credit, "credit")
        hit = Hit(limit.name, limit.amount, int(count.used), amount, wait_s, now, str(facts.target.model))
        row = self._rows[facts.provider.name]
        refusal = (row.wording or STYLES[facts.provider.name].sayings.limited)(hit)
        answer = _refused(refusal, "too_large" if math.isinf(wait_s) else "quota")
        answer.span_s = limit.span_s
        answer.headers = {**self._headers(facts, self.counts(facts, now), now), **answer.headers}
        return answer

    def _troubled(self, kind: Kind, facts: TargetFacts, said: object) -> Answer:
        style = STYLES[facts.provider.name].sayings
        if kind in {"unreachable", "offline", "silence"}:
            return Answer(None, kind, took_s=math.inf if kind == "silence" else 0.3)
        if kind == "capacity":
            return _refused(style.overloaded(str(facts.target.model)), "capacity")
        if kind == "key":
            return _refused(style.bad_key, "key")
        return Answer(
            self._rng.choice((500, 502, 503)), "server", body=b'{"error":{"message":"Internal server error"}}'
        )

    # --- amounts -----------------------------------------------------------------------------------------

    def _tokens(self, facts: TargetFacts, job: Job) -> int:
        wobble = 1.0 + ((job.number * 2_654_435_761) % 1_000 - 500) / 500.0 * 0.03
        return int(job.tokens * self.factor(facts) * wobble)

    def _context(self, facts: TargetFacts) -> int:
        real = self._rows[facts.provider.name].contexts.get(str(facts.target.model))
        return real or facts.model.context or 131_072

    def _asked(self, facts: TargetFacts, job: Job, cap: int | None) -> Mapping[str, int]:
        inputs = self._tokens(facts, job)
        reserve = self._rows[facts.provider.name].reserve
        extra = 0
        if reserve == "cerebras":
            extra = min(16_384 if cap is None else cap, 16_384)
        elif reserve == "prompt_cap":
            extra = cap or 0
        return {
            "requests": 1,
            "tokens": inputs + extra,
            "input": inputs,
            "level": 1,
            "microusd": self._cost(facts, inputs, 1),
        }

    @staticmethod
    def _cost(facts: TargetFacts, inputs: int, outputs: int) -> int:
        if facts.provider.name == "huggingface":
            price = HF_PRICE
        else:
            price = PRICES.get(str(facts.target.model), (0, 0)) if facts.provider.name == "openai" else (0, 0)
        return (inputs * price[0] + outputs * price[1]) // 1_000_000

    @staticmethod
    def _headers(facts: TargetFacts, counts: Sequence[Count], now: float) -> Mapping[str, str]:
        style = STYLES[facts.provider.name]
        told = HEADERS.get(facts.provider.name, style.headers)
        if told is words.silent_headers:
            return {}
        gauges = {
            one.limit.name: Gauge(one.limit.amount, one.left(now), one.reset_s(now))
            for one in counts
            if one.limit.span_s != 1.0  # Mistral's second is in no header
        }
        return told(gauges, now)


def _refused(refusal: Refusal, kind: Kind) -> Answer:
    body = refusal.body if isinstance(refusal.body, bytes) else json.dumps(refusal.body).encode()
    return Answer(refusal.status, kind, {k.lower(): v for k, v in refusal.headers.items()}, body)
