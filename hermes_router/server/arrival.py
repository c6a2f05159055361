"""A request as the routes see it, whichever way it came in.

Owns the Protocol between routes and the two ways in: our own front (front.py) for the ordinary POST of a hot path, and
aiohttp (through.py) for everything else. It must never know a library.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from hermes_router.core.errors import TooLarge
from hermes_router.core.ports import ReplyStream
from hermes_router.wire.openai_errors import Rendered

STALL_S: Final = 60.0  # a body of which nothing comes for so long is given up


class Reply(ReplyStream, Protocol):
    """The caller's side of a stream. `begun` once the head is out: from then on a failure is an event in it."""

    @property
    def begun(self) -> bool:
        """Whether the head is out."""
        ...


class Arrival(Protocol):
    """One request. `headers` is looked up by names in lower case; `params` holds the parts of the path that vary."""

    @property
    def method(self) -> str:
        """In upper case."""
        ...

    @property
    def path(self) -> str:
        """Without the query, unquoted."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers."""
        ...

    @property
    def params(self) -> Mapping[str, str]:
        """What the route's pattern matched."""
        ...

    @property
    def query(self) -> Mapping[str, str]:
        """What stands behind the path; of a name that is given twice, the first."""
        ...

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection; None or closing once the caller has left."""
        ...

    async def body(self, limit: int) -> bytes:
        """The body, at most `limit` bytes packed and unpacked. Raises TooLarge, BadRequest and Stalled."""
        ...

    def stream(self, headers: Mapping[str, str]) -> Reply:
        """Where a stream goes; `headers` are added to its head."""
        ...


Handler = Callable[[Arrival], Awaitable[Rendered | None]]
"""A route: the whole answer, or None where it went out through the arrival's reply."""


def too_large(limit: int) -> TooLarge:
    """The error of a body beyond the limit of this generation."""
    return TooLarge(f"The request body is larger than MAX_REQUEST_BYTES ({limit} bytes).")
