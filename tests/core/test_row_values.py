"""Readers of single values of a row."""

import pytest

from hermes_router.core import row_values as read


@pytest.mark.parametrize(
    "url", ["https://api.acme.test/v1", "http://localhost:11434/v1", "http://[::1]:8080", "http://192.168.1.5:1234/v1"]
)
def test_ordinary_base_urls_are_fine(url: str) -> None:
    """Local addresses, ports and IPv6 are base URLs."""
    assert read.base_url_fault(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "", "api.acme.test/v1", "ftp://acme.test", "https://", "https://a b.test", "https://acme.test/v1?x=1",
        "https://acme.test/#f", "https://u:hunter2@acme.test", "https://acme.test:99999", "https://acme.test:0",
        "https://acme.tést", "https://[::1", "https://acme.test\r\nX: y",
    ],
)  # fmt: skip
def test_what_is_no_base_url_is_said_without_quoting_it(url: str) -> None:
    """A fault is said in words, and never shows a password that stood in it."""
    fault = read.base_url_fault(url)
    assert fault
    assert "hunter2" not in fault


def test_where_a_list_may_lie() -> None:
    """A path after the base URL or a whole https URL, with a query; what is left of a quota, at a path or nowhere."""
    for good in ("/models", "/v1/models?limit=1000", "https://g.test/v1beta/models?pageSize=5&x=y"):
        assert read.list_url(good) == good
    for bad in ("", "models", "http://g.test/models", "https://g.test", "/a b", "//x\n", 7, "/m?x=y#z"):
        assert read.list_url(bad) is None
    assert (read.path(""), read.path("/usages")) == ("", "/usages")
    assert read.path("usages") is read.path("https://x.test/usages") is read.path("/u?x") is None


def test_whole_urls_of_a_row() -> None:
    """Where accounts log in: http for a server of one's own, never with a password or a query in it."""
    assert read.url("https://auth.acme.test/") == "https://auth.acme.test"
    assert read.url("http://127.0.0.1:9/root") == "http://127.0.0.1:9/root"
    assert read.url("https://u:p@acme.test") is read.url("/path") is read.url(5) is None


def test_booleans_are_no_numbers() -> None:
    """TOML's true is neither 1 token nor tier 1."""
    assert read.count(value=True) is None
    assert read.tier(value=True) is None
    assert read.positive(value=True) is None
    assert read.dollars(value=False) is None


def test_numbers_have_their_ranges() -> None:
    """Counts are above 0, tiers 1 to 5, seconds finite, money may be nothing."""
    assert [read.count(n) for n in (-1, 0, 1, 1.5)] == [None, None, 1, None]
    assert [read.tier(n) for n in (0, 1, 5, 6)] == [None, 1, 5, None]
    assert [read.positive(n) for n in (0, 2, 0.5, float("inf"), float("nan"))] == [None, 2.0, 0.5, None, None]
    assert [read.dollars(n) for n in (0, 0.1, -1)] == [0.0, 0.1, None]


def test_lists_hold_text_only() -> None:
    """A number or an empty text spoils a list."""
    assert read.texts(["a", "b"]) == ("a", "b")
    assert read.texts(["a", 1]) is None
    assert read.texts(["a", ""]) is None
    assert read.names(["a", "a"]) == {"a"}
    assert read.pairs({"a": 1}) is None


def test_headers_carry_no_secret_and_no_line_break() -> None:
    """Secrets have their own place, and a value stays on its line."""
    assert read.headers({"X-Title": "hermes-router"}) == {"X-Title": "hermes-router"}
    assert read.headers({"X-Api-Key": "k"}) is None
    assert read.headers({"X": "a\nb"}) is None
    assert read.headers({"a b": "c"}) is None


@pytest.mark.parametrize(
    "value",
    ["", "/models", "/key", "/v1/api-keys/self.json", "https://huggingface.co/api/whoami-v2", "https://a.test/"],
)
def test_what_proves_a_key_may_be(value: str) -> None:
    """Nothing (then a completion of one token must do), a path after the base URL, or a whole https URL."""
    assert read.key_check(value) == value


@pytest.mark.parametrize(
    "value",
    ["models", "http://a.test/key", "https://a.test", "https://u:p@a.test/key", "https://a.test:1/key", "/key?x=1", "/a b",
     "//a.test/key\n", "/k\u00e9y", "ftp://a.test/", " /key", None, 5, ["/key"], True],
)  # fmt: skip
def test_what_proves_a_key_may_not_be(value: object) -> None:
    """A key goes nowhere in clear, to no address with more in it than a host and a path."""
    assert read.key_check(value) is None


@pytest.mark.parametrize("value", ["gsk_", [""], ["gsk_", ""], ["gsk_", 5], [None], {"gsk_": 1}])
def test_beginnings_of_keys_may_not_be(value: object) -> None:
    """An empty beginning would fit every key, and warn of none."""
    assert read.texts(value) is None
