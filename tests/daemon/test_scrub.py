"""hermes_router/daemon/scrub.py: what providers say, without our secrets."""

import json
from pathlib import Path

import pytest

from hermes_router.control.places import Places
from hermes_router.core.errors import UpstreamError
from hermes_router.core.ids import Secret
from hermes_router.daemon.config import load
from hermes_router.daemon.scrub import Scrub, secrets_of
from hermes_router.wire.rejection import judge

KEY = "canary-0123456789-abcdef"


def _classified(body: bytes) -> UpstreamError:
    return Scrub([Secret(KEY)]).classify(judge.classify)("generic", 400, {}, body, 1.0)


@pytest.mark.parametrize("before", [0, 190, 280, 295, 299, 400])
def test_ll13_no_part_of_a_key_survives_a_cut(before: int) -> None:
    """An excerpt has at most 300 characters; wherever the key lies in the body, no part of it is left."""
    body = json.dumps({"error": {"message": "x" * before + KEY + " is bad"}}).encode()
    assert "canary" not in _classified(body).excerpt
    assert "cana" not in str(_classified(body))


def test_a_body_that_is_no_text_is_left_as_it_is() -> None:
    """Bytes that are not UTF-8 pass through unchanged to the classifier."""
    seen = []
    inner = Scrub([Secret(KEY)]).classify(lambda *args: seen.append(args) or UpstreamError())
    inner("generic", 500, {"a": "b"}, b"\xff\xfe" + KEY.encode() + b"\x80", 2.0)
    assert seen == [("generic", 500, {"a": "b"}, b"\xff\xfe***\x80", 2.0)]


def test_ll13_error_objects_are_cleaned_at_any_depth() -> None:
    """The error inside a stream is a tree; numbers and null stay what they are."""
    seen = []
    inner = Scrub([Secret(KEY)]).in_band(lambda _family, error, _now: seen.append(error) or UpstreamError())
    inner("generic", {"error": {"message": f"a {KEY}", "code": 400, "more": [KEY, None, {"k": KEY}]}}, 1.0)
    inner("generic", KEY, 1.0)
    inner("generic", KEY.encode(), 1.0)
    assert seen == [{"error": {"message": "a ***", "code": 400, "more": ["***", None, {"k": "***"}]}}, "***", b"***"]


def test_every_secret_of_a_configuration_is_known(tmp_path: Path) -> None:
    """Providers' keys, router keys, and passwords inside the URLs of proxies and providers."""
    places = Places(tmp_path, tmp_path, tmp_path, tmp_path / ".env", tmp_path / "s")
    loaded = load(
        places,
        {
            "GROQ_API_KEYS": "groq-canary-1,groq-canary-2",
            "PROXY_API_KEYS": "router-canary",
            "HTTPS_PROXY": "http://me:proxy%40canary@127.0.0.1:1",
            "MISTRAL_BASE_URL": "https://me:url-canary@127.0.0.1:1/v1",
        },
    )
    found = {secret.reveal() for secret in secrets_of(loaded)}
    assert {"groq-canary-1", "groq-canary-2", "router-canary", "proxy%40canary", "proxy@canary"} <= found
    assert "url-canary" in found or loaded.problems  # a base URL with a password may be refused instead
