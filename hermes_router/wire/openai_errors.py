"""Our errors in the envelope of the OpenAI dialects.

Owns status, headers and body of every failure that a caller may see (contract.md, Errors). No text of an upstream is
shown, but for a request that the provider itself calls invalid; and none of the words that make agents compress,
rotate or give up (clients.md 7.15).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from hermes_router.core.errors import (
    AttemptReport,
    CallerError,
    DeadlinePassed,
    HermesError,
    NoTarget,
    RequestRejected,
    UpstreamError,
)

_JSON = msgspec.json.Encoder()
_SHOWN = {"gone": "broken", "refused": "broken"}  # told apart in our log, not in contract.md's list for callers
_MAX_RETRY_HEADER_S = 60
_NEVER_S = 86_400.0
_OURS = 429  # from this status on an error lists the attempts that were made, though there be none
_UNKNOWN_RETURN_S = 10.0
UNAVAILABLE = "All providers are temporarily unavailable."


class Rendered(NamedTuple):
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def render_error(error: HermesError, *, now: float, request_id: str = "") -> Rendered:  # noqa: ARG001 - in a header
    """Render any of our errors; what is not the caller's is 429, 503 or 504."""
    match error:
        case CallerError():
            headers = _retry_headers(now + error.retry_after_s, now) if error.retry_after_s is not None else {}
            if error.should_retry is not None:
                headers["x-should-retry"] = "true" if error.should_retry else "false"
            elif error.status < _OURS:
                headers["x-should-retry"] = "false"
            attempts = () if error.status >= _OURS else None
            body = _envelope(error.message, error.kind, error.param, error.code, attempts)
            return Rendered(error.status, headers, body)
        case RequestRejected():
            message = error.excerpt or "the provider refused the request"
            body = _envelope(message, "invalid_request_error", error.param, None)
            return Rendered(400, {"x-should-retry": "false"}, body)
        case NoTarget():
            return _out_of_pool(error, now)
        case DeadlinePassed():
            body = _envelope("No provider answered in time.", "timeout", None, "deadline", error.attempts)
            return Rendered(504, {}, body)
    return Rendered(503, {"retry-after": "1"}, _envelope(UNAVAILABLE, "server_error", None, "unavailable", ()))


def _out_of_pool(error: NoTarget, now: float) -> Rendered:
    retry_at = error.retry_at if error.retry_at is not None else now + _UNKNOWN_RETURN_S
    headers = _retry_headers(retry_at, now)
    wait = headers["retry-after"]
    message = f"{error.said} It" if error.said else f"{UNAVAILABLE} The next one"
    message = error.said if error.lasting else f"{message} is expected back in {wait} s."
    if error.advice:
        message = f"{message} {error.advice}"
    if error.limited:
        return Rendered(
            429, headers, _envelope(message, "rate_limit_error", None, "rate_limit_exceeded", error.attempts)
        )
    return Rendered(503, headers, _envelope(message, "server_error", None, "unavailable", error.attempts))


def _retry_headers(retry_at: float, now: float) -> dict[str, str]:
    """`Retry-After` is always true; above a minute, SDKs that would sleep for hours are told not to."""
    if not math.isfinite(retry_at):
        retry_at = now + _NEVER_S
    wait = max(1, math.ceil(retry_at - now))
    headers = {"retry-after": str(wait)}
    if wait > _MAX_RETRY_HEADER_S:
        headers["x-should-retry"] = "false"
        headers["x-hermes-retry-at"] = str(math.ceil(retry_at))
    return headers


def _envelope(
    message: str,
    kind: str,
    param: str | None,
    code: str | None,
    attempts: Sequence[AttemptReport] | None = None,
) -> bytes:
    # Texts may quote a path or a header with bytes that are no UTF-8.
    message = message.encode(errors="replace").decode()
    error: dict[str, object] = {"message": message, "type": kind, "param": param, "code": code}
    if attempts is not None:
        error["attempts"] = [
            {"target": a.target, "class": _SHOWN.get(a.wire_class, a.wire_class), "retry_at": a.retry_at}
            for a in attempts
        ]
    return _JSON.encode({"error": error})


def error_event(error: HermesError, *, now: float, request_id: str = "") -> bytes:  # noqa: ARG001 - in a header
    """A failure after the head went out: the SDKs raise on a frame with `error` (providers.md 12.10)."""
    if isinstance(error, UpstreamError) and not isinstance(error, RequestRejected):
        body = _envelope("The answer was cut: the provider failed in the middle of it.", "server_error", None, "cut")
    else:
        body = render_error(error, now=now).body
    return b"data: " + body + b"\n\n"  # no [DONE]: this is no good end
