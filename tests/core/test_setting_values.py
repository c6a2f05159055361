"""Readers of variables: what they take, and that they never quote what they refuse."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core import setting_values as read
from hermes_router.core.catalog import ModelSpec, ProviderSpec, QuotaRule
from hermes_router.core.ids import ModelId, ProviderName
from hermes_router.core.observations import Unit, Window
from hermes_router.core.variables import DERIVED, GLOBALS


def _spec(*quotas: QuotaRule, model: tuple[QuotaRule, ...] = ()) -> ProviderSpec:
    models = (ModelSpec(ModelId("m"), quotas=model),)
    return ProviderSpec(
        ProviderName("acme"), "Acme", {"openai_chat": "https://a.test"}, "bearer", models, quotas=quotas
    )


@pytest.mark.parametrize(("text", "value"), [("1", True), (" TRUE ", True), ("on", True), ("No", False), ("0", False)])
def test_booleans(text: str, value: bool) -> None:
    """1, true, yes, on and their opposites, any case."""
    assert read.boolean(text) is value


def test_integers_have_bounds() -> None:
    """Whole numbers, underscores allowed, within their bounds."""
    port = read.integer(0, 65535)
    assert [port("0"), port(" 8319 "), read.integer(1)("1_000")] == [0, 8319, 1000]
    for bad in ("", "x", "-1", "65536", "1.5", "٣", "1e3"):
        with pytest.raises(ValueError, match="must be"):
            port(bad)


def test_seconds_are_finite() -> None:
    """Fractions are fine; infinity, not-a-number and negatives are not; 0 only where it means something."""
    assert read.seconds(zero=True)("0") == 0
    assert read.seconds(zero=False)("1.5") == 1.5
    for bad in ("0", "-1", "inf", "nan", "1 minute", ""):
        with pytest.raises(ValueError, match="seconds"):
            read.seconds(zero=False)(bad)


def test_dollars_become_whole_microdollars() -> None:
    """Two, a half, a sign before it, nothing at all; no more than six places, no sign of minus, no nonsense."""
    texts = ("2", " 0.50 ", "$1.25", "0", "0.000001", "1_000")
    assert [read.dollars(text) for text in texts] == [2_000_000, 500_000, 1_250_000, 0, 1, 1_000_000_000]
    for bad in ("", "-1", "0.0000001", "two", "nan", "inf", "1e30", "2 USD", "1,5"):
        with pytest.raises(ValueError, match="US dollars such as 2"):
            read.dollars(bad)


def test_hosts_to_listen_on() -> None:
    """Addresses and names; half an address is neither."""
    assert [read.host(t) for t in ("0.0.0.0", "[::]", "localhost", "box.lan")] == [
        "0.0.0.0",
        "::",
        "localhost",
        "box.lan",
    ]
    for bad in ("1.2.3", "256.1.1.1", "a b", "http://x", "-x", "a/b"):
        with pytest.raises(ValueError, match="address"):
            read.host(bad)


def test_lists() -> None:
    """Blanks and empty items do not count, the first of equal ones stays."""
    assert read.listed(" a, b ,,a ,") == ("a", "b")
    assert read.listed("") == ()
    assert read.models("") == ()


def test_origins_are_named_one_by_one() -> None:
    """A wildcard or a path is no origin."""
    assert read.origins("https://App.test:3000/, vscode-webview://abc") == {
        "https://app.test:3000",
        "vscode-webview://abc",
    }
    for bad in ("*", "https://*.test", "app.test", "https://a.test/path"):
        with pytest.raises(ValueError, match="origins"):
            read.origins(bad)


def test_allowed_hosts() -> None:
    """Names as they stand in a Host header, with or without a port."""
    assert read.hosts("Box.lan, 10.0.0.5:8319,[::1]:8319") == {"box.lan", "10.0.0.5:8319", "[::1]:8319"}
    with pytest.raises(ValueError, match="host names"):
        read.hosts("http://box")


def test_a_pasted_endpoint_becomes_a_base_url() -> None:
    """A closing slash and a pasted path are taken off; empty means the row's own."""
    assert read.base_url("https://a.test/v1/chat/completions") == "https://a.test/v1"
    assert read.base_url(" https://a.test/v1// ") == "https://a.test/v1"
    assert read.base_url("  ") is None
    with pytest.raises(ValueError, match="not an http"):
        read.base_url("a.test/v1")


def test_proxies_may_carry_a_password_and_lack_a_scheme() -> None:
    """What curl takes, we take; an error does not show the password."""
    assert read.proxy_url("http://u:p@proxy.test:3128") == "http://u:p@proxy.test:3128"
    assert read.proxy_url("proxy.test:3128") == "http://proxy.test:3128"
    with pytest.raises(ValueError, match="http proxy") as caught:
        read.proxy_url("socks5://u:hunter2@proxy.test")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("sk-é", "ASCII"),
        ("sk-\u200b1", "ASCII"),
        ("sk-\x07", "control"),
        ("sk 1", "spaces"),
        ('"sk-1"', "quotation"),
        ("GROQ_API_KEY=gsk_1", "NAME=value"),
        ('export HF_TOKEN="hf_1"', "NAME=value"),
        ("A_KEY_2= x", "NAME=value"),
    ],
)
def test_bad_keys_are_described_and_not_shown(key: str, word: str) -> None:
    """Non-ASCII, control characters, spaces inside and left-over quotes are refused in words."""
    fault = read.key_fault(key)
    assert fault is not None
    assert word in fault
    assert key not in fault


def test_router_keys_are_wrapped_at_once() -> None:
    """The list becomes secrets; an empty one is a list of none, and no key is shown in an error."""
    assert repr(read.router_keys("a1, b2")) == "(***, ***)"
    for empty in ("", " , "):
        assert read.router_keys(empty) == ()
    for bad in ("a b", "schlüssel-geheim"):
        with pytest.raises(ValueError, match=r"key|empty") as caught:
            read.router_keys(bad)
        assert "geheim" not in str(caught.value)


def test_limits_of_the_owner() -> None:
    """`off` is no limit at all; a list gives rules whose origin is the owner, money in micro-dollars."""
    assert read.limits("off", _spec()) == ()
    rules = read.limits("rpm=30, RPD=1000,tpm=6_000,tpd=200000,concurrency=2,usd_day=0.5", _spec())
    assert [(r.unit, r.amount, r.window) for r in rules] == [
        (Unit.REQUESTS, 30, Window.MINUTE),
        (Unit.REQUESTS, 1000, Window.DAY),
        (Unit.TOKENS, 6000, Window.MINUTE),
        (Unit.TOKENS, 200_000, Window.DAY),
        (Unit.CONCURRENCY, 2, Window.NONE),
        (Unit.MICROUSD, 500_000, Window.DAY),
    ]
    assert {r.origin for r in rules} == {"owner"}
    assert (rules[-1].scope, rules[-1].resets) == ("provider", "utc")


def test_the_owner_changes_the_amount_and_not_the_clock() -> None:
    """Scope and reset clock are those of the published rule that is replaced, on the row or on a model."""
    pacific = QuotaRule(Unit.REQUESTS, 20, Window.DAY, "account_model", "America/Los_Angeles")
    [rule] = read.limits("rpd=1000", _spec(model=(pacific,)))
    assert (rule.amount, rule.scope, rule.resets) == (1000, "account_model", "America/Los_Angeles")
    [rule] = read.limits("tpd=5", _spec(pacific))
    assert (rule.scope, rule.resets) == ("account_model", "America/Los_Angeles")


@pytest.mark.parametrize(
    "text",
    ["", "rpm", "rpm=", "rpm=0", "rpm=-1", "rpm=1.5", "rpm=x", "rph=3", "rpm=1,rpm=2", "usd_day=nan", "tpd=1e30"],
)
def test_malformed_limits(text: str) -> None:
    """A limit that is none is refused."""
    with pytest.raises(ValueError, match=r"must be|twice"):
        read.limits(text, _spec())


@pytest.mark.parametrize("reader", [v.read for v in (*GLOBALS, *DERIVED)])
@given(text=st.text(max_size=30))
def test_readers_raise_value_errors_only(reader: Callable[[str], object], text: str) -> None:
    """Whatever text stands in a variable, its reader gives a value or a ValueError."""
    try:
        value = reader(text)
    except ValueError:
        return
    assert not (isinstance(value, float) and not math.isfinite(value))
