"""Anthropic Messages as the fake model hears it: the same conversation in Chat's words (facts/providers.md 12.2-12.5).

Owns the reading of a request that has passed the rules, and which parts of its prompt may be cached. It must never
refuse anything.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hermes_router.sandbox.model import IMAGE_TOKENS, count
from hermes_router.sandbox.values import Asked


def blocks(content: Any) -> list[dict[str, Any]]:
    """The blocks of a turn or of system text; a string is one block of text."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content or () if isinstance(block, dict)]


def hear(asked: Asked) -> Asked:
    """The request with its body in Chat's words."""
    said = asked.body
    messages: list[dict[str, Any]] = []
    if said.get("system"):
        messages.append({"role": "system", "content": _text(blocks(said["system"]))})
    for turn in said["messages"]:
        messages += _turn(turn["role"], blocks(turn["content"]))
    body: dict[str, Any] = {"model": said["model"], "messages": messages, "max_tokens": said.get("max_tokens"),
                            "stop": said.get("stop_sequences"), **_choice(said.get("tool_choice"))}  # fmt: skip
    if tools := [_tool(tool) for tool in said.get("tools") or () if "input_schema" in tool]:
        body["tools"] = tools
    form = (said.get("output_config") or {}).get("format")
    if form:
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": form["schema"]}}
    return replace(asked, body=body, thinking=thinks(asked), open=True)


def thinks(asked: Asked) -> bool | None:
    """Whether thinking is on; None where neither request nor model say so."""
    said = asked.body.get("thinking")
    if "disabled" not in asked.model.thinking:
        return True
    if isinstance(said, dict):
        return said.get("type") != "disabled"
    return None if asked.model.thinks else False


def segments(asked: Asked) -> Iterator[tuple[Any, int, bool]]:
    """The prompt in cache order, tools, system, turns: each part, its tokens, and whether it bears a mark."""
    said = asked.body
    parts = [*(said.get("tools") or ()), *blocks(said.get("system"))]
    parts += [block for turn in said["messages"] for block in blocks(turn["content"])]
    for number, part in enumerate(parts, 1):
        bare = {key: value for key, value in part.items() if key != "cache_control"}
        marked = bool(part.get("cache_control")) or (number == len(parts) and bool(said.get("cache_control")))
        yield bare, IMAGE_TOKENS if part.get("type") == "image" else count(str(bare)), marked


def _text(found: list[dict[str, Any]]) -> str:
    return "\n\n".join(block["text"] for block in found if block.get("type") == "text")


def _turn(role: str, found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    if role == "assistant":
        calls = [
            {"id": b["id"], "type": "function",
             "function": {"name": b["name"], "arguments": json.dumps(b["input"])}}
            for b in found if b["type"] == "tool_use"
        ]  # fmt: skip
        yield {"role": role, "content": _text(found), **({"tool_calls": calls} if calls else {})}
        return
    rest = []
    for block in found:
        if block["type"] == "tool_result":
            content = _parts(blocks(block.get("content")))
            yield {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content}
        else:
            rest.append(block)
    if rest:
        yield {"role": role, "content": _parts(rest)}


def _parts(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    for block in found:
        if block["type"] == "text":
            seen.append({"type": "text", "text": block["text"]})
        elif block["type"] == "image":
            seen.append({"type": "image_url", "image_url": {"url": "data:"}})
        elif block["type"] == "document":
            seen.append({"type": "text", "text": str(block.get("source", {}).get("data", ""))})
    return seen


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": tool["name"], "parameters": tool["input_schema"]}}


def _choice(choice: Mapping[str, Any] | None) -> dict[str, Any]:
    if not choice:
        return {}
    kinds = {"any": "required", "tool": {"type": "function", "function": {"name": choice.get("name")}}}
    chosen = {"tool_choice": kinds.get(choice["type"], choice["type"])}
    return chosen | ({"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {})
