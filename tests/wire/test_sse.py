"""Events out of bytes, however the network cut them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.wire import sse as module
from hermes_router.wire.sse import Frame, OversizedEvent, SSEDecoder

from .streams import cuts, ways

SAMPLES = {
    "plain": (b'data: {"a":1}\n\ndata: {"b":2}\n\n', [b'{"a":1}', b'{"b":2}']),
    "no_space": (b"data:x\n\ndata:[DONE]\n\n", [b"x", b"[DONE]"]),
    "only_one_space_goes": (b"data:  x\n\n", [b" x"]),
    "crlf": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "cr": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "mixed_line_ends": (b"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", [b"a", b"b", b"c"]),
    "bom": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "several_data_lines": (b'data: {"a":\ndata: 1}\n\n', [b'{"a":\n1}']),
    "comments_do_not_count": (b": ping\n\ndata: a\n: in between\ndata: b\n\n", [None, b"a\nb"]),
    "unknown_fields": (b"id: 7\nretry: 3\ndata: a\n\n", [b"a"]),
    "more_blank_lines": (b"\n\ndata: a\n\n\n\n\ndata: b\n\n", [b"a", b"b"]),
    "u2028_and_u0085_are_text": ("data: a\u2028b\u0085c\n\n".encode(), ["a\u2028b\u0085c".encode()]),
    "no_blank_line_at_the_end": (b"data: a\n\ndata: [DONE]\n", [b"a", b"[DONE]"]),
    "no_line_end_at_all": (b"data: a\n\ndata: [DONE]", [b"a", b"[DONE]"]),
    "empty_data": (b"data:\n\ndata\n\n", [b"", b""]),
    "empty": (b"", []),
    "a_lone_bom_byte": (b"\xef", [None]),
}


def decode(pieces: list[bytes]) -> list[Frame]:
    decoder = SSEDecoder()
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    return [*frames, *decoder.finish()]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_way_of_writing_an_event_is_read_however_it_is_cut(name: str) -> None:
    """Whole, byte by byte and at random, the same events come out (providers.md 6)."""
    body, wanted = SAMPLES[name]
    for pieces in ways(body):
        assert [frame.data for frame in decode(pieces)] == wanted


def test_event_names_are_read() -> None:
    """`event: error` on a Chat stream is news (providers.md 6)."""
    assert decode([b"event: error\ndata: {}\n\n"]) == [Frame(b"{}", b"error")]


def test_single_gives_what_feed_gives_or_nothing() -> None:
    """The short cut for one whole plain event agrees with the long way, and knows when it does not apply."""
    decoder = SSEDecoder()
    assert decoder.single(b"data: a\n\n") is None  # a BOM may still come
    assert decoder.feed(b": hi\n\n") == [Frame(None)]
    assert decoder.single(b"data: a\n\n") == b"a"
    odd = (b"data:a\n\n", b"data: a\n", b"data: a\n\ndata: b\n\n", b"data: a\r\n\n", b"event: x\n\n", b"", b"\n\n")
    for chunk in odd:
        assert decoder.single(chunk) is None
    decoder.feed(b"da")
    assert decoder.single(b"data: a\n\n") is None


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream cannot make us buffer without bound."""
    monkeypatch.setattr(module, "MAX_EVENT_BYTES", 1_000)
    decoder = SSEDecoder()
    assert decoder.feed(b"data: " + b"x" * 2_000 + b"\n\n")  # whole: it needs no buffer
    with pytest.raises(OversizedEvent):
        decoder.feed(b"x" * 1_001)


_pieces = st.sampled_from(
    [b"data: ", b"data:", b"a", b"{}", b"\n", b"\r", b"\r\n", b"\n\n", b":", b"event: e", b"\xff"]
)


@given(st.lists(_pieces, max_size=30).map(b"".join), st.integers(0, 2**32))
def test_splitting_changes_nothing(body: bytes, seed: int) -> None:
    """Any bytes, cut anyhow, give the same events as in one piece; nothing is raised."""
    whole = decode([body])
    assert decode(cuts(body, random.Random(seed))) == whole
    assert decode([body[i : i + 1] for i in range(len(body))]) == whole
