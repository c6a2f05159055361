"""How an account stands in the token file: a row of JSON, in both directions.

Owns the names of the fields. What it does not know of a row stays in it: a later version may have written it. It must
never touch a disk.
"""

import math
from collections.abc import Mapping
from typing import Any, cast

from hermes_router.core.accounts import CodexAccount, Route
from hermes_router.core.ids import CredentialId, Secret

__all__ = ["account_of_row", "row_of_account"]

_TEXTS = ("id", "account_id", "client_id", "route", "access_token")


def row_of_account(account: CodexAccount, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The row of an account, over the one that was there."""
    return dict(before or {}) | {
        "id": account.id,
        "label": account.label,
        "account_id": account.account_id,
        "user_id": account.user_id,
        "email": account.email,
        "plan": account.plan,
        "route": account.route,
        "client_id": account.client_id,
        "access_token": account.access_token.reveal(),
        "refresh_token": _revealed(account.refresh_token),
        "id_token": _revealed(account.id_token),
        "expires_at": account.expires_at,
        "last_refresh_at": account.last_refresh_at,
        "earliest_refresh_at": account.earliest_refresh_at,
        "origin": account.origin,
        "read_only": account.read_only,
        "spending_since": account.spending_since,
        "dead": account.dead,
        "owed": account.owed,
        "fedramp": account.fedramp,
        "installation_id": account.installation_id,
        "added_at": account.added_at,
    }


def account_of_row(row: object) -> CodexAccount | None:
    """The account of a row; None where what no account can be without is missing, or is of another type."""
    if not isinstance(row, dict):
        return None
    needed = [row.get(name) for name in _TEXTS]
    if not all(isinstance(text, str) and text for text in needed):
        return None
    ident, account_id, client_id, route, access = cast("list[str]", needed)
    if route not in ("plan", "backend"):
        return None
    return CodexAccount(
        id=CredentialId(ident),
        label=_text(row, "label") or "",
        account_id=account_id,
        email=_text(row, "email") or "",
        plan=_text(row, "plan") or "",
        route=cast("Route", route),
        client_id=client_id,
        access_token=Secret(access),
        refresh_token=_secret(row, "refresh_token"),
        id_token=_secret(row, "id_token"),
        expires_at=_seconds(row, "expires_at") or 0.0,
        last_refresh_at=_seconds(row, "last_refresh_at") or 0.0,
        origin=_text(row, "origin"),
        read_only=row.get("read_only") is True,
        spending_since=_seconds(row, "spending_since"),
        dead=_text(row, "dead"),
        fedramp=row.get("fedramp") is True,
        installation_id=_text(row, "installation_id") or "",
        user_id=_text(row, "user_id") or "",
        earliest_refresh_at=_seconds(row, "earliest_refresh_at"),
        owed=_text(row, "owed"),
        added_at=_seconds(row, "added_at") or 0.0,
    )


def _revealed(secret: Secret | None) -> str | None:
    return secret.reveal() if secret is not None else None


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    return value if isinstance(value, str) and value else None


def _secret(row: Mapping[str, Any], name: str) -> Secret | None:
    text = _text(row, name)
    return Secret(text) if text is not None else None


def _seconds(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None
