"""Quirks of replay: what an earlier answer left behind and the next request must carry.

Owns where signatures and reasoning are written in the history (facts: providers.md 3.1, 3.13, 7, 12.9). Where they come
from is `Recall`, which hands out nothing of another provider. They run before ids are rewritten, since what is
remembered goes by the ids that the caller was shown. It must never invent reasoning.
"""

from typing import Any

from hermes_router.wire.quirks.draft import Draft, Message, call_parts, calls_of, thaw

SKIP_SIGNATURE = "skip_thought_signature_validator"
"""Documented by Google: for calls whose signature is unknown, or that another model made (BF-6)."""

NO_REASONING = "[earlier reasoning is not available]"
"""Kimi refuses an assistant turn with calls and no reasoning; this says what is true."""


def replay_signature(draft: Draft) -> None:
    """The first call of each step carries its thought signature, or the marker that skips the check (Gemini 3+)."""
    for message in draft.messages:
        calls = calls_of(message)
        if not calls:
            continue
        call = calls[0]
        sent = _signature(call.get("extra_content"))
        signature = draft.recall.signature(*call_parts(call)) or sent or SKIP_SIGNATURE
        if signature != sent:
            call["extra_content"] = {"google": {"thought_signature": signature}}
            draft.edited()


def _signature(extra: Any) -> str | None:
    google = extra.get("google") if isinstance(extra, dict) else None
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return found if isinstance(found, str) and found else None


def replay_reasoning(draft: Draft) -> None:
    """Assistant turns with calls carry `reasoning_content`: remembered, the caller's own, or a note (Kimi)."""
    for message in draft.messages:
        if calls_of(message):
            _write_reasoning(draft, message, _reasoning(draft, message) or NO_REASONING)


def replay_reasoning_if_known(draft: Draft) -> None:
    """Assistant turns with calls carry `reasoning_content` where it is known (Z.ai, DeepSeek)."""
    for message in draft.messages:
        if calls_of(message) and (known := _reasoning(draft, message)):
            _write_reasoning(draft, message, known)


def _reasoning(draft: Draft, message: Message) -> str | None:
    for call in calls_of(message):
        if remembered := draft.recall.reasoning(*call_parts(call)):
            return remembered
    for key in ("reasoning_content", "reasoning"):
        said = thaw(message, key, f"messages.{key}")
        if isinstance(said, str) and said.strip():
            return said
    return None


def _write_reasoning(draft: Draft, message: Message, text: str) -> None:
    if thaw(message, "reasoning_content", "messages.reasoning_content") != text:
        message["reasoning_content"] = text
        draft.edited()


def replay_details(draft: Draft) -> None:
    """`reasoning_details` go back unmodified on the turn whose calls they led to (OpenRouter, 3.2)."""
    for message in draft.messages:
        for call in calls_of(message):
            details = draft.recall.details(*call_parts(call))
            if details is not None:
                message["reasoning_details"] = details
                draft.edited()
                break
