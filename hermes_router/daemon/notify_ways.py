"""The two ways out to the owner: one POST to NOTIFY_URL, one run of NOTIFY_COMMAND.

Owns one try of each: its form, its limits of time, and what may be said of a failure. No redirect is followed, what
comes back is not read, and no secret goes along: neither in a message, nor in the program's environment. It must never
decide what is told, or when.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from hermes_router import __version__
from hermes_router.core.errors import UpstreamError
from hermes_router.core.ids import scrubber
from hermes_router.core.notify_ways import NotifyAddress, NotifyCommand
from hermes_router.core.ports import Outbound, Transport
from hermes_router.core.settings_parse import is_ours
from hermes_router.daemon.config import Loaded
from hermes_router.daemon.scrub import secrets_of
from hermes_router.engine.alerts import Message, Way
from hermes_router.store.command import NotRun, ending, run_program

__all__ = ["TRY_S", "NotTold", "Ways"]

TRY_S: Final = 10.0
_MOST_BYTES: Final = 3_500  # ntfy makes a file of more than 4,096
_NETWORK: Final = frozenset({"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"})  # a program may need them as we do
# What the service manager gives to this very process; the rest of it was taken out at the start (daemon/managed.py).
_OURS_ALONE: Final = "CREDENTIALS_DIRECTORY"


class NotTold(Exception):
    """A try that failed; the text says why, and shows nothing confidential. `final`: another at once is of no use."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


class Ways:
    """The ways that the configuration in force sets. `host` is this machine's name, for the title."""

    def __init__(
        self, loaded: Callable[[], Loaded], transport: Transport, environ: Mapping[str, str], *, host: str
    ) -> None:
        self._loaded = loaded
        self._transport = transport
        self._environ = environ
        self._host = "".join(c for c in host if c.isascii() and c.isprintable())[:60]

    def set(self) -> dict[Way, NotifyAddress | NotifyCommand]:
        """Those that are set."""
        settings = self._loaded().settings
        found: dict[Way, NotifyAddress | NotifyCommand] = {}
        if settings.notify_url is not None:
            found["url"] = settings.notify_url
        if settings.notify_command is not None:
            found["command"] = settings.notify_command
        return found

    async def tell(self, way: Way, message: Message) -> None:
        """Tell it once. Raises NotTold; a way that is not set (any more) has nothing to fail with."""
        match self.set().get(way):
            case NotifyAddress() as address:
                await self._post(address, message)
            case NotifyCommand() as command:
                await self._run(command, message)

    def _text(self, message: Message) -> str:
        """The message without secrets, and without what could steer a terminal."""
        text = scrubber(secrets_of(self._loaded()))(message.text)
        plain = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
        return plain.encode("utf-8", "replace")[:_MOST_BYTES].decode("utf-8", "ignore")

    def _title(self, message: Message) -> str:
        return f"hermes-router on {self._host}: {message.title}" if self._host else f"hermes-router: {message.title}"

    # -- by address ------------------------------------------------------------------------------------

    async def _post(self, address: NotifyAddress, message: Message) -> None:
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "user-agent": f"hermes-router/{__version__}",
            "title": self._title(message),
            "priority": str(message.priority),
            "tags": message.tag,
        }
        if address.authorization is not None:
            headers["authorization"] = address.authorization.reveal()
        body = self._text(message).encode()
        head = _Head(asyncio.get_running_loop().create_future())
        try:
            flight = self._transport.send(Outbound("POST", address.url.reveal(), headers, body), head)
        except ValueError:
            raise NotTold("the address cannot be used", final=True) from None
        try:
            async with asyncio.timeout(TRY_S):
                status = await head.status
        except TimeoutError:
            raise NotTold(f"no answer within {TRY_S:g} s") from None
        except UpstreamError as error:
            raise NotTold(f"it cannot be reached ({error.excerpt[:80] or type(error).__name__})") from None
        finally:
            flight.abort()  # the status is all that matters: a body may never end
        if 300 <= status < 400:
            raise NotTold(f"it answers {status}, a redirect, which is not followed: set the address itself", final=True)
        if not 200 <= status < 300:
            raise NotTold(f"it answers {status}", final=400 <= status < 500 and status not in {408, 425, 429})

    # -- by program ------------------------------------------------------------------------------------

    async def _run(self, command: NotifyCommand, message: Message) -> None:
        text = self._text(message)
        environ = {
            **self._harmless_environ(),
            "HR_NOTIFY_KIND": message.kind,
            "HR_NOTIFY_STATE": message.state,
            "HR_NOTIFY_TITLE": self._title(message),
            "HR_NOTIFY_MESSAGE": text,
            "HR_NOTIFY_PRIORITY": str(message.priority),
        }
        try:
            status, _ = await run_program(command.argv, given=f"{text}\n".encode(), environ=environ, limit_s=TRY_S)
        except NotRun as failed:
            raise NotTold(f"it {failed}") from None
        if status != 0:
            raise NotTold(f"it {ending(status)}")

    def _harmless_environ(self) -> dict[str, str]:
        """Ours, without our own variables and whatever holds a secret of ours."""
        loaded = self._loaded()
        ours, scrub = is_ours(loaded.catalog), scrubber(secrets_of(loaded))
        return {
            name: value
            for name, value in self._environ.items()
            if name != _OURS_ALONE and (name in _NETWORK or not ours(name)) and scrub(value) == value
        }


class _Head:
    """A Sink that waits for the status and drops the rest."""

    def __init__(self, status: asyncio.Future[int]) -> None:
        self.status = status

    def head(self, status: int, headers: Mapping[str, Any]) -> None:  # noqa: ARG002 - the port's
        """An answer begins."""
        if not self.status.done():
            self.status.set_result(status)

    def data(self, chunk: bytes) -> None:
        """Dropped."""

    def end(self) -> None:
        """Dropped: the head was before."""

    def failed(self, error: UpstreamError) -> None:
        """No answer came, or it broke off behind its head."""
        if not self.status.done():
            self.status.set_exception(error)
