"""The sealed thoughts that one exchange had to leave out, since a provider refused them.

Owns the step from a refusal to what is remembered: strip once, say it, ask once more, and let the next turn know
(cases.md CP-6; facts: providers.md 12.9). It must never know a dialect, nor decide whether anything is asked again.
"""

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.errors import ForeignThought, UpstreamError
from hermes_router.engine.memory import Memory
from hermes_router.wire.seals import sealed_in

__all__ = ["LEFT_OUT", "THOUGHTS", "Thoughts"]

THOUGHTS = "thoughts"  # what is left out after a provider has refused a signature
LEFT_OUT = "dropped:thinking"
"""What the caller is told, with each turn in which a thought of its history was left out for this."""


class Thoughts:
    """A refusal is proved by the answer to the same request without thoughts: that alone shows that it was they."""

    __slots__ = ("_memory", "_refused")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._refused: dict[str, list[str]] = {}  # by who refused them

    def refused(self, facts: TargetFacts, error: UpstreamError, sent: bytes) -> None:
        """An attempt failed with the body `sent`."""
        if isinstance(error, ForeignThought) and (seals := sealed_in(sent)):
            self._refused[facts.maker] = seals

    def answered(self, facts: TargetFacts) -> None:
        """The target has answered: what it has refused in this exchange is not sent to it again."""
        if self._refused and (seals := self._refused.pop(facts.maker, None)):
            self._memory.refuse(facts, seals)
