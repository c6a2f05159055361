"""hermes_router/core/spans.py: lengths of time in words."""

import pytest

from hermes_router.core.spans import lapse, span


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 s"),
        (99, "99 s"),
        (100, "2 min"),
        (5_999, "1 h 40 min"),
        (7_200, "2 h"),
        (90_000, "1 d 1 h"),
        (864_000, "10 d"),
    ],
)
def test_a_span_has_two_units_at_most(seconds: float, said: str) -> None:
    """Never more than a person takes in at a glance, and never below nothing."""
    assert span(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0, "0 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (99.94, "99.9 s"), (100, "2 min")]
)
def test_a_lapse_is_finer(seconds: float, said: str) -> None:
    """What took less than a second is told in milliseconds, and no unit runs over into the next."""
    assert lapse(seconds) == said
