"""The output items of a Responses stream, put in order: one block at a time.

Owns the assembly of items (facts: codex.md 8, providers.md 12.10): deltas of an item that is not the first unfinished
one wait, what no delta said is taken from the whole item, and several messages are parted by a blank line. It must
never know how a stream begins or ends.
"""

from typing import Any, Final

import msgspec

from hermes_router.core.content import Seal
from hermes_router.core.errors import Malformed, Truncated, UpstreamError
from hermes_router.core.events import BlockKind, ChatEvent, Citation, Closed, Delta, Opened
from hermes_router.wire.dialect import NewId
from hermes_router.wire.responses.frames import ItemFrame, cited_in, kind_of, refuses, text_of, tool_of

__all__ = ["Queue", "Slot"]

_PARTED: Final = "\n\n"


class Slot(msgspec.Struct):
    """One item.

    `said` is what its deltas gave, of which the first `shown` pieces went out, and `part` what the last was part of.
    `cut` = it ended before its own end, `refusal` = its text is one.
    """

    kind: BlockKind
    item_id: str
    index: int
    call_id: str = ""
    name: str = ""
    custom: bool = False
    said: list[str] = msgspec.field(default_factory=list)
    shown: int = 0
    part: tuple[str, Any] | None = None
    opened: bool = False
    done: bool = False
    cut: bool = False
    refusal: bool = False
    begins: int = 0  # the character of its block with which its own text begins
    citations: list[Citation] = msgspec.field(default_factory=list)
    seal: Seal | None = None

    @property
    def text(self) -> str:
        """All that was said of it."""
        return "".join(self.said)

    @property
    def broken(self) -> bool:
        """Whether its arguments are neither nothing nor a JSON object."""
        return self.kind is BlockKind.TOOL_CALL and not self.custom and bool(self.said) and not _is_object(self.text)


class Queue:
    """Items and deltas in, ordered events out by `drain`; `finish` closes what is open.

    `live` is the text that is open, has something to be read in it, and goes on; `foreign` counts the items that are no
    blocks, of which `compactions` go back to their maker; `named` the calls that can be shown.
    """

    def __init__(self, new_id: NewId, origin: str) -> None:
        self._new_id = new_id
        self._origin = origin
        self._slots: list[Slot] = []
        self._by_index: dict[int, Slot] = {}
        self._by_id: dict[str, Slot] = {}
        self._call_ids: set[str] = set()
        self._at = 0
        self._texts = 0  # messages that were opened
        self.live: Slot | None = None
        self.foreign = 0
        self.compactions: list[Seal] = []
        self.has_text = False
        self.has_reasoning = False

    @property
    def named(self) -> int:
        """How many calls can be shown."""
        return sum(1 for slot in self._slots if slot.kind is BlockKind.TOOL_CALL and slot.name)

    # -- in -------------------------------------------------------------------------------------------

    def begin(self, index: Any, item: ItemFrame) -> None:
        """An item begins. One that takes the place of another ends it."""
        kind = kind_of(item)
        if kind is None:
            return
        old = self._by_index.get(index) if type(index) is int else None
        if old is not None and not old.done:
            if old.kind is kind and old.item_id == item.id:
                self._fill(old, item)
                return
            old.done = True
        self._fill(self._new(kind, index, item.id), item)

    def say(self, kind: BlockKind, index: Any, item_id: Any, part: tuple[str, Any], text: Any) -> None:
        """More of an item; it begins here if nobody said so."""
        if not isinstance(text, str) or not text:
            return
        slot = self._find(kind, index, item_id)
        if slot is None or slot.done:
            slot = self._new(kind, index, item_id)
        if slot.said and part != slot.part and kind is BlockKind.REASONING:
            text = _PARTED + text
        slot.refusal = slot.refusal if slot.said else part[0] == "refusal"
        slot.part = part
        self._add(slot, text)

    def end(self, index: Any, item: ItemFrame) -> None:
        """An item is over, and here it is whole. Raises Malformed."""
        kind = kind_of(item)
        if kind is None:
            self.foreign += 1
            if item.type == "compaction" and isinstance(item.encrypted_content, str):
                data = item.encrypted_content
                self.compactions.append(Seal("openai_responses", "encrypted", data, self._origin))
            return
        slot = self._find(kind, index, item.id)
        if slot is not None and slot.done and slot.item_id == item.id:
            return
        if slot is None or slot.done:
            slot = self._new(kind, index, item.id)
        self._fill(slot, item)
        slot.refusal = slot.refusal if slot.said else kind is BlockKind.TEXT and refuses(item)
        self._catch_up(slot, text_of(item))
        if kind is BlockKind.TEXT:
            slot.citations = cited_in(item)
        slot.done = True
        slot.cut = item.status == "incomplete"
        data = item.encrypted_content
        if kind is BlockKind.REASONING and isinstance(data, str) and data:
            slot.seal = Seal("openai_responses", "encrypted", data, self._origin, slot.item_id)

    def reconcile(self, output: list[ItemFrame]) -> None:
        """The output as the end tells it, which may be empty: what was never seen, or never ended, is taken from it."""
        for index, item in enumerate(output):
            kind = kind_of(item)
            slot = self._find(kind, index, item.id) if kind is not None else None
            if slot is None or not slot.done:
                self.end(index, item)

    def _new(self, kind: BlockKind, index: Any, item_id: Any) -> Slot:
        slot = Slot(kind, item_id if isinstance(item_id, str) else "", index if type(index) is int else -1)
        self._slots.append(slot)
        if slot.index >= 0:
            self._by_index[slot.index] = slot
        if slot.item_id:
            self._by_id[slot.item_id] = slot
        if kind is BlockKind.REASONING:
            self.has_reasoning = True
        return slot

    def _find(self, kind: BlockKind, index: Any, item_id: Any) -> Slot | None:
        """The item that an event is about: by its place, since some change the ids from event to event."""
        for slot in (
            self._by_index.get(index) if type(index) is int else None,
            self._by_id.get(item_id) if isinstance(item_id, str) else None,
        ):
            if slot is not None and slot.kind is kind:
                return slot
        if index is None and item_id is None and self._slots and self._slots[-1].kind is kind:
            return self._slots[-1]
        return None

    def _fill(self, slot: Slot, item: ItemFrame) -> None:
        """Take what the item says of itself, until it is shown."""
        if slot.opened:
            return
        if isinstance(item.id, str) and item.id:
            slot.item_id = item.id
            self._by_id[item.id] = slot
        if slot.kind is BlockKind.TOOL_CALL:
            slot.custom = item.type == "custom_tool_call"
            slot.name = slot.name or tool_of(item)
            if not slot.call_id and slot.name:
                slot.call_id = self._unique(item.call_id)

    def _unique(self, call_id: Any) -> str:
        """The id to show: the provider's own, unless it has none or gives the same to two calls."""
        usable = isinstance(call_id, str) and call_id and call_id not in self._call_ids
        shown: str = call_id if usable else self._new_id("call_")
        self._call_ids.add(shown)
        return shown

    def _catch_up(self, slot: Slot, whole: str) -> None:
        """What the whole item says and no delta said."""
        said = slot.text
        if len(whole) > len(said) and whole.startswith(said):
            self._add(slot, whole[len(said) :])
        elif not slot.shown and whole and whole != said:
            slot.said.clear()
            self._add(slot, whole)

    def _add(self, slot: Slot, text: str) -> None:
        if slot.kind is BlockKind.TEXT and not self.has_text:
            self.has_text = not text.isspace()
        slot.said.append(text)

    # -- out ------------------------------------------------------------------------------------------

    def drain(self, out: list[ChatEvent]) -> None:
        """Events of the first unfinished item, and of those behind it as far as they follow one another."""
        self.live = None
        while self._at < len(self._slots):
            slot = self._slots[self._at]
            self._news(slot, out)
            if not slot.done:
                if slot.kind is BlockKind.TEXT and slot.opened and self.has_text:
                    self.live = slot
                return
            _close(slot, out, fill=not slot.cut)
            self._at += 1

    def _news(self, slot: Slot, out: list[ChatEvent]) -> None:
        """What has not been said of an item; a call waits for its name, text and thoughts for their first word."""
        is_call = slot.kind is BlockKind.TOOL_CALL
        if is_call and not slot.name:
            return
        text = "".join(slot.said[slot.shown :])
        if not slot.opened:
            if not is_call and not text:
                return
            slot.opened = True
            out.append(Opened(slot.kind, slot.call_id, slot.name, custom=slot.custom, refusal=slot.refusal))
            if slot.kind is BlockKind.TEXT:
                slot.begins = len(_PARTED) if self._texts else 0
                text = _PARTED + text if self._texts else text
                self._texts += 1
        if text:
            out.append(Delta(text))
            slot.shown = len(slot.said)

    def close(self, out: list[ChatEvent]) -> None:
        """The stream broke off: the open block is over, what waits behind it is lost."""
        self.live = None
        if self._at < len(self._slots) and self._slots[self._at].opened:
            out.append(Closed())
        self._at = len(self._slots)

    def finish(self, out: list[ChatEvent], *, fill: bool) -> None:
        """The answer is over: everything that waits comes out, in order.

        `fill` = a call without arguments is a call with none. Not so where the answer was cut.
        """
        self.live = None
        for slot in self._slots[self._at :]:
            self._news(slot, out)
            _close(slot, out, fill=fill and not slot.cut)
        self._at = len(self._slots)

    def fault(self) -> UpstreamError | None:
        """Why this cannot be a good end, if it cannot: calls must be whole."""
        for slot in self._slots:
            if slot.kind is BlockKind.TOOL_CALL and not slot.name:
                return Malformed("a tool call without a name")
            if slot.broken:
                return Truncated("a tool call ended in the middle of its arguments")
        return None


def _close(slot: Slot, out: list[ChatEvent], *, fill: bool) -> None:
    if not slot.opened and slot.seal is not None:
        slot.opened = True
        out.append(Opened(slot.kind))
    if not slot.opened:
        return
    if fill and slot.kind is BlockKind.TOOL_CALL and not slot.custom and not slot.text.strip():
        out.append(Delta("{}"))
    begins = slot.begins
    found = (one._replace(start=one.start + begins, end=one.end + begins) for one in slot.citations)
    out.append(Closed(slot.seal, tuple(found)))


def _is_object(text: str) -> bool:
    try:
        return not text.strip() or isinstance(msgspec.json.decode(text), dict)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
