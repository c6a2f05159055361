"""One request, one whole answer: what probes, sign-ins and other small errands need.

Owns nothing but the gathering of an answer. The request path of a caller never comes here: it is pushed.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from hermes_router.core.errors import Malformed, TimedOut, UpstreamError
from hermes_router.core.ports import Outbound, Transport


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, whatever its status; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class _Gather:
    """A Sink that keeps everything, up to a bound."""

    __slots__ = ("_chunks", "_headers", "_room", "_status", "done")

    def __init__(self, done: asyncio.Future[Reply], max_bytes: int) -> None:
        self.done = done
        self._room = max_bytes
        self._chunks: list[bytes] = []
        self._status = 0
        self._headers: Mapping[str, str] = {}

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        self._headers = headers

    def data(self, chunk: bytes) -> None:
        self._room -= len(chunk)
        if self._room >= 0:
            self._chunks.append(chunk)
        else:
            self.failed(Malformed("the answer is larger than is sensible", status=self._status))

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(Reply(self._status, self._headers, b"".join(self._chunks)))

    def failed(self, error: UpstreamError) -> None:
        self._chunks.clear()
        if not self.done.done():
            self.done.set_exception(error)


async def fetch(transport: Transport, request: Outbound, *, timeout_s: float, max_bytes: int = 8_000_000) -> Reply:
    """Send `request` and return the whole answer.

    Raises what the transport reports, TimedOut("deadline") after `timeout_s`, Malformed above `max_bytes`, and
    ValueError as `send` does. However it ends, nothing of it is left under way.
    """
    gather = _Gather(asyncio.get_running_loop().create_future(), max_bytes)
    flight = transport.send(request, gather)
    try:
        async with asyncio.timeout(timeout_s):
            return await gather.done
    except TimeoutError:
        raise TimedOut("deadline", f"no whole answer within {timeout_s:g} s") from None
    finally:
        flight.abort()
