"""Neutral events to a Responses stream, read back by the openai SDK's own helpers."""

import json
from typing import Any

import openai
import pytest
from openai.types.responses import Response

from hermes_router.core.content import Seal
from hermes_router.core.errors import NoTarget, Truncated
from hermes_router.core.events import (
    Answer,
    Block,
    BlockKind,
    ChatEvent,
    Closed,
    Delta,
    Failed,
    Finish,
    Finished,
    Opened,
    Started,
    Usage,
    UsageSeen,
)
from hermes_router.wire.responses.encoder import render_answer
from hermes_router.wire.seals import unwrap

from ..responses_streams import (
    INCLUDE,
    ORIGIN,
    answered,
    check_caller,
    created,
    encode,
    encoder,
    frames_of,
    inbound,
    said,
    sse,
)
from ..streams import NOW, new_ids

START = Started("chatcmpl-7", 'm"1', NOW - 9)
SEAL = Seal("openai_responses", "encrypted", "secret", ORIGIN, "rs_up")
THOUGHT: list[ChatEvent] = [Opened(BlockKind.REASONING), Delta("h"), Delta("m"), Closed(SEAL)]
TEXT: list[ChatEvent] = [Opened(BlockKind.TEXT), Delta("he"), UsageSeen(Usage(1, 1)), Delta("llo \u2028 é"), Closed()]
CALLS: list[ChatEvent] = [
    Opened(BlockKind.TOOL_CALL, "a", "f"),
    Delta('{"x":'),
    Delta("1}"),
    Closed(),
    Opened(BlockKind.TOOL_CALL, "b", "g", {"extra_content": {"google": {}}}),
    Delta("{}"),
    Closed(),
]
NAMESPACE = {"type": "namespace", "name": "team", "description": "all", "tools": [{"type": "function", "name": "ask"}]}
PATCH = {"type": "custom", "name": "apply_patch", "format": {"type": "text"}}


def final(sent: bytes) -> Any:
    """What the SDK's stream helper makes of it."""
    with answered(sent).responses.stream(model="m", input="x") as stream:
        kinds = [event.type for event in stream]
        assert kinds[-1] == "response.completed"
        return stream.get_final_response()


# --- a whole stream -----------------------------------------------------------------------------------


def test_the_sdk_accumulates_the_same_answer() -> None:
    """Thought, text and parallel calls come out of the SDK's helper as they went in (providers.md 12.10)."""
    sent = encode([START, *THOUGHT, *TEXT, *CALLS, Finished(Finish.TOOL_CALLS)])
    check_caller(sent)
    response = final(sent)
    assert response.id.startswith("resp_")
    assert (response.model, response.status, response.created_at) == ('m"1', "completed", NOW - 9)
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call", "function_call"]
    assert response.output[0].summary[0].text == "hm"
    assert response.output_text == "hello \u2028 é"
    calls = response.output[2:]
    assert [(c.call_id, c.name, c.arguments, c.status) for c in calls] == [
        ("a", "f", '{"x":1}', "completed"),
        ("b", "g", "{}", "completed"),
    ]
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (10, 5, 15)
    assert (usage.input_tokens_details.cached_tokens, usage.input_tokens_details.cache_write_tokens) == (4, 1)
    assert usage.output_tokens_details.reasoning_tokens == 2


def test_the_raw_iterator_reads_every_event_as_its_own_type() -> None:
    """`create(stream=True)` knows all our events, and each passes its model's strict validation."""
    sent = encode([START, *THOUGHT, *TEXT, *CALLS, Finished(Finish.TOOL_CALLS)], include=INCLUDE)
    stream = answered(sent).responses.create(model="m", input="x", stream=True)
    events = list(stream)
    assert [event.type for event in events] == [frame["type"] for frame in frames_of(sent)]
    for event, frame in zip(events, frames_of(sent), strict=True):
        type(event).model_validate(frame)


def test_the_order_of_events_is_that_of_the_dialect() -> None:
    """Every part is opened before its first delta, and closed with all of its text (12.10)."""
    frames = check_caller(encode([START, *THOUGHT, *TEXT, *CALLS[:4], Finished(Finish.TOOL_CALLS)]))
    assert [frame["type"].removeprefix("response.") for frame in frames] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert frames[6]["text"] == frames[7]["part"]["text"] == "hm"
    assert frames[13]["text"] == frames[14]["part"]["text"] == "hello \u2028 é"
    assert frames[19]["arguments"] == '{"x":1}'


def test_events_may_come_in_any_bundles() -> None:
    """One call of `encode` or one for each event: the same bytes."""
    events = [START, *THOUGHT, *TEXT, *CALLS, Finished(Finish.TOOL_CALLS)]
    one = encoder()
    assert one.encode(events) + one.end(Usage(10, 5, 4, 2, written_tokens=1)) == encode(events)


def test_a_block_without_text_is_no_item() -> None:
    """A message is opened at its first word; a thought of which nothing can be shown is none at all."""
    empty: list[ChatEvent] = [Opened(BlockKind.TEXT), Closed(), Opened(BlockKind.REASONING), Closed(SEAL)]
    frames = check_caller(encode([START, *empty, *TEXT, Finished(Finish.STOP)]))
    assert [item["type"] for item in frames[-1]["response"]["output"]] == ["message"]
    assert check_caller(encode([START, *empty, Finished(Finish.STOP)]))[-1]["response"]["output"] == []


def test_an_event_of_five_megabytes_is_one_event() -> None:
    """A long text reaches the SDK whole."""
    text = "ab é\n" * 1_000_000
    sent = encode([START, Opened(BlockKind.TEXT), Delta(text), Closed(), Finished(Finish.STOP)])
    check_caller(sent)
    assert final(sent).output_text == text


# --- what the caller said -----------------------------------------------------------------------------


def test_the_request_is_echoed_in_every_state() -> None:
    """The members that SDKs require are there: the caller's values as they came, else what holds (12.10)."""
    fields = {
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}],
        "tool_choice": {"type": "function", "name": "f"},
        "instructions": "be\nbrief",
        "temperature": 0.5,
        "metadata": {"a": "b"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "low"},
        "parallel_tool_calls": False,
        "store": True,
        "top_p": None,
    }
    frames = frames_of(encode([START, *TEXT, Finished(Finish.STOP)], **fields))
    for frame in (frames[0], frames[1], frames[-1]):
        response = frame["response"]
        assert {name: response[name] for name in fields} == fields
        assert response["object"] == "response"
        assert (response["truncation"], response["previous_response_id"]) == ("disabled", None)
        Response.model_validate(response)
    assert [frame["response"]["status"] for frame in (frames[0], frames[-1])] == ["in_progress", "completed"]
    assert (frames[0]["response"]["usage"], frames[0]["response"]["output"]) == (None, [])
    plain = frames_of(encode([START, *TEXT, Finished(Finish.STOP)], tools=None, store=None))[-1]["response"]
    assert (plain["tools"], plain["store"], plain["tool_choice"]) == ([], False, "auto")
    Response.model_validate(plain)


def test_a_body_over_several_lines_stays_within_its_frame() -> None:
    """White space of the caller's own JSON ends no line of ours."""
    one = inbound()
    raw: Any = {**one.fields, "tools": type(one.fields["input"])(b'[\r\n {"type": "custom",\n"name":"a"}\n]')}
    body = render_answer(
        Answer("resp_1", "m", 5), Usage(), one._replace(fields=raw), origin="", new_id=new_ids(), now=1
    )
    assert b"\n" not in body
    assert json.loads(body)["tools"] == [{"type": "custom", "name": "a"}]


def test_thoughts_carry_a_mark_only_where_it_was_asked_for() -> None:
    """`include` decides, whatever `store` says; the mark holds the maker's own seal (12.9)."""
    events = [START, *THOUGHT, *TEXT, Finished(Finish.STOP)]
    for store in (True, False):
        item = check_caller(encode(events, store=store))[-1]["response"]["output"][0]
        assert "encrypted_content" not in item
    for include in ("reasoning.encrypted_content", {}, ["file_search_call.results"]):
        assert "encrypted_content" not in check_caller(encode(events, include=include))[-1]["response"]["output"][0]
    frames = check_caller(encode(events, include=INCLUDE, store=True))
    assert "encrypted_content" not in frames[2]["item"]
    assert unwrap(frames[-1]["response"]["output"][0]["encrypted_content"]) == SEAL


def test_every_thought_is_marked_and_a_hidden_one_is_shown_as_that() -> None:
    """Without a seal the mark says who made it; a seal without text is an item without a summary."""
    bare: list[ChatEvent] = [Opened(BlockKind.REASONING), Delta("hm"), Closed()]
    hidden: list[ChatEvent] = [Opened(BlockKind.REASONING), Closed(SEAL), Opened(BlockKind.REASONING), Closed()]
    sent = encode([START, *bare, *hidden, *TEXT, Finished(Finish.STOP)], include=INCLUDE)
    first, second, *_ = check_caller(sent)[-1]["response"]["output"]
    assert unwrap(first["encrypted_content"]) == Seal("", "none", "", ORIGIN)
    assert (second["summary"], unwrap(second["encrypted_content"])) == ([], SEAL)
    assert [item.type for item in final(sent).output] == ["reasoning", "reasoning", "message"]


# --- tools of the caller's own ------------------------------------------------------------------------


def test_a_namespaced_tool_gets_its_own_name_back() -> None:
    """The flat name that a model called becomes `name` and `namespace` (clients.md 3)."""
    events = [START, Opened(BlockKind.TOOL_CALL, "a", "team__ask"), Delta("{}"), Closed(), Finished(Finish.TOOL_CALLS)]
    sent = encode(events, tools=[NAMESPACE])
    frames = check_caller(sent)
    for item in (frames[2]["item"], frames[-1]["response"]["output"][0]):
        assert (item["name"], item["namespace"]) == ("ask", "team")
    assert final(sent).output[0].namespace == "team"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"input":"*** Begin\\n+é"}', "*** Begin\n+é"),
        ('{"patch":"x"}', "x"),
        ('"x"', "x"),
        ("*** Begin", "*** Begin"),
        ('{"input":1}', '{"input":1}'),
        ("{}", ""),
        ("", ""),
    ],
)
def test_a_custom_tool_called_as_a_function_is_unwrapped(arguments: str, expected: str) -> None:
    """The one string field is the raw input; what a model made of it else is passed on as it is (12.4)."""
    call: list[ChatEvent] = [Opened(BlockKind.TOOL_CALL, "a", "apply_patch"), Closed()]
    call[1:1] = [Delta(piece) for piece in (arguments[:5], arguments[5:]) if piece]
    sent = encode([START, *call, Finished(Finish.TOOL_CALLS)], tools=[PATCH])
    frames = check_caller(sent)
    item = frames[-1]["response"]["output"][0]
    assert (item["type"], item["call_id"], item["name"], item["input"]) == (
        "custom_tool_call",
        "a",
        "apply_patch",
        expected,
    )
    assert frames[2]["item"]["input"] == ""
    assert frames[-3]["type"] == "response.custom_tool_call_input.done"
    assert frames[-3]["input"] == expected
    assert final(sent).output[0].input == expected


def test_a_custom_call_of_a_custom_upstream_streams_its_text() -> None:
    """Its deltas are the input, shown as they come."""
    call: list[ChatEvent] = [
        Opened(BlockKind.TOOL_CALL, "a", "apply_patch", custom=True),
        Delta('{"in'),
        Delta('put":1}'),
        Closed(),
    ]
    frames = check_caller(encode([START, *call, Finished(Finish.TOOL_CALLS)], tools=[PATCH]))
    assert [f["delta"] for f in frames if f["type"].endswith("delta")] == ['{"in', 'put":1}']
    assert frames[-1]["response"]["output"][0]["input"] == '{"input":1}'


# --- ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "why"), [(Finish.LENGTH, "max_output_tokens"), (Finish.CONTENT_FILTER, "content_filter")]
)
def test_an_answer_that_was_cut_is_incomplete(reason: Finish, why: str) -> None:
    """So is its last item, which nobody should act on; the ones before it are whole (12.6)."""
    sent = encode([START, *TEXT, *CALLS[:2], Closed(), Finished(reason)])
    frames = check_caller(sent)
    assert frames[-1]["type"] == "response.incomplete"
    response = frames[-1]["response"]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": why})
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]
    assert response["output"][1]["arguments"] == '{"x":'
    assert response["usage"]["total_tokens"] == 15
    with answered(sent).responses.stream(model="m", input="x") as stream:
        last = list(stream)[-1]
        assert (last.type, last.response.incomplete_details.reason) == ("response.incomplete", why)  # type: ignore[union-attr]


def test_a_failure_is_never_taken_for_an_end() -> None:
    """`response.failed` with a code, what was whole in the output; the SDK's helper raises (12.11)."""
    one = encoder()
    sent = one.encode([START, *TEXT, *CALLS[:2]]) + one.fail(Truncated("secret words"), now=NOW)
    frames = check_caller(sent)
    response = frames[-1]["response"]
    assert frames[-1]["type"] == "response.failed"
    assert (response["status"], response["error"]["code"], response["usage"]) == ("failed", "server_error", None)
    assert b"secret" not in sent
    assert [item["type"] for item in response["output"]] == ["message"]
    with answered(sent).responses.stream(model="m", input="x") as stream, pytest.raises(RuntimeError):
        stream.get_final_response()
    Response.model_validate(response)


def test_a_failure_before_anything_was_said_is_a_whole_stream() -> None:
    """The SDK wants `response.created` first, and one identity."""
    one = encoder()
    sent = one.fail(NoTarget(limited=True, retry_at=NOW + 20.0), now=NOW)
    frames = check_caller(sent)
    assert [frame["type"] for frame in frames] == ["response.created", "response.in_progress", "response.failed"]
    assert frames[-1]["response"]["error"]["code"] == "rate_limit_exceeded"
    assert [event.type for event in answered(sent).responses.create(model="m", input="x", stream=True)][-1] == (
        "response.failed"
    )


def test_a_failure_behind_frames_that_went_through_raw_keeps_their_identity() -> None:
    """Nobody may take the stream for another one: the SDK raises where a response changes its id."""
    one = encoder()
    raw = sse(created(), *said(0, "msg_1", "Hel", "lo")[:1])
    one.identify("resp_up", "up-1", NOW)
    one.join(raw)
    assert [frame["type"] for frame in frames_of(one.keep_alive())] == ["response.in_progress"]
    with answered(raw + one.fail(Truncated(), now=NOW)).responses.stream(model="m", input="x") as stream:
        last: Any = list(stream)[-1]
    assert (last.type, last.response.id) == ("response.failed", "resp_up")


def test_failures_among_the_events_are_not_rendered() -> None:
    """The exchange decides whether a failure is seen."""
    assert encoder().encode([Failed(Truncated())]) == b""


# --- silence and identity -----------------------------------------------------------------------------


def test_a_keep_alive_begins_the_stream_and_says_nothing() -> None:
    """`response.in_progress`, behind `response.created`; what follows keeps id and time, the model may change."""
    one = encoder()
    one.identify("resp_mine", "hermes-router", NOW)
    sent = one.keep_alive() + one.keep_alive()
    sent += one.encode([START, *TEXT[:2]]) + one.keep_alive() + one.encode([*TEXT[2:], Finished(Finish.STOP)])
    sent += one.end(Usage(1, 1))
    frames = check_caller(sent)
    assert [frame["type"] for frame in frames[:4]] == [
        "response.created",
        "response.in_progress",
        "response.in_progress",
        "response.output_item.added",
    ]
    assert (one.id, one.created, one.model) == ("resp_mine", NOW, 'm"1')
    assert (frames[0]["response"]["model"], frames[-1]["response"]["model"]) == ("hermes-router", 'm"1')
    assert final(sent).output_text == "hello \u2028 é"


def test_an_upstream_of_the_same_dialect_keeps_its_id() -> None:
    """Ids of another dialect are not shown; ours have the prefix of this one."""
    sent = encode([Started("resp_up", "m", 5), *TEXT, Finished(Finish.STOP)])
    assert frames_of(sent)[0]["response"]["id"] == "resp_up"
    assert encoder().id_prefix == "resp_"


# --- whole answers ------------------------------------------------------------------------------------


def parsed(body: bytes) -> Any:
    """What the SDK makes of a unary answer."""
    return answered(body, "application/json").responses.create(model="m", input="x")


def test_a_whole_answer_is_what_the_sdk_reads() -> None:
    """The same items as the stream's, in one object."""
    blocks = [
        Block(BlockKind.REASONING, "hm", seal=SEAL),
        Block(BlockKind.REASONING, ""),
        Block(BlockKind.TEXT, "hello"),
        Block(BlockKind.TEXT, ""),
        Block(BlockKind.TOOL_CALL, "{}", "a", "team__ask"),
        Block(BlockKind.TOOL_CALL, '{"input":"x"}', "b", "apply_patch"),
        Block(BlockKind.TOOL_CALL, "{y", "c", "apply_patch", custom=True),
    ]
    answer = Answer("msg_7", "m-1", 5, blocks, None, Finish.TOOL_CALLS)
    request = inbound(tools=[NAMESPACE, PATCH], include=INCLUDE, temperature=0.5)
    body = render_answer(answer, Usage(10, 5, 4, 2), request, origin=ORIGIN, new_id=new_ids(), now=NOW)
    response = parsed(body)
    Response.model_validate(json.loads(body))
    assert response.id.startswith("resp_")
    assert (response.model, response.status, response.created_at, response.temperature) == ("m-1", "completed", 5, 0.5)
    assert response.output_text == "hello"
    thought, text, named, patch, raw = response.output
    assert unwrap(thought.encrypted_content) == SEAL
    assert text.status == "completed"
    assert (named.name, named.namespace, named.arguments) == ("ask", "team", "{}")
    assert (patch.type, patch.input, raw.input) == ("custom_tool_call", "x", "{y")
    assert response.usage.total_tokens == 15


def test_a_whole_answer_that_was_cut_says_so() -> None:
    """Incomplete, with its reason and its last item."""
    answer = Answer("resp_7", "m-1", 0, [Block(BlockKind.TEXT, "he")], None, Finish.LENGTH)
    response = parsed(render_answer(answer, Usage(1, 1), inbound(), origin="", new_id=new_ids(), now=NOW))
    assert (response.id, response.status, response.created_at) == ("resp_7", "incomplete", NOW)
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output[0].status == "incomplete"
    assert isinstance(response, openai.types.responses.Response)
