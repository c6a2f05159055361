"""The content blocks of a Messages answer, put in order: one open at a time.

Owns what becomes of blocks that providers begin inside one another, never end, number alike or not at all (Kimi leaves
`content_block_stop` out). Deltas of a block whose turn has not come wait. It must never know frames or stop reasons.
"""

from collections import deque
from typing import Literal

from hermes_router.core.content import Seal
from hermes_router.core.errors import Malformed
from hermes_router.core.events import BlockKind, ChatEvent, Citation, Closed, Delta, Opened
from hermes_router.wire.dialect import NewId
from hermes_router.wire.messages.arguments import ObjectScan, is_object

__all__ = ["BlockQueue"]

_DIALECT = "anthropic_messages"


class _Block:
    """One block. `given` are arguments that came with its beginning; they count where no others do."""

    __slots__ = (
        "call_id", "citations", "closed", "data", "given", "index", "kind", "name", "opened", "pending", "said", "scan",
        "seal_kind", "stopped", "upstream_id",
    )  # fmt: skip

    def __init__(self, kind: BlockKind, index: int | None) -> None:
        self.kind = kind
        self.index = index
        self.call_id = ""
        self.upstream_id = ""
        self.name = ""
        self.given = ""
        self.seal_kind: Literal["signature", "redacted"] = "signature"
        self.data = ""
        self.pending: list[str] = []
        self.said: list[str] = []  # of a call: all of its arguments
        self.scan: ObjectScan | None = None  # of a call
        self.citations: list[Citation] = []
        self.opened = self.stopped = self.closed = False

    @property
    def whole(self) -> bool:
        """Of a call: whether its arguments are one JSON object, or none at all."""
        return not (self.said or self.given) or is_object("".join(self.said) or self.given)


class BlockQueue:
    """Blocks in by `start`, `say`, `argue` and `stop`, ordered events out by `drain`; `finish` closes what is open.

    `origin` (`provider/model`) goes into the seals.
    """

    def __init__(self, new_id: NewId, origin: str) -> None:
        self._new_id = new_id
        self._origin = origin
        self._queue: deque[_Block] = deque()
        self._by_index: dict[int | None, _Block | None] = {}  # None: a block that is passed over
        self._calls: list[_Block] = []
        self._shown_ids: set[str] = set()

    @property
    def calls(self) -> int:
        """How many calls have begun."""
        return len(self._calls)

    @property
    def calls_whole(self) -> bool:
        """Whether the arguments of every call are one JSON object, or none at all."""
        return all(call.whole for call in self._calls)

    @property
    def all_stopped(self) -> bool:
        """Whether the provider has ended every block that it began."""
        return all(block.stopped for block in self._queue)

    @property
    def began(self) -> bool:
        """Whether there has been any block."""
        return bool(self._by_index)

    @property
    def plain_index(self) -> int | None:
        """The number of the open block, if that is text and no other waits; else None."""
        if len(self._queue) != 1:
            return None
        block = self._queue[0]
        return block.index if block.kind is BlockKind.TEXT and block.opened and not block.stopped else None

    def start(self, kind: BlockKind, index: int | None) -> None:
        """A block of text or thoughts begins."""
        known = self._by_index.get(index)
        if known is None or known.stopped or known.kind is not kind or known.seal_kind == "redacted":
            self._append(_Block(kind, index))  # else it was said twice

    def start_redacted(self, index: int | None, data: str) -> None:
        """A thought that only its maker can read."""
        if data:
            block = _Block(BlockKind.REASONING, index)
            block.seal_kind, block.data = "redacted", data
            self._append(block)

    def start_call(self, index: int | None, call_id: str, name: str, given: str) -> None:
        """A call begins. Raises Malformed where it has no name."""
        known = self._by_index.get(index)
        if known is not None and call_id and known.upstream_id == call_id and not known.stopped:
            return
        if not name:
            raise Malformed("a call without a name")
        block = _Block(BlockKind.TOOL_CALL, index)
        block.upstream_id, block.name, block.given, block.scan = call_id, name, given, ObjectScan()
        block.call_id = call_id if call_id and call_id not in self._shown_ids else self._new_id("toolu_")
        self._shown_ids.add(block.call_id)
        self._calls.append(block)
        self._append(block)

    def start_foreign(self, index: int | None) -> None:
        """A block that only this dialect has (a server tool's): what belongs to it is passed over."""
        self._stop_unended(index)
        self._by_index[index] = None

    def _append(self, block: _Block) -> None:
        self._stop_unended(block.index)
        self._by_index[block.index] = block
        self._queue.append(block)

    def _stop_unended(self, index: int | None) -> None:
        """What should have been stopped before another begins; a call in the middle of its arguments goes on."""
        for block in self._queue:
            if block.scan is None or block.scan.over or block.index == index:
                block.stopped = True

    def say(self, kind: BlockKind, index: int | None, text: str) -> bool:
        """More text or thoughts. Whether they can be shown at once; else they wait, or were passed over."""
        block = self._by_index.get(index)
        if block is None and index in self._by_index:
            return False
        if block is None or block.closed or block.kind is not kind:
            block = _Block(kind, index)  # nobody began it
            self._append(block)
        if block.opened and block is self._queue[0]:
            return True
        block.pending.append(text)
        return False

    def sign(self, index: int | None, signature: str) -> None:
        """The signature of a thought, whole: a later one replaces it, as in the SDKs."""
        block = self._by_index.get(index)
        if block is not None and block.kind is BlockKind.REASONING and block.seal_kind == "signature":
            block.data = signature

    def cite(self, index: int | None, citation: Citation) -> None:
        """A source of a text."""
        block = self._by_index.get(index)
        if block is not None and block.kind is BlockKind.TEXT:
            block.citations.append(citation)

    def argue(self, index: int | None, piece: str) -> None:
        """More JSON of a call's arguments. Raises Malformed where there is no call, or behind its end."""
        block = self._by_index.get(index)
        if block is None and index in self._by_index:
            return
        if block is None or block.scan is None:
            raise Malformed("arguments without a call")
        if block.closed and not block.scan.over:
            raise Malformed("arguments behind the end of a call")
        piece = block.scan.feed(piece)
        if piece:
            block.said.append(piece)
            block.pending.append(piece)

    def stop(self, index: int | None) -> None:
        """A block is over: the one of that number; where none was told, the first that is open."""
        block = self._by_index.get(index)
        if block is None and index is None and self._queue:
            block = self._queue[0]
        if block is not None:
            block.stopped = True

    def drain(self, out: list[ChatEvent]) -> None:
        """What can be said in order."""
        self._pump(out, fill=None)

    def finish(self, out: list[ChatEvent], *, fill: bool) -> None:
        """The answer is over: everything that waits comes out.

        `fill` = a call without arguments is a call with none, since callers parse the string as JSON. Not so where the
        answer was cut at its length limit.
        """
        for block in self._queue:
            block.stopped = True
        self._pump(out, fill=fill)

    def cut(self, out: list[ChatEvent]) -> None:
        """The answer failed: what is open is closed, what waits is lost."""
        if self._queue and self._queue[0].opened:
            out.append(Closed())
        self._queue.clear()

    def _pump(self, out: list[ChatEvent], *, fill: bool | None) -> None:
        queue = self._queue
        while queue:
            block = queue[0]
            if not block.opened:
                block.opened = True
                out.append(Opened(block.kind, block.call_id, block.name))
            if block.stopped and block.given and not block.said:
                block.said.append(block.given)
                block.pending.append(block.given)
            if block.pending:
                out.append(Delta("".join(block.pending)))
                block.pending.clear()
            if not block.stopped:
                return
            if block.scan is not None and not block.said:
                if fill is None and len(queue) == 1:
                    return  # the stop reason will tell whether arguments are missing
                if fill is not False or len(queue) > 1:
                    out.append(Delta("{}"))
            seal = Seal(_DIALECT, block.seal_kind, block.data, self._origin) if block.data else None
            out.append(Closed(seal, tuple(block.citations)))
            block.closed = True
            queue.popleft()
