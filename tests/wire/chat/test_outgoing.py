"""What goes out: untouched where nothing is wrong, fitted to the row where something is, and never the caller's copy."""

import copy
import json
import tomllib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.catalog import ModelSpec, ProviderSpec, Quirk, TargetFacts
from hermes_router.core.catalog_rows import parse_rows
from hermes_router.core.chat import Warning as Notice
from hermes_router.core.errors import BadRequest
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName, Target
from hermes_router.sandbox.strictness import STRICTNESS
from hermes_router.sandbox.values import Asked, FakeModel
from hermes_router.wire.chat.outgoing import NO_RECALL, Options, recipe_for, render
from hermes_router.wire.chat.traits import NOTHING
from hermes_router.wire.quirks.table import ELSEWHERE, QUIRKS

TABLE = Path(__file__).parents[3] / "hermes_router" / "data" / "providers.toml"
ROWS, _ = parse_rows(tomllib.loads(TABLE.read_text()), where="providers.toml")
USER = {"role": "user", "content": "hello"}
STREAM = Options(stream=True)


def facts(*quirks, allow=None, rename=None, usage_option=True, prefix="", output_cap=None, levels=(), **model):
    """A target of a row made of nothing but what is named."""
    spec = ModelSpec(ModelId("m-1"), **model)
    provider = ProviderSpec(
        ProviderName("p"), "P", {"openai_chat": "http://p"}, "bearer", (spec,),
        allow=None if allow is None else frozenset(allow), rename=rename or {}, usage_option=usage_option,
        model_prefix=prefix,
    )  # fmt: skip
    return target(provider, spec, frozenset(quirks), output_cap=output_cap, levels=levels)


def target(provider, spec, quirks, *, output_cap=None, levels=()):
    credential = Credential(CredentialId("abcd"), provider.name, AccountId("a"), "api_key", "ref", "tail", "env")
    return TargetFacts(
        Target(provider.name, spec.id, credential.id), provider, spec, credential, "http://p",
        quirks=quirks, output_cap=output_cap, effort_levels=levels,
    )  # fmt: skip


def fields_of(body):
    return msgspec.json.decode(json.dumps(body).encode(), type=dict[str, msgspec.Raw])


def send(body, where, options=STREAM, recall=NO_RECALL):
    """The rendered result and its decoded body."""
    rendered = render(fields_of({"messages": [USER], **body}), where, options, recall)
    return rendered, json.loads(rendered.body)


# --- the untouched lane -----------------------------------------------------------------------------


def test_a_body_without_triggers_goes_out_as_the_callers_own_bytes():
    """Odd spacing, escapes and number forms of the caller's messages survive byte for byte, and nothing is altered."""
    raw = b'[ {"content":"caf\\u00e9  \\/ \\"tool_calls\\"" ,"role":"user","x":1e2} ]'
    fields = msgspec.json.decode(b'{"model":"a","messages":' + raw + b',"top_p":0.50}', type=dict[str, msgspec.Raw])
    rendered = render(fields, facts(), STREAM, NO_RECALL)
    assert raw in rendered.body
    assert b'"top_p":0.50' in rendered.body
    assert not rendered.altered
    assert rendered.warnings == ()


def test_a_sound_tool_history_is_left_alone_byte_for_byte():
    """Tool markers make us look; where calls and results pair, the caller's bytes go out (BF-9)."""
    messages = [USER, *turn("call_1"), {"role": "assistant", "content": "done"}]
    fields = fields_of({"messages": messages})
    assert bytes(fields["messages"]) in render(fields, facts(), STREAM, NO_RECALL).body


def test_messages_without_a_trait_are_not_decoded():
    """Messages that are no list at all pass where the parser found no trait: proof that they were not looked into."""
    fields = {"messages": msgspec.Raw(b'{"not":"a list"}')}
    sent = render(fields, facts(), Options(stream=True, traits=NOTHING), NO_RECALL)
    assert json.loads(sent.body)["messages"] == {"not": "a list"}


def test_a_history_that_nobody_has_looked_at_is_looked_at():
    """Without traits the renderer reads them off the messages itself, and an orphan result is repaired."""
    body = {"messages": [USER, {"role": "tool", "tool_call_id": "x", "content": "y"}]}
    assert send(body, facts(), Options(stream=True, traits=NOTHING))[1]["messages"] == body["messages"]
    assert send(body, facts())[1]["messages"] != body["messages"]


def test_model_stream_and_usage_option_are_ours():
    """Model (with the row's prefix), `stream` and `stream_options` are set by us, whatever the caller wrote."""
    body = {"model": "hermes-router", "stream": False, "stream_options": {"include_obfuscation": True}}
    rendered, out = send(body, facts(prefix="models/"))
    assert (out["model"], out["stream"], out["stream_options"]) == ("models/m-1", True, {"include_usage": True})
    assert not rendered.altered
    _, out = send({"stream": True, "stream_options": {"include_usage": True}}, facts(), Options(stream=False))
    assert out["stream"] is False
    assert "stream_options" not in out
    assert "stream_options" not in send({}, facts(usage_option=False))[1]
    assert "stream_options" not in send({}, facts(), Options(stream=True, without=frozenset({"stream_options"})))[1]


# --- keys -------------------------------------------------------------------------------------------


def test_keys_outside_the_allow_list_are_dropped_and_said():
    """What changes the answer is warned of; what has no meaning upstream, or is the default anyway, goes silently."""
    body = {
        "logit_bias": {"1": 2}, "temperature": 0.2, "store": True, "metadata": {}, "user": "me",
        "prompt_cache_key": "k", "service_tier": "auto", "n": 1, "logprobs": False, "seed": None,
    }  # fmt: skip
    rendered, out = send(body, facts(allow=["messages", "temperature"]))
    assert set(out) == {"model", "stream", "stream_options", "messages", "temperature"}
    assert rendered.warnings == (Notice("dropped", "logit_bias"),)
    assert rendered.altered


def test_silent_drops_do_not_count_as_altered():
    """An upstream's 400 may still be passed back when only keys without meaning were left out."""
    assert not send({"store": False, "user": "x", "n": 1}, facts(allow=["messages"]))[0].altered


def test_renamed_keys_go_out_under_the_providers_name():
    """`seed` is `random_seed` at Mistral (providers.md 3.7)."""
    rendered, out = send({"seed": 7}, facts(allow=["random_seed"], rename={"seed": "random_seed"}))
    assert out["random_seed"] == 7
    assert "seed" not in out
    assert not rendered.altered


def test_refused_parameters_are_dropped_with_a_warning():
    """What this provider and model refused before is left out, under its old or its new name."""
    where = facts(rename={"seed": "random_seed"}, refuse=frozenset({"top_p"}))
    options = Options(stream=True, without=frozenset({"random_seed", "max_tokens"}))
    rendered, out = send({"seed": 1, "max_tokens": 5, "top_p": 0.1, "temperature": 0}, where, options)
    assert not {"seed", "random_seed", "max_tokens", "top_p"} & set(out)
    assert {notice.what for notice in rendered.warnings} == {"seed", "max_tokens", "top_p"}
    assert rendered.sent_max_tokens is None


def test_a_callers_key_cannot_break_a_header():
    """Warnings carry names that the caller chose: what does not belong into a header is replaced, and all is bounded."""
    rendered, _ = send({"a\r\nX-Evil: 1": 1, **{f"k{n}": 1 for n in range(99)}}, facts(allow=[]))
    assert all(str(notice).isprintable() and "\n" not in str(notice) for notice in rendered.warnings)
    assert len(rendered.warnings) <= 32


def test_unknown_keys_are_encoded_as_json():
    """A key with quotes and line ends is sent on as valid JSON where everything passes."""
    assert send({'a"\n': 1}, facts())[1]['a"\n'] == 1


# --- the output cap ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "where", "expected"),
    [
        ({"max_tokens": 9}, {}, {"max_tokens": 9}),
        ({"max_completion_tokens": 9}, {}, {"max_completion_tokens": 9}),
        ({"max_tokens": 9, "max_completion_tokens": 8}, {}, {"max_tokens": 8}),
        ({"max_tokens": 9, "max_completion_tokens": 8}, {"allow": ["max_tokens", "max_completion_tokens"]},
         {"max_completion_tokens": 8}),
        ({"max_completion_tokens": 8}, {"allow": ["max_tokens"]}, {"max_tokens": 8}),
        ({"max_completion_tokens": 8}, {"allow": ["max_tokens"], "rename": {"max_completion_tokens": "max_tokens"}},
         {"max_tokens": 8}),
        ({"max_tokens": 8}, {"allow": ["max_completion_tokens"], "rename": {"max_tokens": "max_completion_tokens"}},
         {"max_completion_tokens": 8}),
        ({"max_tokens": 8}, {"allow": []}, {}),
        ({"max_tokens": None}, {}, {}),
        ({"max_tokens": 100_000}, {"max_output": 8_192}, {"max_tokens": 8_192}),
        ({"max_tokens": 100_000}, {"output_cap": 500, "max_output": 8_192}, {"max_tokens": 500}),
        ({}, {"output_cap": 500}, {}),
    ],
)  # fmt: skip
def test_the_output_cap_goes_under_one_key_and_below_the_limits(body, where, expected):
    """One of the two keys is sent, the newer wins, and the cap is clamped to the model's own."""
    rendered, out = send(body, facts(**where))
    assert {key: out[key] for key in ("max_tokens", "max_completion_tokens") if key in out} == expected
    assert rendered.sent_max_tokens == next(iter(expected.values()), None)


def test_clamping_is_said_and_does_not_alter():
    """A clamp is a warning; the content is still the caller's own."""
    rendered, _ = send({"max_tokens": 100_000}, facts(max_output=10))
    assert rendered.warnings == (Notice("approx", "max_tokens"),)
    assert not rendered.altered


def test_the_reserve_keeps_a_small_cap_from_being_eaten_by_reasoning():
    """A reasoning model gets the reserve on top of the caller's cap, within its limit and not when effort is none."""
    reasoning = Options(stream=True, reserve_tokens=4_096, reasoning=True)
    assert send({"max_tokens": 50}, facts(), reasoning)[0].sent_max_tokens == 4_146
    assert send({"max_tokens": 50, "reasoning_effort": "none"}, facts(), reasoning)[0].sent_max_tokens == 50
    assert send({"max_tokens": 50}, facts(max_output=100), reasoning)[0].sent_max_tokens == 100
    assert send({"max_tokens": 50}, facts(), Options(stream=True, reserve_tokens=4_096))[0].sent_max_tokens == 50
    # effort none that this row cannot honour leaves reasoning on
    weakest = facts(Quirk.EFFORT_LOW_MEDIUM_HIGH)
    assert send({"max_tokens": 50, "reasoning_effort": "none"}, weakest, reasoning)[0].sent_max_tokens == 4_146
    assert send({}, facts(), reasoning)[0].sent_max_tokens is None


def test_the_cap_fits_what_is_left_of_the_context():
    """Prompt and cap together stay within the window where the prompt's size is known."""
    options = Options(stream=True, input_tokens=900)
    assert send({"max_tokens": 500}, facts(context=1_000), options)[0].sent_max_tokens == 100
    assert send({"max_tokens": 500}, facts(context=800), options)[0].sent_max_tokens == 500


def test_default_output_tokens_are_sent_where_the_caller_said_nothing():
    """A row that needs a cap gets one of ours."""
    assert send({}, facts(), Options(stream=True, default_output_tokens=77))[1]["max_tokens"] == 77


@pytest.mark.parametrize("value", ["many", 1.5, True, 0, -3])
def test_a_cap_that_is_no_positive_integer_is_a_bad_request(value):
    """Wrong types are 400 with the field's name."""
    with pytest.raises(BadRequest) as caught:
        send({"max_tokens": value}, facts())
    assert caught.value.param == "max_tokens"


# --- tools ------------------------------------------------------------------------------------------


def tool(name="weather", parameters=None, **function):
    parameters = parameters or {"type": "object", "properties": {"city": {"type": "string"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters, **function}}


def turn(*ids, content=None):
    """An assistant turn with calls of these ids, and their results."""
    calls = [
        {"id": each, "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
        for each in ids
    ]
    return [
        {"role": "assistant", "content": content, "tool_calls": calls},
        *({"role": "tool", "tool_call_id": each, "content": "12 C"} for each in ids),
    ]


@pytest.mark.parametrize("empty", [[], None])
def test_a_choice_without_tools_is_removed(empty):
    """`tools: []` is a 422 at Mistral, and tool_choice without tools a 400 everywhere (12.5)."""
    body = {"tools": empty, "tool_choice": "auto", "parallel_tool_calls": False}
    rendered, out = send(body, facts())
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(out)
    assert not rendered.altered
    assert Notice("dropped", "tool_choice") in send({"tool_choice": "required"}, facts())[0].warnings


def test_functions_of_the_old_api_become_tools():
    """Legacy `functions` and `function_call` are understood by no new provider (12.2)."""
    function = tool()["function"]
    messages = [
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "12 C"},
    ]
    body = {"functions": [function], "function_call": {"name": "weather"}, "messages": messages}
    rendered, out = send(body, facts())
    assert out["tools"] == [{"type": "function", "function": function}]
    assert out["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert out["messages"][1]["tool_calls"][0]["id"] == out["messages"][2]["tool_call_id"]
    assert out["messages"][2]["role"] == "tool"
    assert "functions" not in out
    assert "function_call" not in out
    assert rendered.altered


def test_pressed_tools_are_remembered_by_their_bytes():
    """An agent sends the same tools with each turn: the second time costs no cleaning."""
    where = facts(Quirk.DROP_STRICT)
    fields = fields_of({"messages": [USER], "tools": [tool(strict=True)]})
    first = recipe_for(where).press.press(fields["tools"])
    assert recipe_for(where).press.press(msgspec.Raw(bytes(fields["tools"]))) is first
    for number in range(20):
        recipe_for(where).press.press(msgspec.Raw(json.dumps([tool(f"t{number}")]).encode()))
    assert len(recipe_for(where).press._known) <= 8


def test_a_recipe_is_made_once_for_a_target():
    """What depends on the target alone is not worked out again."""
    where = facts()
    assert recipe_for(where) is recipe_for(where)
    assert recipe_for(where) is not recipe_for(facts())


# --- properties -------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=6), children, max_size=3),
    max_leaves=6,
)
WORDS = st.sampled_from(["system", "user", "assistant", "tool", "function", "developer"])
IDS = st.sampled_from(["a", "b", "", "call_123456789", "abcDEF123"])
ODD = JSON | IDS
CALL = st.fixed_dictionaries(
    {"id": ODD, "function": st.fixed_dictionaries({"name": ODD, "arguments": st.just("{}") | JSON}) | JSON},
    optional={"type": JSON, "extra_content": JSON, "index": JSON, "custom": JSON},
)
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "thinking", "refusal", "zzz"]) | JSON},
    optional={"text": JSON, "cache_control": JSON, "refusal": JSON, "image_url": JSON},
)
GARBAGE = st.fixed_dictionaries(
    {"role": WORDS | JSON, "content": JSON | st.lists(PART | JSON, max_size=3)},
    optional={
        "tool_calls": st.lists(CALL | JSON, max_size=3) | JSON, "tool_call_id": ODD, "name": ODD, "refusal": JSON,
        "reasoning_content": JSON, "reasoning_details": JSON, "function_call": JSON, "cache_control": JSON,
    },
)  # fmt: skip
GOOD_CALL = st.builds(
    lambda i, a: {"id": i, "type": "function", "function": {"name": "f", "arguments": a}},
    IDS,
    st.sampled_from(["{}", "", "no json", "[1]"]),
)
SOUND = st.one_of(
    st.builds(
        lambda r, c: {"role": r, "content": c},
        st.sampled_from(["system", "user", "developer"]),
        st.text(min_size=1, max_size=9),
    ),
    st.builds(
        lambda cs, c: {"role": "assistant", "content": c, "tool_calls": cs},
        st.lists(GOOD_CALL, max_size=3),
        st.none() | st.just("x"),
    ),
    st.builds(lambda i: {"role": "tool", "tool_call_id": i, "content": "r"}, IDS),
)
TOOL = (
    st.fixed_dictionaries(
        {
            "type": st.just("function") | JSON,
            "function": st.fixed_dictionaries({"name": ODD, "parameters": JSON}, optional={"strict": JSON}) | JSON,
        }
    )
    | JSON
)
PARAMETERS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("tool_choice", "stop", "temperature", "top_p", "reasoning_effort", "reasoning", "n", "functions", "function_call", "response_format", "thinking", "parallel_tool_calls"), JSON),
)  # fmt: skip
ALL_QUIRKS = sorted(set(QUIRKS) | ELSEWHERE)
MIXES = st.lists(st.sampled_from(ALL_QUIRKS), unique=True, max_size=12) | st.just(ALL_QUIRKS)


@given(
    messages=st.lists(GARBAGE | JSON, max_size=4) | JSON,
    tools=st.lists(TOOL, max_size=2) | JSON,
    more=PARAMETERS,
    quirks=MIXES,
)
def test_garbage_raises_nothing_but_our_own_errors(messages, tools, more, quirks):
    """Valid JSON of any shape is rendered, or named as a bad request; and whatever goes out is valid JSON."""
    fields = fields_of({"messages": messages, "tools": tools, **more})
    try:
        rendered = render(fields, facts(*quirks, levels=("low", "high")), STREAM, NO_RECALL)
    except BadRequest:
        return
    json.loads(rendered.body)


@given(messages=st.lists(SOUND, min_size=1, max_size=8), quirks=MIXES, others=MIXES)
def test_rendering_leaves_the_callers_fields_alone(messages, quirks, others):
    """Rendering for one target and then for another equals rendering for each alone: attempts do not leak."""
    fields = fields_of({"messages": messages, "tools": [tool(strict=True)], "stop": ["a", "b"], "max_tokens": 9})
    before = {key: bytes(raw) for key, raw in fields.items()}
    one, two = facts(*quirks), facts(*others)
    first, second = render(fields, one, STREAM, NO_RECALL), render(fields, two, STREAM, NO_RECALL)
    assert {key: bytes(raw) for key, raw in fields.items()} == before
    assert render(copy.copy(fields), facts(*others), STREAM, NO_RECALL) == second
    assert render(fields, one, STREAM, NO_RECALL) == first


@given(messages=st.lists(SOUND, min_size=1, max_size=8), quirks=MIXES)
def test_every_call_leaves_with_exactly_one_result_behind_it(messages, quirks):
    """However calls, results and ids are mixed up, what goes out pairs, for every row."""
    out = json.loads(render(fields_of({"messages": messages}), facts(*quirks), STREAM, NO_RECALL).body)
    asked = Asked(out, {}, FakeModel("m"), 0, {})
    for rule in STRICTNESS["generic"]:
        if rule.__name__ != "well_formed":
            assert rule(asked) is None


# --- the rows against the sandbox -------------------------------------------------------------------

CHAT_ROWS = sorted(
    name for name in ROWS if name in STRICTNESS and "openai_chat" in ROWS[name].endpoints and ROWS[name].models
)
# What the sandbox refuses by model rather than by provider.
FLAGS = {"gemini": {"signs": True}, "kimi": {"replays": True}, "nvidia": {"single_calls": True}}


def nasty():
    """A second turn of an agent, with all that real clients leave in it (clients.md 2.3, 5, 6)."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": False,
        "$defs": {"City": {"type": "object", "properties": {"default": {"type": ["string", "null"]}}}},
        "properties": {
            "city": {"$ref": "#/$defs/City", "description": "where"},
            "unit": {"enum": ["c", "f"]}, "days": {"const": 3}, "x-note": {"type": "integer", "exclusiveMinimum": 0},
        },
    }  # fmt: skip
    calls = turn("call_0123456789abcdefghijkl", "call_0123456789abcdefghijkm")
    calls[0] |= {"reasoning_content": "hm", "refusal": None, "annotations": [], "audio": None, "function_call": None}
    calls[0]["tool_calls"][0]["index"] = 0
    return {
        "model": "hermes-router", "stream": True, "stream_options": {"include_usage": True}, "max_completion_tokens": 65_536,
        "temperature": 0, "top_p": 0.9, "seed": 1, "store": False, "metadata": {"a": "b"}, "user": "u", "n": 1,
        "logprobs": False, "reasoning_effort": "medium", "parallel_tool_calls": True, "stop": None, "think": False,
        "service_tier": "auto", "prompt_cache_key": "k", "safety_identifier": "s", "tool_choice": "required",
        "tools": [tool(parameters=schema, strict=False), tool("noop", {"type": "object", "properties": {}}, description=None)],
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "be good", "cache_control": {"type": "ephemeral"}}]},
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "me"},
            {"role": "assistant", "content": "", "refusal": None},
            {"role": "user", "content": "weather?"},
            *calls,
            {"role": "user", "content": "and?"},
        ],
    }  # fmt: skip


@pytest.mark.parametrize("name", CHAT_ROWS)
def test_every_row_takes_what_real_clients_send(name):
    """The body of an agent's second turn, rendered by the row, breaks none of the rules that its provider keeps."""
    spec = ROWS[name]
    for model in spec.models:
        if model.embeds is not None:
            continue
        where = target(spec, model, spec.quirks | model.quirks, output_cap=model.max_output, levels=model.efforts)
        _, out = send(nasty(), where)
        fake = FakeModel(
            model.id, max_output=model.max_output or 10**9, efforts=model.efforts, sees=True,
            reasoner=Quirk.FIXED_SAMPLING in model.quirks, **FLAGS.get(name, {}),
        )  # fmt: skip
        asked = Asked(out, {}, fake, 100, {})
        broken = [breach for rule in STRICTNESS[name] if (breach := rule(asked)) is not None]
        assert broken == [], f"{model.id}: {broken}"
