"""Messages streams to feed and callers to read them: what the tests of this dialect share."""

import contextlib
import json
from typing import Any

import anthropic
import httpx2
from anthropic.types import RawMessageStreamEvent
from msgspec.structs import asdict
from pydantic import TypeAdapter

from hermes_router.core.chat import ChatRequest
from hermes_router.core.errors import Malformed, UpstreamError
from hermes_router.core.events import ChatEvent, Delta, Failed, Usage, UsageSeen
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.messages.decoder import MessagesDecoder, make_decoder
from hermes_router.wire.messages.encoder import MessagesEncoder, make_encoder
from hermes_router.wire.sse import SSEDecoder

from .streams import NOW, in_band, new_ids

ORIGIN = "up/claude-1"
INBOUND = Inbound(ChatRequest(model="hermes-router"), {}, dialect="anthropic_messages")
START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_01Up", "type": "message", "role": "assistant", "model": "up-1", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1},
    },
}  # fmt: skip
STOP: dict[str, Any] = {"type": "message_stop"}
EMPTY: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}
FRAME: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
SLOTS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


def opened(index: int, block: str | dict[str, Any]) -> dict[str, Any]:
    """A content_block_start."""
    return {
        "type": "content_block_start",
        "index": index,
        "content_block": EMPTY[block] if isinstance(block, str) else block,
    }


def tool(call_id: str = "toolu_1", name: str = "f", **more: Any) -> dict[str, Any]:
    """A tool_use block as a stream begins it."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": {}, **more}


def delta(index: int, kind: str, text: str) -> dict[str, Any]:
    """A content_block_delta."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, SLOTS[kind]: text}}


def closed(index: int) -> dict[str, Any]:
    """A content_block_stop."""
    return {"type": "content_block_stop", "index": index}


def ended(reason: str | None = "end_turn", sequence: str | None = None, **usage: int) -> dict[str, Any]:
    """A message_delta."""
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": sequence},
        "usage": {"output_tokens": 5, **usage},
    }


def block(index: int, first: str | dict[str, Any], *deltas: tuple[str, str]) -> list[dict[str, Any]]:
    """A whole block: its beginning, its deltas and its end."""
    return [opened(index, first), *(delta(index, kind, text) for kind, text in deltas), closed(index)]


def said(index: int, *texts: str) -> list[dict[str, Any]]:
    """A whole block of text."""
    return block(index, "text", *(("text_delta", text) for text in texts))


def called(index: int, call_id: str, name: str, *pieces: str) -> list[dict[str, Any]]:
    """A whole call."""
    return block(index, tool(call_id, name), *(("input_json_delta", piece) for piece in pieces))


def sse(*frames: dict[str, Any] | bytes) -> bytes:
    """Frames as a body, each under its event's name."""
    return b"".join(
        f if isinstance(f, bytes) else b"event: %b\ndata: %b\n\n" % (f["type"].encode(), json.dumps(f).encode())
        for f in frames
    )


def decoder() -> MessagesDecoder:
    """A decoder with the simple classifier."""
    return make_decoder(in_band, new_id=new_ids(), now=NOW, model="asked", origin=ORIGIN)


def encoder(*, prompt_tokens: int = 7) -> MessagesEncoder:
    """An encoder as an exchange makes it."""
    one = make_encoder(INBOUND, prompt_tokens=prompt_tokens, new_id=new_ids(), now=NOW)
    one.origin = ORIGIN
    return one


def run(pieces: list[bytes], *, clean: bool = True, plain: bool = False) -> list[ChatEvent]:
    """All events of a stream, Failed for what was raised; `plain` = the hot path is asked first, as the lanes do."""
    one, frames = decoder(), SSEDecoder()
    out: list[ChatEvent] = []
    try:
        for piece in pieces:
            for frame in frames.feed(piece):
                out.extend(_fed(one, frame, plain=plain))
        with contextlib.suppress(Malformed):  # the last line had no end: it says nothing of those before it
            for frame in frames.finish():
                out.extend(_fed(one, frame, plain=plain))
    except UpstreamError as error:
        rest = one.finish_stream(clean=clean)
        return [*out, *rest[:-1], Failed(error)]
    return [*out, *one.finish_stream(clean=clean)]


def _fed(one: MessagesDecoder, frame: Any, *, plain: bool) -> list[ChatEvent]:
    text = one.plain_text(frame.data) if plain and frame.data and b"\n" not in frame.data else None
    return [Delta(text)] if text is not None else one.feed(frame)


def decode(*frames: dict[str, Any] | bytes, clean: bool = True) -> list[ChatEvent]:
    """All events of a stream."""
    return run([sse(*frames)], clean=clean)


def encode(events: list[ChatEvent], usage: Usage | None = None, *, one: MessagesEncoder | None = None) -> bytes:
    """The caller's bytes, one event at a time; a bad end where the last event is Failed."""
    one = one or encoder()
    out = b"".join(one.encode([event]) for event in events)
    if isinstance(events[-1], Failed):
        return out + one.fail(events[-1].error, now=NOW)
    return out + one.end(usage or Usage(10, 5))


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


def payloads(body: bytes) -> list[dict[str, Any]]:
    """The frames of what a caller was sent: each under an `event:` that is its type, comments and all else nowhere."""
    found = []
    for part in body.split(b"\n\n"):
        if not part:
            continue
        name, _, data = part.partition(b"\n")
        assert name.startswith(b"event: "), part
        assert data.startswith(b"data: "), part
        assert b"\n" not in data, part
        frame = json.loads(data[6:])
        assert frame["type"] == name[7:].decode(), part
        found.append(frame)
    return found


def check_messages(body: bytes) -> list[dict[str, Any]]:
    """The grammar of providers.md 12.10; the frames without pings."""
    frames = [frame for frame in payloads(body) if frame["type"] != "ping"]
    kinds = [frame["type"] for frame in frames]
    good = "error" not in kinds
    if not good:
        assert kinds[-1] == "error"
        assert "message_stop" not in kinds
        kinds.pop()
    if not kinds:
        return frames
    assert kinds[0] == "message_start"
    assert kinds.count("message_start") == 1
    assert frames[0]["message"]["id"].startswith("msg_")
    if good:
        assert kinds[-2:] == ["message_delta", "message_stop"]
        assert frames[-2]["delta"]["stop_reason"]
        assert frames[-2]["usage"]["output_tokens"] >= 0
    _check_blocks(frames[1 : -2 if good else -1], cut=not good)
    return frames


def _check_blocks(frames: list[dict[str, Any]], *, cut: bool) -> None:
    """Blocks one after another under indexes without gaps; a thought is signed, whole and last."""
    index, kind, signed, arguments = -1, "", False, ""
    for frame in frames:
        match frame["type"]:
            case "content_block_start":
                assert not kind, "a block inside another"
                index += 1
                kind, signed, arguments = frame["content_block"]["type"], False, ""
                assert kind != "tool_use" or frame["content_block"]["input"] == {}
                assert kind != "redacted_thinking" or frame["content_block"]["data"]
            case "content_block_delta":
                assert frame["delta"]["type"] in {
                    "text": ("text_delta",), "thinking": ("thinking_delta", "signature_delta"),
                    "tool_use": ("input_json_delta",),
                }[kind]  # fmt: skip
                assert not signed, "something behind the signature"
                signed = frame["delta"]["type"] == "signature_delta"
                assert frame["delta"][SLOTS[frame["delta"]["type"]]], "an empty delta"
                arguments += frame["delta"].get("partial_json", "")
            case "content_block_stop":
                assert kind, "stopped twice"
                assert kind != "thinking" or signed
                assert kind != "tool_use" or arguments
                kind = ""
            case other:
                raise AssertionError(f"{other} among the blocks")
        assert frame["index"] == index
    assert cut or not kind, "the last block never stopped"


def client(body: bytes, *, status: int = 200, kind: str = "text/event-stream", **headers: str) -> anthropic.Anthropic:
    """The SDK of a caller who is answered with these bytes."""

    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={"content-type": kind, **headers}, content=body)

    transport = httpx2.MockTransport(answer)
    return anthropic.Anthropic(
        api_key="k", base_url="http://router.invalid", max_retries=0, http_client=httpx2.Client(transport=transport)
    )


def accumulated(body: bytes) -> Any:
    """What the SDK's own accumulator makes of a stream; each frame must be one that its types know. Raises as it does."""
    for frame in payloads(body):
        if frame["type"] not in {"ping", "error"}:
            FRAME.validate_python(frame)
    with client(body) as one, one.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
        return stream.get_final_message()
