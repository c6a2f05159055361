"""Reading one HTTP answer, whoever sent it and however it was cut into pieces."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.control import answer
from hermes_router.control.answer import Cut, Garbled, Reading

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nHermes-API:  1 \r\n\r\nhello"
CHUNKED = b"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"
CLOSED = b"HTTP/1.0 500 X\r\na: b\r\n\r\nhello"
GOOD = [(LENGTH, 200), (CHUNKED, 409), (CLOSED, 500)]


def sender(*pieces: bytes) -> Callable[[int], bytes]:
    """A connection that brings these pieces, then its end."""
    left = [piece for piece in pieces if piece]
    return lambda _most: left.pop(0) if left else b""


def read(*pieces: bytes) -> tuple[int, dict[str, str], bytes]:
    return Reading(sender(*pieces)).answer()


@pytest.mark.parametrize(("raw", "status"), GOOD)
def test_an_answer_is_the_same_however_it_is_split(raw: bytes, status: int) -> None:
    """Whole, and byte by byte."""
    whole = read(raw)
    assert (whole[0], whole[2]) == (status, b"hello")
    assert read(*(raw[i : i + 1] for i in range(len(raw)))) == whole


def test_header_names_are_lower_case_and_values_stripped() -> None:
    """As HTTP compares them."""
    assert read(LENGTH)[1] == {"content-length": "5", "hermes-api": "1"}


@pytest.mark.parametrize("raw", [LENGTH, CHUNKED.removesuffix(b"\r\n")])
def test_an_answer_that_is_cut_anywhere_is_cut(raw: bytes) -> None:
    """Half an answer is never a whole one; not even nothing at all is."""
    for end in range(len(raw)):
        with pytest.raises(Cut):
            read(raw[:end])


def test_nothing_is_awaited_beyond_the_answer() -> None:
    """A server that keeps the connection open does not make us wait."""

    def once(raw: bytes) -> Callable[[int], bytes]:
        left = [raw]
        return lambda _most: left.pop()  # IndexError where more is asked for

    for raw in (LENGTH, CHUNKED):
        assert Reading(once(raw)).answer()[2] == b"hello"


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n", b"x", b"\x00" * 10, b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 2000\r\n"[:9] + b"abc\r\n\r\n",
        b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    ],
)  # fmt: skip
def test_what_is_not_our_http_is_garbled(raw: bytes) -> None:
    """Another protocol, impossible lengths, broken chunks."""
    with pytest.raises(Garbled):
        read(raw)


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
)
def test_an_answer_without_end_is_left(monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    """Head, body and chunk sizes: at some point it is too much."""
    monkeypatch.setattr(answer, "_LARGEST_ANSWER", 1 << 20)
    pieces = iter([start])
    with pytest.raises(Garbled):
        Reading(lambda most: next(pieces, b"1" * most)).answer()


@given(st.lists(st.binary(min_size=1)) | st.binary().map(lambda tail: [b"HTTP/1.1 200 OK\r\n", tail]))
def test_garbage_raises_our_errors_only(pieces: list[bytes]) -> None:
    """Any bytes are an answer, cut or garbled, and nothing else."""
    try:
        status, headers, body = read(*pieces)
    except (Cut, Garbled):
        return
    assert isinstance(status, int)
    assert isinstance(body, bytes)
    assert all(name == name.lower() for name in headers)
