"""Chat streams to feed and lanes to feed them to; `tr` feeds each sample in many ways."""

import itertools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hermes_router.core.chat import ChatRequest
from hermes_router.core.errors import ServerFailed, UpstreamError
from hermes_router.core.events import ChatEvent, Usage
from hermes_router.wire.chat.decoder import ChatDecoder
from hermes_router.wire.chat.encoder import ChatEncoder
from hermes_router.wire.chat.passthrough import StreamLane
from hermes_router.wire.lane import Lane
from hermes_router.wire.splice import Splice

DONE = b"data: [DONE]\n\n"
NOW = 1_790_000_000
REQUEST = ChatRequest(model="hermes-router")


def in_band(error: object) -> UpstreamError:
    """The classifier, as simple as can be."""
    return ServerFailed(json.dumps(error, default=str))


def new_ids() -> Any:
    """Numbered ids."""
    numbers = itertools.count(1)
    return lambda prefix: f"{prefix}{next(numbers):024d}"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk as OpenAI sends it; `more` replaces or adds top-level keys."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    head = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": NOW - 5, "model": "up-1"}
    return {**head, "choices": [choice], **more}


def sse(*frames: dict[str, Any] | bytes, done: bool = True) -> bytes:
    """Frames as a body."""
    parts = [f if isinstance(f, bytes) else b"data: " + json.dumps(f).encode() + b"\n\n" for f in frames]
    return b"".join(parts) + (DONE if done else b"")


def say(*texts: str) -> list[dict[str, Any]]:
    """Role, then texts."""
    return [chunk({"role": "assistant", "content": ""}), *(chunk({"content": text}) for text in texts)]


def call(
    index: int | None, call_id: str | None, name: str | None, arguments: Any = None, **more: Any
) -> dict[str, Any]:
    """A delta with one piece of a tool call; None = the key is absent."""
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    one = {k: v for k, v in (("index", index), ("id", call_id), ("type", "function")) if v is not None}
    return {"tool_calls": [{**one, "function": function, **more}]}


def decoder(**kwargs: Any) -> ChatDecoder:
    """A decoder with the simple classifier."""
    return ChatDecoder(in_band, new_id=new_ids(), now=NOW, **kwargs)


def decode(*frames: dict[str, Any], clean: bool = True, **kwargs: Any) -> list[ChatEvent]:
    """All events of a stream of chunks, its end included."""
    one = decoder(**kwargs)
    out: list[ChatEvent] = []
    for frame in frames:
        out.extend(one.events(one.parse(json.dumps(frame).encode())))
    return [*out, *one.finish_stream(clean=clean)]


@dataclass
class Played:
    """What came of a stream: the caller's bytes, usage and `[DONE]` included where it ended well."""

    sse: bytes
    lane: Lane
    splice: Splice

    @property
    def error(self) -> UpstreamError | None:
        return self.lane.error


def new_splice(*, include_usage: bool = False, **kwargs: Any) -> Splice:
    """A splice over a new encoder."""
    return Splice(ChatEncoder(include_usage=include_usage), **kwargs)


def drive(lane: Lane, pieces: Iterator[bytes] | list[bytes], *, clean: bool = True) -> bytes:
    """Feed as an attempt does: nothing after a verdict."""
    out = []
    for piece in pieces:
        out.append(lane.feed(piece))
        if lane.over or lane.error is not None:
            break
    else:
        out.append(lane.end(clean=clean))
    return b"".join(out)


def play(
    body: bytes,
    pieces: list[bytes] | None = None,
    *,
    clean: bool = True,
    include_usage: bool = False,
    cap_tokens: int | None = None,
    splice: Splice | None = None,
    **kwargs: Any,
) -> Played:
    """One attempt over a stream, from its first byte to the caller's last."""
    splice = splice or new_splice(include_usage=include_usage, cap_tokens=cap_tokens)
    lane = StreamLane(splice, decoder(**kwargs))
    out = drive(lane, [body] if pieces is None else pieces, clean=clean)
    if lane.over:
        out += splice.encoder.end(lane.usage or Usage(1, 1, estimated=True))
    return Played(out, lane, splice)


def cuts(body: bytes, rng: random.Random) -> list[bytes]:
    """The body in pieces of random sizes."""
    pieces = []
    while body:
        size = rng.choice((1, 2, 3, 7, 40, 200, 1_000))
        pieces.append(body[:size])
        body = body[size:]
    return pieces


def events(body: bytes) -> list[bytes]:
    """The body in pieces of one event each, as most upstreams send it: what the fast path is made for."""
    *whole, rest = body.split(b"\n\n")
    return [*(piece + b"\n\n" for piece in whole), *([rest] if rest else [])]


def ways(body: bytes, *, seed: int = 7) -> list[list[bytes]]:
    """A body whole, byte by byte, event by event, and cut at random three times."""
    rng = random.Random(seed)
    byte_by_byte = [body[i : i + 1] for i in range(len(body))]
    return [[body], byte_by_byte, events(body), *(cuts(body, rng) for _ in range(3))]


def tr(body: bytes, **kwargs: Any) -> Played:
    """Play a body in all ways: the caller's bytes and the verdict never depend on how the network cut it."""
    first, *others = [play(body, pieces, **kwargs) for pieces in ways(body)]
    for other in others:
        assert other.sse == first.sse
        assert (type(other.error), str(other.error)) == (type(first.error), str(first.error))
        assert other.lane.over == first.lane.over
    return first
