"""A provider's own Responses frames that break off, gone on with by the encoder, read back by the openai SDK's helpers."""

import json
from pathlib import Path
from typing import Any

import pytest

from hermes_router.core.content import Seal
from hermes_router.core.errors import Truncated
from hermes_router.core.events import BlockKind, ChatEvent, Closed, Delta, Finish, Finished, Opened, Started, Usage
from hermes_router.wire.responses.encoder import ResponsesEncoder
from hermes_router.wire.responses.follow import ItemFollower
from hermes_router.wire.seals import unwrap

from ..left_open import LeftOpen, left_open
from ..responses_streams import (
    INCLUDE,
    ORIGIN,
    added,
    answered,
    check_caller,
    created,
    decoder,
    delta,
    done,
    encoder,
    frames_of,
    message,
    said,
    sse,
)

ROOT = Path(__file__).parents[1] / "fixtures" / "openai_responses"
CASES = sorted(path.parent.name for path in ROOT.glob("*/upstream.sse"))
OTHER = "other/model-2"
MORE = " \u2013 and \u2028 on"
CALL: list[ChatEvent] = [Opened(BlockKind.TOOL_CALL, "call_9", "f"), Delta('{"x":'), Delta("1}"), Closed()]
TEXTS = ("response.output_text.delta", "response.refusal.delta")
THOUGHTS = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
ENDS = ("response.completed", "response.incomplete", "response.failed")


def go_on(one: ResponsesEncoder, seen: LeftOpen, *more: ChatEvent, reason: Finish = Finish.STOP) -> bytes:
    """What another provider says behind it, event by event; a thought is over first."""
    one.origin = OTHER
    events: list[ChatEvent] = [Closed(), Opened(BlockKind.TEXT)] if seen.kind is BlockKind.REASONING else []
    events += [Delta(MORE), Delta("!"), Closed(), *more, Finished(reason)]
    return b"".join(one.encode([event]) for event in events) + one.end(Usage(100, 50, 80))


def frames(body: bytes) -> list[dict[str, Any]]:
    """The payloads of any frames, under the names of their events where they have no type."""
    found = []
    for part in body.split(b"\n\n"):
        if part:
            name, _, data = part.rpartition(b"\ndata: ")
            found.append({"type": name.removeprefix(b"event: ").decode(), **json.loads(data.removeprefix(b"data: "))})
    return found


def shown(body: bytes, kinds: tuple[str, ...], item_type: str) -> str:
    """All deltas of these kinds in some frames; what whole items say of which there was none."""
    said: dict[int, str] = {}
    for frame in frames(body):
        if frame["type"] in kinds:
            said[frame["output_index"]] = said.get(frame["output_index"], "") + frame["delta"]
        elif frame["type"] == "response.output_item.done" and frame["item"]["type"] == item_type:
            said.setdefault(frame["output_index"], texts(frame["item"], "content") + texts(frame["item"], "summary"))
    return "".join(said.values())


def texts(item: dict[str, Any], slot: str) -> str:
    """What the parts of an item say."""
    return "".join(part.get("text", part.get("refusal", "")) for part in item.get(slot) or [])


def taken(body: bytes) -> bool:
    """Whether the SDK takes what came, as it came."""
    try:
        with answered(body).responses.stream(model="m", input="x") as stream:
            list(stream)
    except Exception:  # noqa: BLE001 - it asserts, and looks things up that are not there
        return False
    return True


@pytest.mark.parametrize("pings", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_stream_that_broke_off_anywhere_is_gone_on_with(case: str, pings: bool) -> None:
    """One response, in which our text follows what was shown, wherever the provider's frames end (2.14)."""
    body = (ROOT / case / "upstream.sse").read_bytes()
    for most in range(body.replace(b"\r\n", b"\n").count(b"\n\n") + 2):
        one = encoder(include=INCLUDE)
        seen = left_open(body, decoder(), one, most=most, pings=pings)
        if seen is None:
            continue
        ours = go_on(one, seen, *CALL, reason=Finish.TOOL_CALLS)
        last = frames_of(ours)[-1]
        assert (last["type"], last["response"]["usage"]["total_tokens"]) == ("response.completed", 150)
        output = last["response"]["output"]
        messages = "".join(texts(item, "content") for item in output if item["type"] == "message")
        assert messages == shown(seen.sse, TEXTS, "message") + MORE + "!"
        thoughts = [item for item in output if item["type"] == "reasoning"]
        assert "".join(texts(t, "summary") + texts(t, "content") for t in thoughts) == shown(
            seen.sse, THOUGHTS, "reasoning"
        )
        assert [item["arguments"] for item in output if item["type"] == "function_call"] == ['{"x":1}']
        whole = seen.sse + ours
        numbers = [frame["sequence_number"] for frame in frames_of(ours)]
        before = frames(seen.sse)[-1].get("sequence_number", -1)
        assert numbers == list(range(before + 1, before + 1 + len(numbers)))
        if taken(seen.sse):
            with answered(whole).responses.stream(model="m", input="x") as stream:
                kinds = [event.type for event in stream]
                response = stream.get_final_response()
            assert (kinds.count("response.created"), kinds[-1]) == (1, "response.completed")
            assert response.id == "resp_up" or case == "no_created"
            assert [item.type for item in response.output] == [item["type"] for item in output]
            for event in answered(whole).responses.create(model="m", input="x", stream=True):
                assert event.type


def test_our_frames_keep_the_grammar_of_the_dialect() -> None:
    """Where the provider's do: ids and places that stand, whole texts at the end, output that is what was done."""
    for case in ("text", "thought_in_two_parts", "thought_of_an_open_model", "parallel_calls"):
        body = (ROOT / case / "upstream.sse").read_bytes()
        for most in range(body.count(b"\n\n")):
            one = encoder()
            seen = left_open(body, decoder(), one, most=most)
            if seen is None:
                continue
            whole = seen.sse + go_on(one, seen, *CALL, reason=Finish.TOOL_CALLS)
            given = frames(whole)
            if given[1]["type"] != "response.in_progress":  # the checker wants it
                given.insert(1, {**given[0], "type": "response.in_progress"})
                given = [{**frame, "sequence_number": number} for number, frame in enumerate(given)]
                whole = sse(*given)
            check_caller(whole)


def raw(one: ResponsesEncoder, *frames: dict[str, Any] | bytes) -> bytes:
    """Frames that are shown as they come: all are followed, and the last joined."""
    sent = sse(*frames)
    one.identify("resp_up", "up-1", 1_789_999_995)
    for part in sent.split(b"\n\n")[:-1]:
        one.follow(part + b"\n\n")
        one.join(part + b"\n\n")
    return sent


def part_of(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}


def begun(index: int, item_id: str, content_index: int = 0) -> dict[str, Any]:
    """A part of a message begins."""
    head = {"type": "response.content_part.added", "item_id": item_id, "output_index": index}
    return {**head, "content_index": content_index, "part": part_of("")}


def text(index: int, item_id: str, words: str, content_index: int = 0) -> dict[str, Any]:
    """A delta of a message."""
    return delta("output_text", index, item_id, words, content_index=content_index, logprobs=[])


def test_text_goes_on_in_the_item_that_is_open() -> None:
    """Its id, its place, its members and its number stand; its end holds the whole text, theirs and ours."""
    one = encoder()
    item = {**message("msg_up%d"), "phase": "final_answer", "status": "in_progress"}
    body = raw(
        one,
        created(),
        added(0, message("msg_0")),
        done(0, message("msg_0", "a")),
        added(1, item),
        begun(1, "msg_up%d"),
        text(1, "msg_up%d", "b"),
    )
    one.resume("\n\nb")
    sent = one.encode([Delta("c")]) + one.encode([Closed(), Finished(Finish.STOP)]) + one.end(Usage(1, 1))
    ours = frames_of(sent)
    assert [(f["type"], f["sequence_number"]) for f in ours] == [
        ("response.output_text.delta", 6),
        ("response.output_text.done", 7),
        ("response.content_part.done", 8),
        ("response.output_item.done", 9),
        ("response.completed", 10),
    ]
    assert {(f["item_id"], f["output_index"], f["content_index"]) for f in ours[:3]} == {("msg_up%d", 1, 0)}
    assert (ours[0]["delta"], ours[1]["text"], ours[2]["part"]["text"]) == ("c", "bc", "bc")
    whole = {**item, "status": "completed", "content": [part_of("bc")]}
    assert ours[3]["item"] == whole
    assert ours[4]["response"]["output"] == [message("msg_0", "a"), whole]
    assert ours[4]["response"]["id"] == "resp_up"
    with answered(body + sent).responses.stream(model="m", input="x") as stream:
        assert stream.get_final_response().output_text == "abc"


def test_an_answer_that_was_cut_at_its_length_is_incomplete() -> None:
    """So is the item that another had begun."""
    one = encoder()
    raw(one, created(), added(0, message("msg_1", status="in_progress")), begun(0, "msg_1"), text(0, "msg_1", "a"))
    one.resume("a")
    last = frames_of(one.encode([Delta("b"), Closed(), Finished(Finish.LENGTH)]) + one.end(Usage(1, 1)))[-1]
    assert last["type"] == "response.incomplete"
    assert [(item["status"], texts(item, "content")) for item in last["response"]["output"]] == [("incomplete", "ab")]


@pytest.mark.parametrize(("behind", "blank"), [(False, ""), (True, ""), (True, "\n\n"), (False, "\n\n")])
def test_a_blank_line_between_messages_is_no_text_of_theirs(behind: bool, blank: str) -> None:
    """The events part a second message from the first by one; what a provider itself says first is its own."""
    one = encoder()
    first = said(0, "msg_0", "x") if behind else []
    at = len(first) // 3
    raw(one, created(), *first, added(at, message("msg_1")), begun(at, "msg_1"), text(at, "msg_1", blank + "a"))
    one.resume(("\n\n" if behind else "") + blank + "a and plain text")
    item = frames_of(one.encode([Delta("!"), Finished(Finish.STOP)]) + one.end(Usage(1, 1)))[-1]["response"]["output"]
    assert texts(item[-1], "content") == blank + "a and plain text!"


def test_parts_that_were_over_stand() -> None:
    """Of a message of two parts the first is as it came, with all of its members; citations of the open one stay."""
    one = encoder()
    note = {"type": "url_citation", "url": "https://a.example", "title": "a", "start_index": 0, "end_index": 1}
    at = {"item_id": "msg_1", "output_index": 0}
    first = part_of("one", annotations=[note], new=1)
    body = raw(
        one,
        created(),
        added(0, message("msg_1", status="in_progress")),
        begun(0, "msg_1"),
        text(0, "msg_1", "one"),
        {"type": "response.output_text.done", **at, "content_index": 0, "text": "one", "logprobs": []},
        {"type": "response.content_part.done", **at, "content_index": 0, "part": first},
        begun(0, "msg_1", 1),
        text(0, "msg_1", "tw", 1),
        {"type": "response.output_text.annotation.added", **at, "content_index": 1, "annotation_index": 0,
         "annotation": note},
    )  # fmt: skip
    one.resume("onetw")
    sent = one.encode([Delta("o")]) + one.encode([Finished(Finish.STOP)]) + one.end(Usage(1, 1))
    item = frames_of(sent)[-1]["response"]["output"][0]
    assert item["content"] == [first, part_of("two", annotations=[note])]
    assert {f["content_index"] for f in frames_of(sent)[:3]} == {1}
    with answered(body + sent).responses.stream(model="m", input="x") as stream:
        assert stream.get_final_response().output_text == "onetwo"


def test_parts_that_nobody_began_or_ended_are_one() -> None:
    """Where a provider tells no parts but in its deltas, none of the text is lost."""
    one = encoder()
    raw(one, created(), added(0, message("msg_1")), text(0, "msg_1", "a"), text(0, "msg_1", "b", 1))
    one.resume("ab and plain")
    last = frames_of(one.encode([Delta("!"), Finished(Finish.STOP)]) + one.end(Usage(1, 1)))[-1]
    assert texts(last["response"]["output"][0], "content") == "ab and plain!"


def test_a_part_behind_one_that_is_over_is_begun() -> None:
    """At the first word of ours: what was said before stands, and where none comes nothing is begun."""
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    shown = [created(), added(0, message("msg_1")), begun(0, "msg_1"), text(0, "msg_1", "a"),
             {"type": "response.output_text.done", **at, "text": "a", "logprobs": []},
             {"type": "response.content_part.done", **at, "part": part_of("a")}]  # fmt: skip
    for words in (["b", "c"], []):
        one = encoder()
        body = raw(one, *shown)
        one.resume("a")
        body += b"".join(one.encode([Delta(word)]) for word in words) + one.encode([Finished(Finish.STOP)])
        body += one.end(Usage(1, 1))
        content = frames_of(body)[-1]["response"]["output"][0]["content"]
        assert content == ([part_of("a"), part_of("bc")] if words else [part_of("a")])
        with answered(body).responses.stream(model="m", input="x") as stream:
            assert stream.get_final_response().output_text == "a" + "".join(words)


def test_a_refusal_goes_on_as_one() -> None:
    """A part is of one kind: what follows it within the block is said in the same events."""
    one = encoder()
    raw(one, created(), added(0, message("msg_1")), delta("refusal", 0, "msg_1", "I", content_index=0))
    one.resume("I")
    ours = frames_of(one.encode([Delta(" can")]) + one.encode([Finished(Finish.STOP)]) + one.end(Usage(1, 1)))
    assert [f["type"] for f in ours[:2]] == ["response.refusal.delta", "response.refusal.done"]
    assert ours[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "I can"}]


def thought(**more: Any) -> dict[str, Any]:
    return {"id": "rs_1", "type": "reasoning", "summary": [], **more}


@pytest.mark.parametrize("told", [[], [Closed()]])
@pytest.mark.parametrize(("include", "marked"), [(INCLUDE, True), ([], False)])
def test_a_thought_that_was_cut_is_marked_by_its_maker(told: list[ChatEvent], include: list[str], marked: bool) -> None:
    """Where it was asked for; half a seal of its maker's is none (2.14); then comes the text, at the next place."""
    one = encoder(include=include)
    at = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    body = raw(
        one,
        created(),
        added(0, thought(encrypted_content="half")),
        {"type": "response.reasoning_summary_part.added", **at, "part": {"type": "summary_text", "text": ""}},
        delta("reasoning_summary_text", 0, "rs_1", "hm", summary_index=0),
    )
    one.origin = OTHER
    one.resume("hm")
    body += one.encode([*told, Opened(BlockKind.TEXT), Delta("a"), Closed(), Finished(Finish.STOP)]) + one.end(
        Usage(1, 1)
    )
    with answered(body).responses.stream(model="m", input="x") as stream:
        response: Any = stream.get_final_response()
    first, second = frames_of(body)[-1]["response"]["output"]
    mark = first.pop("encrypted_content", None)
    assert first == {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    assert (unwrap(mark) if mark else None) == (Seal("", "none", "", ORIGIN) if marked else None)
    assert (response.output[0].summary[0].text, response.output_text, second["status"]) == ("hm", "a", "completed")


def test_a_thought_of_ours_that_was_cut_is_marked_by_its_maker() -> None:
    """The same where nothing was raw: the encoder goes from one provider to the next."""
    one = encoder(include=INCLUDE)
    sent = one.encode([Started("resp_1", "m", 1), Opened(BlockKind.REASONING), Delta("hm")])
    one.origin = OTHER
    sent += one.encode([Closed()]) + one.encode([Opened(BlockKind.TEXT), Delta("a"), Closed(), Finished(Finish.STOP)])
    first, second = check_caller(sent + one.end(Usage(1, 1)))[-1]["response"]["output"]
    assert unwrap(first["encrypted_content"]) == Seal("", "none", "", ORIGIN)
    assert texts(second, "content") == "a"


def summary(index: int, words: str, place: int = 0) -> dict[str, Any]:
    """A delta of a thought."""
    return delta("reasoning_summary_text", place, "rs_1", words, summary_index=index)


def test_a_thought_in_parts_goes_on_in_the_last() -> None:
    """However many deltas of one part come, and whatever they say of numbers; parts that nobody ended are one."""
    at = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    over = {"type": "response.reasoning_summary_text.done", **at, "text": "a b c"}
    for ended, kept in ((True, ["a b c", '"summary_index":7, d']), (False, ['a b c\n\n"summary_index":7, d'])):
        one = encoder()
        shown = [summary(0, "a"), summary(0, " b"), summary(0, " c"), *([over] if ended else [])]
        raw(one, created(), added(0, thought()), *shown, summary(1, '"summary_index":7,'), summary(1, " d"))
        one.resume('a b c\n\n"summary_index":7, d')
        ours = frames_of(one.encode([Opened(BlockKind.TEXT), Delta("x"), Finished(Finish.STOP)]) + one.end(Usage(1, 1)))
        item = ours[-1]["response"]["output"][0]
        assert [part["text"] for part in item["summary"]] == kept
        assert (ours[0]["type"], ours[0]["summary_index"]) == ("response.reasoning_summary_text.done", 1)


def test_the_first_item_that_is_open_goes_on() -> None:
    """As the events have it, which tell one block at a time; a delta of another is not taken for one more of it."""
    follower = ItemFollower()
    other = {**thought(), "id": "rs_2"}
    for frame in (added(0, thought()), added(1, other), summary(0, "a"), summary(0, "b"), summary(0, "c", 1),
                  done(0, thought()), summary(0, "d", 1)):  # fmt: skip
        follower.feed(sse(frame))
    item = follower.leave("cd")
    assert item is not None
    assert (item.id, item.index, item.pieces) == ("rs_2", 1, ["cd"])


def test_where_no_item_is_open_the_next_word_begins_one() -> None:
    """A message behind what is there, what only this dialect has included; none where no word comes."""
    search = {
        "id": "ws_1",
        "type": "web_search_call",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    for words in (["b", "c"], []):
        one = encoder()
        body = raw(one, created(), added(0, search), done(0, search), *said(1, "msg_1", "a"))
        one.resume("")
        body += b"".join(one.encode([Delta(word)]) for word in words) + one.encode([Finished(Finish.STOP)])
        body += one.end(Usage(1, 1))
        output = frames_of(body)[-1]["response"]["output"]
        assert output[0] == search
        assert [texts(item, "content") for item in output[1:]] == (["a", "bc"] if words else ["a"])
        assert all(f["output_index"] == 2 for f in frames_of(body) if f.get("item_id", "").startswith("msg_0"))


def test_keep_alives_take_no_number_of_the_providers_and_then_one_of_ours() -> None:
    """Among raw frames the last number is said again; behind a resume each has its own, whoever joins late."""
    one = encoder()
    raw(one, created(), added(0, message("msg_1")), text(0, "msg_1", "a"))
    sent = one.keep_alive()
    one.join(sse(created(), created(), created()).split(b"\n\n")[2] + b"\n\n")
    one.resume("a")
    one.join(b'data: {"sequence_number":77}\n\n')
    sent += one.keep_alive() + one.encode([Delta("b")]) + one.keep_alive()
    assert [f["sequence_number"] for f in frames_of(sent)] == [2, 3, 4, 5]


def test_a_failure_behind_raw_frames_shows_what_was_whole() -> None:
    """Before a resume and behind it; the item that is open is not among it."""
    for resumed in (False, True):
        one = encoder()
        raw(one, created(), *said(0, "msg_0", "a"), added(1, message("msg_1")), text(1, "msg_1", "b"))
        if resumed:
            one.resume("\n\nb")
        last = frames_of(one.fail(Truncated(), now=1))[-1]
        assert (last["type"], last["response"]["output"]) == ("response.failed", [message("msg_0", "a")])


def test_frames_of_any_spacing_are_followed() -> None:
    """Data over several lines, members that nobody knows, no name: what is kept of it fits into one line."""
    one = encoder()
    one.follow(b'data: {"type" : "response.output_item.done", "new": 1,\ndata:  "output_index": 0, "item" : {"id":\n'
               b'data: "msg_0", "type": "message",\r\ndata: "content": [ {"type": "output_text",\ndata: "text": "a"}]}}\n\n'
               )  # fmt: skip
    one.follow(
        b'event: response.output_item.added\ndata: {"output_index":1,"item":{ "type":"message","id":"msg_1"}}\n\n'
    )
    one.follow(b'event: response.output_text.delta\ndata:{"output_index":1,"content_index":0,"delta":"b"}\n\n')
    one.join(b"")
    one.resume("\n\nb")
    last = frames_of(one.encode([Delta("c"), Finished(Finish.STOP)]) + one.end(Usage(1, 1)))[-1]
    assert [texts(item, "content") for item in last["response"]["output"]] == ["a", "bc"]


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"",
        b'{"type":7}',
        b'{"type":"response.output_item.added","output_index":0}',
        b'{"type":"response.output_item.added","output_index":0,"item":null}',
        b'{"type":"response.output_item.added","output_index":-1,"item":{"type":["message"],"id":7}}',
        b'{"type":"response.output_item.done","output_index":"x","item":[]}',
        b'{"type":"response.output_item.done","item":null}',
        b'{"type":"response.content_part.added","output_index":0,"part":{"type":"hologram"}}',
        b'{"type":"response.content_part.done","output_index":0,"part":7}',
        b'{"type":"response.output_text.delta","output_index":{},"item_id":[],"delta":7}',
        b'{"type":"response.output_text.done","output_index":0,"text":null}',
        b'{"type":"response.output_text.annotation.added","output_index":0}',
    ],
)
def test_what_nobody_can_read_is_passed_over(data: bytes) -> None:
    """To follow never raises: the caller has seen it, whatever it is, and what we write is still whole."""
    for before in ([], [added(0, message("msg_1")), text(0, "msg_1", "a")]):
        one = encoder()
        raw(one, created(), *before)
        one.follow(b"event: x\ndata: %b\n\n" % data)
        one.resume("a" if before else "")
        last = frames_of(one.encode([Delta("x"), Finished(Finish.STOP)]) + one.end(Usage(1, 1)))[-1]
        assert texts(last["response"]["output"][-1], "content") == ("ax" if before else "x")


def test_an_item_that_is_said_twice_is_one() -> None:
    """Its second end is passed over, as the decoder does; items under one number are as many as began."""
    follower = ItemFollower()
    whole = message("msg_0", "a")
    for frame in (added(0, whole), done(0, whole), done(0, whole), added(0, message("msg_1", "b"))):
        follower.feed(sse(frame))
    assert ([json.loads(item) for _, item in follower.output], follower.next_index) == ([whole], 2)
