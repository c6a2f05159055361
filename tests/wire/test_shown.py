"""The tally of what a caller has seen."""

from hermes_router.core.events import BlockKind
from hermes_router.wire.shown import Shown


def test_white_space_is_nothing_shown() -> None:
    """Text counts once something can be read in it; the whole text is kept all the same."""
    shown = Shown()
    shown.add(" \n")
    assert (shown.anything, shown.blank, shown.chars) == (False, True, 2)
    shown.add("x")
    shown.add(" ")
    assert (shown.anything, shown.blank, shown.text) == (True, False, " \nx ")


def test_thoughts_are_seen_beside_the_text() -> None:
    """They are counted apart, and are no text to go on with."""
    shown = Shown()
    assert not shown.anything
    shown.open(BlockKind.REASONING)
    shown.think(" ")
    assert not shown.reasoning
    shown.think("hm")
    assert (shown.anything, shown.blank, shown.beside, shown.chars) == (True, True, 3, 0)
    shown.open(BlockKind.TOOL_CALL)
    assert shown.calls == 1


def test_what_the_open_block_has_shown() -> None:
    """Of a text or a thought; nothing of a block before it."""
    shown = Shown()
    assert shown.block == ""
    shown.open(BlockKind.TEXT)
    shown.add("one")
    shown.open(BlockKind.REASONING)
    shown.think("hm")
    shown.think("m")
    assert shown.block == "hmm"
    shown.open(BlockKind.TEXT)
    shown.add("two")
    assert (shown.block, shown.text) == ("two", "onetwo")
    shown.inside = None
    assert shown.block == ""
