"""Responses streams, outward: neutral events to what the OpenAI SDK and Codex take without harm.

Owns the life of a `response` (facts: providers.md 12.10, clients.md 3): created, its items one after another, and one
end; events are numbered without gaps, and ids stand from the moment they are shown. It must never know who answers,
beyond the model's name and the mark on a thought.
"""

import re
from typing import Final, assert_never

import msgspec

from hermes_router.core.errors import HermesError
from hermes_router.core.events import (
    Answer,
    Block,
    BlockKind,
    ChatEvent,
    Closed,
    Delta,
    Failed,
    Finish,
    Finished,
    Opened,
    Started,
    Usage,
    UsageSeen,
)
from hermes_router.wire.dialect import NewId
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.responses.errors import failure
from hermes_router.wire.responses.follow import ItemFollower
from hermes_router.wire.responses.object import INCOMPLETE, ResponseObject, wants_encrypted
from hermes_router.wire.responses.output import (
    CustomItem,
    FunctionItem,
    Item,
    MessageItem,
    ThoughtItem,
    frame,
)
from hermes_router.wire.responses.output import Event as Said
from hermes_router.wire.responses.tools import CallShape, Restore, restorer
from hermes_router.wire.seals import wrap

__all__ = ["ID_PREFIX", "ResponsesEncoder", "make_encoder", "render_answer"]

ID_PREFIX: Final = "resp_"
_ENCODE: Final = msgspec.json.Encoder().encode
_NUMBER: Final = re.compile(rb'"sequence_number" ?: ?([0-9]{1,15})\b')


class ResponsesEncoder:
    """The caller's stream. What ends an item waits for what follows, which tells whether it is whole."""

    id_prefix = ID_PREFIX

    def __init__(self, inbound: Inbound, *, new_id: NewId, now: int) -> None:
        self.id = ""
        self.model = ""
        self.created = 0
        self.origin = ""
        self._inbound = inbound
        self._new_id = new_id
        self._now = now
        self._object = ResponseObject(inbound)
        self._marked = wants_encrypted(inbound)
        self._restore: Restore | None = None
        self._begun = False
        self._joined = False  # what the caller sees was written by the provider
        self._follower = ItemFollower()
        self._resumed = False
        self._number = 0
        self._output: list[tuple[int, bytes]] = []  # by their place
        self._next_index = 0
        self._item: Item | None = None
        self._maker = ""  # the origin of the open item
        self._closed: Closed | None = None  # the open item is over, and not yet ended
        self._reason = Finish.STOP
        self._refused = False  # a part of the answer is a refusal

    def identify(self, new_id: str, model: str, created: int) -> None:
        """Fix id and time at the first call; the model's name at every one."""
        self.id = self.id or new_id
        self.created = self.created or created
        self.model = model

    def keep_alive(self) -> bytes:
        """`response.in_progress`: agents that measure silence ignore comments."""
        if not self._begun:
            return self._begin()
        if self._joined:  # the next number is the provider's to use: the last one is said again
            self._number = max(0, self._number - 1)
        return self._lifecycle("response.in_progress", "in_progress")

    def encode(self, events: list[ChatEvent]) -> bytes:
        """Render events; Finished ends the last item, the rest is `end`'s."""
        item = self._item
        if len(events) == 1 and type(events[0]) is Delta and item is not None and item.flows:  # the hot path
            text = events[0].text
            item.pieces.append(text)
            self._number += 1
            return item.delta % (self._number - 1, _ENCODE(text))
        out: list[bytes] = []
        for event in events:
            match event:
                case Delta(text=text):
                    self._delta(text, out)
                case Started(id=new_id, model=model, created=created):
                    ours = new_id if new_id.startswith(ID_PREFIX) else self.id or self._new_id(ID_PREFIX)
                    self.identify(ours, model, created)
                    if not self._begun:
                        out.append(self._begin())
                case Opened():
                    if not self._goes_on(event, out):
                        self._end_item(out, "completed")
                        self._open(event, out)
                case Closed():
                    self._closed = event
                case Finished(reason=reason):
                    self._reason = reason
                    self._end_item(out, "completed" if self._why is None else "incomplete")
                case UsageSeen() | Failed():
                    pass  # the exchange knows the usage at the end, and decides whether a failure is shown
                case _:
                    assert_never(event)
        return out[0] if len(out) == 1 else b"".join(out)

    def join(self, frame: bytes) -> None:
        """The provider's own `response.created` has been shown, and its numbers go on behind what is said here."""
        if self._resumed:
            return
        self._begun = self._joined = True
        found = _NUMBER.search(frame)
        if found is not None:
            self._number = int(found[1]) + 1

    def follow(self, frame: bytes) -> None:
        """Keep the items of the provider's own frames, and know who made them."""
        self._follower.feed(frame)
        self._maker = self.origin

    def resume(self, text: str) -> None:
        """Go on in the item that is open; where none is, in a message that begins with its first word."""
        self._begun = self._resumed = True
        self._joined = False
        follower = self._follower
        self._output, self._next_index = follower.output, follower.next_index
        self._item = follower.leave(text) or MessageItem(self._new_id("msg_"), self._next_index)

    def end(self, usage: Usage) -> bytes:
        """The last event, with everything that was said."""
        incomplete = self._why
        status = "completed" if incomplete is None else "incomplete"
        return self._lifecycle(f"response.{status}", status, usage=usage, incomplete=incomplete)

    def fail(self, error: HermesError, *, now: float, request_id: str = "") -> bytes:  # noqa: ARG002 - in a header
        """`response.failed`. Of the output it shows what was whole."""
        if self._joined:
            self._output = self._follower.output
        out = [] if self._begun else [self._begin()]
        return b"".join([*out, self._lifecycle("response.failed", "failed", error=failure(error, now=now))])

    @property
    def _why(self) -> str | None:
        """Why the answer is incomplete, None where it is not: one that refuses is whole (12.6)."""
        if self._refused and self._reason is Finish.CONTENT_FILTER:
            return None
        return INCOMPLETE.get(self._reason)

    # -- items ----------------------------------------------------------------------------------------

    def _goes_on(self, event: Opened, out: list[bytes]) -> bool:
        """Whether a text is one more part of the message before it."""
        item, closed = self._item, self._closed
        if event.kind is not BlockKind.TEXT or not isinstance(item, MessageItem):
            return False
        self._closed = None
        self._refused = self._refused or event.refusal
        item.citations = closed.citations if closed is not None else ()
        self._say(item.next_part(refusal=event.refusal), out)
        return True

    def _open(self, event: Opened, out: list[bytes]) -> None:
        shape = None
        if event.kind is BlockKind.TOOL_CALL:
            if self._restore is None:
                self._restore = restorer(self._inbound)
            shape = self._restore.call(event.name)
        self._refused = self._refused or event.refusal
        block = Block(event.kind, call_id=event.call_id, custom=event.custom, refusal=event.refusal)
        self._item = item = _new_item(block, shape, self._next_index, self._new_id)
        self._maker = self.origin
        if not item.lazy:
            self._say(item.take(), out)

    def _delta(self, text: str, out: list[bytes]) -> None:
        item = self._item
        if item is None:
            return
        self._say(item.take(), out)
        item.pieces.append(text)
        if not item.whole_only:
            out.append(item.delta % (self._number, _ENCODE(text)))
            self._number += 1

    def _end_item(self, out: list[bytes], status: str) -> None:
        item, closed = self._item, self._closed
        if item is None:
            return
        self._item = self._closed = None
        seal = closed.seal if closed is not None else None
        mark = wrap(seal, origin=self._maker) if self._marked and item.is_thought else None
        if item.lazy and item.empty and (mark is None or seal is None):
            return  # nothing was said, and nothing was shown
        item.citations = closed.citations if closed is not None else ()
        events, whole = item.closing(status, mark)
        self._say(events, out)
        self._output.append((item.index, whole))
        self._next_index = max(self._next_index, item.index + 1)

    # -- events ---------------------------------------------------------------------------------------

    def _say(self, events: list[Said], out: list[bytes]) -> None:
        for event in events:
            out.append(frame(event, self._number))
            self._number += 1

    def _begin(self) -> bytes:
        if not self.id:
            self.identify(self._new_id(ID_PREFIX), self._inbound.request.model, self._now)
        self._begun = True
        created = self._lifecycle("response.created", "in_progress")
        return created + self._lifecycle("response.in_progress", "in_progress")

    def _lifecycle(
        self,
        kind: str,
        status: str,
        *,
        usage: Usage | None = None,
        error: tuple[str, str] | None = None,
        incomplete: str | None = None,
    ) -> bytes:
        over = status != "in_progress"
        response = self._object.render(
            new_id=self.id,
            created=self.created,
            model=self.model,
            status=status,
            output=[item for _, item in sorted(self._output, key=_place)] if over else (),
            usage=usage,
            error=error,
            incomplete=incomplete,
        )
        name, number = kind.encode(), self._number
        self._number += 1
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,"response":%b}\n\n' % (name, name, number, response)


def _place(item: tuple[int, bytes]) -> int:
    return item[0]


def _new_item(block: Block, shape: CallShape | None, index: int, new_id: NewId) -> Item:
    """The item of a block; `shape` is how the caller knows the tool that is called."""
    match block.kind:
        case BlockKind.TEXT:
            return MessageItem(new_id("msg_"), index, refusal=block.refusal)
        case BlockKind.REASONING:
            return ThoughtItem(new_id("rs_"), index)
        case BlockKind.TOOL_CALL:
            shape = shape or CallShape(block.name)
            if shape.custom or block.custom:
                return CustomItem(new_id("ctc_"), index, block.call_id, shape, wrapped=not block.custom)
            return FunctionItem(new_id("fc_"), index, block.call_id, shape)
    assert_never(block.kind)


def make_encoder(inbound: Inbound, *, prompt_tokens: int, new_id: NewId, now: int) -> ResponsesEncoder:  # noqa: ARG001
    """The encoder of one exchange; usage is told at the end alone, so nothing is estimated at the start."""
    return ResponsesEncoder(inbound, new_id=new_id, now=now)


def render_answer(answer: Answer, usage: Usage, inbound: Inbound, *, origin: str, new_id: NewId, now: int) -> bytes:
    """A whole answer as a `response` object. `now` in epoch seconds."""
    reason = answer.finish or Finish.STOP
    refused = reason is Finish.CONTENT_FILTER and any(block.refusal for block in answer.blocks)
    incomplete = None if refused else INCOMPLETE.get(reason)
    status = "completed" if incomplete is None else "incomplete"
    restore = restorer(inbound) if any(block.kind is BlockKind.TOOL_CALL for block in answer.blocks) else None
    marked = wants_encrypted(inbound)
    items: list[tuple[Item, str | None]] = []
    item: Item | None = None
    shown = False  # the item that is open says something: one that says nothing ends the one before it all the same
    for block in answer.blocks:
        mark = wrap(block.seal, origin=origin) if marked and block.kind is BlockKind.REASONING else None
        empty = block.kind is not BlockKind.TOOL_CALL and not block.text and (mark is None or block.seal is None)
        if block.kind is BlockKind.TEXT and isinstance(item, MessageItem) and shown:
            if empty:
                continue
            item.next_part(refusal=block.refusal)
        else:
            shape = restore.call(block.name) if restore is not None else None
            item = _new_item(block, shape, len(items), new_id)
            shown = not empty
            if empty:
                continue
            items.append((item, mark))
        if block.text:
            item.pieces.append(block.text)
        item.citations = block.citations
    cut = len(items) - 1 if shown else None
    output = [
        item.closing(status if place == cut else "completed", mark)[1] for place, (item, mark) in enumerate(items)
    ]
    return ResponseObject(inbound).render(
        new_id=answer.id if answer.id.startswith(ID_PREFIX) else new_id(ID_PREFIX),
        created=answer.created or now,
        model=answer.model,
        status=status,
        output=output,
        usage=usage,
        incomplete=incomplete,
    )
