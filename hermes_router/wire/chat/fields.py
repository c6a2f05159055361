"""Neutral content as the fields of a Chat Completions request, for any target that is asked in Chat.

Owns `write` (facts: providers.md 12.2-12.8). What comes out is like a caller's own Chat body, so that every quirk and
repair of the Chat rows works on it, target by target; it depends on no target and is made once. It must never know one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, assert_never

import msgspec
from msgspec import Raw

from hermes_router.core.chat import Warning as Notice
from hermes_router.core.content import (
    Audio,
    Conversation,
    Document,
    Foreign,
    Format,
    Image,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)
from hermes_router.core.errors import BadRequest, Inexpressible
from hermes_router.wire.chat.body_split import Fields
from hermes_router.wire.chat.traits import decode_messages, traits_of
from hermes_router.wire.quirks.parameters import SILENT

__all__ = ["ChatBody", "effort_of_budget", "not_offered", "response_format", "unsaid_of", "write"]

_ENCODE: Final = msgspec.json.Encoder().encode
_NO_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_FREE_TEXT: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}
"""The schema of a custom tool where there are only functions (12.4)."""
_ERROR: Final = "Error: "
_SEE_BELOW: Final = "[the images of this result follow]"
_BUDGETS: Final = ((512, "minimal"), (1_024, "low"), (8_192, "medium"), (24_576, "high"))
_CHAT: Final = "openai_chat"
_MESSAGES: Final = "anthropic_messages"
_OURS_ALONE: Final = frozenset({"store", "metadata", "safety_identifier", "prompt_cache_key", "service_tier"})
"""Of another dialect's caller: they tune nothing at a provider of this one, and most refuse them."""
_STATE: Final = frozenset({"container", "mcp_servers"})
_NOTHING: Final[tuple[Any, ...]] = (None, [], {}, "")
_ELSEWHERE: Final = frozenset({"tool_choice", "top_logprobs"})  # spoken of already
_QUIET: Final = SILENT | {"cache_control", "thinking", "output_config", "reasoning", "include", "truncation"}
"""Fields that only another dialect has, and that ask for nothing that could be missed here (clients.md 7.2, 7.4)."""


_NO_WORD: Final[dict[str, Any]] = {"role": "user", "content": "."}
"""What is asked where the caller has said nothing."""


class ChatBody(NamedTuple):
    """Fields as `outgoing.render` takes them, what their messages are like, and what could not be said."""

    fields: Fields
    traits: int
    warnings: tuple[Notice, ...]


def write(conversation: Conversation) -> ChatBody:
    """The fields. Raises Inexpressible for what Chat has no word for and whose loss would change the meaning."""
    draft = _Draft()
    messages = list(draft.messages(conversation)) or [_NO_WORD]  # a list without messages is refused everywhere
    fields = Fields()
    raw = Raw(_ENCODE(messages))
    fields["messages"] = raw
    for key, value in draft.parameters(conversation).items():
        fields[key] = Raw(_ENCODE(value))
    fields.messages = decode_messages(raw)
    return ChatBody(fields, traits_of(fields.messages), (*conversation.warnings, *draft.notes))


def effort_of_budget(tokens: int) -> str:
    """The effort that a budget of thinking tokens stands for (the scale of 12.8)."""
    if tokens <= 0:
        return "none"
    return next((effort for most, effort in _BUDGETS if tokens <= most), "xhigh")


class _Draft:
    """One translation; `notes` says what was lost."""

    def __init__(self) -> None:
        self.notes: dict[Notice, None] = {}

    def _warn(self, code: str, what: str) -> None:
        self.notes[Notice(code, what)] = None

    # -- messages --------------------------------------------------------------------------------------

    def messages(self, conversation: Conversation) -> Iterator[dict[str, Any]]:
        system = "\n\n".join(part.text for part in conversation.system if part.text.strip())
        if system:
            yield {"role": "system", "content": system}
        for turn in conversation.turns:
            match turn.role:
                case "assistant":
                    yield from self._assistant(turn)
                case "user":
                    yield from self._user(turn)
                case "system" | "developer":
                    text = "\n\n".join(_texts(turn.parts))
                    if text:
                        yield {"role": "system", "content": text}
                case _:
                    assert_never(turn.role)

    def _assistant(self, turn: Turn) -> Iterator[dict[str, Any]]:
        """One message: texts joined, a thought that is nobody's secret, and the calls."""
        message: dict[str, Any] = {"role": "assistant", "content": None}
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[dict[str, Any]] = []
        for part in turn.parts:
            match part:
                case Text(text=text):
                    texts.append(text)
                case Foreign(text=text, kind=kind):
                    texts.append(self._told(text, kind))
                case Reasoning(text=text, seal=seal):
                    if text and (seal is None or seal.kind == "none"):
                        thoughts.append(text)
                case ToolCall():
                    calls.append(_call(part))
                case _:
                    self._warn("dropped", "assistant_media")
        text = "\n\n".join(each for each in texts if each)
        if text:
            message["content"] = text
        if thoughts:
            message["reasoning_content"] = "\n\n".join(thoughts)
        if calls:
            message["tool_calls"] = calls
        if turn.name:
            message["name"] = turn.name
        if text or calls:
            yield message

    def _user(self, turn: Turn) -> Iterator[dict[str, Any]]:
        """Results first, each a message; then what else was said, and the images of the results (12.4)."""
        images: list[dict[str, Any]] = []
        rest: list[Part] = []
        for part in turn.parts:
            if isinstance(part, ToolResult):
                yield {"role": "tool", "tool_call_id": part.call_id, "content": self._result(part, images)}
            else:
                rest.append(part)
        parts = [*images, *(said for part in rest if (said := self._said(part)) is not None)]
        if not parts:
            return
        message: dict[str, Any] = {"role": "user", "content": _plain(parts)}
        if turn.name:
            message["name"] = turn.name
        yield message

    def _result(self, result: ToolResult, images: list[dict[str, Any]]) -> str:
        texts: list[str] = []
        for part in result.parts:
            if isinstance(part, Image):
                images.append(_image(part))
                texts.append(_SEE_BELOW)
                continue
            said = self._said(part)
            if said is not None and said["type"] == "text":
                texts.append(said["text"])
            elif said is not None:
                images.append(said)
        text = "\n".join(dict.fromkeys(texts))
        return f"{_ERROR}{text}" if result.is_error and not text.startswith(_ERROR) else text

    def _said(self, part: Part) -> dict[str, Any] | None:
        """A content part of a user's message, None for what says nothing."""
        match part:
            case Text(text=text):
                return {"type": "text", "text": text} if text else None
            case Image():
                return _image(part)
            case Document():
                return self._document(part)
            case Audio(data=data, format=kind):
                return {"type": "input_audio", "input_audio": {"data": data, "format": kind}}
            case Foreign(kind="file_id"):
                raise Inexpressible("a file that its provider keeps", param="file_id")
            case Foreign(text=text, kind=kind):
                return {"type": "text", "text": text} if self._told(text, kind) else None
            case Reasoning() | ToolCall() | ToolResult():
                return None
        assert_never(part)

    def _told(self, text: str, kind: str) -> str:
        """What a block of a provider's own says to others; it is said where that is nothing."""
        if not text:
            self._warn("dropped", kind or "content")
        return text

    def _document(self, part: Document) -> dict[str, Any]:
        for what in unsaid_of(part):
            self._warn("dropped", what)
        if part.text:
            title = part.title or part.name
            return {"type": "text", "text": f"{title}\n\n{part.text}" if title else part.text}
        if part.url.startswith("data:"):
            return {"type": "file", "file": {"file_data": part.url, "filename": part.name or part.title or "file.pdf"}}
        raise Inexpressible("a document by its address", param="document")

    # -- the rest --------------------------------------------------------------------------------------

    def parameters(self, conversation: Conversation) -> dict[str, Any]:
        out: dict[str, Any] = {}
        tools = self._chosen(conversation)
        if tools:
            out["tools"] = [self._tool(tool) for tool in tools]
        self._choice(conversation, out, bool(tools))
        if conversation.parallel is not None and tools:
            out["parallel_tool_calls"] = conversation.parallel
        if conversation.max_output_tokens is not None:
            out["max_tokens"] = conversation.max_output_tokens
        effort = conversation.effort
        if effort is None and conversation.thinking_tokens is not None:
            effort = effort_of_budget(conversation.thinking_tokens)
        if effort is not None:
            out["reasoning_effort"] = effort
        if conversation.format is not None:
            out["response_format"] = response_format(conversation.format)
        foreign = conversation.origin != _CHAT
        out |= {key: value for key, value in conversation.parameters.items() if not (foreign and key in _OURS_ALONE)}
        for dialect, own in conversation.extras.items():
            if dialect == _CHAT:
                out |= own
            else:
                self._foreign(own)
        return out

    def _foreign(self, own: Mapping[str, Any]) -> None:
        """Fields that only the caller's dialect has: refused where the answer would be another, else said."""
        for key, value in own.items():
            if key in _STATE and value:
                raise Inexpressible(f"{key} cannot be asked for in Chat", param=key)
            if key not in _ELSEWHERE and key not in _QUIET and not key.startswith("\0") and value not in _NOTHING:
                self._warn("dropped", key)

    def _chosen(self, conversation: Conversation) -> Sequence[Tool]:
        """The tools that may be called; hosted ones are nobody's here."""
        for _dialect, tool in conversation.hosted:
            kind = tool.get("type") if isinstance(tool, dict) else None
            self._warn("dropped", kind if isinstance(kind, str) else "hosted_tool")
        choice = conversation.choice
        if choice is None or choice.mode == "tool" or not choice.names:
            return conversation.tools
        self._warn("approx", "tool_choice")
        return [tool for tool in conversation.tools if tool.name in choice.names]

    def _choice(self, conversation: Conversation, out: dict[str, Any], any_tools: bool) -> None:
        choice = conversation.choice
        if choice is None:
            return
        if choice.mode == "tool":
            name = choice.names[0] if choice.names else ""
            if all(tool.name != name for tool in conversation.tools):
                raise not_offered(name, conversation)
            out["tool_choice"] = {"type": "function", "function": {"name": name}}
        elif any_tools:
            out["tool_choice"] = choice.mode

    def _tool(self, tool: Tool) -> dict[str, Any]:
        function: dict[str, Any] = {"name": tool.name}
        for what in unsaid_of(tool):
            self._warn("dropped", what)
        if tool.description:
            function["description"] = tool.description
        if tool.custom:
            if tool.extras:
                self._warn("approx", "tools.format")  # the grammar is lost
            function["parameters"] = _FREE_TEXT
        else:
            function["parameters"] = tool.schema if tool.schema is not None else _NO_SCHEMA
        if tool.strict is not None:
            function["strict"] = tool.strict
        return {"type": "function", "function": function}


def _texts(parts: Sequence[Part]) -> Iterator[str]:
    return (part.text for part in parts if isinstance(part, Text) and part.text)


def _plain(parts: list[dict[str, Any]]) -> Any:
    """A string where all is text: what every provider takes."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts


def _image(part: Image) -> dict[str, Any]:
    image = {"url": part.url}
    if part.detail:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = _ENCODE({"input": call.arguments}).decode() if call.custom else call.arguments or "{}"
    said: dict[str, Any] = {"id": call.call_id, "type": "function"}
    said["function"] = {"name": call.name, "arguments": arguments}
    said.update(call.extras.get(_CHAT, {}))
    return said


def unsaid_of(part: Document | Tool) -> Iterator[str]:
    """What Messages says of a document or of a tool, and the other dialects have no word for."""
    own = part.extras.get(_MESSAGES, {})
    if isinstance(part, Tool):
        yield from ("tools.input_examples",) if own.get("input_examples") else ()
        return
    citations = own.get("citations")
    if own.get("context"):
        yield "document.context"
    if isinstance(citations, dict) and citations.get("enabled"):
        yield "document.citations"


def not_offered(name: str, conversation: Conversation) -> BadRequest | Inexpressible:
    """What to raise where a tool is demanded that is none of the caller's: a provider's own, or nobody's."""
    hosted = [tool for _dialect, tool in conversation.hosted if isinstance(tool, dict)]
    if any(name in (tool.get("name"), tool.get("type")) for tool in hosted):
        return Inexpressible(f"the tool {name[:64]} is run by a provider", param="tool_choice")
    return BadRequest(f"tool_choice names {name[:64]!r}, which is none of the tools", param="tool_choice")


def response_format(wanted: Format) -> dict[str, Any]:
    """The Chat word for the shape that an answer must have."""
    if wanted.kind == "json_object":
        return {"type": "json_object"}
    inner: dict[str, Any] = {"name": wanted.name or "output", "schema": wanted.schema or {"type": "object"}}
    if wanted.strict is not None:
        inner["strict"] = wanted.strict
    if wanted.description:
        inner["description"] = wanted.description
    return {"type": "json_schema", "json_schema": inner}
