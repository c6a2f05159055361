"""The tally of what a caller has seen."""

from hermes_router.wire.shown import Shown


def test_white_space_is_nothing_shown() -> None:
    """Text counts once something can be read in it; the whole text is kept all the same."""
    shown = Shown()
    shown.add(" \n")
    assert (shown.anything, shown.only_reasoning, shown.chars) == (False, True, 2)
    shown.add("x")
    shown.add(" ")
    assert (shown.anything, shown.only_reasoning, shown.text) == (True, False, " \nx ")


def test_reasoning_alone_allows_another_attempt() -> None:
    """Reasoning is visible, yet an answer may still begin; a call may not be begun twice."""
    assert not Shown().anything
    assert Shown(reasoning=True).anything
    assert Shown(reasoning=True).only_reasoning
    assert not Shown(reasoning=True, calls=1).only_reasoning
