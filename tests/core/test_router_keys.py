"""What a router key is kept and compared as."""

import hashlib

import pytest

from hermes_router.core.router_keys import digest_of


def test_a_key_is_compared_as_its_sha256() -> None:
    """64 hex characters of the key's UTF-8, the same each time: stored digests stay good from version to version."""
    assert digest_of("sk-hr-é") == hashlib.sha256("sk-hr-é".encode()).hexdigest()
    assert len(digest_of("")) == 64


@pytest.mark.parametrize("key", ["\udcff\udc80", "a\udc00", "\ud800"])
def test_bytes_that_are_no_utf8_are_a_digest_like_any_other(key: str) -> None:
    """A header may hold any bytes: they are no key of ours, and no crash either."""
    assert digest_of(key) != digest_of(key.encode(errors="replace").decode())
