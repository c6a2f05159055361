"""hermes_router/server/app.py: the table of paths, the connection's own errors, the listener."""

import asyncio
import errno
import json
import socket
from typing import Any

import pytest

from hermes_router.server import app
from hermes_router.server.app import listen

BODY = json.dumps({"model": "hermes-router", "messages": [{"role": "user", "content": "hi"}]}).encode()
UNKNOWN = [
    "/api/tags", "/api/v1/models", "/api/show", "/v1/props", "/props", "/version", "/anthropic/api/v1/models",
    "/anthropic/v1/props", "/v1", "/v1/", "/v2/models", "/v1/chat", "/v1/messages/batches", "/favicon.ico", "/../etc/passwd", "/v1/v1/v1/models",
]  # fmt: skip


@pytest.mark.parametrize("prefix", ["/v1", "", "/v1/v1", "/anthropic/v1", "/anthropic", "/anthropic/v1/v1"])
async def test_every_alias_reaches_chat_and_models(serve: Any, speak: Any, prefix: str) -> None:
    """Paths with, without and with doubled /v1, and below /anthropic, are the same routes; nothing redirects."""
    router = await serve(speak.whole())
    chat = await router.ask("POST", f"{prefix}/chat/completions", BODY)
    models = await router.ask("GET", f"{prefix}/models")
    one = await router.ask("GET", f"{prefix}/models/groq/openai/gpt-oss-20b")
    status = await router.ask("GET", f"{prefix}/status")
    assert [a.status for a in (chat, models, one, status)] == [200] * 4
    assert chat.json["choices"][0]["message"]["content"] == "hello"
    assert one.json["id"] == "groq/openai/gpt-oss-20b"


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE"])
async def test_unknown_paths_are_404_json(serve: Any, method: str, path: str) -> None:
    """What agents probe for to guess another server, and all else unknown, is 404 JSON with and without a key."""
    router = await serve()
    for key in ("sk-caller-0123456789", None):
        answer = await router.ask(method, path, key=key)
        assert answer.status == 404
        assert answer.headers["content-type"] == "application/json"
        assert "location" not in answer.headers
        if method != "HEAD":
            assert answer.error["code"] == "not_found"


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/v1/models/", "/v1/models"),
        ("//v1/models", "/v1/models"),
        ("/v1//models", "/v1/models"),
        ("/v1/models?limit=1000&after=x", "/v1/models"),
        ("/health/", "/health"),
        ("//", "/"),
    ],
)
async def test_slashes_too_many_and_queries_are_forgiven(serve: Any, path: str, plain: str) -> None:
    """A base URL that ends in a slash, and any query string, ask for the same as without."""
    router = await serve()
    answer = await router.ask("GET", path)
    assert (answer.status, answer.body) == (200, (await router.ask("GET", plain)).body)


async def test_a_slash_too_many_is_no_way_around_the_key(serve: Any) -> None:
    """The forgiven path is guarded like the plain one, and knows its methods."""
    router = await serve()
    assert (await router.ask("GET", "//v1/models/", key=None)).status == 401
    assert (await router.ask("PATCH", "//v1/models/")).status == 405


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"), ("PUT", "/chat/completions"), ("HEAD", "/v1/chat/completions"),
        ("POST", "/v1/models"), ("DELETE", "/v1/models/x"), ("POST", "/health"), ("PROPFIND", "/v1/models"),
        ("GET", "/api/hello"), ("TRACE", "/"),
    ],
)  # fmt: skip
async def test_known_paths_with_another_method_are_405_json(serve: Any, method: str, path: str) -> None:
    """A wrong method is 405 in JSON and names the right one."""
    router = await serve()
    answer = await router.ask(method, path)
    assert answer.status == 405
    if method != "HEAD":
        assert "; use " in answer.error["message"]


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/v1/v1/responses"])
async def test_a_websocket_is_refused_with_426(serve: Any, speak: Any, path: str) -> None:
    """Codex turns to POST at once after 426; the connection serves on."""
    router = await serve()
    wire = await router.wire()
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    wire.send(speak.request("GET", path, headers=upgrade))
    answer = await wire.answer()
    assert (answer.status, answer.error["code"]) == (426, "upgrade_refused")
    assert answer.headers["upgrade"]
    wire.send(speak.request("GET", "/health"))
    assert (await wire.answer()).status == 200


async def test_head_answers_where_get_does(serve: Any) -> None:
    """HEAD has GET's status and headers and no body; / and /api/hello need no key."""
    router = await serve()
    for path in ("/", "/api/hello", "/health", "/ready"):
        answer = await router.ask("HEAD", path, key=None)
        assert (answer.status, answer.body) == (200, b"")
    got, head = await router.ask("GET", "/v1/models"), await router.ask("HEAD", "/v1/models")
    assert head.headers["content-length"] == str(len(got.body))


BROKEN = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS to a plain port
    b"nonsense\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"\x00" * 64,
]


@pytest.mark.parametrize("data", BROKEN, ids=range(len(BROKEN)))
async def test_bad_http_is_400_json_and_the_end(serve: Any, data: bytes) -> None:
    """What is no HTTP gets 400 in the envelope, with both ids, and a closed connection; never HTML or a traceback."""
    router = await serve()
    wire = await router.wire()
    wire.send(data)
    answer = await wire.answer()
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert answer.headers["x-request-id"] == answer.headers["request-id"]
    assert await wire.closed()


@pytest.mark.parametrize(
    "data",
    [b"GET / HT", b"POST /v1/chat/completions HTTP/1.1\r\nHost: loc", b""],
)
async def test_half_a_request_head_ends_with_the_connection(serve: Any, data: bytes) -> None:
    """A caller who stops in the middle of a head gets nothing but the end."""
    router = await serve()
    wire = await router.wire()
    wire.send(data)
    wire.writer.write_eof()
    assert await wire.closed()


@pytest.mark.parametrize(
    "data",
    [b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n"],
)
async def test_targets_without_a_path_get_json(serve: Any, data: bytes) -> None:
    """Request targets that no route can have are refused in the envelope, too."""
    router = await serve()
    wire = await router.wire()
    wire.send(data)
    answer = await wire.answer()
    assert 400 <= answer.status < 500
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"]


async def test_an_absolute_target_is_its_path(serve: Any) -> None:
    """Callers behind a proxy setting send the whole URL."""
    router = await serve()
    assert (await router.ask("GET", "http://localhost:8319/v1/models")).status == 200


async def test_an_expectation_that_nobody_meets_is_json(serve: Any, speak: Any) -> None:
    """`Expect` with anything but 100-continue is 417 in the envelope; 100-continue is met."""
    router = await serve(speak.whole())
    answer = await router.ask("POST", "/v1/chat/completions", BODY, {"Expect": "a-miracle"})
    assert answer.status == 417
    assert answer.error["message"]
    wire = await router.wire()
    wire.send(speak.request("POST", "/v1/chat/completions", BODY, {"Expect": "100-continue"}))
    assert (await wire.answer()).status == 100
    assert (await wire.answer()).status == 200


async def test_a_drain_lets_a_stream_end_whole(serve: Any, speak: Any) -> None:
    """On shutdown a running stream goes on to its own end, and the listener takes nobody new."""
    router = await serve(speak.stream("one ", hold=True))
    wire = await router.wire()
    wire.send(speak.request("POST", "/v1/chat/completions", json.dumps({**speak.ask, "stream": True}).encode()))
    await wire.reader.readuntil(b"one ")
    stopping = asyncio.ensure_future(router.daemon.runner.shutdown_within(30))
    with pytest.raises(OSError):
        while True:
            await router.wire()
    router.providers.release(speak.frame({"content": "two"}), speak.frame({}, "stop"), b"data: [DONE]\n\n")
    rest = await wire.reader.read()
    assert b"two" in rest
    assert rest.endswith(b"[DONE]\n\n\r\n0\r\n\r\n")
    await stopping


@pytest.mark.parametrize("drain_s", [0, 0.05])
async def test_a_drain_that_is_over_cancels(serve: Any, speak: Any, drain_s: float) -> None:
    """After DRAIN_SECONDS, 0 included, what still runs is cut: its upstream is aborted and its end is no good end."""
    router = await serve(speak.stream("one ", hold=True))
    wire = await router.wire()
    wire.send(speak.request("POST", "/v1/chat/completions", json.dumps({**speak.ask, "stream": True}).encode()))
    await wire.reader.readuntil(b"one ")
    async with asyncio.timeout(5):
        await router.daemon.runner.shutdown_within(drain_s)
        rest = await wire.reader.read()
    assert router.providers.flights[0].aborted.is_set()
    assert b"[DONE]" not in rest
    assert not rest.endswith(b"\r\n0\r\n\r\n")


# --- the listener ------------------------------------------------------------------------------------


def _names(sockets: list[socket.socket]) -> list[tuple[str, int]]:
    names = [sock.getsockname()[:2] for sock in sockets]
    for sock in sockets:
        sock.close()
    return names


@pytest.fixture
def ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback here")


def test_both_loopback_addresses_share_a_port(ipv6: None) -> None:
    """HOST unset listens on 127.0.0.1 and ::1, with port 0 on the same free port."""
    (one, port), (other, same) = _names(listen(None, 0))
    assert (one, other) == ("127.0.0.1", "::1")
    assert port == same != 0


def test_a_machine_without_ipv6_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """No IPv6 at all, or none on loopback, is no fault."""
    real = app._bound
    for number in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):

        def absent(address: str, port: int, number: int = number) -> socket.socket:
            if address == "::1":
                raise OSError(number, "absent")
            return real(address, port)

        monkeypatch.setattr(app, "_bound", absent)
        assert [name for name, _ in _names(listen(None, 0))] == ["127.0.0.1"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_taken_port_is_an_error_on_either_address(ipv6: None, address: str) -> None:
    """A port that somebody holds on one of the two addresses is EADDRINUSE, and nothing stays bound."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as holder:
        holder.bind((address, 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(OSError) as caught:
            listen(None, port)
        assert caught.value.errno == errno.EADDRINUSE
    assert [number for _, number in _names(listen("127.0.0.1", port))] == [port]


def test_a_host_is_the_only_address() -> None:
    """HOST replaces the default addresses."""
    assert [name for name, _ in _names(listen("127.0.0.2", 0))] == ["127.0.0.2"]
    with pytest.raises(OSError):
        listen("192.0.2.1", 0)
