"""What a start leaves for later: what reads the refusals of providers.

Owns when they are imported: by whoever needs one, else a moment after the start, beside the loop. It must never be
imported by what they import.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, Final

from hermes_router.core.errors import UpstreamError

__all__ = ["bring_in", "classify", "in_band"]

AFTER_S: Final = 2.0  # a start has other work, and so has who waits for it
_JUDGES: Final = "hermes_router.wire.rejection"  # forty regular expressions


def classify(family: str, status: int, headers: Mapping[str, str], body: bytes, now: float) -> UpstreamError:
    """`wire.rejection.classify`."""
    from hermes_router.wire.rejection import classify as judge  # noqa: PLC0415 - what this module is about

    return judge(family, status, headers, body, now)


def in_band(family: str, error: object, now: float) -> UpstreamError:
    """`wire.rejection.in_band`."""
    from hermes_router.wire.rejection import in_band as judge  # noqa: PLC0415 - as above

    return judge(family, error, now)


async def bring_in(*, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
    """Import what a refusal needs, so that no request waits for it."""
    await sleep(AFTER_S)
    await asyncio.to_thread(import_module, _JUDGES)
