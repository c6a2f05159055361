"""What a request that is wrong must be answered with: a refusal in the dialect's shape that says what is wrong.

Owns the features of the table that ask for a refusal. It must never send anything.
"""

from collections.abc import Mapping
from typing import Final

from hermes_router.conformance.answer import Skipped, Wrong
from hermes_router.conformance.feature import Feature
from hermes_router.conformance.reply import Refused
from hermes_router.conformance.shapes import shown

MISTAKES: Final[Mapping[str, tuple[str, ...]]] = {
    "errors.missing": ("messages", "input"),
    "errors.wrong_type": ("temperature",),
    "errors.wrong_role": ("role", "wizard", "messages", "input"),
    "errors.not_json": (),
    "errors.no_object": (),
}
"""By feature: the words of which the refusal must say one; none = the shape and the status are enough."""

_UNKNOWN: Final = ("not found", "does not exist", "no such", "unknown", "expired", "no response")
_CALLERS: Final = frozenset({400, 413, 415, 422})


def mistaken(name: str, refused: Refused) -> None:
    """Hold the refusal of a mistake against what it should be. Raises Wrong."""
    told = f"HTTP {refused.heard.status}: {shown(refused.message)}"
    if refused.faults:
        raise Wrong(f"the error has a shape of its own ({'; '.join(refused.faults[:2])}); {told}")
    if refused.heard.status not in _CALLERS:
        raise Wrong(f"a mistake of the caller should be 400, and is {told}")
    if MISTAKES[name] and not refused.names(MISTAKES[name]):
        raise Wrong(f"the error does not say what is wrong ({' or '.join(MISTAKES[name])}); {told}")


def rightly(feature: Feature, refused: Refused) -> bool:
    """Whether this refusal is what the feature is about. Raises Wrong, and Skipped where it is about another thing."""
    if feature.id in MISTAKES:
        mistaken(feature.id, refused)
        return True
    if refused.faults:
        return False
    if feature.id == "state.previous":
        if any(said in refused.message.lower() for said in _UNKNOWN):
            return True
        raise Skipped(f"HTTP {refused.heard.status}: {shown(refused.message)}")
    return feature.id == "choice.unknown"


def taken(name: str) -> None:
    """Raise Wrong where what is a mistake was answered as if it were none."""
    if name in MISTAKES:
        raise Wrong("answered as if nothing were wrong with it")
    if name == "state.previous":
        raise Wrong("an id that nobody has ever given was taken without a word")
