"""A ChatGPT account as it is kept: its tokens, how long they live, and what was learned of them. Pure values.

Owns the account, the reading of a token's claims (facts/codex.md 2) and what a renewal changes of an account. It must
never know a file, a clock or an address. Signatures are not checked: what a claim says is shown and scheduled by, and
never trusted with anything.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from hermes_router.core.errors import HermesError
from hermes_router.core.ids import AccountId, CredentialId, ProviderName, Secret
from hermes_router.core.lenient import jwt_parts, jwt_table

__all__ = [
    "BACKEND_CLIENT_ID",
    "CODEX",
    "Claims",
    "CodexAccount",
    "RefreshFailed",
    "Route",
    "Tokens",
    "account_ident",
    "account_of_tokens",
    "fingerprint",
    "read_claims",
]

CODEX: Final = ProviderName("codex")
BACKEND_CLIENT_ID: Final = "app_EMoamEEZ73f0CkXaXp7hrann"  # the official CLI's public client (facts/codex.md 3)

Route = Literal["plan", "backend"]

_AUTH: Final = "https://api.openai.com/auth"
_PROFILE: Final = "https://api.openai.com/profile"


class Claims(NamedTuple):
    """What a token says of itself; empty or None where it does not say. `expires_at`, `issued_at`: epoch seconds.

    They are the issuer's clock.
    """

    account_id: str = ""
    user_id: str = ""
    email: str = ""
    plan: str = ""
    fedramp: bool = False
    expires_at: float | None = None
    issued_at: float | None = None


class Tokens(msgspec.Struct, frozen=True):
    """What a login or a renewal brought. None = it was not given, and the old one stays (facts/codex.md 3).

    `expires_in_s` is the access token's life from now; `earliest_refresh_at` (epoch s) is the plan route's word.
    """

    access_token: Secret | None = None
    refresh_token: Secret | None = None
    id_token: Secret | None = None
    expires_in_s: float | None = None
    earliest_refresh_at: float | None = None


class RefreshFailed(HermesError):
    """The authorisation server gave no tokens.

    `permanent`: this refresh token will never work again, and `code` says why; else a later try may work, and `code` is
    what was met. `spent` = nobody knows whether the server has taken the refresh token: it may have been sent, and no
    answer to it came.
    """

    def __init__(
        self, kind: Literal["transient", "permanent"], code: str, said: str = "", *, spent: bool = False
    ) -> None:
        super().__init__(said or code)
        self.kind = kind
        self.code = code
        self.said = said or code
        self.spent = spent

    @property
    def permanent(self) -> bool:
        """Whether trying again is of no use."""
        return self.kind == "permanent"


class CodexAccount(msgspec.Struct, frozen=True):
    """One login. Times are epoch seconds of this machine's clock; 0.0 = unknown.

    `id` is the same for the same account, user and route, whatever the tokens. `label` is the owner's word, or empty.
    `account_id` goes into the account header. `origin` is the official CLI's file that held this login when it was
    brought in. `read_only` = borrowed: never refreshed, never written back. `spending_since` is set on the disk before
    the refresh token is sent, and taken back once the outcome is known. `dead` is the code of a permanent failure
    against this very refresh token. `owed` is the fingerprint of the refresh token that was spent for this one and that
    `origin` may hold still. `refresh_token` is None where none was given (a host's token).
    """

    id: CredentialId
    label: str
    account_id: str
    email: str
    plan: str
    route: Route
    client_id: str
    access_token: Secret
    refresh_token: Secret | None = None
    id_token: Secret | None = None
    expires_at: float = 0.0
    last_refresh_at: float = 0.0
    origin: str | None = None
    read_only: bool = False
    spending_since: float | None = None
    dead: str | None = None
    fedramp: bool = False
    installation_id: str = ""
    user_id: str = ""
    earliest_refresh_at: float | None = None
    owed: str | None = None
    added_at: float = 0.0

    @property
    def pool(self) -> AccountId:
        """Whose quota it spends: the owner's label, else this user of this account, whatever the route."""
        if self.label:
            return AccountId(f"{CODEX}:{self.label}")
        return AccountId(account_ident(self.account_id, self.user_id, "backend"))

    @property
    def shown(self) -> str:
        """How people know it: the label, else the address, else the account's last characters."""
        return self.label or self.email or f"…{self.account_id[-6:]}"

    @property
    def refreshable(self) -> bool:
        """Whether a refresh may be tried at all."""
        return self.refresh_token is not None and not self.read_only and self.dead is None

    def expired(self, now: float) -> bool:
        """Whether the access token has ended; one of unknown life has not."""
        return self.expires_at > 0.0 and now >= self.expires_at

    def same_login(self, account_id: str, user_id: str) -> bool:
        """Whether that is this account; a user who is not named on either side is taken for the same."""
        return self.account_id == account_id and (not user_id or not self.user_id or self.user_id == user_id)

    def renewed(self, tokens: Tokens, now: float) -> "CodexAccount":
        """With these tokens, just received: no spending is under way any more, and nothing is known against it.

        A life that the answer or the token tells is counted from now on this machine's clock, so that a clock that is
        wrong by a day changes nothing.
        """
        access = tokens.access_token or self.access_token
        claims = read_claims(access)
        known = read_claims(tokens.id_token) if tokens.id_token is not None else Claims()
        life_s = tokens.expires_in_s
        if life_s is None and claims.expires_at is not None and claims.issued_at is not None:
            life_s = claims.expires_at - claims.issued_at
        if life_s is not None and life_s > 0:
            expires_at = now + life_s
        else:
            expires_at = claims.expires_at if claims.expires_at is not None else 0.0
        return replace(
            self,
            access_token=access,
            refresh_token=tokens.refresh_token or self.refresh_token,
            id_token=tokens.id_token or self.id_token,
            expires_at=expires_at,
            last_refresh_at=now,
            email=known.email or self.email,
            plan=claims.plan or known.plan or self.plan,
            earliest_refresh_at=tokens.earliest_refresh_at,
            spending_since=None,
            dead=None,
        )


def account_ident(account_id: str, user_id: str, route: Route) -> CredentialId:
    """The identity of a login: 16 hex characters, the same for every token that it will ever have."""
    text = f"{CODEX}\0{route}\0{account_id}\0{user_id}"
    return CredentialId(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16])


def account_of_tokens(
    tokens: Tokens,
    *,
    now: float,
    route: Route,
    client_id: str,
    label: str = "",
    account_id: str = "",
    origin: str | None = None,
    read_only: bool = False,
    installation_id: str = "",
    last_refresh_at: float | None = None,
) -> CodexAccount:
    """The account that a login brought. Raises ValueError where it names no account, or has no access token.

    `account_id` is what the login's own file says; then the id token's claim counts, then the access token's.
    `last_refresh_at` is given for tokens that are not of this moment: their life is then what the token itself says.
    """
    if tokens.access_token is None:
        raise ValueError("it has no access token")
    access = read_claims(tokens.access_token)
    person = read_claims(tokens.id_token) if tokens.id_token is not None else Claims()
    account_id = account_id or person.account_id or access.account_id
    if not account_id:
        raise ValueError("it names no account")
    user_id = person.user_id or access.user_id
    made = CodexAccount(
        id=account_ident(account_id, user_id, route),
        label=label,
        account_id=account_id,
        email=person.email or access.email,
        plan=access.plan or person.plan,
        route=route,
        client_id=client_id,
        access_token=tokens.access_token,
        origin=origin,
        read_only=read_only,
        fedramp=person.fedramp or access.fedramp,
        installation_id=installation_id,
        user_id=user_id,
        added_at=now,
    ).renewed(tokens, now)
    if last_refresh_at is not None:
        made = replace(made, last_refresh_at=last_refresh_at, expires_at=access.expires_at or 0.0)
    return made


def fingerprint(secret: Secret | None) -> str:
    """Tells one refresh token from another without telling either; empty for none. Tokens are long and random."""
    return secret.digest(b"hermes-router", "fingerprint") if secret is not None else ""


def read_claims(token: Secret | None) -> Claims:
    """What a JWT says of itself. Whatever is no JWT, or says it in another way, says nothing; nothing is raised."""
    parts = jwt_parts(token.reveal()) if token is not None else None
    payload = jwt_table(parts[1]) if parts is not None else {}
    auth = _table(payload.get(_AUTH))
    return Claims(
        account_id=_text(auth.get("chatgpt_account_id")),
        user_id=_text(auth.get("chatgpt_user_id")) or _text(auth.get("user_id")),
        email=_text(payload.get("email")) or _text(_table(payload.get(_PROFILE)).get("email")),
        plan=_text(auth.get("chatgpt_plan_type")),
        fedramp=auth.get("chatgpt_account_is_fedramp") is True,
        expires_at=_seconds(payload.get("exp")),
        issued_at=_seconds(payload.get("iat")),
    )


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) and 0.0 < seconds < 1e11 else None
