"""hermes_router/upstream/oauth.py: a refresh token is sent once, and every answer is read for what it is."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from hermes_router.core.accounts import BACKEND_CLIENT_ID, CodexAccount, RefreshFailed, account_of_tokens
from hermes_router.core.ids import Secret
from hermes_router.core.token_endpoint import token_url
from hermes_router.upstream.http import HttpTransport
from hermes_router.upstream.oauth import read_answer, refresh

from ..codex.auth_server import AuthServer, Issuer

NOW = 1_790_000_000.0


class Wire:
    def __init__(self, transport: HttpTransport, server: AuthServer, root: str) -> None:
        self.transport, self.server, self.root = transport, server, root

    async def refresh(self, account: CodexAccount, **more: Any) -> Any:
        return await refresh(self.transport, token_url(self.root, account.route), account, **more)

    def account(self, route: Any = "backend") -> CodexAccount:
        found = self.server.issuer.login(route=route)
        client = BACKEND_CLIENT_ID if route == "backend" else "oaiapp_7"
        tokens = read_answer(200, json.dumps(found).encode())
        return account_of_tokens(tokens, now=NOW, route=route, client_id=client)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    server = AuthServer(Issuer(lambda: NOW))
    runner = web.AppRunner(server.make_app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    transport = HttpTransport(asyncio.get_running_loop(), max_idle_per_host=0)
    yield Wire(transport, server, f"http://127.0.0.1:{runner.addresses[0][1]}/")
    server.released.set()
    await transport.close()
    await runner.cleanup()


async def test_the_backend_is_asked_in_json(wire: Wire) -> None:
    """As the official CLI asks (facts/codex.md 3), with our own name."""
    account = wire.account()
    tokens = await wire.refresh(account)
    assert wire.server.requests == [
        {
            "path": "/oauth/token",
            "type": "application/json",
            "client_id": BACKEND_CLIENT_ID,
            "grant_type": "refresh_token",
            "refresh_token": account.refresh_token.reveal() if account.refresh_token else "",
        }
    ]
    assert wire.server.issuer.works(tokens.refresh_token.reveal())
    assert tokens.expires_in_s == 864_000


async def test_the_plan_route_is_asked_in_a_form(wire: Wire) -> None:
    """With the issued client and the resource (facts/codex.md 10)."""
    await wire.refresh(wire.account("plan"))
    asked = wire.server.requests[0]
    assert (asked["path"], asked["type"]) == ("/api/accounts/oauth/token", "application/x-www-form-urlencoded")
    assert asked["client_id"] == "oaiapp_7"
    assert asked["resource"] == "https://api.openai.com/v1"


async def test_a_spent_token_is_a_permanent_failure(wire: Wire) -> None:
    """The second use of one token."""
    account = wire.account()
    await wire.refresh(account)
    with pytest.raises(RefreshFailed) as caught:
        await wire.refresh(account)
    assert (caught.value.permanent, caught.value.code) == (True, "refresh_token_reused")
    assert "rt_" not in f"{caught.value!r} {caught.value.said}"


@pytest.mark.parametrize(("fails", "code", "spent"), [("html", "http_403", False), ("500", "http_500", False)])
async def test_a_broken_server_is_a_transient_failure(wire: Wire, fails: str, code: str, spent: bool) -> None:
    """HTML and 500s end nothing."""
    wire.server.fails = fails
    with pytest.raises(RefreshFailed) as caught:
        await wire.refresh(wire.account())
    assert (caught.value.kind, caught.value.code, caught.value.spent) == ("transient", code, spent)


async def test_silence_after_sending_leaves_it_open(wire: Wire) -> None:
    """The server has rotated and says nothing: nobody knows, and it was sent once."""
    wire.server.fails = "hang_after"
    account = wire.account()
    with pytest.raises(RefreshFailed) as caught:
        await wire.refresh(account, budget_s=0.2)
    assert (caught.value.kind, caught.value.code, caught.value.spent) == ("transient", "timeout", True)
    assert len(wire.server.requests) == 1


async def test_a_server_that_is_not_there_has_spent_nothing(wire: Wire) -> None:
    """A refused connection, and an address that is none."""
    account = wire.account()
    for root, code in (("http://127.0.0.1:1", "unreachable"), ("ftp://x", "address")):
        with pytest.raises(RefreshFailed) as caught:
            await refresh(wire.transport, token_url(root, "backend"), account)
        assert (caught.value.kind, caught.value.code, caught.value.spent) == ("transient", code, False)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "spent"),
    [
        (400, {"error": {"code": "refresh_token_expired"}}, "permanent", "refresh_token_expired", False),
        (400, {"error": "invalid_grant"}, "permanent", "invalid_grant", False),
        (401, {"code": "REFRESH_TOKEN_INVALIDATED"}, "permanent", "refresh_token_invalidated", False),
        (401, {"detail": "who knows"}, "permanent", "unauthorized", False),
        (401, b"<html>", "transient", "http_401", False),
        (429, {"error": {"code": "slow_down"}}, "transient", "slow_down", False),
        (503, b"", "transient", "http_503", False),
        (504, b"", "transient", "http_504", True),
        (302, b"", "transient", "http_302", False),
        (200, b"<html>captive portal</html>", "transient", "no_tokens", True),
        (200, {"access_token": 5}, "transient", "no_tokens", True),
    ],
)
def test_failures_are_told_by_their_code(status: int, body: object, kind: str, code: str, spent: bool) -> None:
    """`error.code`, `error`, `code`, in any case; the status alone decides nothing but the unknown 401 in JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(RefreshFailed) as caught:
        read_answer(status, data)
    assert (caught.value.kind, caught.value.code, caught.value.spent) == (kind, code, spent)


def test_an_answer_is_taken_as_it_comes() -> None:
    """Every token is optional, and numbers that make no sense are none."""
    tokens = read_answer(200, b'{"access_token": "a", "expires_in": -5, "earliest_refresh_at": null}')
    assert tokens.access_token == Secret("a")
    assert (tokens.refresh_token, tokens.expires_in_s, tokens.earliest_refresh_at) == (None, None, None)
