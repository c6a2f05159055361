"""The items that an answer was given, as a page of a list.

Owns the list's shape and its order, and the members that SDKs want of listed items (facts: providers.md 12.4). It must
never know where the items were kept.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.errors import BadRequest
from hermes_router.wire.responses.items import Item, open_items

__all__ = ["list_items"]

_MOST: Final = 100
_DEFAULT: Final = 20
_ENCODE: Final = msgspec.json.Encoder().encode
_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_",
    "function_call_output": "fco_", "custom_tool_call_output": "ctco_",
}  # fmt: skip


def list_items(items: bytes, owner: str, query: Mapping[str, str]) -> bytes:
    """One page of `items` (JSON without the brackets), the latest first unless `order` is `asc`.

    `owner` is the answer's id: ids that the caller did not give are made from it, always the same. Raises BadRequest.
    """
    limit = _limit(query.get("limit"))
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise BadRequest("order must be asc or desc", param="order")
    opened = open_items(Raw(b"[%b]" % items)) if items else []
    listed = [_shown(item, owner, at) for at, item in enumerate(opened)]
    if order == "desc":
        listed.reverse()
    after = query.get("after")
    if after:
        place = next((at for at, item in enumerate(listed) if item["id"] == after), None)
        if place is None:
            raise BadRequest(f"No item with id '{after[:100]}' found.", param="after")
        listed = listed[place + 1 :]
    page = listed[:limit]
    return _ENCODE({
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else "",
        "last_id": page[-1]["id"] if page else "",
        "has_more": len(listed) > limit,
    })  # fmt: skip


def _limit(said: str | None) -> int:
    if said is None:
        return _DEFAULT
    if not (said.isascii() and said.isdecimal() and len(said) < 4 and 1 <= int(said) <= _MOST):
        raise BadRequest(f"limit must be a number from 1 to {_MOST}", param="limit")
    return int(said)


def _shown(item: Item, owner: str, at: int) -> Item:
    """An item with an id, and a message with parts."""
    kind = item["type"]
    shown = dict(item)
    if not isinstance(shown.get("id"), str) or not shown["id"]:
        digest = hashlib.blake2b(f"{owner}\0{at}".encode(errors="replace"), digest_size=12).hexdigest()
        shown["id"] = f"{_PREFIXES.get(kind, 'item_')}{digest}"
    if kind == "message":
        shown["content"] = _parts(shown["role"], shown.get("content"))
        shown.setdefault("status", "completed")
    return shown


def _parts(role: str, content: Any) -> list[Any]:
    said = role == "assistant"
    if not isinstance(content, str):
        return content or []
    return [
        {"type": "output_text", "text": content, "annotations": []} if said else {"type": "input_text", "text": content}
    ]
