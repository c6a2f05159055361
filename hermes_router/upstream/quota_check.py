"""Asks a provider what is left of an account's windows, where it tells that at no cost.

Owns the question and the reading of its answer (facts/providers.md 3.13): numbers, as text or not, at any depth, under
`remaining`. It must never decide what follows from them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from hermes_router.core.errors import Malformed, UpstreamError
from hermes_router.core.ports import Outbound, Transport
from hermes_router.upstream.fetch import fetch

__all__ = ["has_room"]

_TIMEOUT_S: Final = 15.0
_DEPTH: Final = 6


async def has_room(transport: Transport, url: str, headers: Mapping[str, str]) -> bool:
    """Whether every window that is told has something left. Raises UpstreamError where nothing can be read of it."""
    try:
        reply = await fetch(transport, Outbound("GET", url, headers), timeout_s=_TIMEOUT_S)
    except ValueError as error:
        raise UpstreamError(f"the address cannot be asked: {error}") from None
    if reply.status != 200:
        raise UpstreamError(f"it was refused with HTTP {reply.status}", status=reply.status)
    try:
        found = list(_remaining(msgspec.json.decode(reply.body), _DEPTH))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Malformed("what is left cannot be read") from None
    if not found:
        raise Malformed("it tells no window")
    return all(left > 0 for left in found)


def _remaining(value: Any, depth: int) -> Iterator[float]:
    if depth and isinstance(value, list):
        for one in value:
            yield from _remaining(one, depth - 1)
    elif depth and isinstance(value, dict):
        for key, one in value.items():
            number = _number(one) if key == "remaining" else None
            if number is not None:
                yield number
            else:
                yield from _remaining(one, depth - 1)


def _number(value: object) -> float | None:
    if isinstance(value, str) and len(value) < 30:
        try:
            return float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
