"""Each provider's 429 has that provider's shape, and real counters drive it."""

import json
import math

import pytest

from hermes_router.sandbox import limits
from hermes_router.sandbox.providers import FakeProvider, Granted, Refused
from hermes_router.sandbox.quotas import Gauge, Quotas
from hermes_router.sandbox.values import Hit

from .conftest import CHATS

T = 1_790_000_000.0


def hit(window="rpm", wait_s=20.0):
    """A used-up quota of thirty."""
    return Hit(window, 30, 30, 1, wait_s, T, "m")


@pytest.mark.parametrize(("seconds", "text"), [
    (179.56, "2m59.56s"), (7.66, "7.66s"), (0.12, "120ms"), (3723, "1h2m3s"), (60, "1m0s"),
])  # fmt: skip
def test_go_durations(seconds, text) -> None:
    """Durations are written as Go writes them."""
    assert limits.go_duration(seconds) == text


def test_gemini_tells_a_short_delay_even_for_a_day() -> None:
    """The list of one, the quotaId of the window, and the trap: seconds in retryDelay for a day's quota."""
    (wrapped,) = limits.gemini(hit("rpd", 50_000.0)).body
    failure, retry = wrapped["error"]["details"][1:]
    assert "PerDay" in failure["violations"][0]["quotaId"]
    assert retry["retryDelay"] == "36.4s"
    assert "PerMinute" in json.dumps(limits.gemini(hit("tpm")).body)


def test_or5_openrouter_tells_epoch_milliseconds_in_the_body() -> None:
    """No Retry-After: strings in metadata.headers."""
    refusal = limits.openrouter(hit("rpd", 100.0))
    assert refusal.headers == {}
    assert refusal.body["error"]["metadata"]["headers"]["X-RateLimit-Reset"] == str(int((T + 100) * 1000))
    assert "free-models-per-day" in refusal.body["error"]["message"]


def test_groq_names_the_window_and_refuses_what_never_fits() -> None:
    """(TPD) in the text with Retry-After; a request above TPM is a 413."""
    refusal = limits.groq(hit("tpd", 290.1))
    assert "(TPD)" in refusal.body["error"]["message"]
    assert "try again in 4m50.1s" in refusal.body["error"]["message"]
    assert refusal.headers == {"retry-after": "291"}
    assert limits.groq(hit("tpm", math.inf)).status == 413


def test_the_terse_ones() -> None:
    """Cerebras flat, Mistral 1300, Cohere by text, Z.ai numbered, NVIDIA nearly mute, Kimi by text."""
    assert limits.cerebras(hit("tpm")).body["code"] == "token_quota_exceeded"
    assert limits.mistral(hit()).body["code"] == "1300"
    assert "API calls / month" in limits.cohere(hit("month")).body["message"]
    assert limits.zai(hit("concurrency")).body["error"]["code"] == "1302"
    assert limits.zai(hit("tph")).body["error"]["code"] == "1308"
    assert limits.nvidia(hit()).body == {"status": 429, "title": "Too Many Requests"}
    assert "usage limit for this period" in limits.kimi(hit("month")).body["error"]["message"]


def test_success_headers_have_each_providers_units() -> None:
    """Groq: day and minute in Go durations; Cerebras: float seconds; Mistral: no reset."""
    gauges = {name: Gauge(100, 99, 60.0) for name in ("rpm", "rpd", "tpm")}
    assert limits.groq_headers(gauges, T)["x-ratelimit-reset-requests"] == "1m0s"
    assert limits.cerebras_headers(gauges, T)["x-ratelimit-reset-tokens-minute"] == "60.0"
    assert not any("reset" in name for name in limits.mistral_headers(gauges, T))
    assert limits.sambanova_headers(gauges, T)["x-ratelimit-reset-requests-day"] == str(int(T + 60))


def take(provider, key="sandbox-key", now=T, model=None):
    """One small chat."""
    made = {"model": model or provider.models[0].id, "messages": [{"role": "user", "content": "hi"}]}
    return provider.decide(key, {"user-agent": "agent"}, made, now)


@pytest.mark.parametrize("style", CHATS)
def test_the_counter_runs_out_and_comes_back(style) -> None:
    """One request a minute: the second is a 429, the one after a minute is taken."""
    provider = FakeProvider(style, quotas=Quotas(rpm=1))
    assert isinstance(take(provider), Granted)
    refused = take(provider, now=T + 30)
    assert isinstance(refused, Refused)
    assert refused.refusal.status == 429
    assert isinstance(take(provider, now=T + 61), Granted)


def test_limits_have_owners() -> None:
    """Two keys of one account share, two accounts do not; models share only where the provider says so."""
    provider = FakeProvider("groq", keys={"a", "b", "c"}, quotas=Quotas(rpm=1), accounts={"a": "org", "b": "org"})
    assert isinstance(take(provider, "a"), Granted)
    assert isinstance(take(provider, "b"), Refused)
    assert isinstance(take(provider, "c"), Granted)
    assert isinstance(take(provider, "b", model="openai/gpt-oss-20b"), Granted)
    shared = FakeProvider("openrouter", quotas=Quotas(rpm=1, shared=True))
    assert isinstance(take(shared), Granted)
    assert isinstance(take(shared, model="openrouter/free"), Refused)


def test_published_quotas_are_those_of_the_free_tier() -> None:
    """`published=True` takes the row's numbers: Z.ai one in flight."""
    provider = FakeProvider("zai", published=True)
    first = take(provider)
    assert take(provider).refusal.body["error"]["code"] == "1302"
    first.charge.release()
    assert isinstance(take(provider), Granted)
