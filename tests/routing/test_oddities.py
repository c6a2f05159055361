"""What makes no sense in a window: bounds, and each said once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.ids import CredentialId, ModelId, ProviderName, Target
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.routing.oddities import KEPT, LONGEST_S, MOST, REMEMBERED, Oddities, sensible

NOW = 1_790_000_000.0
A = Target(ProviderName("a"), ModelId("m"), CredentialId("k"))


def seen(*numbers: float | None, window: Window = Window.MINUTE) -> QuotaSeen:
    """Limit, remaining and the instant of the reset."""
    limit, remaining, reset_at = numbers
    return QuotaSeen("account", Unit.REQUESTS, window, limit, remaining, reset_at)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "odd", [seen(-1, 5, None), seen(10, -2, None), seen(10, 11, None), seen(2**60, 1, None), seen(10, 2**60, None)]
)
def test_counts_that_cannot_be_void_the_window(odd: QuotaSeen) -> None:
    """Below 0, beyond reason, more left than there is: nothing of it is believed, and a word says why."""
    kept, why = sensible(odd, NOW)
    assert kept is None
    assert "requests a minute" in why


@pytest.mark.parametrize("reset_at", [NOW + 86_400.0, 4_294_967_295.0, NOW - 7_200.0, float("nan"), float("inf")])
def test_an_instant_that_cannot_be_leaves_the_counts(reset_at: float) -> None:
    """A minute that resets tomorrow, in 2106 or yesterday: the counts stand, the instant does not."""
    kept, why = sensible(seen(10, 3, reset_at), NOW)
    assert kept is not None
    assert (kept.limit, kept.remaining, kept.reset_at) == (10, 3, None)
    assert why


def test_what_makes_sense_passes_as_it_is() -> None:
    """An ordinary window, one that is being reset now, and a month."""
    ordinary = seen(10, 3, NOW + 30)
    assert sensible(ordinary, NOW) == (ordinary, "")
    now, why = sensible(seen(10, 3, NOW - 1), NOW)
    assert now is not None
    assert (now.reset_at, why) == (NOW + 1.0, "")
    month = seen(10, 3, NOW + 30 * 86_400, window=Window.MONTH)
    assert sensible(month, NOW) == (month, "")


@given(
    st.none() | st.integers(-5, 2**70), st.none() | st.integers(-5, 2**70), st.none() | st.floats(width=64),
    st.sampled_from(Window),
)  # fmt: skip
def test_whatever_is_said_what_passes_is_bounded(
    limit: int | None, left: int | None, reset_at: float | None, window: Window
) -> None:
    """No provider can say anything that lets more, or a later instant, through than a window can have."""
    kept, why = sensible(seen(limit, left, reset_at, window=window), NOW)
    if kept is None:
        assert why
        return
    assert kept.limit is None or 0 <= kept.limit <= MOST
    assert kept.remaining is None or 0 <= kept.remaining <= (MOST if kept.limit is None else kept.limit)
    assert kept.reset_at is None or NOW < kept.reset_at <= NOW + LONGEST_S + 61.0


def test_each_is_noted_once_and_their_number_is_bounded() -> None:
    """The same nonsense in every answer is one line; a flood of different ones keeps the latest."""
    odd = Oddities()
    assert not odd
    for _ in range(3):
        odd.note(A, "a limit of -5")
    assert odd.take() == [(A, "a limit of -5")]
    odd.note(A, "a limit of -5")
    assert not odd
    for number in range(REMEMBERED + 10):
        odd.note(A, f"odd {number}")
    assert len(odd.take()) == KEPT
    odd.note(A, "a limit of -5")  # so long ago that it is news again
    assert odd
