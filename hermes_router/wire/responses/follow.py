"""The items of a provider's own frames, as far as the caller has seen them.

Owns what must be known to write on behind such frames (facts: providers.md 12.10, codex.md 8): the items that are over,
as they came; the one that is open, with its id, its place and its parts; the place of the next. It must never know how
a stream begins and ends.
"""

import re
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from hermes_router.core.events import BlockKind
from hermes_router.wire.responses.output import Event, Item
from hermes_router.wire.sse import SSEDecoder

__all__ = ["CarriedItem", "ItemFollower"]

_ENCODE: Final = msgspec.json.Encoder().encode
_PARTED: Final = "\n\n"
_MAY_GO_ON: Final = {"message": BlockKind.TEXT, "reasoning": BlockKind.REASONING}


class _Form(NamedTuple):
    """One kind of part.

    Its events are named after `says` and `part`, and count by `counter`; it lies in the item's `slot`, its text under
    `key`. `more` are the part's other members, `beside` those of its events.
    """

    type: str
    says: str
    part: str
    counter: str
    slot: str
    key: str
    more: dict[str, Any] = {}  # noqa: RUF012 - never changed
    beside: dict[str, Any] = {}  # noqa: RUF012 - never changed


_LOGPROBS: Final[dict[str, Any]] = {"logprobs": []}
_TEXT: Final = _Form(
    "output_text", "output_text", "content_part", "content_index", "content", "text",
    {"annotations": [], **_LOGPROBS}, _LOGPROBS,
)  # fmt: skip
_REFUSAL: Final = _Form("refusal", "refusal", "content_part", "content_index", "content", "refusal")
_SUMMARY: Final = _Form(
    "summary_text", "reasoning_summary_text", "reasoning_summary_part", "summary_index", "summary", "text"
)
_THOUGHT: Final = _Form("reasoning_text", "reasoning_text", "content_part", "content_index", "content", "text")
_NAMES: Final = (b"event: response.reasoning_text.delta\n", b"event: response.reasoning_summary_text.delta\n")
_MARKS: Final = re.compile(rb'"(?:output|content|summary)_index" ?: ?[0-9]+[^0-9]')
_FORMS: Final = (_TEXT, _REFUSAL, _SUMMARY, _THOUGHT)
_BY_TYPE: Final = {form.type: form for form in _FORMS}
_DELTAS: Final = {f"response.{form.says}.delta": form for form in _FORMS}
_DONE: Final = {f"response.{form.says}.done": form for form in _FORMS}


class _Event(msgspec.Struct, gc=False):
    type: Any = None
    item: Raw = Raw()
    part: Raw = Raw()
    annotation: Raw = Raw()
    item_id: Any = None
    output_index: Any = None
    content_index: Any = None
    summary_index: Any = None
    delta: Any = None
    text: Any = None
    refusal: Any = None


class _Named(msgspec.Struct, gc=False):
    type: Any = None
    id: Any = None


_EVENT: Final = msgspec.json.Decoder(_Event)
_NAMED: Final = msgspec.json.Decoder(_Named)
_STRING: Final = msgspec.json.Decoder(str)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])


class _Part(msgspec.Struct):
    """One part of an item: `first` is the first delta seen of it, `whole` its text once that was told.

    `raw` is the part once it is over. Deltas are not kept: who tells to go on knows what they have said.
    """

    form: _Form
    index: int
    first: str = ""
    whole: str | None = None
    raw: bytes = b""
    annotations: list[Raw] = msgspec.field(default_factory=list)

    def object(self, text: str) -> dict[str, Any]:
        """The part with that text."""
        more = {**self.form.more, "annotations": self.annotations} if self.annotations else self.form.more
        return {"type": self.form.type, self.form.key: text, **more}


class _Seen(msgspec.Struct):
    """An item that is not over. `behind` = it is not the first message, so its events begin with a blank line."""

    index: int
    id: str
    kind: BlockKind | None
    fields: dict[str, Raw]
    behind: bool
    parts: list[_Part] = msgspec.field(default_factory=list)

    @property
    def open(self) -> _Part | None:
        return self.parts[-1] if self.parts and not self.parts[-1].raw else None


class CarriedItem(Item):
    """The item of a provider that goes on: its id, its place, its members and the parts that were over stand.

    A thought that was cut has no seal of its maker any more, but the mark.
    """

    def __init__(self, seen: _Seen, part: _Part, text: str | None) -> None:
        """`text` is what the caller has seen of `part`; None = nothing, not even its beginning."""
        super().__init__(seen.id, seen.index)
        self.is_thought = seen.kind is BlockKind.REASONING
        self._seen = seen
        self._part = part
        form = part.form
        self._place = {form.counter: part.index}
        beside = b"," + _ENCODE(form.beside)[1:-1] if form.beside else b""
        self.delta = self._template(f"response.{form.says}.delta", beside, **self._place)
        if text is None:
            self.opening = [Event(f"response.{form.part}.added", self._at(**self._place, part=part.object("")))]
        else:
            self.flows = True
            self.pieces = [text] if text else []

    def closing(self, status: str, mark: str | None) -> tuple[list[Event], bytes]:
        """Text, part and item are over."""
        form, seen = self._part.form, self._seen
        text = self._text()
        events: list[Event] = []
        slots: dict[str, list[Any]] = {}
        for over in seen.parts:
            if over is not self._part:
                slots.setdefault(over.form.slot, []).append(Raw(over.raw))
        if not self.opening:  # else nothing was said of the part
            part = self._part.object(text)
            slots.setdefault(form.slot, []).append(part)
            events = [
                Event(f"response.{form.says}.done", self._at(**self._place, **{form.key: text}, **form.beside)),
                Event(f"response.{form.part}.done", self._at(**self._place, part=part)),
            ]
        item: dict[str, Any] = {**seen.fields, **slots}
        item.pop("encrypted_content", None)
        if "status" in item or not self.is_thought:
            item["status"] = status
        if mark is not None:
            item["encrypted_content"] = mark
        return [*events, self._done(item)], _ENCODE(item)


class ItemFollower:
    """Frames in by `feed`. `output` holds what is over, by its place; `next_index` is the place of the next item."""

    def __init__(self) -> None:
        self._sse = SSEDecoder()
        self._open: dict[int, _Seen] = {}
        self.output: list[tuple[int, bytes]] = []
        self._ids: set[str] = set()  # of those
        self._repeated: list[bytes] = []  # what a frame has that says nothing new
        self._began = 0
        self._messages = 0
        self.next_index = 0

    def feed(self, frame: bytes) -> None:
        """Take a whole event. What nobody can read says nothing."""
        if self._repeats(frame):
            return
        for one in self._sse.feed(frame):
            try:
                # Line ends are white space between values; within a frame that is written anew they would end it.
                event = _EVENT.decode((one.data or b"").replace(b"\n", b" "))
                self._take(event.type if isinstance(event.type, str) else one.name.decode(errors="replace"), event)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                continue

    def _take(self, kind: str, event: _Event) -> None:
        match kind:
            case "response.output_item.added":
                self._begin(event)
            case "response.output_item.done":
                self._end(event)
            case "response.content_part.added" | "response.reasoning_summary_part.added":
                self._begin_part(event)
            case "response.content_part.done" | "response.reasoning_summary_part.done":
                self._end_part(event)
            case "response.output_text.annotation.added":
                part = self._part_of(event, _TEXT)
                if part is not None and event.annotation:
                    part.annotations.append(event.annotation.copy())
            case _ if kind in _DELTAS:
                part = self._part_of(event, _DELTAS[kind])
                if part is not None and isinstance(event.delta, str):
                    part.first = part.first or event.delta
            case _ if kind in _DONE:
                form = _DONE[kind]
                part, text = self._part_of(event, form), event.refusal if form is _REFUSAL else event.text
                if part is not None and isinstance(text, str):
                    part.whole = text
            case _:
                pass  # nothing that an item is made of

    def _repeats(self, frame: bytes) -> bool:
        """Whether a frame is one more delta of the part that the last one was of: most of a thought is."""
        if self._repeated and frame.startswith(self._repeated[0]):
            for mark in self._repeated:
                if mark not in frame:
                    break
            else:
                return True
        # Within a text quotes are escaped: what is found is a member.
        marks = _MARKS.findall(frame) if frame.startswith(_NAMES) else []
        whole = any(mark.startswith(b'"output_index"') for mark in marks)
        self._repeated = [frame[: frame.find(b"\n") + 1], *marks] if whole else []
        return False

    # -- items ----------------------------------------------------------------------------------------

    def _begin(self, event: _Event) -> None:
        fields = {name: raw.copy() for name, raw in _FIELDS.decode(event.item).items()}
        named = _NAMED.decode(event.item)
        kind = _MAY_GO_ON.get(named.type) if isinstance(named.type, str) else None
        index = self._place(event.output_index)
        behind = kind is BlockKind.TEXT and self._messages > 0
        self._messages += kind is BlockKind.TEXT
        self._open.pop(index, None)
        self._open[index] = _Seen(index, named.id if isinstance(named.id, str) else "", kind, fields, behind)

    def _place(self, index: object) -> int:
        """Where an item begins: the SDKs count them, so none may be counted less than it was begun."""
        self._began += 1
        at = index if type(index) is int and index >= 0 else self.next_index
        self.next_index = max(at + 1, self.next_index, self._began)
        return at

    def _end(self, event: _Event) -> None:
        named = _NAMED.decode(event.item)
        seen = self._find(event)
        if seen is not None:
            del self._open[seen.index]
        elif isinstance(named.id, str) and named.id in self._ids:
            return  # said twice
        else:
            self._messages += named.type == "message"
        index = seen.index if seen is not None else self._place(event.output_index)
        self.output.append((index, bytes(event.item)))
        if isinstance(named.id, str) and named.id:
            self._ids.add(named.id)

    def _find(self, event: _Event) -> _Seen | None:
        """The item that an event is about: by its place, since some change the ids from event to event."""
        index = event.output_index
        seen = self._open.get(index) if type(index) is int else None
        if seen is None:
            seen = next((one for one in self._open.values() if one.id and one.id == event.item_id), None)
        return seen

    # -- parts ----------------------------------------------------------------------------------------

    def _begin_part(self, event: _Event) -> None:
        seen = self._find(event)
        named = _NAMED.decode(event.part)
        form = _BY_TYPE.get(named.type) if isinstance(named.type, str) else None
        if seen is not None and form is not None:
            self._new_part(seen, form, event)

    def _new_part(self, seen: _Seen, form: _Form, event: _Event) -> _Part:
        """A part begins; one before it that nobody ended is over, or one with it where nobody has told its text."""
        old = seen.open
        if old is not None and old.whole is not None:
            old.raw = _ENCODE(old.object(old.whole))
        elif old is not None:
            seen.parts.pop()
        index = event.summary_index if form.counter == "summary_index" else event.content_index
        part = _Part(form, index if type(index) is int else len(seen.parts))
        seen.parts.append(part)
        return part

    def _part_of(self, event: _Event, form: _Form) -> _Part | None:
        """The open part that an event is about; it begins here if nobody said so."""
        seen = self._find(event)
        if seen is None:
            return None
        if not seen.id and isinstance(event.item_id, str):
            seen.id = event.item_id
        index = event.summary_index if form.counter == "summary_index" else event.content_index
        part = seen.open
        if part is None or part.form is not form or (type(index) is int and index != part.index):
            part = self._new_part(seen, form, event)
        return part

    def _end_part(self, event: _Event) -> None:
        seen = self._find(event)
        part = seen.open if seen is not None else None
        if part is not None:
            over = _FIELDS.decode(event.part)
            part.raw = bytes(event.part)
            if part.form.key in over:
                part.whole = _STRING.decode(over[part.form.key])

    # -- out ------------------------------------------------------------------------------------------

    def leave(self, text: str) -> CarriedItem | None:
        """The item that goes on: the first that is not over, as the events tell it. None where none can.

        `text` is what its events have said.
        """
        seen = next((one for one in self._open.values() if one.kind is not None), None)
        if seen is None or seen.kind is None:
            return None
        part = seen.open
        if part is not None:
            return CarriedItem(seen, part, self._rest(seen, part, text))
        form = _TEXT if seen.kind is BlockKind.TEXT else _SUMMARY
        part = _Part(form, sum(1 for one in seen.parts if one.form.slot == form.slot))
        return CarriedItem(seen, part, self._rest(seen, part, text) or None)

    @staticmethod
    def _rest(seen: _Seen, part: _Part, text: str) -> str:
        """What the open part has said: what the events told, but for the parts before it and what parts them."""
        if part.whole is not None:
            return part.whole
        before = [one.whole or "" for one in seen.parts if one is not part]
        if seen.kind is BlockKind.REASONING:
            return text.removeprefix(_PARTED.join([*before, ""]))
        earlier = "".join(before)
        if seen.behind and text.startswith(_PARTED + (earlier or part.first)):
            text = text.removeprefix(_PARTED)
        return text.removeprefix(earlier)
