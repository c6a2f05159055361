"""hermes_router/server/head.py: what is an ordinary head, and that an answer's head is one."""

import asyncio
from typing import Any

import pytest
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.server import head as heads
from hermes_router.server.head import HeadReader, read_head, write_head

LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
PLAIN = LINE + b"Host: localhost\r\nContent-Length: 2\r\n\r\n{}"


def _with(*fields: bytes) -> bytes:
    return LINE + b"Host: localhost\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n{}"


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        _with(b"content-length: 2"),
        _with(b"CONTENT-LENGTH:2", b"X-Empty:", b"X-Tab:\ta\tb "),
        _with(b"Content-Length:   2  ", b"Connection: Keep-Alive", b"Content-Encoding: identity"),
        PLAIN.replace(b"completions ", b"completions?a=b&c ").replace(b"Host", b"hOsT"),
    ],
)
def test_an_ordinary_head_is_read_whole(data: bytes) -> None:
    """Names are lower case, values bare, and the body begins where the head ends."""
    head = read_head(data)
    assert head is not None
    assert (head.method, head.headers["host"], head.length) == ("POST", "localhost", 2)
    assert head.target.startswith("/v1/chat/completions")
    assert data[head.end :] == b"{}"
    assert head.headers.get("x-empty", "") == ""
    assert head.headers.get("x-tab", "a\tb") == "a\tb"


ODD = {
    "length twice": _with(b"Content-Length: 2", b"Content-Length: 2"),
    "two lengths": _with(b"Content-Length: 2", b"content-length: 3"),
    "list of lengths": _with(b"Content-Length: 2, 2"),
    "plus": _with(b"Content-Length: +2"),
    "minus": _with(b"Content-Length: -2"),
    "leading zero": _with(b"Content-Length: 02"),
    "space within": _with(b"Content-Length: 2 2"),
    "hex": _with(b"Content-Length: 0x2"),
    "empty length": _with(b"Content-Length:"),
    "endless length": _with(b"Content-Length: " + b"9" * 30),
    "underscore": _with(b"Content-Length: 1_0"),
    "space before colon": _with(b"Content-Length : 2"),
    "chunked": _with(b"Transfer-Encoding: chunked"),
    "chunked and length": _with(b"Transfer-Encoding: chunked", b"Content-Length: 2"),
    "odd chunked": _with(b"Transfer-Encoding: xchunked", b"Content-Length: 2"),
    "coding": _with(b"Content-Encoding: gzip", b"Content-Length: 2"),
    "expect": _with(b"Expect: 100-continue", b"Content-Length: 2"),
    "upgrade": _with(b"Upgrade: h2c", b"Content-Length: 2"),
    "close": _with(b"Connection: close", b"Content-Length: 2"),
    "connection list": _with(b"Connection: keep-alive, content-length", b"Content-Length: 2"),
    "any header twice": _with(b"Content-Length: 2", b"X-A: 1", b"x-a: 2"),
    "folded": _with(b"Content-Length: 2", b"X-A: 1", b" 2"),
    "folded at once": LINE + b" Host: localhost\r\nContent-Length: 2\r\n\r\n{}",
    "no colon": _with(b"Content-Length: 2", b"nonsense"),
    "no name": _with(b"Content-Length: 2", b": x"),
    "nul": _with(b"Content-Length: 2", b"X-A: a\x00b"),
    "escape": _with(b"Content-Length: 2", b"X-A: a\x1bb"),
    "latin": _with(b"Content-Length: 2", b"X-A: \xe9"),
    "bare cr": _with(b"Content-Length: 2", b"X-A: a\rb"),
    "bare lf": PLAIN.replace(b"\r\n", b"\n"),
    "one bare lf": PLAIN.replace(b"localhost\r\n", b"localhost\n"),
    "lf ends it": PLAIN.replace(b"\r\n\r\n", b"\r\n\n"),
    "1.0": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "9.9": PLAIN.replace(b"HTTP/1.1", b"HTTP/9.9"),
    "lower method": PLAIN.replace(b"POST", b"post"),
    "two spaces": PLAIN.replace(b"POST ", b"POST  "),
    "absolute": PLAIN.replace(b" /v1", b" http://localhost/v1"),
    "authority": PLAIN.replace(b" /v1/chat/completions", b" localhost:1"),
    "leading line": b"\r\n" + PLAIN,
    "no host": PLAIN.replace(b"Host", b"Hast"),
    "two hosts": _with(b"Host: evil", b"Content-Length: 2"),
    "too long": _with(b"Content-Length: 2", b"X-A: " + b"a" * 9_000),
    "too many": _with(b"Content-Length: 2", *(b"X-%d: 1" % n for n in range(120))),
    "none": LINE + b"\r\n{}",
    "half": PLAIN[:60],
    "nothing": b"",
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_what_two_readers_could_read_in_two_ways_is_not_ordinary(data: bytes) -> None:
    """Every known means of smuggling, and all that is incomplete or rare, is left to aiohttp."""
    assert read_head(data) is None


@pytest.mark.parametrize("cut", range(len(PLAIN) - 2))
def test_no_part_of_a_head_is_a_head(cut: int) -> None:
    """Cut at any byte, it is incomplete."""
    assert read_head(PLAIN[:cut]) is None


_PIECES = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b":", b" ", b"\t", b"\0", b"Host: a", b"Content-Length: ", b"0", b"5", b"+", b",", b"Transfer-Encoding: ",
     b"chunked", b"Connection: ", b"close", b"keep-alive", b"Upgrade: ", b"websocket", b"X", b"\xff", b"Expect: 100-continue", b"/", b"GET "]
)  # fmt: skip


class _Connection:
    """What aiohttp's parser wants to pause."""

    def pause_reading(self) -> None: ...

    def resume_reading(self, resume_parser: bool = True) -> None: ...


async def _aiohttp(data: bytes) -> Any:
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(_Connection(), loop, 65_536, 8_190, 128, 8_190, auto_decompress=False)
    messages, upgraded, tail = parser.feed_data(data)
    assert not upgraded
    assert not tail
    return messages[0]


@given(st.lists(_PIECES, max_size=8), st.integers(0, len(PLAIN)), st.integers(0, 40))
async def test_what_is_read_is_what_aiohttp_reads(pieces: list[bytes], at: int, gone: int) -> None:
    """Whatever is done to a head: if it is ordinary, aiohttp reads the same method, target, headers and length."""
    data = PLAIN[:at] + b"".join(pieces) + PLAIN[at + gone :]
    head = read_head(data)
    if head is None:
        return
    try:
        message, payload = await _aiohttp(data[: head.end])
    except HttpProcessingError as error:
        pytest.fail(f"aiohttp refuses {data!r}: {error}")
    assert (message.method, message.path) == (head.method, head.target)
    assert {name.lower(): value for name, value in message.headers.items()} == head.headers
    assert not message.chunked
    assert not message.should_close
    assert payload.is_eof() == (not head.length)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_head_that_differs_in_its_length_alone_is_not_taken_apart_again(
    monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Wherever the length stands; the second reading gives what the first way would have given."""
    fields = [b"Host: localhost", b"Authorization: Bearer k"]
    heads_of = [_with(*fields[1:place], b"Content-Length: %d" % n, *fields[max(1, place) :]) for n in (2, 237_000, 0)]
    wanted = [read_head(data) for data in heads_of]
    reader = HeadReader()
    assert reader.read(heads_of[0]) == wanted[0]
    monkeypatch.setattr(heads, "read_head", lambda data: pytest.fail(f"read again: {data!r}"))
    assert [reader.read(data) for data in heads_of] == wanted


@given(st.lists(st.tuples(st.lists(_PIECES, max_size=4), st.integers(0, len(PLAIN)), st.integers(0, 40)), max_size=4))
def test_what_came_before_changes_nothing(changes: list[tuple[list[bytes], int, int]]) -> None:
    """However the heads of a connection differ, each is read as if it were the first."""
    reader = HeadReader()
    for pieces, at, gone in changes:
        for data in (PLAIN, PLAIN[:at] + b"".join(pieces) + PLAIN[at + gone :]):
            assert reader.read(data) == read_head(data)


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
@pytest.mark.parametrize("length", [b"2", b" 2 ", b"\t2", b"999999999999999"])
def test_no_odd_head_is_taken_for_the_one_before(data: bytes, length: bytes) -> None:
    """Smuggling is no easier behind an ordinary request of the same caller."""
    reader = HeadReader()
    assert reader.read(_with(b"Content-Length:" + length)) is not None
    assert reader.read(data) is None
    assert reader.read(_with(b"Content-Length:" + length, b"X: " + b"a" * 8_000)) is not None
    assert reader.read(_with(b"Content-Length:" + length + b"9" * 200, b"X: " + b"a" * 8_000)) is None


def test_an_answer_cannot_have_a_line_that_we_did_not_write() -> None:
    """Line ends and control characters in a value become question marks; any text can be encoded."""
    head = write_head(200, {"x-a": "a\r\nset-cookie: x\0\x1b", "x-b": "b", "x-c": "\ud800é"}, "content-length: 0")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert b"x-a: a??set-cookie: x??" in lines
    assert b"x-b: b" in lines
    assert lines[-2:] == [b"", b""]
    assert len(lines) == 8
    assert not any(line.startswith(b"set-cookie") for line in lines)


@pytest.mark.parametrize(("status", "line"), [(404, b"Not Found"), (429, b"Too Many Requests"), (599, b"")])
def test_a_status_has_its_phrase(status: int, line: bytes) -> None:
    """Known statuses are named, unknown ones are not."""
    assert write_head(status, {}, "content-length: 0").startswith(b"HTTP/1.1 %d %b\r\n" % (status, line))
