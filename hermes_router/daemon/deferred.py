"""What a start leaves for later: what reads the refusals of providers, logs in, edits files.

Owns when they are imported: by whoever needs one, else a moment after the start, beside the loop; a successor does so
before it serves. An upgrade may put other files under a daemon that runs, and what it then imported would not fit. It
must never be imported by what they import.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, Final

from hermes_router.core.errors import UpstreamError

__all__ = ["bring_in", "bring_in_images", "bring_in_now", "classify", "in_band"]

AFTER_S: Final = 2.0  # a start has other work, and so has who waits for it
_LATER: Final = (
    "hermes_router.wire.rejection.judge",  # forty regular expressions
    "hermes_router.daemon.desks.login",
    "tomlkit",
)
_FOR_IMAGES: Final = ("hermes_router.upstream.images", "hermes_router.upstream.public", "hermes_router.engine.pictures")


def classify(family: str, status: int, headers: Mapping[str, str], body: bytes, now: float) -> UpstreamError:
    """`wire.rejection.classify`."""
    from hermes_router.wire.rejection.judge import classify as judge  # noqa: PLC0415 - what this module is about

    return judge(family, status, headers, body, now)


def in_band(family: str, error: object, now: float) -> UpstreamError:
    """`wire.rejection.in_band`."""
    from hermes_router.wire.rejection.judge import in_band as judge  # noqa: PLC0415 - as above

    return judge(family, error, now)


async def bring_in(*, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
    """Import all of it, so that no request waits for it."""
    await sleep(AFTER_S)
    await bring_in_now()


async def bring_in_now() -> None:
    """The same at once."""
    for name in _LATER:
        await asyncio.to_thread(import_module, name)


async def bring_in_images() -> None:
    """What fetches images: imported only where images may be fetched."""
    for name in _FOR_IMAGES:
        await asyncio.to_thread(import_module, name)
