"""HTTP/1.1 towards providers: the Transport port.

Owns request heads, pools, and the tasks that open connections. With a pooled connection `send` writes at once
and makes no task, future or timer. It must never know a dialect, a provider, or what a status means; it follows
no redirect, and repeats a request only when a pooled connection died before the first byte of an answer.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from hermes_router.core.errors import NetworkDown, Unreachable, UpstreamError
from hermes_router.core.ports import Flight, Outbound, Sink
from hermes_router.upstream.connection import Connection, HttpFlight
from hermes_router.upstream.dial import LookUp, dial
from hermes_router.upstream.lasting import LastingHeaders
from hermes_router.upstream.pool import Origin, Pool, Sweep
from hermes_router.upstream.proxy import is_direct, parse_proxy

_FORMS_KEPT: Final = 512
_WARM_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 2.0
_CLOSE_TURNS: Final = 16
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VISIBLE = re.compile(r"[!-~]+")
# Framing and addressing are the transport's: what a caller of `send` says about them is left out.
_OWN: Final = frozenset(
    {"host", "content-length", "accept-encoding", "transfer-encoding", "te", "connection", "expect", "upgrade"}
)


def usual_tls() -> ssl.SSLContext:
    """TLS as providers are asked: the system's CAs, the name verified. It reads files."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Form(NamedTuple):
    """A request head with holes for the header values and the body's length, and where it goes."""

    template: str
    lines: int
    pool: Pool
    bare: bool  # a method that takes no body
    head_only: bool


@dataclass(frozen=True, slots=True)
class _Begun:
    """The head of a request with lasting headers, up to the number of the length."""

    transport: "HttpTransport"
    form: _Form
    head: bytes = field(repr=False)  # the secret is in it


class HttpTransport:
    """Implements `core.ports.Transport` on one event loop.

    `https_proxy` and `http_proxy` are `http://[user:pass@]host[:port]` (ConfigError otherwise); `no_proxy` as
    in `proxy.is_direct`. Without `ssl_context`: the system's CAs, loaded with the first https request. `allows` as in
    `dial`: which addresses may be reached at all, None = all; and `look_up`, who is asked for the names of these.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        ssl_context: ssl.SSLContext | None = None,
        https_proxy: str | None = None,
        http_proxy: str | None = None,
        no_proxy: Sequence[str] = (),
        keepalive_s: float = 45.0,
        max_idle_per_host: int = 64,
        max_head_bytes: int = 65536,
        allows: Callable[[str], bool] | None = None,
        look_up: LookUp | None = None,
    ) -> None:
        self._loop = loop
        self._ssl_context = ssl_context
        self._proxies = {
            True: parse_proxy(https_proxy) if https_proxy else None,
            False: parse_proxy(http_proxy) if http_proxy else None,
        }
        self._no_proxy = tuple(no_proxy)
        self._max_idle = max_idle_per_host
        self._max_head = max_head_bytes
        self._allows = allows
        self._look_up = look_up
        self._sweep = Sweep(loop, keepalive_s)
        self._pools: dict[Origin, Pool] = {}
        self._forms: dict[tuple[str, ...], _Form] = {}
        self._dials: dict[asyncio.Task[Connection], HttpFlight | None] = {}
        self._closed = False

    def send(self, request: Outbound, sink: Sink) -> Flight:
        """Start a request; the sink is never called before this returns.

        Raises ValueError for a URL or header that cannot be sent; its text names no value.
        """
        body = request.body
        headers = request.headers
        lasting = headers if type(headers) is LastingHeaders else None
        begun: _Begun | None = None if lasting is None else lasting.made(request.method, request.url)
        if begun is not None and begun.transport is self:
            form = begun.form
            wire_head = b"%b%d\r\n\r\n" % (begun.head, len(body))
        else:
            form, wire_head = self._written(request)
            if lasting is not None and not form.bare:
                head = wire_head[: -len(b"%d\r\n\r\n" % len(body))]
                lasting.keep(request.method, request.url, _Begun(self, form, head))
        flight = HttpFlight(sink, wire_head, body, request.connect_timeout_s, form.head_only)
        connection = form.pool.take()
        if connection is None:
            self._dial(form.pool, flight)
        else:
            flight.pooled = True
            connection.start(flight)
        return flight

    async def warm(self, url: str) -> None:
        """Have one idle connection to the URL's origin, so that the next request finds it. Never raises."""
        try:
            pool = self._pool(urlsplit(url))
            if pool.idle or self._closed:
                return
            task = self._open(pool, _WARM_TIMEOUT_S)
        except ValueError:
            return
        self._dials[task] = None
        task.add_done_callback(partial(self._warmed, pool))
        await asyncio.wait([task])

    async def close(self) -> None:
        """Close every connection; flights under way fail. Afterwards `send` only fails."""
        self._closed = True
        self._sweep.stop()
        for pool in self._pools.values():
            pool.idle.clear()  # a sink that sends again while it is told finds none
        dials = dict(self._dials)
        for task, flight in dials.items():
            task.cancel()
            if flight is not None:
                self._loop.call_soon(flight.finish, NetworkDown("the transport was closed"))
        for pool in self._pools.values():
            for connection in list(pool.open):
                self._loop.call_soon(connection.fail, NetworkDown("the transport was closed"))
        if dials:
            await asyncio.wait(dials, timeout=_CLOSE_TIMEOUT_S)
        for _ in range(_CLOSE_TURNS):  # the loop needs a turn to close a socket, TLS some more
            if not any(pool.open for pool in self._pools.values()):
                break
            await asyncio.sleep(0)

    # --- request heads -------------------------------------------------------------------------------

    def _written(self, request: Outbound) -> tuple[_Form, bytes]:
        """The request's head; raises ValueError for what cannot be sent."""
        form = self._forms.get((request.method, request.url, *request.headers)) or self._add_form(request)
        if request.body and form.bare:
            raise ValueError("GET and HEAD take no body")
        head = form.template % (*request.headers.values(), len(request.body))
        # each line of ours has one CR and one LF: any other came in with a value
        if head.count("\r") != form.lines or head.count("\n") != form.lines or "\0" in head:
            raise ValueError("a header value holds CR, LF or NUL")
        try:
            return form, head.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError("a header value is not Latin-1") from None

    def _add_form(self, request: Outbound) -> _Form:
        method, url, names = request.method, request.url, tuple(request.headers)
        parts = urlsplit(url)
        pool = self._pool(parts)
        if not _TOKEN.fullmatch(method) or not all(_TOKEN.fullmatch(name) for name in names):
            raise ValueError("a method or header name is not a token")
        origin = pool.origin
        host = origin.authority
        if origin.port == (443 if origin.tls else 80):
            host = host.rpartition(":")[0]
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not _VISIBLE.fullmatch(target):
            raise ValueError("a URL holds spaces or other bytes that must be escaped")
        by_proxy = origin.proxy is not None and not origin.tls and self._allows is None
        if by_proxy:
            target = f"http://{host}{target}"
        lines = [f"{method} {target} HTTP/1.1", f"host: {host}", "accept-encoding: identity"]
        if by_proxy and origin.proxy is not None and origin.proxy.authorization:
            lines.append(f"proxy-authorization: {origin.proxy.authorization}")
        template = "\r\n".join(lines).replace("%", "%%") + "\r\n"
        count = len(lines) + 1
        for name in names:
            own = name.lower() in _OWN
            template += "%.0s" if own else name.replace("%", "%%") + ": %s\r\n"  # %.0s takes a value, writes nothing
            count += not own
        bare = method in {"GET", "HEAD"}
        template += "%.0s\r\n" if bare else "content-length: %d\r\n\r\n"
        form = _Form(template, count + (not bare), pool, bare, method == "HEAD")
        if len(self._forms) >= _FORMS_KEPT:
            self._forms.clear()
        self._forms[method, url, *names] = form
        return form

    def _pool(self, parts: SplitResult) -> Pool:
        """The pool of a URL's origin; raises ValueError for what is no plain http or https URL."""
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise ValueError("not an absolute http or https URL without user info")
        host = parts.hostname
        if not host.isascii():
            host = host.encode("idna").decode()
        if not _VISIBLE.fullmatch(host):
            raise ValueError("a URL's host holds bytes that no host has")
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        proxy = None if is_direct(host, port, self._no_proxy) else self._proxies[tls]
        origin = Origin(tls, host, port, proxy)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, self._sweep, self._dial, self._max_idle)
            self._sweep.pools.append(pool)
        return pool

    # --- new connections -----------------------------------------------------------------------------

    def _open(self, pool: Pool, timeout_s: float) -> asyncio.Task[Connection]:
        if pool.origin.tls and self._ssl_context is None:
            self._ssl_context = usual_tls()

        make = partial(Connection, pool, self._max_head)
        tls = self._ssl_context if pool.origin.tls else None
        return self._loop.create_task(
            dial(
                self._loop,
                pool.origin,
                make,
                tls=tls,
                timeout_s=timeout_s,
                allows=self._allows,
                look_up=self._look_up,
            ),
            name=f"dial {pool.origin.host}",
        )

    def _dial(self, pool: Pool, flight: HttpFlight) -> None:
        if self._closed:
            self._loop.call_soon(flight.finish, NetworkDown("the transport is closed"))
            return
        task = flight.dial = self._open(pool, flight.connect_timeout_s)
        self._dials[task] = flight
        task.add_done_callback(partial(self._dialled, pool, flight))

    def _dialled(self, pool: Pool, flight: HttpFlight, task: asyncio.Task[Connection]) -> None:
        del self._dials[task]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            connection = task.result()
            if flight.sink is None:  # aborted when it was open already
                connection.cut()
            elif connection.usable():
                pool.gained(connection)
                connection.start(flight)
            else:
                flight.finish(Unreachable("the connection ended before the request was sent"))
        elif isinstance(error, UpstreamError):
            flight.finish(error)
        else:
            self._loop.call_exception_handler({"message": "a dial broke", "exception": error, "task": task})
            flight.finish(Unreachable(f"dial: {type(error).__name__}"))

    def _warmed(self, pool: Pool, task: asyncio.Task[Connection]) -> None:
        del self._dials[task]
        if not task.cancelled() and task.exception() is None and task.result().usable():
            pool.gained(task.result())
            pool.release(task.result())
