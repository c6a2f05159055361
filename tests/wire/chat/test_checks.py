"""Wrong types in the fields of a Chat body: what stays taken, what is not said, and the path of what is wrong."""

import json
from typing import Any

import msgspec
import pytest

from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat.checks import check_functions, check_tools

from .test_request import TOOL, USER, WRONG, parse, refusal, said

DEEP = b'[{"function":{"name":"f","parameters":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_003 + b"]"


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def test_what_is_said_as_null_is_not_said() -> None:
    """Null is as good as absent at every field that is checked, and within tools and messages."""
    names = {path.partition(".")[0].partition("[")[0] for _, path in WRONG} - {"messages"}
    tool = {"type": "function", "function": {"name": "f", "description": None, "parameters": None, "strict": None}}
    call = {"id": None, "type": None, "function": {"name": None, "arguments": None}, "custom": None}
    message = said(name=None, refusal=None, tool_calls=[call], tool_call_id=None, function_call=None)
    assert parse(**dict.fromkeys(names)).request == parse().request
    assert parse(tools=[tool], messages=[USER, message, said(tool_calls=None)]).request.tools == 1


def test_what_providers_take_in_more_than_one_form_stays_taken() -> None:
    """Several shapes of one field, tools of all kinds, and fields that only some providers know."""
    forms: dict[str, list[Any]] = {
        "stop": ["x", ["x", "y"], []],
        "seed": [5, 5.0, -1],
        "logit_bias": [{"5": -100}, [[5, False]]],
        "tool_choice": ["auto", TOOL, {"type": "function", "name": "f"}, {"type": "any"},
                        {"type": "allowed_tools", "mode": "auto", "tools": []}],
        "function_call": ["auto", {"name": "f"}],
        "response_format": [{"type": "json_schema", "schema": {}}, {"type": "json_schema", "json_schema": {}}],
        "tools": [[{"type": "function", "name": "f", "parameters": {}}], [{"type": "web_search"}], [{"function": {"name": "f"}}],
                  [{"type": "custom", "custom": {"name": "f"}}], [{"type": "mcp", "name": "m", "server_url": 5}]],
        "min_p": [0.5, "0.5"],
    }  # fmt: skip
    for name, values in forms.items():
        for value in values:
            parse(**{name: value})


def test_tools_seen_as_functions_are_checked_as_tools() -> None:
    """What is right in one of the two lists is wrong in the other, however lately it was seen there."""
    functions = [{"name": "a", "parameters": {}, "description": "x" * 50}]
    assert parse(functions=functions).request.tools == 1
    tools = [{"type": "function", "function": {"name": "a", "description": "x" * 50}}]
    for _ in range(2):
        assert parse(tools=tools).request.tools == 1
        assert refusal(json.dumps({"messages": [USER], "functions": tools}).encode()).param == "functions[0].name"


def test_tools_are_counted() -> None:
    """Of both lists; an empty one has none."""
    assert check_tools(raw([TOOL, {"type": "web_search"}])) == 2
    assert check_functions(raw([{"name": "f"}])) == 1
    assert check_tools(raw([])) == check_functions(raw([])) == 0


@pytest.mark.parametrize("text", [b'[{"type":"function","function":{"name":"\\ud800"}}]', DEEP])
def test_what_cannot_be_read_is_the_callers_fault(text: bytes) -> None:
    """Half a surrogate, or a bomb: named as the field, never another error."""
    with pytest.raises(BadRequest) as caught:
        check_tools(msgspec.Raw(text))
    assert caught.value.param == "tools"
