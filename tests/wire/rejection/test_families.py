"""What only one provider's words mean, beyond the fixtures that `test_rejection.py` judges."""

import json
from datetime import datetime

import pytest

from hermes_router.core.errors import ModelGone, NoCredit, QuotaExhausted, RateLimited
from hermes_router.core.observations import Unit, Window
from hermes_router.wire.rejection.body import read
from hermes_router.wire.rejection.families import FAMILIES

NOW = 1795262400.0  # 2026-11-21T12:00:00Z


def gemini(*violations, delay="20s", now=NOW):
    """A Gemini 429 with these (quotaId, quotaValue)."""
    listed = [{"quotaId": name, "quotaValue": value} for name, value in violations]
    details = [{"violations": listed}, {"retryDelay": delay}]
    body = json.dumps({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}).encode()
    return FAMILIES["gemini"](read("gemini", 429, {}, body, now=now))


@pytest.mark.parametrize(
    ("now", "reset"),
    [
        ("2026-10-31T12:00:00Z", "2026-11-01T07:00:00Z"),
        ("2026-11-01T12:00:00Z", "2026-11-02T08:00:00Z"),
        ("2026-03-07T12:00:00Z", "2026-03-08T08:00:00Z"),
        ("2026-03-08T12:00:00Z", "2026-03-09T07:00:00Z"),
    ],
)
def test_gemini_day_on_both_sides_of_the_dst_change(now, reset):
    """12.14.7: PerDay with a retryDelay of 20 s lasts to Pacific midnight, at 07:00 UTC or at 08:00 UTC."""
    begins, ends = (datetime.fromisoformat(text).timestamp() for text in (now, reset))
    error = gemini(("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "20"), now=begins)
    assert isinstance(error, QuotaExhausted)
    assert (error.retry_at, error.told) == (ends, False)


def test_gemini_of_several_windows_the_day_counts():
    """Minute and day violated together: it is the day; each gives its quota."""
    error = gemini(
        ("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "5"),
        ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "20"),
        ("GenerateContentInputTokensPerModelPerMinute-FreeTier", "250000"),
    )
    assert isinstance(error, QuotaExhausted)
    assert [(q.unit, q.window, q.limit, q.remaining) for q in error.quotas] == [
        (Unit.REQUESTS, Window.MINUTE, 5, 0),
        (Unit.REQUESTS, Window.DAY, 20, 0),
        (Unit.INPUT_TOKENS, Window.MINUTE, 250000, None),
    ]


def test_gemini_of_a_minute_names_its_own_delay_beside_the_rest_of_the_minute():
    """Its minutes roll: the window is told to return after the delay; the rest of the minute is what is safe."""
    named = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
    error = gemini((named, "5"), delay="20s", now=NOW + 10.0)
    assert (error.retry_at, error.said_at, error.told) == (NOW + 60.0, NOW + 30.0, True)
    assert [(one.remaining, one.reset_at) for one in error.quotas] == [(0, NOW + 30.0)]
    error = gemini((named, "5"), delay="70s", now=NOW + 10.0)
    assert (error.retry_at, error.said_at) == (NOW + 80.0, None)
    error = gemini((named, "5"), delay="soon", now=NOW + 10.0)
    assert (error.retry_at, error.said_at, error.told) == (NOW + 60.0, None, False)
    assert [one.reset_at for one in error.quotas] == [NOW + 60.0]


def test_gemini_scope_follows_the_quota_id():
    """A quota per project alone is the account's, one per model the pair's; a zero takes the model away."""
    assert gemini(("GenerateRequestsPerMinutePerProject", "5")).scope == "account"
    assert gemini(("GenerateRequestsPerMinutePerProjectPerModel", "5")).scope == "account_model"
    assert isinstance(gemini(("GenerateRequestsPerDayPerProjectPerModel", "0")), ModelGone)


@pytest.mark.parametrize(("code", "scope"), [("1000", "credential"), ("1004", "credential"), ("1121", "account")])
def test_zai_auth_codes(code, scope):
    """1000 to 1004 are the key's, 1110 to 1121 the account's, 1113 among them is money."""
    judge = FAMILIES["zai"]
    assert judge(read("zai", 401, {}, json.dumps({"error": {"code": code}}).encode(), now=NOW)).scope == scope
    assert isinstance(judge(read("zai", 429, {}, b'{"error":{"code":"1113"}}', now=NOW)), NoCredit)
    assert judge(read("zai", 400, {}, b'{"error":{"code":"9999"}}', now=NOW)) is None


def test_openrouter_odd_reset_falls_back_to_the_clock():
    """A reset that cannot be read leaves the published midnight UTC, marked as not told."""
    body = {"error": {"message": "free-models-per-day", "metadata": {"headers": {"X-RateLimit-Reset": "soon"}}}}
    error = FAMILIES["openrouter"](read("openrouter", 429, {}, json.dumps(body).encode(), now=NOW))
    assert isinstance(error, QuotaExhausted)
    assert (error.retry_at, error.told) == (1795305600.0, False)


def test_cohere_minute_with_a_header_takes_the_header():
    """A told wait goes before the rest of the minute."""
    said = read("cohere", 429, {"retry-after": "90"}, b'{"message":"20 API calls / minute"}', now=NOW)
    error = FAMILIES["cohere"](said)
    assert isinstance(error, RateLimited)
    assert (error.retry_at, error.told) == (NOW + 90, True)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_family_leaves_to_the_generic_judge_what_is_not_its_own(name):
    """An unremarkable 400 is no family's business."""
    assert FAMILIES[name](read(name, 400, {}, b'{"error":{"message":"bad value"}}', now=NOW)) is None
