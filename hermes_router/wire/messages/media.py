"""Images, documents and foreign parts as Messages blocks.

Owns what the dialect can hold of them (facts: providers.md 12.3): four kinds of images, told by their first bytes,
since a wrong media type is refused; PDF and text; of other providers' own blocks their text. It must never know a
provider.
"""

import base64
import binascii
import re
from typing import Any, Final

from hermes_router.core.content import Audio, Document, Extras, Foreign, Image
from hermes_router.core.errors import Inexpressible
from hermes_router.core.images import media_type_of
from hermes_router.wire.chat.fields import unsaid_of
from hermes_router.wire.messages.parts import DIALECT, FILE_ID
from hermes_router.wire.messages.rules import Notes, Rules

__all__ = ["media_blocks", "own_keys"]

_DATA_URL: Final = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_LOOK: Final = 24  # characters of base64 that hold the first bytes of any of them
_VIDEO: Final = frozenset({"video_url", "video", "input_video"})
_FOR_THE_MAKER: Final = frozenset({"search_result", "tool_reference"})
"""Blocks that a caller writes itself; the others are what a provider's own tools left behind."""


def own_keys(extras: Extras) -> dict[str, Any]:
    """What a part brought along that only this dialect has."""
    own = extras.get(DIALECT)
    return own if isinstance(own, dict) else {}


def media_blocks(part: Image | Document | Audio | Foreign, rules: Rules, notes: Notes) -> list[dict[str, Any]]:
    """The blocks of a part that is no text. Raises Inexpressible."""
    match part:
        case Image():
            return [_image(part)]
        case Document():
            return [_document(part, rules, notes)]
        case Audio():
            raise Inexpressible("no sound in this dialect", param="messages")
        case Foreign():
            return _foreign(part, rules, notes)


def _image(part: Image) -> dict[str, Any]:
    url = part.url
    if url.startswith(("http://", "https://")):
        return {"type": "image", "source": {"type": "url", "url": url}, **own_keys(part.extras)}
    found = _DATA_URL.match(url)
    if found is None or ";base64" not in found[2].lower():
        raise Inexpressible("an image that is neither a link nor base64", param="messages")
    data = url[found.end() :]
    source = {"type": "base64", "media_type": _media_type(data), "data": data}
    return {"type": "image", "source": source, **own_keys(part.extras)}


def _media_type(data: str) -> str:
    try:
        head = base64.b64decode(data[:_LOOK], validate=True)
    except (binascii.Error, ValueError):
        head = b""
    media_type = media_type_of(head)
    if media_type is None:
        raise Inexpressible("an image that is none of jpeg, png, gif, webp", param="messages")
    return media_type


def _document(part: Document, rules: Rules, notes: Notes) -> dict[str, Any]:
    own = own_keys(part.extras)
    title = part.title or part.name
    if part.text and not part.url and not rules.files:  # a text is read everywhere
        marks = {"cache_control": own["cache_control"]} if "cache_control" in own else {}
        for what in unsaid_of(part):
            notes.warn("dropped", what)
        return {"type": "text", "text": f"{title}\n\n{part.text}" if title else part.text, **marks}
    block: dict[str, Any] = {"type": "document", "source": own.get("source") or _source(part)}
    if title:
        block["title"] = title
    return {**block, **{key: value for key, value in own.items() if key != "source"}}


def _source(part: Document) -> dict[str, Any]:
    url = part.url
    if not url:
        return {"type": "text", "media_type": "text/plain", "data": part.text}
    if url.startswith(("http://", "https://")):
        return {"type": "url", "url": url}
    found = _DATA_URL.match(url)
    kind = found[1].lower() if found is not None else ""
    if found is None or ";base64" not in found[2].lower():
        raise Inexpressible("a file that is neither a link nor base64", param="messages")
    data = url[found.end() :]
    if kind == "application/pdf":
        return {"type": "base64", "media_type": kind, "data": data}
    if kind.startswith("text/") or kind == "application/json":
        try:
            text = base64.b64decode(data, validate=True).decode()
        except (binascii.Error, ValueError):
            raise Inexpressible("a text file that cannot be read", param="messages") from None
        return {"type": "text", "media_type": "text/plain", "data": text}
    raise Inexpressible("a file that is neither PDF nor text", param="messages")


def _foreign(part: Foreign, rules: Rules, notes: Notes) -> list[dict[str, Any]]:
    if part.dialect == DIALECT and (rules.hosted or (rules.betas and part.kind in _FOR_THE_MAKER)):
        return [part.value]
    if part.kind == FILE_ID:
        raise Inexpressible("a file kept by another provider", param="messages")
    if part.kind in _VIDEO:
        raise Inexpressible("no video in this dialect", param="messages")
    if part.text.strip():
        notes.warn("approx", f"messages.{part.kind}")
        return [{"type": "text", "text": part.text}]
    notes.warn("dropped", f"messages.{part.kind}")
    return []
