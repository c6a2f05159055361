"""Opening a connection: addresses, the race between them, proxy, TLS, and whom a failure blames.

Owns everything up to an open `Connection`. It must never know a request, a pool's rules or a secret.
"""

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from hermes_router.core.errors import NetworkDown, TimedOut, Unreachable, UpstreamError
from hermes_router.upstream.connection import Connection
from hermes_router.upstream.pool import Origin
from hermes_router.upstream.proxy import is_loopback, open_tunnel

NOT_ALLOWED: Final = "an address that is not allowed"
_EYEBALLS_S: Final = 0.1
# Not the provider's doing: no route, no link, or we are out of addresses or descriptors ourselves.
_OURS: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE}
)

LookUp: TypeAlias = Callable[[str, int], Awaitable[Sequence[tuple[Any, ...]]]]
"""Told a host and a port; answers the rows of `socket.getaddrinfo`, and raises as that does."""

_Address: TypeAlias = tuple[int, tuple[str, int]]


async def dial(
    loop: asyncio.AbstractEventLoop,
    origin: Origin,
    make: Callable[[], Connection],
    *,
    tls: ssl.SSLContext | None,
    timeout_s: float,
    allows: Callable[[str], bool] | None = None,
    look_up: LookUp | None = None,
) -> Connection:
    """Open a connection to `origin`, within `timeout_s` for all of it: DNS, TCP, CONNECT and TLS.

    With `allows` the name is resolved here, once, also where a proxy is used; every address that comes of it must be
    allowed, and the connection goes to one of these and to no other: a proxy is told the address, not the name. Such a
    name is a stranger's: `look_up` is who is asked for it, None = the loop's own resolver.

    Raises Unreachable, NetworkDown or TimedOut("connect").
    """
    host, port = (origin.proxy.host, origin.proxy.port) if origin.proxy else (origin.host, origin.port)
    authority, known = origin.authority, None
    try:
        async with asyncio.timeout(timeout_s):
            if allows is not None:
                known = await _resolve(loop, origin.host, origin.port, look_up)
                if not all(allows(str(address[1][0])) for address in known):
                    raise Unreachable(NOT_ALLOWED)
                if origin.proxy is not None:
                    authority, known = _numbered(known), None
            sock = await _race(loop, known or await _resolve(loop, host, port))
            try:
                if origin.proxy is not None and (origin.tls or allows is not None):
                    await open_tunnel(loop, sock, authority, origin.proxy)
            except BaseException:
                sock.close()
                raise
            _, connection = await loop.create_connection(
                make, sock=sock, ssl=tls, server_hostname=origin.host if tls else None
            )
            return connection
    except TimeoutError:
        raise TimedOut("connect", f"{host}:{port} did not answer within {timeout_s:g} s") from None
    except (OSError, UnicodeError) as error:
        raise blame(error, host, port) from error


def blame(error: Exception, host: str, port: int) -> UpstreamError:
    """Map what the operating system or TLS said to Unreachable, or to NetworkDown where the fault is ours.

    Loopback has no network that could be down: whoever should listen there does not.
    """
    where = f"{host}:{port}"
    if isinstance(error, ssl.SSLError):
        said = getattr(error, "verify_message", "") or getattr(error, "reason", "") or "handshake failed"
        return Unreachable(f"TLS with {where}: {said}")
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, socket.gaierror):
        ours, said = number == socket.EAI_AGAIN, f"no address for {host}: {error.strerror}"
    else:
        name = errno.errorcode.get(number, "") if number is not None else ""
        ours, said = number in _OURS, f"{where}: {name or type(error).__name__}"
    return NetworkDown(said) if ours and not is_loopback(host) else Unreachable(said)


async def _resolve(
    loop: asyncio.AbstractEventLoop, host: str, port: int, look_up: LookUp | None = None
) -> list[_Address]:
    """The addresses of a host, the families alternating; literals and localhost take no resolver."""
    if host == "localhost" or host.endswith(".localhost"):
        return [(socket.AF_INET6, ("::1", port)), (socket.AF_INET, ("127.0.0.1", port))]
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        if look_up is None:
            found: Sequence[tuple[Any, ...]] = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        else:
            found = await look_up(host, port)
    else:
        return [(family, (host, port))]
    addresses = [(row[0], row[4]) for row in found]
    firsts = [row for row in addresses if row[0] == addresses[0][0]]
    others = [row for row in addresses if row[0] != addresses[0][0]]
    mixed = [row for pair in zip(firsts, others, strict=False) for row in pair]
    return mixed + firsts[len(others) :] + others[len(firsts) :]


def _numbered(addresses: list[_Address]) -> str:
    """`address:port` as in CONNECT, of the older family where there is one: a proxy may know no other."""
    host, port = min(addresses, key=lambda each: each[0] != socket.AF_INET)[1][:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _race(loop: asyncio.AbstractEventLoop, addresses: list[_Address]) -> socket.socket:
    """The first socket that connects (RFC 8305); uvloop's `create_connection` has no such option.

    Raises the OSError that tells most: one that is not our own network's, if any.
    """
    if len(addresses) == 1:
        return await _connect(loop, addresses[0])
    waiting = list(reversed(addresses))
    tasks: list[asyncio.Task[socket.socket]] = []
    winner = None
    try:
        while winner is None:
            if waiting:
                tasks.append(loop.create_task(_connect(loop, waiting.pop()), name="dial one address"))
            running = [task for task in tasks if not task.done()]
            if running:
                await asyncio.wait(
                    running, timeout=_EYEBALLS_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
            ended = [task for task in tasks if task.done()]
            winner = next((task for task in ended if task.exception() is None), None)
            if winner is None and len(ended) == len(addresses):
                errors = [error for task in ended if (error := task.exception()) is not None]
                raise next((error for error in errors if getattr(error, "errno", None) not in _OURS), errors[0])
        return winner.result()
    finally:
        for task in tasks:
            if task is not winner:
                task.cancel()
                task.add_done_callback(_close_unused)


async def _connect(loop: asyncio.AbstractEventLoop, address: _Address) -> socket.socket:
    sock = socket.socket(address[0], socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, address[1])
    except BaseException:
        sock.close()
        raise
    return sock


def _close_unused(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
