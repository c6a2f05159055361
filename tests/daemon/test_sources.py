"""hermes_router/daemon/sources.py: time that does not go back, identifiers that do not repeat."""

import re

import pytest

from hermes_router.daemon import sources
from hermes_router.daemon.sources import RandomIds, SystemClock


def test_now_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back stands still until the old time is passed; a reset that was told stays true."""
    times = iter([100.0, 90.0, 99.0, 101.0])
    monkeypatch.setattr(sources.time, "time", lambda: next(times))
    clock = SystemClock()
    assert [clock.now() for _ in range(4)] == [100.0, 100.0, 100.0, 101.0]


def test_mono_is_the_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Durations are taken from the clock that nobody sets."""
    monkeypatch.setattr(sources.time, "monotonic", lambda: 7.5)
    assert SystemClock().mono() == 7.5


def test_ids_have_their_form_and_do_not_repeat() -> None:
    """A prefix and 24 letters and digits; unique within a process, and between two."""
    one, other = RandomIds(), RandomIds()
    made = [one.new("req_") for _ in range(1000)] + [other.new("req_") for _ in range(1000)]
    assert len(set(made)) == 2000
    assert all(re.fullmatch(r"req_[A-Za-z0-9]{24}", ident) for ident in made)
