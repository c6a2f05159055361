"""The deterministic model behind every fake provider: an answer is a function of the request.

Owns token counting (characters / 4, as the window and usage checks of the sandbox use it), the choice
between text and tool calls, and arguments derived from a tool's schema. It must never know how a provider
writes an answer down.

What it obeys, in the text of the last user message: `say N words` gives w1 to wN; `call all tools` calls
each tool once; any other text that names a tool, or says `tool`, calls that tool or the first one; `think`
gives visible reasoning, `think in secret` redacted one; `decline this` a refusal; `first say` text before calls.
After tool results it quotes the last one. Anything else is echoed.
"""

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from hermes_router.sandbox.values import Asked, Call, Reply

CHARS_PER_TOKEN = 4
IMAGE_TOKENS = 1_000
_SAY = re.compile(r"\bsay (\d+) words?\b", re.IGNORECASE)
_PIECES = re.compile(r"\s*\S+|\s+$")
_MAX_DEPTH = 8
_REDACT = "think in secret"
_DECLINE = "decline this"
_BEFORE_CALLS = "first say"

NewCallId = Callable[[str], str]


def count(text: str) -> int:
    """Tokens in a text: characters / 4, rounded up."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def pieces(text: str) -> list[str]:
    """A text as the stream sends it, one word with the space before it a piece; joined they are the text."""
    return _PIECES.findall(text)


def text_of(content: Any) -> str:
    """The text of a message's content, be it a string, a list of parts or null."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """Estimated size of a chat request: texts, calls, tools, and a flat price for each image."""
    total = 0
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        total += count(text_of(content)) + 1
        if isinstance(content, list):
            total += IMAGE_TOKENS * sum(isinstance(part, dict) and part.get("type") == "image_url" for part in content)
        if message.get("tool_calls"):
            total += count(json.dumps(message["tool_calls"]))
    if body.get("tools"):
        total += count(json.dumps(body["tools"]))
    return max(1, total)


def instance(schema: Any, name: str = "value", depth: int = 0) -> Any:
    """A value that satisfies a JSON schema of the ordinary kind: types, enum, const, properties, items."""
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return name
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return instance(schema[key][0], name, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = str(kind[0] if isinstance(kind, list) else kind).lower()
    if kind == "object":
        properties = schema.get("properties") or {}
        return {key: instance(sub, key, depth + 1) for key, sub in properties.items()}
    if kind == "array":
        return [instance(schema.get("items", {}), name, depth + 1)]
    scalars = {"integer": schema.get("minimum", 1), "number": 1.5, "boolean": True, "null": None}
    return scalars.get(kind, f"some {name}")


def answer(asked: Asked, new_call_id: NewCallId, compose: Callable[[str], str] | None = None) -> Reply:
    """The model's reply, cut at the caller's stop strings and output cap.

    `compose` replaces the echo by a text of its own (the demo's chatty one).
    """
    messages = asked.messages
    last = messages[-1] if messages else {}
    asked_text = _last_user_text(messages)
    calls = _calls(asked, asked_text, new_call_id) if last.get("role") == "user" else []
    thought = _thought(asked, asked_text)
    if calls:
        before = _text(asked_text, asked.body, compose) if _BEFORE_CALLS in asked_text.lower() else ""
        return dataclasses.replace(thought, text=before, calls=calls, finish="tool_calls")
    if last.get("role") == "tool":
        text = f"The tool said: {text_of(last.get('content'))}"
    elif _DECLINE in asked_text.lower():
        return dataclasses.replace(thought, text="I cannot help with that.", finish="refusal")
    else:
        text = _text(asked_text, asked.body, compose)
    return capped(asked, text, thought)


def _last_user_text(messages: list[dict[str, Any]]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user":
            return text_of(message.get("content"))
    return ""


def _text(asked_text: str, body: Mapping[str, Any], compose: Callable[[str], str] | None) -> str:
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        return json.dumps(instance(form.get("json_schema", {}).get("schema")))
    if isinstance(form, dict) and form.get("type") == "json_object":
        return json.dumps({"answer": asked_text})
    if found := _SAY.search(asked_text):
        return " ".join(f"w{n}" for n in range(1, int(found[1]) + 1))
    return compose(asked_text) if compose else f"You said: {asked_text}"


def _calls(asked: Asked, text: str, new_call_id: NewCallId) -> list[Call]:
    """The tool calls that the text, or tool_choice, asks for."""
    functions = [tool["function"] | {"namespace": tool.get("namespace", "")} for tool in asked.tools
                 if isinstance(tool.get("function"), dict)]  # fmt: skip
    choice = asked.body.get("tool_choice", "auto")
    if not functions or choice == "none":
        return []
    named = [function for function in functions if function.get("name") and function["name"] in text]
    if "call all tools" in text.lower() and asked.body.get("parallel_tool_calls") is not False:
        chosen = functions
    elif isinstance(choice, dict):
        wanted = choice.get("function", {}).get("name")
        chosen = [function for function in functions if function.get("name") == wanted]
    elif named:
        chosen = named[:1]
    elif choice in {"required", "any"} or "tool" in text.lower():
        chosen = functions[:1]
    else:
        chosen = []
    return [_call(function, new_call_id) for function in chosen]


def _call(function: dict[str, Any], new_call_id: NewCallId) -> Call:
    name = str(function["name"])
    if function.get("custom"):
        return Call(new_call_id(name), name, f"some input\nfor {name}", custom=True, namespace=function["namespace"])
    return Call(new_call_id(name), name, json.dumps(instance(function.get("parameters") or {"type": "object"})),
                namespace=function["namespace"])  # fmt: skip


def _thought(asked: Asked, text: str) -> Reply:
    """A reply of nothing but its reasoning."""
    reasoning = ""
    if asked.thinking is not False:
        if asked.model.thinks:
            reasoning = "hmm " * asked.model.thinks
        elif asked.thinking or "think" in text.lower():
            reasoning = "Let me think about that. "
    return _hiding(asked, Reply("", reasoning=reasoning, secret=bool(reasoning) and _REDACT in text.lower()))


def _hiding(asked: Asked, reply: Reply) -> Reply:
    """What the model hides, or has redacted, is billed only, where the dialect has no place for it."""
    if asked.open or not (asked.model.hidden or reply.secret):
        return reply
    return dataclasses.replace(reply, reasoning="", hidden_tokens=count(reply.reasoning))


def capped(asked: Asked, text: str, thought: Reply) -> Reply:
    """Stop strings first, then the cap, which reasoning uses up before any text (all reasoning models)."""
    stops = asked.body.get("stop") or []
    stopped_by = None
    for stop in [stops] if isinstance(stops, str) else stops:
        text, found, _ = text.partition(stop)
        stopped_by = found or stopped_by
    cap = min(asked.cap or asked.model.max_output, asked.model.max_output)
    spent = count(thought.reasoning) + thought.hidden_tokens
    left = (cap - spent) * CHARS_PER_TOKEN
    if left >= len(text):
        return dataclasses.replace(thought, text=text, stopped_by=stopped_by)
    return dataclasses.replace(
        thought, text=text[: max(0, left)], finish="length", reasoning=thought.reasoning[: cap * CHARS_PER_TOKEN],
        hidden_tokens=min(thought.hidden_tokens, cap),
    )  # fmt: skip
