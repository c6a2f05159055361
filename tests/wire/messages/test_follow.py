"""A provider's own Messages frames that break off, gone on with by the encoder, read back by Anthropic's own SDK."""

import json
from pathlib import Path
from typing import Any

import pytest

from hermes_router.core.content import Seal
from hermes_router.core.errors import Truncated
from hermes_router.core.events import BlockKind, ChatEvent, Closed, Delta, Finish, Finished, Opened, Started, Usage
from hermes_router.wire.messages.encoder import PING, MessagesEncoder
from hermes_router.wire.messages.follow import BlockFollower
from hermes_router.wire.seals import unwrap

from ..left_open import LeftOpen, left_open
from ..messages_streams import (
    ORIGIN,
    START,
    accumulated,
    block,
    check_messages,
    decoder,
    delta,
    encoder,
    opened,
    payloads,
    said,
    sse,
)

ROOT = Path(__file__).parents[1] / "fixtures" / "anthropic_messages"
CASES = sorted(path.name for path in ROOT.iterdir())
# What the SDK does not take as it comes from the provider.
ODD = {"kimi_without_block_stops", "message_start_twice", "no_event_lines", "no_types_in_the_data",
       "one_number_for_all_blocks", "text_that_nobody_began", "thoughts_inside_a_text_block",
       "types_that_nobody_knows"}  # fmt: skip
# What it takes, and our own reader of a caller's stream is too strict for.
FOREIGN = {"pause_turn_in_a_server_tool", "server_tool_with_citations"}
OTHER = "other/model-2"
MORE = " \u2013 and \u2028 on"
CALL: list[ChatEvent] = [Opened(BlockKind.TOOL_CALL, "call_9", "f"), Delta('{"x":'), Delta("1}"), Closed()]


def cuts(case: str) -> int:
    """How many events a stream has: it may break off behind each."""
    return (ROOT / case / "upstream.sse").read_bytes().replace(b"\r\n", b"\n").count(b"\n\n") + 1


def go_on(one: MessagesEncoder, seen: LeftOpen, *more: ChatEvent, reason: Finish = Finish.STOP) -> bytes:
    """What another provider says behind it, event by event; a thought is over first."""
    one.origin = OTHER
    events: list[ChatEvent] = [Closed(), Opened(BlockKind.TEXT)] if seen.kind is BlockKind.REASONING else []
    events += [Delta(MORE), Delta("!"), Closed(), *more, Finished(reason)]
    return b"".join(one.encode([event]) for event in events) + one.end(Usage(100, 50, 80))


def shown(body: bytes, kind: str) -> str:
    """All deltas of a kind in some frames."""
    frames = [json.loads(part.partition(b"data: ")[2]) for part in body.split(b"\n\n") if part]
    deltas = [frame["delta"] for frame in frames if frame.get("type") == "content_block_delta"]
    return "".join(one.get(kind, "") for one in deltas)


@pytest.mark.parametrize("pings", [False, True])
@pytest.mark.parametrize("case", [case for case in CASES if case not in ODD])
def test_a_stream_that_broke_off_anywhere_is_gone_on_with(case: str, pings: bool) -> None:
    """One message, valid, in which our text follows what was shown, wherever the provider's frames end (2.14)."""
    body = (ROOT / case / "upstream.sse").read_bytes()
    for most in range(cuts(case) + 1):
        one = encoder()
        seen = left_open(body, decoder(), one, most=most, pings=pings)
        if seen is None:
            continue
        whole = seen.sse + go_on(one, seen, *CALL, reason=Finish.TOOL_CALLS)
        if case not in FOREIGN:
            check_messages(whole)
        message = accumulated(whole)
        assert "".join(b.text for b in message.content if b.type == "text") == shown(seen.sse, "text") + MORE + "!"
        thoughts = [b for b in message.content if b.type == "thinking"]
        assert "".join(b.thinking for b in thoughts) == shown(seen.sse, "thinking")
        assert all(b.signature for b in thoughts)
        assert [(b.id, b.name, b.input) for b in message.content if b.type == "tool_use"] == [("call_9", "f", {"x": 1})]
        assert (message.stop_reason, message.usage.output_tokens, message.usage.input_tokens) == ("tool_use", 50, 20)
        assert (whole.count(b"event: message_start"), whole.count(b"event: message_stop")) == (1, 1)


@pytest.mark.parametrize("case", sorted(ODD))
def test_behind_odd_frames_ours_are_still_in_order(case: str) -> None:
    """What a provider leaves out or numbers oddly: the text is there, ends once, and every block that began is ended."""
    body = (ROOT / case / "upstream.sse").read_bytes()
    for most in range(cuts(case) + 1):
        one = encoder()
        seen = left_open(body, decoder(), one, most=most)
        if seen is None:
            continue
        ours = go_on(one, seen)
        assert shown(ours, "text") == MORE + "!"
        assert [frame["type"] for frame in payloads(ours)][-2:] == ["message_delta", "message_stop"]
        whole = seen.sse + ours
        begun = whole.count(b'"type":"content_block_start"') + whole.count(b'"type": "content_block_start"')
        ends = whole.count(b'"type":"content_block_stop"') + whole.count(b'"type": "content_block_stop"')
        assert begun <= ends


def raw(one: MessagesEncoder, *frames: dict[str, Any] | bytes) -> bytes:
    """Frames that are shown as they come: all are followed, and the last joined."""
    out = [sse(frame) for frame in frames]
    for frame in out:
        one.follow(frame)
    one.join(out[-1])
    return b"".join(out)


def test_text_goes_on_in_the_block_that_is_open() -> None:
    """No second beginning: more deltas of the same number, and the end of the block is ours."""
    one = encoder()
    body = raw(one, START, *said(0, "a "), opened(1, "text"), delta(1, "text_delta", "b "))
    one.resume("b ")
    sent = one.encode([Delta("c"), Delta(" d")]) + one.encode([Closed(), Finished(Finish.STOP)]) + one.end(Usage(1, 1))
    assert [(f["type"], f.get("index")) for f in payloads(sent)] == [
        ("content_block_delta", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("message_delta", None),
        ("message_stop", None),
    ]
    check_messages(body + sent)
    assert [b.text for b in accumulated(body + sent).content] == ["a ", "b c d"]


def test_the_hot_path_takes_text_behind_foreign_frames() -> None:
    """One delta is one frame, written as any other is."""
    one = encoder()
    raw(one, START, opened(0, "text"), delta(0, "text_delta", "a"))
    one.resume("a")
    assert one.encode([Delta("é")]) == (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"\xc3\xa9"}}\n\n'
    )


@pytest.mark.parametrize("told", [[], [Closed()], [Closed(Seal("anthropic_messages", "signature", "E"))]])
def test_a_thought_that_was_cut_is_marked_by_its_maker(told: list[ChatEvent]) -> None:
    """Its signature never came: the mark says who thought it, not who goes on (2.14); then comes the text."""
    one = encoder()
    body = raw(one, START, opened(0, "thinking"), delta(0, "thinking_delta", "hm"))
    one.origin = OTHER
    one.resume("hm")
    body += one.encode([*told, Opened(BlockKind.TEXT), Delta("a"), Closed(), Finished(Finish.STOP)]) + one.end(
        Usage(1, 1)
    )
    check_messages(body)
    thought, text = accumulated(body).content
    mark = unwrap(thought.signature)
    assert (thought.thinking, text.text) == ("hm", "a")
    assert mark is not None
    assert mark.origin == ORIGIN
    if not told or told == [Closed()]:
        assert mark == Seal("", "none", "", ORIGIN)


def test_a_thought_of_ours_that_was_cut_is_marked_by_its_maker() -> None:
    """The same where nothing was raw: the encoder goes from one provider to the next."""
    one = encoder()
    body = one.encode([Started("msg_1", "m", 1), Opened(BlockKind.REASONING), Delta("hm")])
    one.origin = OTHER
    body += one.encode([Closed()]) + one.encode([Opened(BlockKind.TEXT), Delta("a"), Closed(), Finished(Finish.STOP)])
    body += one.end(Usage(1, 1))
    check_messages(body)
    assert unwrap(accumulated(body).content[0].signature) == Seal("", "none", "", ORIGIN)


def test_a_signature_that_was_shown_stands() -> None:
    """Nothing comes behind it but the end of its block."""
    one = encoder()
    body = raw(one, START, opened(0, "thinking"), delta(0, "thinking_delta", "hm"), delta(0, "signature_delta", "EqQB"))
    one.resume("hm")
    later: list[ChatEvent] = [Opened(BlockKind.REASONING), Delta("so"), Closed()]
    body += one.encode([Closed(), *later, Opened(BlockKind.TEXT), Delta("a"), Finished(Finish.STOP)])
    body += one.end(Usage(1, 1))
    check_messages(body)
    first, second, _ = accumulated(body).content
    assert (first.signature, second.thinking) == ("EqQB", "so")
    assert unwrap(second.signature) is not None


def test_one_more_delta_of_a_thought_is_told_from_one_of_another() -> None:
    """Deltas that only repeat are not read again; a block that nobody began is still seen, whatever a thought says."""
    follower = BlockFollower()
    words = '"index":7,"type":"text_delta"'
    for index in (0, 0, 0, 1, 1):
        follower.feed(sse(delta(index, "thinking_delta", words)))
    block, left = follower.leave()
    assert block is not None
    assert (block.index, block.kind, left, follower.next_index) == (1, BlockKind.REASONING, [0], 2)
    follower.feed(sse(delta(1, "signature_delta", "")))
    assert not block.signed
    follower.feed(sse(delta(1, "signature_delta", "E")))
    follower.feed(sse(delta(1, "thinking_delta", words)))
    assert block.signed


def test_where_no_block_is_open_the_next_word_begins_one() -> None:
    """Of text, with the next number; white space alone begins none."""
    for words in (["x"], ["\n", "x"], []):
        one = encoder()
        body = raw(one, START, *block(0, "thinking", ("thinking_delta", "hm"), ("signature_delta", "E")), *said(1, "a"))
        one.resume("")
        body += b"".join(one.encode([Delta(word)]) for word in words) + one.encode([Finished(Finish.STOP)])
        body += one.end(Usage(1, 1))
        check_messages(body)
        assert [b.text for b in accumulated(body).content[1:]] == (["a", "".join(words)] if words else ["a"])


def test_blocks_that_nobody_ended_are_ended_first() -> None:
    """A caller that takes a block at its end must see each: those before ours, and one that only this dialect has."""
    one = encoder()
    body = raw(
        one, START, opened(0, "text"), delta(0, "text_delta", "a"), opened(1, "text"), delta(1, "text_delta", "b")
    )
    one.resume("b")
    sent = one.encode([Delta("c")])
    assert [(f["type"], f["index"]) for f in payloads(sent)] == [("content_block_stop", 0), ("content_block_delta", 1)]
    assert accumulated(body + sent + one.end(Usage(1, 1))).content[1].text == "bc"
    one = encoder()
    body = raw(
        one,
        START,
        *said(0, "a"),
        opened(1, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}),
    )
    one.resume("")
    body += one.end(Usage(1, 1))
    assert [f["index"] for f in payloads(body) if f["type"] == "content_block_stop"] == [0, 1]
    assert accumulated(body).stop_reason == "end_turn"


def test_blocks_under_one_number_are_as_many_as_began() -> None:
    """The SDK finds a block by its place: ours is the next one (fixture one_number_for_all_blocks)."""
    follower = BlockFollower()
    for frame in (*said(0, "a"), *said(0, "b")):
        follower.feed(sse(frame))
    assert (follower.next_index, follower.leave()) == (2, (None, []))


def test_behind_a_resume_nothing_is_raw_any_more() -> None:
    """A keep-alive is the same as ever, a late join changes nothing, and a failure is an error event (12.10)."""
    one = encoder()
    body = raw(one, START, opened(0, "text"), delta(0, "text_delta", "a"))
    one.resume("a")
    one.join(b"")
    assert one.keep_alive() == PING
    body += one.encode([Started("msg_other", "m2", 5), Delta("b")])
    assert [f["type"] for f in payloads(one.fail(Truncated(), now=1))] == ["error"]
    body += one.end(Usage(1, 1))
    check_messages(body)
    message = accumulated(body)
    assert (message.id, message.content[0].text, message.stop_reason) == ("msg_01Up", "ab", "end_turn")


def test_frames_of_any_spacing_are_followed() -> None:
    """Data over several lines, members that nobody knows, no name, a foreign line end: as a decoder reads them."""
    follower = BlockFollower()
    follower.feed(b'data: {"index": 0,\ndata:  "new": [1],\ndata: "type" : "content_block_start",'
                  b' "content_block": {"type": "thinking", "new": {"type": "text"}}}\r\n\r\n')  # fmt: skip
    follower.feed(
        b'event: content_block_delta\ndata:{"index":0,"delta":{"type":"signature_delta","signature":"E"}}\n\n'
    )
    block, left = follower.leave()
    assert block is not None
    assert (block.index, block.kind, block.signed, left, follower.next_index) == (0, BlockKind.REASONING, True, [], 1)


@pytest.mark.parametrize(
    "frame",
    [
        b"data: <html>\n\n",
        b"\n\n",
        b": comment\n\n",
        b'event: content_block_start\ndata: {"type":7,"index":"x","content_block":null}\n\n',
        b'event: content_block_delta\ndata: {"index":-1,"delta":{"type":{}}}\n\n',
        b'event: content_block_stop\ndata: {"index":99}\n\n',
        b'event: content_block_stop\ndata: {"index":[]}\n\n',
        b'event: x\ndata: {"type":"content_block_start","index":true,"content_block":{"type":["text"]}}\n\n',
        b'data: {"type":"content_block_delta","delta":3}\n\n',
    ],
)
def test_what_nobody_can_read_is_passed_over(frame: bytes) -> None:
    """To follow never raises: the caller has seen it, whatever it is."""
    one = encoder()
    one.follow(frame)
    one.join(frame)
    one.resume("")
    payloads(one.encode([Delta("x"), Finished(Finish.STOP)]) + one.end(Usage(1, 1)))
