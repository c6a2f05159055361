"""Quirks of single messages: roles, keys and the shape of content.

Owns what providers refuse in a message on its own (facts: providers.md 5, message-level normalisation, and 12.2-12.3).
Pairing of calls and results is `quirks_history`, the order of turns `quirks_calls`. It must never know a provider.
"""

from typing import Any

import msgspec
from msgspec import Raw

from hermes_router.core.catalog import Quirk
from hermes_router.wire.quirks.draft import (
    Draft,
    Message,
    calls_of,
    is_null,
    is_plain_text,
    part_text,
    parts_of,
    text_of,
    text_part,
    thaw,
)

_SYSTEM = ("system", "developer")
_PLAIN_KEYS = frozenset({"role", "content", "tool_calls", "tool_call_id", "name"})
_PREFILL_MARKS = {Quirk.PREFILL_PREFIX: "prefix", Quirk.PREFILL_PARTIAL: "partial"}
_SILENT_KEYS = frozenset({
    "refusal", "parsed", "annotations", "audio", "reasoning", "reasoning_content", "reasoning_details",
    "extra_content", "cache_control", "function_call", "provider_specific_fields", "index", "phase", "id", "type",
})  # fmt: skip
"""Keys without meaning for another provider: dropped without a word."""

_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
_PART_KEYS = frozenset({"text", "image_url", "input_audio", "file", "video_url"})


# --- roles ------------------------------------------------------------------------------------------


def developer_to_system(draft: Draft) -> None:
    """The role `developer` is spelled `system`."""
    for message in draft.messages:
        if message["role"] == "developer":
            message["role"] = "system"
            draft.edited()


def merge_system(draft: Draft) -> None:
    """Several leading system messages become one."""
    messages = draft.messages
    leading = next((n for n, message in enumerate(messages) if message["role"] not in _SYSTEM), len(messages))
    if leading < 2:
        return
    messages[0]["content"] = _joined(messages[:leading])
    del messages[1:leading]
    draft.edited()


def system_to_user(draft: Draft) -> None:
    """Where there is no system role, leading system text opens the first user turn; later ones are user turns."""
    messages = draft.messages
    leading = next((n for n, message in enumerate(messages) if message["role"] not in _SYSTEM), len(messages))
    for message in messages[leading:]:
        if message["role"] in _SYSTEM:
            message["role"] = "user"
            draft.edited()
            draft.warn("approx", "messages.system")
    if not leading:
        return
    folded: Message = {"role": "user", "content": _joined(messages[:leading])}
    if leading < len(messages) and messages[leading]["role"] == "user":
        first = messages[leading]
        folded = {**first, "content": _joined([folded, first])}
        leading += 1
    draft.messages = [folded, *messages[leading:]]
    draft.edited()
    draft.warn("approx", "messages.system")


def instruct(draft: Draft, text: str) -> None:
    """Add an instruction of ours behind the leading system text."""
    messages = draft.messages
    note: Message = {"role": "system", "content": text}
    if messages and messages[0]["role"] in _SYSTEM:
        messages[0]["content"] = _joined([messages[0], note])
    else:
        messages.insert(0, note)
    draft.edited()


def _joined(messages: list[Message]) -> str | list[dict[str, Any]]:
    """The contents of several messages as one: text by blank lines, or a list of parts where any is no text."""
    texts = [text_of(message, index) for index, message in enumerate(messages)]
    known = [text for text in texts if text is not None]
    if len(known) == len(texts):
        return "\n\n".join(text for text in known if text)
    out: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        parts = parts_of(message, index)
        if parts is not None:
            out.extend(parts)
        elif texts[index]:
            out.append(text_part(texts[index] or ""))
    return out


# --- content ----------------------------------------------------------------------------------------


def flatten_text(draft: Draft) -> None:
    """A list of text parts only becomes a string (Cohere, Cerebras, NVIDIA, old templates)."""
    for index, message in enumerate(draft.messages):
        if parts_of(message, index) is None:
            continue
        text = text_of(message, index)
        if text is not None:
            message["content"] = text
            draft.edited()


def content_never_null(draft: Draft) -> None:
    """Missing or null content beside tool calls becomes an empty string."""
    for message in draft.messages:
        if calls_of(message) and is_null(message.get("content")):
            message["content"] = ""
            draft.edited()


def drop_message_names(draft: Draft) -> None:
    """`messages[].name` is refused (Groq)."""
    for message in draft.messages:
        if "name" not in message:
            continue
        name = message.pop("name")
        draft.edited()
        if name is not None and message["role"] != "tool":
            draft.warn("dropped", "messages.name")


# --- keys -------------------------------------------------------------------------------------------


def strict_message_keys(draft: Draft) -> None:
    """Only the keys that every provider knows; what carries replayed reasoning stays where the row replays it."""
    replayed, in_calls = _replayed(draft.quirks)
    kept = _PLAIN_KEYS | {mark for quirk, mark in _PREFILL_MARKS.items() if quirk in draft.quirks}
    out: list[Message] = []
    for index, message in enumerate(draft.messages):
        if is_plain_text(message):
            out.append(message)
            continue
        _refusal_to_text(draft, message)
        for key in [key for key, value in message.items() if not _kept(message, key, value, kept, replayed)]:
            value = message.pop(key)
            draft.edited()
            if key not in _SILENT_KEYS and not is_null(value):
                draft.warn("dropped", f"messages.{key}")
        _strict_parts(draft, message, index)
        _strict_calls(draft, message, in_calls)
        if message["role"] == "assistant" and not message.get("tool_calls") and _is_empty(message):
            draft.edited()
            draft.warn("dropped", "messages.empty")
            continue
        out.append(message)
    if out:
        draft.messages = out


def _replayed(quirks: frozenset[Quirk]) -> tuple[frozenset[str], frozenset[str]]:
    """Message keys and call keys that this row's replay quirks write."""
    keys: set[str] = set()
    if Quirk.REPLAY_REASONING in quirks or Quirk.REPLAY_REASONING_IF_KNOWN in quirks:
        keys.add("reasoning_content")
    if Quirk.REPLAY_DETAILS in quirks:
        keys.add("reasoning_details")
    return frozenset(keys), frozenset({"extra_content"} if Quirk.REPLAY_SIGNATURE in quirks else ())


def _kept(message: Message, key: str, value: Any, kept: frozenset[str], replayed: frozenset[str]) -> bool:
    if key in replayed:
        return bool(calls_of(message)) and not is_null(value)
    return key in kept and (key == "content" or not is_null(value))


def _refusal_to_text(draft: Draft, message: Message) -> None:
    """A refusal in the history is what the assistant said (providers.md 12.3)."""
    if is_null(message.get("refusal")) or not is_null(message.get("content")):
        return
    if isinstance(said := thaw(message, "refusal", "messages.refusal"), str):
        message["content"] = said
        draft.edited()


def _strict_parts(draft: Draft, message: Message, index: int) -> None:
    parts = parts_of(message, index)
    if parts is None:
        return
    out: list[dict[str, Any]] = []
    for part in parts:
        kind = thaw(part, "type", f"messages[{index}].content")
        if isinstance(kind, str) and kind in _THOUGHTS:
            continue  # another model's thoughts are never sent as they are (providers.md 7)
        if kind == "refusal":
            out.append(text_part(part_text(part, index) or ""))
        elif isinstance(kind, str) and kind in _PART_KEYS:
            out.append({key: value for key, value in part.items() if key in ("type", kind)})
        else:
            out.append({key: value for key, value in part.items() if key != "cache_control"})
    if [list(part) for part in out] != [list(part) for part in parts]:
        message["content"] = out
        draft.edited()


def _strict_calls(draft: Draft, message: Message, in_calls: frozenset[str]) -> None:
    for call in calls_of(message):
        custom = call.get("custom")
        if isinstance(custom, dict) and "function" not in call:
            text = msgspec.json.encode({"input": custom.get("input", "")}).decode()
            call["function"] = {"name": custom.get("name") or "custom", "arguments": text}
            call["type"] = "function"
            draft.edited()
        for key in [key for key in call if key not in {"id", "type", "function"} and key not in in_calls]:
            del call[key]
            draft.edited()
        if call.get("type") != "function":
            call["type"] = "function"
            draft.edited()
        function = call.get("function") or {}
        for key in [key for key in function if key not in {"name", "arguments"}]:
            del function[key]
            draft.edited()


def _is_empty(message: Message) -> bool:
    content = message.get("content")
    if isinstance(content, Raw):
        return bytes(memoryview(content)[:4]) in (b'""', b"null", b"[]")
    return not content
