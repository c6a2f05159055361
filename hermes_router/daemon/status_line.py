"""How the pool fares, in one line that a person reads in `systemctl status`.

Owns the wording. It must never look for anything itself: how the targets stand is an argument.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

__all__ = ["Standing", "describe", "local_time"]

_NAMED: Final = 4  # providers; a line has its limits
_DAY_S: Final = 86_400
_GRAVITY: Final = ("cooling", "open", "paused", "revoked")  # the last is the worst
_WORDS: Final = {
    "limited": "limited",
    "limited_day": "day quota used up",
    "budget": "budget spent",
    "no_credit": "no credit",
    "rejected_key": "key rejected",
    "overloaded": "overloaded",
    "broken": "failing",
    "gone": "model gone",
}


class Standing(NamedTuple):
    """How one target stands; `until` epoch seconds."""

    provider: str
    state: str
    reason: str | None
    until: float | None


def describe(standings: Iterable[Standing], now: float, local: Callable[[float, bool], str]) -> str:
    """The line. `local` is the local time of an instant, with its day where the second argument says so."""
    targets = [one for one in standings if one.state != "disabled"]
    if not targets:
        return "no targets: add a key with `hr auth add groq`"
    ready = sum(one.state == "ready" for one in targets)
    by_provider: dict[str, list[Standing]] = {}
    for one in targets:
        by_provider.setdefault(one.provider, []).append(one)
    said = [
        _said(name, rows, now, local) for name, rows in by_provider.items() if any(r.state != "ready" for r in rows)
    ]
    named = ", ".join(said[:_NAMED]) + (f" and {len(said) - _NAMED} more" if len(said) > _NAMED else "")
    counted = f"{ready} of {len(targets)} target{'s' if len(targets) > 1 else ''} ready"
    return f"{counted}; {named}" if named else counted


def _said(name: str, rows: list[Standing], now: float, local: Callable[[float, bool], str]) -> str:
    out = [row for row in rows if row.state != "ready"]
    worst = max(out, key=lambda row: _GRAVITY.index(row.state))
    share = f" ({len(out)} of {len(rows)})" if len(out) < len(rows) else ""
    bare = (worst.reason or worst.state).partition(" (")[0]
    word = _WORDS.get(bare, bare)
    if worst.state in {"paused", "revoked"}:
        return f"{name}: {word}{share}"
    until = min((row.until for row in out if row.until is not None and row.until > now), default=None)
    when = "" if until is None or worst.state == "open" else f" until {local(until, until - now > _DAY_S)}"
    return f"{name} {word}{share}{when}"


def local_time(at: float, with_day: bool) -> str:
    """An instant as the clock on the wall shows it."""
    return time.strftime("%d %b %H:%M" if with_day else "%H:%M", time.localtime(at))
