"""Brings an answer to the caller's socket, well or as a behaviour wants it brought.

Owns the writing: pace, stalls, cuts, compression, lengths that lie. It must never decide what an answer
says; it gets frames and a completion, ready.
"""

import asyncio
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from aiohttp import web

from hermes_router.sandbox.faults import Behaviour, Ending
from hermes_router.sandbox.frames import Hand, encode
from hermes_router.sandbox.values import CONTENT_KINDS, Frame, Refusal

Outcome = Literal["finished", "cut"]
_LAST_KINDS = frozenset({"finish", "usage", "done"})


@dataclass(frozen=True, slots=True)
class Parcel:
    """One answer, ready: frames for a stream, else a completion. `headers` are the provider's own."""

    hand: Hand
    behaviour: Behaviour
    frames: Sequence[Frame]
    completion: dict[str, Any] | None
    headers: Mapping[str, str]
    pace_s: float


def plain(refusal: Refusal) -> web.Response:
    """A refusal as an HTTP answer."""
    body = refusal.body if isinstance(refusal.body, bytes) else json.dumps(refusal.body).encode()
    return web.Response(
        status=refusal.status, body=body, headers={"content-type": refusal.content_type, **refusal.headers}
    )


async def deliver(request: web.BaseRequest, parcel: Parcel) -> tuple[web.StreamResponse, Outcome]:
    """Send an answer; returns once it is out or was cut on purpose.

    Raises ConnectionError where the caller has gone; the server cancels this where it notices first.
    """
    if parcel.completion is not None:
        return await _deliver_whole(request, parcel, parcel.completion)
    return await _deliver_stream(request, parcel)


async def mute(request: web.BaseRequest, behaviour: Behaviour) -> web.StreamResponse:
    """No HTTP answer at all. The response that comes back only satisfies the server; nobody sees it."""
    behaviour.reached.set()
    transport = cast("asyncio.Transport", request.transport)
    if behaviour.delivery.mute == "head":
        await behaviour.gate.wait()
        return plain(Refusal(504, {"error": {"message": "at last"}}))
    if behaviour.delivery.mute == "garbage":
        transport.write(b"\x15\x03\x01\x00\x02\x02\x50 this is not HTTP\r\n\r\n")
        transport.close()
    else:
        _end(request, "reset")
    return web.Response()


def _end(request: web.BaseRequest, ending: Ending) -> None:
    transport = request.transport
    if transport is None or ending == "clean":
        return
    if ending == "abrupt":
        transport.close()
        return
    if raw := transport.get_extra_info("socket"):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _packer(behaviour: Behaviour) -> Callable[[bytes], bytes]:
    """Compression of a stream, each piece flushed so that it arrives by itself."""
    if not behaviour.delivery.gzip:
        return lambda piece: piece
    compressor = zlib.compressobj(wbits=31)
    return lambda piece: compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)


# --- streams -------------------------------------------------------------------------------------------


async def _deliver_stream(request: web.BaseRequest, parcel: Parcel) -> tuple[web.StreamResponse, Outcome]:
    terms = parcel.behaviour.delivery
    response = web.StreamResponse(
        headers={"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", **parcel.headers}
    )
    pack = _packer(parcel.behaviour)
    frames = list(_until(parcel.frames, terms.ends_after))
    if terms.gzip:
        response.headers["content-encoding"] = "gzip"
    if terms.length_lie:
        response.content_length = sum(len(encode(frame, parcel.hand)) for frame in frames) + terms.length_lie
    else:
        response.enable_chunked_encoding()
    await response.prepare(request)
    seen = 0
    stalled = terms.stalls_after is None
    for frame in frames:
        content = frame.kind in CONTENT_KINDS
        if not stalled and (frame.kind in _LAST_KINDS or (content and seen == terms.stalls_after)):
            stalled = True
            await _hold(parcel.behaviour)
        if content:
            await _pace(parcel, first=seen == 0)
            seen += 1
        await response.write(pack(encode(frame, parcel.hand)))
    if terms.repeat:
        await _repeat(response, parcel.behaviour)
    return await _finish(request, response, parcel.behaviour)


def _until(frames: Sequence[Frame], ends_after: int | None) -> Iterator[Frame]:
    """The frames before a cut: so many chunks of content, and no ending."""
    seen = 0
    for frame in frames:
        if ends_after is not None:
            seen += frame.kind in CONTENT_KINDS
            if frame.kind in _LAST_KINDS or seen > ends_after:
                return
        yield frame


async def _hold(behaviour: Behaviour) -> None:
    behaviour.reached.set()
    await behaviour.gate.wait()


async def _pace(parcel: Parcel, *, first: bool) -> None:
    terms = parcel.behaviour.delivery
    if first and terms.gated_first:
        await _hold(parcel.behaviour)
    delay_s = terms.first_delay_s if first else terms.pace_s or parcel.pace_s
    if delay_s:
        await asyncio.sleep(delay_s)


async def _repeat(response: web.StreamResponse, behaviour: Behaviour) -> None:
    """Until the caller leaves, which cancels this."""
    while True:
        await _hold(behaviour)
        behaviour.gate.clear()
        await response.write(behaviour.delivery.repeat)


async def _finish(
    request: web.BaseRequest, response: web.StreamResponse, behaviour: Behaviour
) -> tuple[web.StreamResponse, Outcome]:
    terms = behaviour.delivery
    if terms.length_lie:
        _end(request, "abrupt")
        behaviour.reached.set()
        return response, "cut"
    if terms.ends_after is not None:
        if terms.ending == "clean":
            await response.write_eof()
        _end(request, terms.ending)
        behaviour.reached.set()
        return response, "cut"
    await response.write_eof()
    behaviour.reached.set()
    return response, "finished"


# --- whole completions -----------------------------------------------------------------------------------


async def _deliver_whole(
    request: web.BaseRequest, parcel: Parcel, completion: dict[str, Any]
) -> tuple[web.StreamResponse, Outcome]:
    """A unary answer. A cut or a stall falls in the middle of the body."""
    behaviour = parcel.behaviour
    terms = behaviour.delivery
    changed = behaviour.whole(completion) if behaviour.whole else completion
    body = changed if isinstance(changed, bytes) else json.dumps(changed, ensure_ascii=False).encode()
    response = web.StreamResponse(headers={"content-type": "application/json", **parcel.headers})
    if terms.gzip:
        response.headers["content-encoding"] = "gzip"
        compressor = zlib.compressobj(wbits=31)
        body = compressor.compress(body) + compressor.flush()
    response.content_length = len(body) + terms.length_lie
    middle = len(body) // 2
    cut_short = terms.ends_after is not None and behaviour.whole is None
    if cut_short and terms.ending == "clean":  # framed as whole: truncated JSON that claims to be all
        response.content_length = middle
    await response.prepare(request)
    if terms.gated_first or terms.first_delay_s:
        await _pace(parcel, first=True)
    await response.write(body[:middle])
    if terms.stalls_after is not None:
        await _hold(behaviour)
    if cut_short:
        return await _finish(request, response, behaviour)
    await response.write(body[middle:])
    if terms.length_lie:
        return await _finish(request, response, behaviour)
    await response.write_eof()
    behaviour.reached.set()
    return response, "finished"
