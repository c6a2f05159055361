"""hermes_router/server/access.py: Host, Origin and what a web page gets to see."""

import asyncio
import json
from typing import Any

import pytest

CHAT = "/v1/chat/completions"
PAGE = "https://app.example"


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8319", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8319", "[::1]", "[::1]:8319"],
)
async def test_loopback_names_are_let_in(serve: Any, host: str) -> None:
    """Every loopback name with any port is a good Host."""
    router = await serve()
    assert (await router.ask("GET", "/v1/models", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8319", "localhost.evil.example", "127.0.0.1.evil.example:8319", "192.168.1.5:8319",
     "[::1]evil", "[::2]:8319", "localhost:8319:9", "local host", ""],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/models"), ("GET", "/health"), ("POST", CHAT), ("GET", "/x")])
async def test_a_foreign_host_is_403_on_every_route(serve: Any, speak: Any, host: Any, method: str, path: str) -> None:
    """A rebound name, or none, is 403 that names the setting, on any route; no provider is asked."""
    router = await serve(speak.whole())
    body = json.dumps(speak.ask).encode() if method == "POST" else b""
    answer = await router.ask(method, path, body, {"Host": host})
    assert answer.status == 403
    assert "ALLOWED_HOSTS" in answer.error["message"]
    assert answer.error["type"] == "permission_error"
    assert not router.providers.requests


async def test_no_host_at_all_is_refused(serve: Any) -> None:
    """HTTP/1.1 without Host is bad HTTP, HTTP/1.0 without one is a foreign host."""
    router = await serve()
    assert (await router.ask("GET", "/health", headers={"Host": None})).status == 400
    assert (await router.ask("GET", "/health", headers={"Host": None}, version="1.0")).status == 403


async def test_the_bound_address_and_allowed_hosts_are_let_in(serve: Any) -> None:
    """HOST and ALLOWED_HOSTS add to the loopback names."""
    router = await serve(HOST="192.168.1.5", ALLOWED_HOSTS="router.lan,Box")
    for host in ("192.168.1.5:8319", "router.lan", "box:8319", "localhost"):
        assert (await router.ask("GET", "/health", headers={"Host": host})).status == 200
    assert (await router.ask("GET", "/health", headers={"Host": "192.168.1.6"})).status == 403


async def test_an_ipv6_host_is_let_in_with_brackets(serve: Any) -> None:
    """An IPv6 HOST stands in brackets in the header."""
    router = await serve(HOST="fd00::5")
    assert (await router.ask("GET", "/health", headers={"Host": "[fd00::5]:8319"})).status == 200


async def test_bound_to_everything_the_address_of_arrival_is_bound(serve: Any) -> None:
    """With HOST=0.0.0.0 the address that the caller connected to is a good Host, and no other address is."""
    router = await serve(HOST="0.0.0.0")
    assert (await router.ask("GET", "/health", headers={"Host": f"127.0.0.1:{router.port}"})).status == 200
    reader, writer = await asyncio.open_connection("127.0.0.1", router.port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.2\r\n\r\n")
    assert b"403" in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    "origin", [PAGE, "http://localhost:3000", "null", "http://127.0.0.1:8319", "chrome-extension://abc"]
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
async def test_an_origin_is_refused_by_default(serve: Any, speak: Any, method: str, origin: str) -> None:
    """No web page may call, our own address included; 403 names CORS_ORIGINS and grants nothing."""
    router = await serve(speak.whole())
    path, body = (CHAT, json.dumps(speak.ask).encode()) if method == "POST" else ("/v1/models", b"")
    answer = await router.ask(method, path, body, {"Origin": origin})
    assert answer.status == 403
    assert "CORS_ORIGINS" in answer.error["message"]
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert not router.providers.requests


async def test_a_preflight_of_an_allowed_page_is_answered(serve: Any) -> None:
    """The preflight needs no key; the headers that SDKs in a browser send are allowed."""
    router = await serve(CORS_ORIGINS=f"{PAGE},http://localhost:3000")
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-stainless-os",
        "Access-Control-Request-Private-Network": "true",
    }
    for path in (CHAT, "/v1/models/groq/x", "/nowhere"):
        answer = await router.ask("OPTIONS", path, headers=asked, key=None)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-private-network"] == "true"
        assert answer.headers["vary"] == "Origin"


async def test_a_preflight_cannot_put_words_into_our_head(serve: Any) -> None:
    """Header names that are none are not reflected."""
    router = await serve(CORS_ORIGINS=PAGE)
    asked = {"Origin": PAGE, "Access-Control-Request-Headers": "x<script>"}
    answer = await router.ask("OPTIONS", CHAT, headers=asked, key=None)
    assert answer.headers["access-control-allow-headers"] == "authorization, content-type, x-api-key"


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_allowed_page_can_read_answers_and_errors(serve: Any, speak: Any, streaming: bool) -> None:
    """Whole answers, streams and refusals alike carry the grant, and show our headers to the page."""
    router = await serve(speak.stream("hello") if streaming else speak.whole(), CORS_ORIGINS=PAGE)
    page = {"Origin": PAGE}
    answers = [
        await router.chat(page, stream=streaming),
        await router.chat({**page, "Authorization": "Bearer wrong"}),
        await router.ask("GET", "/nowhere", headers=page),
        await router.ask("POST", CHAT, b"{", page),
    ]
    assert [answer.status for answer in answers] == [200, 401, 404, 400]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "x-hermes-target" in answer.headers["access-control-expose-headers"]


async def test_options_without_a_page_is_harmless(serve: Any) -> None:
    """OPTIONS of a program is 204 and grants nothing."""
    router = await serve(CORS_ORIGINS=PAGE)
    answer = await router.ask("OPTIONS", CHAT, key=None)
    assert answer.status == 204
    assert not [name for name in answer.headers if name.startswith("access-control")]
