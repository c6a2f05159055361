"""The Protocols that the edges implement and the engine sees the world through.

Owns interfaces only. Everything here is satisfied by a small fake in `tests/fakes.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from hermes_router.core.accounts import CodexAccount
from hermes_router.core.catalog import TargetFacts
from hermes_router.core.errors import UpstreamError
from hermes_router.core.ids import Credential, CredentialId, RouterKeyId, Secret
from hermes_router.core.images import Picture, Unfit
from hermes_router.core.kept import KeptResponse
from hermes_router.core.records import EmbedBinding, ExchangeRecord


class Clock(Protocol):
    """Both times: `now` in epoch seconds, never backwards within a process; `mono` monotonic seconds."""

    def now(self) -> float:
        """Epoch seconds."""
        ...

    def mono(self) -> float:
        """Monotonic seconds."""
        ...


class Rng(Protocol):
    """The part of `random.Random` that is used."""

    def random(self) -> float:
        """A float in [0, 1)."""
        ...


class Ids(Protocol):
    """New identifiers."""

    def new(self, prefix: str) -> str:
        """`prefix` followed by 24 characters of [a-zA-Z0-9]."""
        ...


class Outbound(msgspec.Struct, frozen=True):
    """One HTTP request as it leaves. `url` is absolute; `headers` hold the secret already, so no repr tells them."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    connect_timeout_s: float = 10.0

    def __repr__(self) -> str:
        return f"Outbound({self.method} {self.url})"


class Sink(Protocol):
    """Who receives an upstream answer, pushed. Order: head, data*, then exactly one of end and failed.

    `failed` may come first. Calls are synchronous, on the event loop, and must not raise.
    """

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Status line and headers (names in lower case; repeated ones joined by a comma)."""
        ...

    def data(self, chunk: bytes) -> None:
        """Some bytes of the body, transfer-decoded."""
        ...

    def end(self) -> None:
        """The body ended as its framing said that it would."""
        ...

    def failed(self, error: UpstreamError) -> None:
        """Unreachable, NetworkDown, Truncated, TimedOut("connect") or Malformed."""
        ...


class Flight(Protocol):
    """One request under way."""

    def abort(self) -> None:
        """Close it now; the sink hears nothing more. Idempotent, also after the end."""
        ...

    def pause(self) -> None:
        """Stop reading: back-pressure."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...


class Transport(Protocol):
    """HTTP towards providers.

    It never follows a redirect, and never repeats a request of which a byte of the answer was seen.
    """

    def send(self, request: Outbound, sink: Sink) -> Flight:
        """Start a request; returns at once."""
        ...


class Vault(Protocol):
    """Where secrets rest."""

    def reveal(self, credential: Credential) -> Secret:
        """The secret of a credential; raises KeyError where it is gone. No I/O: the request path calls it."""
        ...


class Authorizer(Protocol):
    """Who puts the secret on a request."""

    def headers(self, facts: TargetFacts, *, caller_agent: str) -> Mapping[str, str]:
        """All request headers for this target, the secret included. Raises KeyError where the secret is gone.

        `caller_agent` is the caller's own User-Agent, passed on only where the row asks for it.
        """
        ...


class Renewals(Protocol):
    """Who keeps the access tokens of OAuth accounts alive."""

    def in_use(self, ident: CredentialId) -> CodexAccount | None:
        """The account with the tokens to send now; None where nothing is left to be sent. No I/O."""
        ...

    def renew(self, ident: CredentialId, used: CodexAccount | None, done: Callable[[bool], None]) -> None:
        """The provider refused the tokens of `used`: `done` hears, at once or later, whether there are others now.

        What this sets off goes on to its end, whatever becomes of whoever asked.
        """
        ...


class Fetching(Protocol):
    """Images that are being fetched."""

    def abort(self) -> None:
        """Nobody waits for them any longer: close every connection, tell nobody. Idempotent, also after the end."""
        ...


class ImageFetcher(Protocol):
    """Who fetches the images that a request names by their addresses."""

    def fetch(
        self,
        wanted: Mapping[str, int],
        caller: RouterKeyId,
        done: Callable[[Mapping[str, Picture] | Unfit], None],
        *,
        max_bytes: int,
    ) -> Fetching:
        """Have the image of each URL; `done` hears all of them, or the first that cannot be had. Never raises.

        `wanted` says how often each URL stands in the request, whose images may be `max_bytes` together in base64.
        `done` is called once, at a later turn of the loop, and never after `abort`. What one caller's request has
        fetched is remembered for that caller alone.
        """
        ...

    def close(self) -> None:
        """Let go of what it has running, and wait for nothing: no more fetches are wanted."""
        ...


class ReplyStream(Protocol):
    """The caller's side of a streamed answer."""

    async def start(self, headers: Mapping[str, str]) -> None:
        """Send the 200 head."""
        ...

    def write(self, data: bytes) -> None:
        """Queue bytes for the caller; never blocks. Only after `start`."""
        ...

    def waiting_bytes(self) -> int:
        """How much the caller has not taken yet."""
        ...

    async def end(self) -> None:
        """The answer is over."""
        ...


class Recorder(Protocol):
    """Who keeps the record of an exchange that is over."""

    def put(self, record: ExchangeRecord) -> None:
        """Take it, at once and without I/O; what cannot be kept is counted, never waited for."""
        ...


class BindingStore(Protocol):
    """Who keeps what router keys are bound to."""

    async def keep(self, binding: EmbedBinding) -> bool:
        """Write it; whether it is on the disk now. What is not waits until it can be."""
        ...

    async def drop(self, gone: Sequence[EmbedBinding]) -> bool:
        """Remove these; whether the disk has. If not, they stand as they stood."""
        ...


class ResponseShelf(Protocol):
    """Where answers rest that may be referred to later."""

    def put(self, kept: KeptResponse) -> None:
        """Keep it, and all of its conversation for as long, as far as there is room. Never blocks."""
        ...

    async def load(self, name: bytes, *, turns: int) -> Sequence[KeptResponse]:
        """The turn of this name and at most `turns` - 1 before it, the latest first; nothing where it is not kept.

        Their `response` may be left out. It ends where one is missing. Never raises.
        """
        ...

    async def find(self, name: bytes) -> KeptResponse | None:
        """The turn of this name with its `response`, None where it is not kept. Never raises."""
        ...

    async def erase(self, name: bytes) -> None:
        """Erase a turn, and return when it is erased, or cannot be now and will be later."""
        ...

    def tidy(self, *, everything: bool) -> None:
        """Have erased what is not to be kept any longer; or `everything`. Never blocks."""
        ...


class Log(Protocol):
    """Structured events: a dotted constant and fields."""

    def info(self, event: str, **fields: object) -> object:
        """Something happened."""
        ...

    def warning(self, event: str, **fields: object) -> object:
        """Something happened that the owner should know."""
        ...
