"""What live answers taught us about models: windows, capabilities, refused parameters, token factors, tempo.

Owns facts learned by provider and model, each with its age; the owner's word stands above them, the row's below.
It must never hold what a clock resets (quota) or what a key does (credential states).
"""

from typing import Literal, NamedTuple

from hermes_router.core.catalog import Capability, Claim, Known, ModelSpec
from hermes_router.routing.health import Tempo

CAPABILITY_S = 7 * 86400.0  # providers change silently: what was learned is forgotten after a week
CUT_FOR_S = 3600.0
CUTS = 2
FACTOR_LOW, FACTOR_HIGH = 0.5, 3.0
FACTOR_MASS = 2_000.0  # estimated tokens: how much the first factor, 1, weighs against what is reported
FACTOR_MASS_MOST = 400_000.0  # and how far back it remembers, so that a provider's new tokenizer is found out
DRIFT = 0.02
FACTOR_FROM = 200  # smaller prompts are mostly frame, which says nothing about text


Lesson = Literal["seen", "probed"]
"""How something was learned: from live traffic, or by a tiny request of ours."""


class Learnt(NamedTuple):
    """One capability as it was learned; `at` is epoch seconds, 0 where nobody had told the time yet."""

    known: Known
    at: float
    source: Lesson = "seen"


class ModelMemory:
    """What is learned of one model of one provider. `context` is in tokens, learned at `context_at`."""

    __slots__ = (
        "capabilities", "context", "context_at", "cut_tokens", "cut_until", "cuts", "factor", "mass", "refused",
        "sized", "tempo",
    )  # fmt: skip

    def __init__(self) -> None:
        self.context: int | None = None
        self.context_at = 0.0
        self.capabilities: dict[Capability, Learnt] = {}
        self.refused: frozenset[str] = frozenset()
        self.factor = self.sized = 1.0
        self.mass = FACTOR_MASS
        self.tempo = Tempo()
        self.cuts = 0
        self.cut_tokens = 0
        self.cut_until = 0.0

    def capability(self, what: Capability, spec: ModelSpec, now: float) -> Known:
        """What is known: the owner's override, else what was learned this week, else what the row declares."""
        claim = spec.capability(what)
        if claim.source != "override":
            found = self.learnt(what, now)
            if found is not None:
                return found.known
        return claim.value

    def learnt(self, what: Capability, now: float) -> Learnt | None:
        """What was learned this week, whatever the owner or the row says."""
        found = self.capabilities.get(what)
        if found is None:
            return None
        if not found.at:  # learned before the first request told the time: it ages from here
            self.capabilities[what] = found = found._replace(at=now)
        return found if now - found.at < CAPABILITY_S else None

    def claim(self, what: Capability, spec: ModelSpec, now: float) -> Claim:
        """The same with its provenance."""
        declared = spec.capability(what)
        found = self.learnt(what, now) if declared.source != "override" else None
        return declared if found is None else Claim(found.known, found.source)

    def truncated(self, input_tokens: int, now: float) -> bool:
        """Note an answer cut short; True when requests of this size now rank lower for an hour (FL-3)."""
        if now >= self.cut_until:
            self.cuts = 0
            self.cut_tokens = 0
        self.cuts += 1
        self.cut_until = now + CUT_FOR_S
        self.cut_tokens = min(self.cut_tokens or input_tokens, input_tokens)
        return self.cuts >= CUTS


class Learned:
    """All of it, by provider and model. `version` changes when a plan made before may be wrong."""

    def __init__(self) -> None:
        self.models: dict[tuple[str, str], ModelMemory] = {}
        self.version = 0

    def of(self, provider: str, model: str) -> ModelMemory:
        """The memory of one model, made where there is none."""
        memory = self.models.get((provider, model))
        if memory is None:
            memory = self.models[provider, model] = ModelMemory()
        return memory

    def context(self, provider: str, model: str) -> int | None:
        """The learned window in tokens, None where the row's counts."""
        memory = self.models.get((provider, model))
        return memory.context if memory is not None else None

    def stale(self, now: float) -> list[tuple[str, str]]:
        """Forget windows that were learned more than a week ago; whose they were."""
        old = [
            key
            for key, memory in self.models.items()
            if memory.context is not None and memory.context_at and now - memory.context_at >= CAPABILITY_S
        ]
        for key in old:
            self.models[key].context = None
        return old

    def largest_factor(self) -> float:
        """The largest token factor of the pool: what an unbound count is multiplied by, so that it errs high."""
        return max((m.factor for m in self.models.values()), default=1.0)

    def calibrate(self, provider: str, model: str, estimated: int, reported: int) -> bool:
        """Move a model's token factor towards reported over estimated; True where sizes should follow.

        Requests weigh by their size: it is the large ones that have to fit. Sizes follow from 2 % away from the factor
        that they were worked out with.
        """
        if estimated < FACTOR_FROM or reported <= 0:
            return False
        memory = self.of(provider, model)
        seen = min(FACTOR_HIGH, max(FACTOR_LOW, reported / estimated))
        memory.mass = min(FACTOR_MASS_MOST, memory.mass + estimated)
        memory.factor += (seen - memory.factor) * min(1.0, estimated / memory.mass)
        if abs(memory.factor - memory.sized) < DRIFT * memory.sized:
            return False
        memory.sized = memory.factor
        return True
