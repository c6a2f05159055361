"""How a failure is told in Responses: as an HTTP error, in `response.failed`, and where no response is known.

Owns the codes, which agents act on (facts: clients.md 3, codex.md 8): what waiting helps against, what the caller must
change, and everything else. Texts are those of every OpenAI dialect. It must never show a word of an upstream's own.
"""

from typing import Any, Final

import msgspec

from hermes_router.core.errors import ContextTooLarge, ContextTooLong, HermesError
from hermes_router.wire import openai_errors

__all__ = ["error_event", "failure", "render_error"]

_OVERFLOW: Final = "context_length_exceeded"
_PATIENCE_S: Final = 60  # agents wait as long as they are told to
_ANY: Final = msgspec.json.Decoder()
_ENCODE: Final = msgspec.json.Encoder().encode


def render_error(error: HermesError, *, now: float, request_id: str = "") -> openai_errors.Rendered:
    """The same as in every OpenAI dialect, but that a prompt is called `input` here. `now` in epoch seconds."""
    if isinstance(error, ContextTooLarge):
        error = ContextTooLarge(advertised=error.advertised, needed=error.needed, param="input")
    return openai_errors.render_error(error, now=now, request_id=request_id)


def failure(error: HermesError, *, now: float) -> tuple[str, str]:
    """(code, message). `now` in epoch seconds."""
    shown: dict[str, Any] = _ANY.decode(openai_errors.error_event(error, now=now).removeprefix(b"data: "))["error"]
    message: str = shown["message"]
    if shown["code"] == _OVERFLOW or isinstance(error, ContextTooLong):
        return _OVERFLOW, message
    match shown["type"]:
        case "rate_limit_error":
            wait = int(openai_errors.render_error(error, now=now).headers.get("retry-after", "0"))
            # Codex waits for as long as a text of this form says.
            hint = f" Please try again in {wait}s." if 0 < wait <= _PATIENCE_S else ""
            return "rate_limit_exceeded", message + hint
        case "server_error" | "timeout":
            return "server_error", message
    return "invalid_prompt", message  # final: nothing that the caller sends again unchanged could help


def error_event(error: HermesError, *, now: float, request_id: str = "") -> bytes:  # noqa: ARG001 - in a header
    """An `error` event where no response is known: in the dialect's shape, and in the one that SDKs raise on.

    `now` in epoch seconds.
    """
    code, message = failure(error, now=now)
    flat = {"code": code, "message": message, "param": None}
    data = {"type": "error", "sequence_number": 0, **flat, "error": {"type": "error", **flat}}
    return b"event: error\ndata: " + _ENCODE(data) + b"\n\n"
