"""Neutral events to Messages frames, read back by Anthropic's own SDK."""

import itertools
import json
import tomllib
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_router.core.content import Seal
from hermes_router.core.errors import DeadlinePassed, Truncated
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
    fold,
)
from hermes_router.wire.broken_calls import drop_broken_calls
from hermes_router.wire.dialect import MakeEncoder, RenderAnswer
from hermes_router.wire.messages.encoder import (
    PING,
    make_encoder,
    render_answer,
)
from hermes_router.wire.messages.object import INVALID_JSON, message_id
from hermes_router.wire.seals import unwrap
from hermes_router.wire.splice import Splice
from hermes_router.wire.translated import TranslatedLane

from ..grammar import check_events
from ..messages_streams import (
    INBOUND,
    ORIGIN,
    accumulated,
    check_messages,
    client,
    encode,
    encoder,
    joined,
    payloads,
    run,
)
from ..streams import NOW, decoder, new_ids

MAKE: MakeEncoder = make_encoder
RENDER: RenderAnswer = render_answer
START = Started("msg_01Up", 'm"1', NOW - 5)
SEAL = Seal("anthropic_messages", "signature", "EqQB", "up/claude-0")


def text(*pieces: str) -> list[ChatEvent]:
    return [Opened(BlockKind.TEXT), *map(Delta, pieces), Closed()]


def thought(*pieces: str, seal: Seal | None = None) -> list[ChatEvent]:
    return [Opened(BlockKind.REASONING), *map(Delta, pieces), Closed(seal)]


def call(call_id: str, *pieces: str, name: str = "f", custom: bool = False) -> list[ChatEvent]:
    return [Opened(BlockKind.TOOL_CALL, call_id, name, custom=custom), *map(Delta, pieces), Closed()]


def render(answer: Answer, usage: Usage | None = None) -> dict[str, Any]:
    body = render_answer(answer, usage or Usage(10, 5), INBOUND, origin=ORIGIN, new_id=new_ids(), now=NOW)
    value = json.loads(body)
    Message.model_validate_json(body, strict=True)
    return dict(value)


def test_the_sdk_accumulates_the_same_answer() -> None:
    """Thoughts, text and parallel calls come out of the SDK as they went in (providers.md 12.10)."""
    events = [
        START, *thought("h", "m", seal=SEAL), *text("he", "llo \u2028 é"), *call("a", '{"x":', "1}"), *call("b.0:1", "{}"),
        Finished(Finish.TOOL_CALLS, "tool_calls"),
    ]  # fmt: skip
    sse = encode(events, Usage(1_000, 40, 800, 30, written_tokens=50))
    check_messages(sse)
    message = accumulated(sse)
    assert (message.id, message.model, message.role, message.type) == ("msg_01Up", 'm"1', "assistant", "message")
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.content[0].thinking == "hm"
    assert unwrap(message.content[0].signature) == SEAL
    assert message.content[1].text == "hello \u2028 é"
    assert [(b.id, b.name, b.input) for b in message.content[2:]] == [("a", "f", {"x": 1}), ("b.0:1", "f", {})]
    assert (message.stop_reason, message.stop_sequence) == ("tool_use", None)
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (150, 800, 50)
    assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (40, 30)


def test_the_raw_stream_of_the_sdk_gives_every_event() -> None:
    """`create(stream=True)` sees the frames in order; pings are passed over, one before the start included."""
    one = encoder()
    body = one.keep_alive() + one.encode([START, *text("a")]) + one.keep_alive()
    body += one.encode([Finished(Finish.STOP)]) + one.end(Usage(10, 5))
    with client(body) as sdk:
        kinds = [event.type for event in sdk.messages.create(model="m", max_tokens=9, messages=[], stream=True)]
    assert kinds == [
        "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
        "message_stop",
    ]  # fmt: skip
    assert accumulated(body).content[0].text == "a"
    assert body.count(PING) == 2


def test_the_prompt_is_told_at_the_start() -> None:
    """Our estimate, since context meters are fed by it (clients.md 4); the true figures where they are known."""
    estimated = payloads(encoder(prompt_tokens=77).encode([START]))[0]["message"]["usage"]
    assert (estimated["input_tokens"], estimated["output_tokens"]) == (77, 0)
    held = [START, UsageSeen(Usage(1_000, 1, 800, written_tokens=50)), Opened(BlockKind.TEXT), Delta("a")]
    known = payloads(encoder().encode(held))[0]["message"]["usage"]
    assert known == {
        "input_tokens": 150, "cache_read_input_tokens": 800, "cache_creation_input_tokens": 50, "output_tokens": 0,
    }  # fmt: skip
    nothing = payloads(encoder(prompt_tokens=77).encode([START, UsageSeen(Usage())]))[0]["message"]["usage"]
    assert nothing["input_tokens"] == 77


@pytest.mark.parametrize("seal", [None, SEAL, Seal("openai_responses", "encrypted", "gAAA", "", "rs_1")])
def test_every_thought_is_marked(seal: Seal | None) -> None:
    """With who made it and what that maker sealed; one without a seal says at least the former (12.9)."""
    message = accumulated(encode([START, *thought("hm", seal=seal), *text("a"), Finished(Finish.STOP)]))
    found = unwrap(message.content[0].signature)
    assert found is not None
    if seal is None:
        assert (found.kind, found.origin) == ("none", ORIGIN)
    else:
        assert found == seal._replace(origin=seal.origin or ORIGIN)


def test_a_thought_that_nobody_may_read_has_a_block_of_its_own() -> None:
    """redacted_thinking for what was redacted; an unshown thought is one without text; nothing where nothing was said."""
    redacted = Seal("anthropic_messages", "redacted", "EmwK")
    events = [START, *thought(seal=redacted), *thought(seal=SEAL), *thought(), *text("a"), Finished(Finish.STOP)]
    sse = encode(events)
    check_messages(sse)
    message = accumulated(sse)
    assert [block.type for block in message.content] == ["redacted_thinking", "thinking", "text"]
    assert unwrap(message.content[0].data) == redacted._replace(origin=ORIGIN)
    assert message.content[1].thinking == ""
    assert unwrap(message.content[1].signature) == SEAL


def test_a_thought_in_many_details_is_one() -> None:
    """Chat providers send `reasoning_details` with each piece, and each is a block of events: the caller sees one (7)."""
    details: dict[str, object] = {"reasoning_details": [{"type": "reasoning.text"}]}
    pieces = [[Opened(BlockKind.REASONING, extras=details), Delta(word), Closed()] for word in ("h", "m", "m")]
    quiet: list[ChatEvent] = [Opened(BlockKind.REASONING, extras=details), Closed()]
    events = [START, *quiet, *itertools.chain(*pieces), *quiet, *text("a"), *thought("x"), *thought("y", seal=SEAL)]
    sse = encode([*events, Finished(Finish.STOP)])
    check_messages(sse)
    content = accumulated(sse).content
    assert [getattr(b, "thinking", b.type) for b in content] == ["hmm", "text", "x", "y"]
    assert unwrap(content[-1].signature) == SEAL
    whole = render(fold([*events, Finished(Finish.STOP)]))["content"]
    assert [b.get("thinking", b["type"]) for b in whole] == ["hmm", "text", "x", "y"]


def test_blocks_of_white_space_are_not_shown() -> None:
    """They would be refused in the next turn (12.2); white space before text stays."""
    events = [START, *text("\n", " "), *call("a", "{}"), *text("\n", "x", " "), *text(), Finished(Finish.TOOL_CALLS)]
    sse = encode(events)
    check_messages(sse)
    assert [getattr(block, "text", block.type) for block in accumulated(sse).content] == ["tool_use", "\nx "]


@pytest.mark.parametrize(
    ("pieces", "custom", "arguments"),
    [
        ([], False, {}),
        ([" ", "\n"], False, {}),
        (["null"], False, {}),
        (['{"a":1}', " \n"], False, {"a": 1}),
        (['{"a":1}', '{"a":1}'], False, {"a": 1}),
        ([' {"a":"}', '"}', "junk"], False, {"a": "}"}),
        (["[1,", "2]"], False, {"input": [1, 2]}),
        (["no json"], False, {INVALID_JSON: "no json"}),
        (['{"a":1}', " + x"], True, {"input": '{"a":1} + x'}),
        ([], True, {"input": ""}),
    ],
)
def test_the_arguments_of_a_call_are_one_object(pieces: list[str], custom: bool, arguments: dict[str, Any]) -> None:
    """Never junk behind valid JSON, on which the SDK raises; what is no object is put into one (12.4)."""
    events = [START, *call("a", *pieces, custom=custom), Finished(Finish.TOOL_CALLS)]
    sse = encode(events)
    check_messages(sse)
    assert accumulated(sse).content[0].input == arguments
    whole = "".join(pieces)
    if custom or whole.strip() in {"", "null"} or not whole.strip().startswith("{"):
        assert render(fold(events))["content"][0]["input"] == arguments


def test_a_call_that_was_cut_is_told_as_cut() -> None:
    """`max_tokens`, and what there is of the arguments: the SDK completes them as far as it can."""
    events = [START, *call("a", '{"x":"ab'), Finished(Finish.LENGTH, "length")]
    message = accumulated(encode(events))
    assert message.stop_reason == "max_tokens"
    assert message.content[0].type == "tool_use"
    assert render(fold(events))["content"][0]["input"] == {INVALID_JSON: '{"x":"ab'}


@pytest.mark.parametrize(
    ("finished", "calls", "reason", "sequence"),
    [
        (Finished(Finish.STOP, "stop"), False, "end_turn", None),
        (Finished(Finish.STOP, "stop"), True, "tool_use", None),
        (Finished(Finish.STOP, "stop_sequence", "x"), False, "stop_sequence", "x"),
        (Finished(Finish.STOP, "stop", "x"), False, "stop_sequence", "x"),
        (Finished(Finish.STOP, "pause_turn"), False, "end_turn", None),
        (Finished(Finish.LENGTH, "length"), True, "max_tokens", None),
        (Finished(Finish.LENGTH, "model_context_window_exceeded"), False, "model_context_window_exceeded", None),
        (Finished(Finish.LENGTH, "stop_sequence"), False, "max_tokens", None),
        (Finished(Finish.TOOL_CALLS, "function_call"), True, "tool_use", None),
        (Finished(Finish.CONTENT_FILTER, "sensitive"), False, "refusal", None),
    ],
)
def test_each_end_has_its_stop_reason(finished: Finished, calls: bool, reason: str, sequence: str | None) -> None:
    """The table of providers.md 12.6, backwards; a refusal says what kind of one, which is none that we know."""
    events = [START, *text("a"), *(call("a", "{}") if calls else []), finished]
    message = accumulated(encode(events))
    assert (message.stop_reason, message.stop_sequence) == (reason, sequence)
    assert (message.stop_details is not None) == (reason == "refusal")
    whole = render(fold(events))
    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, sequence)


def test_the_end_waits_for_the_usage() -> None:
    """Finished renders nothing; the usage then stands beside the stop reason (design.md 2.4)."""
    one = encoder()
    one.encode([START, *text("a")])
    assert one.encode([Finished(Finish.STOP)]) == b""
    assert [frame["type"] for frame in payloads(one.end(Usage(10, 5)))] == ["message_delta", "message_stop"]


@pytest.mark.parametrize("events", [[], [START], [START, Finished(Finish.STOP)], [START, Opened(BlockKind.TEXT)]])
def test_an_answer_without_blocks_is_still_a_message(events: list[ChatEvent]) -> None:
    """Nothing invalid comes out, whatever was left out."""
    one = encoder()
    sse = one.encode(events) + one.end(Usage(10, 5))
    check_messages(sse)
    assert accumulated(sse).content == []


def test_a_block_that_is_open_at_the_end_is_closed() -> None:
    """Also a thought, which is then marked; and where a block begins although none has ended."""
    for kind in BlockKind:
        one = encoder()
        sse = one.encode([START, Opened(kind, "a", "f"), Delta("{}")]) + one.end(Usage(10, 5))
        check_messages(sse)
        one = encoder()
        sse = one.encode([START, Opened(kind, "a", "f"), Delta("{}"), *text("x")]) + one.end(Usage(10, 5))
        check_messages(sse)
        assert accumulated(sse).content[-1].text == "x"


def test_behind_a_providers_own_frames_only_the_last_is_written() -> None:
    """Where those were forwarded raw, all but `message_stop` has come (dialect.Encoder.join)."""
    one = encoder()
    one.join(b"")
    assert payloads(one.end(Usage(10, 5))) == [{"type": "message_stop"}]


def test_a_second_start_is_not_shown() -> None:
    """Nor a delta that belongs to no block: one message_start, whoever answers (cases.md BF-8)."""
    one = encoder()
    sse = one.encode([START, Delta("x"), Started("msg_other", "m2", 1), *text("a")]) + one.end(Usage(10, 5))
    check_messages(sse)
    assert (one.id, one.created) == ("msg_01Up", NOW - 5)


def test_the_first_id_stands() -> None:
    """A keep-alive fixed it before anyone answered; the model is that of who answers then."""
    one = encoder()
    one.identify(new_ids()(one.id_prefix), "hermes-router", NOW)
    kept = one.id
    assert payloads(one.encode([START]))[0]["message"]["id"] == kept == "msg_000000000000000000000001"
    assert one.model == 'm"1'


def test_a_cut_raises_in_the_sdk() -> None:
    """`event: error`, before and after text: never anything that looks like a good end (12.10)."""
    for error in (Truncated("secret"), DeadlinePassed()):
        for events in ([], [START], [START, Opened(BlockKind.TEXT), Delta("half")]):
            one = encoder()
            sse = one.encode([*events, Failed(Truncated())]) + one.fail(error, now=NOW)
            check_messages(sse)
            assert b"secret" not in sse
            with pytest.raises(anthropic.APIStatusError) as caught:
                accumulated(sse)
            body: Any = caught.value.body
            assert body["type"] == "error"


def test_five_megabytes_in_one_event_arrive() -> None:
    """Text and arguments, through the SDK."""
    big = "x" * 5_000_000
    message = accumulated(encode([START, *text(big), *call("a", '{"x":"' + big, '"}'), Finished(Finish.TOOL_CALLS)]))
    assert message.content[0].text == big
    assert message.content[1].input == {"x": big}


def test_a_whole_answer_is_what_the_sdk_reads() -> None:
    """The same blocks as streamed; arguments in the caller's order and digits; usage in the Messages arithmetic."""
    answer = Answer(
        "chatcmpl-1", "m1", NOW, finish=Finish.TOOL_CALLS, blocks=[
            Block(BlockKind.REASONING, "hm"), Block(BlockKind.REASONING, seal=Seal("anthropic_messages", "redacted", "d")),
            Block(BlockKind.REASONING), Block(BlockKind.TEXT, " "), Block(BlockKind.TEXT, "hello"),
            Block(BlockKind.TOOL_CALL, ' {"z":1.50,"a":123456789012345678901}', "a", "f"),
            Block(BlockKind.TOOL_CALL, "", "b", "g"),
        ],
    )  # fmt: skip
    body = render_answer(answer, Usage(100, 5, 80), INBOUND, origin=ORIGIN, new_id=new_ids(), now=NOW)
    assert b'"input":{"z":1.50,"a":123456789012345678901}' in body
    with client(body, kind="application/json") as sdk:
        message: Any = sdk.messages.create(model="m", max_tokens=9, messages=[])
    assert [block.type for block in message.content] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
        "tool_use",
    ]
    assert unwrap(message.content[0].signature) == Seal("", "none", "", ORIGIN)
    assert message.id == message_id("chatcmpl-1")
    assert (message.stop_reason, message.usage.input_tokens, message.usage.cache_read_input_tokens) == (
        "tool_use",
        20,
        80,
    )
    assert render(Answer(finish=Finish.STOP))["content"] == []
    assert render(Answer())["id"] == "msg_000000000000000000000001"


# --- properties -------------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)
SEALS = st.none() | st.builds(
    Seal, st.just("anthropic_messages"), st.sampled_from(["signature", "redacted"]), WORDS, WORDS
)
OBJECTS = st.dictionaries(WORDS, WORDS | st.integers(), max_size=3).map(json.dumps)


@st.composite
def answers(draw: st.DrawFn) -> list[ChatEvent]:
    """Events in good order, each block with something in it."""
    blocks = draw(st.lists(st.sampled_from(["text", "thought", "call"]), max_size=4))
    events: list[ChatEvent] = [START, *text("x", *draw(st.lists(WORDS, max_size=3)))]
    for number, kind in enumerate(blocks):
        if kind == "text":
            events += text("x", *draw(st.lists(WORDS, max_size=3)))
        elif kind == "thought":
            events += thought(*draw(st.lists(WORDS, min_size=1, max_size=3)), seal=draw(SEALS))
        else:
            events += call(f"id{number}", *draw(OBJECTS))
    reason = Finish.TOOL_CALLS if "call" in blocks else draw(st.sampled_from([Finish.STOP, Finish.LENGTH]))
    return [*events, Finished(reason, "")]


@given(answers(), st.integers(0, 2_000), st.integers(0, 500))
def test_what_is_written_is_read_again(events: list[ChatEvent], cached: int, written: int) -> None:
    """encode, then decode: the same blocks, ends and usage; of a thought, the mark that holds its seal."""
    usage = Usage(3_000, 9, cached, 4, written_tokens=written)
    sse = encode(events, usage)
    check_messages(sse)
    again = run([sse])
    check_events(again)
    before, after = fold(events), fold(again)
    assert [(b.kind, b.text, b.call_id, b.name) for b in before.blocks] == [
        (b.kind, b.text, b.call_id, b.name) for b in after.blocks
    ]
    for mine, theirs in zip(before.blocks, after.blocks, strict=True):
        if mine.kind is BlockKind.REASONING:
            assert theirs.seal is not None
            found = unwrap(theirs.seal.data)
            assert found == (mine.seal or Seal("", "none", "", ORIGIN))
    assert (after.finish, after.usage) == (before.finish, usage)


@settings(max_examples=25)  # the SDK takes its time
@given(answers(), st.lists(st.integers(1, 5), min_size=1, max_size=9))
def test_events_may_come_one_by_one_or_many_at_once(events: list[ChatEvent], sizes: list[int]) -> None:
    """The same bytes, however they are batched; and a whole answer has the blocks of the streamed one."""
    one, left = encoder(), list(events)
    out = []
    for size in itertools.cycle(sizes):
        if not left:
            break
        out.append(one.encode(left[:size]))
        left = left[size:]
    sse = b"".join(out) + one.end(Usage(10, 5))
    assert sse == encode(events)
    streamed, whole = accumulated(sse).to_dict(), render(fold(joined(events)))
    assert [dict(block) for block in whole["content"]] == streamed["content"]
    assert whole["stop_reason"] == streamed["stop_reason"]


# --- answers of Chat providers ----------------------------------------------------------------------

CHAT = Path(__file__).parents[1] / "fixtures" / "openai_chat"


@pytest.mark.parametrize("case", sorted(path.name for path in CHAT.iterdir()))
def test_what_a_chat_provider_sent_is_read_by_the_sdk(case: str) -> None:
    """Every oddity of that dialect comes out as frames of this one, with the same text and calls, or as an error."""
    meta = tomllib.loads((CHAT / case / "meta.toml").read_text())
    options = {"think_tags": tuple(meta["think_tags"])} if "think_tags" in meta else {}
    options |= {"bare_end": True} if "bare_end" in meta else {}
    lane = TranslatedLane(Splice(encoder()), decoder(**options), tap=True)
    out = lane.feed((CHAT / case / "upstream.sse").read_bytes())
    if not lane.over and lane.error is None:
        out += lane.end(clean=meta.get("clean", True))
    assert type(lane.error).__name__ == meta.get("error", "NoneType")
    if lane.error is not None:
        return
    out += lane._splice.encoder.end(lane.usage or Usage(1, 1))
    check_messages(out)
    answer, message = fold(lane.tapped), accumulated(out)
    assert "".join(b.text for b in message.content if b.type == "text").strip() == answer.text().strip()
    drop_broken_calls(answer)
    calls = [block for block in answer.blocks if block.kind is BlockKind.TOOL_CALL]
    found = [block for block in message.content if block.type == "tool_use"]
    assert [(b.id, b.name) for b in found] == [(b.call_id, b.name) for b in calls]
    if message.stop_reason == "tool_use":
        assert [b.input for b in found] == [json.loads(b.text) for b in calls]
    else:
        assert message.stop_reason == {"stop": "end_turn", "length": "max_tokens"}[meta["finish"]]
