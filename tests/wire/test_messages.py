"""The request side of the Messages dialect as a whole: there and back again, real callers to every upstream, sizes."""

import json
from contextlib import suppress
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hermes_router.core.catalog import Capability, Claim, Known, Quirk
from hermes_router.core.content import Conversation, Text, Turn
from hermes_router.core.errors import BadRequest, HermesError
from hermes_router.wire.chat.outgoing import NO_RECALL, Options
from hermes_router.wire.messages.compose import compose
from hermes_router.wire.messages.content import read
from hermes_router.wire.messages.passing import pass_on
from hermes_router.wire.messages.request import parse_request
from hermes_router.wire.messages.turns import call_id_for

from .messages_bodies import (
    CALLERS,
    MARK,
    PNG,
    ROWS,
    STREAM,
    TOOL,
    USER,
    asked,
    call,
    caller,
    facts,
    history,
    result,
    row,
    said,
    text,
)

PARAMS: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)
YES = Claim(Known.YES)
TAKES_ALL: dict[str, Any] = {
    "capabilities": dict.fromkeys((Capability.JSON_SCHEMA, Capability.FILES, Capability.PREFILL), YES),
    "efforts": ("low", "medium", "high", "xhigh", "max"),
}
MAKER = (Quirk.BETAS, Quirk.HOSTED_TOOLS, Quirk.SYSTEM_TURNS)
BY_BUDGET = facts(*MAKER, **TAKES_ALL)
BY_EFFORT = facts(*MAKER, Quirk.ADAPTIVE_THINKING, **TAKES_ALL)
EVERY_ROW = [
    row(name, spec.models[0].id if spec.models else "some-model")
    for name, spec in ROWS.items()
    if "anthropic_messages" in spec.endpoints
] + [row("anthropic", model.id) for model in ROWS["anthropic"].models[1:]]  # type: ignore[index]


# --- there and back ---------------------------------------------------------------------------------

WORDS = st.text(alphabet='ab é"\\\n\u2028\U0001f600{}', min_size=1, max_size=12).filter(lambda each: each.strip())
MARKS = st.sampled_from([{}, {}, {"cache_control": MARK}, {"new_key": [1, {"a": None}]}])
IMAGES = st.sampled_from([
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
    {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
])  # fmt: skip
DOCUMENTS = st.sampled_from([
    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}, "title": "t"},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "context": "c"},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "d"}]}},
    {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "d"}]},
    {"type": "holograph", "x": [1]},
])  # fmt: skip
THOUGHTS = st.sampled_from([
    {"type": "thinking", "thinking": "hm", "signature": "S"},
    {"type": "thinking", "thinking": "", "signature": "S2"},
    {"type": "redacted_thinking", "data": "R"},
])  # fmt: skip
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), WORDS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def texts(draw: st.DrawFn) -> dict[str, Any]:
    return text(draw(WORDS), **draw(MARKS))


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Sound conversations, as a client of this dialect keeps them."""
    out: list[dict[str, Any]] = []
    waiting: list[str] = []
    number = 0
    for _ in range(draw(st.integers(1, 3))):
        results = []
        for call_id in waiting:
            failed = draw(st.booleans())
            inside = texts() if failed else texts() | IMAGES | DOCUMENTS
            content = draw(st.one_of(st.none(), WORDS, st.lists(inside, min_size=1, max_size=2)))
            block = {"type": "tool_result", "tool_use_id": call_id, **draw(MARKS)}
            results.append(
                {**block, **({"content": content} if content else {}), **({"is_error": True} if failed else {})}
            )
        rest = draw(st.lists(texts() | IMAGES | DOCUMENTS, max_size=2))
        content = [*results, *rest] or draw(WORDS)
        out.append({"role": "user", "content": content, **draw(st.sampled_from([{}, {"id": "m"}]))})
        if draw(st.booleans()):
            out.append({"role": "system", "content": draw(st.one_of(WORDS, st.lists(texts(), min_size=1, max_size=2)))})
        calls = []
        for _ in range(draw(st.integers(0, 2))):
            number += 1
            arguments = draw(st.dictionaries(WORDS, JSON, max_size=2))
            calls.append({**call(f"toolu_{number}"), "input": arguments, **draw(MARKS)})
        waiting = [each["id"] for each in calls]
        spoken = [*draw(st.lists(THOUGHTS, max_size=2)), *draw(st.lists(texts(), max_size=2))]
        out.append(said(*(spoken if calls else [*spoken, text("so")]), *calls))
    results = [result(call_id) for call_id in waiting]
    return [*out, asked(*results, text("go on"))]


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Bodies of all that the dialect can say, but for what one field refuses of another."""
    maybe = {
        "system": st.one_of(WORDS, st.lists(texts(), min_size=1, max_size=2)),
        "stop_sequences": st.lists(st.sampled_from(["a", "b c"]), min_size=1, max_size=2),
        "metadata": st.sampled_from([{"user_id": "u"}, {"user_id": '{"session_id":"s"}', "x": 1}]),
        "context_management": st.just({"edits": [{"type": "clear"}]}),
        "service_tier": st.just("auto"),
        "cache_control": st.just(MARK),
    }
    body: dict[str, Any] = {"model": "m", "max_tokens": draw(st.integers(3_000, 9_000)), "messages": draw(histories())}
    for key, values in maybe.items():
        if draw(st.booleans()):
            body[key] = draw(values)
    thinking = draw(st.sampled_from([
        None, {"type": "disabled"}, {"type": "adaptive"}, {"type": "adaptive", "display": "omitted"},
        {"type": "between_tools"}, {"type": "enabled", "budget_tokens": 2_048},
    ]))  # fmt: skip
    config: dict[str, Any] = draw(st.sampled_from([{}, {"task": 1}, {"format": {"type": "json_schema", "schema": {
        "type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}}}]))  # fmt: skip
    if thinking is not None:
        body["thinking"] = thinking
    if thinking is not None and thinking["type"] not in ("enabled", "disabled"):
        config = {**config, **draw(st.sampled_from([{}, {"effort": "low"}, {"effort": "max"}]))}
    elif thinking is None or thinking["type"] == "disabled":
        body |= draw(st.sampled_from([{}, {"temperature": 0.5}, {"top_p": 0.25, "top_k": 3}]))
    if config:
        body["output_config"] = config
    if draw(st.booleans()):
        body["tools"] = [
            {**TOOL, "strict": True},
            {"type": "web_search_1", "name": "w"},
            {**TOOL, "name": "g", **draw(MARKS)},
        ]
        body["tool_choice"] = draw(st.sampled_from([
            {"type": "auto"}, {"type": "auto", "disable_parallel_tool_use": True}, {"type": "none"},
            {"type": "auto", "disable_parallel_tool_use": False},
        ]))  # fmt: skip
        if thinking is None and draw(st.booleans()):
            body["tool_choice"] = {"type": "tool", "name": "w"}
    return body


def _target(body: dict[str, Any]) -> Any:
    budget = body.get("thinking", {}).get("type") == "enabled"
    return BY_BUDGET if budget else BY_EFFORT


@given(bodies())
def test_what_was_read_is_composed_into_what_reads_the_same(body: dict[str, Any]) -> None:
    """There and back again: all that this dialect can express survives, and nothing is warned of (issue 5, proof)."""
    if body.get("thinking", {}).get("type") == "enabled":  # a loop without its thought goes on without (12.9)
        body["messages"].append(said(text("ok")))
        body["messages"].append(USER)
    conversation = read(parse_request(json.dumps(body).encode(), {}))
    rendered = compose(conversation, _target(body), STREAM, NO_RECALL)
    assert rendered.warnings == ()
    again = read(parse_request(rendered.body, {}))
    assert again == conversation


@given(bodies())
def test_a_request_that_its_target_takes_goes_out_as_it_came(body: dict[str, Any]) -> None:
    """Same dialect on both sides: model and stream are ours, everything else is the caller's, byte for byte."""
    raw = json.dumps(body).encode()
    inbound = parse_request(raw, {})
    rendered = pass_on(inbound, _target(body), STREAM, NO_RECALL)
    sent = json.loads(rendered.body)
    assert {**sent, "model": "m"} == {**body, "stream": True}
    assert bytes(inbound.fields["messages"]) in rendered.body
    assert not rendered.altered
    assert rendered.warnings == ()


# --- real callers, real upstreams -------------------------------------------------------------------


def _is_sound(body: dict[str, Any]) -> None:
    """What the dialect demands of every request (12.2, 12.4, 12.5)."""
    messages = body["messages"]
    assert messages[0]["role"] == "user"
    waiting: set[str] = set()
    for message in messages:
        content = message["content"]
        blocks = [text(content)] if isinstance(content, str) else content
        assert blocks
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert set(results) == waiting
        assert len(results) == len(waiting)
        assert all(block["type"] == "tool_result" for block in blocks[: len(results)])
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        waiting = {block["id"] for block in blocks if block["type"] == "tool_use"}
        assert all(call_id_for(call_id) == call_id for call_id in waiting)
    assert not waiting
    assert body["max_tokens"] >= 1
    thinking = body.get("thinking", {})
    if thinking.get("type") == "enabled":
        assert 1_024 <= thinking["budget_tokens"] < body["max_tokens"]
        assert body.get("tool_choice", {}).get("type") not in ("any", "tool")
    assert ("tool_choice" not in body) or body["tools"]


@pytest.mark.parametrize("where", EVERY_ROW, ids=lambda each: str(each.target.name))
@pytest.mark.parametrize("name", CALLERS)
def test_every_caller_is_served_by_every_messages_upstream(name: str, where: Any) -> None:
    """Passed on and composed, each is a request that the dialect takes, within the limits of the target."""
    body, meta = caller(name)
    inbound = parse_request(json.dumps(body).encode(), meta.get("headers", {}))
    for rendered in (pass_on(inbound, where, STREAM, NO_RECALL), compose(read(inbound), where, STREAM, NO_RECALL)):
        sent = json.loads(rendered.body)
        _is_sound(sent)
        assert sent["model"] == where.model.id
        assert rendered.sent_max_tokens == sent["max_tokens"] <= (where.model.max_output or 2**31)
        if Quirk.BETAS not in where.quirks:
            assert b"billing-header" not in rendered.body
            assert not {"context_management", "service_tier"} & set(sent)
            assert not any("defer_loading" in tool for tool in sent.get("tools", ()))
            assert all(message["role"] != "system" for message in sent["messages"])


def _exhausted(node: Any) -> Any:
    """Pydantic checks iterables as they are gone through."""
    if isinstance(node, dict):
        return {key: _exhausted(value) for key, value in node.items()}
    return node if isinstance(node, str) or not hasattr(node, "__iter__") else [_exhausted(each) for each in node]


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "claude-haiku-5-5", "claude-sonnet-5-5"])
@pytest.mark.parametrize("name", CALLERS)
def test_the_official_sdks_types_know_what_is_sent(name: str, model: str) -> None:
    """Oracle: bodies for the maker, from callers of this dialect, are `MessageCreateParams` of the `anthropic` SDK."""
    body, meta = caller(name)
    inbound = parse_request(json.dumps(body).encode(), meta.get("headers", {}))
    sent = json.loads(compose(read(inbound), row("anthropic", model), Options(stream=False), NO_RECALL).body)
    assert _exhausted(PARAMS.validate_python(sent))["messages"]


@given(histories(), st.randoms(use_true_random=False))
def test_histories_that_were_shuffled_are_repaired(messages: list[dict[str, Any]], rng: Any) -> None:
    """Turns in any order, some lost: both lanes send what the dialect takes (contract.md, Errors)."""
    rng.shuffle(messages)
    messages = messages[: rng.randint(1, len(messages))]
    inbound = parse_request(json.dumps({"messages": messages}).encode(), {})
    for where in (BY_BUDGET, row("kimi", "k3")):
        _is_sound(json.loads(compose(read(inbound), where, STREAM, NO_RECALL).body))
        sent = json.loads(pass_on(inbound, where, STREAM, NO_RECALL).body)
        if any(block["type"] in ("tool_use", "tool_result") for each in messages if each["role"] != "system"
               for block in each["content"] if isinstance(block, dict)):  # fmt: skip
            _is_sound(sent)


# --- sizes ------------------------------------------------------------------------------------------


def test_ten_thousand_messages_do_not_hang() -> None:
    """Also where all calls have one id, and none has its result (issue 5, bad input)."""
    turns: list[dict[str, Any]] = []
    for number in range(2_500):
        turns += [USER, said(call("same")), asked(result("same")), said(call(f"c{number}"))]
    inbound = history(*turns)
    _is_sound(json.loads(pass_on(inbound, row("kimi", "k3"), STREAM, NO_RECALL).body))
    _is_sound(json.loads(compose(read(inbound), BY_BUDGET, STREAM, NO_RECALL).body))


def test_results_without_calls_by_the_thousand_do_not_hang() -> None:
    """One id, ten thousand results, and a call now and then."""
    turns = [asked(*(result("same") for _ in range(100))) for _ in range(100)]
    turns[50:50] = [said(call("same")), said(call("same"))]
    sent = json.loads(compose(read(history(*turns)), BY_BUDGET, STREAM, NO_RECALL).body)
    _is_sound(sent)


def test_five_megabytes_are_not_encoded_anew() -> None:
    """A big image goes through as the caller's own bytes (clients.md 7.20)."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG * 50_000}}
    inbound = history(asked(image, text("what is this?")))
    rendered = pass_on(inbound, BY_EFFORT, STREAM, NO_RECALL)
    assert bytes(inbound.fields["messages"]) in rendered.body
    assert not rendered.altered


@given(st.text(max_size=80), st.text(max_size=80))
def test_ids_are_derived_the_same_way_each_time(one: str, other: str) -> None:
    """Ids of the right shape stay, and different ones stay different (12.4)."""
    assert call_id_for(one) == call_id_for(one)
    assert (call_id_for(one) == call_id_for(other)) == (one == other)
    assert call_id_for("toolu_01") == "toolu_01"


def test_values_that_cannot_be_sent_are_the_callers_fault() -> None:
    """Half a surrogate is no text: a BadRequest, never a crash."""
    with pytest.raises(BadRequest):
        compose(Conversation(turns=(Turn("user", (Text("\ud800"),)),)), BY_BUDGET, STREAM, NO_RECALL)


GARBAGE = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "name", "x"]), inner, max_size=2)
    ),
    max_leaves=5,
)


@given(st.sampled_from(CALLERS), st.data())
def test_garbage_is_never_more_than_an_error_of_ours(name: str, data: st.DataObject) -> None:
    """What parses is also rendered for any target, or refused by name."""
    body, meta = caller(name)
    key = data.draw(st.sampled_from(sorted(body)))
    body[key] = data.draw(GARBAGE)
    with suppress(HermesError):
        inbound = parse_request(json.dumps(body).encode(), meta.get("headers", {}))
        where = data.draw(st.sampled_from(EVERY_ROW))
        pass_on(inbound, where, Options(stream=False), NO_RECALL)
        compose(read(inbound), where, Options(stream=False), NO_RECALL)
