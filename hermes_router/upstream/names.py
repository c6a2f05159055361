"""Looking up the names of strangers, apart from everybody else's.

Owns the threads that ask the system, and how many names may be wanted of them: a name server that stays silent holds up
its own images and nothing else, least of all the names of providers. It must never judge an address, or connect to one.
"""

import asyncio
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from threading import BoundedSemaphore
from typing import Any, Final

from hermes_router.core.errors import Unreachable

__all__ = ["AT_ONCE", "MOST_NAMES", "StrangersNames"]

AT_ONCE: Final = 2
MOST_NAMES: Final = 8  # being looked up, or waiting for that; nobody can end the system's own wait

_Rows = list[tuple[Any, ...]]


class StrangersNames:
    """The system's resolver in threads of its own, made with the first name."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._room = BoundedSemaphore(MOST_NAMES)
        self._closed = False

    async def look_up(self, host: str, port: int) -> _Rows:
        """The rows of `socket.getaddrinfo`. Raises what that does, and Unreachable where too many names are wanted.

        A name takes its room until the system has answered, however early the wait for it ends.
        """
        if self._closed or not self._room.acquire(blocking=False):
            raise Unreachable("too many names are looked up")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="strangers-names")
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[_Rows] = loop.create_future()
        self._threads.submit(_asked, host, port).add_done_callback(partial(self._ended, loop, heard))
        return await heard

    def close(self) -> None:
        """Look up nothing more, and wait for nothing."""
        self._closed = True
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _ended(self, loop: asyncio.AbstractEventLoop, heard: asyncio.Future[_Rows], asked: Future[_Rows]) -> None:
        """In the thread."""
        self._room.release()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_tell, heard, asked)


def _asked(host: str, port: int) -> _Rows:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _tell(heard: asyncio.Future[_Rows], asked: Future[_Rows]) -> None:
    if heard.done():
        return
    if asked.cancelled():
        heard.set_exception(Unreachable("no name is looked up any more"))
    elif (error := asked.exception()) is not None:
        heard.set_exception(error)
    else:
        heard.set_result(asked.result())
