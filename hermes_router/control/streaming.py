"""One listener's stream of events: frames as they come, a comment in every silence, an end when the daemon closes.

Owns the two writers of a stream and their lives. It must never know where events come from.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from aiohttp import web

from hermes_router.control.events import frame
from hermes_router.control.types import Event

__all__ = ["send_events"]

_HELLO: Final = b": hermes-router\n\n"  # aiohttp keeps the head back until there is a body
_PING: Final = b": ping\n\n"


async def send_events(
    request: web.Request, events: AsyncIterator[Event], closing: asyncio.Event, ping_s: float
) -> web.StreamResponse:
    """Send events until there are no more, the listener leaves, or `closing` is set."""
    response = web.StreamResponse(
        headers={"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"}
    )
    await response.prepare(request)
    try:
        await response.write(_HELLO)
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(_pump(response, events))
            ending = group.create_task(closing.wait())
            bell = group.create_task(_ring(response, ping_s))
            await asyncio.wait((pump, ending), return_when=asyncio.FIRST_COMPLETED)
            for task in (pump, ending, bell):
                task.cancel()
    except* ConnectionError:
        pass  # the listener has left
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()
    return response


async def _pump(response: web.StreamResponse, events: AsyncIterator[Event]) -> None:
    async for event in events:
        await response.write(frame(event))


async def _ring(response: web.StreamResponse, ping_s: float) -> None:
    """Show life; also how a listener who has left is found out."""
    while True:
        await asyncio.sleep(ping_s)
        await response.write(_PING)
