"""What a Responses body asks for: the outline that routing needs, and every wrong field by its path."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import BadRequest, Inexpressible
from hermes_router.wire.chat.request import parse_request as parse_chat
from hermes_router.wire.responses.content import read
from hermes_router.wire.responses.request import open_request, parse_fields, parse_request, previous_of
from hermes_router.wire.responses.turn import Past, Turn

from ..responses_bodies import CALLERS, NATIVE, broken, composed, facts, parse, passed

_PATH = re.compile(r"[a-z_]+(\[\d+\])?(\.[a-z_]+(\[\d+\])?)*")


def refusal(body) -> BadRequest:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(BadRequest) as caught:
        parse_request(raw, {})
    return caught.value


# --- the outline -----------------------------------------------------------------------------------


def test_the_outline_is_that_of_the_same_content_in_chat() -> None:
    """Whatever routing reads is the same for both ways to say it."""
    said = {
        "instructions": "be good",
        "input": [
            {"role": "user", "content": "first"},
            {"type": "reasoning", "summary": [], "encrypted_content": "x" * 900},
            {"role": "assistant", "content": "I look"},
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "x" * 50},
            {"type": "function_call_output", "call_id": "b", "output": "y"},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "and"},
                    {"type": "input_text", "text": "now"},
                    {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 5_000},
                    {"type": "input_image", "image_url": "https://e.org/i.png"},
                ],
            },
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {}}],
        "tool_choice": "required",
        "max_output_tokens": 100,
        "reasoning": {"effort": "high"},
        "text": {"format": {"type": "json_object"}},
        "stream": True,
        "prompt_cache_key": "s1",
    }
    calls = [{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in "ab"]
    chat = {
        "messages": [
            {"role": "system", "content": "be good"},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "I look", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "a", "content": "x" * 50},
            {"role": "tool", "tool_call_id": "b", "content": "y"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "and"},
                    {"type": "text", "text": "now"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000}},
                    {"type": "image_url", "image_url": {"url": "https://e.org/i.png"}},
                ],
            },
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "tool_choice": "required",
        "max_completion_tokens": 100,
        "reasoning_effort": "high",
        "response_format": {"type": "json_object"},
        "stream": True,
        "stream_options": {"include_usage": True},
        "prompt_cache_key": "s1",
    }
    ours = parse({"model": "auto", **said}).request
    theirs = parse_chat(json.dumps({"model": "auto", **chat}).encode(), {}).request
    assert ours._replace(conversation="", text_bytes=0) == theirs._replace(conversation="", text_bytes=0)
    assert abs(ours.text_bytes - theirs.text_bytes) < 300
    assert ours.text_bytes < 2_000  # neither the image nor the sealed thought are text


@pytest.mark.parametrize("caller", CALLERS)
def test_what_real_callers_send_is_a_request(caller: str) -> None:
    """Each body of clients.md, with its fields as they came."""
    inbound = parse(CALLERS[caller])
    assert inbound.dialect == "openai_responses"
    assert {key: json.loads(bytes(raw)) for key, raw in inbound.fields.items()} == CALLERS[caller]
    assert inbound.request.stream is CALLERS[caller].get("stream", False)


def test_tools_of_namespaces_and_of_the_input_are_counted() -> None:
    """Hosted ones are not: nobody here has to be able to call them."""
    assert parse(CALLERS["codex_unknown_model"]).request.tools == 12
    assert parse(CALLERS["codex_lite"]).request.tools == 5
    assert parse(tools=[{"type": "web_search"}], tool_choice={"type": "web_search"}).request.tools == 0
    assert not parse(tools=[{"type": "web_search"}], tool_choice={"type": "web_search"}).request.tool_forced


@pytest.mark.parametrize(
    ("choice", "forced"),
    [
        ("auto", False), ("none", False), ("required", True), (None, False),
        ({"type": "function", "name": "f"}, True), ({"type": "custom", "name": "f"}, True),
        ({"type": "allowed_tools", "mode": "auto", "tools": []}, False),
        ({"type": "allowed_tools", "mode": "required", "tools": []}, True),
    ],
)  # fmt: skip
def test_which_choices_force_a_call(choice, forced) -> None:
    """So that no target is asked that only does as it likes."""
    assert parse(tools=[{"type": "function", "name": "f"}], tool_choice=choice).request.tool_forced is forced


def test_the_conversation_is_known_by_its_beginning() -> None:
    """Instructions or a leading developer message, and the first user turn: later turns change nothing."""
    first = [{"role": "developer", "content": "be good"}, {"role": "user", "content": "hi"}]
    later = [*first, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "and?"}]
    one, two = parse(input=first).request, parse(input=later).request
    assert one.conversation == two.conversation
    assert two.last_user == "and?"
    assert parse(input="hi").request.conversation != parse(input="hi", instructions="x").request.conversation


@pytest.mark.parametrize("header", ["x-session-affinity", "x-session-id", "session-id"])
def test_the_session_comes_from_the_cache_key_or_a_header(header: str) -> None:
    """clients.md 7.18; the body's word wins, and it is no longer than it may be."""
    assert parse(headers={header: "h" * 300}, body={"input": "hi"}).request.session == "h" * 200
    assert parse(headers={header: "h"}, body={"input": "hi", "prompt_cache_key": "k"}).request.session == "k"
    assert parse(input="hi").request.session is None


def test_media_are_seen() -> None:
    """In messages and in results; a sealed or encoded byte is no text."""
    parts = [
        {"type": "input_file", "filename": "a.pdf", "file_data": "B" * 4_000},
        {"type": "input_audio", "input_audio": {"data": "C" * 4_000, "format": "wav"}},
    ]
    request = parse(input=[{"role": "user", "content": parts}]).request
    assert (request.files, request.audio) == (True, True)
    assert request.text_bytes < 500
    shown = [{"type": "input_image", "image_url": "https://e.org/i.png"}]
    output = {"type": "function_call_output", "call_id": "a", "output": shown}
    assert parse(input=[output]).request.image_urls == 1


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1"}}, {"background": True},
    ],
)  # fmt: skip
def test_a_providers_memory_is_refused_in_plain_words(fields) -> None:
    """Nothing here remembers answers; without them the request would mean something else."""
    error = refusal({"input": "hi", **fields})
    assert (error.param, error.code, error.status) == (next(iter(fields)), "unsupported_parameter", 400)
    for words in ("unknown parameter", "invalid_request_error", "context length", "quota"):
        assert words not in error.message.lower()


def test_null_state_is_no_state() -> None:
    """SDKs write out what was not given."""
    assert parse(previous_response_id=None, background=False, prompt=None, conversation=None).request.model == "auto"


@pytest.mark.parametrize(
    ("item", "path"),
    [
        (5, "input[0]"),
        ({}, "input[0]"),
        ({"type": "item_reference", "id": "rs_1"}, "input[0]"),
        ({"id": "rs_1"}, "input[0]"),
        ({"type": 5}, "input[0].type"),
        ({"role": "tool", "content": "x"}, "input[0].role"),
        ({"role": ["user"], "content": "x"}, "input[0].role"),
        ({"role": "user"}, "input[0].content"),
        ({"role": "user", "content": {"text": "x"}}, "input[0].content"),
        ({"role": "user", "content": ["x"]}, "input[0].content[0]"),
        ({"role": "user", "content": [{"text": "x"}]}, "input[0].content[0].type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[0].content[0].text"),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": {"url": "u"}}]},
            "input[0].content[0].image_url",
        ),
        ({"role": "user", "content": [{"type": "input_image"}]}, "input[0].content[0].image_url"),
        ({"role": "user", "content": [{"type": "input_file"}]}, "input[0].content[0].file_data"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "input[0].content[0].input_audio"),
        ({"role": "assistant", "content": [{"type": "refusal"}]}, "input[0].content[0].refusal"),
        ({"type": "function_call", "name": "f"}, "input[0].call_id"),
        ({"type": "function_call", "call_id": "a"}, "input[0].name"),
        ({"type": "function_call", "call_id": "a", "name": "f", "arguments": 3}, "input[0].arguments"),
        ({"type": "function_call", "call_id": "a", "name": "f", "namespace": 3}, "input[0].namespace"),
        ({"type": "custom_tool_call", "call_id": "a", "name": "f", "input": {}}, "input[0].input"),
        ({"type": "function_call_output", "output": "x"}, "input[0].call_id"),
        ({"type": "function_call_output", "call_id": "a", "output": {}}, "input[0].output"),
        ({"type": "function_call_output", "call_id": "a", "output": [1]}, "input[0].output[0]"),
        ({"type": "reasoning", "summary": "x"}, "input[0].summary"),
        ({"type": "reasoning", "summary": [{"text": 3}]}, "input[0].summary[0].text"),
        ({"type": "reasoning", "encrypted_content": 3}, "input[0].encrypted_content"),
        ({"type": "additional_tools", "tools": [{"type": "function"}]}, "input[0].tools[0].name"),
    ],
)
def test_wrong_items_are_named(item, path) -> None:
    """By the path that the caller can find."""
    assert refusal({"input": [item]}).param == path


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"input": None}, "input"), ({"input": []}, "input"), ({"input": 5}, "input"), ({"model": 5}, "model"),
        ({"stream": "yes"}, "stream"), ({"instructions": []}, "instructions"), ({"temperature": "hot"}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"), ({"reasoning": "high"}, "reasoning"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"), ({"text": []}, "text"), ({"text": {"format": "x"}}, "text.format"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"), ({"text": {"verbosity": 3}}, "text.verbosity"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"), ({"include": "all"}, "include"),
        ({"include": [3]}, "include[0]"), ({"store": "no"}, "store"), ({"metadata": []}, "metadata"),
        ({"tools": {}}, "tools"), ({"tool_choice": 3}, "tool_choice"), ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"), ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.tools"), ({"prompt_cache_key": 3}, "prompt_cache_key"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [1]}}, "tool_choice.tools[0]"),
    ],
)  # fmt: skip
def test_wrong_fields_are_named(fields, path) -> None:
    """Of the top level, and what is read within."""
    assert refusal({"model": "auto", "input": "hi", **fields}).param == path


@pytest.mark.parametrize("body", [b"", b" ", b"[]", b"{", b'"x"', b'{"input":"\xff"}', b'{"input":"hi"} x'])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    """In words, whatever it is."""
    assert refusal(body).message.startswith("the request body")


@pytest.mark.parametrize("caller", CALLERS)
def test_garbage_at_every_depth_is_a_bad_request_or_none(caller: str) -> None:
    """Each value of each real body replaced by wrong ones: only BadRequest, and what parses can be read and sent."""
    for place, body in broken(CALLERS[caller]):
        error = fault(lambda body=body: everything(body))
        assert error is None or error.param is None or _PATH.fullmatch(error.param), (place, error.param)


def everything(body) -> None:
    """Whatever is done to a request."""
    inbound = parse(body)
    conversation = read(inbound)
    passed(inbound, _WHERE)
    passed(inbound, _PLAIN)
    composed(conversation, _WHERE)


def fault(run) -> BadRequest | None:
    """The fault that is found with the request; what a target cannot be told is none."""
    try:
        run()
    except BadRequest as error:
        return error
    except Inexpressible:
        return None
    return None


_WHERE, _PLAIN = facts(NATIVE), facts()
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "name", "call_id", "output", "tools"]), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip
_kinds = st.sampled_from(
    [
        "message",
        "function_call",
        "function_call_output",
        "reasoning",
        "custom_tool_call",
        "additional_tools",
        "web_search_call",
    ]
)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["type", "role", "content", "summary", "tools", "output"]), _values | _kinds, max_size=4
        ),
        max_size=4,
    )
)
def test_any_json_is_a_request_or_a_bad_one(items) -> None:
    """Nothing but BadRequest is raised by parsing and reading, and its path is one."""
    error = fault(lambda: everything({"model": "auto", "input": items}))
    assert error is None or error.param is None or _PATH.fullmatch(error.param), error


def test_depth_is_named_and_length_does_not_hang() -> None:
    """Ten thousand items, a schema of a thousand levels, brackets without end."""
    deep = b"[" * 100_000
    assert refusal(b'{"input":' + deep + b"]" * 100_000 + b"}").message.endswith("too deeply")
    schema: dict = {}
    for _ in range(400):
        schema = {"type": "object", "properties": {"x": schema}}
    begun = time.perf_counter()
    inbound = parse(input=[{"role": "user", "content": [{"type": "input_text", "text": "x"}]}] * 10_000,
                    tools=[{"type": "function", "name": "f", "parameters": schema}])  # fmt: skip
    conversation = read(inbound)
    assert len(conversation.turns) == 10_000
    composed(conversation)
    passed(inbound)
    assert time.perf_counter() - begun < 5


# --- behind earlier turns ---------------------------------------------------------------------------------

PAST = Past("resp_0", [b'{"role":"user","content":"first"}', b'{"type":"reasoning","summary":[]}'], "digest")


def behind(body: dict, past: Past | None = PAST):
    fields = open_request(json.dumps(body).encode())
    return parse_fields(fields, {}, past)


@pytest.mark.parametrize("own", ["now", [{"role": "user", "content": "now"}], None, []])
def test_a_request_behind_earlier_turns_is_as_if_all_had_been_sent(own) -> None:
    """Outline and fields are those of the whole, but for what says that it is one; no id goes on."""
    items = [json.loads(each) for each in PAST.items]
    mine = [{"type": "message", "role": "user", "content": own}] if isinstance(own, str) else own or []
    body = {"model": "m", "instructions": "be", "temperature": 1}
    one = behind({**body, "input": own, "previous_response_id": "resp_0"})
    whole = parse(**body, input=items + mine)
    assert one.turn == Turn("resp_0")
    assert json.loads(bytes(one.fields["input"])) == items + mine
    assert one.fields.keys() == whole.fields.keys()
    assert one.request._replace(conversation="", text_bytes=0) == whole.request._replace(conversation="", text_bytes=0)
    assert one.request.conversation == "digest"
    assert abs(one.request.text_bytes - whole.request.text_bytes) < 20


def test_what_is_wrong_with_its_own_input_is_named_in_its_own_counting() -> None:
    """Behind two items, the third is its first; a value that is no input is the field's own fault."""
    for own, param in (([{"role": "user", "content": 3}], "input[0].content"), (3, "input"), ({}, "input")):
        error = fault(lambda own=own: behind({"input": own}))
        assert error is not None
        assert error.param == param


@pytest.mark.parametrize("previous", [None, "", "resp_1"])
def test_the_id_that_a_request_names(previous) -> None:
    """Where nothing is known, one that is given is refused in plain words, and one that says nothing goes nowhere."""
    fields = open_request(json.dumps({"input": "hi", "previous_response_id": previous}).encode())
    assert previous_of(fields) == (previous or "")
    assert previous_of(open_request(b'{"input":"hi"}')) == ""
    if previous:
        error = fault(lambda: parse_fields(fields, {}))
        assert error is not None
        assert "send the whole conversation as input" in error.message
    else:
        assert "previous_response_id" not in parse_fields(fields, {}).fields


def test_an_id_that_is_no_text_is_refused() -> None:
    """By its name."""
    for wrong in (3, ["resp_1"], {"id": "resp_1"}, True):
        error = fault(
            lambda wrong=wrong: previous_of(open_request(json.dumps({"previous_response_id": wrong}).encode()))
        )
        assert error is not None
        assert error.param == "previous_response_id"
