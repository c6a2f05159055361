"""A Responses stream that is passed on, made whole where its last event leaves out what SDKs read.

Owns the items seen so far, as they came, and their place in `response.completed` (facts: codex.md 0.3: the backend may
send `output: []`, and the SDKs read the answer from there), and the details of its usage, which are numbers always
(providers.md 12.7). It must never change what is there.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw

__all__ = ["ItemKeeper", "with_output"]

_DONE: Final = b'"response.output_item.done"'
_ENDS: Final = (b'"response.completed"', b'"response.incomplete"', b'"response.done"')
_HEAD: Final = 200  # bytes in which the type of an event stands
_MOST: Final = 4_096  # items
_MOST_BYTES: Final = 16 * 1024 * 1024
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_ANY: Final = msgspec.json.Decoder()
_ENCODE: Final = msgspec.json.Encoder().encode
_DETAILS: Final = {
    "input_tokens_details": ("cached_tokens", "cache_write_tokens"),
    "output_tokens_details": ("reasoning_tokens",),
}


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
        """The payload of an event; that of the last with what it leaves out. Never raises."""
        head = data[:_HEAD]
        try:
            if _DONE in head:
                self._keep(_ITEM.decode(data))
            elif any(end in head for end in _ENDS):
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
        more: dict[str, Raw] = {}
        if self._items and not bytes(response.get("output", Raw(b"[]"))).strip(b"[] \n\t\r"):
            more["output"] = Raw(b"[" + b",".join(item for _, item in sorted(self._items.items())) + b"]")
        usage = _detailed(response.get("usage"))
        if usage is not None:
            more["usage"] = usage
        if not more:
            return data
        event["response"] = Raw(_ENCODE({**response, **more}))
        return _ENCODE(event)


def _detailed(raw: Raw | None) -> Raw | None:
    """A usage whose details were not all told, with all of them; None where nothing is missing, or nothing is told."""
    usage: Any = _ANY.decode(raw) if raw is not None else None
    if not isinstance(usage, dict) or "input_tokens" not in usage:
        return None
    changed = False
    for key, names in _DETAILS.items():
        told = usage.get(key)
        details = told if isinstance(told, dict) else {}
        missing = {name: 0 for name in names if type(details.get(name)) is not int}
        if missing:
            usage[key] = {**details, **missing}
            changed = True
    return Raw(_ENCODE(usage)) if changed else None


def with_output(body: bytes, last: bytes) -> bytes:
    """A `response` with the output of the one that a stream ended with: all of its items, as they came.

    As it is where that cannot be read.
    """
    try:
        output = _FIELDS.decode(_FIELDS.decode(last)["response"])["output"]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, KeyError):
        return body
    return _ENCODE({**_FIELDS.decode(body), "output": output})
