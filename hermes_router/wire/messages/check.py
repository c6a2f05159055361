"""The shapes of the messages of a Messages request: each block that somebody will read, checked at every depth.

Owns naming the first wrong value by its path, and counting what routing needs to know of images, files and results
(facts: providers.md 12.3, 12.4). Types of blocks that nobody knows pass. It must never know a target.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from hermes_router.wire.messages.blocks import Block, Message, decode_blocks, expect, fault, is_null, kind_of, string

__all__ = ["Seen", "check_messages"]

_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_STRING, _OBJECT, _LIST = b'"', b"{", b"["
_IMAGE: Final = ("base64", "url", "file")
_DOCUMENT: Final = ("base64", "text", "url", "content", "file")
_FLAGS: Final = (b"true", b"false", b"null")
_WITHIN: Final = "result"  # the role of blocks within blocks


class Seen(msgspec.Struct):
    """What one look at the messages collects; `payload` are bytes that cost no tokens as text."""

    images: int = 0
    image_urls: int = 0
    files: bool = False
    tool_results: int = 0
    payload: int = 0


def check_messages(messages: Sequence[Message]) -> Seen:
    """What the messages hold. Raises BadRequest with the path of what is wrong."""
    seen = Seen()
    try:
        for index, message in enumerate(messages):
            if not isinstance(message.content, str):
                _check_content(message.content, message.role, f"messages[{index}].content", seen)
    except RecursionError:
        fault("messages", "is nested too deeply")
    return seen


def _check_content(blocks: list[Block], role: str, at: str, seen: Seen) -> None:
    for position, block in enumerate(blocks):
        _check_block(block, role, f"{at}[{position}]", seen)


def _check_block(block: Block, role: str, path: str, seen: Seen) -> None:  # noqa: PLR0912 - one case a type
    """Name a wrong block; count what routing needs to know."""
    match kind_of(block, path):
        case "text":
            expect(block, "text", _STRING, path)
        case "tool_use":
            if role != "assistant":
                fault(path, "is a tool_use block, which belongs into an assistant message")
            expect(block, "id", _STRING, path, needed=False)
            expect(block, "name", _STRING, path, needed=False)
            expect(block, "input", _OBJECT, path, needed=False)
        case "tool_result":
            if role != "user":
                fault(path, "is a tool_result block, which belongs into a user message")
            _check_result(block, path, seen)
        case "thinking":
            expect(block, "thinking", _STRING, path, needed=False)
            if expect(block, "signature", _STRING, path, needed=False):
                seen.payload += len(block["signature"])
        case "redacted_thinking":
            expect(block, "data", _STRING, path)
            seen.payload += len(block["data"])
        case "image":
            _check_source(block, path, _IMAGE, seen)
        case "document":
            _check_source(block, path, _DOCUMENT, seen)
            expect(block, "title", _STRING, path, needed=False)
        case "search_result":
            if "content" in block:
                _check_content(decode_blocks(block["content"], f"{path}.content"), _WITHIN, f"{path}.content", seen)
        case "container_upload":
            seen.files = True


def _check_result(block: Block, path: str, seen: Seen) -> None:
    seen.tool_results += 1
    expect(block, "tool_use_id", _STRING, path, needed=False)
    if "is_error" in block and bytes(block["is_error"]) not in _FLAGS:
        fault(f"{path}.is_error", "must be true or false")
    raw = block.get("content")
    if raw is None or is_null(raw) or memoryview(raw)[0] == _STRING[0]:
        return
    if memoryview(raw)[0] != _LIST[0]:
        fault(f"{path}.content", "must be a string or a list of blocks")
    _check_content(decode_blocks(raw, f"{path}.content"), _WITHIN, f"{path}.content", seen)


def _check_source(block: Block, path: str, kinds: tuple[str, ...], seen: Seen) -> None:
    expect(block, "source", _OBJECT, path)
    at = f"{path}.source"
    source = _object(block["source"], at)
    kind, is_image = string(source, "type", at), kinds is _IMAGE
    match kind if kind in kinds else "":
        case "base64":
            expect(source, "media_type", _STRING, at)
            expect(source, "data", _STRING, at)
            seen.payload += len(source["data"])
        case "text":
            expect(source, "data", _STRING, at)
        case "url":
            expect(source, "url", _STRING, at)
            seen.image_urls += is_image
        case "file":
            expect(source, "file_id", _STRING, at)
        case "content":
            raw = source.get("content")
            if raw is not None and memoryview(raw)[0] == _LIST[0]:
                _check_content(decode_blocks(raw, f"{at}.content"), _WITHIN, f"{at}.content", seen)
            else:
                expect(source, "content", _STRING, at)
        case _:
            fault(f"{at}.type", f"must be one of {', '.join(kinds)}")
    seen.images += is_image
    seen.files |= not is_image and kind not in ("text", "content")


def _object(raw: Raw, path: str) -> dict[str, Raw]:
    try:
        return _FIELDS.decode(raw)
    except RecursionError:
        fault(path, "is nested too deeply")
    except (msgspec.MsgspecError, UnicodeError) as error:
        fault(path, f"cannot be read: {error}")
