"""Turns as the items of a Responses request, for one target.

Owns how what was said is spelled (facts: providers.md 12.2-12.4, 12.9; codex.md 6.2): texts of the assistant as
`output_text`, thoughts before what they led to and only where the target's model made them, calls by the caller's own
names. Ids of items are not invented. It must never know a provider.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from hermes_router.core.content import (
    Audio,
    Document,
    Foreign,
    Image,
    Part,
    Reasoning,
    Seal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from hermes_router.core.errors import Inexpressible
from hermes_router.wire.chat.fields import unsaid_of
from hermes_router.wire.chat.outgoing import Options, Recall
from hermes_router.wire.quirks.draft import Draft
from hermes_router.wire.responses.content import DIALECT
from hermes_router.wire.responses.items import COMPACTIONS

__all__ = ["History", "goes_back", "stays_with_its_maker"]

Item = dict[str, Any]

_ENCODE: Final = msgspec.json.Encoder().encode
_ID_MAX: Final = 64
NOT_ITS_OWN: Final = "what was compacted is read by the model alone that made it"
_ERROR: Final = "Error: "
_SEE_BELOW: Final = "[the images of this result follow]"
_VIDEO: Final = frozenset({"video_url", "video", "input_video"})


def goes_back(seal: Seal | None, origin: str, options: Options, recall: Recall) -> bool:
    """Whether a sealed thought may be sent to the target called `origin`: only its own model reads it."""
    if seal is None or seal.dialect != DIALECT or not seal.data or options.strip_thoughts:
        return False
    if seal.origin and seal.origin != origin:
        return False
    return recall.made_here(seal.data) is not False


def stays_with_its_maker(data: str, options: Options, recall: Recall) -> None:
    """Raise Inexpressible where the target cannot read what was compacted; whoever may have made it is asked.

    A thought may be left out. This is all that is left of a conversation: without it another one would go on.
    """
    made_here = recall.made_here(data)
    if made_here is False or (made_here is None and options.strip_thoughts):
        raise Inexpressible(NOT_ITS_OWN, param="input")


class History:
    """Writes turns for one target. `plain`: only functions are known there, and results are text."""

    def __init__(
        self, draft: Draft, tools: Sequence[Tool], origin: str, options: Options, recall: Recall, *, plain: bool
    ) -> None:
        self._draft = draft
        self._origin = origin
        self._options = options
        self._recall = recall
        self._plain = plain
        self._tools = {} if plain else {tool.name: tool for tool in tools if tool.namespace or tool.plain_name}
        self._custom: set[str] = set()

    def items(self, turns: Sequence[Turn]) -> Iterator[Item]:
        """The items. Raises Inexpressible for what cannot be said here and whose loss would change the meaning."""
        for turn in turns:
            if turn.role == "assistant":
                yield from self._assistant(turn)
            elif turn.role == "user":
                yield from self._user(turn)
            else:
                yield self._message(turn.role, turn.parts, turn.name)

    # -- the assistant ---------------------------------------------------------------------------------

    def _assistant(self, turn: Turn) -> list[Item]:
        out: list[Item] = []
        content: list[Item] | None = None  # of the message that is being written
        phase = None
        for part in turn.parts:
            if isinstance(part, Text):
                own = part.extras.get(DIALECT, _NONE)
                if not part.text and not own:
                    continue
                if content is None or own.get("phase") != phase:
                    phase, content = own.get("phase"), []
                    out.append(_output_message(content, phase))
                content.append(_output_text(part.text, own))
                continue
            content = self._other(part, out)
        if not any(item["type"] == "reasoning" for item in out):
            out[:0] = self._remembered(turn)
        while out and out[-1]["type"] == "reasoning":
            out.pop()  # a thought without what it led to is refused
        return [_easy(item) for item in out] if self._plain else out

    def _other(self, part: Part, out: list[Item]) -> list[Item] | None:
        """Add what is no text; the content of the message that this begins, if it does."""
        match part:
            case Reasoning(seal=seal):
                if seal is not None and goes_back(seal, self._origin, self._options, self._recall):
                    out.append(_thought(part, seal))
            case ToolCall():
                out.append(self._call(part))
            case Foreign(dialect=dialect, value=value, text=text, kind=kind):
                if dialect == DIALECT and not self._plain and isinstance(value, dict):
                    out.append(value)
                elif text:
                    out.append(_output_message([_output_text(text, _NONE)], None))
                else:
                    self._draft.warn("dropped", kind or "content")
            case _:
                self._draft.warn("dropped", "assistant_media")
        return None

    def _remembered(self, turn: Turn) -> list[Item]:
        """The thoughts that led to the calls of a turn whose caller could not keep them."""
        if self._options.strip_thoughts:
            return []
        for part in turn.parts:
            if isinstance(part, ToolCall):
                found = self._recall.thoughts(part.call_id, part.name, part.arguments)
                items = [
                    _thought(each, each.seal)
                    for each in found
                    if each.seal is not None and goes_back(each.seal, self._origin, self._options, self._recall)
                ]
                if items:
                    return items
        return []

    def _call(self, call: ToolCall) -> Item:
        tool = self._tools.get(call.name)
        name, namespace = (tool.plain_name or tool.name, tool.namespace) if tool is not None else (call.name, "")
        item: Item = {"type": "function_call", "call_id": _call_id(call.call_id), "name": name}
        if namespace:
            item["namespace"] = namespace
        if not call.custom:
            item["arguments"] = call.arguments or "{}"
        elif self._plain:
            item["arguments"] = _ENCODE({"input": call.arguments}).decode()
        else:
            self._custom.add(call.call_id)
            item["type"] = "custom_tool_call"
            item["input"] = call.arguments
        if not self._plain:
            item |= call.extras.get(DIALECT, _NONE)
        return item

    # -- the user --------------------------------------------------------------------------------------

    def _user(self, turn: Turn) -> Iterator[Item]:
        rest: list[Part] = []
        shown: list[Part] = []  # the images of results, where results are text
        for part in turn.parts:
            if isinstance(part, ToolResult):
                yield self._result(part, shown)
            elif isinstance(part, Foreign) and part.kind in COMPACTIONS:
                yield from (self._message("user", each, turn.name) for each in (rest,) if each)
                rest = []
                yield self._compaction(part)
            elif isinstance(part, Foreign) and _is_item(part) and not self._plain:
                if rest:
                    yield self._message("user", rest, turn.name)
                    rest = []
                yield part.value
            else:
                rest.append(part)
        rest = shown + rest
        if rest or not turn.parts:
            yield self._message("user", rest, turn.name)

    def _compaction(self, part: Foreign) -> Item:
        """What stands for a history, or the order to make it. Raises Inexpressible where the target cannot read it."""
        item: Item = part.value
        if self._plain:
            raise Inexpressible("a compacted conversation cannot be sent to it", param="input")
        if part.kind == "compaction":
            stays_with_its_maker(item["encrypted_content"], self._options, self._recall)
        return item

    def _result(self, result: ToolResult, shown: list[Part]) -> Item:
        parts: list[Part] = list(result.parts)
        if self._plain:
            media = [part for part in parts if not isinstance(part, Text | Foreign)]
            said = (self._part(part) for part in parts if isinstance(part, Text | Foreign))
            texts = [each["text"] for each in said if each is not None and each["text"]]
            shown += media
            parts = [Text("\n".join([*texts, *([_SEE_BELOW] if media else [])]))]
        if result.is_error:
            parts = _marked(parts)
        custom = result.call_id in self._custom
        item: Item = {"type": "custom_tool_call_output" if custom else "function_call_output"}
        item["call_id"] = _call_id(result.call_id)
        item["output"] = self._content(parts)
        if not self._plain:
            item |= result.extras.get(DIALECT, _NONE)
        return item

    # -- messages --------------------------------------------------------------------------------------

    def _message(self, role: str, parts: Sequence[Part], name: str) -> Item:
        if name:
            self._draft.warn("dropped", "messages.name")
        return {"type": "message", "role": role, "content": self._content(parts)}

    def _content(self, parts: Sequence[Part]) -> str | list[Item]:
        """A string where all is one text, which is what every server takes."""
        if not parts:
            return ""
        if len(parts) == 1 and isinstance(first := parts[0], Text) and not first.extras.get(DIALECT):
            return first.text
        return [said for part in parts if (said := self._part(part)) is not None]

    def _part(self, part: Part) -> Item | None:
        match part:
            case Text(text=text):
                return {"type": "input_text", "text": text, **self._own(part)}
            case Image(url=url, detail=detail):
                image = {"type": "input_image", "image_url": url, **self._own(part)}
                if detail or self._plain:  # servers that copied the dialect want it said
                    image["detail"] = detail or "auto"
                return image
            case Document():
                return self._document(part)
            case Foreign(dialect=dialect, value=value, text=text, kind=kind):
                if dialect == DIALECT and not self._plain and isinstance(value, dict):
                    return value
                if text:
                    return {"type": "input_text", "text": text}
                if kind == "file_id":
                    raise Inexpressible("a file that its provider keeps", param="file_id")
                if kind in _VIDEO:
                    raise Inexpressible("video cannot be sent in Responses", param=kind)
                self._draft.warn("dropped", kind or "content")
                return None
            case Audio():
                raise Inexpressible("audio cannot be sent in Responses", param="input_audio")
        return None  # thoughts and calls are the assistant's

    def _document(self, part: Document) -> Item:
        for what in unsaid_of(part):
            self._draft.warn("dropped", what)
        if part.text:
            title = part.title or part.name
            return {"type": "input_text", "text": f"{title}\n\n{part.text}" if title else part.text}
        file: Item = {"type": "input_file", **self._own(part)}
        if part.url.startswith("data:"):
            file |= {"filename": part.name or part.title or "file.pdf", "file_data": part.url}
        else:
            file["file_url"] = part.url
            if part.name:
                file["filename"] = part.name
        return file

    def _own(self, part: Text | Image | Document) -> Mapping[str, Any]:
        return _NONE if self._plain else part.extras.get(DIALECT, _NONE)


_NONE: Final[Mapping[str, Any]] = {}


def _is_item(part: Foreign) -> bool:
    """Whether a part is an item of its own, as opposed to a part of a message."""
    return part.dialect == DIALECT and isinstance(part.value, dict) and not part.kind.startswith("input_")


def _marked(parts: list[Part]) -> list[Part]:
    """A result that is an error says so in its text: there is no field for it (12.4)."""
    first = parts[0] if parts else Text("")
    if not isinstance(first, Text):
        return [Text(_ERROR.strip()), *parts]
    if first.text.startswith(_ERROR):
        return parts
    return [first._replace(text=f"{_ERROR}{first.text}"), *parts[1:]]


def _thought(part: Reasoning, seal: Seal) -> Item:
    item: Item = {"type": "reasoning"}
    if seal.item_id:
        item["id"] = seal.item_id
    item["summary"] = [{"type": "summary_text", "text": part.text}] if part.text else []
    item["encrypted_content"] = seal.data
    return item


def _output_message(content: list[Item], phase: Any) -> Item:
    message: Item = {"type": "message", "role": "assistant", "content": content}
    if phase is not None:
        message["phase"] = phase
    return message


def _easy(item: Item) -> Item:
    """A message as one string: servers that copied the dialect want ids of messages that were not made there."""
    if item["type"] != "message":
        return item
    texts = (part.get("text") or part.get("refusal") for part in item["content"])
    return {"type": "message", "role": "assistant", "content": "\n\n".join(filter(None, texts))}


def _output_text(text: str, own: Mapping[str, Any]) -> Item:
    if own.get("refusal"):
        return {"type": "refusal", "refusal": text}
    part: Item = {"type": "output_text", "text": text, "annotations": []}
    for key, value in own.items():
        if key != "phase":
            part[key] = value
    return part


def _call_id(call_id: str) -> str:
    """The id, or one of 64 characters at most that it gives: the same in every turn."""
    if len(call_id) <= _ID_MAX:
        return call_id
    return f"call_{hashlib.blake2b(call_id.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"
