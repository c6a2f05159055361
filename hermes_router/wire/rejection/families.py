"""What only one provider's words mean: a function a family, asked before the generic judge.

Owns the codes and traps of facts/providers.md section 3. A function answers None where its provider says nothing
special, so that the generic judge decides. It must never know which target it was, nor repeat generic rules.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from hermes_router.core.clocks import next_reset
from hermes_router.core.errors import (
    ContentFiltered,
    CredentialRejected,
    Invalid,
    Malformed,
    ModelGone,
    NoCredit,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    RequestRejected,
    ServerFailed,
    TooLargeHere,
    UpstreamError,
)
from hermes_router.core.observations import QuotaSeen, ScopeKind, Unit, Window
from hermes_router.wire.ratelimit import retry_after
from hermes_router.wire.rejection.body import Said, scalar
from hermes_router.wire.rejection.generic import fail, limited, overloaded, told_at, window_of
from hermes_router.wire.rejection.request import filtered, incapable, overflow, too_long
from hermes_router.wire.resets import parse_reset

Family = Callable[[Said], UpstreamError | None]

BEIJING_S: Final = 28800.0


# --- gemini ----------------------------------------------------------------------------------------

_ZERO: Final = re.compile(r"\blimit: 0(?![\d.])")
_BAD_KEY: Final = re.compile(r"api key not valid|api key expired|api key not found|api_key_invalid")


def _violations(said: Said) -> list[tuple[str, str]]:
    """(quotaId, quotaValue) of every violated quota."""
    found: list[tuple[str, str]] = []
    for detail in said.details:
        listed = detail.get("violations")
        for item in listed[:16] if isinstance(listed, list) else ():
            if isinstance(item, dict):
                quota_id = scalar(item.get("quotaId")) or scalar(item.get("quotaMetric")) or ""
                found.append((quota_id, scalar(item.get("quotaValue")) or ""))
    return found


def gemini(said: Said) -> UpstreamError | None:
    """Gemini: keys are bad by 400, and the window is in `quotaId`, never in `retryDelay`."""
    if said.status == 400 and ("api_key_invalid" in said.names or _BAD_KEY.search(said.text) is not None):
        return fail(CredentialRejected, said)
    if said.status == 429:
        return _gemini_limit(said)
    return None


def _gemini_limit(said: Said) -> UpstreamError:
    violated = _violations(said)
    if any(value == "0" for _, value in violated) or _ZERO.search(said.text) is not None:
        return fail(ModelGone, said, scope="account_model")  # the model is not on the free tier
    ids = " ".join(quota_id for quota_id, _ in violated)
    scope: ScopeKind = "account" if ids and "PerModel" not in ids else "account_model"
    if "PerDay" in ids or "per_day" in ids:
        # retryDelay says seconds even when the day is spent: only the clock is to be believed.
        at = next_reset("America/Los_Angeles", Window.DAY, said.now)
        quotas = _gemini_quotas(violated, scope, at)
        return fail(QuotaExhausted, said, scope=scope, retry_at=at, told=False, window=Window.DAY, quotas=quotas)
    if "PerMinute" not in ids and "per_minute" not in ids:
        return limited(said, scope=scope)
    told = told_at(said)
    at = max(told or 0.0, next_reset("utc", Window.MINUTE, said.now))
    # Its minutes roll (3.1), and then the delay is true; where it was not, the minute is waited for.
    quotas = _gemini_quotas(violated, scope, told or at)
    marks = told is not None
    error = fail(RateLimited, said, scope=scope, retry_at=at, told=marks, window=Window.MINUTE, quotas=quotas)
    if isinstance(error, RateLimited) and told is not None and told < at:
        error.said_at = told
    return error


def _gemini_quotas(violated: list[tuple[str, str]], scope: ScopeKind, reset_at: float) -> list[QuotaSeen]:
    quotas = []
    for quota_id, value in violated:
        if not value.isascii() or not value.isdigit() or len(value) > 15:
            continue
        unit = Unit.INPUT_TOKENS if "InputToken" in quota_id else Unit.REQUESTS
        window = Window.DAY if "PerDay" in quota_id else Window.MINUTE
        # A request window that refuses is empty; a token window may only be too small for this request.
        remaining = 0 if unit is Unit.REQUESTS else None
        quotas.append(QuotaSeen(scope, unit, window, int(value), remaining, reset_at))
    return quotas


# --- openrouter ------------------------------------------------------------------------------------


def openrouter(said: Said) -> UpstreamError | None:
    """OpenRouter: its own limits belong to the account, what it passes on from an upstream to the model."""
    relayed = "provider_name" in said.fields or "provider returned error" in said.text
    if said.status == 403 and ("flagged_input" in said.fields or "moderation" in said.text):
        return fail(ContentFiltered, said, scope="model")
    if relayed and said.status in (401, 402, 403):
        return overloaded(said)  # the host behind it is at odds with OpenRouter, not we with either
    if relayed and said.status == 429:
        return fail(RateLimited, said, scope="model", retry_at=told_at(said), window=window_of(said.text))
    if said.status == 404 and "no endpoints" in said.text:
        scope: ScopeKind = "account_model" if "policy" in said.text or "privacy" in said.text else "model"
        return incapable(said) or fail(ModelGone, said, scope=scope)
    if said.status == 429:
        return _openrouter_limit(said)
    return None


def _openrouter_limit(said: Said) -> UpstreamError:
    """Its reset is epoch milliseconds, in the body's own headers or in the real ones (OR-5, LL-7)."""
    headers = {**said.headers, **said.body_headers}
    written = headers.get("x-ratelimit-reset")
    reset_at = None if written is None else parse_reset(written, said.now)
    window = window_of(said.text.replace("-", " "))
    if window is None and reset_at is not None:
        window = Window.DAY if reset_at - said.now > 61.0 else Window.MINUTE
    if reset_at is None or window is None:
        return limited(said, scope="account", window=window)
    kind = QuotaExhausted if window is Window.DAY else RateLimited
    limit, remaining = (scalar(headers.get(f"x-ratelimit-{word}")) or "" for word in ("limit", "remaining"))
    quota = QuotaSeen("account", Unit.REQUESTS, window, _whole(limit), _whole(remaining), reset_at)
    at = max(reset_at, retry_after(said.headers, said.now) or 0.0)
    return fail(kind, said, scope="account", retry_at=at, window=window, quotas=(quota,))


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


# --- groq, cerebras, mistral, cohere ---------------------------------------------------------------


def groq(said: Said) -> UpstreamError | None:
    """Groq: the model's own garbage comes as a 400 and is nobody's request fault."""
    if said.names & {"tool_use_failed", "json_validate_failed", "output_parse_failed"}:
        return fail(Malformed, said, scope="model")
    if "organization_restricted" in said.names:
        return fail(CredentialRejected, said, scope="account")
    return None


def cerebras(said: Said) -> UpstreamError | None:
    """Cerebras: an overflow may have no body at all, and a full queue is a 429."""
    if said.status in (400, 413) and said.empty:
        return too_long(said)
    return overloaded(said) if "queue_exceeded" in said.names else None


def mistral(said: Said) -> UpstreamError | None:
    """Mistral: 1300 is the account's limit, 3505 the model's lack of capacity."""
    if said.names & {"3505", "service_tier_capacity_exceeded"}:
        return overloaded(said)
    if said.status == 429 and "1300" in said.names:
        return limited(said)
    return None


def cohere(said: Said) -> UpstreamError | None:
    """Cohere: a trial key's month belongs to the account, its minute to the model."""
    if said.status == 498:
        return fail(ContentFiltered, said, scope="model")
    if said.status != 429:
        return None
    window = window_of(said.text)
    at = told_at(said)
    if window is not Window.MINUTE or at is not None:
        return limited(said, scope="account" if window is Window.MONTH else "account_model", window=window)
    at = next_reset("utc", Window.MINUTE, said.now)
    return fail(RateLimited, said, retry_at=at, told=False, window=Window.MINUTE)


# --- zai -------------------------------------------------------------------------------------------

_ZAI_PLAIN: Final[Mapping[str, tuple[type[UpstreamError], ScopeKind]]] = {
    "1113": (NoCredit, "account"),  # comes as HTTP 429
    "1211": (ModelGone, "model"),
    "1213": (Invalid, "model"),
    "1214": (Invalid, "model"),
    "1301": (ContentFiltered, "model"),
    "1305": (Overloaded, "model"),
    "1309": (NoCredit, "account"),  # the coding plan has ended
    "1311": (ModelGone, "account_model"),
    "1312": (Overloaded, "model"),
}
_ZAI_LIMITS: Final[Mapping[str, tuple[ScopeKind, Window | None]]] = {
    "1302": ("account_model", Window.NONE),
    "1303": ("account_model", None),
    "1304": ("account", Window.DAY),
    "1308": ("account", Window.PLAN),
    "1310": ("account", Window.PLAN),
    "1313": ("account", None),
}


def zai(said: Said) -> UpstreamError | None:
    """Z.ai: the four-digit code says everything, the status little; times are Beijing's."""
    code = said.word("code")
    if code in _ZAI_PLAIN:
        kind, scope = _ZAI_PLAIN[code]
        return fail(kind, said, scope=scope, retry_at=told_at(said, naive_offset_s=BEIJING_S))
    if code in _ZAI_LIMITS:
        scope, window = _ZAI_LIMITS[code]
        return limited(said, scope=scope, window=window, naive_offset_s=BEIJING_S)
    if code == "1261":
        return too_long(said)
    if re.fullmatch(r"100[0-4]|11[12]\d", code):
        return fail(CredentialRejected, said, scope="credential" if code < "1100" else "account")
    return None


# --- nvidia, huggingface, kimi ---------------------------------------------------------------------


def nvidia(said: Said) -> UpstreamError | None:
    """NVIDIA: a sick deployment is a 400, a function not offered to the account a 404."""
    if "degraded function" in said.text:
        return overloaded(said)
    if "single tool-calls at once" in said.text:
        return fail(Invalid, said, param="parallel_tool_calls")
    if said.status == 404 and "for account" in said.text:
        return fail(ModelGone, said, scope="account_model")
    return None


def huggingface(said: Said) -> UpstreamError | None:
    """Hugging Face: the month's credit is gone until the 1st."""
    if said.status == 402:
        at = next_reset("utc", Window.MONTH, said.now)
        return fail(NoCredit, said, retry_at=at, told=False, window=Window.MONTH)
    return None


def kimi(said: Said) -> UpstreamError | None:
    """Kimi: three meanings of 429, two of 403, told apart by type and wording; limits are the account's."""
    if said.status in (403, 429) and ("usage limit" in said.text or "billing cycle" in said.text):
        return limited(said, scope="account", window=Window.PLAN)
    if said.status == 403:
        # The gate looks at who calls, not at the key: this caller is turned away, the next one need not be.
        gated = "access_terminated_error" in said.names or "coding agents" in said.text
        return RequestRejected(said.excerpt, status=403, scope="model") if gated else None
    if said.status == 429 and "overloaded" not in said.text and not said.names & _KIMI_OTHER:
        return limited(said, scope="account")
    return None


_KIMI_OTHER: Final = frozenset({"engine_overloaded_error", "exceeded_current_quota_error"})


# --- codex -----------------------------------------------------------------------------------------

_CODEX_PLAN: Final = frozenset({"usage_limit_reached", "subscription_sharing_usage_limit_exceeded"})
_CODEX_NEVER: Final = frozenset({"usage_not_included", "subscription_sharing_user_not_eligible"})
_CODEX_POLICY: Final = frozenset({"cyber_policy", "bio_policy", "invalid_prompt"})
_CODEX_AWAY: Final = frozenset({"subscription_sharing_usage_unavailable", "subscription_sharing_user_unavailable"})
_CLOSED: Final = "this model is open to OpenAI's own clients only, or not to this account (the plan route may have it)"
_TOO_OLD: Final = "this model wants a newer `version` than the row of the provider sends"
_BLOCKED: Final = "a page instead of an answer: the network before the API turns this machine away, whatever the login"
_CODEX_KEY: Final = frozenset(
    {"token_invalidated", "token_revoked", "token_expired", "subscription_sharing_invalid_user"}
)


def codex(said: Said) -> UpstreamError | None:
    """Codex: a plan's window is the account's; a plan without it never returns; a 400 may be about the account."""
    names = said.names
    if names & _CODEX_PLAN:
        return limited(said, scope="account", window=Window.PLAN)
    if names & _CODEX_NEVER:
        return fail(NoCredit, said, scope="account")
    if names & _CODEX_POLICY or any(name.endswith("_policy") for name in names):
        return fail(ContentFiltered, said, scope="model")
    if names & _CODEX_KEY:
        return fail(CredentialRejected, said)
    if names & _CODEX_AWAY:
        return fail(Overloaded, said, scope="account", retry_at=told_at(said))
    if "subscription_sharing_unsupported_capability" in names:
        return fail(Invalid, said, param=said.param)
    if said.status == 403 and said.html:
        return fail(Overloaded, replace(said, excerpt=_BLOCKED), scope="provider")
    if said.status == 429:
        return overloaded(said) if "at capacity" in said.text else limited(said, scope="account")
    return _codex_model(said)


def _codex_model(said: Said) -> UpstreamError | None:
    """What is refused of one model, by one account: another account or the next model may do."""
    if said.status in (400, 404) and "newer version of codex" in said.text:
        return fail(ModelGone, replace(said, excerpt=_TOO_OLD), scope="account_model")
    if said.status == 400 and "not supported when using codex" in said.text:
        return fail(ModelGone, said, scope="account_model")
    if said.status == 404 and not said.html and (said.param == "model" or "model not found" in said.text):
        return fail(ModelGone, replace(said, excerpt=_CLOSED), scope="account_model")
    return None


# --- the rest --------------------------------------------------------------------------------------


def anthropic(said: Said) -> UpstreamError | None:
    """Anthropic: an empty account is a 400; 413 counts bytes, not tokens."""
    if said.status == 413:
        return fail(TooLargeHere, said, scope="model")
    return None


def naga(said: Said) -> UpstreamError | None:
    """Naga: all free models of an account share one window; a 403 is its filter."""
    if said.status == 429:
        return limited(said, scope="account")
    if said.status == 403:
        return filtered(said)
    return None


def github_models(said: Said) -> UpstreamError | None:
    """GitHub Models: the message names the window in seconds; 410 is the retired service, not a model."""
    if said.status == 410:
        return fail(ModelGone, said, scope="provider")
    return None


def local(said: Said) -> UpstreamError | None:
    """Local servers: they load, queue and overflow; no quota, no money, no account."""
    if said.status in (401, 403):
        return None
    if said.status == 429 or "loading model" in said.text or "server busy" in said.text:
        return fail(Overloaded, said, scope="model", retry_at=told_at(said))
    return (
        overflow(said) or incapable(said) or (fail(ServerFailed, said, scope="model") if said.status == 500 else None)
    )


def nothing(_said: Said) -> UpstreamError | None:
    """A family without words of its own."""
    return None


FAMILIES: Final[Mapping[str, Family]] = {
    "gemini": gemini,
    "openrouter": openrouter,
    "groq": groq,
    "cerebras": cerebras,
    "mistral": mistral,
    "cohere": cohere,
    "zai": zai,
    "nvidia": nvidia,
    "huggingface": huggingface,
    "kimi": kimi,
    "openai": nothing,
    "anthropic": anthropic,
    "sambanova": nothing,
    "naga": naga,
    "github_models": github_models,
    "local": local,
    "codex": codex,
    "generic": nothing,
}
