"""The owner's HTTP proxies: which requests take one, and how a tunnel through it is opened.

Owns HTTPS_PROXY, HTTP_PROXY and NO_PROXY as values (their reading is the daemon's) and CONNECT. It must never
show a proxy's password: no repr and no error holds it.
"""

import asyncio
import base64
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from hermes_router.core.errors import ConfigError, Unreachable

_ANSWER = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")
_MAX_ANSWER = 16384


@dataclass(frozen=True, slots=True)
class Proxy:
    """An `http://` proxy; `authorization` is the whole value of Proxy-Authorization, or empty."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)


def parse_proxy(url: str) -> Proxy:
    """`[http://][user:pass@]host[:port]`, port 80 by default; raises ConfigError for any other scheme or shape."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        raise ConfigError("the proxy's address cannot be read") from None
    if parts.scheme != "http" or not host:
        raise ConfigError("only http:// proxies are supported")
    if parts.username is None:
        return Proxy(host, port)
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(host, port, "Basic " + base64.b64encode(pair.encode()).decode())


def is_loopback(host: str) -> bool:
    """Whether the name or address (no brackets) stays on this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_direct(host: str, port: int, no_proxy: Sequence[str]) -> bool:
    """Whether NO_PROXY, or being loopback, keeps this host off the proxy.

    An entry is `*`, a host (which covers its subdomains, with or without a leading `.` or `*.`) or an address,
    each with an optional `:port`.
    """
    if is_loopback(host):
        return True
    for raw in no_proxy:
        entry = raw.strip().lower()
        if entry == "*":
            return True
        named = re.fullmatch(r"(?:\*?\.)?(?:\[(?P<six>[^\]]+)\]|(?P<name>[^:]+))(?::(?P<port>\d+))?", entry)
        name = (named["six"] or named["name"]) if named else entry  # else: an IPv6 address without brackets
        if named and named["port"] and int(named["port"]) != port:
            continue
        if name and (host == name or host.endswith(f".{name}")):
            return True
    return False


async def open_tunnel(loop: asyncio.AbstractEventLoop, sock: socket.socket, authority: str, proxy: Proxy) -> None:
    """CONNECT on a socket that reaches the proxy; afterwards it reaches `authority`.

    Raises Unreachable where the proxy refuses or speaks something else; OSError as the socket does.
    """
    login = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    await loop.sock_sendall(sock, f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{login}\r\n".encode("latin-1"))
    answer = b""
    while b"\r\n\r\n" not in answer:
        chunk = await loop.sock_recv(sock, 4096)
        answer += chunk
        if not chunk or len(answer) > _MAX_ANSWER:
            raise Unreachable("the proxy gave no answer to CONNECT")
    status = _ANSWER.match(answer)
    if status is None:
        raise Unreachable("the proxy does not speak HTTP/1.1")
    if not status[1].startswith(b"2"):
        raise Unreachable(f"the proxy refused CONNECT with {status[1].decode()}")
    if not answer.endswith(b"\r\n\r\n"):  # in TLS the server is silent until we speak
        raise Unreachable("the proxy spoke out of turn")
