"""hermes_router/server/boundary.py: every failure is JSON, every answer carries its ids."""

import json
from typing import Any

import pytest

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200), ("GET", "/health", 200), ("GET", "/ready", 200), ("GET", "/v1/models", 200),
        ("GET", "/v1/status", 200), ("GET", "/nowhere", 404), ("PUT", "/v1/models", 405), ("POST", CHAT, 400),
        ("OPTIONS", "/v1/models", 204), ("HEAD", "/api/hello", 200), ("HEAD", "/v1/models", 200),
    ],
)  # fmt: skip
async def test_every_answer_carries_both_id_headers(serve: Any, method: str, path: str, status: int) -> None:
    """The OpenAI SDK reads x-request-id, Anthropic's request-id; both are there and equal, on success and failure."""
    router = await serve()
    answer = await router.ask(method, path)
    assert answer.status == status
    assert answer.headers["x-request-id"] == answer.headers["request-id"]
    assert answer.headers["x-request-id"].startswith("req_")


async def test_streams_carry_both_id_headers(serve: Any, speak: Any) -> None:
    """The head of a stream has them, too."""
    router = await serve(speak.stream("hello"))
    answer = await router.chat(stream=True)
    assert answer.headers["x-request-id"] == answer.headers["request-id"]


@pytest.mark.parametrize("given", ["abc", "A.b_c-9", "x" * 64])
async def test_a_callers_own_plain_id_is_kept(serve: Any, speak: Any, given: str) -> None:
    """An id of up to 64 plain characters is the request's id, in the answer and in the log."""
    router = await serve(speak.whole())
    answer = await router.chat({"X-Request-Id": given})
    assert answer.headers["x-request-id"] == answer.headers["request-id"] == given
    assert router.notes.named("exchange.done")[0]["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a=b", 'a"b', "a\tb", "ä", "a/b", "a\x1bb"])
async def test_any_other_id_is_replaced(serve: Any, given: str) -> None:
    """What could forge a log line is no id: ours is used."""
    router = await serve()
    wire = await router.wire()
    wire.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: " + given.encode() + b"\r\n\r\n")
    answer = await wire.answer()
    assert answer.headers["x-request-id"] != given
    assert answer.status == 400 or answer.headers["x-request-id"].startswith("req_")


async def test_two_requests_have_two_ids(serve: Any) -> None:
    """Ids are not reused."""
    router = await serve()
    ids = {(await router.ask("GET", "/health")).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": None},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic c2stY2FsbGVyLTAxMjM0NTY3ODk="},
        {"Authorization": None, "x-api-key": "wrong"},
        {"Authorization": "Bearer schl\xfcssel"},
        {"Authorization": "Bearer \xe2\x82\xac\xff\xfe"},
        {"Authorization": None, "x-api-key": "\xf0\x9f\x94\x91"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/x", "/v1/status", "/models", CHAT, "/anthropic/v1/models"])
async def test_a_key_that_is_absent_wrong_or_not_ascii_is_401(serve: Any, path: str, headers: dict[str, Any]) -> None:
    """Without a good key the answer is 401 in the SDK's shape, and no provider is asked."""
    router = await serve()
    answer = await router.ask("POST" if path == CHAT else "GET", path, b"{}" if path == CHAT else b"", headers)
    assert answer.status == 401
    assert answer.error["type"] == "authentication_error"
    assert answer.error["code"] == "invalid_api_key"
    assert answer.headers["x-should-retry"] == "false"
    assert not router.providers.requests


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {}"},
        {"Authorization": "bearer {}"},
        {"Authorization": "Bearer   {}"},
        {"Authorization": None, "x-api-key": "{}"},
        {"Authorization": "Bearer no-key-required", "x-api-key": "{}"},
        {"Authorization": "Basic abc", "x-api-key": "{}"},
    ],
)
async def test_the_key_travels_as_bearer_or_x_api_key(serve: Any, speak: Any, headers: dict[str, Any]) -> None:
    """Either header is good on every route; SDKs that always send a placeholder Bearer beside it do no harm."""
    router = await serve()
    sent = {name: value and value.format(speak.key) for name, value in headers.items()}
    assert (await router.ask("GET", "/v1/models", headers=sent)).status == 200


async def test_any_of_several_router_keys_is_good(serve: Any) -> None:
    """PROXY_API_KEYS is a list."""
    router = await serve(PROXY_API_KEYS="sk-one-aaaaaaaa,sk-two-bbbbbbbb")
    for key in ("sk-one-aaaaaaaa", "sk-two-bbbbbbbb"):
        assert (await router.ask("GET", "/v1/models", key=key)).status == 200


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_unexpected_exception_is_503_without_internals(serve: Any, speak: Any, streaming: bool) -> None:
    """A bug is 503 JSON that says nothing of it; the log has the event with the exception and the request's id."""
    router = await serve(speak.turn(raises=ZeroDivisionError))
    answer = await router.chat(stream=streaming)
    assert answer.status == 503
    assert "bug" not in answer.body.decode()
    assert "ZeroDivision" not in answer.body.decode()
    assert int(answer.headers["retry-after"]) >= 1
    fault = router.notes.named("server.fault")[0]
    assert fault["request_id"] == answer.headers["x-request-id"]
    assert isinstance(fault["exc_info"], ZeroDivisionError)


async def test_an_exception_in_a_running_stream_is_its_error_event(
    serve: Any, speak: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the head is out a bug ends the stream with an error event: no second head, no [DONE], and it is logged."""
    router = await serve(speak.stream("hello"))
    monkeypatch.setattr("hermes_router.engine.delivery.Delivery._late", lambda *_: 1 / 0)
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, json.dumps({**speak.ask, "stream": True}).encode()))
    answer = await wire.answer()
    assert answer.status == 200
    assert b"hello" in answer.body
    last = json.loads(answer.body.rstrip().rpartition(b"data: ")[2])
    assert last["error"]["message"]
    assert b"[DONE]" not in answer.body
    assert b"HTTP/1.1" not in answer.body
    assert router.notes.named("server.fault")
    wire.send(speak.request("GET", "/health"))
    assert (await wire.answer()).status == 200


async def test_an_exception_after_the_end_adds_nothing(serve: Any, speak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug after the last chunk cannot spoil what the caller has whole."""
    router = await serve(speak.stream("hello"))
    monkeypatch.setattr("hermes_router.engine.settlement.Settlement.succeeded", lambda *_: 1 / 0)
    answer = await router.chat(stream=True)
    assert answer.body.rstrip().endswith(b"data: [DONE]")
    assert router.notes.named("server.fault")


async def test_a_bug_in_an_open_route_is_503(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes without a key have the same border."""
    monkeypatch.setattr("hermes_router.server.routes.is_ready", lambda _: 1 / 0)
    router = await serve()
    answer = await router.ask("GET", "/ready")
    assert answer.status == 503
    assert answer.error["message"] == "All providers are temporarily unavailable."


@pytest.mark.parametrize(
    "chunk", [b"nonsense\r\n", b"5\r\nab", b"-1\r\n\r\n", b"ffffffffffffffffff\r\n", b"2\r\nabXX0\r\n\r\n"]
)
async def test_broken_chunking_is_one_400_and_the_end(serve: Any, speak: Any, chunk: bytes) -> None:
    """A chunked body that breaks its framing gets one answer, 400 JSON, or none if it just stops; then the end."""
    router = await serve()
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, headers={"Transfer-Encoding": "chunked"}) + chunk)
    if chunk == b"5\r\nab":  # half a body: the caller goes away
        wire.writer.write_eof()
        assert await wire.closed()
        return
    answer = await wire.answer()
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert await wire.closed()
    assert not router.providers.requests


@pytest.mark.parametrize(
    "body",
    [b"", b"   ", b"{", b"[]", b'"x"', b"null", b"nan", b"{'a':1}", b'{"model":', b"\xff\xfe{}", b'{"a":"\xc3\x28"}', b"[" * 100_000,
     b'{"messages":' + b"[" * 100_000],
)  # fmt: skip
async def test_invalid_json_is_400_and_the_connection_stays_in_step(serve: Any, speak: Any, body: bytes) -> None:
    """Whatever is no JSON object is 400 in the SDK's shape; the next request on the connection is answered."""
    router = await serve()
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, body, {"Content-Length": str(len(body))}))
    answer = await wire.answer()
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    wire.send(speak.request("GET", "/health"))
    assert (await wire.answer()).json == {"status": "ok"}


@pytest.mark.parametrize("bad", ["key", "path", "method", "json", "host"])
async def test_an_unread_body_does_not_desynchronise(serve: Any, speak: Any, bad: str) -> None:
    """An answer given before the body was read leaves the connection at the next request, pipelined or not."""
    router = await serve(speak.whole())
    body = b'POST /v1/chat/completions HTTP/1.1\r\nHost: evil\r\n\r\n{"' + b"x" * 100_000
    wrong = {
        "key": speak.request("POST", CHAT, body, key="wrong"),
        "path": speak.request("POST", "/nowhere", body),
        "method": speak.request("PUT", CHAT, body),
        "json": speak.request("POST", CHAT, body),
        "host": speak.request("POST", CHAT, body, {"Host": "evil.example"}),
    }[bad]
    status = {"key": 401, "path": 404, "method": 405, "json": 400, "host": 403}[bad]
    wire = await router.wire()
    wire.send(wrong + speak.request("POST", CHAT, json.dumps(speak.ask).encode()))
    assert (await wire.answer()).status == status
    good = await wire.answer()
    assert (good.status, good.json["choices"][0]["message"]["content"]) == (200, "hello")


async def test_a_caller_who_left_is_no_fault(serve: Any, speak: Any) -> None:
    """Leaving in the middle of a stream aborts the upstream, and is not logged as a bug."""
    router = await serve(speak.stream("one ", hold=True))
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, json.dumps({**speak.ask, "stream": True}).encode()))
    await wire.reader.readuntil(b"one ")
    wire.close()
    await router.providers.flights[0].aborted.wait()
    assert not router.notes.named("server.fault")
    assert router.notes.named("exchange.done")[0]["outcome"] == "caller_left"
