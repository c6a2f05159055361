"""Streams of a provider that break off, as a caller of the same dialect has seen them: raw, up to what is visible.

It says again, in few words, what a lane may show: what cannot be seen by itself waits for the next thing that can, and
from the first call on nothing is shown.
"""

from dataclasses import dataclass

from hermes_router.core.errors import UpstreamError
from hermes_router.core.events import BlockKind, ChatEvent, Delta, Failed, Finished, Opened, Started
from hermes_router.wire.dialect import Decoder, Encoder
from hermes_router.wire.sse import Frame, SSEDecoder


@dataclass
class LeftOpen:
    """What a caller was shown: its bytes, the block that is open, and what the events have said of it."""

    sse: bytes = b""
    kind: BlockKind = BlockKind.TEXT
    text: str = ""


def left_open(
    body: bytes, decoder: Decoder, encoder: Encoder, *, most: int | None = None, pings: bool = False
) -> LeftOpen | None:
    """Show what can be seen of the first `most` events, with a keep-alive behind each where `pings`, and resume.

    None where nothing could be seen, or the answer ended well.
    """
    seen = LeftOpen()
    held: list[tuple[bytes, list[ChatEvent]]] = []
    last = b""
    for frame in _frames(body)[:most]:
        written = _written(frame, decoder)
        text = decoder.plain_text(frame.data) if frame.data and not held else None
        if text is not None:
            seen.text += text
            seen.sse += written
            last = written
        else:
            try:
                events = decoder.feed(frame)
            except UpstreamError:
                break
            if any(isinstance(event, Finished | Failed) for event in events):
                return None
            if any(isinstance(event, Opened) and event.kind is BlockKind.TOOL_CALL for event in events):
                break
            held.append((written, events))
            if not any(isinstance(event, Delta) and event.text.strip() for event in events):
                continue
            for written, events in held:
                encoder.follow(written)
                _note(events, seen, encoder)
                seen.sse += written
                last = written
            held.clear()
        if pings:
            encoder.join(last)
            seen.sse += encoder.keep_alive()
    if not seen.sse:
        return None
    encoder.join(last)
    encoder.resume(seen.text)
    return seen


def _note(events: list[ChatEvent], seen: LeftOpen, encoder: Encoder) -> None:
    for event in events:
        match event:
            case Started():
                encoder.identify(event.id, event.model, event.created)
            case Opened():
                seen.kind, seen.text = event.kind, ""
            case Delta(text=text):
                seen.text += text
            case _:
                pass


def _frames(body: bytes) -> list[Frame]:
    cutter = SSEDecoder()
    return [frame for frame in [*cutter.feed(body), *cutter.finish()] if frame.data]


def _written(frame: Frame, decoder: Decoder) -> bytes:
    data = decoder.mend(frame.data or b"").replace(b"\n", b"\ndata: ")
    return b"event: %b\ndata: %b\n\n" % (frame.name, data) if frame.name else b"data: %b\n\n" % data
