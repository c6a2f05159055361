"""Fetching the images that a request names by their addresses: the ImageFetcher port.

Owns what may be asked of a stranger, and what is taken from one: http and https without a password, public addresses
alone, looked at again at each of at most three redirects, so many bytes and seconds, and PNG, JPEG, GIF or WebP as
their first bytes tell. Nothing of ours goes along: no key, no cookie. Each request's images have connections of their
own, to the addresses that were checked, which are closed with them. Where a proxy is set, the name is resolved and
checked here all the same, and the proxy is asked for a tunnel to that address, for http as well; a machine that can
resolve nothing itself fetches no images. It must never know a dialect, a target, or what becomes of an image.
"""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from hermes_router.core.errors import Malformed, Truncated, UpstreamError
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.images import LOOK, MOST_BYTES, MOST_IMAGES, Fault, Picture, Unfit, media_type_of
from hermes_router.core.ports import Clock, Flight, Outbound
from hermes_router.upstream.auth import OUR_AGENT
from hermes_router.upstream.dial import NOT_ALLOWED
from hermes_router.upstream.http import HttpTransport, usual_tls
from hermes_router.upstream.image_memory import ImageMemory
from hermes_router.upstream.names import StrangersNames

__all__ = ["AT_ONCE", "LIMIT_S", "MOST_REDIRECTS", "StrangersImages"]

LIMIT_S: Final = 10.0  # one image, redirects included
AT_ONCE: Final = 4  # of one request
ALL_AT_ONCE: Final = 16  # of all requests: so many may be in memory in part
MOST_REDIRECTS: Final = 3
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = {"accept": "image/png, image/jpeg, image/gif, image/webp", "user-agent": OUR_AGENT}
_SAFE: Final = "%/:=&?~+!$,;'@()*[]|"
_LONGEST_URL: Final = 8_192  # characters
_LONGEST_HOST: Final = 253  # characters: no name is longer
_SMALL: Final = 262_144  # bytes: encoding more of them would hold up the loop

Done = Callable[[Mapping[str, Picture] | Unfit], None]


class _NoImageError(Exception):
    """The image cannot be had."""

    def __init__(self, fault: Fault, said: str) -> None:
        super().__init__(said)
        self.fault = fault
        self.said = said


class _UnfitError(Exception):
    """One of a request's images cannot be had, so the others need not be."""

    def __init__(self, unfit: Unfit) -> None:
        super().__init__(unfit.said)
        self.unfit = unfit


class _Got(NamedTuple):
    """The bytes of an image, or where else it is said to lie."""

    body: bytes = b""
    media_type: str = ""
    may_keep: bool = True
    location: str = ""


class _Receiver:
    """A Sink for one image: it hangs up as soon as it is sure that there is none."""

    def __init__(self, done: asyncio.Future[_Got], most_bytes: int) -> None:
        self._done = done
        self._most = most_bytes
        self._body = bytearray()
        self._may_keep = True
        self._is_image = False
        self.flight: Flight | None = None

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._may_keep = "no-store" not in headers.get("cache-control", "").lower()
        location = headers.get("location", "")
        if status in _REDIRECTS and location:
            self._over(_Got(may_keep=self._may_keep, location=location))
        elif status != 200:
            self._over(_NoImageError(Fault.REFUSED, f"status {status}"))
        else:
            told = headers.get("content-length", "")
            if told.isdecimal() and int(told) > self._most:
                self._over(_NoImageError(Fault.TOO_LARGE, "by its content-length"))

    def data(self, chunk: bytes) -> None:
        if self._done.done():
            return
        self._body += chunk
        if len(self._body) > self._most:
            self._over(_NoImageError(Fault.TOO_LARGE, "by its bytes"))
        elif not self._is_image and len(self._body) >= LOOK:
            self._is_image = media_type_of(bytes(self._body[:LOOK])) is not None
            if not self._is_image:
                self._over(_NoImageError(Fault.NO_IMAGE, "by its first bytes"))

    def end(self) -> None:
        if self._done.done():
            return
        media_type = media_type_of(bytes(self._body[:LOOK]))
        if media_type is None:
            self._done.set_exception(_NoImageError(Fault.NO_IMAGE, "by its first bytes"))
        else:
            self._done.set_result(_Got(bytes(self._body), media_type, self._may_keep))
        self._body.clear()

    def failed(self, error: UpstreamError) -> None:
        if not self._done.done():
            came = isinstance(error, Truncated | Malformed)
            said = NOT_ALLOWED if error.excerpt == NOT_ALLOWED else type(error).__name__
            self._over(_NoImageError(Fault.REFUSED if came else Fault.UNREACHABLE, said))

    def _over(self, what: _Got | _NoImageError) -> None:
        self._body.clear()
        if not self._done.done():
            if isinstance(what, _Got):
                self._done.set_result(what)
            else:
                self._done.set_exception(what)
        if self.flight is not None:
            self.flight.abort()


class StrangersImages:
    """Implements `core.ports.ImageFetcher` on one event loop.

    `allows` judges an address (`public.is_strange`); proxies as in HttpTransport. Without `tls` the system's CAs, read
    with the first image. `limit_s` are seconds for one image, `most_bytes` its size.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        *,
        allows: Callable[[str], bool],
        https_proxy: str | None = None,
        http_proxy: str | None = None,
        no_proxy: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        limit_s: float = LIMIT_S,
        most_bytes: int = MOST_BYTES,
        memory: ImageMemory | None = None,
    ) -> None:
        self._loop = loop
        self._names = StrangersNames()
        self._open = partial(
            HttpTransport,
            loop,
            https_proxy=https_proxy,
            http_proxy=http_proxy,
            no_proxy=no_proxy,
            max_idle_per_host=AT_ONCE,
            allows=allows,
            look_up=self._names.look_up,
        )
        self._tls = tls
        self._limit_s = limit_s
        self._most = most_bytes
        self._room = asyncio.Semaphore(ALL_AT_ONCE)
        self.memory = memory if memory is not None else ImageMemory(clock.mono, loop.call_later)

    def fetch(self, wanted: Mapping[str, int], caller: RouterKeyId, done: Done, *, max_bytes: int) -> "_Batch":
        """Have the image of each URL, or the first that cannot be had."""
        return _Batch(self._loop, self._all(wanted, caller, max_bytes), done)

    def close(self) -> None:
        """Look up no more names; what is under way ends with its requests."""
        self._names.close()

    async def _all(
        self, wanted: Mapping[str, int], caller: RouterKeyId, max_bytes: int
    ) -> Mapping[str, Picture] | Unfit:
        if len(wanted) > MOST_IMAGES:
            return Unfit(list(wanted)[MOST_IMAGES], Fault.TOO_MANY, f"{len(wanted)} addresses")
        found = {url: picture for url in wanted if (picture := self.memory.get(caller, url)) is not None}
        missing = [url for url in wanted if url not in found]
        used = sum(len(picture.data) * wanted[url] for url, picture in found.items())
        if found and used > max_bytes:
            return Unfit(next(iter(wanted)), Fault.TOGETHER, f"{used} bytes")
        if missing:
            try:
                await self._fetch(missing, wanted, caller, found, max_bytes - used)
            except ExceptionGroup as failed:
                unfit = next((each.unfit for each in failed.exceptions if isinstance(each, _UnfitError)), None)
                if unfit is None:
                    raise
                return unfit
        return found

    async def _fetch(
        self, missing: list[str], wanted: Mapping[str, int], caller: RouterKeyId, found: dict[str, Picture], left: int
    ) -> None:
        """Fetch what is missing into `found`, of which `left` bytes may be. Raises a group of _UnfitError."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(usual_tls)
        transport = self._open(ssl_context=self._tls)
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(url: str) -> None:
            nonlocal left
            async with at_once, self._room:
                try:
                    async with asyncio.timeout(self._limit_s):
                        got = await self._follow(transport, url)
                except TimeoutError:
                    raise _UnfitError(Unfit(url, Fault.LATE, f"not within {self._limit_s:g} s")) from None
                except _NoImageError as error:
                    raise _UnfitError(Unfit(url, error.fault, error.said)) from None
                picture = Picture(got.media_type, await _encoded(got.body))
            left -= len(picture.data) * wanted[url]
            if left < 0:
                raise _UnfitError(Unfit(url, Fault.TOGETHER, f"{-left} bytes too many"))
            found[url] = picture
            if got.may_keep:
                self.memory.put(caller, url, picture)

        try:
            async with asyncio.TaskGroup() as group:
                for url in missing:
                    group.create_task(one(url), name="fetch an image")
        finally:
            await transport.close()

    async def _follow(self, transport: HttpTransport, url: str) -> _Got:
        """The image of a URL, at most MOST_REDIRECTS further on. Raises _NoImageError."""
        address = _address(url)
        if address is None:
            raise _NoImageError(Fault.ADDRESS, "the address")
        may_keep = True
        for _ in range(MOST_REDIRECTS + 1):
            got = await self._get(transport, address)
            if not got.location:
                return got._replace(may_keep=got.may_keep and may_keep)
            may_keep = may_keep and got.may_keep
            try:
                address = _address(urljoin(address, got.location))
            except ValueError:
                address = None
            if address is None:
                raise _NoImageError(Fault.REFUSED, "redirected to an address that is none")
        raise _NoImageError(Fault.REFUSED, f"more than {MOST_REDIRECTS} redirects")

    async def _get(self, transport: HttpTransport, url: str) -> _Got:
        done: asyncio.Future[_Got] = self._loop.create_future()
        receiver = _Receiver(done, self._most)
        try:
            request = Outbound("GET", url, _HEADERS, connect_timeout_s=self._limit_s)
            receiver.flight = transport.send(request, receiver)
        except ValueError:
            raise _NoImageError(Fault.ADDRESS, "the address") from None
        try:
            return await done
        finally:
            receiver.flight.abort()


class _Batch:
    """The images of one request. Implements `core.ports.Fetching`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Mapping[str, Picture] | Unfit], done: Done
    ) -> None:
        self._loop = loop
        self._done: Done | None = done
        self._task = loop.create_task(work, name="fetch images")
        self._task.add_done_callback(self._ended)

    def abort(self) -> None:
        """Close every connection, tell nobody."""
        self._done = None
        self._task.cancel()

    def _ended(self, task: asyncio.Task[Mapping[str, Picture] | Unfit]) -> None:
        done, self._done = self._done, None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._loop.call_exception_handler({"message": "fetching images broke", "exception": error, "task": task})
        if done is not None:
            done(task.result() if error is None else Unfit("", Fault.REFUSED, type(error).__name__))


def _address(url: str) -> str | None:
    """A URL as it can be asked for: without its fragment, and with what must be escaped escaped; None for no such.

    A very long one is none: reading it, and its host above all, would hold up the loop.
    """
    if len(url) > _LONGEST_URL:
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
        if parts.scheme not in {"http", "https"} or not host or len(host) > _LONGEST_HOST or "@" in parts.netloc:
            return None
        asked = parts._replace(path=quote(parts.path, _SAFE), query=quote(parts.query, _SAFE), fragment="")
        return asked.geturl()
    except ValueError:
        return None


async def _encoded(body: bytes) -> str:
    if len(body) <= _SMALL:
        return b64encode(body).decode()
    return (await asyncio.to_thread(b64encode, body)).decode()
