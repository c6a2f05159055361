"""Neutral content as a Responses request: tools, wishes, and what has to be said of what cannot be."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses.response_input_item_param import ResponseInputItemParam
from openai.types.responses.tool_param import ToolParam
from pydantic import TypeAdapter

from hermes_router.core.catalog import Quirk, TargetFacts
from hermes_router.core.content import Choice, Conversation, Format, Text, Tool, Turn
from hermes_router.core.errors import Inexpressible
from hermes_router.wire.chat.content import read as read_chat
from hermes_router.wire.chat.outgoing import Options
from hermes_router.wire.chat.request import parse_request as parse_chat

from ..responses_bodies import CALLERS, NATIVE, STREAM, composed, facts, parse, reading, warnings

R = "openai_responses"
HI = Conversation(turns=(Turn("user", (Text("hi"),)),))


def said(**fields):
    return HI._replace(**fields)


# --- there and back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("caller", CALLERS)
def test_what_real_callers_say_is_said_again(caller: str) -> None:
    """Composed for a target that knows all of Responses, and read again, it is the same."""
    once = reading(CALLERS[caller])
    rendered, body = composed(once)
    again = reading(body)
    assert again._replace(parameters={**again.parameters, "store": 0}) == once._replace(
        parameters={**once.parameters, "store": 0},
        extras={R: {**once.extras.get(R, {}), "include": again.extras[R]["include"]}},
    )
    assert warnings(rendered) == []
    assert body["store"] is False
    assert "reasoning.encrypted_content" in body["include"]


_ITEM, _TOOL = TypeAdapter(ResponseInputItemParam), TypeAdapter(ToolParam)


@pytest.mark.parametrize("where", [facts(NATIVE), facts()], ids=["native", "plain"])
@pytest.mark.parametrize("caller", CALLERS)
def test_the_sdks_own_types_know_what_goes_out(caller: str, where: TargetFacts) -> None:
    """All but that they want an id and a status of what the model said, which the API does not (clients.md 5, Vercel)."""
    _, body = composed(reading(CALLERS[caller]), where)
    for item in body["input"]:
        said_by_model = item.get("role") == "assistant" and isinstance(item["content"], list)
        missing = (
            {"id": "msg_1", "status": "completed"}
            if said_by_model
            else {"id": "rs_1"}
            if item["type"] == "reasoning"
            else {}
        )
        _ITEM.validate_python({**missing, **item})
    for tool in body.get("tools", []):
        _TOOL.validate_python({"strict": None, **tool})


_text = st.text(max_size=6)
_words = st.text(min_size=1, max_size=6)
_some = st.sampled_from(["a", "b", "c__d", "e"])
_user_parts = st.lists(
    st.builds(lambda t: {"type": "input_text", "text": t}, _text)
    | st.builds(lambda d: {"type": "input_image", "image_url": "data:image/png;base64,AA", **d}, st.sampled_from([{}, {"detail": "low"}]))
    | st.just({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"})
    | st.just({"type": "input_file", "file_url": "https://e.org/a"})
    | st.just({"type": "input_smell", "smell": 1}),
    min_size=1, max_size=3,
)  # fmt: skip
_tools = st.lists(
    st.builds(
        lambda name, more: {"type": "function", "name": name, **more},
        _some,
        st.sampled_from([{}, {"strict": True}, {"strict": False}, {"parameters": {"type": "object"}}, {"description": "d"},
                         {"defer_loading": True}]),
    )
    | st.builds(lambda name, more: {"type": "custom", "name": name, **more}, _some,
                st.sampled_from([{}, {"format": {"type": "text"}}, {"description": "x"}]))
    | st.sampled_from([{"type": "web_search"}, {"type": "mcp", "server_label": "s"}]),
    max_size=4,
)  # fmt: skip
_groups = st.lists(
    st.builds(
        lambda name, tools: {"type": "namespace", "name": name, "description": "n",
                             "tools": [each for each in tools if each["type"] in ("function", "custom")]},
        st.sampled_from(["functions", "g", "h"]), _tools,
    ),
    max_size=2, unique_by=lambda group: group["name"],
)  # fmt: skip


@st.composite
def _histories(draw):
    items = []
    for number in range(draw(st.integers(0, 4))):
        items.append(
            {"role": draw(st.sampled_from(["user", "developer", "user"])), "content": draw(_words | _user_parts)}
        )
        thought = {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": draw(_words)}],
            "encrypted_content": f"sealed-{number}",
        }
        if draw(st.booleans()):
            thought["id"] = f"rs_{number}"
        spoken = {"role": "assistant", "content": [{"type": "output_text", "text": draw(_words), "annotations": []}]}
        spoken |= draw(st.sampled_from([{}, {"phase": "commentary"}, {"id": "msg_1", "status": "completed"}]))
        calls = [(f"call_{number}_{at}", draw(_some), draw(st.booleans())) for at in range(draw(st.integers(0, 3)))]
        if draw(st.booleans()):
            items += [thought, spoken]
        if calls and draw(st.booleans()):
            items.append({**thought, "encrypted_content": f"sealed-again-{number}"})
        for call_id, name, custom in calls:
            kind, key = ("custom_tool_call", "input") if custom else ("function_call", "arguments")
            items.append({"type": kind, "call_id": call_id, "name": name, key: "free" if custom else '{"x":1}',
                          **draw(st.sampled_from([{}, {"namespace": "g"}, {"id": "fc_1", "status": "completed"}]))})  # fmt: skip
        for call_id, _, custom in calls:
            items.append(
                {
                    "type": f"{'custom_tool' if custom else 'function'}_call_output",
                    "call_id": call_id,
                    "output": draw(_words | _user_parts),
                }
            )
    return [*items, {"role": "user", "content": draw(_words)}]


@settings(max_examples=150)
@given(
    _histories(), _tools, _groups,
    st.fixed_dictionaries({}, optional={
        "instructions": _words, "temperature": st.floats(0, 2), "max_output_tokens": st.integers(16, 999),
        "reasoning": st.sampled_from([{"effort": "high"}, {"effort": "none", "summary": "auto"}, {"context": "all_turns"}]),
        "text": st.sampled_from([{"verbosity": "low"}, {"format": {"type": "json_object"}},
                                 {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}}]),
        "parallel_tool_calls": st.booleans(), "truncation": st.just("auto"), "metadata": st.just({"a": "b"}),
        "frobnicate": st.just([1, {}]), "user": _words, "tool_choice": st.sampled_from(["auto", "none", "required"]),
    }),
)  # fmt: skip
def test_what_responses_can_say_is_said_again(items, tools, groups, fields) -> None:
    """Read, composed and read again: nothing is lost and nothing is made up."""
    body = {
        "model": "auto",
        "input": items,
        "include": ["reasoning.encrypted_content"],
        "tools": tools + groups,
        **fields,
    }
    once = reading(json.loads(json.dumps(body)))
    if not once.tools and not once.hosted:
        once = once._replace(choice=None, parallel=None)  # both are refused without tools
    again = reading(composed(once)[1])
    assert again._replace(parameters={**again.parameters, "store": 0}) == once._replace(
        parameters={**once.parameters, "store": 0}
    )


@pytest.mark.parametrize("caller", CALLERS)
def test_the_callers_own_conversation_is_not_edited(caller: str) -> None:
    """It is composed again for the next attempt."""
    conversation = reading(CALLERS[caller])
    first, plain = composed(conversation)[0], composed(conversation, facts(Quirk.DEVELOPER_TO_SYSTEM))[0]
    assert conversation == reading(CALLERS[caller])
    assert composed(conversation)[0] == first
    assert composed(conversation, facts(Quirk.DEVELOPER_TO_SYSTEM))[0] == plain


# --- the frame --------------------------------------------------------------------------------------


def test_nothing_is_kept_by_the_provider() -> None:
    """Whatever the caller's dialect says of keeping; streams as this attempt wants to."""
    rendered, body = composed(said(parameters={"store": True, "metadata": {"a": "b"}}))
    assert body == {
        "model": "m-1", "stream": True, "input": [{"type": "message", "role": "user", "content": "hi"}],
        "store": False, "metadata": {"a": "b"}, "include": ["reasoning.encrypted_content"],
    }  # fmt: skip
    assert composed(HI, options=Options(stream=False))[1]["stream"] is False
    assert (rendered.sent_max_tokens, rendered.altered, rendered.headers) == (None, False, ())
    assert warnings(rendered) == ["dropped:store"]  # it has no effect (12.8)


def test_sealed_thoughts_are_asked_for_where_the_model_makes_them() -> None:
    """Elsewhere the word is refused; a caller that always says it is spared that."""
    asked = reading(input="hi", include=["reasoning.encrypted_content", "x"])
    assert "include" not in composed(HI, facts(NATIVE, reasons=False))[1]
    assert "include" not in composed(HI, facts())[1]
    assert composed(asked, facts(NATIVE, refuse=frozenset({"reasoning_effort"})))[1]["include"] == ["x"]
    assert composed(asked)[1]["include"] == ["reasoning.encrypted_content", "x"]


def test_system_text_is_instructions_and_a_developer_message() -> None:
    """One block a part; a row that wants it in one gets it in one."""
    many = said(system=(Text("a"), Text("b"), Text("c")))
    _, body = composed(many)
    assert body["instructions"] == "a"
    assert body["input"][0] == {
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": "b"}, {"type": "input_text", "text": "c"}],
    }
    assert composed(many, facts(NATIVE, Quirk.DEVELOPER_TO_SYSTEM))[1]["input"][0]["role"] == "system"
    assert composed(many, facts(NATIVE, Quirk.MERGE_SYSTEM))[1]["instructions"] == "a\n\nb\n\nc"
    assert composed(many, facts())[1]["instructions"] == "a\n\nb\n\nc"


# --- tools ------------------------------------------------------------------------------------------


def test_strict_is_off_unless_the_caller_asked_for_it() -> None:
    """Responses tries to be strict where nothing is said (12.4); a caller of its own keeps that."""
    tools = (Tool("a", schema={"type": "object"}), Tool("b", schema=None, strict=True))
    assert composed(said(tools=tools))[1]["tools"] == [
        {"type": "function", "name": "a", "parameters": {"type": "object"}, "strict": False},
        {"type": "function", "name": "b", "parameters": {"type": "object", "properties": {}}, "strict": True},
    ]
    own = reading(input="hi", tools=[{"type": "function", "name": "a"}])
    assert composed(own)[1]["tools"] == [{"type": "function", "name": "a", "parameters": None}]
    assert composed(own, facts())[1]["tools"][0]["strict"] is False


def test_a_grammar_of_chat_is_flat_here() -> None:
    """Custom tools are Responses' own; Chat nests what it says of their format."""
    chat = {
        "type": "custom",
        "custom": {"name": "p", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}},
    }
    asked = read_chat(
        parse_chat(json.dumps({"messages": [{"role": "user", "content": "x"}], "tools": [chat]}).encode(), {})
    )
    assert composed(asked)[1]["tools"] == [
        {"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}}
    ]


def test_a_server_that_knows_functions_alone_gets_functions_alone() -> None:
    """Namespaces are flat, custom tools take one string, hosted ones fall, all of it said once (12.4, clients.md 7.2)."""
    rendered, body = composed(reading(CALLERS["codex_lite"]), facts())
    assert [(tool["type"], tool["name"]) for tool in body["tools"]] == [
        ("function", "exec"), ("function", "wait"), ("function", "clock__now"),
        ("function", "collaboration__spawn_agent"), ("function", "collaboration__wait"),
    ]  # fmt: skip
    assert list(body["tools"][0]["parameters"]["properties"]) == ["input"]
    assert warnings(rendered) == ["approx:tools.format"]
    call, result = (item for item in body["input"] if "call_id" in item)
    assert (call["type"], json.loads(call["arguments"])) == ("function_call", {"input": "await ls()"})
    assert (result["type"], result["output"]) == ("function_call_output", "Script completed\na.py")
    assert not {"include", "client_metadata"} & set(body)
    rendered, body = composed(reading(CALLERS["cline"]), facts())
    assert sorted(warnings(rendered)) == [
        "approx:tools.format",
        "dropped:image_generation",
        "dropped:web_search",
        "dropped:web_search_call",
    ]


def test_a_hosted_tool_of_another_dialect_falls() -> None:
    """Claude Code's and Cline's search: never a 400."""
    rendered, body = composed(said(hosted=(("anthropic_messages", {"type": "web_search_20250305"}),)))
    assert "tools" not in body
    assert warnings(rendered) == ["dropped:web_search_20250305"]


def test_a_name_that_is_no_name_here_is_not_sent() -> None:
    """Messages allows twice as many characters; what a model calls must be what the caller offered."""
    with pytest.raises(Inexpressible) as caught:
        composed(said(tools=(Tool("mcp__" + "x" * 80),)))
    assert caught.value.param == "tools"


@pytest.mark.parametrize(
    ("choice", "native", "plain"),
    [
        (Choice("auto"), "auto", "auto"), (Choice("none"), "none", "none"), (Choice("required"), "required", "required"),
        (Choice("tool", ("f",)), {"type": "function", "name": "f"}, {"type": "function", "name": "f"}),
        (Choice("tool", ("c",)), {"type": "custom", "name": "c"}, {"type": "function", "name": "c"}),
        (Choice("required", ("f",)), {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}, "required"),
    ],
)  # fmt: skip
def test_the_choice_is_spelled_as_the_target_takes_it(choice, native, plain) -> None:
    """A subset is named, or sent alone and said (12.5)."""
    asked = said(choice=choice, tools=(Tool("f"), Tool("c", custom=True)))
    assert composed(asked)[1]["tool_choice"] == native
    rendered, body = composed(asked, facts())
    assert body["tool_choice"] == plain
    assert len(body["tools"]) == (1 if choice.mode == "required" and choice.names else 2)
    assert ("approx:tool_choice" in warnings(rendered)) is (choice.mode == "required" and bool(choice.names))


def test_a_choice_without_tools_is_left_out() -> None:
    """It is a 400 everywhere."""
    rendered, body = composed(said(choice=Choice("required"), parallel=True))
    assert not {"tool_choice", "parallel_tool_calls"} & set(body)
    assert warnings(rendered) == ["dropped:tool_choice"]


def test_tools_that_fell_are_no_tools() -> None:
    """Hosted ones alone, where nobody runs them: then nothing may be said of calls either."""
    asked = reading(input="hi", tools=[{"type": "web_search"}], parallel_tool_calls=True, tool_choice="auto")
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(composed(asked, facts())[1])
    assert {"tools", "tool_choice", "parallel_tool_calls"} <= set(composed(asked)[1])


def test_a_hosted_tool_that_is_demanded_cannot_be_left_out() -> None:
    """Its own maker is asked for it, nobody else."""
    asked = reading(
        input="hi", tools=[{"type": "mcp", "server_label": "s"}], tool_choice={"type": "mcp", "server_label": "s"}
    )
    assert composed(asked)[1]["tool_choice"] == {"type": "mcp", "server_label": "s"}
    with pytest.raises(Inexpressible) as caught:
        composed(asked, facts())
    assert caught.value.param == "tool_choice"


# --- wishes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("parameters", "param"), [({"n": 2}, "n"), ({"logprobs": True}, "logprobs")])
def test_what_would_change_the_answer_is_refused(parameters, param) -> None:
    """Several choices and log probabilities have no place in Responses (12.13)."""
    with pytest.raises(Inexpressible) as caught:
        composed(said(parameters=parameters))
    assert caught.value.param == param
    assert composed(said(parameters={"n": 1, "logprobs": False}))[0].warnings == ()


@pytest.mark.parametrize(
    ("extras", "param"),
    [
        ({"openai_chat": {"modalities": ["text", "audio"]}}, "modalities"),
        ({"anthropic_messages": {"mcp_servers": [{"url": "x"}]}}, "mcp_servers"),
        ({"anthropic_messages": {"container": "c"}}, "container"),
    ],
)
def test_so_is_what_only_another_dialect_could_do(extras, param) -> None:
    """Spoken answers, and state that a provider keeps."""
    with pytest.raises(Inexpressible) as caught:
        composed(said(extras=extras))
    assert caught.value.param == param


def test_what_only_tunes_is_dropped_and_said() -> None:
    """No word for it here (12.8, 12.13); what means nothing is dropped in silence."""
    rendered, body = composed(
        said(
            parameters={"stop": ["x"], "seed": 1, "top_k": 5, "presence_penalty": 0, "user": "u"},
            extras={
                "openai_chat": {"prediction": {"x": 1}, "modalities": ["text"]},
                "anthropic_messages": {"context_management": {}, "\0ours": 1},
            },
        )
    )
    assert sorted(warnings(rendered)) == [
        "dropped:context_management",
        "dropped:prediction",
        "dropped:seed",
        "dropped:stop",
        "dropped:top_k",
    ]
    assert body["user"] == "u"
    assert rendered.altered


def test_formats_and_effort_are_spelled_flat() -> None:
    """`text.format`, `text.verbosity`, `reasoning.effort`; a budget of thinking becomes an effort."""
    schema = {"type": "object"}
    wanted = Format("json_schema", schema, "n", strict=True, description="d")
    _, body = composed(said(format=wanted, parameters={"verbosity": "low"}, thinking_tokens=10_000))
    assert body["text"] == {
        "format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True, "description": "d"}, "verbosity": "low",
    }  # fmt: skip
    assert body["reasoning"] == {"effort": "high"}
    assert composed(said(format=Format("json_object")))[1]["text"] == {"format": {"type": "json_object"}}
    assert composed(said(thinking_tokens=0))[1]["reasoning"] == {"effort": "none"}


def test_a_row_without_schemas_is_told_in_words() -> None:
    """The schema goes into the instructions."""
    rendered, body = composed(
        said(format=Format("json_schema", {"type": "object"}, "n")), facts(NATIVE, Quirk.JSON_OBJECT_ONLY)
    )
    assert body["text"] == {"format": {"type": "json_object"}}
    assert "one JSON object" in body["instructions"]
    assert warnings(rendered) == ["approx:response_format"]


def test_ids_that_are_too_long_are_sent_as_their_digests() -> None:
    """At most 64 characters, the same every time: the cache and the user are known by them."""
    _, body = composed(said(parameters={"user": "u" * 200, "prompt_cache_key": "k" * 65}))
    assert len(body["user"]) == len(body["prompt_cache_key"]) == 32
    assert composed(said(parameters={"user": "u" * 200}))[1]["user"] == body["user"]


def test_a_conversations_own_warnings_are_said() -> None:
    """What could not even be kept; but not of what goes out after all."""
    asked = reading(input="hi", top_logprobs=3)
    rendered, body = composed(asked)
    assert (warnings(rendered), body["top_logprobs"]) == ([], 3)
    rendered, body = composed(asked, facts())
    assert (warnings(rendered), "top_logprobs" in body) == (["dropped:top_logprobs"], False)


def test_what_a_target_refused_before_is_not_sent_again() -> None:
    """Learned from its own words: fields of either name."""
    asked = reading(
        input="hi",
        truncation="auto",
        temperature=0.3,
        text={"verbosity": "low"},
        reasoning={"effort": "low", "summary": "auto"},
    )
    options = Options(stream=True, without=frozenset({"truncation", "temperature", "reasoning", "text", "include"}))
    _, body = composed(asked, options=options)
    assert set(body) == {"model", "stream", "input", "store"}


def test_a_whole_chat_request_survives_the_way_over_here() -> None:
    """Vector 10, the other way round: nothing of Chat's words reaches a Responses provider."""
    chat = {
        "messages": [
            {"role": "system", "content": "s"}, {"role": "user", "content": "u", "name": "n"},
            {"role": "assistant", "content": "", "refusal": None, "reasoning_content": "hm",
             "tool_calls": [{"id": "x" * 90, "type": "function", "function": {"name": "f", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "x" * 90, "content": "r"},
        ],
        "max_completion_tokens": 50, "stream_options": {"include_usage": True}, "reasoning_effort": "high", "stop": "x",
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    }  # fmt: skip
    rendered, body = composed(read_chat(parse_chat(json.dumps(chat).encode(), {})))
    call_id = body["input"][1]["call_id"]
    assert len(call_id) <= 64
    assert body == {
        "model": "m-1", "stream": True, "instructions": "s", "max_output_tokens": 50, "store": False,
        "input": [
            {"type": "message", "role": "user", "content": "u"},
            {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": call_id, "output": "r"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}],
        "reasoning": {"effort": "high"}, "include": ["reasoning.encrypted_content"],
    }  # fmt: skip
    assert warnings(rendered) == ["dropped:stop", "dropped:messages.name"]
    assert parse(body)
    assert STREAM.stream


def test_a_tool_that_is_there_twice_goes_out_once() -> None:
    """Two of a name are a 400."""
    rendered, body = composed(said(tools=(Tool("f", "one"), Tool("f", "two"), Tool("g"))))
    assert [tool["name"] for tool in body["tools"]] == ["f", "g"]
    assert warnings(rendered) == ["dropped:tools.duplicate"]


def test_a_plain_server_is_not_sent_what_it_may_not_know_and_the_caller_is_told() -> None:
    """A request that is written anew for it loses the caller's own fields, and says which; hints fall in silence."""
    said = reading(
        tools=[{"type": "custom", "name": "note"}], tomorrow={"is": "new"}, max_tool_calls=3, truncation="auto",
        include=["reasoning.encrypted_content"],
    )  # fmt: skip
    rendered, body = composed(said, facts())
    assert {"tomorrow", "max_tool_calls", "truncation", "include"}.isdisjoint(body)
    assert warnings(rendered) == ["dropped:tomorrow", "dropped:max_tool_calls"]
