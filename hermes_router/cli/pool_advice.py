"""What a pool lacks, and which provider's key would help most.

Owns the judgement beside `verdict.py`'s: windows that an agent needs, and the order of what is free. Pure.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from hermes_router.cli import words
from hermes_router.control import types as t
from hermes_router.control.setup_types import CatalogRow

__all__ = ["AGENT_TOKENS", "Point", "best_free", "points", "what_it_brings"]

AGENT_TOKENS: Final = 64_000  # Hermes Agent refuses models with less
_FREE: Final = ("free", "free_credit")
_UNKNOWN_A_DAY: Final = 100
_ENOUGH: Final = 2


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that an agent needs: whether it is there (`good`), half there (`warn`) or missing (`bad`)."""

    style: str
    said: str


def points(targets: Sequence[t.TargetRow]) -> list[Point]:
    """Two providers, windows, tools: each judged by the targets that are not out of use."""
    alive = [one for one in targets if one.state not in {"disabled", "revoked", "paused"}]
    providers = sorted({one.provider for one in alive})
    wide = sorted({one.provider for one in alive if (one.context or 0) >= AGENT_TOKENS})
    able = sorted({one.provider for one in alive if one.capabilities.get("tools") == "yes"})
    return [
        _point(providers, "can answer", "nobody can answer", "if it fails, nothing is left"),
        _point(
            wide,
            "can take 64K tokens",
            "nobody is known to take 64K tokens, which Hermes Agent needs",
            "Hermes Agent needs that",
        ),
        _point(able, "can take tools", "nobody is known to take tools, which agents need", "agents need them"),
    ]


def _point(names: list[str], what: str, none: str, one_only: str) -> Point:
    if not names:
        return Point("bad", f"{none[0].upper()}{none[1:]}")
    if len(names) < _ENOUGH:
        return Point("warn", f"Only {names[0]} {what}: {one_only}")
    return Point("good", f"{what[0].upper()}{what[1:]}: {words.listing(names, 6)}")


def best_free(rows: Sequence[CatalogRow], have: Collection[str]) -> list[CatalogRow]:
    """Providers without a key here that cost nothing, what helps an agent most first."""
    found = [
        row
        for row in rows
        if row.name not in have and row.auth == "key" and row.state == "no key" and row.price_class in _FREE
    ]
    return sorted(found, key=_worth, reverse=True)


def _worth(row: CatalogRow) -> tuple[bool, bool, int, int]:
    fit = row.tools and (row.context or 0) >= AGENT_TOKENS
    return fit, row.price_class == "free", row.requests_day or _UNKNOWN_A_DAY, row.tier


def what_it_brings(row: CatalogRow) -> str:
    """A provider in one line: what is free, how much it takes at once, whether it takes tools."""
    parts = [row.free.rstrip(".")]
    if row.context:
        parts.append(f"windows up to {words.count(row.context)} tokens")
    if row.tools:
        parts.append("tools")
    if row.trains:
        parts.append("it may train on what you send")
    return "; ".join(part for part in parts if part)
