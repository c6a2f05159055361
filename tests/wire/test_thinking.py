"""Reasoning between tags, told apart from text."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.events import BlockKind
from hermes_router.wire.thinking import TagSplitter


def split(*pieces: str) -> tuple[str, str, bool]:
    """(reasoning, text, whether reasoning came first)."""
    splitter = TagSplitter("<think>", "</think>")
    parts = [part for piece in pieces for part in splitter.feed(piece)]
    parts += splitter.finish()
    assert splitter.settled
    kinds = [kind for kind, _ in itertools.groupby(parts, key=lambda part: part[0])]
    said = {kind: "".join(text for k, text in parts if k is kind) for kind in BlockKind}
    ordered = kinds in ([], [BlockKind.TEXT], [BlockKind.REASONING], [BlockKind.REASONING, BlockKind.TEXT])
    return said[BlockKind.REASONING], said[BlockKind.TEXT], ordered


SAMPLES = {
    "<think>a b</think>\n\nHello": ("a b", "Hello"),
    " \n<think>a</think>Hello": ("a", "Hello"),
    "<think></think>Hello": ("", "Hello"),
    "Hello": ("", "Hello"),
    "  Hello": ("", "  Hello"),
    "Hello <think>no</think>": ("", "Hello <think>no</think>"),
    "<think>a</think>Hello <think>b</think>": ("a", "Hello <think>b</think>"),
    "<think>never closed </thin": ("never closed </thin", ""),
    "<thinking>x</thinking>": ("", "<thinking>x</thinking>"),
    "<thin": ("", "<thin"),
    "<think>a < b </ c</think>x": ("a < b </ c", "x"),
    "<think>a</think>\n": ("a", ""),
    "": ("", ""),
    "   ": ("", "   "),
    "no opening</think>text": ("", "no opening</think>text"),
}


@pytest.mark.parametrize("text", SAMPLES)
def test_the_tag_is_found_at_every_split_point(text: str) -> None:
    """Cut in two or three anywhere, the same reasoning and the same text come out (providers.md 7, 12.14 no. 4)."""
    wanted = (*SAMPLES[text], True)
    assert split(text) == wanted
    assert split(*text) == wanted
    for one in range(len(text) + 1):
        for two in range(one, len(text) + 1):
            assert split(text[:one], text[one:two], text[two:]) == wanted


@given(st.lists(st.sampled_from(["<think>", "</think>", "<th", "ink>", "</", "\n", " ", "a", "<"]), max_size=10))
def test_nothing_is_lost_but_tags_and_the_white_space_at_them(pieces: list[str]) -> None:
    """However the tags lie, the pieces give what the whole gives, and every other character comes out."""
    text = "".join(pieces)
    assert split(*pieces) == split(text)
    reasoning, said, _ = split(text)
    assert len(reasoning + said) >= len(text) - len("<think></think>") - sum(c in "\n " for c in text)


def test_text_is_not_held_back_once_there_can_be_no_tag() -> None:
    """The first character that is no tag settles it: a stream stays a stream."""
    splitter = TagSplitter("<think>", "</think>")
    assert list(splitter.feed("H")) == [(BlockKind.TEXT, "H")]
    assert splitter.settled


def test_a_bare_closing_tag_counts_in_a_whole_answer() -> None:
    """DeepSeek-R1's template omits the opening tag: all before the closing one was reasoning (providers.md 7)."""
    parts = list(TagSplitter("<think>", "</think>").whole("why\n</think>\n\nbecause"))
    assert parts == [(BlockKind.REASONING, "why\n"), (BlockKind.TEXT, "because")]
    assert list(TagSplitter("<think>", "</think>").whole("plain")) == [(BlockKind.TEXT, "plain")]
