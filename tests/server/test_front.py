"""hermes_router/server/front.py and hot.py: the same answers in both ways in, and never a byte read twice."""

import asyncio
import gzip
import json
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_router.server import arrival

from .test_head import ODD

CHAT = "/v1/chat/completions"
PAGE = "https://app.example"
BODY = json.dumps({"model": "hermes-router", "messages": [{"role": "user", "content": "hi"}]}).encode()
STREAM = json.dumps({**json.loads(BODY), "stream": True}).encode()


def _ours(answer: Any) -> bool:
    """Whether our own front answered; aiohttp signs its answers."""
    return "server" not in answer.headers


def _chunked(speak: Any, body: bytes, headers: dict[str, Any], **more: Any) -> bytes:
    head = speak.request("POST", CHAT, b"", {**headers, "Transfer-Encoding": "chunked"}, **more)
    half = len(body) // 2
    parts = [part for part in (body[:half], body[half:]) if part]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


async def _until(reached: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(5):
        while not reached():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


# --- both ways in ------------------------------------------------------------------------------------

SAME: dict[str, tuple[bytes, dict[str, Any], int]] = {
    "whole": (BODY, {}, 200),
    "stream": (STREAM, {}, 200),
    "own id": (BODY, {"X-Request-Id": "mine"}, 200),
    "forged id": (BODY, {"X-Request-Id": "a b"}, 200),
    "page": (BODY, {"Origin": PAGE}, 200),
    "page, stream": (STREAM, {"Origin": PAGE}, 200),
    "foreign page": (BODY, {"Origin": "https://evil.example"}, 403),
    "foreign host": (BODY, {"Host": "evil.example"}, 403),
    "empty host": (BODY, {"Host": ""}, 403),
    "no key": (BODY, {"Authorization": None}, 401),
    "wrong key": (BODY, {"Authorization": "Bearer wrong", "Origin": PAGE}, 401),
    "wrong key, stream": (STREAM, {"Authorization": "Bearer wrong"}, 401),
    "x-api-key": (BODY, {"Authorization": None, "X-API-Key": "sk-caller-0123456789"}, 200),
    "no json": (b"{", {}, 400),
    "empty": (b"", {"Content-Length": "0"}, 400),
    "wrong type": (b'{"messages":"hi"}', {}, 400),
    "profile": (BODY.replace(b'"hermes-router"', b'"hermes-router:x"'), {}, 404),
    "warned": (BODY.replace(b'"hermes-router"', b'"gpt-4"'), {}, 200),
    "too large": (BODY + b" " * 1_000, {}, 413),
}


@pytest.mark.parametrize("case", SAME)
async def test_both_ways_in_give_the_same_answer(serve: Any, speak: Any, case: str) -> None:
    """With its length a request is ours, chunked it is aiohttp's; status, headers and body are the same."""
    body, headers, status = SAME[case]
    turn = speak.stream("hello") if b"stream" in body else speak.whole()
    router = await serve(turn, CORS_ORIGINS=PAGE, MAX_REQUEST_BYTES="1000")
    chunk_headers = {name: value for name, value in headers.items() if name != "Content-Length"}
    answers = []
    for data in (speak.request("POST", CHAT, body, headers), _chunked(speak, body, chunk_headers)):
        wire = await router.wire()
        wire.send(data)
        answers.append(await wire.answer())
        wire.send(speak.request("GET", "/health"))
        assert (await wire.answer()).json == {"status": "ok"}
    ours, theirs = answers
    assert (_ours(ours), _ours(theirs)) == (True, False)
    assert ours.status == theirs.status == status
    assert (ours.body, ours.chunked) == (theirs.body, theirs.chunked)
    assert ours.headers["x-request-id"] == ours.headers["request-id"]
    if case == "own id":
        assert ours.headers["x-request-id"] == theirs.headers["x-request-id"] == "mine"
    varying = {"server", "date", "x-request-id", "request-id"}
    assert {k: v for k, v in ours.headers.items() if k not in varying} == {
        k: v for k, v in theirs.headers.items() if k not in varying
    }
    assert ours.headers["date"].endswith(" GMT")


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_bug_is_the_same_answer_in_both_ways(serve: Any, speak: Any, streaming: bool) -> None:
    """503 in the envelope, and one event in the log each."""
    router = await serve(speak.turn(raises=ZeroDivisionError))
    body = STREAM if streaming else BODY
    for data in (speak.request("POST", CHAT, body), _chunked(speak, body, {})):
        wire = await router.wire()
        wire.send(data)
        answer = await wire.answer()
        assert (answer.status, answer.error["type"], answer.headers["retry-after"]) == (503, "server_error", "1")
    assert len(router.notes.named("server.fault")) == 2


@pytest.mark.parametrize(
    ("path", "headers", "ours"),
    [
        (CHAT, {}, True),
        ("/chat/completions", {}, True),
        ("/anthropic/v1/chat/completions", {}, True),
        (CHAT + "?x=1&y=/v1/models", {}, True),
        (CHAT, {"Connection": "keep-alive", "Content-Encoding": "identity", "Accept": "*/*"}, True),
        (CHAT + "?x#y", {}, False),
        (CHAT + "/", {}, False),
        ("/" + CHAT, {}, False),
        ("/v1/chat%2Fcompletions", {}, False),
        ("/v1/%63hat/completions", {}, False),
        ("http://localhost" + CHAT, {}, False),
        (CHAT, {"Connection": "close"}, False),
        (CHAT, {"Content-Encoding": "gzip"}, False),
        (CHAT, {"X-Name": "\xe9"}, False),
    ],
)
async def test_what_is_ordinary_is_ours_and_all_is_answered(
    serve: Any, speak: Any, path: str, headers: dict[str, str], ours: bool
) -> None:
    """Hot paths with any query are ours; spellings and headers that are rare go through aiohttp to the same end."""
    router = await serve(speak.whole())
    body = gzip.compress(BODY) if "gzip" in headers.values() else BODY
    answer = await router.ask("POST", path, body, headers)
    assert answer.status == (404 if path == "/v1/chat%2Fcompletions" else 200) or "%2F" in path
    assert _ours(answer) == ours


@pytest.mark.parametrize("case", ODD)
async def test_an_odd_head_gets_what_aiohttp_says(serve: Any, speak: Any, case: str) -> None:
    """Whether it comes at once, or byte by byte and so certainly through aiohttp alone: one and the same outcome."""
    router = await serve(speak.whole())
    key = b"Authorization: Bearer " + speak.key.encode() + b"\r\n"
    data = ODD[case].replace(b"Host:", key + b"Host:", 1)
    outcomes = []
    for pieces in ([data], [data[:1], data[1:]]):
        port = await _Port.open(router)
        for piece in pieces:
            port.feed(piece)
        await port.settle()
        outcomes.append((port.statuses, port.wire.is_closing(), len(router.providers.requests)))
        assert port.signed == len(port.statuses) - port.statuses.count(100)
        port.leave()
        router.providers.requests.clear()
    assert outcomes[0] == outcomes[1]


# --- one connection, byte by byte --------------------------------------------------------------------


class _Memory(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.out = b""
        self.reading = True
        self.front: Any = None
        self._closing = False

    def write(self, data: Any) -> None:
        self.out += bytes(data)

    def writelines(self, data: Any) -> None:
        self.write(b"".join(data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self.front.connection_lost, None)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "sockname" else default


class _Port:
    """A connection of the router without a socket: it gets exactly the pieces it is fed."""

    def __init__(self, router: Any) -> None:
        self.wire = _Memory()
        self.front = self.wire.front = router.daemon.runner.server()
        self.front.connection_made(self.wire)

    @classmethod
    async def open(cls, router: Any) -> "_Port":
        port = cls(router)
        await asyncio.sleep(0)
        return port

    def feed(self, data: bytes) -> None:
        if not self.wire.is_closing():
            self.front.data_received(data)

    async def settle(self, answers: int = 99) -> None:
        """Let everything run that can."""
        for _ in range(40):
            if len(self.statuses) >= answers:
                break
            await asyncio.sleep(0)

    def leave(self) -> None:
        self.wire.close()

    @property
    def statuses(self) -> list[int]:
        return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3}) ", self.wire.out)]

    @property
    def signed(self) -> int:
        """How many of the answers are aiohttp's."""
        return self.wire.out.count(b"Server: ")


@pytest.mark.parametrize("where", ["head", "body"])
async def test_a_request_may_be_cut_at_every_byte(serve: Any, speak: Any, where: str) -> None:
    """Cut within the head it is aiohttp's, within the body it is ours; it is answered, once, in any case."""
    router = await serve(speak.whole())
    data = speak.request("POST", CHAT, BODY)
    head = len(data) - len(BODY)
    for at in range(1, head) if where == "head" else range(head, len(data)):
        port = await _Port.open(router)
        port.feed(data[:at])
        await port.settle()
        assert port.statuses == []
        port.feed(data[at:])
        await port.settle(1)
        assert (port.statuses, port.signed) == ([200], 1 if where == "head" else 0), at
        port.leave()


async def test_a_body_may_come_byte_by_byte(serve: Any, speak: Any) -> None:
    """A piece of one byte each."""
    router = await serve(speak.whole())
    port = await _Port.open(router)
    data = speak.request("POST", CHAT, BODY)
    port.feed(data[: -len(BODY)])
    for byte in BODY:
        await asyncio.sleep(0)
        port.feed(bytes([byte]))
    await port.settle(1)
    assert (port.statuses, port.signed) == ([200], 0)
    port.leave()


async def test_the_first_request_may_come_at_once(serve: Any, speak: Any) -> None:
    """uvloop reads before aiohttp's task has taken its first step; the connection is between two messages all the same."""
    router = await serve(speak.whole())
    port = _Port(router)
    port.feed(speak.request("POST", CHAT, BODY))
    await port.settle(1)
    assert (port.statuses, port.signed) == ([200], 0)
    port.leave()


async def test_a_get_leaves_the_connection_between_messages(serve: Any, speak: Any) -> None:
    """SDKs list the models, then chat on the same connection: that is ours again, and so on in turn."""
    router = await serve(speak.whole())
    port = await _Port.open(router)
    for number in range(1, 4):
        port.feed(speak.request("GET", "/v1/models"))
        await port.settle()
        assert (port.statuses, port.signed) == ([200] * (2 * number - 1), number)
        port.feed(speak.request("POST", CHAT, BODY))
        await port.settle()
        assert (port.statuses, port.signed) == ([200] * 2 * number, number)
    port.leave()


@pytest.mark.parametrize("odd", ["chunked", "cut", "get with a body", "pipelined get", "elsewhere"])
async def test_after_anything_else_the_connection_is_aiohttps(serve: Any, speak: Any, odd: str) -> None:
    """Where aiohttp may stand within a message only aiohttp knows, so what follows is its own, too."""
    router = await serve(speak.whole())
    first = {
        "chunked": _chunked(speak, BODY, {}),
        "cut": speak.request("GET", "/health")[:-1],
        "get with a body": speak.request("GET", "/health", b"x"),
        "pipelined get": speak.request("GET", "/health") * 2,
        "elsewhere": speak.request("POST", "/v1/models", BODY),
    }[odd]
    port = await _Port.open(router)
    port.feed(first)
    await port.settle()
    if odd == "cut":
        port.feed(b"\n")
        await port.settle()
    before = len(port.statuses)
    assert port.signed == before >= 1
    port.feed(speak.request("POST", CHAT, BODY))
    await port.settle()
    assert port.statuses[before:] == [200]
    assert port.signed == len(port.statuses)
    port.leave()


async def test_a_head_inside_a_body_is_a_body(serve: Any, speak: Any) -> None:
    """What looks like a request inside the body of one that aiohttp reads is never taken for one."""
    router = await serve(speak.whole())
    inner = speak.request("POST", CHAT, BODY)
    port = await _Port.open(router)
    outer = speak.request("POST", CHAT, b"", {"Content-Length": str(len(inner)), "X-A": "\xe9"})
    port.feed(outer)
    await port.settle()
    port.feed(inner)
    await port.settle()
    assert port.statuses == [400]
    assert not router.providers.requests
    port.leave()


async def test_pipelined_requests_are_answered_in_order(serve: Any, speak: Any) -> None:
    """Two and three in one piece, ours and aiohttp's mixed, each answered once."""
    router = await serve(speak.whole())
    chat, bad, health = (
        speak.request("POST", CHAT, BODY),
        speak.request("POST", CHAT, b"{"),
        speak.request("GET", "/health"),
    )
    for script, signed in (([chat, bad], 0), ([bad, chat, bad], 0), ([chat, health, chat], 2), ([health, chat], 2)):
        port = await _Port.open(router)
        port.feed(b"".join(script))
        await port.settle(len(script))
        assert port.statuses == [400 if part == bad else 200 for part in script]
        assert port.signed == signed
        port.leave()


@pytest.mark.parametrize("turns", range(8))
async def test_while_aiohttp_answers_nothing_is_ours(serve: Any, speak: Any, turns: int) -> None:
    """A chat that comes before the answer to a GET waits for it, however far aiohttp has come."""
    router = await serve(speak.whole())
    port = await _Port.open(router)
    port.feed(speak.request("GET", "/v1/models"))
    for _ in range(turns):
        await asyncio.sleep(0)
    busy = not port.statuses
    assert busy or turns > 1
    port.feed(speak.request("POST", CHAT, b"{"))
    await port.settle(2)
    assert port.statuses == [200, 400]
    assert port.signed == 2 or not busy
    port.leave()


SCRIPT = st.lists(
    st.sampled_from(["chat", "bad", "health", "chunked", "key", "nowhere", "big"]), min_size=1, max_size=5
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=SCRIPT, cuts=st.lists(st.integers(1, 2_500), max_size=12), pauses=st.lists(st.booleans(), min_size=13))
async def test_however_it_is_cut_the_answers_are_the_same(
    serve: Any, speak: Any, script: list[str], cuts: list[int], pauses: list[bool]
) -> None:
    """Any requests in a row, cut anywhere, with or without time between the pieces: one right answer each, in order."""
    router = await serve(speak.whole())
    known = {
        "chat": (speak.request("POST", CHAT, BODY), 200),
        "bad": (speak.request("POST", CHAT, b"{"), 400),
        "health": (speak.request("GET", "/health"), 200),
        "chunked": (_chunked(speak, BODY, {}), 200),
        "key": (speak.request("POST", CHAT, BODY, key="wrong"), 401),
        "nowhere": (speak.request("POST", "/nowhere", BODY), 404),
        "big": (speak.request("POST", CHAT, BODY + b" " * 1_000), 200),
    }
    data = b"".join(known[name][0] for name in script)
    port = await _Port.open(router)
    start = 0
    for end, pause in zip([*sorted(cuts), len(data)], pauses, strict=False):
        if min(end, len(data)) > start:
            port.feed(data[start:end])
            start = min(end, len(data))
        if pause:
            await port.settle()
    port.feed(data[start:])
    for _ in range(len(script)):
        await port.settle()
    assert port.statuses == [known[name][1] for name in script]
    port.leave()
    await asyncio.sleep(0)


# --- what comes too early, too slowly, or not at all -------------------------------------------------


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer wrong"}, {"Host": "evil"}, {"Content-Length": "99999999999"}]
)
async def test_a_refusal_does_not_wait_for_the_body(serve: Any, speak: Any, headers: dict[str, str]) -> None:
    """Refused on its head, a request is answered before its body, of which nothing is kept."""
    router = await serve(speak.whole())
    port = await _Port.open(router)
    port.feed(speak.request("POST", CHAT, b"", {"Content-Length": "300000", **headers}))
    await port.settle(1)
    assert port.statuses in ([401], [403], [413])
    port.feed(b"x" * 200_000)
    assert port.front._hot._pieces is None
    if "Content-Length" not in headers:
        port.feed(b"x" * 100_000 + speak.request("POST", CHAT, BODY))
        await port.settle(2)
        assert (port.statuses[1:], port.signed) == ([200], 0)
    port.leave()


async def test_what_is_left_of_a_refused_body_has_its_time(serve: Any, speak: Any) -> None:
    """A body that nobody wants and that does not come ends the connection after aiohttp's own lingering time."""
    router = await serve()
    port = await _Port.open(router)
    port.front._lingering_time = 0.0
    port.feed(speak.request("POST", CHAT, b"", {"Content-Length": "300000"}, key="wrong"))
    await port.settle()
    assert port.statuses == [401]
    await _until(port.wire.is_closing)


@pytest.mark.parametrize("chunked", [False, True])
async def test_half_a_body_has_its_time(serve: Any, speak: Any, monkeypatch: pytest.MonkeyPatch, chunked: bool) -> None:
    """A caller that stalls within its body gets 408 in the envelope, and the end, in both ways."""
    monkeypatch.setattr(arrival, "STALL_S", 0.02)
    router = await serve()
    wire = await router.wire()
    whole = _chunked(speak, BODY, {}) if chunked else speak.request("POST", CHAT, BODY)
    wire.send(whole[:-10])
    answer = await wire.answer()
    assert (answer.status, answer.error["type"]) == (408, "invalid_request_error")
    assert (answer.headers["x-should-retry"], answer.headers["connection"]) == ("true", "close")
    assert chunked or await wire.closed()  # aiohttp lingers for what may still come
    assert not router.providers.requests


async def test_a_slow_body_is_no_stall(serve: Any, speak: Any) -> None:
    """As long as something comes, a look at the clock ends nothing."""
    router = await serve(speak.whole())
    port = await _Port.open(router)
    data = speak.request("POST", CHAT, BODY)
    port.feed(data[:-30])
    await port.settle()
    for end in (-20, -10):
        port.feed(data[end - 10 : end])
        port.front._hot._look()
        await port.settle()
    port.feed(data[-10:])
    await port.settle(1)
    assert port.statuses == [200]
    port.leave()


@pytest.mark.parametrize("part", ["body", "answer", "stream"])
async def test_a_caller_who_leaves_ends_its_task(serve: Any, speak: Any, part: str) -> None:
    """In the middle of its body, before the answer or within it: the task is cancelled, its upstream aborted."""
    router = await serve(speak.stream("one ", hold=True) if part == "stream" else speak.turn(hold=True))
    port = await _Port.open(router)
    data = speak.request("POST", CHAT, STREAM if part == "stream" else BODY)
    port.feed(data[:-5] if part == "body" else data)
    await port.settle()
    task = port.front._hot.task
    assert not task.done()
    port.leave()
    await asyncio.wait((task,), timeout=5)
    assert task.cancelled()
    assert [flight.aborted.is_set() for flight in router.providers.flights] == ([] if part == "body" else [True])
    assert not router.notes.named("server.fault")


async def test_a_caller_may_leave_before_the_task_has_begun(serve: Any, speak: Any) -> None:
    """Head and end in the same step of the loop."""
    router = await serve(speak.whole())
    port = await _Port.open(router)
    port.feed(speak.request("POST", CHAT, BODY))
    port.front.connection_lost(None)
    await port.settle()
    assert (port.statuses, router.providers.requests) == ([], [])


# --- bounds ------------------------------------------------------------------------------------------


async def test_what_is_pipelined_has_its_bound(serve: Any, speak: Any) -> None:
    """Behind a request under way little is kept: then the connection is not read, until the answer is out."""
    router = await serve(speak.turn(hold=True), speak.whole())
    port = await _Port.open(router)
    port.feed(speak.request("POST", CHAT, BODY))
    await port.settle()
    port.feed(speak.request("POST", CHAT, BODY) * 100)
    assert port.wire.reading
    port.feed(speak.request("POST", CHAT, BODY) * 400)
    assert not port.wire.reading
    router.providers.release(*speak.whole().chunks)
    await _until(lambda: port.wire.reading)
    assert 100 < len(port.statuses) < 500
    await _until(lambda: len(port.statuses) == 501)
    assert (set(port.statuses), port.signed) == ({200}, 0)
    port.leave()


async def test_a_caller_who_takes_no_answers_gets_no_further_ones(serve: Any, speak: Any) -> None:
    """While the connection cannot be written to, requests wait; they go on once it can."""
    router = await serve(speak.whole())
    port = await _Port.open(router)
    port.front.pause_writing()
    port.feed(speak.request("POST", CHAT, BODY))
    await port.settle()
    assert port.statuses == []
    port.front.resume_writing()
    await port.settle(1)
    port.feed(speak.request("POST", CHAT, BODY) * 2)
    port.front.pause_writing()
    await port.settle()
    assert port.statuses == [200, 200]  # the one under way ends
    port.front.resume_writing()
    await port.settle(3)
    assert port.statuses == [200, 200, 200]
    port.leave()


# --- the end -----------------------------------------------------------------------------------------


async def test_a_connection_is_not_idle_while_it_answers(serve: Any, speak: Any) -> None:
    """aiohttp's keep-alive ends idle connections only, counted from the last answer."""
    router = await serve(speak.turn(hold=True))
    port = await _Port.open(router)
    port.feed(speak.request("POST", CHAT, BODY))
    await port.settle()
    port.front._next_keepalive_close_time = 0.0
    port.front._process_keepalive()
    assert not port.wire.is_closing()
    router.providers.release(*speak.whole().chunks)
    await port.settle(1)
    port.front._process_keepalive()
    assert not port.wire.is_closing()
    port.front._next_keepalive_close_time = 0.0
    port.front._process_keepalive()
    assert port.wire.is_closing()


async def test_a_drain_ends_idle_connections_at_once_and_waits_for_the_rest(serve: Any, speak: Any) -> None:
    """Half a body in, the request is served whole and told that the connection ends; nothing behind it is."""
    router = await serve(speak.whole())
    idle, late = await router.wire(), await router.wire()
    data = speak.request("POST", CHAT, BODY)
    idle.send(data)
    assert (await idle.answer()).status == 200
    late.send(data[:-5])
    await _until(lambda: any(front._hot for front in router.daemon.runner.server.connections))
    stopping = asyncio.ensure_future(router.daemon.runner.shutdown_within(30))
    assert await idle.closed()
    assert not stopping.done()
    late.send(data[-5:] + data)
    answer = await late.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await late.closed()
    await asyncio.wait_for(stopping, 5)
    assert len(router.providers.requests) == 2


@pytest.mark.parametrize("path", ["", "/health", CHAT])
async def test_a_stop_does_not_wait_for_connections_that_nobody_uses(serve: Any, speak: Any, path: str) -> None:
    """Whoever answered on it last: aiohttp stops waiting for a next request, and does not close it itself."""
    router = await serve(speak.whole())
    wire = await router.wire()
    if path:
        wire.send(speak.request("POST", CHAT, BODY) if path == CHAT else speak.request("GET", path))
        assert (await wire.answer()).status == 200
    server = router.daemon.runner.server
    await _until(lambda: server.connections)
    server.pre_shutdown()
    for _ in range(3):
        await asyncio.sleep(0)
        server.sweep(0.0)
    assert await wire.closed()
    assert server.sweep(0.0) == 0


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_that_begins_in_a_drain_says_that_it_is_the_last(
    serve: Any, speak: Any, streaming: bool, chunked: bool
) -> None:
    """Whole or streamed, in both ways in: `connection: close`, and so it is."""
    body, turn = (STREAM, speak.stream("hello")) if streaming else (BODY, speak.whole())
    router = await serve(speak.turn(headers=turn.headers, hold=True))
    wire = await router.wire()
    wire.send(_chunked(speak, body, {}) if chunked else speak.request("POST", CHAT, body))
    await _until(lambda: bool(router.providers.requests))
    (front,) = router.daemon.runner.server.connections
    stopping = asyncio.ensure_future(router.daemon.runner.shutdown_within(30))
    await _until(lambda: front.leaving)
    router.providers.release(*turn.chunks)
    answer = await wire.answer()
    assert (answer.status, answer.headers["connection"].lower(), _ours(answer)) == (200, "close", not chunked)
    assert not streaming or answer.body.endswith(b"data: [DONE]\n\n")
    assert await wire.closed()
    await asyncio.wait_for(stopping, 5)


async def test_who_connects_and_never_asks_is_let_go(serve: Any, speak: Any) -> None:
    """Silent, or a head that never ends: closed after a while, unlike a caller that keeps a connection it has used."""
    router = await serve(speak.whole())
    silent, slow, hot, cold = [await router.wire() for _ in range(4)]
    slow.send(speak.request("POST", CHAT, BODY)[:40])
    hot.send(speak.request("POST", CHAT, BODY))
    cold.send(speak.request("GET", "/health"))
    assert ((await hot.answer()).status, (await cold.answer()).status) == (200, 200)
    server = router.daemon.runner.server
    await _until(lambda: len(server.connections) == 4)
    server.shed(60.0)
    assert len(server.connections) == 4
    server.shed(0.0)
    assert await silent.closed()
    assert await slow.closed()
    hot.send(speak.request("POST", CHAT, BODY))
    cold.send(speak.request("GET", "/health"))
    assert ((await hot.answer()).status, (await cold.answer()).status) == (200, 200)


async def test_a_drain_cuts_what_does_not_end(serve: Any, speak: Any) -> None:
    """After the drain a request under way is cancelled, and its caller sees the end."""
    router = await serve(speak.turn(hold=True))
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, BODY))
    await _until(lambda: bool(router.providers.requests))
    await asyncio.wait_for(router.daemon.runner.shutdown_within(0.02), 5)
    assert await wire.closed()
    assert router.providers.flights[0].aborted.is_set()


def test_on_uvloop_the_first_request_is_ours(start: Any, speak: Any) -> None:
    """The daemon's loop: real sockets, ours from the first request on, NODELAY set, a body of many pieces."""

    async def scene() -> None:
        router = await start(speak.whole())
        wire = await router.wire()
        for size in (0, 700_000, 1):
            wire.send(speak.request("POST", CHAT, BODY + b" " * size))
            answer = await wire.answer()
            assert (answer.status, _ours(answer)) == (200, True)
        (front,) = router.daemon.runner.server.connections
        assert front.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await router.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(scene(), 10))
