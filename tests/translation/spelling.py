"""Two spellings of one request that a dialect itself holds to be the same, in one form.

From the dialects' own documents, not from our code: a string is one text part, an item without a type is a message, and
what is left out has its default.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from hermes_router.conformance.feature import CHAT, MESSAGES, RESPONSES

__all__ = ["one_form"]


def one_form(dialect: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body in the dialect's longest spelling."""
    return _FORMS[dialect](copy.deepcopy(dict(body)))


def _parts(content: Any, kind: str = "text") -> list[Any]:
    """A string is one part of text; an absent or empty one is none."""
    if isinstance(content, str):
        return [{"type": kind, "text": content}] if content else []
    return content or []


def _loose(tool: dict[str, Any]) -> None:
    """A tool that is not strict need not say so: in Chat and in Messages that is the default."""
    if tool.get("strict") is False:
        del tool["strict"]


def _chat(body: dict[str, Any]) -> dict[str, Any]:
    for message in body.get("messages") or ():
        message["content"] = _parts(message.get("content"))
    for tool in body.get("tools") or ():
        _loose(tool.get("function", {}))
    return body


def _messages(body: dict[str, Any]) -> dict[str, Any]:
    if "system" in body:
        body["system"] = _parts(body["system"])
    if "messages" in body:
        body["messages"] = list(_turns(body["messages"]))
    for tool in body.get("tools") or ():
        _loose(tool)
    return body


def _turns(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Neighbours of one role are one turn."""
    open_turn: dict[str, Any] | None = None
    for message in messages:
        parts = _parts(message["content"])
        for part in parts:
            if part.get("type") == "tool_result":
                part["content"] = _parts(part.get("content"))
        if open_turn is not None and open_turn["role"] == message["role"]:
            open_turn["content"] += parts
            continue
        if open_turn is not None:
            yield open_turn
        open_turn = {**message, "content": parts}
    if open_turn is not None:
        yield open_turn


def _responses(body: dict[str, Any]) -> dict[str, Any]:
    if isinstance(body.get("input"), str):
        body["input"] = [{"role": "user", "content": body["input"]}]
    for item in body.get("input") or ():
        if item.setdefault("type", "message") == "message":
            kind = "output_text" if item["role"] == "assistant" else "input_text"
            item["content"] = _parts(item["content"], kind)
        for part in item.get("content") or ():
            if part["type"] == "output_text":
                part.setdefault("annotations", [])
            if part["type"] == "input_image":
                part.setdefault("detail", "auto")
        for part in item["output"] if isinstance(item.get("output"), list) else ():
            if part["type"] == "input_image":
                part.setdefault("detail", "auto")
    return body


_FORMS: Final[Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    CHAT: _chat,
    MESSAGES: _messages,
    RESPONSES: _responses,
}
