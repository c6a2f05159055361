"""Identities and secrets: one string form each, and no way for a secret to slip out."""

import copy
import json
import pickle

import pytest

from hermes_router.core.ids import CredentialId, ModelId, ProviderName, Secret, Target, scrubber

KEY = b"k" * 32


def test_a_secret_shows_itself_nowhere() -> None:
    """repr, str, format, JSON and pickle give nothing away; only reveal() does."""
    secret = Secret("gsk_hunter2hunter2")
    assert [repr(secret), str(secret), f"{secret:>30}", f"{[secret]}"] == ["***", "***", "***", "[***]"]
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)
    assert secret.reveal() == "gsk_hunter2hunter2"


def test_equal_secrets_are_equal() -> None:
    """They can be compared and kept in sets without being shown."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_digest_depends_on_key_context_and_secret() -> None:
    """The same three give the same 16 hex characters; the border between context and secret cannot be moved."""
    digest = Secret("bc").digest(KEY, "a")
    assert digest == Secret("bc").digest(KEY, "a")
    assert len(digest) == 16
    others = [Secret("bc").digest(b"x" * 32, "a"), Secret("bc").digest(KEY, "b"), Secret("c").digest(KEY, "ab")]
    assert digest not in others


@pytest.mark.parametrize(("secret", "tail"), [("gsk_12345678", "5678"), ("12345678901", "****"), ("", "****")])
def test_the_tail_is_the_last_four_of_a_long_secret(secret: str, tail: str) -> None:
    """Four of a few characters would be most of the secret."""
    assert Secret(secret).tail == tail


def test_a_target_has_one_string_form() -> None:
    """It prints as provider/model#cred, and two credentials with the same first four characters stay two targets."""
    one = Target(ProviderName("groq"), ModelId("a/b"), CredentialId("2f9a111111111111"))
    two = Target(ProviderName("groq"), ModelId("a/b"), CredentialId("2f9a222222222222"))
    assert str(one) == "groq/a/b#2f9a"
    assert one.name == "groq/a/b"
    assert one != two
    assert len({one, two}) == 2


def test_ll13_known_secrets_are_replaced_in_any_text() -> None:
    """The longer one first where one holds another; short ones are words and stay; none known, nothing changes."""
    scrub = scrubber([Secret("sk-12345678"), Secret("sk-12345678-long"), Secret("short"), Secret("a.b*c(d+")])
    assert scrub("Bearer sk-12345678-long, sk-12345678, short, a.b*c(d+!") == "Bearer ***, ***, short, ***!"
    assert scrubber([])("sk-12345678") == "sk-12345678"
