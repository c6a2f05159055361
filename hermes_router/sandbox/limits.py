"""How each provider words a used-up quota, and what it tells of its windows on success.

Literal templates after facts/providers.md sections 3 and 4; the counting is in `quotas`.
"""

import datetime as dt
import math
from collections.abc import Mapping

from hermes_router.sandbox.quotas import TOKEN_WINDOWS, Gauge
from hermes_router.sandbox.values import Hit, Refusal, WindowName

_SPELLED: Mapping[WindowName, tuple[str, str]] = {
    "rpm": ("requests", "minute"),
    "rpd": ("requests", "day"),
    "tpm": ("tokens", "minute"),
    "tph": ("tokens", "hour"),
    "tpd": ("tokens", "day"),
    "month": ("requests", "month"),
    "concurrency": ("requests", "concurrency"),
}


def go_duration(seconds: float) -> str:
    """Go's way to write a duration: `2m59.56s`, `7.66s`, `120ms`, `1h2m3s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    tail = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{int(hours)}h{int(minutes)}m{tail}"
    return f"{int(minutes)}m{tail}" if minutes else tail


def retry_after(wait_s: float) -> dict[str, str]:
    """`retry-after` in whole seconds, rounded up; none where waiting never helps."""
    return {} if math.isinf(wait_s) else {"retry-after": str(max(1, math.ceil(wait_s)))}


# --- refusals ----------------------------------------------------------------------------------------


def openai(hit: Hit) -> Refusal:
    """`rate_limit_exceeded` with both forms of Retry-After."""
    unit, span = _SPELLED[hit.window]
    wait = 0 if math.isinf(hit.wait_s) else hit.wait_s
    message = (
        f"Rate limit reached for {hit.model} in organization org-sandbox on {unit} per {span}: Limit {hit.limit}, "
        f"Used {hit.used}, Requested {hit.requested}. Please try again in {go_duration(wait)}."
    )
    headers = retry_after(hit.wait_s) | ({"retry-after-ms": str(math.ceil(wait * 1000))} if wait else {})
    return Refusal(
        429,
        {"error": {"message": message, "type": unit, "param": None, "code": "rate_limit_exceeded"}},
        headers,
    )


def groq(hit: Hit) -> Refusal:
    """Names the window in brackets; what can never fit is a 413 with the same code."""
    unit, span = _SPELLED[hit.window]
    where = f"`{hit.model}` in organization `org_sandbox` service tier `on_demand`"
    window = f"{unit} per {span} ({hit.window.upper()})"
    if math.isinf(hit.wait_s):
        message = (
            f"Request too large for model {where} on {window}: Limit {hit.limit}, Requested {hit.requested}, "
            "please reduce your message size and try again."
        )
        return Refusal(413, {"error": {"message": message, "type": unit, "code": "rate_limit_exceeded"}})
    message = (
        f"Rate limit reached for model {where} on {window}: Limit {hit.limit}, Used {hit.used}, Requested "
        f"{hit.requested}. Please try again in {go_duration(hit.wait_s)}."
    )
    return Refusal(
        429,
        {"error": {"message": message, "type": unit, "code": "rate_limit_exceeded"}},
        retry_after(hit.wait_s),
    )


REQUEST_ID = "req_011sandbox"


def _rfc3339(at: float) -> str:
    return dt.datetime.fromtimestamp(math.ceil(at), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_ANTHROPIC_WINDOWS: tuple[tuple[WindowName, tuple[str, ...]], ...] = (
    ("rpm", ("requests",)), ("tpm", ("input-tokens", "tokens")),
)  # fmt: skip


def anthropic_headers(gauges: Mapping[WindowName, Gauge], now: float) -> dict[str, str]:
    """Minute windows, the reset in RFC 3339 (facts 3.15)."""
    told = {"request-id": REQUEST_ID, "anthropic-organization-id": "org-sandbox"}
    for window, stems in _ANTHROPIC_WINDOWS:
        for stem in stems if window in gauges else ():
            gauge = gauges[window]
            told |= {
                f"anthropic-ratelimit-{stem}-limit": str(gauge.limit),
                f"anthropic-ratelimit-{stem}-remaining": str(gauge.remaining),
                f"anthropic-ratelimit-{stem}-reset": _rfc3339(now + gauge.reset_s),
            }
    return told


def anthropic(hit: Hit) -> Refusal:
    """Names the rate in words; the window that is used up is in the headers, and Retry-After in seconds."""
    unit, span = _SPELLED[hit.window]
    message = (
        f"This request would exceed your organization's rate limit of {hit.limit:,} {unit} per {span} "
        f"(org: org-sandbox, model: {hit.model}). For details, refer to: https://docs.claude.com/en/api/rate-limits."
    )
    window: WindowName = "tpm" if hit.window in TOKEN_WINDOWS else "rpm"
    wait_s = 0.0 if math.isinf(hit.wait_s) else hit.wait_s
    headers = anthropic_headers({window: Gauge(hit.limit, max(0, hit.limit - hit.used), wait_s)}, hit.now)
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": message}, "request_id": REQUEST_ID}
    return Refusal(429, body, headers | retry_after(hit.wait_s))


_GEMINI_IDS: Mapping[WindowName, str] = {
    "rpm": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    "rpd": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    "tpm": "GenerateContentInputTokensPerModelPerMinute-FreeTier",
    "tpd": "GenerateContentInputTokensPerModelPerDay-FreeTier",
}
GEMINI_SHORT_DELAY_S = 36.4
"""The trap of facts 3.1: the delay is short even when the day's quota is gone."""


def gemini(hit: Hit) -> Refusal:
    """RESOURCE_EXHAUSTED in a list of one; the truth is in `quotaId`, not in `retryDelay`."""
    quota_id = _GEMINI_IDS.get(hit.window, _GEMINI_IDS["rpm"])
    delay = min(hit.wait_s, GEMINI_SHORT_DELAY_S)
    metric = "generate_content_free_tier_" + ("input_token_count" if hit.window in TOKEN_WINDOWS else "requests")
    prefix = "type.googleapis.com/google.rpc."
    error = {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing details.\n* Quota exceeded "
        f"for metric: generativelanguage.googleapis.com/{metric}, limit: {hit.limit}, model: {hit.model}\n"
        f"Please retry in {delay}s.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": prefix + "Help", "links": [{"description": "Learn more", "url": "https://ai.google.dev/"}]},
            {
                "@type": prefix + "QuotaFailure",
                "violations": [{
                    "quotaMetric": f"generativelanguage.googleapis.com/{metric}", "quotaId": quota_id,
                    "quotaDimensions": {"location": "global", "model": hit.model}, "quotaValue": str(hit.limit),
                }],
            },
            {"@type": prefix + "RetryInfo", "retryDelay": f"{delay}s"},
        ],
    }  # fmt: skip
    return Refusal(429, [{"error": error}])


def openrouter(hit: Hit) -> Refusal:
    """No Retry-After: strings in the body's `metadata.headers`, the reset in epoch milliseconds."""
    span = "min" if _SPELLED[hit.window][1] in {"minute", "concurrency"} else "day"
    wait = 86_400.0 if math.isinf(hit.wait_s) else hit.wait_s
    told = {
        "X-RateLimit-Limit": str(hit.limit),
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(round((hit.now + wait) * 1000)),
    }
    error = {
        "message": f"Rate limit exceeded: free-models-per-{span}. Add 10 credits to unlock 1000 free model requests "
        "per day",
        "code": 429,
        "metadata": {"headers": told, "provider_name": None},
    }
    return Refusal(429, {"error": error, "user_id": "user_sandbox"})


def cerebras(hit: Hit) -> Refusal:
    """Flat, one code for requests and one for tokens."""
    unit, span = _SPELLED[hit.window]
    code = "token_quota_exceeded" if unit == "tokens" else "request_quota_exceeded"
    body = {
        "message": f"{unit.capitalize()} per {span} limit exceeded - too many {unit} "
        + ("processed." if unit == "tokens" else "sent."),
        "type": f"too_many_{unit}_error",
        "param": "quota",
        "code": code,
    }
    return Refusal(429, body)


def mistral(_hit: Hit) -> Refusal:
    """Code 1300 and not a word about when."""
    body = {
        "object": "error",
        "message": "Rate limit exceeded",
        "type": "rate_limited",
        "param": None,
        "code": "1300",
    }
    return Refusal(429, body)


def cohere(hit: Hit) -> Refusal:
    """The window is in the text only."""
    span = "month" if hit.window == "month" else "minute"
    return Refusal(
        429,
        {
            "id": "b5e0a1c2-0000-4000-8000-000000000001",
            "message": f"You are using a Trial key, which is limited to {hit.limit} API calls / {span}. You can "
            "continue to use the Trial key for free or upgrade to a Production key with higher rate limits.",
        },
    )


_BEIJING = dt.timezone(dt.timedelta(hours=8))


def zai(hit: Hit) -> Refusal:
    """1302 concurrency, 1303 frequency, 1304 the day's cap, 1308 a usage cap with its reset in Beijing time."""
    if hit.window == "concurrency":
        code, message = "1302", "Rate limit reached for concurrent requests"
    elif hit.window in {"rpd", "tpd"}:
        code, message = "1304", "The daily call limit for this API has been reached"
    elif hit.window in {"tph", "month"}:
        wait = 86_400.0 if math.isinf(hit.wait_s) else hit.wait_s
        resets = dt.datetime.fromtimestamp(hit.now + wait, _BEIJING)
        code, message = "1308", f"Usage limit reached. Your limit will reset at {resets:%Y-%m-%d %H:%M:%S}"
    else:
        code, message = "1303", "Rate limit reached for requests"
    return Refusal(429, {"error": {"code": code, "message": message}})


def nvidia(_hit: Hit) -> Refusal:
    """Nothing but status and title."""
    return Refusal(429, {"status": 429, "title": "Too Many Requests"}, content_type="application/problem+json")


def kimi(hit: Hit) -> Refusal:
    """Long windows say `usage limit for this period`, short ones `too many requests`."""
    if hit.window in {"rpm", "tpm", "concurrency"}:
        kind, message = "rate_limit_reached_error", "Too many requests, please try again later"
    else:
        kind, message = "exceeded_current_quota_error", "You've reached your usage limit for this period"
    return Refusal(429, {"error": {"message": message, "type": kind}})


def bare(hit: Hit) -> Refusal:
    """A 429 in OpenAI's envelope with Retry-After and no headers."""
    body = {"error": {"message": "Too many requests", "type": "rate_limit_error", "param": None, "code": None}}
    return Refusal(429, body, retry_after(hit.wait_s))


# --- on success --------------------------------------------------------------------------------------


def silent_headers(_gauges: Mapping[WindowName, Gauge], _now: float) -> dict[str, str]:
    """Most providers tell nothing."""
    return {}


def _triple(suffix: str, gauge: Gauge, reset: str) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{suffix}": str(gauge.limit),
        f"x-ratelimit-remaining-{suffix}": str(gauge.remaining),
        f"x-ratelimit-reset-{suffix}": reset,
    }


def groq_headers(gauges: Mapping[WindowName, Gauge], _now: float) -> dict[str, str]:
    """`requests` are those of the DAY, `tokens` those of the MINUTE; Go durations."""
    told: dict[str, str] = {}
    if day := gauges.get("rpd"):
        told |= _triple("requests", day, go_duration(day.reset_s))
    if minute := gauges.get("tpm"):
        told |= _triple("tokens", minute, go_duration(minute.reset_s))
    return told


def openai_headers(gauges: Mapping[WindowName, Gauge], _now: float) -> dict[str, str]:
    """Minute windows in Go durations."""
    told: dict[str, str] = {}
    if requests := gauges.get("rpm"):
        told |= _triple("requests", requests, go_duration(requests.reset_s))
    if tokens := gauges.get("tpm"):
        told |= _triple("tokens", tokens, go_duration(tokens.reset_s))
    return told


def cerebras_headers(gauges: Mapping[WindowName, Gauge], _now: float) -> dict[str, str]:
    """Float seconds from now."""
    told: dict[str, str] = {}
    if day := gauges.get("rpd"):
        told |= _triple("requests-day", day, repr(float(day.reset_s)))
    if minute := gauges.get("tpm"):
        told |= _triple("tokens-minute", minute, repr(float(minute.reset_s)))
    return told


def mistral_headers(gauges: Mapping[WindowName, Gauge], _now: float) -> dict[str, str]:
    """Limits and remainders without a reset."""
    told: dict[str, str] = {}
    named: tuple[tuple[WindowName, str], ...] = (("rpm", "req-minute"), ("tpm", "tokens-minute"))
    for window, suffix in named:
        if gauge := gauges.get(window):
            told[f"x-ratelimit-limit-{suffix}"] = str(gauge.limit)
            told[f"x-ratelimit-remaining-{suffix}"] = str(gauge.remaining)
    return told


def sambanova_headers(gauges: Mapping[WindowName, Gauge], now: float) -> dict[str, str]:
    """A minute window and a day window; the reset is in epoch seconds, as older documents have it."""
    told: dict[str, str] = {}
    if minute := gauges.get("rpm"):
        told |= _triple("requests", minute, str(math.ceil(now + minute.reset_s)))
    if day := gauges.get("rpd"):
        told |= _triple("requests-day", day, str(math.ceil(now + day.reset_s)))
    return told


def cohere_headers(gauges: Mapping[WindowName, Gauge], _now: float) -> dict[str, str]:
    """The trial's counters."""
    month = gauges.get("month")
    if month is None:
        return {}
    return {
        "x-trial-endpoint-call-limit": str(month.limit),
        "x-trial-endpoint-call-remaining": str(month.remaining),
    }
