"""hermes_router/core/token_life.py: when tokens are due, which are newer, how an account stands."""

import pytest
from msgspec.structs import replace

from hermes_router.core.accounts import BACKEND_CLIENT_ID, CodexAccount, Tokens, account_of_tokens, fingerprint
from hermes_router.core.ids import Secret
from hermes_router.core.token_life import NEVER, adopted, due_at, newer, standing

from ..codex.auth_server import DAY_S, jwt

NOW = 1_790_000_000.0


def account(life_s: float = 10 * DAY_S, *, at: float = NOW, refresh: str | None = "r1", **more: object) -> CodexAccount:
    tokens = Tokens(Secret(jwt(iat=at, exp=at + life_s)), Secret(refresh) if refresh else None)
    found = account_of_tokens(tokens, now=at, route="backend", client_id=BACKEND_CLIENT_ID, account_id="a")
    return replace(found, **more)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_a_long_life_is_renewed_about_a_day_ahead(jitter: float) -> None:
    """24 h to 26.4 h before the end: long before the CLI, which waits until five minutes before (facts/codex.md 4)."""
    due = due_at(account(), jitter)
    assert NOW + 10 * DAY_S - 1.1 * DAY_S <= due <= NOW + 9 * DAY_S


def test_an_hours_life_is_renewed_at_four_fifths() -> None:
    """The plan route's hour, not before `earliest_refresh_at`, and never after the end for its sake."""
    hour = account(3_600)
    assert due_at(hour, 0.0) == NOW + 2_880
    assert due_at(replace(hour, earliest_refresh_at=NOW + 3_000), 0.5) == NOW + 3_000
    assert due_at(replace(hour, earliest_refresh_at=NOW + 9_000), 0.0) == NOW + 2_880


def test_what_may_be_spent_is_tried_only_near_the_end() -> None:
    """A mark without an answer: an hour before the end of ten days, six minutes before that of an hour."""
    assert due_at(account(spending_since=NOW), 0.0) == NOW + 10 * DAY_S - 3_600
    assert due_at(account(3_600, spending_since=NOW), 0.0) == NOW + 3_240


def test_who_is_never_renewed() -> None:
    """Borrowed, dead, without a refresh token; a life that nobody tells is taken for seven days."""
    for more in ({"read_only": True}, {"dead": "refresh_token_expired"}, {"refresh_token": None}):
        assert due_at(account(**more), 0.0) == NEVER
    assert due_at(account(expires_at=0.0), 0.0) == NOW + 7 * DAY_S


def test_the_newer_tokens_are_those_issued_later() -> None:
    """By the issuer's own clock, whatever the machines' said; what was spent for ours is never newer."""
    old, new = account(), account(at=NOW + 60, refresh="r2")
    assert newer(new, old)
    assert not newer(old, new)
    assert not newer(old, old)
    assert not newer(new, replace(old, owed=fingerprint(new.refresh_token)))
    blind = replace(old, access_token=Secret("opaque"), refresh_token=Secret("r3"), last_refresh_at=NOW + 1)
    assert newer(blind, old)


def test_adopting_keeps_what_the_owner_said() -> None:
    """Tokens and their verdicts are theirs, everything else is ours; a borrowed login brings no refresh token."""
    ours = account(label="work", origin="/x/auth.json", dead="gone", spending_since=NOW, added_at=5.0)
    taken = adopted(account(at=NOW + 60, refresh="r2"), ours)
    assert (taken.id, taken.label, taken.origin, taken.added_at) == (ours.id, "work", "/x/auth.json", 5.0)
    assert (taken.dead, taken.spending_since) == (None, None)
    assert taken.refresh_token == Secret("r2")
    assert adopted(account(refresh="r2"), replace(ours, read_only=True)).refresh_token is None


@pytest.mark.parametrize(
    ("more", "late", "word"),
    [
        ({}, False, "ready"),
        ({}, True, "expired"),
        ({"dead": "refresh_token_reused"}, False, "ending"),
        ({"dead": "refresh_token_reused"}, True, "revoked"),
        ({"read_only": True}, False, "ready"),
        ({"read_only": True}, True, "expired"),
        ({"refresh_token": None}, True, "revoked"),
        ({"spending_since": NOW}, False, "ready"),
    ],
)
def test_how_an_account_stands(more: dict[str, object], late: bool, word: str) -> None:
    """One word, and what to do where there is something to do."""
    found, said = standing(account(**more), NOW + (11 * DAY_S if late else 1))
    assert found == word
    assert bool(said) == (bool(more) or late)
    if word == "revoked":
        assert "log in again" in said
