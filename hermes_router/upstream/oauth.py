"""Spends a refresh token: one POST to the authorisation server, and the reading of its answer.

Owns the two forms of that request (facts/codex.md 3 and 10) and which answers end a refresh token for good. It must
never send a refresh token twice, keep what comes, or put a token into an error.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from hermes_router.core.accounts import CodexAccount, RefreshFailed, Tokens
from hermes_router.core.errors import Malformed, NetworkDown, TimedOut, Truncated, Unreachable, UpstreamError
from hermes_router.core.ids import Secret
from hermes_router.core.lenient import json_object
from hermes_router.core.ports import Outbound, Transport
from hermes_router.core.token_endpoint import RESOURCE
from hermes_router.upstream.auth import OUR_AGENT
from hermes_router.upstream.fetch import fetch

__all__ = ["BUDGET_S", "read_answer", "refresh"]

BUDGET_S: Final = 45.0  # of its own, whatever becomes of the request that wanted it
_MOST_BYTES: Final = 1_000_000
# A refresh token that has met one of these is of no use any more (facts/codex.md 3); the status varies.
_FINAL: Final = frozenset(
    {
        "refresh_token_expired",
        "refresh_token_reused",
        "refresh_token_invalidated",
        "invalid_grant",
        "invalid_refresh_token",
        "token_expired",
    }
)
_UNSURE: Final = frozenset({408, 502, 504})  # somebody between us and the server gave up waiting for it
_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


async def refresh(transport: Transport, url: str, account: CodexAccount, *, budget_s: float = BUDGET_S) -> Tokens:
    """The tokens that the account's refresh token buys. Raises RefreshFailed; never anything else that was met.

    `transport` must never repeat a request by itself, so it keeps no connections.
    """
    if account.refresh_token is None:
        raise RefreshFailed("permanent", "no_refresh_token", "the login has no refresh token")
    try:
        request = Outbound("POST", url, *_rendered(account, account.refresh_token))
        reply = await fetch(transport, request, timeout_s=budget_s, max_bytes=_MOST_BYTES)
    except ValueError as error:
        raise RefreshFailed("transient", "address", f"the address cannot be asked: {error}") from None
    except UpstreamError as error:
        raise _unanswered(error) from None
    return read_answer(reply.status, reply.body)


def read_answer(status: int, body: bytes) -> Tokens:
    """The tokens of an answer. Raises RefreshFailed."""
    found = json_object(body)
    if status == 200:
        return _tokens(found)
    code = _code(found)
    if code in _FINAL:
        raise RefreshFailed("permanent", code, f"the authorisation server says {code}")
    if status == 401 and found:
        code = code or "unauthorized"
        raise RefreshFailed("permanent", code, f"the authorisation server refuses the login (HTTP 401, {code})")
    kind = "" if found else ", no JSON"
    said = f"the authorisation server answers HTTP {status}{f' ({code})' if code else kind}"
    raise RefreshFailed("transient", code or f"http_{status}", said, spent=status in _UNSURE)


def _rendered(account: CodexAccount, token: Secret) -> tuple[Mapping[str, str], bytes]:
    fields = {
        "client_id": account.client_id,
        "grant_type": "refresh_token",
        "refresh_token": token.reveal(),
    }
    headers = {"accept": "application/json", "user-agent": OUR_AGENT, "originator": "hermes-router"}
    if account.route == "plan":
        body = urlencode(fields | {"resource": RESOURCE}).encode()
        return headers | {"content-type": "application/x-www-form-urlencoded"}, body
    return headers | {"content-type": "application/json"}, json.dumps(fields).encode()


def _unanswered(error: UpstreamError) -> RefreshFailed:
    """Whatever may have reached the server may have been done there."""
    match error:
        case NetworkDown():
            return RefreshFailed("transient", "network_down", "our own network is down")
        case Unreachable():
            return RefreshFailed(
                "transient", "unreachable", "the authorisation server cannot be reached", spent=error.sent
            )
        case TimedOut(phase="connect"):
            return RefreshFailed("transient", "unreachable", "the authorisation server cannot be reached in time")
        case TimedOut():
            return RefreshFailed("transient", "timeout", "the authorisation server gave no answer in time", spent=True)
        case Truncated() | Malformed():
            return RefreshFailed("transient", "garbled", "the authorisation server's answer was cut", spent=True)
    return RefreshFailed("transient", "failed", "the authorisation server gave no answer", spent=True)


def _tokens(found: Mapping[str, Any]) -> Tokens:
    access, renewed, ident = (_secret(found.get(name)) for name in ("access_token", "refresh_token", "id_token"))
    if access is None and renewed is None:
        # It was perhaps not the server at all; if it was, the refresh token is spent.
        raise RefreshFailed("transient", "no_tokens", "the authorisation server's answer holds no tokens", spent=True)
    return Tokens(
        access_token=access,
        refresh_token=renewed,
        id_token=ident,
        expires_in_s=_number(found.get("expires_in")),
        earliest_refresh_at=_number(found.get("earliest_refresh_at")),
    )


def _code(found: Mapping[str, Any]) -> str:
    """`error.code`, else `error`, else `code`, in lower case; empty where it is no such word."""
    error = found.get("error")
    for value in (error.get("code") if isinstance(error, dict) else None, error, found.get("code")):
        if isinstance(value, str) and _CODE.fullmatch(value):
            return value.lower()
    return ""


def _secret(value: object) -> Secret | None:
    return Secret(value) if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if 0 < number < 1e11 else None
