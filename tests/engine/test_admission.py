"""Who may ask: router keys in either header, compared as digests."""

from typing import Any

import pytest

from hermes_router.core.errors import Unauthorized
from hermes_router.core.ids import RouterKeyId, Secret
from hermes_router.core.router_keys import RouterKey, digest_of
from hermes_router.core.settings import Settings
from hermes_router.engine import admission as admission_module
from hermes_router.engine.admission import Admission, Caller, keys_in_force

KEYS = Settings(proxy_api_keys=(Secret("sk-one-123456"), Secret("sk-zwei-äöü")), min_tier=3)


def admit(**headers: str) -> Caller:
    return Admission(KEYS).admit({name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sk-one-123456"},
        {"authorization": "bearer   sk-one-123456 "},
        {"authorization": "sk-one-123456"},
        {"x_api_key": "sk-one-123456"},
        {"authorization": "Bearer placeholder", "x_api_key": "sk-one-123456"},
        {"authorization": "Basic abc", "x_api_key": " sk-one-123456"},
        {"authorization": "Bearer ", "x_api_key": "sk-one-123456"},
        {"authorization": "Bearer sk-one-123456", "x_api_key": "placeholder"},
    ],
)
def test_a_good_key_in_either_header_is_admitted(headers: dict[str, str]) -> None:
    """Bearer or x-api-key on everything (contract: Key); a placeholder in the other one does no harm."""
    caller = admit(**headers)
    assert caller == admit(authorization="Bearer sk-one-123456")
    assert caller.min_tier == 3
    assert caller.providers is None


def test_each_key_has_an_identity_that_tells_nothing() -> None:
    """Two keys are two callers; the id holds no part of the key."""
    one, two = admit(x_api_key="sk-one-123456"), admit(x_api_key="sk-zwei-äöü")
    assert one.key != two.key
    assert len(one.key) == 12
    assert "sk" not in one.key


@pytest.mark.parametrize("headers", [{}, {"authorization": ""}, {"authorization": "Bearer"}, {"x_api_key": " "}])
def test_no_key_is_told_how_to_send_one(headers: dict[str, str]) -> None:
    """401 in the dialect, with what to do; the SDKs do not retry it."""
    with pytest.raises(Unauthorized) as caught:
        admit(**headers)
    assert (caught.value.status, caught.value.code, caught.value.should_retry) == (401, "invalid_api_key", False)


@pytest.mark.parametrize("key", ["sk-one-12345", "sk-one-1234567", "SK-ONE-123456", "\udcff\udc80", "é", "x" * 10_000])
def test_a_wrong_key_is_refused_and_not_repeated(key: str) -> None:
    """Other bytes, bytes that are no UTF-8 too: 401, and the answer does not quote them."""
    for headers in ({"authorization": f"Bearer {key}"}, {"x_api_key": key}):
        with pytest.raises(Unauthorized) as caught:
            admit(**headers)
        assert key not in caught.value.message
        assert "not known" in caught.value.message


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Bearer placeholder", "Basic abc"])
def test_what_stood_beside_a_good_key_is_none(authorization: str) -> None:
    """A key that is remembered as good is remembered by itself alone."""
    admission = Admission(KEYS)
    good = {"x-api-key": "sk-one-123456"}
    assert admission.admit({"authorization": authorization, **good}) == admission.admit(good)
    with pytest.raises(Unauthorized):
        admission.admit({"authorization": authorization})


def test_a_good_key_is_digested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same header is the same caller, without a second digest; what is remembered is bounded."""
    admission = Admission(KEYS)
    spelled = [{"authorization": "Bearer" + " " * n + "sk-one-123456"} for n in range(1, 200)]
    first, *_ = [admission.admit(headers) for headers in spelled]
    assert len(admission._known) <= 64
    monkeypatch.setattr(admission_module, "digest_of", lambda key: pytest.fail("digested again"))
    assert admission.admit(spelled[0]) is first
    with pytest.raises(pytest.fail.Exception):
        admission.admit({"authorization": "Bearer sk-one-1234567"})


# --- stored keys ----------------------------------------------------------------------------------------------


def stored(key: str, **limits: Any) -> RouterKey:
    """A key as `hr key add` keeps it."""
    digest = digest_of(key)
    return RouterKey(RouterKeyId(digest[:12]), "agent", digest, key[-4:], **limits)


def let_in(settings: Settings, *keys: RouterKey, sent: str) -> Caller:
    return Admission(settings, keys).admit({"authorization": f"Bearer {sent}"})


def test_a_stored_key_brings_its_scope_and_its_limits() -> None:
    """What `hr key add` was told is what its caller gets."""
    key = stored("sk-hr-abc", providers=frozenset({"groq"}), rpm=5, concurrency=2, patience_s=0.0, min_tier=4)
    caller = let_in(KEYS, key, sent="sk-hr-abc")
    assert caller == Caller(key.id, frozenset({"groq"}), 4, 0.0, 5, 2)


@pytest.mark.parametrize(("own", "everybody", "counts"), [(None, 3, 3), (2, 3, 3), (5, 3, 5), (None, 1, 1)])
def test_the_higher_least_tier_counts(own: int | None, everybody: int, counts: int) -> None:
    """A key may ask for more than MIN_TIER, never for less."""
    assert let_in(Settings(min_tier=everybody), stored("sk-hr-abc", min_tier=own), sent="sk-hr-abc").min_tier == counts


def test_proxy_api_keys_go_on_working_beside_stored_ones() -> None:
    """Also the default key, on loopback: a key for somebody else locks nobody out."""
    key = stored("sk-hr-abc")
    assert let_in(KEYS, key, sent="sk-one-123456") == admit(x_api_key="sk-one-123456")
    assert let_in(Settings(), key, sent="sk-router-1").rpm is None
    with pytest.raises(Unauthorized):
        let_in(KEYS, key, sent="sk-router-1")


def test_a_key_in_both_places_keeps_its_limits() -> None:
    """Naming a limited key in PROXY_API_KEYS too does not free it."""
    both = Settings(proxy_api_keys=(Secret("sk-hr-abc"),), default_key=False)
    assert let_in(both, stored("sk-hr-abc", rpm=5), sent="sk-hr-abc").rpm == 5
    assert len(Admission(both, [stored("sk-hr-abc")]).keys) == 1


def test_without_its_row_a_key_is_unknown() -> None:
    """A stored key that could not be read is a key that nobody knows: never an open door."""
    with pytest.raises(Unauthorized):
        let_in(KEYS, sent="sk-hr-abc")
    with pytest.raises(Unauthorized):
        let_in(Settings(proxy_api_keys=()), sent="sk-router-1")


def test_the_keys_in_force_name_their_source_and_hold_no_key() -> None:
    """For `hr key list`: place and last characters of each, the identity that its counters go by, no secret."""
    settings = Settings(proxy_api_keys=KEYS.proxy_api_keys, sources={"PROXY_API_KEYS": "/x/.env:3"})
    one, two, kept = keys_in_force(settings, [stored("sk-hr-abcdefgh")])
    assert [(k.name, k.source, k.tail) for k in (one, two)] == [
        ("PROXY_API_KEYS 1", "/x/.env:3", "3456"),
        ("PROXY_API_KEYS 2", "/x/.env:3", "****"),
    ]
    assert one.id == admit(x_api_key="sk-one-123456").key
    assert kept.source == "stored"
    assert "sk-one" not in repr(one)
