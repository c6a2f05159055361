"""Our errors in the envelope of the Messages dialect.

Owns the types and statuses that this dialect has for what may go wrong (contract.md, Errors; providers.md 12.11). The
words and the headers are those of `openai_errors`: what may be said to a caller is decided there, once.
"""

from typing import Any

import msgspec

from hermes_router.core.errors import ContextTooLarge, HermesError, RequestRejected, UpstreamError
from hermes_router.wire import openai_errors
from hermes_router.wire.openai_errors import Rendered

__all__ = ["error_event", "render_error"]

_JSON = msgspec.json.Encoder()
_OVERLOADED = 529
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "api_error",
    _OVERLOADED: "overloaded_error",
}


class _Said(msgspec.Struct, frozen=True):
    message: str
    param: str | None = None
    attempts: list[dict[str, Any]] | None = None


class _Envelope(msgspec.Struct, frozen=True):
    error: _Said


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def render_error(error: HermesError, *, now: float, request_id: str = "") -> Rendered:
    """Render any of our errors; what is not the caller's is 429, 504 or 529. `now`: epoch seconds."""
    plain = openai_errors.render_error(error, now=now)
    said = _ENVELOPE.decode(plain.body).error
    status = _OVERLOADED if plain.status == 503 else plain.status
    return Rendered(status, plain.headers, _envelope(_type(status), _message(error, said), said.attempts, request_id))


def _type(status: int) -> str:
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def _message(error: HermesError, said: _Said) -> str:
    """The path of a field stands in the text, since this dialect has no other place for it."""
    if isinstance(error, ContextTooLarge):
        return f"prompt is too long: {error.needed} tokens > {error.advertised} maximum"  # clients.md 7.14
    if said.param and said.param not in said.message:
        return f"{said.param}: {said.message}"
    return said.message


def _envelope(kind: str, message: str, attempts: list[dict[str, Any]] | None, request_id: str) -> bytes:
    error: dict[str, Any] = {"type": kind, "message": message}
    if attempts is not None:
        error["attempts"] = attempts
    return _JSON.encode({"type": "error", "error": error, "request_id": request_id or None})


def error_event(error: HermesError, *, now: float, request_id: str = "") -> bytes:
    """A failure after the head went out: `event: error`, on which the SDKs raise (providers.md 12.10)."""
    if isinstance(error, UpstreamError) and not isinstance(error, RequestRejected):
        body = _envelope("api_error", "The answer was cut: the provider failed in the middle of it.", None, request_id)
    else:
        body = render_error(error, now=now, request_id=request_id).body
    return b"event: error\ndata: " + body + b"\n\n"
