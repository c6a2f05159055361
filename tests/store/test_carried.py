"""hermes_router/store/carried.py: secrets as they leave for another machine, and as they come."""

import json

from msgspec.structs import replace

from hermes_router.core.accounts import CodexAccount
from hermes_router.core.ids import CredentialId, Secret
from hermes_router.store.carried import account_from, account_to_carry, text_to_carry

ACCOUNT = CodexAccount(
    id=CredentialId("a1"),
    label="work",
    account_id="acc-1",
    email="owner@example.com",
    plan="plus",
    route="backend",
    client_id="app",
    access_token=Secret("access-canary"),
    refresh_token=Secret("refresh-canary"),
    origin="/home/ada/.codex/auth.json",
    owed="f1",
    spending_since=5.0,
    expires_at=9.0,
)


def test_a_login_goes_whole_but_for_what_ties_it_here() -> None:
    """The tokens and the label arrive; the official CLI's file and a renewal under way are this machine's."""
    row = json.loads(json.dumps(account_to_carry(ACCOUNT)))
    assert row["refresh_token"] == "refresh-canary"
    assert account_from(row) == replace(ACCOUNT, origin=None, owed=None, spending_since=None)


def test_what_is_no_login_is_none() -> None:
    """A row that somebody wrote, or cut."""
    assert account_from({"id": "a1"}) is None
    assert account_from(None) is None


def test_a_key_leaves_as_it_is() -> None:
    """That is what it is for."""
    assert text_to_carry(Secret("gsk-canary")) == "gsk-canary"
