"""hermes_router/core/sign_in.py: what a sign-in asks, and what the answers mean."""

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from hermes_router.core import sign_in as words
from hermes_router.core.accounts import BACKEND_CLIENT_ID
from hermes_router.core.sign_in import Code, Pending, SignInFailed

ROOT = "https://auth.openai.com"
RANDOM = bytes(range(128))
HOST_ID = "urn:uuid:0e2a"


def backend() -> words.SignIn:
    """A sign-in on the backend route."""
    return words.begin("backend", "http://localhost:1455/auth/callback", RANDOM)


def plan(client_id: str = "") -> words.SignIn:
    """A sign-in on the plan route."""
    return words.begin("plan", "http://127.0.0.1:1455/auth/callback", RANDOM, client_id=client_id)


def asked(sign_in: words.SignIn) -> tuple[str, dict[str, str]]:
    """Where the browser is sent, and with what."""
    url = urlsplit(words.authorize_url(ROOT, sign_in, host_id=HOST_ID, originator="hermes-router"))
    return url.path, {name: value for name, [value] in parse_qs(url.query, strict_parsing=True).items()}


def test_what_proves_a_sign_in_is_random_and_never_shown() -> None:
    """State, nonce and verifier are of different bytes, the challenge is S256 of the verifier; no repr has them."""
    made = backend()
    assert len({made.state, made.nonce, made.verifier}) == 3
    assert len(made.verifier) == 86  # 64 bytes, as the official client's
    digest = hashlib.sha256(made.verifier.encode()).digest()
    assert made.challenge == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    for secret in (made.state, made.nonce, made.verifier):
        assert secret not in repr(made)
    with pytest.raises(ValueError, match="random"):
        words.begin("plan", "http://127.0.0.1:1/", b"short")


def test_the_address_of_the_backend_route() -> None:
    """facts/codex.md 5.1: the public client, PKCE, the simplified flow, and who we are."""
    made = backend()
    path, query = asked(made)
    assert path == "/oauth/authorize"
    assert query == {
        "response_type": "code", "client_id": BACKEND_CLIENT_ID, "redirect_uri": "http://localhost:1455/auth/callback",
        "scope": "openid profile email offline_access", "code_challenge": made.challenge,
        "code_challenge_method": "S256", "state": made.state, "id_token_add_organizations": "true",
        "codex_cli_simplified_flow": "true", "originator": "hermes-router",
    }  # fmt: skip


def test_the_address_of_the_plan_route() -> None:
    """facts/codex.md 10: a dynamic client with our own name first, the one that was issued later."""
    path, query = asked(plan())
    assert path == "/api/accounts/authorize"
    assert query["client_id"] == "dynamic_agent_client"
    assert query["agent_name_hint"] == "hermes-router"
    assert query["ext_agent_host_id"] == HOST_ID
    assert query["resource"] == "https://api.openai.com/v1"
    assert query["nonce"] == plan().nonce
    assert words.PLAN_SCOPE in query["scope"].split()
    _, query = asked(plan("oaiapp_7"))
    assert query["client_id"] == "oaiapp_7"
    assert "agent_name_hint" not in query


def test_the_code_comes_back() -> None:
    """With the right state, also where the server appended to it; the plan route brings the issued client."""
    made = backend()
    for state in (made.state, made.state + "-more"):
        code = words.read_callback(made, f"code=c-1&state={state}&client_id=other")
        assert (code.code, code.client_id, code.redirect_uri) == ("c-1", BACKEND_CLIENT_ID, made.redirect_uri)
        assert "c-1" not in repr(code)
    code = words.read_callback(plan(), f"code=c&state={plan().state}&client_id=oaiapp_9")
    assert code.client_id == "oaiapp_9"
    again = plan("oaiapp_7")
    assert words.read_callback(again, f"code=c&state={again.state}").client_id == "oaiapp_7"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("code=c&state=x", "foreign"), ("code=c", "foreign"), ("", "foreign"), ("error=access_denied", "foreign"),
        ("state={state}", "unreadable"), ("code=&state={state}", "unreadable"), ("code=c&state={state}", "unreadable"),
        ("error=access_denied&state={state}", "refused"), ("error=server_error&state={state}", "failed"),
        ("error=subscription_sharing_user_not_eligible&state={state}", "not_eligible"),
    ],
)  # fmt: skip
def test_what_else_a_browser_may_bring(query: str, code: str) -> None:
    """An answer to another sign-in says nothing of ours; a plan sign-in that issues no client is none."""
    with pytest.raises(SignInFailed) as caught:
        words.read_callback(plan(), query.format(state=plan().state))
    assert caught.value.code == code


def test_an_errors_text_is_shown_safely() -> None:
    """What a server says is one line of bounded length without control characters."""
    said = quote("No\x1b[31m way\r\n" + "x" * 5000)
    with pytest.raises(SignInFailed) as caught:
        words.read_callback(backend(), f"error=nope&error_description={said}&state={backend().state}")
    assert "No" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def test_an_address_may_be_pasted() -> None:
    """The whole of it, broken by a terminal, its query alone; anything else is said to be none."""
    for text in (
        "http://localhost:1455/auth/callback?code=c&state=s", " http://localhost:1455/auth/ca\n  llback?code=c&state=s#",
        "code=c&state=s", "?code=c&state=s",
    ):  # fmt: skip
        assert words.pasted_query(text) == "code=c&state=s"
    assert words.pasted_query("http://x/?error=denied&state=s").startswith("error=")
    for text in ("", "hello", "http://localhost:1455/auth/callback", "code=" + "c" * 20_000):
        with pytest.raises(SignInFailed, match="no code"):
            words.pasted_query(text)


def test_the_exchange_is_a_form() -> None:
    """facts/codex.md 5.1 and 10: form-encoded on both routes, with the resource on the plan route; no repr shows it."""
    code = words.read_callback(backend(), f"code=c%2B1&state={backend().state}")
    errand = words.exchange(ROOT, "backend", code)
    assert (errand.url, errand.content_type) == (f"{ROOT}/oauth/token", "application/x-www-form-urlencoded")
    form = {name: value for name, [value] in parse_qs(errand.body.decode()).items()}
    assert form == {
        "grant_type": "authorization_code", "code": "c+1", "redirect_uri": "http://localhost:1455/auth/callback",
        "client_id": BACKEND_CLIENT_ID, "code_verifier": backend().verifier,
    }  # fmt: skip
    assert backend().verifier not in repr(errand)
    errand = words.exchange(ROOT, "plan", code)
    assert errand.url == f"{ROOT}/api/accounts/oauth/token"
    assert parse_qs(errand.body.decode())["resource"] == ["https://api.openai.com/v1"]


def test_where_tokens_are_asked_for() -> None:
    """One address per route, under the issuer's root with or without a slash."""
    assert words.token_url(ROOT, "backend") == words.token_url(f"{ROOT}/", "backend") == f"{ROOT}/oauth/token"
    assert words.token_url(f"{ROOT}/", "plan") == f"{ROOT}/api/accounts/oauth/token"


def test_tokens_are_read_and_wrapped() -> None:
    """No token shows; numbers may be missing or text."""
    body = {"access_token": "a-1", "refresh_token": "r-1", "id_token": "i-1", "expires_in": "3600",
            "scope": f"openid {words.PLAN_SCOPE}", "earliest_refresh_at": None}  # fmt: skip
    tokens = words.read_tokens("plan", 200, json.dumps(body).encode())
    assert (tokens.expires_in_s, tokens.earliest_refresh_at) == (3600.0, None)
    assert tokens.refresh_token is not None
    assert tokens.refresh_token.reveal() == "r-1"
    assert "r-1" not in repr(tokens)


@pytest.mark.parametrize(
    ("route", "status", "body", "code", "said"),
    [
        ("plan", 200, {"access_token": "a", "refresh_token": "r", "scope": "openid"}, "not_eligible", "did not lend"),
        ("backend", 200, {"access_token": "a"}, "unreadable", "no tokens"),
        ("backend", 200, {"refresh_token": "r", "access_token": 5}, "unreadable", "no tokens"),
        ("backend", 400, {"error": "invalid_grant", "error_description": "Code expired."}, "refused_code", "Code expired"),
        ("backend", 401, {"error": {"code": "x", "message": "No."}}, "refused_code", "x: No"),
        ("plan", 403, {"error": {"code": "subscription_sharing_user_not_eligible"}}, "not_eligible", "cannot lend"),
        ("backend", 502, b"<html>bad gateway", "failed", "in trouble"),
        ("backend", 403, b"<!DOCTYPE html><title>Blocked", "unreadable", "web page"),
        ("backend", 200, b"garbage", "unreadable", "cannot be read"), ("backend", 200, b"[1]", "unreadable", "cannot be"),
    ],
)  # fmt: skip
def test_an_exchange_that_fails_is_said_plainly(route: Any, status: int, body: Any, code: str, said: str) -> None:
    """Whose fault it is, in a sentence; HTML and 5xx are no answers."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(SignInFailed, match=said) as caught:
        words.read_tokens(route, status, raw)
    assert caught.value.code == code


def test_a_device_code_is_asked_for_and_read() -> None:
    """facts/codex.md 5.2: JSON, `interval` is text, `usercode` is another name; intervals stay sane."""
    errand = words.device_start(ROOT)
    assert json.loads(errand.body) == {"client_id": BACKEND_CLIENT_ID}
    assert errand.url == f"{ROOT}/api/accounts/deviceauth/usercode"
    assert words.device_url(ROOT) == f"{ROOT}/codex/device"
    for name, interval, wanted in (("user_code", "7", 7.0), ("usercode", 3, 3.0), ("user_code", "0", 1.0),
                                   ("user_code", "soon", 5.0), ("user_code", 9e9, 60.0)):  # fmt: skip
        body = {"device_auth_id": "d-1", name: "ABCD-EFGH", "interval": interval}
        device = words.read_device(200, json.dumps(body).encode())
        assert (device.user_code, device.interval_s) == ("ABCD-EFGH", wanted)
        assert "d-1" not in repr(device)
    assert json.loads(words.device_poll(ROOT, device).body) == {"device_auth_id": "d-1", "user_code": "ABCD-EFGH"}


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, {"error": "x"}, "disabled"), (500, b"", "failed"), (400, {"error": {"code": "y"}}, "failed"),
        (200, {"user_code": "ABCD"}, "unreadable"),
        (200, {"device_auth_id": "d", "user_code": "\x1b[2J evil"}, "unreadable"), (404, b"<html>", "unreadable"),
    ],
)  # fmt: skip
def test_a_device_code_that_is_none(status: int, body: Any, code: str) -> None:
    """404 = switched off for this account; a code that could steer a terminal is not shown."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(SignInFailed) as caught:
        words.read_device(status, raw)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (403, b"", Pending()), (404, b"<html>", Pending()), (403, {"error": {"code": "z"}}, Pending()),
        (400, {"error": {"code": "deviceauth_authorization_pending"}}, Pending()),
        (400, {"error": "slow_down"}, Pending(5.0)), (429, b"", Pending(5.0)),
    ],
)  # fmt: skip
def test_nobody_has_typed_the_code_yet(status: int, body: Any, found: Pending) -> None:
    """403 and 404 mean that, and `slow_down` that we ask too often."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert words.read_poll(ROOT, status, raw) == found


def test_a_typed_code_grants() -> None:
    """The server made verifier and challenge; the redirect is the server's own page."""
    body = {"authorization_code": "c", "code_challenge": "x", "code_verifier": "v"}
    found = words.read_poll(ROOT, 200, json.dumps(body).encode())
    assert isinstance(found, Code)
    assert (found.verifier, found.redirect_uri) == ("v", f"{ROOT}/deviceauth/callback")
    assert found.client_id == BACKEND_CLIENT_ID


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, {"authorization_code": "c"}, "unreadable"), (400, {"error": {"code": "access_denied"}}, "refused"),
        (400, {"error": "expired_token"}, "expired"), (500, b"<html>", "failed"), (400, {"error": "what"}, "failed"),
    ],
)  # fmt: skip
def test_a_poll_that_ends_the_sign_in(status: int, body: Any, code: str) -> None:
    """Refused, expired, or an answer that nobody can read."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(SignInFailed) as caught:
        words.read_poll(ROOT, status, raw)
    assert caught.value.code == code
