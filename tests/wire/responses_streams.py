"""Responses streams: to write, to decode, to check as a caller's, and to give to the openai SDK."""

import json
from typing import Any

import httpx2
import msgspec
import openai
from msgspec import Raw
from msgspec.structs import asdict

from hermes_router.core.chat import ChatRequest
from hermes_router.core.errors import UpstreamError
from hermes_router.core.events import ChatEvent, Delta, Failed, Finished, Usage, UsageSeen
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.responses.decoder import ResponsesDecoder, make_decoder
from hermes_router.wire.responses.encoder import ResponsesEncoder, make_encoder
from hermes_router.wire.sse import SSEDecoder

from .grammar import check_events
from .streams import NOW, in_band, new_ids

ENDS = ("response.completed", "response.incomplete", "response.failed")
INCLUDE = ["reasoning.encrypted_content"]
ORIGIN = "openai/gpt-6"


def inbound(**fields: Any) -> Inbound:
    """A caller's request with these fields."""
    body = {"model": "hermes-router", "input": "hi", "stream": True, **fields}
    raw = {name: Raw(json.dumps(value).encode()) for name, value in body.items()}
    return Inbound(ChatRequest("hermes-router", stream=True), raw, dialect="openai_responses")


# --- a caller's stream --------------------------------------------------------------------------------


def encoder(**fields: Any) -> ResponsesEncoder:
    """An encoder for a request with these fields."""
    one = make_encoder(inbound(**fields), prompt_tokens=9, new_id=new_ids(), now=NOW)
    one.origin = ORIGIN
    return one


def encode(events: list[ChatEvent], usage: Usage | None = None, **fields: Any) -> bytes:
    """A whole stream, event by event; a bad end where the last event is Failed."""
    one = encoder(**fields)
    out = b"".join(one.encode([event]) for event in events)
    last = events[-1]
    if isinstance(last, Failed):
        return out + one.fail(last.error, now=NOW)
    return out + one.end(usage or Usage(10, 5, 4, 2, written_tokens=1)) if isinstance(last, Finished) else out


def frames_of(sse: bytes) -> list[dict[str, Any]]:
    """The JSON of all frames; the name of each event is its type."""
    *blocks, rest = sse.split(b"\n\n")
    assert rest == b""
    frames = []
    for block in blocks:
        name, data = block.split(b"\n")
        frame = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + frame["type"].encode()
        frames.append(frame)
    return frames


def check_caller(sse: bytes) -> list[dict[str, Any]]:
    """Created, items one after another, one end: numbers without gaps, ids that stand, output that is what was said."""
    frames = frames_of(sse)
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    assert [frame["type"] for frame in frames[:2]] == ["response.created", "response.in_progress"]
    assert sum(frame["type"] == "response.created" for frame in frames) == 1
    assert all(frame["type"] not in ENDS for frame in frames[:-1])
    assert len({frame["response"]["id"] for frame in frames if "response" in frame}) == 1
    opened: dict[str, Any] | None = None
    said = ""
    done: list[dict[str, Any]] = []
    for frame in frames[2:]:
        kind = frame["type"]
        if kind == "response.output_item.added":
            assert opened is None, "an item inside another"
            assert frame["output_index"] == len(done)
            opened, said = frame["item"], ""
        elif kind == "response.output_item.done":
            assert opened is not None
            item = frame["item"]
            assert (item["id"], item["type"]) == (opened["id"], opened["type"])
            assert text_of(item) == said
            done.append(item)
            opened = None
        elif "item_id" in frame:
            assert opened is not None
            assert (frame["item_id"], frame["output_index"]) == (opened["id"], len(done))
            said += frame["delta"] if kind.endswith(".delta") else ""
        else:
            assert kind == "response.in_progress" or kind in ENDS, kind
    if frames[-1]["type"] in ENDS:
        assert frames[-1]["response"]["output"] == done
        assert len({item["id"] for item in done}) == len(done)
    return frames


def text_of(item: dict[str, Any]) -> str:
    """What an item says."""
    parts = item.get("content") or item.get("summary") or []
    return (
        "".join(part.get("text", part.get("refusal")) for part in parts)
        + item.get("arguments", "")
        + item.get("input", "")
    )


def answered(body: bytes, kind: str = "text/event-stream") -> openai.OpenAI:
    """The SDK, and somebody who answers it with these bytes."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": kind}, content=body)

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    return openai.OpenAI(api_key="k", base_url="http://sdk.invalid/v1", http_client=client, max_retries=0)


# --- an upstream's stream -----------------------------------------------------------------------------


def created(**more: Any) -> dict[str, Any]:
    """The first event, as OpenAI sends it."""
    response = {"id": "resp_up", "object": "response", "created_at": NOW - 5, "model": "up-1", "status": "in_progress"}
    return {"type": "response.created", "response": {**response, "output": [], **more}}


def added(index: int, item: dict[str, Any]) -> dict[str, Any]:
    """An item begins."""
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, item: dict[str, Any]) -> dict[str, Any]:
    """An item is over."""
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(kind: str, index: int, item_id: str, text: str, **more: Any) -> dict[str, Any]:
    """More of an item: `kind` is the middle of the event's name."""
    return {"type": f"response.{kind}.delta", "output_index": index, "item_id": item_id, "delta": text, **more}


def message(item_id: str, *texts: str, status: str = "completed") -> dict[str, Any]:
    """A message item."""
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": parts}


def function(item_id: str, call_id: str, name: str, arguments: str = "") -> dict[str, Any]:
    """A function call."""
    return {"id": item_id, "type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def said(index: int, item_id: str, *texts: str) -> list[dict[str, Any]]:
    """A whole message."""
    deltas = [delta("output_text", index, item_id, text, content_index=0) for text in texts]
    return [added(index, message(item_id)), *deltas, done(index, message(item_id, "".join(texts)))]


def called(index: int, item_id: str, call_id: str, name: str, *pieces: str) -> list[dict[str, Any]]:
    """A whole function call."""
    deltas = [delta("function_call_arguments", index, item_id, piece) for piece in pieces]
    whole = function(item_id, call_id, name, "".join(pieces))
    return [added(index, function(item_id, call_id, name)), *deltas, done(index, whole)]


def ended(kind: str = "completed", **more: Any) -> dict[str, Any]:
    """The last event."""
    response = {"id": "resp_up", "model": "up-1", "created_at": NOW - 5, "status": kind, "output": []}
    return {"type": f"response.{kind}", "response": {**response, "usage": USAGE, **more}}


USAGE = {
    "input_tokens": 1_000,
    "input_tokens_details": {"cached_tokens": 800, "cache_write_tokens": 50},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 1_030,
}


def sse(*frames: dict[str, Any] | bytes) -> bytes:
    """Frames as a body: named, and numbered in order."""
    parts = []
    for number, frame in enumerate(frames):
        if isinstance(frame, bytes):
            parts.append(frame)
        else:
            data = msgspec.json.encode({"sequence_number": number, **frame})
            parts.append(b"event: %b\ndata: %b\n\n" % (frame.get("type", "").encode(), data))
    return b"".join(parts)


def decoder() -> ResponsesDecoder:
    """A decoder with the simple classifier."""
    return make_decoder(in_band, new_id=new_ids(), now=NOW, model="asked", origin=ORIGIN)


def run(pieces: list[bytes], *, clean: bool = True, plain: bool = False) -> list[ChatEvent]:
    """What a lane makes of a body: its events, the last of them Failed where it is no good one.

    `plain` = text is asked for as the raw lane asks.
    """
    one, cutter = decoder(), SSEDecoder()
    events: list[ChatEvent] = []
    cut: UpstreamError | None = None
    try:
        for piece in [*pieces, None]:
            for frame in cutter.finish() if piece is None else cutter.feed(piece):
                data = frame.data
                text = one.plain_text(data) if plain and data and b"\n" not in data else None
                events.extend(one.feed(frame) if text is None else [Delta(text)])
    except UpstreamError as error:
        cut = error
    events.extend(one.finish_stream(clean=clean))
    if cut is not None:
        assert isinstance(events[-1], Failed)
        events[-1] = Failed(cut)
    return events


def decode(*frames: dict[str, Any] | bytes) -> list[ChatEvent]:
    """The events of a stream of frames."""
    events = run([sse(*frames)])
    check_events(events)
    return events


def error_of(events: list[ChatEvent]) -> UpstreamError:
    """The verdict of a stream that failed."""
    last = events[-1]
    assert isinstance(last, Failed), last
    return last.error


def line_of(event: ChatEvent) -> str:
    """An event as a line of `events.jsonl`: its name, then what it holds."""
    if isinstance(event, Failed):
        return json.dumps({"event": "Failed", "error": type(event.error).__name__})
    if isinstance(event, UsageSeen):
        usage = {key: value for key, value in event.usage._asdict().items() if value}
        return json.dumps({"event": "UsageSeen", "usage": usage})
    held = event._asdict() if isinstance(event, tuple) else asdict(event)
    values = {key: value for key, value in held.items() if value not in (None, "", {}, False, ())}
    return json.dumps({"event": type(event).__name__, **values})


def joined(events: list[ChatEvent]) -> list[ChatEvent]:
    """The same events with deltas of one block in one piece."""
    out: list[ChatEvent] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, Delta) and isinstance(last, Delta):
            out[-1] = Delta(last.text + event.text)
        else:
            out.append(event)
    return out
