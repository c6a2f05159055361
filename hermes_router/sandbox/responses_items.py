"""What OpenAI's Responses API refuses in the items of a conversation (facts/providers.md 12.2-12.4, 12.9; codex.md 6).

Owns types, parts, ids, pairs of calls and outputs, and reasoning that is not the model's own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from hermes_router.sandbox import responses_compact
from hermes_router.sandbox.responses_hear import items
from hermes_router.sandbox.rules import Rule
from hermes_router.sandbox.values import Asked, Breach

MOST_ID_CHARACTERS = 64
_PREFIX: Mapping[str, str] = {
    "message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fc", "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctc",
}  # fmt: skip
_REQUIRED: Mapping[str, dict[str, type | tuple[type, ...]]] = {
    "message": {"role": str, "content": (str, list)},
    "reasoning": {"id": str, "summary": list},
    "function_call": {"call_id": str, "name": str, "arguments": str},
    "function_call_output": {"call_id": str, "output": (str, list)},
    "custom_tool_call": {"call_id": str, "name": str, "input": str},
    "custom_tool_call_output": {"call_id": str, "output": (str, list)},
    "item_reference": {"id": str},
    "additional_tools": {"role": str, "tools": list},
}
_KEYS: Mapping[str, set[str]] = {
    "message": {"type", "id", "role", "content", "status", "phase"},
    "reasoning": {"type", "id", "summary", "content", "encrypted_content", "status"},
    "function_call": {"type", "id", "call_id", "name", "arguments", "status", "namespace", "caller"},
    "function_call_output": {"type", "id", "call_id", "output", "status", "name", "namespace", "caller"},
    "custom_tool_call": {"type", "id", "call_id", "name", "input", "status", "namespace", "caller"},
    "custom_tool_call_output": {"type", "id", "call_id", "output", "status", "name", "namespace", "caller"},
    "item_reference": {"type", "id"},
    "additional_tools": {"type", "id", "role", "tools"},
}
# Items of hosted tools: taken as they are.
_OTHERS = frozenset({
    "web_search_call", "file_search_call", "computer_call", "computer_call_output", "image_generation_call",
    "code_interpreter_call", "local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output",
    "apply_patch_call", "apply_patch_call_output", "mcp_call", "mcp_list_tools", "mcp_approval_request",
    "mcp_approval_response", "tool_search_call", "tool_search_output", "compaction", "compaction_trigger",
})  # fmt: skip
_ROLES = ("assistant", "system", "developer", "user")
_INPUT = ("input_text", "input_image", "input_file")
_OUTPUT = ("output_text", "refusal")


def texts(found: list[Any]) -> Iterator[str]:
    """The texts of all messages."""
    for item in found:
        content = item.get("content", "") if isinstance(item, dict) else ""
        if isinstance(content, str):
            yield content
        else:
            yield from (str(part.get("text", "")) for part in content if isinstance(part, dict))


def _wrong(message: str, at: str, code: str = "invalid_value") -> Breach:
    return Breach(message, at, code)


def _one_of(at: str, value: Any, known: tuple[str, ...]) -> Breach:
    listed = ", ".join(f"'{each}'" for each in known)
    return _wrong(f"Invalid value: '{value}'. Supported values are: {listed}.", at)


def shapes(asked: Asked) -> Breach | None:
    """Items of a known type with the fields of that type; ids with the prefix of it."""
    for number, item in enumerate(items(asked)):
        at = f"input[{number}]"
        if not isinstance(item, dict):
            return _wrong(f"Invalid type for '{at}': expected an object.", at, "invalid_type")
        kind = item.get("type", "message")
        if kind in _OTHERS:
            continue
        if kind not in _KEYS:
            return _one_of(f"{at}.type" if "type" in item else at, kind, (*_KEYS, *sorted(_OTHERS)))
        if breach := _fields(item, kind, at) or _ids(item, kind, at) or _parts(asked, item, kind, at):
            return breach
    return None


def _fields(item: dict[str, Any], kind: str, at: str) -> Breach | None:
    for key, sort in _REQUIRED[kind].items():
        if key not in item:
            return _wrong(f"Missing required parameter: '{at}.{key}'.", f"{at}.{key}", "missing_required_parameter")
        if not isinstance(item[key], sort):
            return _wrong(f"Invalid type for '{at}.{key}'.", f"{at}.{key}", "invalid_type")
    for key in item:
        if key not in _KEYS[kind]:
            return _wrong(f"Unknown parameter: '{at}.{key}'.", f"{at}.{key}", "unknown_parameter")
    return None


def _ids(item: dict[str, Any], kind: str, at: str) -> Breach | None:
    for key in ("id", "call_id"):
        value = item.get(key)
        if value is None:
            continue
        if not isinstance(value, str) or not 0 < len(value) <= MOST_ID_CHARACTERS:
            return _wrong(f"Invalid '{at}.{key}': string too long. Expected a string with maximum length 64, but got a "
                          f"string with length {len(str(value))} instead.", f"{at}.{key}",
                          "string_above_max_length")  # fmt: skip
    prefix, name = _PREFIX.get(kind), item.get("id")
    if prefix and name is not None and not name.startswith(f"{prefix}_"):
        return _wrong(f"Invalid '{at}.id': '{name}'. Expected an ID that begins with '{prefix}'.", f"{at}.id")
    return None


def _parts(asked: Asked, item: dict[str, Any], kind: str, at: str) -> Breach | None:
    key = "output" if kind.endswith("_output") else "content"
    content = item.get(key)
    if kind == "message" and item["role"] not in _ROLES:
        return _one_of(f"{at}.role", item["role"], _ROLES)
    if kind == "reasoning" or not isinstance(content, list):
        return None
    known = _OUTPUT if item.get("role") == "assistant" else _INPUT
    for number, part in enumerate(content):
        here = f"{at}.{key}[{number}]"
        sort = part.get("type") if isinstance(part, dict) else None
        if sort not in known:
            return _one_of(f"{here}.type" if isinstance(part, dict) else here, sort, known)
        word = "refusal" if sort == "refusal" else "text"
        if sort in {"input_text", "output_text", "refusal"} and not isinstance(part.get(word), str):
            word = f"{here}.{word}"
            return _wrong(f"Missing required parameter: '{word}'.", word, "missing_required_parameter")
        if sort == "input_image" and (breach := _image(asked, part, here)):
            return breach
    return None


def _image(asked: Asked, part: dict[str, Any], at: str) -> Breach | None:
    if not asked.model.sees:
        return _wrong("Invalid content type. image_url is only supported by certain models.", at)
    url = part.get("image_url")
    if part.get("file_id") or (isinstance(url, str) and url.startswith(("data:image/", "https://", "http://"))):
        return None
    return _wrong(f"Invalid '{at}.image_url'. Expected a valid URL, but got a value with an invalid format.",
                  f"{at}.image_url")  # fmt: skip


def pairs(asked: Asked) -> Breach | None:
    """Each output has its call before it, each call its output behind it."""
    calls: dict[str, str] = {}
    answered: set[str] = set()
    for number, item in enumerate(items(asked)):
        kind = item.get("type", "message")
        if kind in {"function_call", "custom_tool_call"}:
            calls[item["call_id"]] = kind
        elif kind in {"function_call_output", "custom_tool_call_output"}:
            name, words = item["call_id"], kind.removesuffix("_output").replace("_", " ")
            if calls.get(name) != kind.removesuffix("_output"):
                return Breach(f"No tool call found for {words} output with call_id {name}.", "input")
            if name in answered:
                return Breach(f"Duplicate output for call_id {name} at input[{number}].", "input")
            answered.add(name)
    missing = [name for name in calls if name not in answered]
    if missing:
        return Breach(f"No tool output found for {calls[missing[0]].replace('_', ' ')} {missing[0]}.", "input")
    return None


def reasoning(asked: Asked) -> Breach | None:
    """Reasoning is the model's own, whole, and stands before what came of it."""
    found = items(asked)
    for number, item in enumerate(found):
        if item.get("type") == "item_reference":
            return _gone(item["id"])
        if item.get("type") != "reasoning":
            continue
        sealed = item.get("encrypted_content")
        if sealed is None and not item.get("content") and asked.body.get("store") is False:
            return _gone(item["id"])
        if sealed is not None and (not isinstance(sealed, str) or asked.opens(sealed) is None):
            return Breach(f"The encrypted content for item {item['id']} could not be verified. Reason: Encrypted "
                          "content could not be decrypted.", "input", "invalid_encrypted_content")  # fmt: skip
        behind = found[number + 1] if number + 1 < len(found) else {}
        if behind.get("type", "message") not in {"function_call", "custom_tool_call", "reasoning"} and (
            behind.get("role") != "assistant"
        ):
            return Breach(f"Item '{item['id']}' of type 'reasoning' was provided without its required following item.",
                          "input")  # fmt: skip
    return None


def _gone(name: str) -> Breach:
    return Breach(f"Item with id '{name}' not found. Items are not persisted when `store` is set to false. Try again "
                  "with `store` set to true, or remove this item from your input.", "input", status=404)  # fmt: skip


ITEMS: tuple[Rule, ...] = (shapes, pairs, reasoning, responses_compact.own)
