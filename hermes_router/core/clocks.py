"""The calendar of quota windows: when a day or a month ends on a provider's clock.

Owns the arithmetic of clocks for both sides that need it, the readers of error bodies and the ledger. Time comes from
outside; the only thing it looks up is the system's table of time zones.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hermes_router.core.observations import WINDOW_SECONDS, Window


def _nth_sunday(year: int, month: int, nth: int) -> int:
    first = datetime(year, month, 1, tzinfo=UTC).weekday()
    return 1 + (6 - first) % 7 + 7 * (nth - 1)


def _pacific_offset_s(at: float) -> float:
    """Los Angeles by the rule of 2007: second Sunday of March to first of November, at two o'clock."""
    year = datetime.fromtimestamp(at, UTC).year
    begins = datetime(year, 3, _nth_sunday(year, 3, 2), 10, tzinfo=UTC).timestamp()
    ends = datetime(year, 11, _nth_sunday(year, 11, 1), 9, tzinfo=UTC).timestamp()
    return -25200.0 if begins <= at < ends else -28800.0


def _offset_s(clock: str, at: float) -> float:
    """Seconds east of UTC on `clock` at that instant. A small VPS may lack tzdata; an unknown zone is UTC."""
    if clock == "utc":
        return 0.0
    if clock == "Asia/Shanghai":
        return 28800.0
    try:
        shift = datetime.fromtimestamp(at, ZoneInfo(clock)).utcoffset()
    except (KeyError, ValueError, OSError):
        return _pacific_offset_s(at) if clock == "America/Los_Angeles" else 0.0
    return shift.total_seconds() if shift is not None else 0.0


def next_reset(clock: str, window: Window, now: float) -> float:
    """When a window that began before `now` ends, in epoch seconds.

    `clock` is `rolling` (now plus the window's length), `utc` or a time zone: then days end at local
    midnight, daylight saving included, months on the 1st, shorter windows at the next full one
    (facts/providers.md 4.3).
    """
    if clock == "rolling" or window in (Window.PLAN, Window.NONE):
        return now + WINDOW_SECONDS[window]
    if window not in (Window.DAY, Window.MONTH):
        length = WINDOW_SECONDS[window]
        return (now // length + 1) * length
    offset = _offset_s(clock, now)
    local = datetime.fromtimestamp(now + offset, UTC)
    if window is Window.DAY:
        edge = datetime(local.year, local.month, local.day, tzinfo=UTC) + timedelta(days=1)
    else:
        edge = datetime(local.year + local.month // 12, local.month % 12 + 1, 1, tzinfo=UTC)
    # The offset at the edge may differ from today's: clocks change in between.
    return edge.timestamp() - _offset_s(clock, edge.timestamp() - offset)
