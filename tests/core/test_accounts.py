"""hermes_router/core/accounts.py: who an account is, what its tokens say, and what a renewal changes."""

import pytest

from hermes_router.core.accounts import (
    BACKEND_CLIENT_ID,
    CodexAccount,
    Tokens,
    account_ident,
    account_of_tokens,
    fingerprint,
    read_claims,
)
from hermes_router.core.ids import Secret

from ..codex.auth_server import jwt

AUTH = "https://api.openai.com/auth"
NOW = 1_790_000_000.0


def made(**more: object) -> CodexAccount:
    access = Secret(jwt(iat=NOW, exp=NOW + 100, **{AUTH: {"chatgpt_account_id": "acc-1", "chatgpt_user_id": "u"}}))
    return account_of_tokens(
        Tokens(access, Secret("refresh-1")), now=NOW, route="backend", client_id=BACKEND_CLIENT_ID, **more
    )


def test_claims_are_read_where_they_are() -> None:
    """Account, user, plan, address and times of both tokens (facts/codex.md 2); the profile's address counts, too."""
    claims = read_claims(
        Secret(
            jwt(
                exp=NOW,
                iat=NOW - 10,
                **{
                    AUTH: {
                        "chatgpt_account_id": "acc-1",
                        "user_id": "u-1",
                        "chatgpt_plan_type": "promax",
                        "chatgpt_account_is_fedramp": True,
                    },
                    "https://api.openai.com/profile": {"email": "a@b.example"},
                },
            )
        )
    )
    assert (claims.account_id, claims.user_id, claims.plan, claims.email) == ("acc-1", "u-1", "promax", "a@b.example")
    assert claims.fedramp
    assert (claims.issued_at, claims.expires_at) == (NOW - 10, NOW)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "at-personal",
        "a.b",
        "a.!!.c",
        "a.e30=.c",
        "a.bnVsbA.c",
        f"a.{'e' * 70_000}.c",
        jwt(exp="soon"),
        jwt(exp=1e400),
    ],
)
def test_what_is_no_token_says_nothing(token: str) -> None:
    """Whatever stands there, nothing is raised and nothing is believed."""
    claims = read_claims(Secret(token))
    assert claims.account_id == ""
    assert claims.expires_at is None
    assert read_claims(None) == claims


def test_an_account_is_the_same_whatever_its_tokens() -> None:
    """The identity comes of account, user and route; the pool is one for both routes, or what the owner calls it."""
    first = made()
    second = first.renewed(Tokens(Secret(jwt(exp=NOW + 500)), Secret("refresh-2")), NOW + 5)
    assert second.id == first.id == account_ident("acc-1", "u", "backend")
    assert account_ident("acc-1", "u", "plan") != first.id
    assert second.pool == first.pool
    assert made(label="work").pool == "codex:work"


def test_a_life_is_counted_from_the_answer() -> None:
    """`expires_in`, else the token's own length, from now on this machine's clock: an issuer a day off changes nothing."""
    account = made()
    assert account.renewed(Tokens(expires_in_s=60.0), NOW + 1_000).expires_at == NOW + 1_060
    far = Secret(jwt(iat=NOW + 86_400, exp=NOW + 86_400 + 3_600))
    assert account.renewed(Tokens(far), NOW).expires_at == NOW + 3_600
    assert made(last_refresh_at=5.0).expires_at == NOW + 100  # tokens of another day: what they say themselves


def test_what_an_answer_leaves_out_stays() -> None:
    """Each token is optional (facts/codex.md 3); the verdict on the old refresh token ends."""
    account = made()
    after = account.renewed(Tokens(access_token=Secret("opaque")), NOW)
    assert after.refresh_token == Secret("refresh-1")
    assert after.expires_at == 0.0
    assert not after.expired(NOW + 1e9)
    assert (after.dead, after.spending_since) == (None, None)


def test_a_login_without_an_account_is_none() -> None:
    """No account id, no request without it (facts/codex.md 2)."""
    with pytest.raises(ValueError, match="no account"):
        account_of_tokens(Tokens(Secret("x")), now=NOW, route="plan", client_id="c")
    with pytest.raises(ValueError, match="no access token"):
        account_of_tokens(Tokens(), now=NOW, route="plan", client_id="c", account_id="a")


def test_no_text_of_an_account_shows_a_token() -> None:
    """repr and str hide all three."""
    shown = f"{made()!r} {made()} {Tokens(Secret('tok-1'), Secret('tok-2'), Secret('tok-3'))!r}"
    assert "refresh-1" not in shown
    assert "tok-" not in shown
    assert "eyJ" not in shown


def test_a_fingerprint_tells_tokens_apart_and_nothing_else() -> None:
    """Equal for equal tokens, empty for none."""
    assert fingerprint(Secret("abc")) == fingerprint(Secret("abc")) != fingerprint(Secret("abd"))
    assert fingerprint(None) == ""
    assert made().same_login("acc-1", "")
    assert not made().same_login("acc-1", "other")
    assert not made().same_login("acc-2", "u")
