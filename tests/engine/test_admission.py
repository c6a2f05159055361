"""Who may ask: router keys in either header, compared as digests."""

import pytest

from hermes_router.core.errors import Unauthorized
from hermes_router.core.ids import Secret
from hermes_router.core.settings import Settings
from hermes_router.engine.admission import Admission, Caller

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
