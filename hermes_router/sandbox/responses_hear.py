"""OpenAI Responses as the fake model hears it: the same conversation in Chat's words (facts/providers.md 12.2-12.5).

Owns the reading of a request that has passed the rules, and which parts of its prompt may be cached. It must never
refuse anything.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from hermes_router.sandbox.model import count
from hermes_router.sandbox.values import Asked


def items(asked: Asked) -> list[Any]:
    """The items of the conversation, see `conversation`."""
    return conversation(asked.body, asked.owns)


def conversation(body: Mapping[str, Any], owns: Callable[[str], Any]) -> list[Any]:
    """The items of the response that the request goes on from, and those given."""
    given = body.get("input")
    before = owns(str(body.get("previous_response_id")))
    fresh = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return [*(before or ()), *(fresh if isinstance(fresh, list) else ())]


def tools(asked: Asked) -> list[Any]:
    """The tools: those at the top, and those of `additional_tools` items."""
    found = list(asked.body.get("tools") or ())
    for item in items(asked):
        if isinstance(item, dict) and item.get("type") == "additional_tools":
            found += item.get("tools") or ()
    return found


def hear(asked: Asked) -> Asked:
    """The request with its body in Chat's words."""
    said = asked.body
    messages: list[dict[str, Any]] = []
    if said.get("instructions"):
        messages.append({"role": "developer", "content": said["instructions"]})
    for item in items(asked):
        _add(messages, item)
    body: dict[str, Any] = {"model": said["model"], "messages": messages, "max_tokens": said.get("max_output_tokens"),
                            **_choice(said.get("tool_choice"))}  # fmt: skip
    if said.get("parallel_tool_calls") is False:
        body["parallel_tool_calls"] = False
    if heard := [one for tool in tools(asked) for one in _tools(tool)]:
        body["tools"] = heard
    form = (said.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": form["schema"]}}
    elif form.get("type") == "json_object":
        body["response_format"] = {"type": "json_object"}
    thinking = False if (said.get("reasoning") or {}).get("effort") == "none" else None
    return replace(asked, body=body, thinking=thinking, open=True)


def segments(asked: Asked) -> Iterator[tuple[Any, int, bool]]:
    """The prompt, instructions, tools, items: any beginning that came before is read from the cache (12.7)."""
    parts = [asked.body.get("instructions"), asked.body.get("tools"), *items(asked)]
    for part in parts:
        yield part, count(json.dumps(part)), True


def _add(messages: list[dict[str, Any]], item: dict[str, Any]) -> None:
    match item.get("type", "message"):
        case "message":
            messages.append({"role": item["role"], "content": _content(item["content"])})
        case "function_call" | "custom_tool_call":
            arguments = item.get("arguments", item.get("input", ""))
            function = {"name": item["name"], "arguments": arguments}
            call = {"id": item["call_id"], "type": "function", "function": function}
            if messages and messages[-1]["role"] == "assistant":
                messages[-1].setdefault("tool_calls", []).append(call)
            else:
                messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        case "function_call_output" | "custom_tool_call_output":
            content = _content(item["output"])
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": content})
        case _:
            pass


def _content(content: Any) -> Any:
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = []
    for part in content:
        if part["type"] == "input_image":
            parts.append({"type": "image_url", "image_url": {"url": "data:"}})
        else:
            parts.append({"type": "text", "text": part.get("text", part.get("refusal", ""))})
    return parts


def _tools(tool: Mapping[str, Any], namespace: str = "") -> Iterator[dict[str, Any]]:
    if tool["type"] == "namespace":
        for inner in tool["tools"]:
            yield from _tools(inner, tool["name"])
    if tool["type"] in {"function", "custom"}:
        function = {"name": tool["name"], "parameters": tool.get("parameters"), "custom": tool["type"] == "custom"}
        yield {"type": "function", "function": function, "namespace": namespace}


def _choice(choice: Any) -> dict[str, Any]:
    if isinstance(choice, dict):
        if choice["type"] in {"function", "custom"}:
            return {"tool_choice": {"type": "function", "function": {"name": choice["name"]}}}
        return {"tool_choice": choice.get("mode", "auto")}
    return {"tool_choice": choice} if choice else {}
