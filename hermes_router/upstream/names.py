"""Looking up the names of strangers, apart from everybody else's.

Owns the threads that ask the system, and how many names may be wanted of them: a name server that stays silent holds up
its own images and nothing else, least of all the names of providers. It must never judge an address, or connect to one.
"""

import asyncio
import socket
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Thread
from typing import Any, Final

from hermes_router.core.errors import Unreachable

__all__ = ["AT_ONCE", "MOST_NAMES", "StrangersNames"]

AT_ONCE: Final = 2
MOST_NAMES: Final = 8  # being looked up, or waiting for that; nobody can end the system's own wait

_Rows = list[tuple[Any, ...]]
_Wanted = SimpleQueue[tuple["Future[_Rows]", str, int] | None]


class StrangersNames:
    """The system's resolver in threads of its own, made with the first name.

    They are daemons: a pool of the library's would be waited for at the end of the process, however long a name server
    is silent.
    """

    def __init__(self) -> None:
        self._threads: list[Thread] = []
        self._wanted: _Wanted = SimpleQueue()
        self._room = BoundedSemaphore(MOST_NAMES)
        self._closed = False

    async def look_up(self, host: str, port: int) -> _Rows:
        """The rows of `socket.getaddrinfo`. Raises what that does, and Unreachable where too many names are wanted.

        A name takes its room until the system has answered, however early the wait for it ends.
        """
        if self._closed or not self._room.acquire(blocking=False):
            raise Unreachable("too many names are looked up")
        if not self._threads:
            made = (
                Thread(target=_serve, args=(self._wanted,), name="strangers-names", daemon=True) for _ in range(AT_ONCE)
            )
            self._threads = list(made)
            for thread in self._threads:
                thread.start()
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[_Rows] = loop.create_future()
        asked: Future[_Rows] = Future()
        asked.add_done_callback(partial(self._ended, loop, heard))
        self._wanted.put((asked, host, port))
        return await heard

    def close(self) -> None:
        """Look up nothing more, and wait for nothing."""
        self._closed = True
        with suppress(Empty):
            while True:
                waiting = self._wanted.get_nowait()
                if waiting is not None:
                    waiting[0].cancel()
        for _ in self._threads:
            self._wanted.put(None)

    def _ended(self, loop: asyncio.AbstractEventLoop, heard: asyncio.Future[_Rows], asked: Future[_Rows]) -> None:
        """In the thread."""
        self._room.release()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_tell, heard, asked)


def _serve(wanted: _Wanted) -> None:
    while (one := wanted.get()) is not None:
        asked, host, port = one
        if not asked.set_running_or_notify_cancel():
            continue
        try:
            asked.set_result(list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))
        except (OSError, UnicodeError) as error:
            asked.set_exception(error)


def _tell(heard: asyncio.Future[_Rows], asked: Future[_Rows]) -> None:
    if heard.done():
        return
    if asked.cancelled():
        heard.set_exception(Unreachable("no name is looked up any more"))
    elif (error := asked.exception()) is not None:
        heard.set_exception(error)
    else:
        heard.set_result(asked.result())
