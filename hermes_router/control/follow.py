"""The daemon's events as they come, over its restarts and crashes.

Owns the only use of aiohttp-sse-client, and the loop around it: the library reconnects once at most, glues the halves
of different connections together and forgets statuses (facts/os.md 4.5). Imported only by who follows.
"""

import asyncio
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from aiohttp.http_exceptions import LineTooLong

from hermes_router import __version__
from hermes_router.control import types as t
from hermes_router.core.errors import ControlError

with warnings.catch_warnings():  # a package of 2021
    warnings.simplefilter("ignore", DeprecationWarning)
    from aiohttp_sse_client.client import EventSource, MessageEvent  # type: ignore[import-untyped]

__all__ = ["follow"]

_URL: Final = f"http://{t.HOST}/v1/events"
_BUFFER: Final = 1 << 20  # a line may be twice as long
_CONNECT_S: Final = 3.0
_SILENCE_S: Final = 45.0  # three of the server's pings
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0


class _Ended(ConnectionError):
    """The stream is over, or was not to be had: connect anew."""


async def follow(
    path: Path,
    last_id: int | None,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    lost: Callable[[str], None] | None = None,
    found: Callable[[], None] | None = None,
) -> AsyncGenerator[t.Event, None]:
    """Events after `last_id` (None = from now on), for ever: where the daemon goes away, from the next one.

    Close it (`contextlib.aclosing`) where it is left early.
    `lost` hears why, each time that a connection ends or cannot be made, `found` each time that one is. Raises
    ControlError where the daemon refuses.
    """
    pause = _FIRST_PAUSE_S
    while True:
        try:
            async with aclosing(_connection(path, last_id, found)) as events:
                async for event in events:
                    pause = _FIRST_PAUSE_S
                    last_id = event.id
                    yield event
        except (aiohttp.ClientError, LineTooLong, OSError, TimeoutError, ValueError) as error:
            # ValueError is how older versions of aiohttp say LineTooLong; TimeoutError is silence
            if lost is not None:
                lost(str(error) or type(error).__name__)
        await sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)


async def _connection(
    path: Path, last_id: int | None, found: Callable[[], None] | None
) -> AsyncGenerator[t.Event, None]:
    """One connection's events; raises whatever ends it. All of it is new each time, since the library keeps remains."""
    headers = {t.VERSION_HEADER: __version__, t.API_HEADER: str(t.API)}
    if last_id is not None:
        headers["Last-Event-ID"] = str(last_id)
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=str(path)),
            read_bufsize=_BUFFER,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S),
            raise_for_status=_check,
        ) as session,
        EventSource(
            _URL,
            session=session,
            headers=headers,
            max_connect_retry=0,
            reconnection_time=timedelta(0),
            on_open=found,
            on_error=_ended,
        ) as source,
    ):
        async for message in source:
            event = _event(message)
            if event is not None:
                yield event


def _ended() -> None:
    """Called by the library at the end of a connection, before it would reconnect by itself."""
    raise _Ended("the connection to the daemon ended")


def _event(message: MessageEvent) -> t.Event | None:
    try:
        return msgspec.json.decode(message.data, type=t.Event)
    except (msgspec.DecodeError, RecursionError):
        return None  # of a later version, perhaps: the stream goes on


async def _check(response: aiohttp.ClientResponse) -> None:
    """Tell a refusal, which stays one, from a daemon that is not well right now; the library would forget which."""
    if response.status == 200:
        return
    try:
        problem = msgspec.json.decode(await response.read(), type=t.Problem)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = t.Problem(code="garbled", message=f"The daemon answered {response.status}.")
    finally:
        response.close()
    if response.status >= 500:
        raise _Ended(problem.message)
    raise ControlError(problem.message, code=problem.code, next_step=problem.next_step, exit_code=problem.exit_code)
