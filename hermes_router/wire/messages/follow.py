"""The blocks of a provider's own frames, as far as the caller has seen them.

Owns what must be known to write on behind such frames (providers.md 12.10): which block is open, whether a thought has
its signature, which number comes next. It must never know what a block says.
"""

import re
from typing import Final

import msgspec

from hermes_router.core.events import BlockKind
from hermes_router.wire.messages.frames import EVENT, BlockFrame, EventFrame
from hermes_router.wire.sse import SSEDecoder

__all__ = ["BlockFollower", "OpenBlock"]

_KINDS = {"text": BlockKind.TEXT, "thinking": BlockKind.REASONING, "tool_use": BlockKind.TOOL_CALL}
_OF_DELTAS = {
    "text_delta": BlockKind.TEXT,
    "thinking_delta": BlockKind.REASONING,
    "input_json_delta": BlockKind.TOOL_CALL,
}


_DELTA: Final = b"event: content_block_delta\n"
# Within a text quotes are escaped: what is found is a member.
_MARKS: Final = re.compile(rb'"index" ?: ?[0-9]+[^0-9]|"type" ?: ?"thinking_delta"')
_ONE_OF_EACH: Final = 2


class OpenBlock(msgspec.Struct):
    """A block without an end; `kind` None = one that only this dialect has. `signed` = its signature was shown."""

    index: int
    kind: BlockKind | None
    signed: bool = False


class BlockFollower:
    """Frames in by `feed`. `calls` counts the calls that began; `next_index` is the number of the next block."""

    def __init__(self) -> None:
        self._sse = SSEDecoder()
        self._open: dict[int, OpenBlock] = {}
        self._repeated: list[bytes] = []  # what a frame has that says nothing new
        self._began = 0
        self.calls = 0
        self.next_index = 0

    def feed(self, frame: bytes) -> None:
        """Take a whole event. What nobody can read says nothing."""
        if self._repeats(frame):
            return
        for part in self._sse.feed(frame):
            try:
                event = EVENT.decode(part.data or b"")
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                continue
            kind = event.type if isinstance(event.type, str) else part.name.decode(errors="replace")
            self._take(kind, event)

    def _repeats(self, frame: bytes) -> bool:
        """Whether a frame is one more delta of the block that the last one was of: most of a thought is."""
        if self._repeated and frame.startswith(_DELTA):
            for mark in self._repeated:
                if mark not in frame:
                    break
            else:
                return True
        marks = _MARKS.findall(frame) if frame.startswith(_DELTA) else []
        self._repeated = marks if len(marks) == _ONE_OF_EACH else []
        return False

    def _take(self, kind: str, event: EventFrame) -> None:
        match kind:
            case "content_block_start":
                self._start(event.index, event.content_block or BlockFrame())
            case "content_block_delta" if event.delta is not None:
                block = self._find(event.index)
                if block is None:
                    said = event.delta.type
                    block = self._begin(event.index, _OF_DELTAS.get(said) if isinstance(said, str) else None)
                if event.delta.type == "signature_delta" and event.delta.signature:
                    block.signed = True
            case "content_block_stop":
                block = self._find(event.index)
                if block is not None:
                    del self._open[block.index]
            case _:
                pass  # neither begins nor ends a block

    def _start(self, index: object, block: BlockFrame) -> None:
        kind = _KINDS.get(block.type) if isinstance(block.type, str) else None
        self.calls += kind is BlockKind.TOOL_CALL
        self._begin(index, kind).signed = bool(block.signature)

    def _begin(self, index: object, kind: BlockKind | None) -> OpenBlock:
        """A block begins: the SDKs find it by its place, so none may be counted less than it was begun."""
        self._began += 1
        at = index if type(index) is int and index >= 0 else self.next_index
        self.next_index = max(at + 1, self.next_index, self._began)
        self._open.pop(at, None)
        block = self._open[at] = OpenBlock(at, kind)
        return block

    def _find(self, index: object) -> OpenBlock | None:
        """The open block of that number; where none was told, the one that began last."""
        if type(index) is int:
            return self._open.get(index)
        return next(reversed(self._open.values()), None)

    def leave(self) -> tuple[OpenBlock | None, list[int]]:
        """The block that goes on, None where none can, and the numbers of the others that never ended.

        Some providers leave their ends out (Kimi), so it is the one that began last.
        """
        blocks = list(self._open.values())
        last = blocks[-1] if blocks else None
        if last is not None and last.kind not in (BlockKind.TEXT, BlockKind.REASONING):
            last = None
        return last, [block.index for block in blocks if block is not last]
