"""hermes_router/conformance/frames.py: a stream, read strictly."""

import pytest

from hermes_router.conformance.answer import Wrong
from hermes_router.conformance.frames import DONE, Frame, frames


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_all_line_ends_and_comments_are_read(end: bytes) -> None:
    """Frames are the same with each of the three line ends; comments, ids and retry times are no events."""
    lines = [
        b": hi",
        b"",
        b"event: a",
        b'data: {"x":',
        b"data:1}",
        b"",
        b"retry: 5",
        b"id: 7",
        b"",
        b"data: [DONE]",
        b"",
        b"",
    ]
    assert frames(end.join(lines)) == [Frame("a", {"x": 1}), Frame("", DONE)]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"data: {}\n\ndata: {}", "ends inside an event"),
        (b"data: {}\n", "ends inside an event"),
        (b"event: a\n", "ends inside an event"),
        (b"data: {\n\n", "is not JSON"),
        (b"<html>\n\n", "no event's field"),
        (b'data: "\xff"\n\n', "not UTF-8"),
    ],
)
def test_what_a_lenient_reader_lets_pass_is_a_fault(raw: bytes, why: str) -> None:
    """A last frame that nobody closed, data that is no JSON, lines of another kind."""
    with pytest.raises(Wrong, match=why):
        frames(raw)


def test_json_may_hold_the_line_ends_of_other_standards() -> None:
    """U+2028 is text, as it is to JSON."""
    assert frames('data: "a\u2028b"\n\n'.encode()) == [Frame("", "a\u2028b")]
