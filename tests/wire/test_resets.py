"""Reset times in every form that a provider writes, and the clocks of day and month windows."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.wire import resets
from hermes_router.wire.resets import parse_reset, told_in_text

NOW = 1795262400.0  # 2026-11-21T12:00:00Z


def at(text):
    """Epoch seconds of an ISO date."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("1795262500000", 100),
        ("1795262500.5", 100.5),
        ("33011.382867097855", 33011.382867097855),
        ("2m59.56s", 179.56),
        ("7.66s", 7.66),
        ("1h2m3s", 3723),
        ("6m0s", 360),
        ("1d2h", 93600),
        ("1500ms", 1.5),
        ("2500000µs", 2.5),
        ("2026-11-21T12:00:20Z", 20),
        ("2026-11-21T20:00:20+08:00", 20),
        ("2026-11-21T12:00:20.123456789Z", 20.123456),
        ("2026-11-21 12:00:20 UTC", 20),
        ("Sat, 21 Nov 2026 12:02:00 GMT", 120),
        (" 20 ", 20),
        ("5 minutes", 300),
        ("1 hour and 3 minutes", 3780),
        ("2 milliseconds", 1),
    ],
)
def test_every_documented_form_is_read(text, wait_s):
    """The table of facts/providers.md 4.2, and test vector 12.14.8, form by form."""
    assert parse_reset(text, NOW) == pytest.approx(NOW + wait_s, abs=1e-3)


@pytest.mark.parametrize("text", ["0", "-5", "120ms", "0s", "1795262000", "2020-01-01T00:00:00Z"])
def test_what_is_over_or_immediate_is_a_second_ahead(text):
    """Zero, negative and past resets are clamped to one second from now."""
    assert parse_reset(text, NOW) == NOW + 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "5\u017f",
        "5 \u017fecond\u017f",
        "nan",
        "inf",
        "99999999",
        "32d",
        "2027-11-21T00:00:00Z",
        "Sat, 99 Foo 2026 12:02:00 GMT",
        "1-2",
    ],
)
def test_what_is_beyond_31_days_or_no_time_is_nothing(text):
    """More than 31 days is another number than a reset, and unknown text is unknown."""
    assert parse_reset(text, NOW) is None


@given(st.text(max_size=80))
def test_any_text_gives_a_bounded_instant_or_nothing(text):
    """Whatever a header holds, the result is within (now, now + 31 days] or None; nothing is raised."""
    for found in (parse_reset(text, NOW), parse_reset(f"5{text}", NOW), told_in_text(f"wait 5{text}", NOW)):
        assert found is None or NOW < found <= NOW + resets.MAX_WAIT_S


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("Please try again in 4m50.1s. Need more tokens?", 290.1),
        ("Please retry in 36.43s.", 36.43),
        ("capacity exhausted (reset after 4s)", 4),
        ("Please wait 77 seconds before retrying", 77),
        ("please try again after 1 seconds", 1),
        ("Try again in about 20 minutes", 1200),
        ("Your limit will reset at 2026-11-21 23:30:00", 12600),
        ("resets at 2026-11-21T12:30:00Z, or try again in 10s", 1800),
    ],
)
def test_ha11_waits_in_messages(text, wait_s):
    """HA-11: waits written into the message are read; the latest of several counts; a bare date is Beijing's here."""
    assert told_in_text(text, NOW, naive_offset_s=28800) == pytest.approx(NOW + wait_s, abs=1e-3)


@pytest.mark.parametrize("text", ["Limit 8000, Used 7000", "retry later", "in 2024 we waited", "Retry after 20 of"])
def test_numbers_that_are_no_wait_are_left_alone(text):
    """Counts and years in a message are not mistaken for a wait."""
    assert told_in_text(text, NOW) is None
