"""What providers say about their limits in the headers of any answer.

Owns the header families that rows name; the times in them are read by `wire/resets.py`. It must never know a
target or keep anything between calls.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from hermes_router.core.clocks import next_reset
from hermes_router.core.observations import QuotaSeen, ScopeKind, Unit, Window
from hermes_router.wire.plan_windows import PLAN_SIGNS, plan_headers
from hermes_router.wire.resets import bounded, parse_reset

__all__ = ["HEADER_FAMILIES", "next_reset", "parse_reset", "retry_after", "seen"]

_MOST: Final = 10**15  # no window counts more; above it stands a time, or nonsense
_LONGEST: Final = 40
_SAYS_NOTHING: Final = frozenset({"", "-1", "none", "null", "unlimited"})
_NUMBER: Final = re.compile(r"-?\d{1,20}(?:\.\d+)?")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """`retry-after-ms`, else `Retry-After` (seconds or a date), as epoch seconds; None if absent or odd."""
    millis = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(millis):
        return bounded(now + float(millis) / 1000.0, now)
    said = headers.get("retry-after")
    return None if said is None else parse_reset(said, now)


# --- header families -------------------------------------------------------------------------------


class _Row(NamedTuple):
    """One window as three headers name it; an empty name is a header that the provider does not send.

    `elastic`: the window is a guess, and a reset beyond it proves a longer one (OpenAI's small tiers count
    requests by the day under the same names). `needs_reset`: without one there is nothing to go by.
    """

    scope: ScopeKind
    unit: Unit
    window: Window
    limit: str
    remaining: str = ""
    reset: str = ""
    elastic: bool = False
    needs_reset: bool = False


def _trio(
    unit: Unit, window: Window, suffix: str, *, scope: ScopeKind = "account_model", elastic: bool = False
) -> _Row:
    limit, remaining, reset = (f"x-ratelimit-{word}-{suffix}" for word in ("limit", "remaining", "reset"))
    return _Row(scope, unit, window, limit, remaining, reset, elastic)


def _anthropic(unit: Unit, what: str) -> _Row:
    stem = f"anthropic-ratelimit-{what}"
    return _Row("account_model", unit, Window.MINUTE, f"{stem}-limit", f"{stem}-remaining", f"{stem}-reset")


def _bare(prefix: str, scope: ScopeKind) -> _Row:
    names = (f"{prefix}limit", f"{prefix}remaining", f"{prefix}reset")
    return _Row(scope, Unit.REQUESTS, Window.MINUTE, *names, elastic=True, needs_reset=True)


_OPENAI: Final = (
    _trio(Unit.REQUESTS, Window.MINUTE, "requests", elastic=True),
    _trio(Unit.TOKENS, Window.MINUTE, "tokens"),
)

HEADER_FAMILIES: Final[Mapping[str, tuple[_Row, ...]]] = {
    # Groq's request headers count the DAY and its token headers the MINUTE; it shows no other window.
    "groq": (_trio(Unit.REQUESTS, Window.DAY, "requests"), _trio(Unit.TOKENS, Window.MINUTE, "tokens")),
    "cerebras": (
        _trio(Unit.REQUESTS, Window.DAY, "requests-day"),
        _trio(Unit.TOKENS, Window.MINUTE, "tokens-minute"),
    ),
    "openai": _OPENAI,
    "mistral": (
        _trio(Unit.REQUESTS, Window.MINUTE, "req-minute"),
        _trio(Unit.TOKENS, Window.MINUTE, "tokens-minute"),
        _trio(Unit.TOKENS, Window.MONTH, "tokens-month"),
        _Row(
            "account_model", Unit.TOKENS, Window.MINUTE,
            "ratelimitbysize-limit", "ratelimitbysize-remaining", "ratelimitbysize-reset",
        ),
    ),
    "sambanova": (  # of the account, whichever model it was
        _trio(Unit.REQUESTS, Window.MINUTE, "requests", scope="account"),
        _trio(Unit.REQUESTS, Window.DAY, "requests-day", scope="account"),
    ),
    "anthropic": (
        _anthropic(Unit.REQUESTS, "requests"),
        _anthropic(Unit.TOKENS, "tokens"),
        _anthropic(Unit.INPUT_TOKENS, "input-tokens"),
        _anthropic(Unit.OUTPUT_TOKENS, "output-tokens"),
    ),
    "openrouter": (_bare("x-ratelimit-", "account"),),
    "cohere": (
        _Row(
            "account_model", Unit.REQUESTS, Window.MINUTE,
            "x-trial-endpoint-call-limit", "x-trial-endpoint-call-remaining",
        ),
        _Row("account", Unit.REQUESTS, Window.MONTH, "x-endpoint-monthly-call-limit"),
    ),
    "generic": (*_OPENAI, _bare("x-ratelimit-", "account_model"), _bare("ratelimit-", "account_model")),
    "codex": (),  # windows in percent, which have a reader of their own
    "none": (),
}  # fmt: skip

# One of these in an answer is the sign that the family's headers are there at all.
_SIGNS: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(header for row in rows for header in (row.limit, row.remaining) if header)
    for name, rows in HEADER_FAMILIES.items()
} | {"codex": PLAN_SIGNS}


def _count(text: str) -> int | None:
    """A count; None for -1, which says "unlimited", and for what is no count."""
    if len(text) > _LONGEST:
        return None
    try:
        count = int(text)
    except ValueError:
        plain = text.strip()
        count = int(float(plain)) if _NUMBER.fullmatch(plain) else -1
    return count if 0 <= count <= _MOST else None


def _stretched(row: _Row, reset_at: float | None, now: float) -> Window:
    if reset_at is not None and reset_at - now > 61.0:
        return Window.DAY
    return row.window


def seen(family: str, headers: Mapping[str, str], now: float) -> tuple[QuotaSeen, ...]:
    """The windows that the headers of any answer describe, by the header family of the provider's row.

    Names in `headers` are lower case. An unknown family knows no header. Counts are in the row's unit,
    `reset_at` is epoch seconds. Called on every answer: without such a header it costs a look-up a name.
    Source: facts/providers.md 4.1.
    """
    for sign in _SIGNS.get(family, ()):
        if sign in headers:
            rows = HEADER_FAMILIES[family]
            return _read(rows, headers, now) if rows else plan_headers(headers, now)
    return ()


def _read(rows: tuple[_Row, ...], headers: Mapping[str, str], now: float) -> tuple[QuotaSeen, ...]:
    found: list[QuotaSeen] = []
    for row in rows:
        texts = headers.get(row.limit), headers.get(row.remaining), headers.get(row.reset)
        given_limit, given_left, given_reset = texts
        if given_limit is None and given_left is None:
            continue
        limit = None if given_limit is None else _count(given_limit)
        left = None if given_left is None else _count(given_left)
        reset_at = None if given_reset is None else parse_reset(given_reset, now)
        odd = "" if None not in (limit, left, reset_at) else _odd(row, texts, (limit, left, reset_at))
        if row.needs_reset and reset_at is None:
            limit = left = None
        if given_limit is not None and given_limit.strip() in _SAYS_NOTHING:
            continue  # unlimited: there is no window
        if limit is None and left is None:
            if odd:
                found.append(QuotaSeen(row.scope, row.unit, row.window, odd=odd))
            continue
        window = _stretched(row, reset_at, now) if row.elastic else row.window
        found.append(QuotaSeen(row.scope, row.unit, window, limit, left, reset_at, odd))
    return tuple(found)


def _odd(row: _Row, texts: tuple[str | None, ...], values: tuple[float | None, ...]) -> str:
    """The headers of a window that are there and make no sense, as `name: value`, shortened."""
    names = (row.limit, row.remaining, row.reset)
    odd = [
        f"{name}: {text[:_LONGEST]}"
        for name, text, value in zip(names, texts, values, strict=True)
        if text is not None and value is None and text.strip().lower() not in _SAYS_NOTHING
    ]
    return ", ".join(odd)
