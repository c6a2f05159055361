"""The clocks of day and month windows."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core import clocks
from hermes_router.core.clocks import next_reset
from hermes_router.core.observations import Window


def at(text):
    """Epoch seconds of an ISO date."""
    return datetime.fromisoformat(text).timestamp()


def utc(*parts: int) -> float:
    """Epoch seconds of a UTC date."""
    return datetime(*parts, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("clock", "window", "now", "reset"),
    [
        ("rolling", Window.DAY, "2026-11-21T12:00:00Z", "2026-11-22T12:00:00Z"),
        ("rolling", Window.MINUTE, "2026-11-21T12:00:10Z", "2026-11-21T12:01:10Z"),
        ("utc", Window.MINUTE, "2026-11-21T12:00:10Z", "2026-11-21T12:01:00Z"),
        ("utc", Window.HOUR, "2026-11-21T12:00:10Z", "2026-11-21T13:00:00Z"),
        ("utc", Window.DAY, "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
        ("utc", Window.MONTH, "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        ("Asia/Shanghai", Window.DAY, "2026-11-21T12:00:00Z", "2026-11-21T16:00:00Z"),
        ("Asia/Shanghai", Window.MONTH, "2026-11-30T17:00:00Z", "2026-12-31T16:00:00Z"),
        ("America/Los_Angeles", Window.DAY, "2026-11-21T12:00:00Z", "2026-11-22T08:00:00Z"),
        ("America/Los_Angeles", Window.DAY, "2026-07-01T06:59:59Z", "2026-07-01T07:00:00Z"),
        ("America/Los_Angeles", Window.DAY, "2026-03-08T09:00:00Z", "2026-03-09T07:00:00Z"),
        ("America/Los_Angeles", Window.DAY, "2026-11-01T08:30:00Z", "2026-11-02T08:00:00Z"),
        ("America/Los_Angeles", Window.MONTH, "2026-10-15T00:00:00Z", "2026-11-01T07:00:00Z"),
        ("Nowhere/Unknown", Window.DAY, "2026-11-21T12:00:00Z", "2026-11-22T00:00:00Z"),
    ],
)
def test_windows_end_on_their_own_clock(clock, window, now, reset):
    """Pacific midnight moves with daylight saving, Beijing's does not, months end on the 1st (4.3, 12.14.7)."""
    assert next_reset(clock, window, at(now)) == at(reset)


@given(st.floats(min_value=at("2020-01-01T00:00:00Z"), max_value=at("2040-01-01T00:00:00Z")))
def test_without_tzdata_pacific_midnight_is_computed_alike(now):
    """A VPS without tzdata gets the same Pacific midnights from the rule of 2007 as from the zone file."""
    known = next_reset("America/Los_Angeles", Window.DAY, now)

    def missing(key):
        raise ZoneInfoNotFoundError(key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "ZoneInfo", missing)
        assert next_reset("America/Los_Angeles", Window.DAY, now) == known
    local = datetime.fromtimestamp(known, ZoneInfo("America/Los_Angeles"))
    assert (local.hour, local.minute, local.second) == (0, 0, 0)
    assert now < known <= now + 25 * 3600


@pytest.mark.parametrize(
    ("window", "resets", "now", "end"),
    [
        (Window.MINUTE, "rolling", 90.0, 150.0),
        (Window.MINUTE, "utc", 90.0, 120.0),
        (Window.DAY, "utc", utc(2026, 11, 21, 10), utc(2026, 11, 22)),
        (Window.DAY, "America/Los_Angeles", utc(2026, 11, 21, 10), utc(2026, 11, 22, 8)),
        (Window.DAY, "America/Los_Angeles", utc(2026, 11, 1, 7, 30), utc(2026, 11, 2, 8)),  # the 25-hour day
        (Window.DAY, "No/Where", utc(2026, 11, 21, 10), utc(2026, 11, 22)),
        (Window.MONTH, "utc", utc(2026, 12, 31, 23), utc(2027, 1, 1)),
        (Window.MONTH, "utc", utc(2028, 2, 29), utc(2028, 3, 1)),
        (Window.DAY, "rolling", 0.0, 86_400.0),
        (Window.PLAN, "utc", 0.0, 18_000.0),
    ],
)
def test_windows_of_odd_days_and_months_end_where_they_should(
    window: Window, resets: str, now: float, end: float
) -> None:
    """Rolling windows run from their first charge; days and months end at midnight of their own time zone."""
    assert next_reset(resets, window, now) == end
