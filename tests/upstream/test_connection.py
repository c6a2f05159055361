"""Framing: bytes in, sink calls out, whatever the boundaries at which they arrive."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import Malformed
from hermes_router.upstream.connection import Connection, HttpFlight

EOF, LOST = "eof", "lost"


class Wire:
    """A transport and a keeper that only write down what was asked of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.closing = False
        self.buffered = 0

    def write(self, data: bytes) -> None:
        self.calls.append("write")

    def writelines(self, parts) -> None:
        self.calls.append("writelines")

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def abort(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def lost(self, connection) -> None:
        self.calls.append("lost")

    def release(self, connection) -> None:
        self.calls.append("release")

    def redial(self, flight) -> None:
        self.calls.append("redial")


class Ear:
    """A sink; `on_data` may misbehave."""

    def __init__(self, on_data=None) -> None:
        self.heard = []
        self.headers = {}
        self.error = None
        self.on_data = on_data

    def head(self, status, headers) -> None:
        self.heard.append(status)
        self.headers = headers

    def data(self, chunk) -> None:
        if isinstance(self.heard[-1], bytes):
            self.heard[-1] += chunk
        else:
            self.heard.append(chunk)
        if self.on_data:
            self.on_data()

    def end(self) -> None:
        self.heard.append("end")

    def failed(self, error) -> None:
        self.heard.append(type(error).__name__)
        self.error = error


def opened(*, head_only=False, pooled=False, ear=None, body=b"", max_head=2000):
    wire, ear = Wire(), ear or Ear()
    connection = Connection(wire, max_head)
    connection.connection_made(wire)
    flight = HttpFlight(ear, b"HEAD\r\n\r\n", body, 1.0, head_only)
    flight.pooled = pooled
    connection.start(flight)
    return connection, wire, ear, flight


def hear(pieces, then=None, **kwargs):
    connection, wire, ear, _ = opened(**kwargs)
    for piece in pieces:
        if not wire.closing:
            connection.data_received(piece)
    if then:
        connection.connection_lost(OSError() if then == LOST else None)
    return ear.heard, wire


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
PACKED = gzip.compress(b"hello hello")

ANSWERS = {
    "content-length": (OK + b"Content-Length: 5\r\n\r\nhello", None, [200, b"hello", "end"], True),
    "content-length zero": (OK + b"Content-Length: 0\r\n\r\n", None, [200, "end"], True),
    "chunked": (CHUNKED + b"3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", None, [200, b"hello", "end"], True),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", None, [200, b"hello", "end"], True),
    "until close": (OK + b"\r\nhello", EOF, [200, b"hello", "end"], False),
    "until close, empty": (OK + b"\r\n", EOF, [200, "end"], False),
    "until close, reset": (OK + b"\r\nhello", LOST, [200, b"hello", "Truncated"], False),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + OK + b"content-length: 1\r\n\r\na",
        None, [200, b"a", "end"], True,
    ),
    "204": (b"HTTP/1.1 204 No\r\n\r\n", None, [204, "end"], True),
    "304": (b"HTTP/1.1 304 No\r\ncontent-length: 9\r\n\r\n", None, [304, "end"], True),
    "redirect is told as it is": (
        b"HTTP/1.1 307 T\r\nlocation: http://x.test/\r\ncontent-length: 0\r\n\r\n", None, [307, "end"], True,
    ),
    "connection: close": (OK + b"connection: close\r\ncontent-length: 2\r\n\r\nab", None, [200, b"ab", "end"], False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab", None, [200, b"ab", "end"], False),
    "cut body": (OK + b"content-length: 9\r\n\r\nhello", EOF, [200, b"hello", "Truncated"], False),
    "cut chunk": (CHUNKED + b"9\r\nhello", EOF, [200, b"hello", "Truncated"], False),
    "cut between chunks": (CHUNKED + b"5\r\nhello\r\n", EOF, [200, b"hello", "Truncated"], False),
    "cut last chunk": (CHUNKED + b"5\r\nhello\r\n0\r\n", LOST, [200, b"hello", "Truncated"], False),
    "cut head": (b"HTTP/1.1 200 OK\r\nx:", EOF, ["Truncated"], False),
    "html": (b"<html><body>no</body></html>", EOF, ["Malformed"], False),
    "html in the status line": (b"HTTP/1.1 <b>oops</b>\r\n\r\n", EOF, ["Malformed"], False),
    "two lengths": (OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", EOF, ["Malformed"], False),
    "bad length": (OK + b"content-length: -1\r\n\r\n", EOF, ["Malformed"], False),
    "bad header": (OK + b"no colon\r\n\r\n", EOF, ["Malformed"], False),
    "bad chunk size": (CHUNKED + b"5\r\nhello\r\nzz\r\n", EOF, [200, b"hello", "Malformed"], False),
    "upgrade": (b"HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", EOF, ["Malformed"], False),
    "foreign coding": (OK + b"content-encoding: br\r\ncontent-length: 1\r\n\r\nx", EOF, ["Malformed"], False),
    "foreign transfer coding": (OK + b"transfer-encoding: gzip, chunked\r\n\r\n", EOF, ["Malformed"], False),
    "gzip": (
        OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(PACKED) + PACKED,
        None, [200, b"hello hello", "end"], True,
    ),
    "gzip until close": (OK + b"content-encoding: gzip\r\n\r\n" + PACKED, EOF, [200, b"hello hello", "end"], False),
    "broken gzip": (OK + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\nabcd", EOF, [200, "Malformed"], False),
    "cut head too large": (OK + b"x: " + b"a" * 2500, EOF, ["Malformed"], False),
    "head too large": (OK + b"x: 1\r\n" * 800 + b"\r\n", EOF, ["Malformed"], False),
    "endless interim": (b"HTTP/1.1 100 C\r\nx: 123456\r\n\r\n" * 200, EOF, ["Malformed"], False),
}  # fmt: skip
PARAMS = [pytest.param(*row, id=name) for name, row in ANSWERS.items()]


@pytest.mark.parametrize(("answer", "then", "heard", "kept"), PARAMS)
def test_cp15_an_answer_is_the_same_at_every_boundary(answer, then, heard, kept) -> None:
    """Whole, cut in two at each place, and byte by byte: the sink hears the same, and reuse is judged the same."""
    for pieces in (
        [answer],
        [answer[n : n + 1] for n in range(len(answer))],
        *([answer[:n], answer[n:]] for n in range(1, min(len(answer), 400))),
    ):
        got, wire = hear(pieces, then)
        assert got == heard
        assert ("release" in wire.calls) is kept


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(1, 300), max_size=12))
def test_an_answer_is_the_same_at_any_boundaries(name, cuts) -> None:
    """However the bytes are cut, the sink hears the same."""
    answer, then, heard, _ = ANSWERS[name]
    marks = sorted({min(cut, len(answer)) for cut in cuts})
    pieces = [answer[a:b] for a, b in zip([0, *marks], [*marks, len(answer)], strict=True) if a < b]
    assert hear(pieces, then)[0] == heard


@given(st.binary(max_size=300), st.booleans())
def test_garbage_ends_in_one_of_our_errors(garbage, after_head) -> None:
    """Whatever comes, the sink hears exactly one last word and nothing is raised."""
    heard, _ = hear([CHUNKED + garbage if after_head else garbage or b"x"], EOF)
    assert [word for word in heard if isinstance(word, str)] == heard[-1:]


def test_bytes_after_the_answer_end_the_connection_not_the_answer() -> None:
    """A body longer than its content-length: the answer counts, the rest is never parsed as another answer."""
    whole = OK + b"content-length: 2\r\n\r\nab"
    for extra in (b"c", whole, b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"):
        heard, wire = hear([whole + extra])
        assert heard == [200, b"ab", "end"]
        assert wire.closing
        assert "release" not in wire.calls
        connection, wire, ear, _ = opened()
        connection.data_received(whole)
        connection.data_received(extra)
        assert ear.heard == [200, b"ab", "end"]
        assert wire.closing


def test_head_has_no_body_whatever_its_length_says() -> None:
    """The answer to HEAD ends with its head, and the connection with it."""
    heard, wire = hear([OK + b"content-length: 500\r\ncontent-encoding: br\r\n\r\n"], head_only=True)
    assert heard == [200, "end"]
    assert wire.closing


def test_header_names_are_lower_case_and_repeated_ones_joined() -> None:
    """Names in lower case, values stripped, repeated headers joined by a comma; an unpacked body has no length."""
    answer = OK + b"X-A: 1 \t\r\nx-a:  2\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED)
    connection, _, ear, _ = opened()
    connection.data_received(answer + PACKED)
    assert ear.headers == {"x-a": "1, 2"}


def test_a_pooled_connection_that_dies_unheard_is_replaced() -> None:
    """Reused and dead before a byte: sent again on a new one; a byte heard, or a fresh connection: never."""
    for then in (EOF, LOST):
        heard, wire = hear([], then, pooled=True)
        assert (heard, "redial" in wire.calls) == ([], True)
    heard, wire = hear([b"H"], EOF, pooled=True)
    assert (heard, "redial" in wire.calls) == (["Truncated"], False)
    heard, wire = hear([], EOF, pooled=False)
    assert (heard, "redial" in wire.calls) == (["Unreachable"], False)


def test_an_answer_before_the_request_was_read_ends_the_connection() -> None:
    """With request bytes unsent, the rest would be read as the next request: not reused."""
    connection, wire, ear, _ = opened()
    wire.buffered = 10
    connection.data_received(OK + b"content-length: 0\r\n\r\n")
    assert ear.heard == [200, "end"]
    assert wire.closing


def test_a_sink_that_raises_is_told_once_and_loses_the_connection() -> None:
    """The bug goes up to the loop; the sink hears `failed`, and no connection with half an answer is kept."""

    def bug() -> None:
        raise ZeroDivisionError

    connection, wire, ear, _ = opened(ear=Ear(bug))
    with pytest.raises(ZeroDivisionError):
        connection.data_received(OK + b"content-length: 5\r\n\r\nhello")
    assert ear.heard == [200, b"hello", "Malformed"]
    assert wire.closing
    assert "release" not in wire.calls


def test_a_sink_may_refuse_what_it_reads() -> None:
    """An UpstreamError raised in the sink is the attempt's failure, and no bug."""

    def refuse() -> None:
        raise Malformed("half a frame")

    connection, wire, ear, _ = opened(ear=Ear(refuse))
    connection.data_received(OK + b"content-length: 5\r\n\r\nhello")
    assert ear.heard == [200, b"hello", "Malformed"]
    assert ear.error.excerpt == "half a frame"
    assert wire.closing


@pytest.mark.parametrize("rest", [b"", b"5\r\nworld\r\n0\r\n\r\n", b"zz\r\n"])
def test_nothing_is_heard_after_an_abort_from_within(rest) -> None:
    """The sink aborts while it is told: the rest of the same packet, good or bad, stays unsaid."""
    ear = Ear()
    connection, wire, _, flight = opened(ear=ear)
    ear.on_data = flight.abort
    connection.data_received(CHUNKED + b"5\r\nhello\r\n" + rest)
    connection.connection_lost(None)
    flight.abort()
    assert ear.heard == [200, b"hello"]
    assert wire.closing
    assert "release" not in wire.calls


def test_a_bomb_is_handed_on_in_pieces_and_can_be_stopped() -> None:
    """A packed body is unpacked only as far as the sink wants it."""
    ear = Ear()
    packed = gzip.compress(b"\0" * 5_000_000)
    connection, wire, _, flight = opened(ear=ear)
    ear.on_data = flight.abort
    connection.data_received(OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed)
    assert len(ear.heard[1]) <= 65536
    assert wire.closing


def test_back_pressure_ends_with_the_answer() -> None:
    """A connection that was paused is read again when it goes back to the pool."""
    connection, wire, _, flight = opened()
    flight.pause()
    connection.data_received(OK + b"content-length: 0\r\n\r\n")
    flight.resume()
    assert wire.calls == ["write", "pause", "resume", "release"]


def test_a_large_body_is_not_copied_behind_its_head() -> None:
    """Up to 64 KiB one write, above that two buffers."""
    assert opened(body=b"x" * 65536)[1].calls == ["write"]
    assert opened(body=b"x" * 65537)[1].calls == ["writelines"]


def test_an_excerpt_holds_none_of_the_answer() -> None:
    """What the log may show of a broken answer is the parser's reason, not headers or secrets."""
    connection, _, ear, _ = opened()
    connection.data_received(OK + b"set-cookie: s3cret\r\nBearer s3cret\r\n\r\n")
    assert ear.heard == ["Malformed"]
    assert "s3cret" not in str(ear.error)
