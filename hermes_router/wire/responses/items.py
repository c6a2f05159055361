"""The items of a Responses request's `input`, decoded and checked as far as they are read.

Owns their shapes (facts: providers.md 12.3, 12.4; clients.md 3, 5): what comes out of `open_items` may be relied on by
whoever reads it. Items and parts that we do not know pass as they are. It must never know a target.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.errors import BadRequest
from hermes_router.wire.fields import decode
from hermes_router.wire.responses.tools import flatten

__all__ = ["CALLS", "COMPACTIONS", "OUTPUTS", "TEXTS", "Item", "is_assistants", "open_items", "payload_of", "texts_of"]

Item = dict[str, Any]
"""One item: `type` is a str, and what its type's check names is of the right type."""

CALLS: Final = frozenset({"function_call", "custom_tool_call"})
OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})
TEXTS: Final = frozenset({"input_text", "output_text", "text"})
COMPACTIONS: Final = frozenset({"compaction", "compaction_trigger"})
"""A history of which only its maker knows what it says, and the order to make one of what stands before it."""
_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})
_REFERENCE = "items kept by a provider cannot be referred to here: send the item itself"


def open_items(raw: Raw | None) -> list[Item]:
    """The items; a string is the message of a user. Raises BadRequest with the path of what is wrong."""
    items = None if raw is None else decode(raw, "input")
    if items is None:
        raise BadRequest("input is required: a string or a list of items", param="input")
    if isinstance(items, str):
        return [{"type": "message", "role": "user", "content": items}]
    if not isinstance(items, list):
        raise BadRequest("input must be a string or a list of items", param="input")
    if not items:
        raise BadRequest("input must hold at least one item", param="input")
    for index, item in enumerate(items):
        _open(item, index)
    return items


def is_assistants(item: Item) -> bool:
    """Whether an item is the model's: it belongs to one turn with its neighbours that are."""
    kind = item["type"]
    if kind == "message":
        return bool(item["role"] == "assistant")
    return kind not in _CALLERS and not kind.endswith("_output")


_CALLERS: Final = COMPACTIONS | {"additional_tools", "mcp_approval_response"}


def payload_of(part: Mapping[str, Any]) -> int:
    """How many bytes of a part are no text: base64, which costs tokens by what it shows."""
    found = 0
    for key in ("image_url", "file_data"):
        value = part.get(key)
        if isinstance(value, str) and (key == "file_data" or value.startswith("data:")):
            found += len(value)
    audio = part.get("input_audio")
    if isinstance(audio, dict) and isinstance(audio.get("data"), str):
        found += len(audio["data"])
    return found


# --- items ------------------------------------------------------------------------------------------


def _open(item: Any, index: int) -> None:
    if not isinstance(item, dict):
        at = f"input[{index}]"
        raise BadRequest(f"{at} must be an object", param=at)
    kind = item.get("type")
    if kind is None:
        if "role" not in item:
            at = f"input[{index}]"
            raise BadRequest(f"{at}: {_REFERENCE}" if "id" in item else f"{at}.type is required", param=at)
        kind = item["type"] = "message"
    elif not isinstance(kind, str):
        raise _wrong(f"input[{index}]", "type", "a string")
    check = _CHECKS.get(kind)
    if check is not None:
        check(item, f"input[{index}]")


def _message(item: Item, at: str) -> None:
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _wrong(at, "role", "one of system, developer, user, assistant")
    content = item.get("content")
    if isinstance(content, list):
        _parts(content, f"{at}.content")
    elif not isinstance(content, str) and not (content is None and role == "assistant"):
        raise _wrong(at, "content", "a string or a list of parts")


def _call(item: Item, at: str) -> None:
    _names(item, at)
    arguments = item.get("arguments")
    if isinstance(arguments, dict):  # some callers send them decoded
        item["arguments"] = msgspec.json.encode(arguments).decode()
    elif not isinstance(arguments, str | None):
        raise _wrong(at, "arguments", "a string that holds a JSON object")


def _custom_call(item: Item, at: str) -> None:
    _names(item, at)
    if not isinstance(item.get("input"), str | None):
        raise _wrong(at, "input", "a string")


def _names(item: Item, at: str) -> None:
    for key in ("call_id", "name"):
        if not isinstance(item.get(key), str):
            raise _wrong(at, key, "a string")
    if not isinstance(item.get("namespace"), str | None):
        raise _wrong(at, "namespace", "a string")


def _output(item: Item, at: str) -> None:
    if not isinstance(item.get("call_id"), str):
        raise _wrong(at, "call_id", "a string")
    output = item.get("output")
    if isinstance(output, list):
        _parts(output, f"{at}.output")
    elif not isinstance(output, str | None):
        raise _wrong(at, "output", "a string or a list of parts")


def _reasoning(item: Item, at: str) -> None:
    for key in ("encrypted_content", "id"):
        if not isinstance(item.get(key), str | None):
            raise _wrong(at, key, "a string")
    for key in ("summary", "content"):
        value = item.get(key)
        if value is None:
            continue
        if not isinstance(value, list):
            raise _wrong(at, key, "a list of parts")
        for index, part in enumerate(value):
            path = f"{at}.{key}[{index}]"
            if not isinstance(part, dict) or not isinstance(part.get("text", ""), str):
                raise BadRequest(f"{path}.text must be a string", param=f"{path}.text")


def _compaction(item: Item, at: str) -> None:
    if not isinstance(item.get("encrypted_content"), str):
        raise _wrong(at, "encrypted_content", "a string")
    if not isinstance(item.get("id"), str | None):
        raise _wrong(at, "id", "a string")


def _reference(_item: Item, at: str) -> None:
    raise BadRequest(f"{at}: {_REFERENCE}", param=at)


def _additional_tools(item: Item, at: str) -> None:
    flatten([(f"{at}.tools", item.get("tools"))])


_CHECKS: Final[Mapping[str, Callable[[Item, str], None]]] = {
    "message": _message,
    "function_call": _call,
    "custom_tool_call": _custom_call,
    "function_call_output": _output,
    "custom_tool_call_output": _output,
    "reasoning": _reasoning,
    "compaction": _compaction,
    "item_reference": _reference,
    "additional_tools": _additional_tools,
    "tool_search_output": _additional_tools,
}


# --- parts ------------------------------------------------------------------------------------------


def _parts(parts: list[Any], at: str) -> None:
    for index, part in enumerate(parts):
        if not isinstance(part, dict):
            raise BadRequest(f"{at}[{index}] must be an object with a type", param=f"{at}[{index}]")
        kind = part.get("type")
        if not isinstance(kind, str):
            raise _wrong(f"{at}[{index}]", "type", "a string")
        if kind in TEXTS:
            if not isinstance(part.get("text"), str):
                raise _wrong(f"{at}[{index}]", "text", "a string")
        elif kind in _PARTS:
            _PARTS[kind](part, f"{at}[{index}]")


def _refusal(part: Item, at: str) -> None:
    if not isinstance(part.get("refusal"), str):
        raise _wrong(at, "refusal", "a string")


def _image(part: Item, at: str) -> None:
    url = part.get("image_url")
    if not isinstance(url, str) and not (url is None and isinstance(part.get("file_id"), str)):
        raise _wrong(at, "image_url", "a string")
    if not isinstance(part.get("detail"), str | None):
        raise _wrong(at, "detail", "a string")


def _file(part: Item, at: str) -> None:
    keys = ("file_data", "file_url", "file_id", "filename")
    for key in keys:
        if not isinstance(part.get(key), str | None):
            raise _wrong(at, key, "a string")
    if not any(part.get(key) for key in keys[:3]):
        raise BadRequest(f"{at}.file_data or {at}.file_url is required", param=f"{at}.file_data")


def _audio(part: Item, at: str) -> None:
    audio = part.get("input_audio")
    if not isinstance(audio, dict):
        raise _wrong(at, "input_audio", "an object")
    for key in ("data", "format"):
        if not isinstance(audio.get(key), str):
            raise _wrong(f"{at}.input_audio", key, "a string")


_PARTS: Final[Mapping[str, Callable[[Item, str], None]]] = {
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}


def _wrong(at: str, key: str, wanted: str) -> BadRequest:
    return BadRequest(f"{at}.{key} must be {wanted}", param=f"{at}.{key}")


def texts_of(content: Any) -> Iterator[str]:
    """The texts of checked content, in order."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if part["type"] in TEXTS:
                yield part["text"]
