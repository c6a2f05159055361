"""Chat Completions requests as neutral content: what a provider of another dialect is asked.

Owns `read` (facts: providers.md 12.2-12.9). The body was checked by `openai_chat.parse_request`; what is read here for
the first time and is wrong is a BadRequest naming its path. It must never know a target.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from hermes_router.core.content import (
    NO_EXTRAS,
    Audio,
    Choice,
    Conversation,
    Document,
    Foreign,
    Format,
    Image,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from hermes_router.core.errors import BadRequest, Inexpressible
from hermes_router.wire.fields import decode
from hermes_router.wire.inbound import Inbound

__all__ = ["read"]

_DIALECT: Final = "openai_chat"
_MESSAGES: Final = "anthropic_messages"
_ELSEWHERE: Final = frozenset({
    "model", "stream", "stream_options", "messages", "tools", "functions", "tool_choice", "function_call",
    "parallel_tool_calls", "max_tokens", "max_completion_tokens", "reasoning_effort", "reasoning", "thinking",
    "response_format",
})  # fmt: skip
_SHARED: Final = frozenset({
    "temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs",
    "top_logprobs", "n", "user", "service_tier", "verbosity", "metadata", "store", "prompt_cache_key",
    "safety_identifier",
})  # fmt: skip
"""Parameters whose Chat name is the neutral one."""


def read(inbound: Inbound) -> Conversation:
    """The whole request. Raises BadRequest with the path of what is wrong, Inexpressible for a file kept elsewhere."""
    given = {key: decode(raw, key) for key, raw in inbound.fields.items()}
    given = {key: value for key, value in given.items() if value is not None}
    system, turns = _turns(given.get("messages") or [])
    parameters: dict[str, Any] = {key: given[key] for key in given if key in _SHARED}
    stop = given.get("stop")
    if stop is not None:
        parameters["stop"] = stop if isinstance(stop, list) else [stop]
    rest = {key: value for key, value in given.items() if key not in _ELSEWHERE | _SHARED and key != "stop"}
    effort, thinking = _thinking(given, inbound.request.effort)
    return Conversation(
        system=system,
        turns=turns,
        tools=tuple(_tools(given)),
        choice=_choice(given),
        parallel=_flag(given.get("parallel_tool_calls")),
        max_output_tokens=inbound.request.max_output_tokens,
        effort=effort,
        thinking_tokens=thinking,
        format=_format(given.get("response_format")),
        parameters=parameters or NO_EXTRAS,
        extras={_DIALECT: rest} if rest else NO_EXTRAS,
        origin=_DIALECT,
    )


# --- turns ------------------------------------------------------------------------------------------


def _turns(messages: list[dict[str, Any]]) -> tuple[tuple[Text, ...], tuple[Turn, ...]]:
    """The leading system text, and the turns; results that stand together are one turn."""
    system: list[Text] = []
    turns: list[Turn] = []
    results: list[ToolResult] = []
    legacy: list[tuple[str, str]] = []  # calls of the older shape that wait for their result: id, name
    for index, message in enumerate(messages):
        role, at = message.get("role"), f"messages[{index}]"
        if role in ("tool", "function"):
            results.append(_result(message, at, legacy))
            continue
        if results:
            turns.append(Turn("user", tuple(results)))
            results = []
        parts = tuple(_parts(message.get("content"), f"{at}.content"))
        name = _text(message.get("name"))
        if role in ("system", "developer"):
            if turns:
                turns.append(Turn("developer" if role == "developer" else "system", parts, name))
            else:
                system += (part for part in parts if isinstance(part, Text))
        elif role == "assistant":
            turns.append(_assistant(message, parts, name, index, legacy))
        else:
            turns.append(Turn("user", parts, name))
    if results:
        turns.append(Turn("user", tuple(results)))
    return tuple(system), tuple(turns)


def _assistant(
    message: Mapping[str, Any], said: tuple[Part, ...], name: str, index: int, legacy: list[tuple[str, str]]
) -> Turn:
    parts: list[Part] = []
    thought = _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
    if thought:
        parts.append(Reasoning(thought))
    parts += said
    refusal = _text(message.get("refusal"))
    if refusal:
        parts.append(Text(refusal))
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        parts += (_call(call, f"messages[{index}].tool_calls[{at}]") for at, call in enumerate(calls))
    function = message.get("function_call")
    if isinstance(function, dict) and not calls:
        call = ToolCall(f"call_{index}", _text(function.get("name")), _arguments(function.get("arguments")))
        legacy.append((call.call_id, call.name))
        parts.append(call)
    details = message.get("reasoning_details")
    return Turn("assistant", tuple(parts), name, {_DIALECT: {"reasoning_details": details}} if details else NO_EXTRAS)


def _call(call: Any, at: str) -> ToolCall:
    if not isinstance(call, dict):
        raise BadRequest(f"{at} must be an object", param=at)
    custom = call.get("custom")
    if isinstance(custom, dict):
        return ToolCall(_text(call.get("id")), _text(custom.get("name")), _text(custom.get("input")), custom=True)
    function = call.get("function")
    if not isinstance(function, dict):
        raise BadRequest(f"{at}.function must be an object", param=f"{at}.function")
    extra = call.get("extra_content")
    extras = {_DIALECT: {"extra_content": extra}} if extra else NO_EXTRAS
    return ToolCall(
        _text(call.get("id")), _text(function.get("name")), _arguments(function.get("arguments")), False, extras
    )


def _arguments(value: Any) -> str:
    """The JSON text of arguments; some callers send them decoded."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _result(message: Mapping[str, Any], at: str, legacy: list[tuple[str, str]]) -> ToolResult:
    parts = tuple(_parts(message.get("content"), f"{at}.content"))
    if message.get("role") == "tool":
        return ToolResult(_text(message.get("tool_call_id")), parts)
    name = _text(message.get("name"))
    found = next((pair for pair in legacy if pair[1] == name), None)
    if found is None:
        return ToolResult("", parts)
    legacy.remove(found)
    return ToolResult(found[0], parts)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


# --- parts ------------------------------------------------------------------------------------------


def _parts(content: Any, at: str) -> Iterator[Part]:
    if isinstance(content, str):
        if content:
            yield Text(content)
        return
    if not isinstance(content, list):
        return
    for index, part in enumerate(content):
        path = f"{at}[{index}]"
        if not isinstance(part, dict):
            raise BadRequest(f"{path} must be an object with a type", param=path)
        yield _part(part, path)


def _part(part: dict[str, Any], path: str) -> Part:
    kind = part.get("type")
    marks = {"cache_control": part["cache_control"]} if isinstance(part.get("cache_control"), dict) else None
    extras = {_MESSAGES: marks} if marks else NO_EXTRAS
    match kind:
        case "text" | "input_text" | "output_text":
            return Text(_text(part.get("text")), extras)
        case "refusal":
            return Text(_text(part.get("refusal")), extras)
        case "image_url":
            image = part.get("image_url")
            if isinstance(image, dict):
                return Image(_text(image.get("url")), _text(image.get("detail")), extras)
            return Image(_text(image), "", extras)
        case "input_audio":
            return _audio(part.get("input_audio"), f"{path}.input_audio")
        case "file":
            return _document(part.get("file"), f"{path}.file", extras)
        case "thinking":  # Mistral's list shape (providers.md 7)
            thought = part.get("thinking")
            texts = thought if isinstance(thought, list) else [{"text": thought}]
            return Reasoning("".join(_text(each.get("text")) for each in texts if isinstance(each, dict)))
    return Foreign(_DIALECT, _text(kind), part, _text(part.get("text")))


def _audio(audio: Any, path: str) -> Audio:
    if not isinstance(audio, dict) or not isinstance(audio.get("data"), str):
        raise BadRequest(f"{path}.data must be a string", param=f"{path}.data")
    return Audio(audio["data"], _text(audio.get("format")))


def _document(file: Any, path: str, extras: Mapping[str, Any]) -> Document:
    if not isinstance(file, dict):
        raise BadRequest(f"{path} must be an object", param=path)
    data, name = _text(file.get("file_data")), _text(file.get("filename"))
    if not data:
        # An id means nothing in another dialect (12.3): it would be another file, or none.
        raise Inexpressible("a file that its provider keeps", param=path)
    if not data.startswith("data:"):
        data = f"data:application/pdf;base64,{data}"
    return Document(data, "", name, "", extras)


# --- tools and wishes -------------------------------------------------------------------------------


def _tools(given: Mapping[str, Any]) -> Iterator[Tool]:
    for index, tool in enumerate(_dicts(given.get("tools"))):
        custom, function = tool.get("custom"), tool.get("function")
        if isinstance(custom, dict):
            extras = {_DIALECT: {"format": custom["format"]}} if custom.get("format") else NO_EXTRAS
            yield Tool(_text(custom.get("name")), _text(custom.get("description")), custom=True, extras=extras)
        elif isinstance(function, dict):
            marks = tool.get("cache_control")
            yield _function(function, {_MESSAGES: {"cache_control": marks}} if marks else NO_EXTRAS)
        elif isinstance(tool.get("name"), str):  # flat, as in Responses: people mix them up
            yield _function(tool, NO_EXTRAS)
        else:
            raise BadRequest(f"tools[{index}].function must be an object", param=f"tools[{index}].function")
    for function in _dicts(given.get("functions")):
        yield _function(function, NO_EXTRAS)


def _function(function: Mapping[str, Any], extras: Mapping[str, Any]) -> Tool:
    schema = function.get("parameters")
    return Tool(
        _text(function.get("name")),
        _text(function.get("description")),
        schema if isinstance(schema, dict) else None,
        _flag(function.get("strict")),
        extras=extras,
    )


def _dicts(value: Any) -> Iterable[dict[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else ()


def _choice(given: Mapping[str, Any]) -> Choice | None:
    said = given.get("tool_choice")
    if said is None and "function_call" in given:
        said = given["function_call"]
        if isinstance(said, dict):
            return Choice("tool", (_text(said.get("name")),))
    if isinstance(said, str):
        return {"auto": Choice("auto"), "required": Choice("required"), "none": Choice("none")}.get(said)
    if not isinstance(said, dict):
        return None
    if said.get("type") == "allowed_tools":
        allowed = said.get("allowed_tools")
        allowed = allowed if isinstance(allowed, dict) else said
        names = tuple(filter(None, map(_name_of, _dicts(allowed.get("tools")))))
        return Choice("required" if allowed.get("mode") == "required" else "auto", names)
    name = _name_of(said)
    return Choice("tool", (name,)) if name else Choice("required")


def _name_of(tool: Mapping[str, Any]) -> str:
    inner = tool.get("function") or tool.get("custom")
    return _text((inner if isinstance(inner, dict) else tool).get("name"))


def _format(said: Any) -> Format | None:
    kind = said.get("type") if isinstance(said, dict) else None
    if kind == "json_object":
        return Format("json_object")
    if kind != "json_schema":
        return None
    inner = said.get("json_schema")
    inner = inner if isinstance(inner, dict) else {}
    schema = inner.get("schema")
    return Format(
        "json_schema",
        schema if isinstance(schema, dict) else None,
        _text(inner.get("name")),
        _flag(inner.get("strict")),
        _text(inner.get("description")),
    )


def _thinking(given: Mapping[str, Any], effort: str | None) -> tuple[str | None, int | None]:
    """Effort and budget in every spelling that Chat callers use (12.8): `reasoning`, `thinking`, `reasoning_effort`."""
    for key, budget in (("reasoning", "max_tokens"), ("thinking", "budget_tokens")):
        said = given.get(key)
        if not isinstance(said, dict):
            continue
        tokens = said.get(budget)
        if type(tokens) is int and tokens > 0:
            return effort, tokens
        if said.get("type") == "disabled" or said.get("enabled") is False:
            return effort or "none", 0
    return effort, 0 if effort == "none" else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
