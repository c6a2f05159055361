"""Refusals by status, code and wording that many providers share: the judge behind every family.

Owns what an unknown OpenAI-compatible provider may say about keys, credit, limits and capacity. It must never know
a single provider. Structured evidence (status, code, header) goes before words, and a short wait never makes a
window short, nor a long one daily (facts/providers.md 1.2, 4.4).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from hermes_router.core.clocks import next_reset
from hermes_router.core.errors import (
    CredentialRejected,
    Invalid,
    Malformed,
    ModelGone,
    NoCredit,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    TooLargeHere,
    UpstreamError,
)
from hermes_router.core.observations import QuotaSeen, ScopeKind, Unit, Window
from hermes_router.wire.ratelimit import HEADER_FAMILIES, retry_after, seen
from hermes_router.wire.rejection.body import Said
from hermes_router.wire.rejection.request import GONE_NAMES, about_request, filtered, gone, incapable, overflow
from hermes_router.wire.resets import parse_reset, told_in_text

CREDIT_NAMES: Final = frozenset({
    "insufficient_quota", "billing_hard_limit_reached", "billing_error", "exceeded_current_quota_error",
    "organization_spend_limit_exceeded", "payment_method_required", "payment_required", "insufficient_balance",
    "insufficient_credits", "insufficient_funds", "credits_exhausted", "workspace_owner_credits_depleted",
    "workspace_member_credits_depleted",
})  # fmt: skip
CAPACITY_NAMES: Final = frozenset({
    "overloaded_error", "engine_overloaded_error", "server_is_overloaded", "server_overloaded", "slow_down",
    "service_tier_capacity_exceeded", "queue_exceeded", "unavailable_error", "capacity_exceeded", "overloaded",
})  # fmt: skip
KEY_NAMES: Final = frozenset({
    "invalid_api_key", "wrong_api_key", "incorrect_api_key", "token_invalidated", "token_revoked",
    "account_deactivated", "deactivated_workspace", "invalid_authentication_error", "organization_restricted",
})  # fmt: skip
PLAN_NAMES: Final = frozenset({"usage_limit_reached", "subscription_sharing_usage_limit_exceeded"})
DAY_CLOCKS: Final[Mapping[str, str]] = {
    # Where days are published, or assumed, to end (facts/providers.md 4.3); rolling ones are not in it: what
    # was not told is not known there.
    "gemini": "America/Los_Angeles", "openrouter": "utc", "sambanova": "utc", "naga": "utc", "zai": "Asia/Shanghai",
}  # fmt: skip
LONG: Final = frozenset({Window.DAY, Window.WEEK, Window.MONTH, Window.PLAN})

_CREDIT: Final = re.compile(
    r"credit balance|insufficient (?:balance|credit|fund|quota)|not enough (?:credit|balance)|out of credits"
    r"|no (?:remaining )?credits|add (?:more )?credits|payment (?:method|required)|requires more credits"
    r"|exceeded your (?:monthly included|current) credits|billing hard limit|account (?:is )?in arrears"
)
_BILLING: Final = re.compile(r"exceeded your current quota, please check your plan and billing")
_CAPACITY: Final = re.compile(
    r"overloaded|(?:at|no|out of|insufficient) capacity|capacity exceeded|server (?:is )?(?:too )?busy|high traffic"
    r"|loading model|temporarily unavailable|degraded function"
)
_KEY: Final = re.compile(
    r"(?:incorrect|invalid|expired|revoked) (?:api|access|auth)[ _-](?:key|token)|api key (?:not valid|expired)"
)
_AFFORD: Final = re.compile(r"can only afford|prompt tokens limit exceeded|fewer max_tokens")
_IP: Final = re.compile(
    r"\b(?:your|this|the|client|source|from|per|by)[ -]ip\b|\bip[ -](?:address|based|rate|limit)|byip\b|error 1015"
)
_REGION: Final = re.compile(
    r"(?:country|region|territory|location).{0,60}not (?:supported|available|allowed)|unsupported_country"
    r"|not (?:supported|available|allowed) in your (?:country|region|territory)"
)
_PLAN: Final = re.compile(r"usage limit.{0,60}(?:period|week|plan|reached)|\bweekly\b|billing[ -]cycle|5[ -]hour")
_BRACKET: Final = re.compile(r"\((?:i|o)?(tp|rp|ap)([smhd])\)|\b(?:i|o)?(tp|rp)([smhd])\b")
_LETTERS: Final = {"s": Window.SECOND, "m": Window.MINUTE, "h": Window.HOUR, "d": Window.DAY}
_WINDOW_WORDS: Final = (
    (Window.MONTH, re.compile(r"per[ -]month|monthly|/ ?month\b|this month")),
    (Window.DAY, re.compile(r"per[ -]?day|daily|/ ?day\b|per 86400s|by ?day\b")),
    (Window.HOUR, re.compile(r"per[ -]?hour|hourly|/ ?h(?:our)?\b|per 3600s")),
    (Window.MINUTE, re.compile(r"per[ -]?min(?:ute)?\b|/ ?min(?:ute)?\b|per 60s|by ?minute\b")),
    (Window.SECOND, re.compile(r"per[ -]?sec(?:ond)?\b|/ ?s(?:ec(?:ond)?)?\b|per 1s|by ?second\b")),
    (Window.NONE, re.compile(r"concurren|in[ -]flight|simultaneous|parallel requests")),
)
_COUNTS: Final = re.compile(
    r"\blimit:? (\d{1,12})(?: ?/ ?\w+)?(?:[.,] ?(?:used|current):? (\d{1,12}))?(?:[ /\w]*[.,] ?requested:? (\d{1,12}))?"
)
_TOO_LARGE: Final = re.compile(r"request too large|too large for .{0,160}(?:tokens per|tpm)|max size: ?\d+ tokens")
_TIMES: Final = (
    "resets_at", "reset_at", "resettime", "reset_time", "resets_in_seconds", "reset_after_seconds", "retry_after",
    "retry_after_seconds", "retrydelay", "next_flush_time",
)  # fmt: skip


def told_at(said: Said, *, naive_offset_s: float = 0.0) -> float | None:
    """The latest instant that header, body member or wording names (LL-4), in epoch seconds; None if none does."""
    found = [retry_after(said.headers, said.now), told_in_text(said.words, said.now, naive_offset_s=naive_offset_s)]
    found += [
        parse_reset(said.fields[name], said.now, naive_offset_s=naive_offset_s)
        for name in _TIMES
        if name in said.fields
    ]
    if "retry_after_ms" in said.fields:
        found.append(parse_reset(said.fields["retry_after_ms"] + "ms", said.now))
    return max((at for at in found if at is not None), default=None)


def window_of(text: str) -> Window | None:
    """The window that a message names: the abbreviation first, else the first one in words; None if none."""
    match = _BRACKET.search(text)
    if match is not None:
        return _LETTERS[match.group(2) or match.group(4)]
    places = [(m.start(), window) for window, pattern in _WINDOW_WORDS if (m := pattern.search(text)) is not None]
    return min(places, key=lambda place: place[0])[1] if places else None


def header_quotas(said: Said) -> tuple[QuotaSeen, ...]:
    """The windows in the headers of the refusal."""
    return seen(said.family if said.family in HEADER_FAMILIES else "generic", said.headers, said.now)


def fail(
    kind: type[UpstreamError],
    said: Said,
    *,
    scope: ScopeKind | None = None,
    told: bool = True,
    retry_at: float | None = None,
    window: Window | None = None,
    quotas: Sequence[QuotaSeen] = (),
    param: str | None = None,
) -> UpstreamError:
    """An error of that class with what was said; `told` only counts where there is a `retry_at`."""
    return kind(
        said.excerpt, status=said.status or None, scope=scope, retry_at=retry_at,
        told=told and retry_at is not None, window=window, quotas=quotas, param=param,
    )  # fmt: skip


def _counted(said: Said, scope: ScopeKind, window: Window | None, reset_at: float | None) -> tuple[QuotaSeen, ...]:
    """`Limit 200000, Used 199336, Requested 2000` as a quota: the only place where Groq shows TPD."""
    match = _COUNTS.search(said.text)
    if match is None or window is None or window is Window.NONE:
        return ()
    limit = int(match.group(1))
    remaining = None if match.group(2) is None else max(0, limit - int(match.group(2)))
    unit = Unit.TOKENS if "token" in said.text or re.search(r"\btp[mhd]\b", said.text) else Unit.REQUESTS
    if "(itpm)" in said.text or "input tokens" in said.text:
        unit = Unit.INPUT_TOKENS
    return (QuotaSeen(scope, unit, window, limit, remaining, reset_at),)


def limited(
    said: Said, *, scope: ScopeKind = "account_model", window: Window | None = None, naive_offset_s: float = 0.0
) -> UpstreamError:
    """RateLimited or QuotaExhausted by the window that is named, else by the header that shows zero left.

    `retry_at` is the latest that was told; without it, the published clock of a long window (`told` False); else
    None. A window given by the caller is certain.
    """
    quotas = header_quotas(said)
    spent = max((q for q in quotas if q.remaining == 0 and q.reset_at), key=lambda q: q.reset_at or 0, default=None)
    window = window or window_of(said.text) or (spent.window if spent else None)
    retry_at = told_at(said, naive_offset_s=naive_offset_s)
    if spent is not None and spent.window is window and spent.reset_at is not None:
        retry_at = max(retry_at or 0.0, spent.reset_at)
    if window is Window.MONTH:
        scope = "account" if scope == "account_model" else scope
    told = retry_at is not None
    if retry_at is None and window is Window.DAY and said.family in DAY_CLOCKS:
        retry_at = next_reset(DAY_CLOCKS[said.family], Window.DAY, said.now)
    elif retry_at is None and window is Window.MONTH:
        retry_at = next_reset("utc", Window.MONTH, said.now)
    kind = QuotaExhausted if window in LONG else RateLimited
    quotas = (*quotas, *_counted(said, scope, window, retry_at))
    return fail(kind, said, scope=scope, retry_at=retry_at, told=told, window=window, quotas=quotas)


def too_large_here(said: Said) -> UpstreamError | None:
    """TooLargeHere where one request is more than a window admits at all (Groq's 413, OpenAI's 429)."""
    match = _COUNTS.search(said.text)
    asked_too_much = match is not None and match.group(3) is not None and int(match.group(3)) > int(match.group(1))
    if not asked_too_much and _TOO_LARGE.search(said.text) is None:
        return None
    window = window_of(said.text)
    quotas = _counted(said, "account_model", window, None)
    return fail(TooLargeHere, said, scope="account_model", window=window, quotas=quotas)


def no_credit(said: Said) -> UpstreamError | None:
    """NoCredit where a code or wording says so. Gemini's "exceeded your current quota" is not that."""
    billing = _BILLING.search(said.text) is not None and "resource_exhausted" not in said.names
    if said.names & CREDIT_NAMES or billing or _CREDIT.search(said.text) is not None:
        return fail(NoCredit, said, retry_at=told_at(said))
    return None


def overloaded(said: Said) -> UpstreamError:
    """No capacity for this model now."""
    return fail(Overloaded, said, scope="model", retry_at=told_at(said))


def _unpaid(said: Said) -> UpstreamError:
    if _AFFORD.search(said.text) is not None:
        return fail(TooLargeHere, said, scope="account_model")
    # With a wait it is a reservation of parallel requests that frees itself (OpenRouter), no empty account.
    if said.word("limit_source").endswith("in_flight_budget") or retry_after(said.headers, said.now) is not None:
        return fail(RateLimited, said, scope="account", window=Window.NONE, retry_at=told_at(said))
    if said.names & {"deactivated_workspace"}:
        return fail(CredentialRejected, said, scope="account")
    return fail(NoCredit, said)


def _forbidden(said: Said) -> UpstreamError:
    if said.html:
        return fail(Malformed, said)  # a gateway's challenge page says nothing of the key
    if _REGION.search(said.text) is not None or any(n.startswith("unsupported_country") for n in said.names):
        return fail(ServerFailed, said)
    if _PLAN.search(said.text) is not None:
        return limited(said, scope="account", window=Window.PLAN)
    return no_credit(said) or filtered(said) or gone(said) or fail(CredentialRejected, said)


def _too_many(said: Said) -> UpstreamError:
    # Advice to buy more often stands beside a plain limit: then only a code means that the money is gone.
    if said.names & CREDIT_NAMES or window_of(said.text) is None:
        credit = no_credit(said)
        if credit is not None:
            return credit
    if said.names & PLAN_NAMES or (_PLAN.search(said.text) is not None and window_of(said.text) is None):
        return limited(said, scope="account", window=Window.PLAN)
    if _IP.search(said.text) is not None:
        return limited(said, scope="ip")
    if said.names & CAPACITY_NAMES or _CAPACITY.search(said.text) is not None:
        return overloaded(said)
    return too_large_here(said) or limited(said)


def _bad(said: Said) -> UpstreamError:
    """400 and 422."""
    if said.names & KEY_NAMES or _KEY.search(said.text) is not None:
        return fail(CredentialRejected, said)
    if _REGION.search(said.text) is not None:
        return fail(ServerFailed, said)
    if said.html:
        return fail(Malformed, said)
    found = no_credit(said) or too_large_here(said) or about_request(said)
    if found is not None:
        return found
    if said.param == "model":
        return fail(ModelGone, said, param="model")
    param = said.param or (said.complaints[0].loc[-1] if said.complaints and said.complaints[0].loc else None)
    return fail(Invalid, said, param=param)


def _missing(said: Said) -> UpstreamError:
    """404 and 410: the model, unless a web server answers in place of the API."""
    if said.html:
        return fail(Malformed, said)
    found = about_request(said)
    return found if found is not None else fail(ModelGone, said, param=said.param)


def _large(said: Said) -> UpstreamError:
    return overflow(said) or too_large_here(said) or fail(TooLargeHere, said, scope="account_model")


def _broken(said: Said) -> UpstreamError:
    """5xx and their kin, which may still carry a code that says better whom to blame."""
    if said.names & CREDIT_NAMES:
        return fail(NoCredit, said)
    if said.names & GONE_NAMES:
        return fail(ModelGone, said)
    # llama.cpp answers 500 to an image that it cannot see: that is no ill health.
    unfit = overflow(said) or incapable(said)
    if unfit is not None:
        return unfit
    if said.status in _CAPACITY_STATUSES or said.names & CAPACITY_NAMES or _CAPACITY.search(said.text) is not None:
        return overloaded(said)
    return fail(ServerFailed, said, retry_at=told_at(said))


_CAPACITY_STATUSES: Final = frozenset({408, 498, 502, 503, 504, 524, 529})
_BY_STATUS: Final[Mapping[int, Callable[[Said], UpstreamError]]] = {
    400: _bad, 401: partial(fail, CredentialRejected), 402: _unpaid, 403: _forbidden, 404: _missing,
    405: partial(fail, Malformed), 407: partial(fail, ServerFailed), 408: _broken, 409: _broken, 410: _missing,
    413: _large, 414: _large, 422: _bad, 424: _broken, 425: _broken, 429: _too_many, 431: _large,
    451: partial(fail, ServerFailed), 498: _broken, 499: _broken,
}  # fmt: skip


def generic(said: Said) -> UpstreamError:
    """The judgement by status, then code, then words; it has one for everything."""
    if 300 <= said.status < 400:
        return fail(Malformed, said)
    rule = _BY_STATUS.get(said.status)
    if rule is not None:
        return rule(said)
    if 400 < said.status < 500:
        return fail(Malformed if said.html else Invalid, said, param=said.param)
    return _broken(said)
