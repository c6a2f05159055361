"""A sign-in without the network: what is asked of the authorisation server and the browser, and what they answer.

Owns the two flows of facts/codex.md 5 and 10: the authorisation code with PKCE, for both routes, and the device code of
the backend route. It must never know a clock, a socket or where tokens rest; randomness is an argument. What a server
or a browser says is quoted in errors only as far as it can be shown: codes and sentences, never a code or a token.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlencode

from hermes_router.core.accounts import BACKEND_CLIENT_ID, Route, Tokens
from hermes_router.core.errors import HermesError
from hermes_router.core.ids import Secret
from hermes_router.core.lenient import json_object
from hermes_router.core.token_endpoint import RESOURCE, token_url

__all__ = [
    "AGENT_NAME",
    "CALLBACK_PATH",
    "DEVICE_VALID_S",
    "PLAN_SCOPE",
    "Code",
    "Device",
    "Errand",
    "Pending",
    "SignIn",
    "SignInFailed",
    "authorize_url",
    "begin",
    "device_poll",
    "device_start",
    "device_url",
    "exchange",
    "keys_url",
    "pasted_query",
    "read_callback",
    "read_device",
    "read_poll",
    "read_tokens",
]

AGENT_NAME: Final = "hermes-router"
PLAN_SCOPE: Final = "chatgpt.tokens.use.direct"
CALLBACK_PATH: Final = "/auth/callback"
DEVICE_VALID_S: Final = 900.0

_DYNAMIC_CLIENT: Final = "dynamic_agent_client"
_SCOPES: Final[dict[Route, str]] = {
    "plan": f"openid profile email offline_access resource.invoke {PLAN_SCOPE}",
    "backend": "openid profile email offline_access",
}
_AUTHORIZE: Final[dict[Route, str]] = {"plan": "/api/accounts/authorize", "backend": "/oauth/authorize"}
_DEVICE_REDIRECT: Final = "/deviceauth/callback"
_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"
_NOT_ELIGIBLE: Final = frozenset(
    {"subscription_sharing_user_not_eligible", "subscription_sharing_not_eligible", "user_not_eligible", "not_eligible"}
)
_SHOWN: Final = 200
_LARGEST: Final = 16_384
_LEAST_INTERVAL_S: Final = 1.0
_MOST_INTERVAL_S: Final = 60.0
_INTERVAL_S: Final = 5.0
_SLOWER_S: Final = 5.0


class SignInFailed(HermesError):
    """A sign-in came to nothing: what happened, and what to do. `code` tells kinds apart.

    `refused` by the person, `not_eligible` for the route, `disabled` (no device codes for this account), `expired`,
    `foreign` (an answer to another sign-in), `refused_code`, `unreadable`, `unproved` (the id token), `failed`.
    """

    def __init__(self, message: str, *, code: str = "failed", next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.next_step = next_step


@dataclass(frozen=True, slots=True)
class Errand:
    """One POST to the authorisation server."""

    url: str
    content_type: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignIn:
    """One sign-in by browser, from its beginning to the exchange; what proves that an answer is ours never shows."""

    route: Route
    client_id: str
    redirect_uri: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)

    @property
    def challenge(self) -> str:
        """What the server sees of the verifier (RFC 7636, S256)."""
        return _base64url(hashlib.sha256(self.verifier.encode()).digest())


@dataclass(frozen=True, slots=True)
class Code:
    """What the browser brought back. `client_id` is the one that the exchange must name: the plan route issues it."""

    code: str = field(repr=False)
    client_id: str
    redirect_uri: str
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Device:
    """A device code: what the person types, and how often we may ask, in seconds."""

    user_code: str
    interval_s: float
    ident: str = field(repr=False)


class Pending(NamedTuple):
    """Nobody has typed the code yet. `slower_s`: by how much to ask less often from now on."""

    slower_s: float = 0.0


# --- by browser -----------------------------------------------------------------------------------------


def begin(route: Route, redirect_uri: str, random: bytes, *, client_id: str = "") -> SignIn:
    """A new sign-in from 128 random bytes. `client_id` is one that was issued to this account before (plan route)."""
    if len(random) < 128:
        raise ValueError("128 random bytes are needed")
    chosen = BACKEND_CLIENT_ID if route == "backend" else client_id or _DYNAMIC_CLIENT
    return SignIn(
        route=route,
        client_id=chosen,
        redirect_uri=redirect_uri,
        state=_base64url(random[:32]),
        nonce=_base64url(random[32:64]),
        verifier=_base64url(random[64:128]),
    )


def authorize_url(root: str, sign_in: SignIn, *, host_id: str, originator: str) -> str:
    """Where the person signs in. `host_id` is this installation's, `urn:uuid:…`; `originator` says who asks."""
    query = {
        "response_type": "code",
        "client_id": sign_in.client_id,
        "redirect_uri": sign_in.redirect_uri,
        "scope": _SCOPES[sign_in.route],
        "code_challenge": sign_in.challenge,
        "code_challenge_method": "S256",
        "state": sign_in.state,
    }
    if sign_in.route == "plan":
        query |= {"nonce": sign_in.nonce, "resource": RESOURCE, "ext_agent_host_id": host_id}
        if sign_in.client_id == _DYNAMIC_CLIENT:
            query["agent_name_hint"] = AGENT_NAME
    else:
        query |= {
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
            "originator": originator,
        }
    return f"{root}{_AUTHORIZE[sign_in.route]}?{urlencode(query)}"


def pasted_query(text: str) -> str:
    """The query of an address that a person copied from the browser, or of as much of it as was copied.

    Raises SignInFailed where it holds neither a code nor an error.
    """
    words = "".join(text.split())  # a terminal may have broken it
    query = words.partition("?")[2].partition("#")[0] if "?" in words else words.lstrip("#&")
    if len(words) <= _LARGEST and {"code", "error"} & _pairs(query).keys():
        return query
    raise SignInFailed(
        "this is not the address that the browser ended at: it holds no code",
        code="unreadable",
        next_step=f"copy the whole address, which begins with http and holds {CALLBACK_PATH}?code=",
    )


def read_callback(sign_in: SignIn, query: str) -> Code:
    """What the browser brought back in its address. Raises SignInFailed; `foreign` says nothing of our own sign-in."""
    pairs = _pairs(query)
    # The server may append to the state (facts/codex.md 5.1); ours is random, so its beginning proves as much.
    if not pairs.get("state", "").startswith(sign_in.state):
        raise SignInFailed(
            "this answer belongs to another sign-in",
            code="foreign",
            next_step="use the address that this sign-in printed, and no older one",
        )
    if "error" in pairs:
        raise _refusal(pairs["error"], pairs.get("error_description", ""))
    code = pairs.get("code", "")
    if not code:
        raise SignInFailed("the browser came back without a code", code="unreadable", next_step="sign in again")
    client_id = sign_in.client_id
    if sign_in.route == "plan":
        client_id = pairs.get("client_id", "") or client_id
        if client_id == _DYNAMIC_CLIENT:
            raise SignInFailed(
                "the authorisation server issued no client for this account",
                code="unreadable",
                next_step="sign in again; if it stays so, take the other route: --route backend",
            )
    return Code(code, client_id, sign_in.redirect_uri, sign_in.verifier)


def _refusal(code: str, said: str) -> SignInFailed:
    shown = _shown(said)
    if code in _NOT_ELIGIBLE or code.startswith("subscription_sharing_"):
        return SignInFailed(_joined("this account cannot lend its plan to apps", shown), code="not_eligible")
    if code == "access_denied":
        return SignInFailed(_joined("the sign-in was refused in the browser", shown), code="refused")
    return SignInFailed(_joined(f"the authorisation server refused: {_shown(code)}", shown), code="failed")


def exchange(root: str, route: Route, code: Code) -> Errand:
    """The POST that turns a code into tokens."""
    form = {
        "grant_type": "authorization_code",
        "code": code.code,
        "redirect_uri": code.redirect_uri,
        "client_id": code.client_id,
        "code_verifier": code.verifier,
    }
    if route == "plan":
        form["resource"] = RESOURCE
    return Errand(token_url(root, route), _FORM, urlencode(form).encode())


def keys_url(root: str) -> str:
    """Where the keys lie that id tokens are signed with."""
    return f"{root}/.well-known/jwks.json"


def read_tokens(route: Route, status: int, body: bytes) -> Tokens:
    """The answer to an exchange. Raises SignInFailed; on the plan route also where the plan was not lent."""
    found = _answer(status, body)
    if status != 200:
        raise _failed_answer(status, found, "did not take the code", "refused_code")
    access, refresh = _text(found.get("access_token")), _text(found.get("refresh_token"))
    if not access or not refresh:
        raise SignInFailed(
            "the authorisation server's answer holds no tokens", code="unreadable", next_step="sign in again"
        )
    if route == "plan" and PLAN_SCOPE not in _text(found.get("scope")).split():
        raise SignInFailed("this account signed in, and did not lend its plan to apps", code="not_eligible")
    id_token = _text(found.get("id_token"))
    return Tokens(
        access_token=Secret(access),
        refresh_token=Secret(refresh),
        id_token=Secret(id_token) if id_token else None,
        expires_in_s=_number(found.get("expires_in")),
        earliest_refresh_at=_number(found.get("earliest_refresh_at")),
    )


# --- by device code -------------------------------------------------------------------------------------


def device_start(root: str) -> Errand:
    """The POST that asks for a device code (facts/codex.md 5.2)."""
    return _json_errand(f"{root}/api/accounts/deviceauth/usercode", {"client_id": BACKEND_CLIENT_ID})


def device_url(root: str) -> str:
    """Where the person types it."""
    return f"{root}/codex/device"


def read_device(status: int, body: bytes) -> Device:
    """The answer to `device_start`. Raises SignInFailed."""
    found = _answer(status, body)
    if status == 404:
        raise SignInFailed(
            "device codes are switched off for this account or workspace",
            code="disabled",
            next_step="switch them on in ChatGPT's security settings, or sign in with --browser",
        )
    if status != 200:
        raise _failed_answer(status, found, "gave no device code", "failed")
    ident = _text(found.get("device_auth_id"))
    user_code = _text(found.get("user_code")) or _text(found.get("usercode"))
    if not ident or not re.fullmatch(r"[A-Za-z0-9-]{4,40}", user_code):
        raise SignInFailed("the device code cannot be read", code="unreadable", next_step="sign in with --browser")
    interval_s = _number(found.get("interval"))
    if interval_s is None:
        interval_s = _INTERVAL_S
    return Device(user_code, min(max(interval_s, _LEAST_INTERVAL_S), _MOST_INTERVAL_S), ident)


def device_poll(root: str, device: Device) -> Errand:
    """The POST that asks whether the code was typed."""
    return _json_errand(
        f"{root}/api/accounts/deviceauth/token", {"device_auth_id": device.ident, "user_code": device.user_code}
    )


def read_poll(root: str, status: int, body: bytes) -> Pending | Code:
    """The answer to `device_poll`: a code, once the device code was typed and approved. Raises SignInFailed.

    Here it is the server that made verifier and challenge.
    """
    found = json_object(body)
    code = _error_code(found)
    if code == "slow_down" or status == 429:
        return Pending(_SLOWER_S)
    if code in {"access_denied", "deviceauth_authorization_denied"}:
        raise _refusal("access_denied", _said(found))
    if code in {"expired_token", "deviceauth_expired"}:
        raise SignInFailed("the device code has expired", code="expired", next_step="sign in again")
    if status in {403, 404} or code == "deviceauth_authorization_pending":
        return Pending()
    if status != 200:
        raise _failed_answer(status, _answer(status, body), "ended the sign-in", "failed")
    granted, verifier = _text(found.get("authorization_code")), _text(found.get("code_verifier"))
    if not granted or not verifier:
        raise SignInFailed("the server's approval cannot be read", code="unreadable", next_step="sign in again")
    return Code(granted, BACKEND_CLIENT_ID, f"{root}{_DEVICE_REDIRECT}", verifier)


# --- reading --------------------------------------------------------------------------------------------


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _json_errand(url: str, body: Mapping[str, str]) -> Errand:
    return Errand(url, _JSON, json.dumps(body, separators=(",", ":")).encode())


def _pairs(query: str) -> dict[str, str]:
    """The first value of each name; what cannot be read is nothing."""
    if len(query) > _LARGEST:
        return {}
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


def _answer(status: int, body: bytes) -> Mapping[str, Any]:
    """A JSON object. Raises SignInFailed for a web page, garbage and a server that is down."""
    found = json_object(body)
    if found:
        return found
    if status >= 500:
        raise SignInFailed(
            f"the authorisation server is in trouble (HTTP {status})", next_step="try again in a few minutes"
        )
    if b"<html" in body[:2000].lower() or b"<!doctype" in body[:2000].lower():
        raise SignInFailed(
            f"a web page came instead of an answer (HTTP {status}): something stands between us and the server",
            code="unreadable",
            next_step="look at HTTPS_PROXY, or try from another network",
        )
    raise SignInFailed(
        f"the authorisation server's answer cannot be read (HTTP {status})", code="unreadable", next_step="try again"
    )


def _failed_answer(status: int, found: Mapping[str, Any], what: str, code: str) -> SignInFailed:
    name = _error_code(found)
    if name in _NOT_ELIGIBLE or name.startswith("subscription_sharing_user_not"):
        return _refusal(name, _said(found))
    said = _joined(f"the authorisation server {what} (HTTP {status})", _shown(name), _said(found))
    return SignInFailed(said, code=code, next_step="sign in again")


def _error_code(found: Mapping[str, Any]) -> str:
    """`error.code`, else `error`, else `code`, in lower case (facts/codex.md 3)."""
    error = found.get("error")
    inner = error.get("code") if isinstance(error, dict) else error
    return (_text(inner) or _text(found.get("code"))).lower()


def _said(found: Mapping[str, Any]) -> str:
    error = found.get("error")
    inner = error.get("message") if isinstance(error, dict) else None
    return _shown(_text(inner) or _text(found.get("error_description")) or _text(found.get("message")))


def _shown(text: str) -> str:
    """As much as may be shown of what somebody else wrote."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain[:_SHOWN]


def _joined(*parts: str) -> str:
    return ": ".join(part.rstrip(".") for part in parts if part)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """A number, or one in text (facts/codex.md 5.2: `interval` is a string)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
