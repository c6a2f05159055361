"""The confusion table: every documented refusal gets its class, scope, window and time; garbage gets some class."""

import json
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import (
    CallerError,
    ContextTooLong,
    Malformed,
    Overloaded,
    RateLimited,
    ServerFailed,
    UpstreamError,
)
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.wire.rejection.judge import FAMILIES, classify, in_band

NOW = 1795262400.0  # 2026-11-21T12:00:00Z
ROOT = Path(__file__).parents[1] / "fixtures" / "errors"
SAMPLES = {f"{path.parent.name}/{path.stem}": json.loads(path.read_text()) for path in sorted(ROOT.rglob("*.json"))}
SHAPES = {"meta", "family", "status", "headers", "body", "text", "sent", "expect"}


def judge(sample):
    """The error of a fixture; status 200 means that it was found inside an answer."""
    if sample["status"] == 200:
        return in_band(sample["family"], sample["body"], NOW)
    body = sample["text"].encode() if "text" in sample else json.dumps(sample["body"]).encode()
    headers, sent = sample.get("headers", {}), sample.get("sent", ())
    return classify(sample["family"], sample["status"], headers, body, NOW, sent_fields=sent)


@pytest.mark.parametrize("name", SAMPLES)
def test_documented_refusals_blame_the_right_thing(name):
    """Rank 13 of facts/cases.md: the right class and scope, and window, time, field and size where given."""
    sample = SAMPLES[name]
    expected = dict(sample["expect"])
    error = judge(sample)
    assert (type(error).__name__, error.scope) == (expected.pop("class"), expected.pop("scope")), error
    if "retry_at" in expected:
        said = expected.pop("retry_at")
        at = None if said is None else pytest.approx(datetime.fromisoformat(said).timestamp(), abs=1e-3)
        assert error.retry_at == at
    for attribute, value in expected.items():
        assert getattr(error, attribute) == value, attribute


def test_the_corpus_is_whole():
    """At least 150 samples; each family has some; each says class, scope and wait, and where it is known from."""
    assert len(SAMPLES) >= 150
    assert {sample["family"] for sample in SAMPLES.values()} == set(FAMILIES)
    for name, sample in SAMPLES.items():
        assert set(sample) <= SHAPES, name
        assert {"class", "scope", "retry_at"} <= set(sample["expect"]), name
        assert sample["meta"]["origin"] in {"recorded", "documented", "synthetic"}, name
        assert sample["meta"]["date"], name
        assert sample["meta"]["source"], name


def test_nothing_told_is_nothing_claimed():
    """`told` is never set without a time, and every time lies ahead."""
    for name, sample in SAMPLES.items():
        error = judge(sample)
        assert error.retry_at is not None or not error.told, name
        assert error.retry_at is None or error.retry_at > NOW, name


def test_fl1_a_minute_limit_is_never_a_day():
    """FL-1: with a window named by minute or second, no wait however long makes it QuotaExhausted."""
    for words in ("requests per minute", "tokens per minute (TPM)", "10 requests / min", "rps"):
        body = json.dumps({"error": {"message": f"Rate limit: {words}. See our daily plans at /day"}}).encode()
        for family in sorted(FAMILIES):
            error = classify(family, 429, {"retry-after": "7200"}, body, NOW)
            assert isinstance(error, RateLimited | Overloaded), (family, words)


def test_a_long_wait_alone_is_no_day():
    """A Retry-After of hours without a window stays RateLimited: the length is no evidence (providers.md 1.2)."""
    error = classify("generic", 429, {"retry-after": "40000"}, b"", NOW)
    assert (type(error), error.window, error.retry_at) == (RateLimited, None, NOW + 40000)


def test_quotas_come_along():
    """Groq shows TPD only in the message: limit and rest travel with the error, beside the headers' windows."""
    quotas = judge(SAMPLES["groq/tpd"]).quotas
    assert {(q.unit, q.window, q.limit, q.remaining) for q in quotas} == {
        (Unit.REQUESTS, Window.DAY, 1000, 900),
        (Unit.TOKENS, Window.MINUTE, 8000, 7000),
        (Unit.TOKENS, Window.DAY, 200000, 664),
    }
    assert judge(SAMPLES["groq/too_large"]).quotas == (
        QuotaSeen("account_model", Unit.TOKENS, Window.MINUTE, 8000, None, None),
    )
    assert judge(SAMPLES["gemini/day_short_delay"]).quotas[0].remaining == 0


def test_or5_reset_in_the_body_counts_like_one_in_the_headers():
    """OR-5, LL-7: the epoch milliseconds of `metadata.headers` give the same end as real headers."""
    assert judge(SAMPLES["openrouter/free_day"]).retry_at == judge(SAMPLES["openrouter/real_headers"]).retry_at


def test_ll4_of_two_times_the_later_one_stands():
    """LL-4: header and message disagree; the longer wait is kept."""
    body = b'{"error":{"message":"try again in 50s"}}'
    assert classify("generic", 429, {"retry-after": "5"}, body, NOW).retry_at == NOW + 50
    assert classify("generic", 429, {"retry-after": "90"}, body, NOW).retry_at == NOW + 90


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_redirects_are_malformed(family, status):
    """A redirect is never followed: it is a broken answer, whatever its body says."""
    assert isinstance(classify(family, status, {"location": "/x"}, b'{"code":"1113"}', NOW), Malformed)


@pytest.mark.parametrize(
    "error",
    [None, 7, True, [], {}, "", "boom", b"raw", {"message": "x"}, {"code": "500"}, [[[]]], {"error": None}],
)
def test_in_band_without_a_sign_is_a_failed_server(error):
    """An error inside a 200 that says nothing is ServerFailed: the request itself had been accepted."""
    assert type(in_band("generic", error, NOW)) is ServerFailed


def test_in_band_status_is_the_implied_one():
    """A number or a name inside the object gives the status; without either there is none."""
    assert in_band("generic", {"code": 429, "message": "x"}, NOW).status == 429
    assert in_band("generic", {"type": "rate_limit_error"}, NOW).status == 429
    assert in_band("generic", "x", NOW).status is None
    assert isinstance(
        in_band("generic", {"type": "invalid_request_error", "code": "context_length_exceeded"}, NOW), ContextTooLong
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([
                "error", "message", "code", "type", "status", "detail", "details", "metadata", "headers", "raw", "loc",
                "param", "violations", "quotaId", "quotaValue", "retryDelay", "resets_at", "n_ctx", "retry_after_ms", "reason",
                "X-RateLimit-Reset", "X-RateLimit-Limit", "provider_name", "response",
            ])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)  # fmt: skip
STATUSES = st.sampled_from([0, 100, 200, 302, 400, 401, 402, 403, 404, 405, 408, 410, 413, 418, 422, 424, 429, 451, 498, 499, 500, 503, 529, 999])  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(
        ["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-limit", "x-ratelimit-remaining-requests"]
    ),
    st.text(max_size=12) | st.integers().map(str),
    max_size=4,
)


def sound(error):
    """What holds for every judgement."""
    assert isinstance(error, UpstreamError)
    assert not isinstance(error, CallerError)
    assert len(error.excerpt) <= 300
    assert error.excerpt.isprintable()
    assert error.retry_at is None or NOW < error.retry_at <= NOW + 32 * 86400


@given(
    st.sampled_from([*sorted(FAMILIES), "unheard of"]),
    STATUSES,
    HEADERS,
    VALUES,
    st.lists(st.text(max_size=8), max_size=3),
)
def test_any_json_gives_an_upstream_error(family, status, headers, value, sent):
    """Whatever JSON arrives with whatever status, in a body or in band, a sound error comes out."""
    sound(classify(family, status, headers, msgspec.json.encode(value), NOW, sent_fields=sent))
    sound(in_band(family, value, NOW))


@given(st.sampled_from(sorted(FAMILIES)), STATUSES, st.binary(max_size=200))
def test_any_bytes_give_an_upstream_error(family, status, body):
    """Neither invalid UTF-8 nor half JSON is ever raised on."""
    sound(classify(family, status, {}, body, NOW))
    sound(classify(family, status, {}, b'{"error":{"message":"' + body, NOW))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000,
        b'{"error":' * 50_000,
        b"\xff\xfe" * 500_000,
        b"<html>" + b"<p>" * 300_000,
        json.dumps({"error": {"message": "x" * 1_000_000}}).encode(),
        json.dumps({"error": {"code": 10**400, "resets_at": 10**300, "message": [10**400]}}).encode(),
        json.dumps({"error": {"metadata": {"raw": json.dumps({"error": json.dumps({"error": "deep"})})}}}).encode(),
        b'\xef\xbb\xbf{"error":{"code":"model_not_found"}}',
        b'data: {"error":{"code":"model_not_found"}}\n\n',
    ],
    ids=["brackets", "objects", "bytes", "html", "long", "numbers", "strings", "bom", "sse"],
)
def test_huge_deep_and_odd_bodies_are_judged(body):
    """A megabyte, a hundred thousand brackets, JSON in JSON in JSON: always a sound error."""
    for family in ("generic", "gemini", "openrouter"):
        for status in (400, 429, 500):
            sound(classify(family, status, {}, body, NOW))
