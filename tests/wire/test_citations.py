"""Citations: the pages that a text rests on, from each dialect's spelling, within the text that cites them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.events import BlockKind, Citation, Closed, Delta, Opened, Started
from hermes_router.wire.citations import WHOLE, annotations, citations, cited
from hermes_router.wire.seam import Seam

from .streams import new_splice

FLAT = {"type": "url_citation", "url": "https://e", "title": "E", "start_index": 3, "end_index": 7}
NESTED = {"type": "url_citation", "url_citation": {key: FLAT[key] for key in FLAT if key != "type"}}


@pytest.mark.parametrize("raw", [FLAT, NESTED])
def test_both_dialects_of_openai_say_where(raw: dict[str, Any]) -> None:
    """Nested in Chat, flat in Responses; places count from where the block begins."""
    assert citations([raw], 2) == [Citation("https://e", "E", 1, 5)]


def test_messages_cite_for_a_whole_block() -> None:
    """Pages and search results that have an address; what points into a document means nothing elsewhere (12.13)."""
    found = cited(
        [
            {"type": "web_search_result_location", "url": "https://e", "title": "E", "cited_text": "x"},
            {"type": "search_result_location", "source": "https://f", "title": None},
            {"type": "search_result_location", "source": "a file"},
            {"type": "char_location", "document_index": 0, "start_char_index": 1, "end_char_index": 2},
        ]
    )
    assert found == [Citation("https://e", "E", 0, WHOLE), Citation("https://f", "", 0, WHOLE)]
    assert annotations(found, 4)[0] == {**FLAT, "start_index": 0, "end_index": 4}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just("url_citation") | st.just("https://e"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*FLAT, "url_citation", "source"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(JSON, st.integers(0, 9), st.integers(0, 20))
def test_whatever_is_said_lies_within_the_text(raw: Any, begins: int, chars: int) -> None:
    """Nothing raises, and each place is one of the text."""
    for note in annotations([*citations(raw, begins), *cited(raw)], chars):
        assert isinstance(note["url"], str)
        assert isinstance(note["title"], str)
        assert 0 <= note["start_index"] <= note["end_index"] <= chars


def test_each_is_told_once() -> None:
    """Some repeat them in every chunk."""
    assert len(annotations(citations([FLAT, FLAT], 0), 9)) == 1


def test_places_of_an_attempt_that_goes_on_are_not_the_texts() -> None:
    """They count from where it began, so they are left out; those of a first attempt stay."""
    note = (Citation("https://e", "E", 0, 2),)
    splice = new_splice()
    told: list[Any] = []
    encode = splice.encoder.encode
    splice.encoder.encode = lambda events: (told.extend(events), encode(events))[1]  # type: ignore[method-assign]
    splice.admit([Started("a", "m", 1), Opened(BlockKind.TEXT), Delta("one two three"), Closed(citations=note)])
    splice.admit([Opened(BlockKind.TEXT), Delta("four")])
    splice.begin(None, Seam("one two threefour", anchor=None, echoed=False))
    splice.admit(
        [Started("b", "m", 1), Opened(BlockKind.TEXT), Delta(" five and six and more"), Closed(citations=note)]
    )
    splice.admit([Opened(BlockKind.TEXT), Delta("seven")])
    assert [event.citations for event in told if isinstance(event, Closed)] == [note, ()]
