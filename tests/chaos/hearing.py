"""What the fake model makes of a request, in each of the three dialects: which question, and how much is said already.

Owns the reading of bodies as a provider reads them, strictly: what it would refuse is refused. It knows a partial
answer (an assistant turn at the end) and the order to go on behind an anchor; whether it obeys is not decided here.
"""

import json
from typing import Any, NamedTuple

from hermes_router.wire.continuation import ANCHOR_BEGINS, ANCHOR_ENDS

from .answers import number_in


class Refused(Exception):
    """The provider answers 400."""


class Request(NamedTuple):
    """What was asked.

    Attributes:
        number: of the question.
        partial: what the model is told to have said already, None where it begins anew.
        anchor: what it is told to begin with; None = it is to go straight on (prefill).
        flags: keys on the partial turn that are no content (`prefix`, `partial`).
        tools: the names of the tools that it may call.
        cap_tokens: the output cap, None where none is given.
    """

    number: int
    partial: str | None
    anchor: str | None
    flags: frozenset[str]
    tools: frozenset[str]
    stream: bool
    cap_tokens: int | None


class _Turn(NamedTuple):
    role: str
    text: str
    flags: frozenset[str] = frozenset()
    acts: bool = False  # it calls a tool, or brings a result


def hear(dialect: str, body: bytes) -> Request:
    """Read a request. Raises Refused."""
    fields: dict[str, Any] = json.loads(body)
    turns, tools = _READERS[dialect](fields)
    if not turns:
        raise Refused("no turns")
    last = turns[-1]
    partial = anchor = None
    flags: frozenset[str] = frozenset()
    if last.role == "assistant" and not last.acts:
        partial, flags, turns = last.text, last.flags, turns[:-1]
        if dialect == "anthropic_messages" and partial != partial.rstrip():
            raise Refused("final assistant content cannot end with trailing whitespace")
    elif ANCHOR_BEGINS in last.text:
        anchor = last.text.partition(f"{ANCHOR_BEGINS}\n")[2].partition(f"\n{ANCHOR_ENDS}")[0]
        turns = turns[:-1]
        if not turns or turns[-1].role != "assistant":
            raise Refused("the order to go on stands behind no partial answer")
        partial, turns = turns[-1].text, turns[:-1]
    number = next(
        (n for turn in reversed(turns) if turn.role != "assistant" and (n := number_in(turn.text)) is not None), None
    )
    if number is None:
        raise Refused("no question")
    cap = fields.get("max_tokens", fields.get("max_completion_tokens", fields.get("max_output_tokens")))
    return Request(number, partial, anchor, flags, frozenset(tools), bool(fields.get("stream")), cap)


def _chat(fields: dict[str, Any]) -> tuple[list[_Turn], list[str]]:
    turns = []
    open_calls: set[str] = set()
    for message in fields["messages"]:
        role, content = message["role"], message.get("content")
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())
        calls = message.get("tool_calls") or ()
        if role == "tool":
            if message["tool_call_id"] not in open_calls:
                raise Refused("a result without its call")
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            raise Refused("a call without its result")
        open_calls |= {call["id"] for call in calls}
        if role == "assistant" and not text and not calls:
            raise Refused("an assistant message that says nothing")
        if role in {"system", "developer"}:
            continue
        flags = frozenset(key for key in ("prefix", "partial") if message.get(key))
        turns.append(_Turn("assistant" if role == "assistant" else "user", text, flags, bool(calls) or role == "tool"))
    return turns, [tool["function"]["name"] for tool in fields.get("tools") or ()]


def _messages(fields: dict[str, Any]) -> tuple[list[_Turn], list[str]]:
    turns = []
    for message in fields["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not blocks:
            raise Refused("empty content")
        texts, acts = [], False
        for block in blocks:
            if block["type"] == "text":
                if not block["text"].strip():
                    raise Refused("text content blocks must contain non-whitespace text")
                texts.append(block["text"])
            elif block["type"] == "tool_result":
                inner = block.get("content") or ""
                texts.append(inner if isinstance(inner, str) else "".join(part.get("text", "") for part in inner))
            acts = acts or block["type"] in {"tool_use", "tool_result"}
        turns.append(_Turn(message["role"], "".join(texts), acts=acts))
    if turns[0].role != "user":
        raise Refused("first message must use the user role")
    return turns, [tool["name"] for tool in fields.get("tools") or ()]


def _responses(fields: dict[str, Any]) -> tuple[list[_Turn], list[str]]:
    given = fields["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    turns = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            content = item["content"]
            wanted = "output_text" if item["role"] == "assistant" else "input_text"
            if not isinstance(content, str):
                if any(part["type"] != wanted for part in content):
                    raise Refused(f"a part of {item['role']} that is not {wanted}")
                content = "".join(part["text"] for part in content)
            if item["role"] in {"user", "assistant"}:
                turns.append(_Turn(item["role"], content))
        elif kind == "function_call":
            turns.append(_Turn("assistant", "", acts=True))
        elif kind == "function_call_output":
            output = item["output"]
            text = output if isinstance(output, str) else "".join(part.get("text", "") for part in output)
            turns.append(_Turn("user", text, acts=True))
    return turns, [tool["name"] for tool in fields.get("tools") or () if tool["type"] == "function"]


_READERS = {"openai_chat": _chat, "anthropic_messages": _messages, "openai_responses": _responses}
