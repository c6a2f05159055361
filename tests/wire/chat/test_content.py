"""Chat requests are read whole into neutral content, and written back as what they were."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.content import (
    Audio,
    Choice,
    Document,
    Foreign,
    Format,
    Image,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from hermes_router.core.errors import BadRequest, Inexpressible
from hermes_router.wire.chat.content import read
from hermes_router.wire.chat.fields import write
from hermes_router.wire.chat.request import parse_request

CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"sky"}'}}


def content(messages: list[Any], **more: Any) -> Any:
    body = json.dumps({"model": "m", "messages": messages, **more}).encode()
    return read(parse_request(body, {}))


def again(conversation: Any) -> Any:
    """The same after it was written as Chat and read anew."""
    body = write(conversation)
    raw = b"{" + b",".join(b'"%b":%b' % (key.encode(), bytes(value)) for key, value in body.fields.items()) + b"}"
    return read(parse_request(raw, {}))


def test_an_agents_second_turn_is_read_whole() -> None:
    """System text apart, calls behind the texts, results together in front of what the user said."""
    found = content(
        [
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": [{"type": "text", "text": "and kind"}]},
            {"role": "user", "content": "look up"},
            {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [CALL, CALL | {"id": "2"}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "blue"},
            {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "grey"}]},
            {"role": "user", "content": "and now?", "name": "ann"},
            {"role": "system", "content": "hurry"},
        ]
    )
    assert found.system == (Text("be brief"), Text("and kind"))
    assert found.turns == (
        Turn("user", (Text("look up"),)),
        Turn(
            "assistant",
            (Reasoning("hm"), ToolCall("call_1", "look", '{"at":"sky"}'), ToolCall("2", "look", '{"at":"sky"}')),
        ),
        Turn("user", (ToolResult("call_1", (Text("blue"),)), ToolResult("2", (Text("grey"),)))),
        Turn("user", (Text("and now?"),), "ann"),
        Turn("system", (Text("hurry"),)),
    )
    assert again(found) == found._replace(system=(Text("be brief\n\nand kind"),))


def test_a_file_that_its_provider_keeps_is_for_no_other_dialect() -> None:
    """Another target may know the id; this one cannot be told (providers.md 12.3)."""
    with pytest.raises(Inexpressible) as raised:
        content([{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}])
    assert raised.value.param == "messages[0].content[0].file"


def test_every_kind_of_part_is_read() -> None:
    """Images with their detail, sound, files; what nobody knows stays what it is."""
    [turn] = content(
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                    {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"}},
                    {"type": "hologram", "text": "a cat"},
                ],
            }
        ]
    ).turns
    assert turn.parts == (
        Text("see", {"anthropic_messages": {"cache_control": {"type": "ephemeral"}}}),
        Image("data:image/png;base64,AA==", "low"),
        Audio("AA==", "wav"),
        Document("data:application/pdf;base64,AA==", "", "a.pdf"),
        Foreign("openai_chat", "hologram", {"type": "hologram", "text": "a cat"}, "a cat"),
    )


def test_the_older_function_shape_is_read_as_tools() -> None:
    """`functions`, `function_call` and role `function` (providers.md 12.2)."""
    found = content(
        [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "y"},
        ],
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    assert found.turns[1:] == (
        Turn("assistant", (ToolCall("call_1", "f", "{}"),)),
        Turn("user", (ToolResult("call_1", (Text("y"),)),)),
    )
    assert found.tools == (Tool("f", "", {"type": "object"}),)
    assert found.choice == Choice("tool", ("f",))


@pytest.mark.parametrize(
    ("said", "read_as"),
    [
        ("auto", Choice("auto")),
        ("required", Choice("required")),
        ("none", Choice("none")),
        ({"type": "function", "function": {"name": "f"}}, Choice("tool", ("f",))),
        ({"type": "custom", "custom": {"name": "g"}}, Choice("tool", ("g",))),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            Choice("required", ("f",)),
        ),
    ],
)
def test_every_choice_of_tools_is_read(said: Any, read_as: Choice) -> None:
    """The table of providers.md 12.5."""
    tools = [
        {"type": "function", "function": {"name": "f", "description": "d", "strict": True}},
        {"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}},
    ]
    found = content([{"role": "user", "content": "x"}], tools=tools, tool_choice=said, parallel_tool_calls=False)
    assert found.choice == read_as
    assert found.parallel is False
    assert found.tools == (
        Tool("f", "d", None, strict=True),
        Tool("g", custom=True, extras={"openai_chat": {"format": {"type": "text"}}}),
    )


@pytest.mark.parametrize(
    ("more", "effort", "tokens"),
    [
        ({"reasoning_effort": "high"}, "high", None),
        ({"reasoning_effort": "none"}, "none", 0),
        ({"reasoning": {"effort": "low"}}, "low", None),
        ({"reasoning": {"max_tokens": 2_000}}, None, 2_000),
        ({"reasoning": {"enabled": False}}, "none", 0),
        ({"thinking": {"type": "enabled", "budget_tokens": 1_024}}, None, 1_024),
        ({"thinking": {"type": "disabled"}}, "none", 0),
        ({}, None, None),
    ],
)
def test_effort_is_read_in_every_spelling(more: dict[str, Any], effort: str | None, tokens: int | None) -> None:
    """OpenAI's, OpenRouter's, DeepSeek's (providers.md 12.8)."""
    found = content([{"role": "user", "content": "x"}], **more)
    assert (found.effort, found.thinking_tokens) == (effort, tokens)


def test_parameters_keep_their_names_and_unknown_ones_are_kept() -> None:
    """`stop` is always a list; what only a Chat provider knows is an extra."""
    found = content(
        [{"role": "user", "content": "x"}],
        temperature=0.5,
        stop="END",
        seed=7,
        max_completion_tokens=9,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        vendor_thing={"a": 1},
    )
    assert found.parameters == {"temperature": 0.5, "stop": ["END"], "seed": 7}
    assert found.max_output_tokens == 9
    assert found.format == Format("json_schema", {"type": "object"}, "n")
    assert found.extras == {"openai_chat": {"vendor_thing": {"a": 1}}}


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"role": "user", "content": [{"type": "file", "file": "f"}]}, "messages[0].content[0].file"),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
            "messages[0].content[0].input_audio.data",
        ),
        ({"role": "assistant", "content": "x", "tool_calls": ["y"]}, "messages[0].tool_calls[0]"),
        ({"role": "assistant", "content": "x", "tool_calls": [{"id": "1"}]}, "messages[0].tool_calls[0].function"),
    ],
)
def test_what_cannot_be_read_is_named(message: dict[str, Any], path: str) -> None:
    """By its path, in the caller's own words."""
    with pytest.raises(BadRequest) as raised:
        content([message])
    assert raised.value.param == path


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["content", "tool_calls", "function_call", "name", "reasoning_content", "tool_call_id", "refusal", "type", "text"]
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "tool", "system", "function"])},
            optional={
                "content": JSON,
                "tool_calls": JSON,
                "function_call": JSON,
                "name": JSON,
                "reasoning_content": JSON,
            },
        ),
        min_size=1,
        max_size=4,
    ),
    st.dictionaries(
        st.sampled_from(["tools", "functions", "tool_choice", "response_format", "reasoning", "thinking", "stop", "n"]),
        JSON,
        max_size=4,
    ),
)
def test_garbage_is_read_or_named(messages: list[Any], more: dict[str, Any]) -> None:
    """Wrong types at any depth raise BadRequest with a path, and nothing else."""
    body = json.dumps({"model": "m", "messages": messages, **more}).encode()
    try:
        found = write(read(parse_request(body, {})))
    except BadRequest as error:
        assert error.param is not None, error  # noqa: PT017 - most bodies are fine
    except Inexpressible:
        pass
    else:
        assert found.fields.messages is not None
