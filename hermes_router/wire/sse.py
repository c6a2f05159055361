"""Incremental decoding of server-sent events, in bytes.

Owns event framing: lines end on CR, LF and CRLF only (`str.splitlines` also splits on U+2028 and U+0085, which are
legal in JSON text). It must never know what an event means.
"""

import msgspec

MAX_EVENT_BYTES = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class OversizedEvent(ValueError):
    """One event grew beyond MAX_EVENT_BYTES without an end."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event: its joined `data` lines (None for a block of comments only) and its `event` name."""

    data: bytes | None
    name: bytes = b""


class SSEDecoder:
    """Bytes in, whole events out, however the network cut them."""

    __slots__ = ("_buffer", "_carriage", "_started")

    def __init__(self) -> None:
        self._buffer = b""
        self._carriage = False  # a CR was seen: line ends are normalised from then on
        self._started = False

    def single(self, chunk: bytes) -> bytes | None:
        """The payload of a chunk that is one whole event of one `data: ` line, as nearly all are; None = feed it."""
        if (
            self._buffer
            or not self._started
            or chunk.find(b"\n") != len(chunk) - 2
            or not chunk.endswith(b"\n\n")
            or not chunk.startswith(b"data: ")
            or b"\r" in chunk
        ):
            return None
        return chunk[6:-2]

    def named(self, chunk: bytes) -> bytes | None:
        """The same of a chunk that is one `event: ` line and one `data: ` line."""
        if (
            self._buffer
            or not self._started
            or not chunk.startswith(b"event: ")
            or not chunk.endswith(b"\n\n")
            or chunk.count(b"\n") != 3
            or b"\r" in chunk
        ):
            return None
        at = chunk.find(b"\n")
        return chunk[at + 7 : -2] if chunk.startswith(b"data: ", at + 1) else None

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the events that `chunk` completes. Raises OversizedEvent."""
        buffer = self._buffer + chunk if self._buffer else chunk
        if not self._started:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                self._buffer = buffer
                return []
            self._started = True
            buffer = buffer.removeprefix(_BOM)
        held = b""
        if self._carriage or b"\r" in buffer:
            self._carriage = True
            # A CR at the very end may be half of a CRLF: it waits for the next bytes.
            held = b"\r" if buffer.endswith(b"\r") else b""
            buffer = buffer[: len(buffer) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        blocks = buffer.split(b"\n\n")
        self._buffer = blocks.pop() + held
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise OversizedEvent(f"an event of more than {MAX_EVENT_BYTES} bytes")
        return [_frame(block) for block in blocks if block]

    def finish(self) -> list[Frame]:
        """The body is over: an event whose blank line is missing still comes out.

        The standard drops such an event, but several servers end their stream with a single newline after `[DONE]`, or
        with none. Its last line may be cut: whoever reads it must not take it for more than it is.
        """
        rest = self._buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        self._buffer = b""
        blocks = [block for block in rest.split(b"\n\n") if block.strip(b"\n")]
        return [_frame(block) for block in blocks]


def _frame(block: bytes) -> Frame:
    if block.startswith(b"data: ") and b"\n" not in block:  # nearly all of them
        return Frame(block[6:])
    data: list[bytes] = []
    name = b""
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return Frame(b"\n".join(data) if data else None, name)
