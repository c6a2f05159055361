"""Answers of each dialect as a Responses caller is sent them: each sort of content, streamed and whole, strictly checked."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseErrorEvent

from hermes_router.core.content import Seal
from hermes_router.core.errors import (
    CallerLimited,
    DeadlinePassed,
    HermesError,
    Invalid,
    NoTarget,
    Overloaded,
    Truncated,
)
from hermes_router.core.events import (
    BlockKind,
    ChatEvent,
    Citation,
    Closed,
    Delta,
    Failed,
    Finish,
    Finished,
    Opened,
    Started,
    Usage,
    UsageSeen,
    fold,
)
from hermes_router.wire.responses.encoder import render_answer
from hermes_router.wire.responses.errors import error_event
from hermes_router.wire.splice import Splice
from hermes_router.wire.translated import TranslatedLane

from . import messages_streams as messages
from . import responses_streams as responses
from . import streams as chat
from .responses_grammar import Json, check_response, check_stream, frames_of
from .streams import NOW, drive, new_ids, ways

TOOLS = [
    {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}},
    {"type": "namespace", "name": "team", "description": "", "tools": [{"type": "function", "name": "ask"}]},
    {"type": "custom", "name": "apply_patch", "format": {"type": "text"}},
]
ASKED: Json = {"tools": TOOLS, "include": responses.INCLUDE}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
PAGE = {"url": "https://e.example/1", "title": "E"}
DECODERS: dict[str, Callable[[], Any]] = {
    "chat": chat.decoder, "messages": messages.decoder, "responses": responses.decoder,
}  # fmt: skip


def chat_body(*deltas: Json, finish: str = "stop") -> bytes:
    """A stream of Chat."""
    return chat.sse(*(chat.chunk(one) for one in deltas), chat.chunk({}, finish, usage=USAGE))


def chat_whole(finish: str = "stop", **message: Any) -> bytes:
    """A whole answer of Chat."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": NOW, "model": "up-1"}
    return json.dumps({**head, "choices": [choice], "usage": USAGE}).encode()


def messages_body(*blocks: list[Json], finish: str = "end_turn") -> bytes:
    """A stream of Messages."""
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 4}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": usage}
    frames = [{"type": "message_start", "message": message}, *(frame for one in blocks for frame in one)]
    return messages.sse(*frames, messages.ended(finish), {"type": "message_stop"})


def messages_whole(*content: Json, finish: str = "end_turn") -> bytes:
    """A whole answer of Messages."""
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 4}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": finish}
    return json.dumps({**message, "stop_sequence": None, "content": content, "usage": usage}).encode()


def responses_whole(*items: Json, status: str = "completed", **more: Any) -> bytes:
    """A whole answer of Responses."""
    head = {"id": "resp_up", "object": "response", "created_at": NOW, "model": "up-1", "status": status}
    return json.dumps({**head, "output": items, "usage": responses.USAGE, **more}).encode()


def responses_body(*frames: Json, end: str = "completed", **more: Any) -> bytes:
    """A stream of Responses."""
    return responses.sse(responses.created(), *frames, responses.ended(end, **more))


def citation(**fields: Any) -> Json:
    """A url_citation of Responses."""
    return {"type": "url_citation", **PAGE, **fields}


ANNOTATION = {"type": "url_citation", "url_citation": {**PAGE, "start_index": 3, "end_index": 5}}
CITED = {"type": "web_search_result_location", **PAGE, "cited_text": "x", "encrypted_index": "y"}
CITED_BLOCK = [
    messages.opened(0, "text"),
    {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": CITED}},
    messages.delta(0, "text_delta", "so it is"),
    messages.closed(0),
]
MESSAGE = responses.message("msg_1", "so it is")
NOTED = {**MESSAGE, "content": [{**MESSAGE["content"][0], "annotations": [citation(start_index=3, end_index=5)]}]}
REFUSAL = {**MESSAGE, "content": [{"type": "refusal", "refusal": "I cannot do that."}]}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "x",
}
OPEN_THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
ASK = {"id": "call_2", "type": "function", "function": {"name": "team__ask", "arguments": "{}"}}
PATCH = {"id": "call_3", "type": "function", "function": {"name": "apply_patch", "arguments": '{"input":"*** Begin"}'}}
PATCHED = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_3", "name": "apply_patch", "input": "*** Begin"}
CALLED = [
    {**responses.function("fc_1", "call_1", "f", '{"a": 1}'), "status": "completed"},
    {**responses.function("fc_2", "call_2", "ask", "{}"), "status": "completed", "namespace": "team"},
    PATCHED,
]


def tool_use(call: Json) -> Json:
    """A call of Chat as a block of Messages."""
    function = call["function"]
    return {"type": "tool_use", "id": call["id"], "name": function["name"], "input": json.loads(function["arguments"])}


# What is said, the dialect: the answer streamed and whole, and what the caller has to find in it.
ANSWERS: dict[tuple[str, str], tuple[bytes, bytes | None]] = {
    ("text", "chat"): (
        chat_body({"role": "assistant", "content": "so it"}, {"content": " is"}), chat_whole(content="so it is")
    ),
    ("text", "messages"): (
        messages_body(messages.said(0, "so it", " is")), messages_whole({"type": "text", "text": "so it is"})
    ),
    ("text", "responses"): (responses_body(*responses.said(0, "msg_1", "so it", " is")), responses_whole(MESSAGE)),
    ("texts", "messages"): (
        messages_body(messages.said(0, "so "), messages.said(1, "it "), messages.said(2, "is")),
        messages_whole(*({"type": "text", "text": text} for text in ("so ", "it ", "is"))),
    ),
    ("texts", "responses"): (
        responses_body(*responses.said(0, "msg_1", "so"), *responses.said(1, "msg_2", "it is")),
        responses_whole(responses.message("msg_1", "so"), responses.message("msg_2", "it is")),
    ),
    ("thought", "chat"): (
        chat_body({"reasoning_content": "h"}, {"reasoning_content": "m"}, {"content": "so it is"}),
        chat_whole(content="so it is", reasoning_content="hm"),
    ),
    ("thought", "messages"): (
        messages_body(
            messages.block(0, "thinking", ("thinking_delta", "hm"), ("signature_delta", "c2ln")),
            messages.said(1, "so it is"),
        ),
        messages_whole(
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "text", "text": "so it is"}
        ),
    ),
    ("thought", "responses"): (
        responses_body(
            responses.added(0, {**THOUGHT, "summary": []}),
            responses.delta("reasoning_summary_text", 0, "rs_1", "hm", summary_index=0),
            responses.done(0, THOUGHT),
            *responses.said(1, "msg_1", "so it is"),
        ),
        responses_whole(THOUGHT, MESSAGE),
    ),
    ("open thought", "responses"): (
        responses_body(
            responses.added(0, {**OPEN_THOUGHT, "content": []}),
            responses.delta("reasoning_text", 0, "rs_1", "hm", content_index=0),
            responses.done(0, OPEN_THOUGHT),
            *responses.said(1, "msg_1", "so it is"),
        ),
        responses_whole(OPEN_THOUGHT, MESSAGE),
    ),
    ("calls", "chat"): (
        chat_body({"tool_calls": [{"index": n, **one} for n, one in enumerate((CALL, ASK, PATCH))]}, finish="tool_calls"),
        chat_whole("tool_calls", content=None, tool_calls=[CALL, ASK, PATCH]),
    ),
    ("calls", "messages"): (
        messages_body(
            messages.called(0, "call_1", "f", '{"a"', ": 1}"),
            messages.called(1, "call_2", "team__ask"),
            messages.called(2, "call_3", "apply_patch", PATCH["function"]["arguments"]),
            finish="tool_use",
        ),
        messages_whole(*map(tool_use, (CALL, ASK, PATCH)), finish="tool_use"),
    ),
    ("calls", "responses"): (
        responses_body(
            *responses.called(0, "fc_1", "call_1", "f", '{"a"', ": 1}"),
            responses.added(1, {**CALLED[1], "arguments": ""}),
            responses.done(1, CALLED[1]),
            responses.added(2, {**PATCHED, "input": ""}),
            responses.delta("custom_tool_call_input", 2, "ctc_1", "*** "),
            responses.delta("custom_tool_call_input", 2, "ctc_1", "Begin"),
            responses.done(2, PATCHED),
        ),
        responses_whole(*CALLED),
    ),
    ("refusal", "chat"): (
        chat_body({"refusal": "I cannot "}, {"refusal": "do that."}),
        chat_whole(content=None, refusal="I cannot do that."),
    ),
    ("refusal", "responses"): (
        responses_body(
            responses.added(0, {**REFUSAL, "content": []}),
            responses.delta("refusal", 0, "msg_1", "I cannot ", content_index=0),
            responses.delta("refusal", 0, "msg_1", "do that.", content_index=0),
            responses.done(0, REFUSAL),
        ),
        responses_whole(REFUSAL),
    ),
    ("cited", "chat"): (
        chat_body({"content": "so it "}, {"content": "is"}, {"content": "", "annotations": [ANNOTATION]}),
        chat_whole(content="so it is", annotations=[ANNOTATION]),
    ),
    ("cited", "messages"): (
        messages_body(CITED_BLOCK), messages_whole({"type": "text", "text": "so it is", "citations": [CITED]})
    ),
    ("cited", "responses"): (
        responses_body(
            responses.added(0, {**MESSAGE, "content": []}),
            responses.delta("output_text", 0, "msg_1", "so it is", content_index=0),
            responses.done(0, NOTED),
        ),
        responses_whole(NOTED),
    ),
    ("cut", "chat"): (chat_body({"content": "so it is"}, finish="length"), chat_whole("length", content="so it is")),
    ("cut", "messages"): (
        messages_body(messages.said(0, "so it is"), finish="max_tokens"),
        messages_whole({"type": "text", "text": "so it is"}, finish="max_tokens"),
    ),
    ("cut", "responses"): (
        responses_body(
            *responses.said(0, "msg_1", "so it is"),
            end="incomplete",
            incomplete_details={"reason": "max_output_tokens"},
        ),
        responses_whole(MESSAGE, status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    ),
    ("filtered", "chat"): (
        chat_body({"content": "so it is"}, finish="content_filter"), chat_whole("content_filter", content="so it is")
    ),
    ("filtered", "messages"): (
        messages_body(messages.said(0, "so it is"), finish="refusal"),
        messages_whole({"type": "text", "text": "so it is"}, finish="refusal"),
    ),
    ("filtered", "responses"): (
        responses_body(
            *responses.said(0, "msg_1", "so it is"),
            end="incomplete",
            incomplete_details={"reason": "content_filter"},
        ),
        responses_whole(MESSAGE, status="incomplete", incomplete_details={"reason": "content_filter"}),
    ),
}  # fmt: skip
CASES = pytest.mark.parametrize(("sort", "upstream"), list(ANSWERS), ids=[" of ".join(case) for case in ANSWERS])


def judge(sort: str, response: Json) -> None:
    """What is in an answer of this sort."""
    output = response["output"]
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    why = {"cut": "max_output_tokens", "filtered": "content_filter"}.get(sort)
    assert response["incomplete_details"] == ({"reason": why} if why else None)
    if sort == "calls":
        kinds = [(item["type"], item["call_id"], item["name"], item.get("namespace")) for item in output]
        assert kinds == [
            ("function_call", "call_1", "f", None),
            ("function_call", "call_2", "ask", "team"),
            ("custom_tool_call", "call_3", "apply_patch", None),
        ]
        assert [item.get("arguments", item.get("input")) for item in output] == ['{"a": 1}', "{}", "*** Begin"]
        return
    if sort == "refusal":
        assert parts == [{"type": "refusal", "refusal": "I cannot do that."}]
        return
    if sort == "texts":  # neighbours are parts of one message
        assert [item["type"] for item in output] == ["message"]
        assert len(parts) > 1
    assert " ".join("".join(part["text"] for part in parts).split()) == "so it is"
    notes = [note for part in parts for note in part["annotations"]]
    assert [(note["url"], note["title"]) for note in notes] == ([tuple(PAGE.values())] if sort == "cited" else [])
    thoughts = [part["text"] for item in output if item["type"] == "reasoning" for part in item["summary"]]
    assert thoughts == (["hm"] if "thought" in sort else [])
    if "thought" in sort:
        assert output[0]["encrypted_content"].startswith("hr1.")


@CASES
def test_a_stream_has_the_shapes_of_the_dialect(sort: str, upstream: str) -> None:
    """However it is cut on the way: strict types, gapless numbers, parts and items in order, and all of the content."""
    body, _ = ANSWERS[sort, upstream]
    for pieces in ways(body):
        encoder = responses.encoder(**ASKED)
        lane = TranslatedLane(Splice(encoder), DECODERS[upstream]())
        out = drive(lane, pieces)
        assert lane.over, lane.error
        whole = check_stream(out + encoder.end(lane.usage or Usage(1, 1)))
        judge(sort, whole)


@CASES
def test_a_whole_answer_has_the_shapes_of_the_dialect(sort: str, upstream: str) -> None:
    """The same of the object that is not streamed."""
    _, body = ANSWERS[sort, upstream]
    assert body is not None
    decoder = DECODERS[upstream]()
    answer = fold(decoder.whole(body))
    written = render_answer(answer, decoder.usage, responses.inbound(**ASKED), origin="up/m", new_id=new_ids(), now=NOW)
    judge(sort, check_response(json.loads(written)))


@CASES
def test_the_sdk_reads_it(sort: str, upstream: str) -> None:
    """The SDK's own accumulator comes to the same output; only what is incomplete is no final response for it."""
    body, _ = ANSWERS[sort, upstream]
    encoder = responses.encoder(**ASKED)
    lane = TranslatedLane(Splice(encoder), DECODERS[upstream]())
    sent = drive(lane, [body]) + encoder.end(lane.usage or Usage(1, 1))
    with responses.answered(sent).responses.stream(model="m", input="x") as stream:
        last: Any = list(stream)[-1]
        if sort in ("cut", "filtered"):
            assert last.type == "response.incomplete"
            return
        final = stream.get_final_response()
    judge(sort, json.loads(final.model_dump_json(exclude={"output": {"__all__": {"parsed_arguments"}}})))


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("busy"), NoTarget(limited=True, retry_at=NOW + 9), NoTarget(limited=False, retry_at=None),
        DeadlinePassed(), Truncated("x"), Invalid("x", status=400), CallerLimited("too many"), HermesError("internal"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_failure_has_the_shapes_of_the_dialect(error: HermesError) -> None:
    """Behind some text, behind nothing, and as the event where nothing is known: types that SDKs know."""
    text: list[ChatEvent] = [Started("x", "m", NOW), Opened(BlockKind.TEXT), Delta("hi")]
    for events in ([], text, [*text, Closed(), Opened(BlockKind.REASONING)]):
        one = responses.encoder()
        whole = check_stream(one.encode(events) + one.fail(error, now=NOW))
        assert whole["status"] == "failed"
    (frame,) = frames_of(error_event(error, now=NOW))
    ResponseErrorEvent.model_validate(frame, strict=True)


# --- any answer -------------------------------------------------------------------------------------

TEXTS = st.lists(st.text("ab\u2028é😀\n", min_size=1, max_size=5), max_size=4)
CITATIONS = st.lists(
    st.builds(Citation, st.just("https://e"), st.text(max_size=3), st.integers(-9, 99), st.integers(-9, 99)), max_size=3
)


def _text(texts: list[str], notes: list[Citation], refusal: bool) -> list[ChatEvent]:
    return [Opened(BlockKind.TEXT, refusal=refusal), *map(Delta, texts), Closed(citations=tuple(notes))]


def _thought(texts: list[str], sealed: bool) -> list[ChatEvent]:
    seal = Seal("openai_responses", "encrypted", "secret", responses.ORIGIN, "rs_up") if sealed else None
    return [Opened(BlockKind.REASONING), *map(Delta, texts), Closed(seal)]


def _call(texts: list[str], name: str, custom: bool) -> list[ChatEvent]:
    pieces = texts if custom else ['{"input":', json.dumps("".join(texts)), "}"]
    return [Opened(BlockKind.TOOL_CALL, f"call_{len(texts)}", name, custom=custom), *map(Delta, pieces), Closed()]


BLOCKS = st.lists(
    st.one_of(
        st.builds(_text, TEXTS, CITATIONS, st.booleans()),
        st.builds(_thought, TEXTS, st.booleans()),
        st.builds(_call, TEXTS, st.sampled_from(["f", "team__ask", "apply_patch", "unknown"]), st.booleans()),
    ),
    max_size=5,
)


@settings(deadline=None)
@example([_call([], "f", False), _text([], [], False)], Finish.LENGTH, False, True)
@given(BLOCKS, st.sampled_from(Finish), st.booleans(), st.booleans())
@example([_text(["a"], [], False), _thought([], False)], Finish.LENGTH, False, True)
@example(
    [_text(["a"], [], False), _thought([], False), _text([], [], False), _text(["b"], [], False)],
    Finish.STOP,
    False,
    True,
)
def test_any_answer_keeps_the_grammar(blocks: list[list[ChatEvent]], reason: Finish, failed: bool, quiet: bool) -> None:
    """Whatever blocks come in whatever order, with keep-alives between them, and however it ends."""
    end = Failed(Overloaded("busy")) if failed else Finished(reason)
    events: list[ChatEvent] = [Started("x", "m", NOW), *(event for block in blocks for event in block)]
    one = responses.encoder(**(ASKED if quiet else {"tools": TOOLS}))
    out = []
    for number, event in enumerate([*events, UsageSeen(Usage(1, 1))]):
        out.append(one.encode([event]))
        if number % 3 == 2:
            out.append(one.keep_alive())
    if isinstance(end, Failed):
        out.append(one.fail(end.error, now=NOW))
    else:
        out += [one.encode([end]), one.end(Usage(10, 5, 4, 2, written_tokens=1))]
    whole = check_stream(b"".join(out))
    if not failed:
        answer = fold([*events, end])
        written = render_answer(
            answer, Usage(10, 5), responses.inbound(**ASKED), origin="u/m", new_id=new_ids(), now=NOW
        )
        same = check_response(json.loads(written))
        if quiet:
            assert list(map(_bare, same["output"])) == list(map(_bare, whole["output"]))
        assert same["status"] == whole["status"]


def _bare(item: Json) -> Json:
    return {key: value for key, value in item.items() if key not in ("id", "encrypted_content")}
