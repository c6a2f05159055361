"""Blocks of a Messages request as neutral parts.

Owns what each type of block means (facts: providers.md 12.3, 12.4, 12.9): images and documents of every source,
thoughts with their seals, calls, results with what is in them, and blocks of the provider's own tools, which others get
as text at most. It must never know a target.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.content import (
    NO_EXTRAS,
    Document,
    Extras,
    Foreign,
    Image,
    Part,
    Reasoning,
    Seal,
    Text,
    ToolCall,
    ToolResult,
)
from hermes_router.wire.fields import decode
from hermes_router.wire.messages.blocks import Block, decode_blocks, fault, is_null, kind_of, string
from hermes_router.wire.seals import unwrap

__all__ = ["DIALECT", "FILE_ID", "compact", "extras_of", "read_parts", "seal_of"]

DIALECT: Final = "anthropic_messages"
FILE_ID: Final = "file_id"
"""The kind of a Foreign part that is a file kept by a provider: for another it would be another file, or none."""

_TEXT: Final = frozenset({"type", "text"})
_SOURCE: Final = frozenset({"type", "source"})
_DOCUMENT: Final = frozenset({"type", "source", "title"})
_CALL: Final = frozenset({"type", "id", "name", "input"})
_RESULT: Final = frozenset({"type", "tool_use_id", "content", "is_error"})
_THOUGHT: Final = frozenset({"type", "thinking", "signature"})
_REDACTED: Final = frozenset({"type", "data"})
_SPACED: Final = (b"\n", b"\t", b"\r", b'": ', b", ", b"{ ")
_SAID: Final = frozenset({"text", "title", "url", "source", "stdout", "stderr", "content", "tool_name", "page_age"})


def extras_of(block: Mapping[str, Raw], known: frozenset[str], path: str) -> Extras:
    """The keys of a block that have no neutral name, decoded."""
    if block.keys() <= known:
        return NO_EXTRAS
    rest = {key: decode(raw, f"{path}.{key}") for key, raw in block.items() if key not in known and not is_null(raw)}
    return {DIALECT: rest} if rest else NO_EXTRAS


def read_parts(blocks: Iterable[Block], at: str) -> tuple[Part, ...]:
    """The parts of one message: results first, calls last. Raises BadRequest with the path."""
    first: list[Part] = []
    parts: list[Part] = []
    last: list[Part] = []
    for position, block in enumerate(blocks):
        part = read_part(block, f"{at}[{position}]")
        if isinstance(part, ToolResult):
            first.append(part)
        elif isinstance(part, ToolCall):
            last.append(part)
        else:
            parts.append(part)
    if first or last:
        return (*first, *parts, *last)
    return tuple(parts)


def read_part(block: Block, path: str) -> Part:
    """One block. Raises BadRequest with the path."""
    match kind_of(block, path):
        case "text":
            return Text(string(block, "text", path), extras_of(block, _TEXT, path))
        case "tool_use":
            return _call(block, path)
        case "tool_result":
            return _result(block, path)
        case "thinking":
            signature = string(block, "signature", path, needed=False)
            thought = string(block, "thinking", path, needed=False)
            return Reasoning(thought, seal_of(signature, "signature"), extras_of(block, _THOUGHT, path))
        case "redacted_thinking":
            return Reasoning("", seal_of(string(block, "data", path), "redacted"), extras_of(block, _REDACTED, path))
        case "image":
            return _image(block, path)
        case "document":
            return _document(block, path)
        case kind:
            value = {key: decode(raw, f"{path}.{key}") for key, raw in block.items()}
            return Foreign(DIALECT, kind, value, said_in(value))


def seal_of(data: str, kind: str) -> Seal | None:
    """The seal in a slot for signatures; a mark of ours tells who made it, and in which dialect."""
    if not data:
        return None
    return unwrap(data) or Seal(DIALECT, "redacted" if kind == "redacted" else "signature", data)


def compact(raw: Raw) -> str:
    """JSON as text, without white space between its tokens."""
    text = bytes(raw)
    if any(gap in text for gap in _SPACED):
        text = msgspec.json.format(text, indent=-1)
    return text.decode()


def _call(block: Block, path: str) -> ToolCall:
    raw = block.get("input")
    return ToolCall(
        string(block, "id", path, needed=False),
        string(block, "name", path, needed=False),
        "{}" if raw is None or is_null(raw) else compact(raw),
        extras=extras_of(block, _CALL, path),
    )


def _result(block: Block, path: str) -> ToolResult:
    raw = block.get("content")
    parts: tuple[Part, ...] = ()
    if raw is not None and not is_null(raw):
        if memoryview(raw)[0] == ord('"'):
            text = string(block, "content", path)
            parts = (Text(text),) if text else ()
        else:
            parts = read_parts(decode_blocks(raw, f"{path}.content"), f"{path}.content")
    failed = block.get("is_error")
    return ToolResult(
        string(block, "tool_use_id", path, needed=False),
        parts,
        failed is not None and bytes(failed) == b"true",
        extras_of(block, _RESULT, path),
    )


def _image(block: Block, path: str) -> Part:
    source = _source(block, path)
    match source.get("type"):
        case "base64":
            return Image(_data_url(source), extras=extras_of(block, _SOURCE, path))
        case "url":
            return Image(str(source.get("url")), extras=extras_of(block, _SOURCE, path))
        case _:
            return _kept_file(block, path)


def _document(block: Block, path: str) -> Part:
    source = _source(block, path)
    title = string(block, "title", path, needed=False)
    extras = extras_of(block, _DOCUMENT, path)
    match source.get("type"):
        case "base64":
            return Document(url=_data_url(source), title=title, extras=extras)
        case "url":
            return Document(url=str(source.get("url")), title=title, extras=extras)
        case "text":
            return Document(text=str(source.get("data")), title=title, extras=extras)
        case "content":
            content = source.get("content")
            text = content if isinstance(content, str) else said_in({"content": content})
            return Document(text=text, title=title, extras={DIALECT: {**extras.get(DIALECT, {}), "source": source}})
        case _:
            return _kept_file(block, path)


def _source(block: Block, path: str) -> dict[str, Any]:
    raw = block.get("source")
    source = None if raw is None else decode(raw, f"{path}.source")
    if not isinstance(source, dict):
        fault(f"{path}.source", "must be an object")
    return source


def _data_url(source: Mapping[str, Any]) -> str:
    return f"data:{source.get('media_type')};base64,{source.get('data')}"


def _kept_file(block: Block, path: str) -> Foreign:
    return Foreign(DIALECT, FILE_ID, {key: decode(raw, f"{path}.{key}") for key, raw in block.items()})


def said_in(value: Any) -> str:
    """What of a provider's own block can be said to others: titles, links, texts and outputs, a line each."""
    lines: list[str] = []
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            lines.append(node)
        elif isinstance(node, list):
            waiting.extend(reversed(node))
        elif isinstance(node, dict):
            waiting.extend(node[key] for key in reversed(node) if key in _SAID)
    return "\n".join(line for line in lines if line.strip())
