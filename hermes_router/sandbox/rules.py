"""The rules that every provider shares, and the small parts that the providers' own rules are made of.

A rule looks at a request and names the first breach, or nothing. Owns the well-formedness of a chat request
and rule builders over keys, roles, values and schemas. Which provider keeps which rule is in `strictness`;
how it words a breach in `refusals`.
"""

import base64
import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any

from hermes_router.sandbox.values import Asked, Breach

Rule = Callable[[Asked], Breach | None]

_DATA_URL = re.compile(r"data:([a-z]+/[a-z]+);base64,(.*)", re.DOTALL)
_IMAGES = {
    "image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff", "image/gif": b"GIF8", "image/webp": b"RIFF",
}  # fmt: skip
ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


# --- shared by all ----------------------------------------------------------------------------------


def well_formed(asked: Asked) -> Breach | None:
    """Messages are a list of objects with a role and content of a legal type; tools are functions."""
    messages = asked.body.get("messages")
    if not isinstance(messages, list) or not messages:
        return Breach("'messages' must be a non-empty list.", "messages", loc=("messages",), kind="missing")
    for at, message in enumerate(messages):
        where = f"messages.{at}"
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            return Breach(f"{where}.role is invalid.", f"{where}.role", loc=("messages", at), kind="union_tag_invalid")
        content = message.get("content")
        optional = message["role"] == "assistant" and message.get("tool_calls")
        if not isinstance(content, str | list) and not (content is None and optional):
            return Breach(f"{where}.content must be a string or a list.", f"{where}.content")
        for call in message.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
                return Breach("arguments must be a string.", f"{where}.tool_calls")
    for at, tool in enumerate(asked.tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            return Breach(f"tools.{at}.function.name is required.", f"tools.{at}.function.name")
    return None


def paired_tools(asked: Asked) -> Breach | None:
    """Each call has exactly one result right behind it, and no result stands alone."""
    waiting: set[str] = set()
    for at, message in enumerate(asked.messages):
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                return Breach(
                    "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
                    f"messages.[{at}].role",
                )
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            return _unanswered(waiting, at)
        if message["role"] == "assistant":
            waiting = {str(call.get("id")) for call in message.get("tool_calls") or ()}
    return _unanswered(waiting, len(asked.messages)) if waiting else None


def _unanswered(waiting: Collection[str], at: int) -> Breach:
    return Breach(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
        f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(sorted(waiting))}",
        f"messages.[{at}].role",
    )


def choice_needs_tools(asked: Asked) -> Breach | None:
    """`tool_choice` without tools is a 400 everywhere (facts 12.5)."""
    if asked.body.get("tool_choice") is not None and not asked.tools:
        return Breach("When using `tool_choice`, `tools` must be set.", "tool_choice")
    return None


def parsable_arguments(asked: Asked) -> Breach | None:
    """Arguments of calls in the history are JSON objects; templates load them."""
    for at, call in calls(asked):
        try:
            good = isinstance(json.loads(call["function"]["arguments"] or "{}"), dict)
        except ValueError:
            good = False
        if not good:
            return Breach("tool call arguments are no JSON object.", f"messages.{at}.tool_calls")
    return None


def known_images(asked: Asked) -> Breach | None:
    """Images only where the model sees them."""
    if asked.model.sees:
        return None
    for at, part in parts(asked):
        if part.get("type") == "image_url":
            return Breach(f"{asked.model.id} does not support image input.", f"messages.{at}.content")
    return None


def inline_images(asked: Asked) -> Breach | None:
    """Images stand in the request itself, in base64, and are what they are said to be."""
    for at, part in parts(asked):
        if part.get("type") != "image_url":
            continue
        found = _DATA_URL.fullmatch(str(part.get("image_url", {}).get("url")))
        if found is None:
            return Breach("Request contains an invalid argument: image URL could not be fetched.")
        try:
            data = base64.b64decode(found[2], validate=True)
        except ValueError:
            return Breach("Base64 decoding failed.", f"messages.{at}.content")
        if not data.startswith(_IMAGES.get(found[1], b"\0")):
            return Breach("Unable to process input image.", f"messages.{at}.content")
    return None


def known_effort(asked: Asked) -> Breach | None:
    """`reasoning_effort` is one of the model's."""
    effort = asked.body.get("reasoning_effort")
    if effort is None or not asked.model.efforts or effort in asked.model.efforts:
        return None
    return Breach(
        f"`reasoning_effort` must be one of {', '.join(asked.model.efforts)}; got {effort}.",
        "reasoning_effort",
        "unsupported_value",
    )


# --- walks ------------------------------------------------------------------------------------------


def calls(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every tool call of the history with its message's index."""
    for at, message in enumerate(asked.messages):
        for call in message.get("tool_calls") or ():
            yield at, call


def parts(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every content part of the messages with the message's index."""
    for at, message in enumerate(asked.messages):
        if isinstance(content := message.get("content"), list):
            yield from ((at, part) for part in content if isinstance(part, dict))


def schema_nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema within a schema. Names under `properties` and `$defs` are names, not keywords."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key, value in schema.items():
        if key in {"properties", "$defs", "definitions", "patternProperties"} and isinstance(value, dict):
            for child in value.values():
                yield from schema_nodes(child)
        elif key not in {"enum", "const", "default", "examples", "required"}:
            for child in value if isinstance(value, list) else [value]:
                yield from schema_nodes(child)


def tool_schemas(asked: Asked) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every node of every tool's schema with the tool's index."""
    for at, tool in enumerate(asked.tools):
        for node in schema_nodes(tool["function"].get("parameters")):
            yield at, node


# --- builders ---------------------------------------------------------------------------------------


def only_keys(allowed: Collection[str], wording: str = "Unrecognized request argument supplied: {key}") -> Rule:
    """Unknown keys at the top of the body are refused."""

    def rule(asked: Asked) -> Breach | None:
        for key in asked.body:
            if key not in allowed:
                return Breach(wording.format(key=key), key, loc=(key,))
        return None

    return rule


def no_keys(refused: Collection[str], wording: str = "`{key}` is not supported", code: str | None = None) -> Rule:
    """These keys are refused whatever they hold, but for null."""

    def rule(asked: Asked) -> Breach | None:
        for key in asked.body:
            if key in refused and asked.body[key] is not None:
                return Breach(wording.format(key=key), key, code)
        return None

    return rule


def only_message_keys(
    allowed: Collection[str], wording: str = "property '{key}' is unsupported", calls_allow: Collection[str] = ()
) -> Rule:
    """Unknown keys of messages are refused, and of their tool calls where `calls_allow` is given."""

    def rule(asked: Asked) -> Breach | None:
        for at, message in enumerate(asked.messages):
            for key in message:
                if key not in allowed:
                    return Breach(wording.format(key=key, at=at), f"messages.{at}.{key}",
                                  loc=("messages", at, message["role"], key))  # fmt: skip
            for number, call in enumerate(message.get("tool_calls") or ()):
                for key in call:
                    if calls_allow and key not in calls_allow:
                        loc = ("messages", at, "assistant", "tool_calls", number, key)
                        return Breach(wording.format(key=key, at=at), f"messages.{at}.tool_calls", loc=loc)
        return None

    return rule


def no_role(role: str, wording: str = "role '{role}' is not supported", code: str | None = None) -> Rule:
    """A role that the provider does not know."""

    def rule(asked: Asked) -> Breach | None:
        for at, message in enumerate(asked.messages):
            if message["role"] == role:
                return Breach(wording.format(role=role), f"messages.{at}.role", code, loc=("messages", at, "role"),
                              kind="literal_error")  # fmt: skip
        return None

    return rule


def single_n(asked: Asked) -> Breach | None:
    """Only `n: 1`."""
    return Breach("'n' : number must be at most 1", "n") if (asked.body.get("n") or 1) > 1 else None


def no_strict(asked: Asked) -> Breach | None:
    """`strict` on a tool is refused."""
    for at, tool in enumerate(asked.tools):
        if "strict" in tool["function"]:
            return Breach(f"tools.{at}.function.strict is not supported", f"tools.{at}.function.strict")
    return None


def most_stops(most: int, code: str | None = None) -> Rule:
    """At most so many stop strings."""

    def rule(asked: Asked) -> Breach | None:
        stop = asked.body.get("stop")
        return (
            Breach(f"at most {most} stop sequences", "stop", code)
            if isinstance(stop, list) and len(stop) > most
            else None
        )

    return rule


def capped(code: str | None = None, wording: str = "`{key}` must be less than or equal to `{most}`") -> Rule:
    """An output cap above the model's own is refused, not clamped."""

    def rule(asked: Asked) -> Breach | None:
        for key in ("max_tokens", "max_completion_tokens"):
            value = asked.body.get(key)
            if isinstance(value, int) and value > asked.model.max_output:
                return Breach(wording.format(key=key, most=asked.model.max_output), key, code)
        return None

    return rule


def no_schema_keys(refused: Collection[str], wording: str) -> Rule:
    """Schema keywords that are refused anywhere in a tool's parameters."""

    def rule(asked: Asked) -> Breach | None:
        for at, node in tool_schemas(asked):
            for key in node:
                if key in refused or key.startswith("x-"):
                    return Breach(wording.format(key=key, at=at), f"tools.{at}.function.parameters")
        return None

    return rule


PAIRING: tuple[Rule, ...] = (paired_tools, choice_needs_tools, parsable_arguments)
"""Shared by all hosted providers; `well_formed` runs before any other rule, since those rely on it."""
