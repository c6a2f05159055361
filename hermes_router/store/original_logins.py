"""The ChatGPT accounts that the original hermes-router keeps in its `auth.json`, read and left as they are.

Owns that part of the file's format, which has no id token and no route. It must never write there, and never refresh
anything: as long as that program runs, the tokens are its own.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from hermes_router.core.accounts import BACKEND_CLIENT_ID, CodexAccount, Tokens, account_of_tokens
from hermes_router.core.errors import VaultError
from hermes_router.core.ids import Secret
from hermes_router.store.cli_login import MOST_BYTES, instant, login_bytes

__all__ = ["OriginalLogin", "read_original"]

_AS_IT_IS: Final = "log in with `hr auth login codex`: that login is the router's own"


class OriginalLogin(msgspec.Struct, frozen=True):
    """One entry of the file: the account, or why it is of no use; `tail` is the end of its id."""

    tail: str
    account: CodexAccount | None = None
    fault: str = ""


def read_original(path: Path, *, now: float) -> list[OriginalLogin]:
    """The accounts in the file, in its order. Raises VaultError where it cannot be read; nothing is changed."""
    try:
        data = login_bytes(path)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise VaultError(f"{path} cannot be read: {why}", next_step="run this as the user it belongs to") from None
    if len(data) > MOST_BYTES:
        raise VaultError(f"{path} is larger than any list of accounts", next_step=_AS_IT_IS)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise VaultError(f"{path} is damaged or half written", next_step=_AS_IT_IS)
    rows = found.get("codex_accounts")
    return [_login(row, now) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _login(row: Mapping[str, Any], now: float) -> OriginalLogin:
    account_id, access, refresh = (_text(row.get(name)) for name in ("account_id", "access_token", "refresh_token"))
    tail = account_id[-4:]
    if not access or not account_id:
        return OriginalLogin(tail, fault="it has no access token" if account_id else "it names no account")
    tokens = Tokens(access_token=Secret(access), refresh_token=Secret(refresh) if refresh else None)
    at = row.get("last_refresh")
    seconds = float(at) if isinstance(at, int | float) and not isinstance(at, bool) else instant(at)
    try:
        account = account_of_tokens(
            tokens,
            now=now,
            route="backend",
            client_id=BACKEND_CLIENT_ID,
            account_id=account_id,
            last_refresh_at=seconds,
        )
    except ValueError as error:
        return OriginalLogin(tail, fault=str(error))
    return OriginalLogin(tail, account)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
