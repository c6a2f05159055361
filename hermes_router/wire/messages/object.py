"""The parts of a message that streams and whole answers share: its id, its usage, its end, its arguments.

Owns the spelling of neutral values in the Messages dialect (providers.md 12.4, 12.6, 12.7). It must never keep state.
"""

import hashlib
import re
from typing import Any

import msgspec

from hermes_router.core.events import BlockKind, Finish, Usage

__all__ = ["INVALID_JSON", "PREFIX", "ending", "goes_on", "message_id", "stand_in", "usage_object"]

PREFIX = "msg_"
INVALID_JSON = "INVALID_JSON"
"""The key under which Anthropic's own guide puts arguments that were cut (fine-grained tool streaming)."""

_TEXT = msgspec.json.encode
_ID = re.compile(r"msg_[A-Za-z0-9_-]{1,60}")
_REASONS = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.TOOL_CALLS: "tool_use",
    Finish.CONTENT_FILTER: "refusal",
}
# Words of a Messages upstream that say more than the neutral reason does (providers.md 12.6).
_KEPT = {"stop_sequence": Finish.STOP, "model_context_window_exceeded": Finish.LENGTH}


def message_id(upstream_id: str) -> str:
    """An id in the shape of this dialect: the upstream's own, or one that follows from it."""
    if _ID.fullmatch(upstream_id):
        return upstream_id
    return PREFIX + hashlib.sha256(upstream_id.encode(errors="surrogatepass")).hexdigest()[:24]


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage` in the Messages spelling: its input counts neither what was read from nor what was put in a cache."""
    counts: dict[str, Any] = {
        "input_tokens": max(0, usage.input_tokens - usage.cached_tokens - usage.written_tokens),
        "cache_creation_input_tokens": usage.written_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counts


def goes_on(kind: BlockKind, extras: dict[str, object]) -> bool:
    """Whether a block goes on with the thought before it: Chat providers begin one with each piece of their details."""
    return kind is BlockKind.REASONING and bool(extras)


def stand_in(text: str, *, custom: bool) -> str:
    """JSON of an object for arguments that are none (providers.md 12.4)."""
    if custom:
        return _TEXT({"input": text}).decode()
    if text.strip() in ("", "null"):
        return "{}"
    try:
        msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _TEXT({INVALID_JSON: text}).decode()
    return '{"input":' + text.strip() + "}"


def ending(reason: Finish, raw: str, stop_sequence: str | None, *, calls: int) -> dict[str, Any]:
    """`stop_reason` and what stands beside it. Where there are calls, an end is for the sake of them."""
    if calls and reason is Finish.STOP:
        reason, stop_sequence = Finish.TOOL_CALLS, None
    word = _REASONS[reason]
    if _KEPT.get(raw) is reason:
        word = raw
    elif reason is Finish.STOP and stop_sequence is not None:
        word = "stop_sequence"
    ending: dict[str, Any] = {"stop_reason": word, "stop_sequence": stop_sequence}
    if reason is Finish.CONTENT_FILTER:
        ending["stop_details"] = {"type": "refusal", "category": None, "explanation": None}
    return ending
