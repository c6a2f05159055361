"""The callers: a question in each dialect, alone or behind a history of turns, calls and results.

Owns the bodies that callers send. The question stands in the last user turn, or in the result of a tool.
"""

import json
import random
from collections.abc import Callable
from typing import Any, Final

from hermes_router.wire.chat import request as openai_chat
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.messages import request as messages_request
from hermes_router.wire.responses import request as responses_request

from .answers import TOOLS, ask

DIALECTS: Final = ("openai_chat", "anthropic_messages", "openai_responses")
_SCHEMA = {"type": "object", "properties": {"arg0": {"type": "string"}}}
_SYSTEM = "You are an agent. Answer what is asked."
_SHAPES = ("alone", "turns", "result")


def question(dialect: str, number: int, rng: random.Random, *, stream: bool, **more: Any) -> Inbound:
    """A request, parsed as the front parses it. `more` are further top-level fields."""
    body = _BODIES[dialect](number, rng)
    if not stream:
        body.pop("stream_options", None)
        if "max_tokens" in body:  # the time for writing all of it is part of what a silence may last
            body["max_tokens"] = 2_000
    return _PARSERS[dialect](json.dumps({**body, "stream": stream, **more}).encode(), {})


def _chat(number: int, rng: random.Random) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": _SYSTEM}]
    shape = rng.choice(_SHAPES)
    if shape != "alone":
        messages += [{"role": "user", "content": "[ask 0] first"}, {"role": "assistant", "content": "That was first."}]
    if shape == "result":
        call = {"id": "call_before", "type": "function", "function": {"name": "run", "arguments": '{"arg0":"x"}'}}
        messages += [
            {"role": "user", "content": "and then"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_before", "content": f"it says {ask(number)}"},
        ]
    else:
        messages.append({"role": "user", "content": f"Please {ask(number)}"})
    tools = [{"type": "function", "function": {"name": name, "parameters": _SCHEMA}} for name in TOOLS]
    body: dict[str, Any] = {"model": "hermes-router", "messages": messages, "tools": tools}
    if rng.random() < 0.5:
        body["stream_options"] = {"include_usage": True}
    return body


def _messages(number: int, rng: random.Random) -> dict[str, Any]:
    messages: list[dict[str, Any]] = []
    shape = rng.choice(_SHAPES)
    if shape != "alone":
        messages += [{"role": "user", "content": "[ask 0] first"}, {"role": "assistant", "content": "That was first."}]
    if shape == "result":
        call = {"type": "tool_use", "id": "toolu_before", "name": "run", "input": {"arg0": "x"}}
        result = {"type": "tool_result", "tool_use_id": "toolu_before", "content": f"it says {ask(number)}"}
        messages += [
            {"role": "user", "content": "and then"},
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, call]},
            {"role": "user", "content": [result]},
        ]
    else:
        messages.append({"role": "user", "content": [{"type": "text", "text": f"Please {ask(number)}"}]})
    tools = [{"name": name, "input_schema": _SCHEMA} for name in TOOLS]
    return {"model": "hermes-router", "system": _SYSTEM, "messages": messages, "tools": tools, "max_tokens": 8_000}


def _responses(number: int, rng: random.Random) -> dict[str, Any]:
    items: list[dict[str, Any]] = []
    shape = rng.choice(_SHAPES)
    if shape != "alone":
        said = [{"type": "output_text", "text": "That was first."}]
        items += [
            {"role": "user", "content": "[ask 0] first"},
            {"type": "message", "role": "assistant", "content": said},
        ]
    if shape == "result":
        items += [
            {"role": "user", "content": "and then"},
            {"type": "function_call", "call_id": "call_before", "name": "run", "arguments": '{"arg0":"x"}'},
            {"type": "function_call_output", "call_id": "call_before", "output": f"it says {ask(number)}"},
        ]
    else:
        parts = [{"type": "input_text", "text": f"Please {ask(number)}"}]
        items.append({"type": "message", "role": "user", "content": parts})
    tools = [{"type": "function", "name": name, "parameters": _SCHEMA, "strict": False} for name in TOOLS]
    body: dict[str, Any] = {"model": "hermes-router", "instructions": _SYSTEM, "input": items, "tools": tools}
    if rng.random() < 0.5:
        body |= {"store": False, "include": ["reasoning.encrypted_content"]}
    return body


_BODIES: Final[dict[str, Callable[[int, random.Random], dict[str, Any]]]] = {
    "openai_chat": _chat, "anthropic_messages": _messages, "openai_responses": _responses,
}  # fmt: skip
_PARSERS: Final[dict[str, Callable[..., Inbound]]] = {
    "openai_chat": openai_chat.parse_request,
    "anthropic_messages": messages_request.parse_request,
    "openai_responses": responses_request.parse_request,
}
