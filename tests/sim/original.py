"""The original router's policy, as far as its behaviour is on record (facts/anchor.md 1.2 to 1.6), for comparison.

Owns the sort key of its current version, its cool-downs, its breaker and its walk over candidates and keys. It has no
queue: when all candidates failed the caller gets its 503 at once. Pins do not exist: the caller's model is ignored.
"""

import math
from collections.abc import Sequence

from hermes_router.core.catalog import Capability, Known, TargetFacts

from .load import Job
from .pool import sent_cap
from .truth import Answer
from .world import Course, Exchange, Send, World

READ_TIMEOUT_S = 600.0
WINDOW, LEAST, OPEN_S = 8, 4, 60.0

# Longest substring of the name decides; else the first pattern, strongest first; else 3 (anchor.md 1.3).
RATED = {
    1: "gpt-5.3-codex gpt-5-codex gpt-5.5 gpt-4o gpt-4.5 o1 o3 claude-opus claude-3-7 gemini-2.5-pro gemini-2.0-ultra "
    "nemotron-3-ultra deepseek-r2 qwen3-235b qwen3-72b",
    2: "gemini-2.5-flash gemini-2.0-flash llama-3.3-70b llama-3.1-70b mistral-large mistral-medium command-r-plus "
    "command-a nemotron big-pickle deepseek-v4 deepseek-v3 deepseek-v2 claude-sonnet claude-3-5 grok-2 qwen2.5-72b "
    "qwen3-32b phi-4 mixtral-8x22b yi-large moonshot-v1 llama-4-maverick llama-4-scout",
    3: "gemini-2.5-flash-lite gemini-1.5-flash gpt-4o-mini gpt-oss-120b mistral-small glm-4.5-flash glm-4.7-flash "
    "llama-3.1-8b-instant qwen2.5-32b qwen3-14b qwen3-8b phi-3.5 phi-3-medium mixtral-8x7b yi-medium",
    4: "command-r7b llama-3.2-3b mistral-7b qwen2.5-7b qwen3-4b phi-3-mini phi-3.5-mini yi-mini",
}
PATTERNS = {
    1: "pro-exp ultra opus o3 o1-pro 405b 671b r1-zero",
    2: "70b large plus pro turbo super sonnet 72b 32b maverick scout phi-4 wizardlm",
    3: "flash small mini medium 120b 8b-instant glm-4 14b 22b mixtral qwen yi-m phi-3",
    4: "7b 8b lite fast r7b nano 3b 4b",
    5: "micro tiny 1b",
}
PRICES = {
    "gpt-4o-mini": 0.75, "gpt-4o": 12.5, "gpt-4.1-mini": 2.0, "gpt-4.1": 10.0, "o1-mini": 5.5, "o3-mini": 5.5, "o1": 75.0,
    "claude-opus": 90.0, "claude-sonnet": 18.0, "claude-haiku": 4.8, "claude-3-5-haiku": 4.8, "mistral-large": 8.0,
    "mistral-medium": 2.4, "mistral-small": 0.4, "command-a": 12.5, "command-r-plus": 12.5, "command-r": 0.75,
    "kimi-k2": 3.1,
}  # fmt: skip
QUALITY = {
    "big-pickle": 5, "gpt-5": 10, "claude-opus": 10, "gpt-4o": 15, "o3": 15, "gemini-2.5-pro": 15, "o1": 20,
    "claude-sonnet": 20, "nemotron-3-ultra": 20, "deepseek-v4": 30, "gemini-2.5-flash": 35, "nemotron-3-super": 35,
    "llama-4": 35, "ling-3.0": 35, "gemma-4-31b": 35, "deepseek-v3": 40, "mistral-large": 40, "llama-3.3-70b": 45,
    "command-a": 45, "mistral-medium": 55, "gpt-oss-120b": 55,
}  # fmt: skip
PROVIDER_RANK = {
    "openai": 20, "gemini": 30, "openrouter": 35, "cerebras": 40, "nvidia": 45, "groq": 50, "mistral": 55, "cohere": 60,
    "sambanova": 65, "kimi": 70, "zai": 75, "naga": 80, "huggingface": 90,
}  # fmt: skip
CONTEXT = {"gemini": 1_048_576, "openrouter": 262_144, "cerebras": 131_072, "huggingface": 131_072}
SKIP_OVER = {"sambanova": 30_000, "groq": 5_500}
NO_SUCH_MODEL = (b"modelerror", b"not supported", b"promotion has ended", b"subscrib", b"no payment", b"credits")


def _longest(table: dict[str, float], name: str, otherwise: float) -> float:
    return max(((len(part), value) for part, value in table.items() if part in name), default=(0, otherwise))[1]


def rating(model: str) -> int:
    """1 strong to 5 weak, from the name alone."""
    name = model.lower()
    known = [(len(part), rate) for rate, parts in RATED.items() for part in parts.split() if part in name]
    if known:
        return max(known)[1]
    return next((rate for rate, parts in PATTERNS.items() if any(part in name for part in parts.split())), 3)


def difficulty(tokens: int) -> int:
    """1 hard to 5 trivial, from the whole text."""
    return next((score for least, score in ((2_000, 1), (800, 2), (300, 3)) if tokens > least), 4)


class _Candidate:
    """One model of one provider, with the keys that it has."""

    def __init__(self, facts: TargetFacts, position: int) -> None:
        model = str(facts.target.model).lower()
        self.provider = facts.provider.name
        self.keys: list[TargetFacts] = []
        self.pointer = 0
        self.rating = rating(model)
        self.price = _longest(PRICES, model, 0.0)
        self.quality = _longest(QUALITY, model, self.rating * 100 + PROVIDER_RANK.get(self.provider, 95))
        self.tools = facts.model.capability(Capability.TOOLS).value is not Known.NO
        self.position = position


class _Breaker:
    """In effect four failures in a row; whoever asks when its time is over goes through."""

    def __init__(self) -> None:
        self.failures = 0
        self.open_until = 0.0

    def fail(self, now: float) -> None:
        self.failures = min(WINDOW, self.failures + 1)
        if self.failures >= LEAST:
            self.open_until = now + OPEN_S


class Original:
    """Its policy."""

    name = "original"

    def __init__(
        self, world: World, facts: Sequence[TargetFacts], *, mode: str = "round-robin", usd_day: int | None = None
    ) -> None:
        self._world = world
        self._sequential = mode == "sequential"
        self._candidates: list[_Candidate] = []
        by_model: dict[tuple[str, str], _Candidate] = {}
        for one in facts:
            if one.disabled is not None:
                continue
            name = (str(one.provider.name), str(one.target.model))
            if name not in by_model:
                by_model[name] = _Candidate(one, len(self._candidates))
                self._candidates.append(by_model[name])
            by_model[name].keys.append(one)
        self._cool: dict[tuple[str, str | None], float] = {}  # (key, model) or (key, None) for all models
        self._breakers = {c.provider: _Breaker() for c in self._candidates}
        self._turn = 0
        self._usd_day = usd_day
        self._spent = (0, 0.0)

    # --- order -----------------------------------------------------------------------------------------

    def _order(self, job: Job, now: float) -> list[_Candidate]:
        tokens = job.text_tokens + 4 * job.request.messages + 3
        hard = difficulty(job.text_tokens)
        able = [c for c in self._candidates if c.tools or not job.request.tools] or self._candidates
        able = [c for c in able if tokens <= SKIP_OVER.get(c.provider, math.inf)]
        self._turn += 1
        shift = self._turn % max(1, len(able))
        able = able[shift:] + able[:shift]

        def rank(c: _Candidate) -> tuple[float, ...]:
            breaker = self._breakers[c.provider]
            health = 2 if breaker.failures >= LEAST else 0
            too_long = 999 if tokens > CONTEXT.get(c.provider, math.inf) else 0
            tier = 0 if c.rating <= hard else 1
            return (too_long, tier, c.price, c.quality, abs(c.rating - hard), breaker.open_until > now, health)

        return sorted(able, key=rank)

    def _ready(self, facts: TargetFacts, now: float) -> bool:
        key = str(facts.credential.id)
        return now >= self._cool.get((key, None), 0.0) and now >= self._cool.get((key, str(facts.target.model)), 0.0)

    def _hand_out(self, c: _Candidate, now: float) -> TargetFacts | None:
        """The next ready key: the pointer moves at every hand-out, or stays until a key cools."""
        count = len(c.keys)
        for step in range(count):
            place = step if self._sequential else (c.pointer + step) % count
            if self._ready(c.keys[place], now):
                if not self._sequential:
                    c.pointer = (place + 1) % count
                return c.keys[place]
        return None

    # --- an exchange -------------------------------------------------------------------------------------

    def serve(self, exchange: Exchange) -> Course:
        """Walk the candidates, each as often as it has keys."""
        job, world = exchange.job, self._world
        if self._over_budget(world.wall):
            return "budget"
        order = self._order(job, world.wall)
        if any(self._breakers[c.provider].open_until <= world.wall for c in order):
            order = [c for c in order if self._breakers[c.provider].open_until <= world.wall]
        out: set[str] = set()
        for c in order:
            for _ in c.keys:
                facts = self._hand_out(c, world.wall) if c.provider not in out else None
                if facts is None:
                    break
                answer = yield Send(facts, READ_TIMEOUT_S, sent_cap(facts, job, modest=False))
                assert answer is not None
                if answer.kind is None:
                    self._breakers[c.provider].failures = 0
                    self._breakers[c.provider].open_until = 0.0
                    self._bill(facts, answer, world.wall)
                    return "answered"
                if not self._learn(c, facts, answer, world.wall, out):
                    break
        return "exhausted"

    def _learn(self, c: _Candidate, facts: TargetFacts, answer: Answer, now: float, out: set[str]) -> bool:
        """What a failure changes; whether the candidate's next key is tried."""
        key, model, breaker = str(facts.credential.id), str(facts.target.model), self._breakers[c.provider]
        status = answer.status
        if status is None:
            self._cool[key, None] = now + 30.0
            breaker.fail(now)
            return True
        if status == 429:
            self._cool[key, model] = now + _retry_after(answer)
            return True
        if status >= 500:
            self._cool[key, None] = now + 15.0
            breaker.fail(now)
            return True
        if status == 200:
            self._cool[key, model] = now + 30.0
            return False
        if status in {401, 403}:
            if not any(word in answer.body[:300].lower() for word in NO_SUCH_MODEL):
                breaker.fail(now)
                out.add(c.provider)
            return False
        if status in {400, 404}:
            return False
        out.add(c.provider)
        if status != 413:
            breaker.fail(now)
        return False

    # --- money: per UTC day, after the reply, by its own price table -------------------------------------

    def _over_budget(self, now: float) -> bool:
        return self._usd_day is not None and self._spent[0] == int(now // 86_400) and self._spent[1] >= self._usd_day

    def _bill(self, facts: TargetFacts, answer: Answer, now: float) -> None:
        day = int(now // 86_400)
        price = _longest(PRICES, str(facts.target.model).lower(), 0.0)
        before = self._spent[1] if self._spent[0] == day else 0.0
        # Its table has input and output; their sum over five is near enough to what agents use of each.
        self._spent = (day, before + price / 5 * (answer.input_tokens + 4 * answer.output_tokens))

    def head(self, exchange: Exchange, facts: TargetFacts, answer: Answer) -> None:
        """It reads no headers but those of a refusal."""

    def offers(self, facts: TargetFacts, job: Job) -> bool:
        """Neither cooling nor behind an open breaker."""
        now = self._world.wall
        return self._ready(facts, now) and self._breakers[facts.provider.name].open_until <= now

    def until(self, facts: TargetFacts, job: Job) -> float:
        """The end of its cool-downs and of its breaker."""
        key = str(facts.credential.id)
        cool = max(self._cool.get((key, None), 0.0), self._cool.get((key, str(facts.target.model)), 0.0))
        return max(cool, self._breakers[facts.provider.name].open_until)


def _retry_after(answer: Answer) -> float:
    """Seconds; the date form is not understood."""
    try:
        return max(1.0, float(answer.headers["retry-after"]))
    except (KeyError, ValueError):
        return 60.0
