"""The output items of a Responses answer as a caller is sent them: messages, thoughts, calls of both kinds.

Owns the shape of each item and the events around it (facts: providers.md 12.10). An item keeps its id and its place
from the first event to the last. It must never know who answered, nor how a stream begins and ends.
"""

from typing import Any, Final, NamedTuple

import msgspec

from hermes_router.core.events import Citation
from hermes_router.wire.citations import annotations
from hermes_router.wire.responses.tools import CallShape

__all__ = ["CustomItem", "Event", "FunctionItem", "Item", "MessageItem", "ThoughtItem", "frame", "free_text"]

_ENCODE: Final = msgspec.json.Encoder().encode
_ANY: Final = msgspec.json.Decoder()


class Event(NamedTuple):
    """An event but for its number: the type, and the members behind it."""

    kind: str
    members: dict[str, Any]


def frame(event: Event, number: int) -> bytes:
    """An event as it goes out."""
    kind = event.kind.encode()
    members = _ENCODE(event.members)[1:-1]
    return b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n' % (kind, kind, number, members)


class Item:
    """One output item while it is said.

    Attributes:
        pieces: what was said so far.
        opening: the events that go before the first delta; empty once they went out.
        delta: the frame of more text, with places for its number and for the text as JSON.
        whole_only: its text is not to be shown before all of it is there.
        flows: it was opened, and each delta is shown as it comes.
        lazy: without any text it is no item.
        is_thought: it may bear a mark.
        citations: the pages that its text rests on, known at its end.
    """

    lazy = False
    is_thought = False

    def __init__(self, item_id: str, index: int) -> None:
        self.id = item_id
        self.index = index
        self.pieces: list[str] = []
        self.opening: list[Event] = []
        self.delta = b""
        self.citations: tuple[Citation, ...] = ()
        self.whole_only = False
        self.flows = False

    def take(self) -> list[Event]:
        """The events that open it, once."""
        events, self.opening = self.opening, []
        self.flows = not self.whole_only
        return events

    def closing(self, status: str, mark: str | None) -> tuple[list[Event], bytes]:
        """The events that end it, and the whole item as JSON; `mark` is what brings a thought back to its maker."""
        raise NotImplementedError

    @property
    def empty(self) -> bool:
        """Whether nothing was said."""
        return not self.pieces

    def _text(self) -> str:
        return "".join(self.pieces)

    def _at(self, **more: Any) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index, **more}

    def _added(self, item: dict[str, Any]) -> Event:
        return Event("response.output_item.added", {"output_index": self.index, "item": item})

    def _done(self, item: dict[str, Any]) -> Event:
        return Event("response.output_item.done", {"output_index": self.index, "item": item})

    def _template(self, kind: str, tail: bytes = b"", **more: Any) -> bytes:
        """The frame of a delta: only its number and its text change."""
        name, members = kind.encode(), _ENCODE(self._at(**more))[1:-1].replace(b"%", b"%%")
        head = b'event: %b\ndata: {"type":"%b","sequence_number":%%d,%b,"delta":%%b' % (name, name, members)
        return head + tail + b"}\n\n"


class MessageItem(Item):
    """A message of parts, each text or a `refusal`. A part is one only once something is said in it."""

    lazy = True

    def __init__(self, item_id: str, index: int, *, refusal: bool = False) -> None:
        super().__init__(item_id, index)
        self._parts: list[dict[str, Any]] = []
        self._refusal = False
        self._begin(refusal=refusal)
        self.opening.insert(0, self._added(_message(item_id, [], "in_progress")))

    def next_part(self, *, refusal: bool = False) -> list[Event]:
        """The part is over, and what follows is another; the events that end it."""
        events = self._end()
        before = [] if self._parts else self.opening[:1]  # nobody has heard of the message
        self._begin(refusal=refusal)
        self.opening[:0] = before
        return events

    def closing(self, status: str, mark: str | None) -> tuple[list[Event], bytes]:  # noqa: ARG002 - a message has none
        """Text, part and item are over."""
        events = self._end()
        item = _message(self.id, self._parts, status)
        return [*events, self._done(item)], _ENCODE(item)

    def _begin(self, *, refusal: bool) -> None:
        self._refusal = refusal
        self.pieces = []
        self.citations = ()
        self.flows = False
        at = len(self._parts)
        says, tail = ("refusal", b"") if refusal else ("output_text", b',"logprobs":[]')
        self.opening = [Event("response.content_part.added", self._at(content_index=at, part=self._part("")))]
        self.delta = self._template(f"response.{says}.delta", tail, content_index=at)

    def _end(self) -> list[Event]:
        if not self.pieces:
            return []
        text = self._text()
        part, at = self._part(text), {"content_index": len(self._parts)}
        self._parts.append(part)
        if self._refusal:
            said = [Event("response.refusal.done", self._at(**at, refusal=text))]
        else:
            said = [
                Event(
                    "response.output_text.annotation.added",
                    self._at(**at, annotation_index=number, annotation=annotation),
                )
                for number, annotation in enumerate(part["annotations"])
            ]
            said.append(Event("response.output_text.done", self._at(**at, text=text, logprobs=[])))
        return [*said, Event("response.content_part.done", self._at(**at, part=part))]

    def _part(self, text: str) -> dict[str, Any]:
        if self._refusal:
            return {"type": "refusal", "refusal": text}
        found = annotations(self.citations, len(text)) if self.citations else []
        return {"type": "output_text", "text": text, "annotations": found, "logprobs": []}

    @property
    def empty(self) -> bool:
        """Whether nothing was said in any part."""
        return not (self._parts or self.pieces)


class ThoughtItem(Item):
    """A thought: its text is one part of a summary."""

    lazy = True
    is_thought = True

    def __init__(self, item_id: str, index: int) -> None:
        super().__init__(item_id, index)
        self.opening = [
            self._added(_thought(item_id, "", None)),
            Event("response.reasoning_summary_part.added", self._at(summary_index=0, part=_summary_part(""))),
        ]
        self.delta = self._template("response.reasoning_summary_text.delta", summary_index=0)

    def closing(self, status: str, mark: str | None) -> tuple[list[Event], bytes]:  # noqa: ARG002 - a thought has none
        """Summary and item are over. Without any text there is no part of a summary."""
        text = self._text()
        item = _thought(self.id, text, mark)
        if not text:
            return [*self.take()[:1], self._done(item)], _ENCODE(item)
        events = [
            Event("response.reasoning_summary_text.done", self._at(summary_index=0, text=text)),
            Event("response.reasoning_summary_part.done", self._at(summary_index=0, part=_summary_part(text))),
            self._done(item),
        ]
        return events, _ENCODE(item)


class FunctionItem(Item):
    """The call of a function, under the name that the caller gave it."""

    def __init__(self, item_id: str, index: int, call_id: str, shape: CallShape) -> None:
        super().__init__(item_id, index)
        self._call = (call_id, shape)
        self.opening = [self._added(self._whole("", "in_progress"))]
        self.delta = self._template("response.function_call_arguments.delta")

    def closing(self, status: str, mark: str | None) -> tuple[list[Event], bytes]:  # noqa: ARG002 - a call has none
        """Arguments and item are over."""
        text = self._text()
        item = self._whole(text, status)
        said = Event("response.function_call_arguments.done", self._at(name=item["name"], arguments=text))
        return [said, self._done(item)], _ENCODE(item)

    def _whole(self, arguments: str, status: str) -> dict[str, Any]:
        return {**_call_head("function_call", self.id, *self._call, status), "arguments": arguments}


class CustomItem(Item):
    """The call of a custom tool: free text. `wrapped` = it comes as the JSON of a function with one string `input`."""

    def __init__(self, item_id: str, index: int, call_id: str, shape: CallShape, *, wrapped: bool) -> None:
        super().__init__(item_id, index)
        self._call = (call_id, shape)
        self.whole_only = wrapped
        self.opening = [self._added(self._whole("", "in_progress"))]
        self.delta = self._template("response.custom_tool_call_input.delta")

    def closing(self, status: str, mark: str | None) -> tuple[list[Event], bytes]:  # noqa: ARG002 - a call has none
        """Input and item are over; an input that was wrapped is said now."""
        text = free_text(self._text()) if self.whole_only else self._text()
        item = self._whole(text, status)
        events = [Event("response.custom_tool_call_input.done", self._at(input=text)), self._done(item)]
        if self.whole_only and text:
            events.insert(0, Event("response.custom_tool_call_input.delta", self._at(delta=text)))
        return events, _ENCODE(item)

    def _whole(self, text: str, status: str) -> dict[str, Any]:
        return {**_call_head("custom_tool_call", self.id, *self._call, status), "input": text}


def _summary_part(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


def _message(item_id: str, parts: list[dict[str, Any]], status: str) -> dict[str, Any]:
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": parts}


def _thought(item_id: str, text: str, mark: str | None) -> dict[str, Any]:
    summary = [_summary_part(text)] if text else []
    item: dict[str, Any] = {"id": item_id, "type": "reasoning", "summary": summary}
    return {**item, "encrypted_content": mark} if mark is not None else item


def _call_head(kind: str, item_id: str, call_id: str, shape: CallShape, status: str) -> dict[str, Any]:
    head = {"id": item_id, "type": kind, "status": status, "call_id": call_id, "name": shape.name}
    return {**head, "namespace": shape.namespace} if shape.namespace else head


def free_text(arguments: str) -> str:
    """The input of a custom tool that was called as a function; what is not that JSON is the input itself."""
    try:
        value = _ANY.decode(arguments)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return arguments
    if not isinstance(value, dict):
        return value if isinstance(value, str) else arguments
    told = value.get("input")
    if isinstance(told, str):
        return told
    # Models rename the only field now and then.
    texts = [text for text in value.values() if isinstance(text, str)]
    if len(texts) == len(value) == 1:
        return texts[0]
    return arguments if value else ""
