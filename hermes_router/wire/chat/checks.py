"""What the fields of a Chat body must be like: a wrong type is named by its path, whichever target is asked.

Owns the table of the fields that this dialect defines, and the shapes of tools and of what is chosen of them. A field
that is absent or null is not said; one that the dialect does not define is the provider's to judge; what providers take
in more than one form stays taken (`stop`, `logit_bias`, flat tools). It must never know a target.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.errors import BadRequest
from hermes_router.wire.fields import boolean, given, integer, misfit, number, string, typed

__all__ = ["check_fields", "check_functions", "check_tools", "chosen", "wanted_format"]

_FAR: Final = 2**63
_SCHEMA: Final = "response_format.json_schema"


class _Function(msgspec.Struct, gc=False):
    name: str
    description: str | None = None
    parameters: dict[str, Raw] | None = None
    strict: bool | None = None


class _Custom(msgspec.Struct, gc=False):
    name: str
    description: str | None = None


class _Tool(msgspec.Struct, gc=False):
    """A function, a custom tool, a function that is written flat as in Responses, or one that a provider runs."""

    type: str | None = None
    function: _Function | None = None
    custom: _Custom | None = None
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Raw] | None = None


_TOOLS: Final = msgspec.json.Decoder(list[_Tool])
_FUNCTIONS: Final = msgspec.json.Decoder(list[_Function])
_OURS: Final = (None, "function", "custom")


def check_fields(fields: Mapping[str, Raw]) -> None:
    """Name the first field of a wrong type, of those that nobody reads here."""
    for name in fields:
        if (check := _CHECKS.get(name)) is not None:
            check(fields, name)


def _object(fields: Mapping[str, Raw], name: str) -> dict[str, Any] | None:
    return typed(fields, name, dict, "an object")


def _words(fields: Mapping[str, Raw], name: str) -> None:
    _check_words(typed(fields, name, list, "a list of strings") or (), name)


def _stop(fields: Mapping[str, Raw], name: str) -> None:
    stop = given(fields, name)
    if isinstance(stop, list):
        _check_words(stop, name)
    elif not isinstance(stop, str | None):
        raise BadRequest(f"{name} must be a string or a list of strings", param=name)


def _check_words(words: list[Any] | tuple[()], name: str) -> None:
    for index, word in enumerate(words):
        _expect(word, str, "a string", f"{name}[{index}]")


def _bias(fields: Mapping[str, Raw], name: str) -> None:
    _expect(given(fields, name), dict | list | None, "an object", name)


def _function_call(fields: Mapping[str, Raw], name: str) -> None:
    said = given(fields, name)
    _expect(said, str | dict | None, "a string or an object", name)
    if isinstance(said, dict):
        _expect(said.get("name"), str, "a string", f"{name}.name")


def _expect(value: Any, wanted: Any, what: str, path: str) -> None:
    if not isinstance(value, wanted):
        raise BadRequest(f"{path} must be {what}", param=path)


_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Raw], str], object]]] = {
    **dict.fromkeys(("temperature", "top_p", "frequency_penalty", "presence_penalty"), number),
    **dict.fromkeys(("parallel_tool_calls", "store"), boolean),
    **dict.fromkeys(("user", "service_tier", "verbosity", "prompt_cache_key", "safety_identifier"), string),
    **dict.fromkeys(("metadata", "prediction", "audio", "web_search_options"), _object),
    "seed": partial(integer, low=-_FAR, high=_FAR),
    "top_logprobs": partial(integer, low=0, high=20),
    "modalities": _words,
    "stop": _stop,
    "logit_bias": _bias,
    "function_call": _function_call,
}


# --- tools ------------------------------------------------------------------------------------------


def check_tools(raw: Raw) -> int:
    """How many tools a list holds. Raises BadRequest with the path of what is wrong in it."""
    tools = _decoded(_TOOLS, raw, "tools")
    for index, tool in enumerate(tools):
        if tool.type in _OURS and tool.function is None and tool.custom is None and tool.name is None:
            path = f"tools[{index}].{tool.type or 'function'}"
            raise BadRequest(f"{path} must be an object", param=path)
    return len(tools)


def check_functions(raw: Raw) -> int:
    """How many functions the older list holds. Raises BadRequest with the path of what is wrong in it."""
    return len(_decoded(_FUNCTIONS, raw, "functions"))


def _decoded(decoder: msgspec.json.Decoder[list[Any]], raw: Raw, name: str) -> list[Any]:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise misfit(error, name) from None
    except RecursionError:
        raise BadRequest(f"{name} is nested too deeply", param=name) from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadRequest(f"{name} cannot be read: {error}", param=name) from None


def chosen(fields: Mapping[str, Raw]) -> str | dict[str, Any] | None:
    """The `tool_choice`. Raises BadRequest with the path of what is wrong in it."""
    choice: str | dict[str, Any] | None = given(fields, "tool_choice")
    _expect(choice, str | dict | None, "a string or an object", "tool_choice")
    if not isinstance(choice, dict):
        return choice
    kind = choice.get("type")
    _expect(kind, str | None, "a string", "tool_choice.type")
    for key in ("function", "custom"):
        inner, path = choice.get(key), f"tool_choice.{key}"
        if inner is None and (kind != key or isinstance(choice.get("name"), str)):
            continue
        _expect(inner, dict, "an object", path)
        _expect((inner or {}).get("name"), str, "a string", f"{path}.name")
    _expect(choice.get("allowed_tools"), dict | None, "an object", "tool_choice.allowed_tools")
    return choice


# --- the shape of the answer ------------------------------------------------------------------------


def wanted_format(fields: Mapping[str, Raw]) -> dict[str, Any] | None:
    """The `response_format`, its kind not looked at. Raises BadRequest with the path of what is wrong in it."""
    wanted = _object(fields, "response_format")
    described = None if wanted is None else wanted.get("json_schema")
    if described is None:
        return wanted
    _expect(described, dict, "an object", _SCHEMA)
    for key in ("name", "description"):
        _expect(described.get(key), str | None, "a string", f"{_SCHEMA}.{key}")
    _expect(described.get("schema"), dict | None, "an object", f"{_SCHEMA}.schema")
    _expect(described.get("strict"), bool | None, "true or false", f"{_SCHEMA}.strict")
    return wanted
