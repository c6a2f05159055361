"""From a provider's refusal to the class of error that says whom it blames and when to come back.

Owns the entry points and the order of judges: family first, then the generic one. It must never know a target,
raise on what a provider sent, or let a secret through into an excerpt.
"""

from collections.abc import Collection, Mapping
from typing import Final

from msgspec.structs import replace

from hermes_router.core.errors import UpstreamError
from hermes_router.wire.rejection.body import Said, read
from hermes_router.wire.rejection.families import FAMILIES, nothing
from hermes_router.wire.rejection.generic import CAPACITY_NAMES, CREDIT_NAMES, KEY_NAMES, PLAN_NAMES, generic
from hermes_router.wire.rejection.request import FIELD_NAMES, FILTER_NAMES, GONE_NAMES, OVERFLOW_NAMES

__all__ = ["FAMILIES", "classify", "in_band"]

# The status that an error object would have had, had it come before the head.
_STATUS_OF: Final[Mapping[str, int]] = {
    **dict.fromkeys(CREDIT_NAMES, 402),
    **dict.fromkeys(KEY_NAMES, 401),
    **dict.fromkeys(CAPACITY_NAMES, 503),
    **dict.fromkeys(PLAN_NAMES, 429),
    **dict.fromkeys(GONE_NAMES, 404),
    **dict.fromkeys((*OVERFLOW_NAMES, *FILTER_NAMES, *FIELD_NAMES), 400),
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "rate_limited": 429,
    "rate_limit_reached_error": 429,
    "too_many_requests_error": 429,
    "request_quota_exceeded": 429,
    "token_quota_exceeded": 429,
    "resource_exhausted": 429,
    "insufficient_quota": 429,
    "authentication_error": 401,
    "unauthenticated": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "request_too_large": 413,
    "invalid_argument": 400,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "timeout_error": 504,
    "internal": 500,
    "api_error": 500,
    "server_error": 500,
    "internal_server_error": 500,
    "invalid_request_error": 400,
}
_LOOSE: Final = frozenset({"invalid_request_error", "api_error", "server_error"})


def _judged(said: Said) -> UpstreamError:
    if 300 <= said.status < 400:
        return generic(said)
    return FAMILIES.get(said.family, nothing)(said) or generic(said)


def classify(
    family: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    *,
    sent_fields: Collection[str] = (),
) -> UpstreamError:
    """The error that a non-2xx answer is, with scope, window, times and quotas filled in; never raises.

    `family` is the row's `rejection` (unknown = generic), `headers` have lower-case names, `body` may be anything,
    `now` is epoch seconds, `sent_fields` the top-level keys of the request as sent: they let a denial that quotes
    one of them be recognised. Source: facts/providers.md 3, 4 and 8.
    """
    return _judged(read(family, status, headers, body, now=now, sent_fields=sent_fields))


def _implied_status(said: Said) -> int:
    """The status of an error inside a 200: a number it carries, else what its names stand for, else 500."""
    for name in ("code", "status", "status_code", "http_code"):
        text = said.word(name)
        if len(text) == 3 and text.isascii() and text.isdigit() and 400 <= int(text) < 600:
            return int(text)
    known = sorted((name in _LOOSE, name) for name in said.names if name in _STATUS_OF)
    return _STATUS_OF[known[0][1]] if known else 500


def in_band(family: str, error: object, now: float) -> UpstreamError:
    """The error that an object inside a 200 body or a stream chunk is; never raises.

    `error` is the parsed JSON value: the error object, or the whole body around it. Without any sign it is
    ServerFailed, since the request had been accepted. `status` is the implied one, None where none is.
    """
    said = read(family, 0, {}, error if not isinstance(error, bytes) else error.decode("utf-8", "replace"), now=now)
    status = _implied_status(said)
    found = _judged(replace(said, status=status))
    if status == 500 and "500" not in said.names:
        found.status = None
    return found
