"""Messages requests as neutral content: what a provider of another dialect is asked.

Owns `read` (facts: providers.md 12.2-12.9). The body was checked by `messages_request.parse_request`; what is read here
for the first time and is wrong is a BadRequest naming its path. Keys that only this dialect has stay in `extras` under
its name. It must never know a target.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Raw

from hermes_router.core.content import NO_EXTRAS, Choice, Conversation, Extras, Format, Text, Tool, Turn
from hermes_router.wire.fields import decode
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.messages.blocks import (
    Block,
    Message,
    decode_blocks,
    is_null,
    messages_of,
    rest_of,
    string,
)
from hermes_router.wire.messages.parts import DIALECT, extras_of, read_parts
from hermes_router.wire.messages.request import BILLING_LINE

__all__ = ["BILLING_KEY", "read", "read_choice", "read_system", "read_thinking", "read_tools", "read_turns"]

BILLING_KEY: Final = "\0billing_line"
"""Where the billing line of the system text is kept among the extras: no field is called so."""

_READ: Final = frozenset({
    "model", "stream", "messages", "system", "max_tokens", "tools", "tool_choice", "thinking", "output_config",
    "output_format", "stop_sequences", "temperature", "top_p", "top_k", "metadata",
})  # fmt: skip
_LONGEST_KEY: Final = 64  # characters of a cache key; OpenAI refuses more
_TEXT_KEYS: Final = frozenset({"type", "text"})
_TOOL_KEYS: Final = frozenset({"type", "name", "description", "input_schema", "strict"})
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}


def read(inbound: Inbound) -> Conversation:
    """The whole request. Raises BadRequest with the path of what cannot be read."""
    fields, request = inbound.fields, inbound.request
    given = {key: decode(raw, key) for key, raw in fields.items() if key not in ("messages", "system", "tools")}
    given = {key: value for key, value in given.items() if value is not None}
    extras = {key: value for key, value in given.items() if key not in _READ}
    system, billing = read_system(fields)
    if billing:
        extras[BILLING_KEY] = billing
    tools, hosted = read_tools(fields)
    choice, parallel = read_choice(given.get("tool_choice") or {})
    thinking_tokens, adaptive = read_thinking(given.get("thinking") or {}, extras)
    config = given.get("output_config") or {}
    rest = {key: value for key, value in config.items() if key not in ("effort", "format")}
    if rest:
        extras["output_config"] = rest
    return Conversation(
        system=system,
        turns=read_turns(messages_of(fields)),
        tools=tools,
        hosted=hosted,
        choice=choice,
        parallel=parallel,
        max_output_tokens=request.max_output_tokens,
        effort=config.get("effort"),
        thinking_tokens=thinking_tokens,
        adaptive=adaptive,
        format=_format(config.get("format") or given.get("output_format")),
        parameters=_parameters(given, request.session, extras) or NO_EXTRAS,
        extras={DIALECT: extras} if extras else NO_EXTRAS,
    )


# --- system and turns -------------------------------------------------------------------------------


def read_system(fields: Mapping[str, Raw]) -> tuple[tuple[Text, ...], str]:
    """The system text, and apart from it the billing line, which changes from request to request (12.2)."""
    raw = fields.get("system")
    if raw is None or is_null(raw):
        return (), ""
    if memoryview(raw)[0] == ord('"'):
        text: str = decode(raw, "system")
        return ((Text(text),) if text else ()), ""
    parts: list[Text] = []
    billing = ""
    for index, block in enumerate(decode_blocks(raw, "system")):
        part = _system_text(block, f"system[{index}]")
        if part.text.startswith(BILLING_LINE):
            billing = part.text
        else:
            parts.append(part)
    return tuple(parts), billing


def _system_text(block: Block, path: str) -> Text:
    return Text(string(block, "text", path), extras_of(block, _TEXT_KEYS, path))


def read_turns(messages: list[Message]) -> tuple[Turn, ...]:
    """A turn each. Raises BadRequest."""
    return tuple(_turns(messages))


def _turns(messages: list[Message]) -> Iterator[Turn]:
    for index, message in enumerate(messages):
        content, role = message.content, message.role
        at = f"messages[{index}]"
        rest = rest_of(message)
        extras: Extras = (
            {DIALECT: {key: decode(raw, f"{at}.{key}") for key, raw in rest.items()}} if rest else NO_EXTRAS
        )
        if isinstance(content, str):
            parts: tuple[Any, ...] = (Text(content),) if content else ()
        else:
            parts = read_parts(content, f"{at}.content")
        match role:
            case "user" | "assistant" | "system":
                yield Turn(role, parts, extras=extras)


# --- tools ------------------------------------------------------------------------------------------


def read_tools(fields: Mapping[str, Raw]) -> tuple[tuple[Tool, ...], tuple[tuple[str, Any], ...]]:
    """The caller's own tools, and those that a provider would run. Raises BadRequest."""
    raw = fields.get("tools")
    if raw is None or is_null(raw):
        return (), ()
    tools: list[Tool] = []
    hosted: list[tuple[str, Any]] = []
    for index, tool in enumerate(decode_blocks(raw, "tools")):
        at = f"tools[{index}]"
        if string(tool, "type", at, needed=False) not in ("", "custom"):
            hosted.append((DIALECT, {key: decode(value, f"{at}.{key}") for key, value in tool.items()}))
            continue
        schema = tool.get("input_schema")
        strict = decode(tool["strict"], f"{at}.strict") if "strict" in tool else None
        tools.append(
            Tool(
                string(tool, "name", at),
                string(tool, "description", at, needed=False),
                None if schema is None or is_null(schema) else decode(schema, f"{at}.input_schema"),
                strict if isinstance(strict, bool) else None,
                extras=extras_of(tool, _TOOL_KEYS, at),
            )
        )
    return tuple(tools), tuple(hosted)


def read_choice(said: Mapping[str, Any]) -> tuple[Choice | None, bool | None]:
    """The choice, and whether several calls a turn are welcome; None where nothing was said."""
    one = said.get("disable_parallel_tool_use")
    parallel = not one if isinstance(one, bool) else None
    match _CHOICES.get(said.get("type", "")):
        case "auto":
            return Choice("auto"), parallel
        case "required":
            return Choice("required"), parallel
        case "none":
            return Choice("none"), parallel
        case "tool":
            return Choice("tool", (str(said.get("name", "")),)), parallel
    return None, parallel


# --- wishes -----------------------------------------------------------------------------------------


def read_thinking(said: Mapping[str, Any], extras: dict[str, Any]) -> tuple[int | None, bool]:
    """The budget, or that the model decides; what else was said of thinking is kept."""
    kind = said.get("type")
    if kind and (set(said) - {"type", "budget_tokens"} or kind not in ("enabled", "disabled", "adaptive")):
        extras["thinking"] = dict(said)
    if kind == "disabled":
        return 0, False
    budget = said.get("budget_tokens")
    if kind == "enabled" and isinstance(budget, int | float):
        return int(budget), False
    return None, bool(kind)  # `between_tools`, and words that are newer than this: the model decides


def _format(said: Any) -> Format | None:
    if not isinstance(said, dict):
        return None
    name = said.get("name")
    return Format("json_schema", said.get("schema"), name if isinstance(name, str) else "")


def _parameters(given: Mapping[str, Any], session: str | None, extras: dict[str, Any]) -> dict[str, Any]:
    parameters = {key: given[key] for key in ("temperature", "top_p", "top_k") if key in given}
    if given.get("stop_sequences"):
        parameters["stop"] = given["stop_sequences"]
    metadata = given.get("metadata") or {}
    if metadata:
        extras["metadata"] = metadata
    if user := metadata.get("user_id"):  # who and on which device: for its maker, a word of it for others (12.8)
        parameters["user"] = _word_of(user)
    if session:  # where nothing else names the conversation, it is told from others by its user
        told = len(session) <= _LONGEST_KEY and session != user
        parameters["prompt_cache_key"] = session if told else _word_of(session)
    return parameters


def _word_of(text: str) -> str:
    """The same word for the same text, which cannot be read from it."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=12).hexdigest()
