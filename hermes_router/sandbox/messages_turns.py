"""What Anthropic's Messages API refuses in the turns of a conversation (facts/providers.md 12.2-12.4, 12.9).

Owns roles and their order, blocks, pairs of calls and results, images, and thoughts that are not the model's own.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hermes_router.sandbox.messages_hear import blocks
from hermes_router.sandbox.rules import Rule
from hermes_router.sandbox.values import Asked, Breach

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MAGIC: Mapping[str, tuple[bytes, ...]] = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}
_USUAL = {"type", "cache_control"}
_KEYS: Mapping[str, set[str]] = {
    "text": _USUAL | {"text", "citations"},
    "image": _USUAL | {"source"},
    "document": _USUAL | {"source", "title", "context", "citations"},
    "tool_use": _USUAL | {"id", "name", "input", "caller", "toolset_name"},
    "tool_result": _USUAL | {"tool_use_id", "content", "is_error", "toolset_name"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
}
_REQUIRED: Mapping[str, dict[str, type]] = {
    "text": {"text": str}, "image": {"source": dict}, "document": {"source": dict},
    "tool_use": {"id": str, "name": str, "input": dict}, "tool_result": {"tool_use_id": str},
    "thinking": {"thinking": str, "signature": str}, "redacted_thinking": {"data": str},
}  # fmt: skip
_OF_ROLE: Mapping[str, frozenset[str]] = {
    "user": frozenset({"text", "image", "document", "tool_result"}),
    "assistant": frozenset({"text", "tool_use", "thinking", "redacted_thinking"}),
    "system": frozenset({"text"}),
}
_IN_RESULTS = frozenset({"text", "image", "document"})


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict)


def _walk(asked: Asked) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each block of each turn with where it stands and its role."""
    for at, turn in enumerate(asked.messages):
        for number, block in enumerate(blocks(turn["content"])):
            yield f"messages.{at}.content.{number}", turn["role"], block


def shapes(asked: Asked) -> Breach | None:
    """Turns have a known role and content; blocks a known type, and the fields of that type."""
    for at, turn in enumerate(asked.messages):
        if not _is_turn(turn):
            return Breach(f"messages.{at}: Input should be a valid dictionary")
        if turn.get("role") not in _OF_ROLE:
            return Breach(f"messages.{at}.role: Input should be 'user' or 'assistant'")
        for key in turn.keys() - {"role", "content"}:
            return Breach(f"messages.{at}.{key}: Extra inputs are not permitted")
        content = turn.get("content")
        if not isinstance(content, str | list):
            return Breach(f"messages.{at}.content: Input should be a valid list")
        if not content:
            return Breach(f"messages.{at}: all messages must have non-empty content except for the optional final "
                          "assistant message")  # fmt: skip
        for number, block in enumerate(content if isinstance(content, list) else ()):
            if breach := _shape(block, f"messages.{at}.content.{number}", _OF_ROLE[turn["role"]]):
                return breach
    system = asked.body.get("system")
    for number, block in enumerate(system if isinstance(system, list) else ()):
        if breach := _shape(block, f"system.{number}", _OF_ROLE["system"]):
            return breach
    return None


def _shape(block: Any, at: str, allowed: frozenset[str]) -> Breach | None:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind not in allowed:
        return Breach(f"{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
                      + ", ".join(f"'{name}'" for name in sorted(allowed)))  # fmt: skip
    for key in block:
        if key not in _KEYS[kind]:
            return Breach(f"{at}.{kind}.{key}: Extra inputs are not permitted")
    for key, sort in _REQUIRED[kind].items():
        if not isinstance(block.get(key), sort):
            return Breach(f"{at}.{kind}.{key}: " + ("Field required" if key not in block else "Input is not valid"))
    if kind == "tool_result":
        content = block.get("content", "")
        if not isinstance(content, str | list):
            return Breach(f"{at}.tool_result.content: Input should be a valid list")
        for number, inner in enumerate(content if isinstance(content, list) else ()):
            if breach := _shape(inner, f"{at}.tool_result.content.{number}", _IN_RESULTS):
                return breach
    return None


def texts(asked: Asked) -> Breach | None:
    """No text is empty or blank."""
    for number, block in enumerate(blocks(asked.body.get("system")) if asked.body.get("system") else ()):
        if not block["text"]:
            return Breach(f"system.{number}: text content blocks must be non-empty")
    for at, _, block in _walk(asked):
        inner = blocks(block.get("content")) if block["type"] == "tool_result" and block.get("content") else []
        for text in (each for each in (block, *inner) if each["type"] == "text"):
            if not text["text"]:
                return Breach(f"{at}: text content blocks must be non-empty")
            if not text["text"].strip():
                return Breach(f"{at}: text content blocks must contain non-whitespace text")
    return None


def order(asked: Asked) -> Breach | None:
    """The user begins; newer models take system turns in between, and none takes what it may not go on from."""
    roles = [turn["role"] for turn in asked.messages]
    if "system" in roles and not asked.model.current:
        return Breach(f"messages.{roles.index('system')}: Unexpected role \"system\". The Messages API accepts a "
                      'top-level `system` parameter, not "system" as an input message role.')  # fmt: skip
    if roles[0] != "user":
        return Breach('messages: first message must use the "user" role')
    if roles[-1] == "assistant":
        last = blocks(asked.messages[-1]["content"])[-1]
        if asked.model.current:
            return Breach("This model does not support assistant message prefill. The conversation must end with a "
                          "user message.")  # fmt: skip
        if last["type"] == "text" and last["text"] != last["text"].rstrip():
            return Breach("messages: final assistant content cannot end with trailing whitespace")
    return None


def pairs(asked: Asked) -> Breach | None:
    """Results stand right behind their calls, all of them, before anything else of that turn; ids are well-formed."""
    merged: list[tuple[int, str, list[dict[str, Any]]]] = []
    for at, turn in enumerate(asked.messages):  # turns of one role in a row are one turn
        if merged and merged[-1][1] == turn["role"]:
            merged[-1][2].extend(blocks(turn["content"]))
        else:
            merged.append((at, turn["role"], blocks(turn["content"])))
    waiting: list[str] = []
    known: set[str] = set()
    for at, _, found in merged:
        results = [block for block in found if block["type"] == "tool_result"]
        if breach := _results(at, results, waiting, first=found[: len(results)] == results):
            return breach
        waiting = [block["id"] for block in found if block["type"] == "tool_use"]
        for name in waiting:
            if not _ID.fullmatch(name):
                return Breach(f"messages.{at}.content.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
            if name in known:
                return Breach(f"messages.{at}: `tool_use` ids must be unique")
            known.add(name)
    return _results(len(asked.messages), [], waiting, first=True)


def _results(at: int, results: list[dict[str, Any]], waiting: list[str], *, first: bool) -> Breach | None:
    answered = [block["tool_use_id"] for block in results]
    for name in answered:
        if name not in waiting:
            return Breach(f"messages.{at}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {name}. "
                          "Each `tool_result` block must have a corresponding `tool_use` block in the previous "
                          "message.")  # fmt: skip
        if answered.count(name) > 1:
            return Breach(f"messages.{at}.content: each tool_use must have a single result. Found multiple "
                          f"`tool_result` blocks with id: {name}")  # fmt: skip
    missing = [name for name in waiting if name not in answered]
    if missing or not first:
        return Breach(f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                      f"{', '.join(missing or waiting)}. Each `tool_use` block must have a corresponding `tool_result` "
                      "block in the next message.")  # fmt: skip
    return None


def images(asked: Asked) -> Breach | None:
    """Images that the model sees, in a known format, which is the one they are said to have; none in an error."""
    for at, _, block in _walk(asked):
        inner = [b for b in blocks(block.get("content")) if b["type"] == "image"] if "tool_use_id" in block else []
        if inner and block.get("is_error"):
            return Breach(f"{at}.tool_result: all content must be type 'text' if `is_error` is true")
        for image in [block] if block["type"] == "image" else inner:
            if not asked.model.sees:
                return Breach(f"{at}: this model does not support image input")
            if breach := _source(image["source"], f"{at}.image.source"):
                return breach
    return None


def _source(source: dict[str, Any], at: str) -> Breach | None:
    kind = source.get("type")
    if kind == "url":
        secure = str(source.get("url")).startswith("https://")
        return None if secure else Breach(f"{at}.url: Only HTTPS URLs are supported.")
    if kind != "base64":
        return Breach(f"{at}: Input tag '{kind}' found using 'type' does not match any of the expected tags: 'base64', "
                      "'url'")  # fmt: skip
    media = str(source.get("media_type"))
    if media not in _MAGIC:
        return Breach(f"{at}.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'")
    try:
        data = base64.b64decode(str(source.get("data")), validate=True)
    except (binascii.Error, ValueError):
        return Breach(f"{at}.base64: invalid base64 data")
    if not data.startswith(_MAGIC[media]):
        return Breach(f"{at}.base64.data: The image was specified using the {media} media type, but it does not "
                      "appear to be one")  # fmt: skip
    return None


def thoughts(asked: Asked) -> Breach | None:
    """Thoughts are the model's own, unaltered."""
    for at, _, block in _walk(asked):
        if block["type"] == "redacted_thinking" and asked.opens(f"{block['data']}") is None:
            return Breach(f"{at}: Invalid `data` in `redacted_thinking` block")
        if block["type"] == "thinking":
            made = asked.opens(block["signature"])
            if made is None:
                return Breach(f"{at}: Invalid `signature` in `thinking` block")
            if block["thinking"] not in {made, ""}:
                return Breach(f"{at}: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot "
                              "be modified. These blocks must remain as they were in the original "
                              "response.")  # fmt: skip
    return None


def thoughts_kept(asked: Asked) -> Breach | None:
    """With a budget for thinking, a turn whose calls are being answered begins with its thoughts."""
    if (asked.body.get("thinking") or {}).get("type") != "enabled":
        return None
    for at, turn in reversed(list(enumerate(asked.messages))):
        found = [block["type"] for block in blocks(turn["content"])]
        if turn["role"] == "user" and "tool_result" not in found:
            return None
        if turn["role"] == "assistant":
            if "tool_use" not in found or found[0] in {"thinking", "redacted_thinking"}:
                return None
            return Breach(f"messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
                          f"`{found[0]}`. When `thinking` is enabled, a final `assistant` message must start with a "
                          "thinking block (preceeding the lastmost set of `tool_use` and `tool_result` "
                          "blocks).")  # fmt: skip
    return None


TURNS: tuple[Rule, ...] = (shapes, texts, order, pairs, images, thoughts, thoughts_kept)
