"""What a caller's body asks for: the outline that routing needs, and every wrong field by its path."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat.request import parse_request
from hermes_router.wire.inbound import Inbound

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f"}}


def parse(headers: dict[str, str] | None = None, **fields: Any) -> Inbound:
    body = {"messages": [USER], **fields}
    return parse_request(json.dumps(body).encode(), headers or {})


def refusal(body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_request(body, {})
    return caught.value


# --- the outline -----------------------------------------------------------------------------------


def test_the_outline_of_an_agents_request() -> None:
    """Every field that routing reads, of the request that Hermes sends (clients.md 2.3)."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    messages = [
        {"role": "system", "content": "be good"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "x" * 50},
        {"role": "user", "content": [{"type": "text", "text": "and"}, {"type": "text", "text": "now"}]},
    ]
    inbound = parse(
        model="hermes-router",
        messages=messages,
        tools=tools,
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=65_536,
        tool_choice="required",
        reasoning_effort="high",
        n=2,
        logprobs=True,
        response_format={"type": "json_schema", "json_schema": {}},
    )
    request = inbound.request
    assert (request.model, request.stream, request.include_usage) == ("hermes-router", True, True)
    assert (request.max_output_tokens, request.effort, request.choices) == (65_536, "high", 2)
    assert (request.tools, request.tool_forced, request.json_format, request.logprobs) == (1, True, "json_schema", True)
    assert (request.messages, request.assistant_turns, request.tool_results) == (5, 1, 1)
    assert (request.last_user, request.last_user_chars) == ("and\nnow", 7)
    assert request.text_bytes == len(json.dumps(messages)) + len(json.dumps(tools))
    assert bytes(inbound.fields["messages"]) == json.dumps(messages).encode()
    assert "logprobs" in inbound.fields


def test_a_bare_request_has_defaults() -> None:
    """Nulls are as good as absent; no model is the router's own choice."""
    nothing = dict.fromkeys(
        ("model", "stream", "stream_options", "max_tokens", "n", "tools", "functions", "tool_choice", "temperature",
         "response_format", "reasoning_effort", "reasoning", "logprobs", "prompt_cache_key", "modalities")
    )  # fmt: skip
    assert parse(**nothing).request == parse().request
    assert parse().request.model == ""


def test_the_newer_cap_wins() -> None:
    """`max_completion_tokens` before `max_tokens`; whole floats are integers (providers.md 12.8)."""
    assert parse(max_tokens=5, max_completion_tokens=7).request.max_output_tokens == 7
    assert parse(max_tokens=5.0).request.max_output_tokens == 5
    assert parse(max_tokens=2**80).request.max_output_tokens == 2**31


def test_images_audio_and_files_are_seen_and_images_cost_no_bytes() -> None:
    """An image costs tokens by its pixels; a URL is told from inline data."""
    parts = [
        {"type": "text", "text": "x"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}},
        {"type": "image_url", "image_url": {"url": "https://x.test/i.png"}},
        {"type": "image_url", "image_url": "data:image/png;base64,AA"},
        {"type": "input_audio", "input_audio": {}},
        {"type": "file", "file": {}},
        {"type": "something_new"},
    ]
    request = parse(messages=[{"role": "user", "content": parts}]).request
    assert (request.images, request.image_urls, request.audio, request.files) == (3, 1, True, True)
    assert 0 < request.text_bytes < 600
    assert parse(modalities=["text", "audio"]).request.audio


def test_json_formats_are_told_apart() -> None:
    """text, json_object, json_schema (clients.md 7.2)."""
    for kind in ("text", "json_object", "json_schema"):
        assert parse(response_format={"type": kind}).request.json_format == kind


def test_long_user_turns_are_cut_but_counted() -> None:
    """Difficulty needs the length and the beginning, not all of it."""
    request = parse(messages=[{"role": "user", "content": "x" * 20_000}]).request
    assert (len(request.last_user), request.last_user_chars) == (8_000, 20_000)


def test_a_conversation_keeps_its_digest_as_it_grows() -> None:
    """System text and first user turn make it; later turns do not change it, another beginning does."""
    start = [{"role": "system", "content": "s"}, USER]
    grown = [*start, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]
    digest = parse(messages=start).request.conversation
    assert parse(messages=grown).request.conversation == digest
    assert parse(messages=[{"role": "system", "content": "t"}, USER]).request.conversation != digest
    assert (
        parse(messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "b"}]).request.conversation
        != digest
    )


def test_an_explicit_session_is_read_from_body_and_headers() -> None:
    """`prompt_cache_key`, then the headers that clients send (clients.md 7.18)."""
    assert parse({"x-session-id": "h"}, prompt_cache_key="k").request.session == "k"
    assert parse({"x-session-id": "h"}).request.session == "h"
    assert parse({"x-session-affinity": "a", "session-id": "b"}).request.session == "a"
    assert parse({"session-id": "s" * 500}, prompt_cache_key="").request.session == "s" * 200
    assert parse().request.session is None


def test_older_functions_count_as_tools() -> None:
    """`functions` and `tool_choice` as an object; a choice without tools forces nothing."""
    choice = {"type": "function", "function": {"name": "f"}}
    request = parse(functions=[{"name": "f"}], tool_choice=choice).request
    assert (request.tools, request.tool_forced) == (1, True)
    assert not parse(tool_choice="required").request.tool_forced
    assert not parse(tools=[TOOL], tool_choice="auto").request.tool_forced
    assert parse(functions=[], tools=[TOOL]).request.tools == 1


def test_effort_is_read_in_both_spellings() -> None:
    """`reasoning_effort`, or OpenRouter's `reasoning.effort`."""
    assert parse(reasoning={"effort": "low"}).request.effort == "low"
    assert parse(reasoning_effort="high", reasoning={"effort": "low"}).request.effort == "high"
    assert parse(reasoning={"enabled": True}).request.effort is None


def test_fields_stay_raw_and_the_last_of_two_equal_keys_counts() -> None:
    """What is forwarded is the caller's own bytes; JSON parsers take the last of duplicates, and so do we."""
    inbound = parse_request(
        b'{"x": {"a" : 1e5},"n":9,"messages":[],"messages":[{"role":"user","content":"b"}],"n":1}', {}
    )
    assert bytes(inbound.fields["x"]) == b'{"a" : 1e5}'
    assert (inbound.request.choices, inbound.request.last_user) == (1, "b")


# --- what is wrong, by its path --------------------------------------------------------------------


def said(**fields: Any) -> dict[str, Any]:
    """A message of the model's."""
    return {"role": "assistant", "content": "x", **fields}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"messages": None}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": {}}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [USER, None]}, "messages[1]"),
    ({"messages": [USER, []]}, "messages[1]"),
    ({"messages": [{}]}, "messages[0].role"),
    ({"messages": [{"role": None, "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": {}, "content": "x"}]}, "messages[0].role"),
    ({"messages": [USER, {"role": "user"}]}, "messages[1].content"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url.url"),
    ({"model": 5}, "model"),
    ({"stream": "true"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"stream_options": []}, "stream_options"),
    ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_completion_tokens": 5, "max_tokens": []}, "max_tokens"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"temperature": "0.5"}, "temperature"),
    ({"top_p": False}, "top_p"),
    ({"tools": {}}, "tools"),
    ({"tools": [None]}, "tools[0]"),
    ({"tools": [TOOL, "x"]}, "tools[1]"),
    ({"tools": [{}]}, "tools[0].function"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": [TOOL, {"type": "function", "function": None}]}, "tools[1].function"),
    ({"tools": [{"type": "custom"}]}, "tools[0].custom"),
    ({"tools": [{"type": 5}]}, "tools[0].type"),
    ({"tools": [{"type": "function", "function": 5}]}, "tools[0].function"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": 5}}]}, "tools[0].function.name"),
    ({"tools": [{"function": {"name": "f", "description": 5}}]}, "tools[0].function.description"),
    ({"tools": [TOOL, {"function": {"name": "f", "parameters": "x"}}]}, "tools[1].function.parameters"),
    ({"tools": [{"function": {"name": "f", "strict": "x"}}]}, "tools[0].function.strict"),
    ({"tools": [{"type": "custom", "custom": {"name": 5}}]}, "tools[0].custom.name"),
    ({"tools": [{"name": "f", "parameters": []}]}, "tools[0].parameters"),
    ({"functions": [{"name": 5}]}, "functions[0].name"),
    ({"functions": [{}]}, "functions[0].name"),
    ({"functions": [{"name": "f", "parameters": 5}]}, "functions[0].parameters"),
    ({"tools": [TOOL], "functions": 5}, "functions"),
    ({"function_call": 5}, "function_call"),
    ({"function_call": {"name": 5}}, "function_call.name"),
    ({"tool_choice": []}, "tool_choice"),
    ({"tool_choice": {"type": 5}}, "tool_choice.type"),
    ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
    ({"tool_choice": {"type": "function", "function": 5}}, "tool_choice.function"),
    ({"tool_choice": {"type": "function", "function": {"name": 5}}}, "tool_choice.function.name"),
    ({"tool_choice": {"type": "custom", "custom": 5}}, "tool_choice.custom"),
    ({"tool_choice": {"type": "allowed_tools", "allowed_tools": 5}}, "tool_choice.allowed_tools"),
    ({"response_format": {"type": "json_schema", "json_schema": 5}}, "response_format.json_schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": 5}}}, "response_format.json_schema.name"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}}, "response_format.json_schema.schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"strict": 5}}}, "response_format.json_schema.strict"),
    ({"stop": 5}, "stop"),
    ({"stop": {}}, "stop"),
    ({"stop": [5]}, "stop[0]"),
    ({"stop": ["a", None]}, "stop[1]"),
    ({"seed": "x"}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"metadata": 5}, "metadata"),
    ({"user": 5}, "user"),
    ({"store": "x"}, "store"),
    ({"service_tier": 5}, "service_tier"),
    ({"parallel_tool_calls": "x"}, "parallel_tool_calls"),
    ({"logit_bias": "x"}, "logit_bias"),
    ({"top_logprobs": "x"}, "top_logprobs"),
    ({"modalities": "x"}, "modalities"),
    ({"modalities": [5]}, "modalities[0]"),
    ({"prediction": 5}, "prediction"),
    ({"audio": "x"}, "audio"),
    ({"web_search_options": 5}, "web_search_options"),
    ({"verbosity": 5}, "verbosity"),
    ({"prompt_cache_key": 5}, "prompt_cache_key"),
    ({"safety_identifier": 5}, "safety_identifier"),
    ({"frequency_penalty": "x"}, "frequency_penalty"),
    ({"messages": [{**USER, "name": 5}]}, "messages[0].name"),
    ({"messages": [USER, said(refusal=5)]}, "messages[1].refusal"),
    ({"messages": [USER, said(tool_calls="x")]}, "messages[1].tool_calls"),
    ({"messages": [USER, said(tool_calls=["x"])]}, "messages[1].tool_calls[0]"),
    ({"messages": [USER, said(tool_calls=[{"id": 5}])]}, "messages[1].tool_calls[0].id"),
    ({"messages": [USER, said(tool_calls=[{"type": 5}])]}, "messages[1].tool_calls[0].type"),
    ({"messages": [USER, said(tool_calls=[{"function": 5}])]}, "messages[1].tool_calls[0].function"),
    ({"messages": [USER, said(tool_calls=[{"function": {"name": 5}}])]}, "messages[1].tool_calls[0].function.name"),
    ({"messages": [USER, said(tool_calls=[{"custom": {"input": 5}}])]}, "messages[1].tool_calls[0].custom.input"),
    ({"messages": [USER, said(function_call=5)]}, "messages[1].function_call"),
    ({"messages": [{"role": "tool", "tool_call_id": 5, "content": "r"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "user", "content": [{"type": "file", "file": 5}]}]}, "messages[0].content[0].file"),
    (
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": 5}]}]},
        "messages[0].content[0].input_audio",
    ),
    ({"functions": 5}, "functions"),
    ({"functions": [5]}, "functions[0]"),
    ({"tool_choice": 5}, "tool_choice"),
    ({"response_format": "json"}, "response_format"),
    ({"response_format": {}}, "response_format.type"),
    ({"response_format": {"type": []}}, "response_format.type"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"reasoning_effort": 5}, "reasoning_effort"),
    ({"logprobs": "x"}, "logprobs"),
]


@pytest.mark.parametrize(("fields", "path"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_wrong_types_are_named_by_their_path(fields: dict[str, Any], path: str) -> None:
    """400 with the path of the field, in the message too (contract: Errors)."""
    error = refusal(json.dumps({"messages": [USER], **fields}).encode())
    assert error.param == path
    assert error.message.startswith(path)


def test_missing_messages_are_named() -> None:
    """The commonest mistake."""
    assert refusal(b'{"model":"x"}').param == "messages"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{", "JSON"),
        (b"hello", "JSON"),
        (b"[]", "object"),
        (b'"x"', "object"),
        (b"null", "object"),
        (b'{"messages":[{"role":"user","content":"x"}]} x', "JSON"),
        (b'{"messages":[{"role":"user","content":"x"}],"x":NaN}', "JSON"),
        (b'{"messages":[{"role":"user","content":"x"}],"x":Infinity}', "JSON"),
        (b'{"messages":[{"role":"user","content":"x"}],"x":[1,]}', "JSON"),
        (b'{"messages":[{"role":"user","content":"\x01"}]}', "JSON"),
        (b'{"messages":[{"role":"user","content":"\xff"}]}', "UTF-8"),
        (b'{"messages":[{"role":"user","content":"x","unknown":"\xff"}]}', "UTF-8"),
        (b'{"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"\xc3"}}]}]}', "UTF-8"),
        (b'{"messages":[{"role":"user","content":"x"}],"unknown":"\xed\xa0\x80"}', "UTF-8"),
        (b'{"\xff":1,"messages":[{"role":"user","content":"x"}]}', "UTF-8"),
        (b"\xff\xfe{\x00}\x00", "UTF-8"),
        (b'{"messages":[{"role":"user","content":"\\ud800"}]}', "JSON"),
        (b'{"x":' * 50_000 + b"1" + b"}" * 50_000, "deep"),
        (b'{"messages":' + b"[" * 50_000, "deep"),
        (b'{"messages":[{"role":"user","content":' + b"[" * 400 + b"]" * 400 + b"}]}", "object"),
        (b'{"messages":[{"role":"user","content":"x"}],"n":' + b"9" * 5_000 + b"}", "n "),
        (b'{"messages":[{"role":"user","content":"x"}],"temperature":1e999}', "temperature"),
        (b'{"messages":[{"role":"user","content":[{"type":"text","text":"x","n":1e999}]}]}', "messages[0].content[0]"),
    ],
    ids=range(25),
)
def test_bodies_that_are_no_json_object(body: bytes, word: str) -> None:
    """Invalid JSON, invalid UTF-8 anywhere (unknown members and arguments too), bombs: a 400 that says what it is."""
    assert word in refusal(body).message


def test_depth_at_the_border_never_slips_through_as_another_error() -> None:
    """Wherever the nesting limit strikes, it is a BadRequest; below it, the request stands."""
    for field in ("tools", "messages", "x", "response_format", "stop"):
        for depth in (*range(700, 1_010, 7), 5_000):
            value = b'{"a":' * depth + b"1" + b"}" * depth
            tail = b"" if field == "messages" else b',"messages":[{"role":"user","content":"x"}]'
            try:
                parse_request(b'{"' + field.encode() + b'":[' + value + b"]" + tail + b"}", {})
            except BadRequest:
                continue


# --- properties ------------------------------------------------------------------------------------

_keys = st.sampled_from(
    ["messages", "role", "content", "type", "text", "image_url", "url", "tools", "model", "stream", "n", "max_tokens",
     "stream_options", "include_usage", "response_format", "tool_choice", "functions", "reasoning", "effort",
     "function", "name", "parameters", "custom", "tool_calls", "function_call", "id", "stop", "json_schema", "logit_bias"]
)  # fmt: skip
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    | st.sampled_from(["user", "assistant", "text", "image_url", "data:x", "required", "json_object"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=5),
    max_leaves=20,
)  # fmt: skip
_PATH = re.compile(r"[a-z_]+(\[\d+\])?(\.[a-z_]+(\[\d+\])?)*")


@given(st.dictionaries(_keys, _values, max_size=6) | st.fixed_dictionaries({"messages": st.lists(_values, max_size=4)}))
def test_any_json_is_a_request_or_a_bad_one(body: dict[str, Any]) -> None:
    """Nothing but BadRequest is raised, and its path is one."""
    try:
        inbound = parse_request(json.dumps(body).encode(), {})
    except BadRequest as error:
        path = error.param
    else:
        assert inbound.request.messages == len(body["messages"]) > 0
        assert inbound.request.text_bytes >= 0
        return
    assert path is None or _PATH.fullmatch(path), path


@given(
    st.binary(max_size=100)
    | st.binary(max_size=30).map(lambda b: b'{"messages":[{"role":"user","content":"' + b + b'"}]}')
)
def test_any_bytes_are_a_request_or_a_bad_one(body: bytes) -> None:
    """Whatever arrives at the port."""
    try:
        inbound = parse_request(body, {})
    except BadRequest:
        return
    assert json.loads(body)
    for raw in inbound.fields.values():
        bytes(raw).decode()


@pytest.mark.parametrize("size", [30, 30_000])
def test_escapes_do_not_swell_the_estimate(size: int) -> None:
    """A client that escapes all but ASCII sends twice the bytes for the same text, short or long."""
    body = {"model": "m", "messages": [{"role": "user", "content": "\u5185\u5b58\u5df2\u6ee1" * size}]}
    plain, escaped = (
        parse_request(json.dumps(body, ensure_ascii=ascii_only).encode(), {}).request.text_bytes
        for ascii_only in (False, True)
    )
    assert 0.7 * plain < escaped < 1.1 * plain
