"""Whether a whole answer may be put together from a stream: only where it is one of text, thoughts and calls.

Owns what in a request brings more than those (providers.md 12.2, 12.4): tools that the provider runs, citations,
images. Such an answer is asked for whole, and passed on as it comes. It must never know a target.
"""

from typing import Final

import msgspec
from msgspec import Raw

from hermes_router.wire.inbound import Inbound

__all__ = ["is_foldable"]

_BRINGING: Final = frozenset({"plugins", "web_search_options", "mcp_servers", "container"})
_PLAIN_TOOLS: Final = frozenset({None, "function", "custom", "namespace"})
_CITED: Final = b'"citations"'
_SEARCHED: Final = b'"search_result"'
_TEXT: Final = ["text"]
_NULL: Final = Raw(b"null")


class _Tool(msgspec.Struct, gc=False):
    type: str | None = None


_TOOLS: Final = msgspec.json.Decoder(list[_Tool] | None)
_STRINGS: Final = msgspec.json.Decoder(list[str] | None)
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


def is_foldable(inbound: Inbound) -> bool:
    """Whether nothing in the request makes the provider say more than text, thoughts and calls of its tools."""
    fields = inbound.fields
    if not _BRINGING.isdisjoint(fields):
        return False
    try:
        modalities = _STRINGS.decode(fields.get("modalities", _NULL))
        tools = _TOOLS.decode(fields.get("tools", _NULL))
    except _UNREADABLE:
        return False
    if modalities not in (None, _TEXT) or any(one.type not in _PLAIN_TOOLS for one in tools or ()):
        return False
    if inbound.dialect != "anthropic_messages":
        return True
    messages = bytes(fields.get("messages", _NULL))
    return _CITED not in messages and _SEARCHED not in messages
