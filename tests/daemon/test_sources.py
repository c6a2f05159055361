"""hermes_router/daemon/sources.py: time that does not go back, identifiers that do not repeat."""

import re

import pytest

from hermes_router.daemon import sources
from hermes_router.daemon.sources import RandomIds, SystemClock


def test_now_never_goes_back_and_never_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back by ten seconds goes half as fast for twenty: no wait is longer than twice its length."""
    walls = iter([100.0, 90.0, 94.0, 109.0, 110.0, 111.0, 500.0])
    monos = iter([7.0, 7.0, 7.0, 11.0, 26.0, 27.0, 28.0, 29.0])
    monkeypatch.setattr(sources.time, "time", lambda: next(walls))
    monkeypatch.setattr(sources.time, "monotonic", lambda: next(monos))
    clock = SystemClock()
    assert [clock.now() for _ in range(7)] == [100.0, 100.0, 102.0, 109.5, 110.0, 111.0, 500.0]


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
