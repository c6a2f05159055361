"""How things stand, in words and colours.

Owns the words for states and their reasons, wherever `hr` shows them. Pure; the time is an argument.
"""

from typing import Final

from hermes_router.cli import words
from hermes_router.cli.render import Cell

__all__ = ["REASONS", "STATES", "state_cell", "why"]

STATES: Final = {"ready": "good", "cooling": "warn", "open": "warn", "paused": "bad", "revoked": "bad",
                 "disabled": "dim", "unavailable": "bad"}  # fmt: skip
REASONS: Final = {
    "limited": "limited",
    "limited_day": "day quota used up",
    "no_credit": "no credit",
    "rejected_key": "key rejected",
    "overloaded": "overloaded",
    "broken": "failing",
    "gone": "model gone",
}


def why(state: str, reason: str | None) -> str:
    """A state and its reason in words: `limited`, `paused (no credit)`."""
    bare, _, rest = (reason or "").partition(" (")
    known = REASONS.get(bare, bare).removeprefix("disabled by the owner: ")  # the word stands before it already
    if state == "cooling" and known:
        return known
    if state == "open":
        return "trying again" if rest.startswith("half") else known or "failing"
    return f"{state} ({known})" if known and state != "ready" else state


def state_cell(state: str, reason: str | None, until: float | None, now: float) -> Cell:
    """How something stands and until when, in its colour."""
    back = words.when(until, now) if until is not None and state != "ready" else ""
    verb = "next try" if state in {"paused", "revoked"} else "back"
    return Cell(why(state, reason) + (f", {verb} {back}" if back else ""), STATES.get(state, ""))
