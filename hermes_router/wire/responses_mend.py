"""A Responses stream that is passed on, made whole where its last event leaves the output out.

Owns the items seen so far, as they came, and their place in `response.completed` (facts: codex.md 0.3: the backend may
send `output: []`, and the SDKs read the answer from there). It must never change an output that is there.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw

__all__ = ["ItemKeeper"]

_DONE: Final = b'"response.output_item.done"'
_ENDS: Final = (b'"response.completed"', b'"response.incomplete"', b'"response.done"')
_HEAD: Final = 200  # bytes in which the type of an event stands
_MOST: Final = 4_096  # items
_MOST_BYTES: Final = 16 * 1024 * 1024
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_ENCODE: Final = msgspec.json.Encoder().encode


class _Done(msgspec.Struct, gc=False):
    item: Raw
    output_index: Any = None


_ITEM: Final = msgspec.json.Decoder(_Done)


class ItemKeeper:
    """The finished items of one answer, by their index."""

    def __init__(self) -> None:
        self._items: dict[int, bytes] = {}
        self._bytes = 0

    def mend(self, data: bytes) -> bytes:
        """The payload of an event, its empty output filled in; any other as it is. Never raises."""
        head = data[:_HEAD]
        try:
            if _DONE in head:
                self._keep(_ITEM.decode(data))
            elif self._items and any(end in head for end in _ENDS):
                return self._filled(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, KeyError):
            pass
        return data

    def _keep(self, done: _Done) -> None:
        index = done.output_index
        item = bytes(done.item)
        if len(self._items) >= _MOST or self._bytes + len(item) > _MOST_BYTES:
            return
        self._items[index if type(index) is int else len(self._items)] = item
        self._bytes += len(item)

    def _filled(self, data: bytes) -> bytes:
        event = _FIELDS.decode(data)
        response = _FIELDS.decode(event["response"])
        if bytes(response.get("output", Raw(b"[]"))).strip(b"[] \n\t\r"):
            return data
        response["output"] = Raw(b"[" + b",".join(item for _, item in sorted(self._items.items())) + b"]")
        event["response"] = Raw(_ENCODE(response))
        return _ENCODE(event)
