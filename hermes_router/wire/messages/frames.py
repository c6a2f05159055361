"""The frames of a Messages answer as typed structs, and the words that vendors use in them.

Owns what an event may look like (providers.md 12.6, 12.7, 12.10): which keys are read, how usage is counted. Everything
foreign is `Any` and checked where it is used. It must never keep state.
"""

from typing import Any

import msgspec
from msgspec import Raw

from hermes_router.core.events import Usage
from hermes_router.wire.chat.frames import count

__all__ = ["EVENT", "MESSAGE", "BlockFrame", "DeltaFrame", "EventFrame", "MessageFrame", "UsageSums", "string"]


class BlockFrame(msgspec.Struct, gc=False):
    """One content block: as it begins in a stream, or whole."""

    type: Any = None
    id: Any = None
    name: Any = None
    text: Any = None
    thinking: Any = None
    signature: Any = None
    data: Any = None
    input: Raw = Raw()
    citations: Any = None


class DeltaFrame(msgspec.Struct, gc=False):
    """`delta` of a content_block_delta, or of a message_delta."""

    type: Any = None
    text: Any = None
    thinking: Any = None
    signature: Any = None
    partial_json: Any = None
    citation: Any = None
    stop_reason: Any = None
    stop_sequence: Any = None


class MessageFrame(msgspec.Struct, gc=False):
    """`message` of a message_start, or a whole answer."""

    type: Any = None
    id: Any = None
    model: Any = None
    content: list[BlockFrame] | str | None = None
    stop_reason: Any = None
    stop_sequence: Any = None
    usage: Any = None
    error: Any = None


class EventFrame(msgspec.Struct, gc=False):
    """One event of a stream."""

    type: Any = None
    index: Any = None
    delta: DeltaFrame | None = None
    content_block: BlockFrame | None = None
    message: MessageFrame | None = None
    usage: Any = None
    error: Any = None


EVENT = msgspec.json.Decoder(EventFrame)
MESSAGE = msgspec.json.Decoder(MessageFrame)


def string(value: Any) -> str:
    """A string, or none."""
    return value if isinstance(value, str) else ""


class UsageSums:
    """The usage of one answer, put together from its frames.

    What a later frame does not name stands as an earlier one said. Totals never fall: some name an estimate first
    (Z.ai a zero), and the share that was cached only at the end.
    """

    __slots__ = ("_said", "seen")

    def __init__(self) -> None:
        self._said: dict[str, Any] = {}
        self.seen: Usage | None = None

    def add(self, raw: Any) -> Usage | None:
        """Take a `usage` object; the sums, if they are new. Input counts what was read from a cache or put into it."""
        if not isinstance(raw, dict):
            return None
        self._said.update((key, value) for key, value in raw.items() if value is not None)
        said, old = self._said, self.seen
        read = count(said.get("cache_read_input_tokens"))
        written = count(said.get("cache_creation_input_tokens"))
        details = said.get("output_tokens_details")
        new = Usage(
            input_tokens=count(said.get("input_tokens")) + read + written,
            output_tokens=count(said.get("output_tokens")),
            cached_tokens=read,
            reasoning_tokens=count(details.get("thinking_tokens")) if isinstance(details, dict) else 0,
            written_tokens=written,
        )
        if old is not None:
            new = Usage(
                max(old.input_tokens, new.input_tokens),
                max(old.output_tokens, new.output_tokens),
                max(old.cached_tokens, new.cached_tokens),
                max(old.reasoning_tokens, new.reasoning_tokens),
                written_tokens=max(old.written_tokens, new.written_tokens),
            )
        if new == old:
            return None
        self.seen = new
        return new
