"""Responses requests as neutral content: what a provider of another dialect is asked.

Owns `read` (facts: providers.md 12.2-12.9; clients.md 2.3, 3, 5): items that stand together become turns, tools of
namespaces get flat names, what only Responses has is kept in `extras`. It must never know a target.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Raw

from hermes_router.core.chat import Warning as Notice
from hermes_router.core.content import (
    NO_EXTRAS,
    Audio,
    Choice,
    Conversation,
    Document,
    Extras,
    Foreign,
    Format,
    Image,
    Part,
    Reasoning,
    Role,
    Seal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from hermes_router.core.errors import BadRequest
from hermes_router.wire.fields import decode
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.responses.items import CALLS, OUTPUTS, TEXTS, Item, is_assistants, open_items
from hermes_router.wire.responses.tools import Declared, FlatNames, carried, flatten
from hermes_router.wire.seals import unwrap

__all__ = ["DIALECT", "read"]

DIALECT: Final = "openai_responses"
_MESSAGES: Final = "anthropic_messages"
_SHARED: Final = frozenset({
    "temperature", "top_p", "user", "service_tier", "metadata", "store", "prompt_cache_key", "safety_identifier",
})  # fmt: skip
"""Parameters whose name is the neutral one."""
_ELSEWHERE: Final = frozenset({
    "model", "stream", "stream_options", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls",
    "max_output_tokens", "background",
})  # fmt: skip
_SYSTEM: Final = frozenset({"system", "developer"})
_FILE_ID = "files kept by a provider cannot be read here: send the content itself"


def read(inbound: Inbound) -> Conversation:
    """The whole request. Raises BadRequest with the path of what cannot be read."""
    fields = inbound.fields
    items = open_items(fields.get("input"))
    given = _given(fields)
    listed = [("tools", given["tools"])] if "tools" in given else []
    tools = flatten([*listed, *carried(items)])
    names = tools.flat_names()
    system, turns = _turns(items, given.get("instructions") or "", names)
    parameters = {key: given[key] for key in given if key in _SHARED}
    extras = {key: value for key, value in given.items() if key not in _SHARED and key not in _ELSEWHERE}
    text = extras.pop("text", None) or {}
    if text.get("verbosity") is not None:
        parameters["verbosity"] = text["verbosity"]
    reasoning = {key: value for key, value in (extras.pop("reasoning", None) or {}).items() if key != "effort"}
    if reasoning:
        extras["reasoning"] = reasoning
    choice = _choice(given.get("tool_choice"), names)
    if choice is not None and choice.mode == "tool" and choice.names[0] not in {tool.flat for tool in tools.declared}:
        extras["tool_choice"] = given["tool_choice"]  # a hosted one, which is more than its name
    effort = inbound.request.effort
    return Conversation(
        system=system,
        turns=turns,
        tools=tuple(map(_tool, tools.declared)),
        hosted=tuple((DIALECT, tool) for tool in tools.hosted),
        choice=choice,
        parallel=given.get("parallel_tool_calls"),
        max_output_tokens=inbound.request.max_output_tokens,
        effort=effort,
        thinking_tokens=0 if effort == "none" else None,
        format=_format(text.get("format")),
        parameters=parameters or NO_EXTRAS,
        extras={DIALECT: extras} if extras else NO_EXTRAS,
        warnings=(Notice("dropped", "top_logprobs"),) if given.get("top_logprobs") else (),
    )


def _given(fields: Mapping[str, Raw]) -> dict[str, Any]:
    """The other fields than `input`, decoded; what is null is not given."""
    given = {key: decode(raw, key) for key, raw in fields.items() if key != "input"}
    return {key: value for key, value in given.items() if value is not None}


# --- turns ------------------------------------------------------------------------------------------


def _turns(items: list[Item], instructions: str, names: FlatNames) -> tuple[tuple[Text, ...], tuple[Turn, ...]]:
    """The leading system text, and the turns: the model's neighbours are one turn, and so are results."""
    system: list[Text] = [Text(instructions)] if instructions else []
    turns: list[Turn] = []
    at = 0
    while at < len(items):
        item, start = items[at], at
        kind = item["type"]
        if is_assistants(item):
            while at < len(items) and is_assistants(items[at]):
                at += 1
            parts = _said(items[start:at], start, names)
            if parts:
                turns.append(Turn("assistant", parts))
        elif kind in OUTPUTS:
            while at < len(items) and items[at]["type"] in OUTPUTS:
                at += 1
            turns.append(Turn("user", tuple(_result(each, start + n) for n, each in enumerate(items[start:at]))))
        else:
            at += 1
            if kind == "message":
                _message(item, start, system, turns)
            elif kind != "additional_tools":
                turns.append(Turn("user", (_foreign(item),)))
    return tuple(system), tuple(turns)


def _message(item: Item, index: int, system: list[Text], turns: list[Turn]) -> None:
    role: Role = item["role"]
    parts = tuple(_parts(item["content"], f"input[{index}].content"))
    if role in _SYSTEM and not turns and all(isinstance(part, Text) for part in parts):
        system += (part for part in parts if isinstance(part, Text))
    else:
        turns.append(Turn(role, parts))


def _said(items: Sequence[Item], start: int, names: FlatNames) -> tuple[Part, ...]:
    """What the model said in one turn. Calls come last, and a thought stays before what it led to."""
    ordered = True
    called = False
    for item in items:
        if item["type"] in CALLS:
            called = True
        elif called and item["type"] == "message":
            ordered = False
    if not ordered:
        items = _calls_last(items)
    parts: list[Part] = []
    for index, item in enumerate(items, start):
        match item["type"]:
            case "message":
                marks = {"phase": item["phase"]} if item.get("phase") else None
                parts += _parts(item.get("content"), f"input[{index}].content", marks)
            case "function_call":
                parts.append(_call(item, item.get("arguments") or "", names, custom=False))
            case "custom_tool_call":
                parts.append(_call(item, item.get("input") or "", names, custom=True))
            case "reasoning":
                parts.append(_thought(item))
            case _:
                parts.append(_foreign(item))
    return tuple(parts)


def _calls_last(items: Sequence[Item]) -> list[Item]:
    texts: list[Item] = []
    calls: list[Item] = []
    thoughts: list[Item] = []
    for item in items:
        if item["type"] == "reasoning":
            thoughts.append(item)
            continue
        (calls if item["type"] in CALLS else texts).extend((*thoughts, item))
        thoughts = []
    return texts + calls + thoughts


def _call(item: Item, said: str, names: FlatNames, *, custom: bool) -> ToolCall:
    name = names.of(item.get("namespace") or "", item["name"])
    return ToolCall(item["call_id"], name, said, custom, _own(item, _CALL_KEYS))


def _thought(item: Item) -> Reasoning:
    text = "\n\n".join(_texts(item.get("summary"))) or "\n\n".join(_texts(item.get("content")))
    data = item.get("encrypted_content")
    if not data:
        return Reasoning(text)
    seal = unwrap(data)
    return Reasoning(text, seal or Seal(DIALECT, "encrypted", data, item_id=item.get("id") or ""))


def _texts(parts: list[dict[str, Any]] | None) -> Iterator[str]:
    return (part["text"] for part in parts or () if part.get("text"))


def _result(item: Item, index: int) -> ToolResult:
    parts = tuple(_parts(item.get("output"), f"input[{index}].output"))
    return ToolResult(item["call_id"], parts, extras=_own(item, _RESULT_KEYS))


def _foreign(item: Item) -> Foreign:
    """An item of a hosted tool; what it gave back can be told to others where it is text."""
    output = item.get("output")
    return Foreign(DIALECT, item["type"], item, output if isinstance(output, str) else "")


# --- parts ------------------------------------------------------------------------------------------

_CALL_KEYS: Final = frozenset({"type", "id", "call_id", "name", "namespace", "arguments", "input", "status"})
_RESULT_KEYS: Final = frozenset({"type", "id", "call_id", "output", "status"})
_TEXT_KEYS: Final = frozenset({"type", "text", "refusal", "cache_control", "logprobs"})
_IMAGE_KEYS: Final = frozenset({"type", "image_url", "detail", "cache_control", "file_id"})
_FILE_KEYS: Final = frozenset({"type", "file_data", "file_url", "file_id", "filename", "cache_control"})


def _parts(content: Any, at: str, marks: Mapping[str, Any] | None = None) -> Iterator[Part]:
    """The parts of checked content; `marks` are the message's own, kept with each text."""
    if isinstance(content, str):
        if content:
            yield Text(content, {DIALECT: marks} if marks else NO_EXTRAS)
        return
    for index, part in enumerate(content or ()):
        found = _part(part, f"{at}[{index}]")
        if isinstance(found, Text) and not found.text and not found.extras:
            continue
        if marks and isinstance(found, Text):
            found = found._replace(extras={**found.extras, DIALECT: {**found.extras.get(DIALECT, {}), **marks}})
        yield found


def _part(part: dict[str, Any], path: str) -> Part:
    kind = part["type"]
    if kind in TEXTS:
        return Text(part["text"], _own(part, _TEXT_KEYS) if len(part) > 2 else NO_EXTRAS)
    if kind == "refusal":
        return Text(part["refusal"], _own(part, _TEXT_KEYS, {"refusal": True}))
    if kind == "input_image":
        if part.get("image_url") is None:
            raise BadRequest(f"{path}.file_id: {_FILE_ID}", param=f"{path}.file_id")
        return Image(part["image_url"], part.get("detail") or "", _own(part, _IMAGE_KEYS))
    if kind == "input_file":
        return _document(part, path)
    if kind == "input_audio":
        return Audio(part["input_audio"]["data"], part["input_audio"]["format"])
    text = part.get("text")
    return Foreign(DIALECT, kind, part, text if isinstance(text, str) else "")


def _document(part: dict[str, Any], path: str) -> Document:
    url = part.get("file_data") or part.get("file_url")
    if not url:
        raise BadRequest(f"{path}.file_id: {_FILE_ID}", param=f"{path}.file_id")
    if part.get("file_data") and not url.startswith("data:"):
        url = f"data:application/pdf;base64,{url}"
    return Document(url, name=part.get("filename") or "", extras=_own(part, _FILE_KEYS))


def _own(holder: Mapping[str, Any], known: frozenset[str], marks: Mapping[str, Any] | None = None) -> Extras:
    """What only Responses has for this place, and cache marks, which some callers bring along."""
    if not marks and holder.keys() <= known and "cache_control" not in holder:
        return NO_EXTRAS
    rest = {key: value for key, value in holder.items() if key not in known and value not in (None, [])}
    if marks:
        rest |= marks
    cached = holder.get("cache_control")
    if isinstance(cached, dict):
        return {DIALECT: rest, _MESSAGES: {"cache_control": cached}} if rest else {_MESSAGES: {"cache_control": cached}}
    return {DIALECT: rest} if rest else NO_EXTRAS


# --- tools and wishes -------------------------------------------------------------------------------

_TOOL_KEYS: Final = frozenset({"type", "name", "description", "parameters", "strict", "cache_control"})


def _tool(tool: Declared) -> Tool:
    said = tool.definition
    description = said.get("description") or ""
    marks: dict[str, Any] = {}
    if tool.note:  # others have no namespaces: what is said of one is said with its first tool
        marks = {"note": tool.note, "description": description}
        description = f"{tool.note}\n\n{description}" if description else tool.note
    extras = _own(said, _TOOL_KEYS, marks)
    if not tool.custom and DIALECT not in extras:
        extras = {**extras, DIALECT: {}}  # where `strict` is not said, Responses has a default of its own (12.4)
    return Tool(
        tool.flat,
        description,
        None if tool.custom else said.get("parameters"),
        said.get("strict"),
        tool.custom,
        tool.namespace,
        tool.name if tool.name != tool.flat else "",
        extras,
    )


def _choice(said: Any, names: FlatNames) -> Choice | None:
    """The wish for tools; one for a tool that a provider runs names its type."""
    if isinstance(said, str):
        return {"auto": Choice("auto"), "required": Choice("required"), "none": Choice("none")}.get(said)
    if not isinstance(said, dict):
        return None
    if said.get("type") == "allowed_tools":
        allowed = tuple(filter(None, (_chosen(tool, names) for tool in said.get("tools") or ())))
        return Choice("required" if said.get("mode") == "required" else "auto", allowed)
    return Choice("tool", (_chosen(said, names),))


def _chosen(tool: Mapping[str, Any], names: FlatNames) -> str:
    name, namespace = tool.get("name"), tool.get("namespace")
    if tool.get("type") in ("function", "custom") and isinstance(name, str):
        return names.of(namespace if isinstance(namespace, str) else "", name)
    kind = tool.get("type")
    return kind if isinstance(kind, str) else ""


def _format(said: Mapping[str, Any] | None) -> Format | None:
    kind = said.get("type") if said else None
    if said is None or kind not in ("json_object", "json_schema"):
        return None
    if kind == "json_object":
        return Format("json_object")
    return Format(
        "json_schema", said["schema"], said.get("name") or "", said.get("strict"), said.get("description") or ""
    )
