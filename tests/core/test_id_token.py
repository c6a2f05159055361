"""hermes_router/core/id_token.py: whom an id token proves, and what is wrong with one."""

import json
from typing import Any

import pytest

from hermes_router.core.id_token import Faulty, check_id_token, read_keys
from hermes_router.core.ids import Secret

from ..codex.signer import jwks, sign

NOW = 1_790_000_000.0
ISSUER = "https://auth.openai.com"
GOOD = {"iss": ISSUER, "aud": "oaiapp_1", "sub": "user-1", "nonce": "n-1", "iat": NOW - 1, "exp": NOW + 3600}
KEYS = read_keys(json.dumps(jwks()).encode())


def check(token: str, **changes: Any) -> str:
    """The subject of a token."""
    wanted = {"issuer": ISSUER, "audience": "oaiapp_1", "nonce": "n-1", "now": NOW, "keys": KEYS, **changes}
    keys = wanted.pop("keys")
    return check_id_token(Secret(token), keys, **wanted)


def test_a_good_token_names_its_subject() -> None:
    """Signed by a published key, for this client and this sign-in, and alive."""
    assert check(sign(GOOD)) == "user-1"
    assert check(sign({**GOOD, "aud": ["oaiapp_1"], "iss": ISSUER + "/"})) == "user-1"
    assert check(sign({**GOOD, "aud": ["oaiapp_1", "x"], "azp": "oaiapp_1"}, kid=None)) == "user-1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"iss": "https://evil.test"}, "issued"), ({"iss": None}, "issued"), ({"aud": "other"}, "another program"),
        ({"aud": ["oaiapp_1", "x"], "azp": "x"}, "another program"), ({"aud": None}, "another program"),
        ({"nonce": "n-2"}, "another sign-in"), ({"nonce": None}, "another sign-in"), ({"nonce": 5}, "another sign-in"),
        ({"exp": None}, "how long"), ({"exp": True}, "how long"), ({"sub": ""}, "nobody"), ({"sub": 7}, "nobody"),
    ],
)  # fmt: skip
def test_a_claim_that_does_not_fit_is_named(change: dict[str, Any], said: str) -> None:
    """Each of the five claims counts by itself."""
    with pytest.raises(Faulty, match=said) as caught:
        check(sign({**GOOD, **change}))
    assert caught.value.clock_off_s is None


def test_a_signature_of_somebody_else_is_refused() -> None:
    """A changed payload, a changed signature, another algorithm, another key, and no signature at all."""
    head, claims, signature = sign(GOOD).split(".")
    other = sign({**GOOD, "sub": "admin"}).split(".")[1]
    for text in (f"{head}.{other}.{signature}", f"{head}.{claims}.{signature[:-8]}AAAAAAAA", f"{head}.{claims}."):
        with pytest.raises(Faulty, match="signature"):
            check(text)
    for alg in ("none", "HS256", "ES256"):
        with pytest.raises(Faulty, match="RS256"):
            check(sign(GOOD, alg=alg))
    with pytest.raises(Faulty, match="publish"):
        check(sign(GOOD, kid="unknown"))
    with pytest.raises(Faulty, match="publish"):
        check(sign(GOOD), keys=())


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c.d", "x" * 70_000, "\u00e9.\u00e9.\u00e9", "e30.e30.e30", "...."])
def test_what_is_no_token_is_faulty_and_nothing_else(text: str) -> None:
    """Garbage raises Faulty."""
    with pytest.raises(Faulty):
        check(text)


@pytest.mark.parametrize("day", [-1, 1])
def test_a_clock_that_is_wrong_by_a_day_is_named_as_such(day: int) -> None:
    """The token is of this moment, so what does not fit is our clock; five minutes are forgiven."""
    with pytest.raises(Faulty) as caught:
        check(sign(GOOD), now=NOW + day * 86_400)
    assert caught.value.clock_off_s == pytest.approx(day * 86_400, abs=2)
    assert check(sign(GOOD), now=NOW + 3600 + 290) == "user-1"
    assert check(sign(GOOD), now=NOW - 290) == "user-1"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"keys": 5}', b'{"keys": [5, {}]}', b"[" * 9000, json.dumps(jwks(n="AQAB")).encode(),
     json.dumps(jwks(e="AQ")).encode(), json.dumps(jwks(n="!", e=5)).encode(), json.dumps(jwks(use="enc")).encode()],
)  # fmt: skip
def test_what_holds_no_key_gives_none(body: bytes) -> None:
    """Short keys, keys for something else and garbage are passed over; nothing is raised."""
    assert read_keys(body) == ()
