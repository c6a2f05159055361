"""Secrets of a set-up as they leave for another machine, and as they come from one: the one form that a bundle has.

Owns the revealing: who asks for it must be the owner, over the control socket, with `--with-secrets`. It must never
write a file, nor be used for anything that is shown.
"""

from typing import Any

from msgspec.structs import replace

from hermes_router.core.accounts import CodexAccount
from hermes_router.core.ids import Secret
from hermes_router.store.token_rows import account_of_row, row_of_account

__all__ = ["account_from", "account_to_carry", "text_to_carry"]

# What belongs to the machine that it is on: the official CLI's file there, and a renewal that was under way.
_BOUND: Any = {"origin": None, "owed": None, "spending_since": None}


def text_to_carry(secret: Secret) -> str:
    """The secret itself."""
    return secret.reveal()


def account_to_carry(account: CodexAccount) -> dict[str, Any]:
    """A login with its tokens, without what ties it to this machine."""
    return row_of_account(replace(account, **_BOUND))


def account_from(row: object) -> CodexAccount | None:
    """The login of such a row; None where it is none."""
    account = account_of_row(row)
    return None if account is None else replace(account, **_BOUND)
