"""How full the windows of a ChatGPT plan are: in headers, in events of a stream, in the usage report.

Owns the three spellings (facts: codex.md 8, 9.1, 9.2) of the same thing: two windows, each a share used in percent, a
length and a reset. A window is known by its length, not by the slot that it is told in: a free plan's first is a week.
It must never know an account, or what follows from a full window.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from hermes_router.core.observations import QuotaSeen, ScopeKind, Unit, Window
from hermes_router.wire.resets import bounded

__all__ = ["PLAN_EVENT", "PLAN_SIGNS", "PlanReport", "plan_headers", "plan_report", "plan_told"]

PLAN_EVENT: Final = "codex.rate_limits"
PLAN_SIGNS: Final = ("x-codex-primary-used-percent", "x-codex-secondary-used-percent")
"""One of these in an answer says that the others may be there."""

_SLOTS: Final = ("primary", "secondary")
_BY_SLOT: Final = {"primary": Window.PLAN, "secondary": Window.WEEK}
_LONGEST: Final = ((90, Window.HOUR), (720, Window.PLAN), (2_160, Window.DAY), (14_400, Window.WEEK))  # minutes
_YES: Final = frozenset({"true", "1", "yes"})
_MAIN: Final = "codex"  # the limit that the plain headers tell of
_LONGEST_NAME: Final = 40  # characters of a limit's name


class PlanReport(NamedTuple):
    """What the usage report says: the plan's windows. `reached` = no request is let in now."""

    windows: tuple[QuotaSeen, ...] = ()
    reached: bool = False


def plan_headers(headers: Mapping[str, str], now: float) -> tuple[QuotaSeen, ...]:
    """The windows in the headers of any answer, names in lower case; `now` in epoch seconds.

    Where another limit applied (`x-codex-active-limit`), its windows are the model's own, beside those of the account.
    """
    spare = any(
        headers.get(f"x-codex-credits-{word}", "").strip().lower() in _YES for word in ("has-credits", "unlimited")
    )
    found = [*_of_headers(headers, _MAIN, "account", now, spare=spare)]
    active = headers.get("x-codex-active-limit", "").strip().lower().replace("_", "-")
    if active and active != _MAIN and len(active) <= _LONGEST_NAME:
        found += _of_headers(headers, active, "account_model", now, spare=spare)
    return tuple(found)


def _of_headers(
    headers: Mapping[str, str], limit: str, scope: ScopeKind, now: float, *, spare: bool
) -> Iterator[QuotaSeen]:
    for slot in _SLOTS:
        stem = f"x-{limit}-{slot}"
        used = headers.get(f"{stem}-used-percent")
        if used is None:
            continue
        yield from _seen(
            slot,
            scope,
            _number(used),
            _number(headers.get(f"{stem}-window-minutes")),
            _reset(headers.get(f"{stem}-reset-at"), headers.get(f"{stem}-reset-after-seconds"), now),
            spare=spare,
        )


def plan_told(event: Any, now: float) -> tuple[QuotaSeen, ...]:
    """The windows in a `codex.rate_limits` event; none in what is none. An event of another limit says nothing here."""
    said = _table(event)
    name = said.get("metered_limit_name") or said.get("limit_name")
    if isinstance(name, str) and name and name != _MAIN:
        return ()
    limits = _table(said.get("rate_limits"))
    return tuple(_of_tables(limits, _SLOTS, now, spare=_spare(said.get("credits"))))


def plan_report(body: Any, now: float) -> PlanReport:
    """The usage report, decoded (codex.md 9.2); an empty one where it is none."""
    said = _table(body)
    limits = _table(said.get("rate_limit"))
    spare = _spare(said.get("credits"))
    return PlanReport(
        windows=tuple(_of_tables(limits, tuple(f"{slot}_window" for slot in _SLOTS), now, spare=spare)),
        reached=limits.get("limit_reached") is True or limits.get("allowed") is False,
    )


def _of_tables(limits: Mapping[str, Any], names: tuple[str, ...], now: float, *, spare: bool) -> Iterator[QuotaSeen]:
    for slot, name in zip(_SLOTS, names, strict=True):
        told = _table(limits.get(name))
        length_s = _number(told.get("limit_window_seconds"))
        minutes = _number(told.get("window_minutes")) if length_s is None else length_s / 60.0
        reset_at = _reset(told.get("reset_at", told.get("resets_at")), told.get("reset_after_seconds"), now)
        yield from _seen(slot, "account", _number(told.get("used_percent")), minutes, reset_at, spare=spare)


def _seen(
    slot: str, scope: ScopeKind, used: float | None, minutes: float | None, reset_at: float | None, *, spare: bool
) -> Iterator[QuotaSeen]:
    if used is None or not 0.0 <= used <= 1_000.0:
        return
    # Rounded down: a window is full when the provider says 100, not before.
    left = 100 - min(100, math.floor(used))
    if spare and not left:
        left = 1  # it goes on from credits, and refuses where those end
    yield QuotaSeen(scope, Unit.PERCENT, _window(slot, minutes), 100, left, reset_at)


def _window(slot: str, minutes: float | None) -> Window:
    if minutes is None or minutes <= 0:
        return _BY_SLOT[slot]
    return next((window for most, window in _LONGEST if minutes <= most), Window.MONTH)


def _reset(at: Any, after_s: Any, now: float) -> float | None:
    """An instant in epoch seconds, else a wait in seconds; nothing where both are empty or odd."""
    instant, wait_s = _number(at), _number(after_s)
    if instant is not None and instant > 1e9:
        return bounded(instant, now)
    return None if wait_s is None or wait_s < 0 else bounded(now + wait_s, now)


def _number(value: Any) -> float | None:
    if isinstance(value, str) and len(value) < 30:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _spare(credits_: Any) -> bool:
    told = _table(credits_)
    return told.get("has_credits") is True or told.get("unlimited") is True


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
