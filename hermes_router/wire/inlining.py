"""Images by their addresses, in a request of any dialect: where they are, and the same request with the images in it.

Owns the one walk over messages or items that finds them. What holds no image goes out byte for byte as it came, so a
provider's prompt cache sees the same prefix with each turn. It must never know a target, or fetch anything.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeGuard

import msgspec
from msgspec import Raw

from hermes_router.core.errors import BadRequest
from hermes_router.core.images import Picture
from hermes_router.wire.inbound import Inbound

__all__ = ["EARLIER", "Link", "inlined", "links", "own_bytes"]

EARLIER: Final = "previous_response_id"
"""The path of an image in an earlier turn: the caller has not sent it now."""

_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_RAWS: Final = msgspec.json.Decoder(list[Raw])
_ANY: Final = msgspec.json.Decoder()
_ENCODE: Final = msgspec.json.Encoder().encode
_LIST: Final = ord("[")

See = Callable[[str, str], Picture | None]
"""Told the URL of an image and its path; what it answers takes the image's place."""


class Link(NamedTuple):
    """An image by its address: the URL, and the path of the field that holds it, as the caller counts."""

    url: str
    path: str


def links(inbound: Inbound) -> list[Link]:
    """The images by their addresses, in their order; those that are in the request already are none.

    Raises BadRequest where the request cannot be read.
    """
    found: list[Link] = []

    def see(url: str, path: str) -> None:
        found.append(Link(url, path))

    _walk(inbound, see)
    return found


def inlined(inbound: Inbound, pictures: Mapping[str, Picture]) -> Inbound:
    """The same request with the picture of each URL instead of it. Raises BadRequest as `links` does."""
    fields = _walk(inbound, lambda url, _path: pictures.get(url))
    return inbound._replace(fields=fields, request=inbound.request._replace(image_urls=0))


def own_bytes(inbound: Inbound) -> int:
    """How long the fields are that the caller has sent now: the earlier turns before its own are not counted."""
    fields, before = inbound.fields, inbound.turn.before if inbound.turn is not None else 0
    whole = sum(map(len, fields.values()))
    return whole - sum(map(len, _RAWS.decode(fields["input"])[:before])) if before else whole


def _walk(inbound: Inbound, see: See) -> Mapping[str, Raw]:
    key, walk = _WALKS[inbound.dialect]
    fields = inbound.fields
    raw = fields.get(key)
    if raw is None or memoryview(raw)[0] != _LIST:
        return fields
    before = inbound.turn.before if inbound.turn is not None else 0
    try:
        changed = _each(raw, key, lambda item, at: walk(item, at, see), before)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BadRequest(f"{key} cannot be read: {error}", param=key) from None
    return fields if changed is None else {**fields, key: changed}


def _each(raw: Raw, at: str, change: Callable[[Raw, str], Raw | None], before: int = 0) -> Raw | None:
    """A list with some of its members changed; None where none is. The first `before` were sent earlier."""
    if memoryview(raw)[0] != _LIST:
        return None
    members = _RAWS.decode(raw)
    any_changed = False
    for index, member in enumerate(members):
        text = bytes(member)
        if b"image" not in text and b"\\" not in text:  # with an escape in it, a name may be spelled otherwise
            continue
        changed = change(member, f"{at}[{index - before}]" if index >= before and at != EARLIER else EARLIER)
        if changed is not None:
            members[index] = changed
            any_changed = True
    return Raw(_ENCODE(members)) if any_changed else None


def _field(raw: Raw, key: str, at: str, change: Callable[[Raw, str], Raw | None]) -> Raw | None:
    """An object with the members of one of its lists changed, None where none is."""
    fields = _FIELDS.decode(raw)
    inner = fields.get(key)
    changed = None if inner is None else _each(inner, _path(at, key), change)
    return None if changed is None else Raw(_ENCODE({**fields, key: changed}))


def _path(at: str, *keys: str) -> str:
    return at if at == EARLIER else ".".join((at, *keys))


def _is_link(url: Any) -> TypeGuard[str]:
    return isinstance(url, str) and not url.startswith("data:")


# --- Chat -------------------------------------------------------------------------------------------


def _chat(message: Raw, at: str, see: See) -> Raw | None:
    return _field(message, "content", at, lambda part, here: _chat_part(part, here, see))


def _chat_part(raw: Raw, at: str, see: See) -> Raw | None:
    part = _FIELDS.decode(raw)
    if _said(part, "type") != "image_url":
        return None
    image = _said(part, "image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not _is_link(url) or (picture := see(url, _path(at, "image_url", "url"))) is None:
        return None
    rest = image if isinstance(image, dict) else {}
    return Raw(_ENCODE({**part, "image_url": {**rest, "url": picture.url}}))


# --- Messages ---------------------------------------------------------------------------------------


def _message(message: Raw, at: str, see: See) -> Raw | None:
    return _field(message, "content", at, lambda block, here: _block(block, here, see))


def _block(raw: Raw, at: str, see: See) -> Raw | None:
    block = _FIELDS.decode(raw)
    match _said(block, "type"):
        case "image":
            source = _said(block, "source")
            url = source.get("url") if isinstance(source, dict) and source.get("type") == "url" else None
            if not _is_link(url) or (picture := see(url, _path(at, "source", "url"))) is None:
                return None
            own = {"type": "base64", "media_type": picture.media_type, "data": picture.data}
            return Raw(_ENCODE({**block, "source": own}))
        case "tool_result":
            return _message(raw, at, see)
        case "document" if "source" in block:
            changed = _message(block["source"], _path(at, "source"), see)
            return None if changed is None else Raw(_ENCODE({**block, "source": changed}))
    return None


# --- Responses --------------------------------------------------------------------------------------


def _item(item: Raw, at: str, see: See) -> Raw | None:
    key = "output" if "output" in _FIELDS.decode(item) else "content"
    return _field(item, key, at, lambda part, here: _item_part(part, here, see))


def _item_part(raw: Raw, at: str, see: See) -> Raw | None:
    part = _FIELDS.decode(raw)
    if _said(part, "type") != "input_image":
        return None
    url = _said(part, "image_url")
    if not _is_link(url) or (picture := see(url, _path(at, "image_url"))) is None:
        return None
    return Raw(_ENCODE({**part, "image_url": picture.url}))


def _said(fields: Mapping[str, Raw], key: str) -> Any:
    raw = fields.get(key)
    return None if raw is None else _ANY.decode(raw)


_WALKS: Final[Mapping[str, tuple[str, Callable[[Raw, str, See], Raw | None]]]] = {
    "openai_chat": ("messages", _chat),
    "anthropic_messages": ("messages", _message),
    "openai_responses": ("input", _item),
}
