"""hermes_router/conformance/endpoint.py: base URLs, what is recorded of a request, and what ends one."""

import pytest

from hermes_router.conformance.answer import Unsure
from hermes_router.conformance.endpoint import Asker, Endpoint, Heard, Sent, Unreachable, base_of

from .peer import KEY, Peer


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://localhost:8319", "http://localhost:8319/v1"),
        ("localhost:8319/", "http://localhost:8319/v1"),
        ("http://localhost:8319/v1/", "http://localhost:8319/v1"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1"),
        ("http://[::1]:8080", "http://[::1]:8080/v1"),
    ],
)
def test_a_url_is_the_base_that_a_client_is_given(url: str, base: str) -> None:
    """Without a path it gets `/v1`, else it is taken at its word."""
    assert base_of(url) == base


@pytest.mark.parametrize(
    "url", ["ftp://host", "http://", "http://user:sk-1@host", "http://host/v1?key=1", "http://host#x"]
)
def test_what_is_no_base_is_refused(url: str) -> None:
    """Another scheme, no host, a key within, a query: said, and the key is not repeated."""
    with pytest.raises(ValueError, match=r"http|key|path") as told:
        base_of(url)
    assert "sk-1" not in str(told.value)


def test_a_request_can_be_made_again_without_its_key() -> None:
    """The command holds method, address, headers and body, quoted for a shell, and the key's variable."""
    sent = Sent("POST", "http://x/v1/y", {"content-type": "application/json"}, '{"a": "it\'s"}', "authorization")
    assert sent.curl() == (
        "curl -sS 'http://x/v1/y' -H 'content-type: application/json' "
        '-H "authorization: Bearer $HERMES_ROUTER_KEY" -d \'{"a": "it\'\\\'\'s"}\''
    )
    assert Sent("GET", "http://x", {}).curl() == "curl -sS -X GET 'http://x'"


async def test_the_key_is_sent_and_not_recorded() -> None:
    """It is in the headers that go out, in those of either dialect, and nowhere in the record."""
    async with Peer() as peer, Endpoint(peer.url, KEY) as endpoint:
        for headers in ({"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}):
            asker = Asker(endpoint)
            assert (await asker.get("/models", headers)).status == 200
            assert KEY not in repr(asker.last)
            await asker.send("GET", "/models", headers, key="other")
            assert "other'" in asker.last.curl()  # no secret: what has to be sent to see the same
        shown = [seen.get("authorization") or seen.get("x-api-key") for seen in peer.seen_headers]
    assert shown == [f"Bearer {KEY}", "Bearer other", KEY, "other"]
    assert KEY not in repr(endpoint)


async def test_an_answer_that_does_not_come_is_unsure() -> None:
    """After its time; and a server that went away is said as such."""
    async with Peer() as peer, Endpoint(peer.url, KEY, timeout_s=1e-9) as endpoint:
        with pytest.raises(Unsure, match="no whole answer within"):
            await Asker(endpoint).get("/models", {})
    async with Endpoint(peer.url, KEY) as endpoint:
        with pytest.raises(Unreachable):
            await Asker(endpoint).get("/models", {})


def test_warnings_are_found_in_any_header_of_that_name() -> None:
    """What an endpoint says in a header whose name speaks of warnings."""
    assert Heard(200, {"x-hermes-warnings": "dropped:seed", "server": "x"}, b"").warnings() == "dropped:seed"
