"""The event stream of Responses: its lifecycle, its indexes and its numbers, as the SDK's helper follows them.

Owns the grammar. Every event names its item and its place, so each is held against what was opened before.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hermes_router.conformance import responses
from hermes_router.conformance.answer import Answer, Kind, Wrong
from hermes_router.conformance.frames import DONE, Frame
from hermes_router.conformance.shapes import Shape, anything, count, each, faults, filled, members, shown, text
from hermes_router.conformance.tongue import as_object, objects, words

_ENDS: Final = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
_AT: Final[dict[str, Shape]] = {"item_id": filled, "output_index": count}
_IN: Final[dict[str, Shape]] = {**_AT, "content_index": count}
_SUM: Final[dict[str, Shape]] = {**_AT, "summary_index": count}
EVENTS: Final[dict[str, Shape]] = {
    "response.output_item.added": members({"output_index": count, "item": anything}),
    "response.output_item.done": members({"output_index": count, "item": anything}),
    "response.content_part.added": members({**_IN, "part": anything}),
    "response.content_part.done": members({**_IN, "part": anything}),
    "response.output_text.delta": members({**_IN, "delta": text, "logprobs": each(anything)}),
    "response.output_text.done": members({**_IN, "text": text, "logprobs": each(anything)}),
    "response.output_text.annotation.added": members({**_IN, "annotation_index": count, "annotation": anything}),
    "response.refusal.delta": members({**_IN, "delta": text}),
    "response.refusal.done": members({**_IN, "refusal": text}),
    "response.function_call_arguments.delta": members({**_AT, "delta": text}),
    "response.function_call_arguments.done": members({**_AT, "arguments": text}),
    "response.custom_tool_call_input.delta": members({**_AT, "delta": text}),
    "response.custom_tool_call_input.done": members({**_AT, "input": text}),
    "response.reasoning_summary_part.added": members({**_SUM, "part": anything}),
    "response.reasoning_summary_part.done": members({**_SUM, "part": anything}),
    "response.reasoning_summary_text.delta": members({**_SUM, "delta": text}),
    "response.reasoning_summary_text.done": members({**_SUM, "text": text}),
    "response.reasoning_text.delta": members({**_IN, "delta": text}),
    "response.reasoning_text.done": members({**_IN, "text": text}),
}
_GROWING: Final = {
    "response.output_text": ("content_index", "text"),
    "response.refusal": ("content_index", "refusal"),
    "response.function_call_arguments": ("", "arguments"),
    "response.custom_tool_call_input": ("", "input"),
    "response.reasoning_summary_text": ("summary_index", "text"),
    "response.reasoning_text": ("content_index", "text"),
}
"""What grows by deltas: the index that says which part of its item, and the member that its end repeats it in."""
_PARTED: Final = {"response.output_text", "response.refusal", "response.reasoning_summary_text"}


class _Item:
    """An item that was added: what it is, and what has come of it."""

    def __init__(self, item: Mapping[str, Any]) -> None:
        self.id = words(item.get("id"))
        self.type = words(item.get("type"))
        self.parts: dict[tuple[str, int], bool] = {}  # of its content and of its summary; True = it is open
        self.grown: dict[tuple[str, int], str] = {}
        self.done: Mapping[str, Any] | None = None


class Reading:
    """One stream. Raises Wrong where it tells of a failure, or has no response in it."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.faults: list[tuple[Kind, str]] = []
        self.items: list[_Item] = []
        self.id = ""
        self.model = ""
        self.last: Mapping[str, Any] | None = None
        events = [as_object(frame.data, "an event's data") for frame in frames if frame.data != DONE]
        names = [frame.name for frame in frames if frame.data != DONE]
        for at, (name, event) in enumerate(zip(names, events, strict=True)):
            self._event(at, name, event)
        if not events:
            raise Wrong("a stream without a single event")
        if self.last is None:
            self._amiss("grammar", "the stream ends without response.completed, .incomplete or .failed")

    def answer(self) -> Answer:
        """What it came to: the response as its last event tells it, else what its items add up to."""
        body = self.last
        if body is None:
            body = {"model": self.model, "output": [item.done for item in self.items if item.done is not None]}
        return responses.read(body, self.faults)

    def _amiss(self, kind: Kind, why: str) -> None:
        self.faults.append((kind, why))

    def _event(self, at: int, name: str, event: Mapping[str, Any]) -> None:
        kind = words(event.get("type"))
        if kind == "error":
            raise Wrong(f"the stream ended in an error: {shown(event.get('message') or event.get('error'), 200)}")
        if name != kind:
            self._amiss("grammar", f"event {at}, a {kind or '?'}, has `event: {name}`")
        if event.get("sequence_number") != at:
            self._amiss(
                "grammar", f"event {at}, a {kind}, has the sequence_number {shown(event.get('sequence_number'))}"
            )
        if at == 0 and kind != "response.created":
            self._amiss("grammar", f"the first event should be response.created, and is {kind}")
        if self.last is not None:
            self._amiss("grammar", f"event {at}, a {kind}, follows the response's end")
        if kind in EVENTS:
            for why in faults(EVENTS[kind], event, f"event {at}, a {kind}:"):
                self._amiss("envelope", why.replace(":.", ": "))
        stem, _, step = kind.rpartition(".")
        if "response" in event:
            self._lifecycle(at, kind, event)
        elif kind == "response.output_item.added":
            self._added(at, event)
        elif kind == "response.output_item.done":
            self._done(at, event)
        elif stem in {"response.content_part", "response.reasoning_summary_part"}:
            self._part(at, stem, step, event)
        elif stem in _GROWING:
            self._grow(at, stem, step, event)

    # -- the response ------------------------------------------------------------------------------------

    def _lifecycle(self, at: int, kind: str, event: Mapping[str, Any]) -> None:
        response = as_object(event.get("response"), f"the response of {kind}")
        told = words(response.get("id"))
        if self.id and told != self.id:
            self._amiss("grammar", f"event {at}: the response's id changes from {self.id} to {told}")
        self.id = self.id or told
        self.model = words(response.get("model")) or self.model
        if kind not in _ENDS:
            if kind == "response.created":
                for why in faults(responses.BEGUN, response, "response.created: response"):
                    self._amiss("envelope", why)
                if at:
                    self._amiss("grammar", f"event {at} is a response.created again")
            return
        if kind == "response.failed":
            raise Wrong(f"the stream ended in an error: {shown(response.get('error'), 200)}")
        self.last = response
        for why in faults(responses.ENVELOPE, response, f"{kind}: response"):
            self._amiss("envelope", why)
        if response.get("status") != _ENDS[kind]:
            self._amiss("grammar", f"{kind} tells of a response with the status {shown(response.get('status'))}")
        self._all_told(kind, objects(response.get("output")))

    def _all_told(self, kind: str, output: list[Mapping[str, Any]]) -> None:
        """Every item was closed, and the last event repeats all of them."""
        if unclosed := [item.id for item in self.items if item.done is None]:
            self._amiss("grammar", f"no response.output_item.done for {shown(unclosed)}")
        ids = [words(item.get("id")) for item in output]
        if ids != [item.id for item in self.items]:
            self._amiss(
                "grammar", f"{kind} lists the items {shown(ids)}, added were {shown([i.id for i in self.items])}"
            )
            return
        for item, told in zip(self.items, output, strict=True):
            if item.done is not None and told != item.done:
                self._amiss("grammar", f"{kind} tells {item.id} otherwise than its response.output_item.done")

    # -- its items ---------------------------------------------------------------------------------------

    def _added(self, at: int, event: Mapping[str, Any]) -> None:
        if event.get("output_index") != len(self.items):
            self._amiss(
                "grammar",
                f"event {at} has the output_index {shown(event.get('output_index'))}: {len(self.items)} is next",
            )
        item = as_object(event.get("item"), "the item of response.output_item.added")
        for why in faults(members({"id": filled, "type": filled}), item, f"event {at}: item"):
            self._amiss("content", why)
        added = _Item(item)
        if added.id and any(one.id == added.id for one in self.items):
            self._amiss("grammar", f"event {at} adds a second item with the id {added.id}")
        self.items.append(added)

    def _item(self, at: int, event: Mapping[str, Any]) -> _Item | None:
        index, kind = event.get("output_index"), event.get("type")
        if not isinstance(index, int) or not 0 <= index < len(self.items):
            self._amiss("grammar", f"event {at}, a {kind}, is of the output_index {shown(index)}, which was not added")
            return None
        item = self.items[index]
        if item.done is not None:
            self._amiss("grammar", f"event {at}, a {kind}, comes behind the end of its item")
        told = event.get("item_id", item.id)
        if told != item.id:
            self._amiss("grammar", f"event {at}, a {kind}, has the item_id {shown(told)}: the item is {item.id}")
        return item

    def _done(self, at: int, event: Mapping[str, Any]) -> None:
        item = self._item(at, event)
        told = as_object(event.get("item"), "the item of response.output_item.done")
        if item is None:
            return
        if (words(told.get("id")), words(told.get("type"))) != (item.id, item.type):
            self._amiss("grammar", f"event {at} ends the item {shown([item.id, item.type])} as another")
        if unclosed := [f"{stem} {index}" for (stem, index), is_open in item.parts.items() if is_open]:
            self._amiss("grammar", f"event {at} ends {item.id}, whose parts are open: {', '.join(unclosed)}")
        for (stem, index), grown in item.grown.items():
            if (repeated := _repeated(told, stem, index)) is not None and repeated != grown:
                self._amiss(
                    "grammar", f"event {at} ends {item.id} with {shown(repeated)}; its deltas were {shown(grown)}"
                )
        item.done = told

    def _part(self, at: int, stem: str, step: str, event: Mapping[str, Any]) -> None:
        item = self._item(at, event)
        index = event.get("summary_index" if stem.endswith("summary_part") else "content_index")
        if item is None or not isinstance(index, int):
            return
        of_kind = [place for place in item.parts if place[0] == stem]
        if step == "added":
            if index != len(of_kind):
                self._amiss("grammar", f"event {at} adds part {index} where {len(of_kind)} is next")
            item.parts[stem, index] = True
        elif not item.parts.get((stem, index)):
            self._amiss("grammar", f"event {at} ends part {index}, which is not open")
        else:
            item.parts[stem, index] = False

    def _grow(self, at: int, stem: str, step: str, event: Mapping[str, Any]) -> None:
        item = self._item(at, event)
        if item is None:
            return
        by, member = _GROWING[stem]
        index = event.get(by, 0) if by else 0
        place = (stem, index if isinstance(index, int) else 0)
        holder = "response.reasoning_summary_part" if by == "summary_index" else "response.content_part"
        if stem in _PARTED and not item.parts.get((holder, place[1])):
            self._amiss("grammar", f"event {at}, a {event.get('type')}, is of part {place[1]}, which is not open")
        if step == "delta":
            item.grown[place] = item.grown.get(place, "") + words(event.get("delta"))
        elif step == "done" and words(event.get(member)) != item.grown.get(place, ""):
            grown = shown(item.grown.get(place, ""))
            self._amiss(
                "grammar", f"event {at} ends {item.id} with {shown(event.get(member))}; its deltas were {grown}"
            )


def _repeated(item: Mapping[str, Any], stem: str, index: int) -> str | None:
    """What a finished item holds of what grew; None where it has no such place."""
    _, member = _GROWING[stem]
    if stem in {"response.function_call_arguments", "response.custom_tool_call_input"}:
        return words(item.get(member))
    parts = objects(item.get("summary" if stem == "response.reasoning_summary_text" else "content"))
    return words(parts[index].get(member)) if 0 <= index < len(parts) else None
