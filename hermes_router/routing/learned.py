"""What live answers taught us about models: windows, capabilities, refused parameters, token factors, tempo.

Owns facts learned by provider and model, each with its age; the owner's word stands above them, the row's below.
It must never hold what a clock resets (quota) or what a key does (credential states).
"""

from hermes_router.core.catalog import Capability, Claim, Known, ModelSpec
from hermes_router.routing.health import Tempo

CAPABILITY_S = 7 * 86400.0  # providers change silently: what was learned is forgotten after a week
CUT_FOR_S = 3600.0
CUTS = 2
FACTOR_LOW, FACTOR_HIGH = 0.5, 3.0
FACTOR_WEIGHT = 0.2
DRIFT = 0.02
FACTOR_FROM = 200  # smaller prompts are mostly frame, which says nothing about text


class ModelMemory:
    """What is learned of one model of one provider."""

    __slots__ = ("capabilities", "context", "cut_tokens", "cut_until", "cuts", "factor", "refused", "sized", "tempo")

    def __init__(self) -> None:
        self.context: int | None = None
        self.capabilities: dict[Capability, tuple[Known, float]] = {}
        self.refused: frozenset[str] = frozenset()
        self.factor = self.sized = 1.0
        self.tempo = Tempo()
        self.cuts = 0
        self.cut_tokens = 0
        self.cut_until = 0.0

    def capability(self, what: Capability, spec: ModelSpec, now: float) -> Known:
        """What is known: the owner's override, else what was learned this week, else what the row declares."""
        claim = spec.capability(what)
        if claim.source != "override":
            found = self.capabilities.get(what)
            if found is not None:
                if not found[1]:  # learned before the first request told the time: it ages from here
                    self.capabilities[what] = found = (found[0], now)
                if now - found[1] < CAPABILITY_S:
                    return found[0]
        return claim.value

    def claim(self, what: Capability, spec: ModelSpec, now: float) -> Claim:
        """The same with its provenance."""
        value = self.capability(what, spec, now)
        declared = spec.capability(what)
        return declared if value is declared.value else Claim(value, "learned")

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

    def largest_factor(self) -> float:
        """The largest token factor of the pool: what an unbound count is multiplied by, so that it errs high."""
        return max((m.factor for m in self.models.values()), default=1.0)

    def calibrate(self, provider: str, model: str, estimated: int, reported: int) -> bool:
        """Move a model's token factor towards reported over estimated; True where sizes should follow.

        They do from 2 % away from the factor that they were worked out with.
        """
        if estimated < FACTOR_FROM or reported <= 0:
            return False
        memory = self.of(provider, model)
        seen = min(FACTOR_HIGH, max(FACTOR_LOW, reported / estimated))
        memory.factor += (seen - memory.factor) * FACTOR_WEIGHT
        if abs(memory.factor - memory.sized) < DRIFT * memory.sized:
            return False
        memory.sized = memory.factor
        return True
