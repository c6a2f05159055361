"""Where the JSON object of a call's arguments ends, however it is cut."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.wire.messages.arguments import ObjectScan, is_object

OBJECTS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(['"', "\\", '\\"', "{", "]}", "\u2028"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def feed(pieces: list[str]) -> tuple[str, ObjectScan]:
    scan = ObjectScan()
    return "".join(scan.feed(piece) for piece in pieces), scan


@given(OBJECTS, st.text(max_size=6), st.lists(st.integers(0, 60), max_size=8), st.booleans())
def test_an_object_comes_out_without_what_stands_around_it(
    value: dict[str, object], junk: str, cuts: list[int], ascii_only: bool
) -> None:
    """However the text is cut, the object comes out whole, and nothing of what follows (providers.md 12.4)."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    around = f" \n{text}{junk}"
    at = [0, *sorted(min(cut, len(around)) for cut in cuts), len(around)]
    said, scan = feed([around[a:b] for a, b in itertools.pairwise(at)])
    assert said == text
    assert scan.began
    assert scan.over
    assert is_object(said)


@pytest.mark.parametrize("text", ["", " ", "null", "[1]", "abc", '"{}"'])
def test_what_begins_otherwise_is_no_object(text: str) -> None:
    """It is given back, and never called whole."""
    said, scan = feed([text])
    assert said == text.strip()
    assert not scan.began
    assert not scan.over
    assert not is_object(text)


def test_an_object_that_is_cut_is_not_over() -> None:
    """Not inside a string that holds braces, nor behind an escape."""
    for text in ('{"a":"}', '{"a":"\\', '{"a":[{}', "{"):
        said, scan = feed([text[:1], text[1:]])
        assert said == text
        assert not scan.over
        assert not is_object(text)


def test_nesting_without_end_is_no_object() -> None:
    """Ours to say, not a RecursionError's."""
    assert not is_object('{"a":' * 100_000)
