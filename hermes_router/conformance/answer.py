"""An answer in no dialect's words, so that one check can judge the answers of all of them; and the ways a check ends.

Owns the neutral answer and the outcomes. It must never know how a dialect writes either down.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

Kind = Literal["envelope", "content", "grammar", "usage"]
"""Where a fault lies: in what every answer carries, in the parts of this one, in the order of events, in the counts."""

_MOST_TOLD: Final = 3


class Outcome(StrEnum):
    """How a check came out."""

    PASS = "pass"  # noqa: S105 - no secret
    FAIL = "fail"
    SKIP = "skip"
    """The endpoint says plainly that it does not offer this."""
    UNSURE = "unsure"
    """What came was well formed, but the model did not do what it was asked, or a limit came between."""


class Ended(Exception):
    """A check that did not pass. `why` is a line for a person."""

    outcome = Outcome.FAIL

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Wrong(Ended):
    """The endpoint broke a rule."""


class Skipped(Ended):
    """The endpoint says that it does not offer this."""

    outcome = Outcome.SKIP


class Unsure(Ended):
    """Nothing was proved either way."""

    outcome = Outcome.UNSURE


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool. `arguments` is a JSON object as text, or a custom tool's free input."""

    id: str
    name: str
    arguments: str
    custom: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the dialect counts them; `thought` are those of the output that were thoughts, 0 where nobody says."""

    input: int
    output: int
    thought: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered. `finish` is one of stop, length, calls, refusal, or empty where none is known.

    `body` is the whole answer as it came (of a stream: what its events add up to), `turn` the answer as the next
    request holds it. What is against the dialect's rules, and yet could be read, is in `faults`.
    """

    text: str
    finish: str
    model: str
    calls: tuple[Call, ...] = ()
    thoughts: str = ""
    usage: Usage | None = None
    turn: tuple[Mapping[str, Any], ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[tuple[Kind, str], ...] = ()

    def keep(self, *kinds: Kind) -> None:
        """Raise Wrong where this answer broke a rule of one of these kinds."""
        found = list(dict.fromkeys(why for kind, why in self.faults if kind in kinds))
        if found:
            more = f"; and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
            raise Wrong("; ".join(found[:_MOST_TOLD]) + more)
