"""The way to a provider, step by step: name, connection, certificate, answer, each with its time.

Owns the steps, on plain sockets. No key is ever sent, and what is asked for costs nothing: the head of `/`, and of a
server of the owner's own its list of models.
"""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from hermes_router.cli.doctor.scene import Scene
from hermes_router.control import health_types as h

__all__ = ["WAIT_S", "Reach", "Stage", "reach", "reaches", "why_untrusted"]

Stage = Literal["DNS", "TCP", "proxy", "TLS", "HTTP", ""]

WAIT_S: Final = 14.0
"""How long a check should wait for all of them."""

_STEP_S: Final = 4.0
_MOST_HEAD: Final = 65_536
_MOST_BODY: Final = 1024 * 1024
_NO_TIME: Final = (9, 10)  # OpenSSL's codes: not valid yet, expired


@dataclass(slots=True)
class Reach:
    """How far it went. `failed` = the step that did, with `said`; empty = it answered, with `status`.

    `took_ms` is by step. `date` is the clock of the other side, read when this machine's said `at` (epoch seconds).
    `untrusted` is OpenSSL's code for a refused certificate, -1 = a proxy that only the daemon can pass, 0 = none.
    `models` = how many a local server lists.
    """

    endpoint: h.EndpointRow
    failed: Stage = ""
    said: str = ""
    status: int = 0
    took_ms: dict[str, int] = field(default_factory=dict)
    date: float | None = None
    at: float = 0.0
    untrusted: int = 0
    models: int | None = None


class _Failed(Exception):
    """A step that did not succeed."""

    def __init__(self, stage: Stage, said: str, code: int = 0) -> None:
        super().__init__(said)
        self.stage: Stage = stage
        self.said = said
        self.code = code


def reaches(scene: Scene) -> list[Reach]:
    """The ways to all endpoints in use, walked once for all checks, all at the same time."""
    if scene.report is None:
        return []
    with _ONCE:
        walks: list[_Walk] = scene.shared.setdefault("reaches", [])
        if not walks:
            walks += [_Walk(row) for row in scene.report.endpoints]
    deadline = time.monotonic() + WAIT_S
    return [walk.result(max(0.0, deadline - time.monotonic())) for walk in walks]


_ONCE: Final = threading.Lock()


class _Walk:
    """One of them, in a thread of its own."""

    def __init__(self, row: h.EndpointRow) -> None:
        self._row = row
        self._found: Reach | None = None
        self._done = threading.Event()
        threading.Thread(target=self._go, daemon=True, name=f"reach-{row.provider}").start()

    def _go(self) -> None:
        self._found = reach(self._row)
        self._done.set()

    def result(self, wait_s: float) -> Reach:
        if self._done.wait(wait_s) and self._found is not None:
            return self._found
        return Reach(self._row, failed="DNS", said=f"nothing came of it within {WAIT_S:g} s")


def reach(
    row: h.EndpointRow,
    *,
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    wall: Callable[[], float] = time.time,
) -> Reach:
    """Walk one way; `context` is what certificates are checked by."""
    found = Reach(row)
    try:
        _walk(row, found, context(), wall)
    except _Failed as failed:
        found.failed, found.said, found.untrusted = failed.stage, failed.said, failed.code
        if failed.code in _NO_TIME:  # whose clock is wrong? Nothing is sent that needs trust
            second = Reach(row)
            with suppress(_Failed):
                _walk(row, second, _trusting(), wall)
            found.date, found.at = second.date, second.at
    return found


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _walk(row: h.EndpointRow, found: Reach, context: ssl.SSLContext, wall: Callable[[], float]) -> None:
    parts = urlsplit(row.url)
    try:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise _Failed("DNS", "its address cannot be read") from None
    towards = _split(row.proxy) if row.proxy else (host, port)
    with _Timed(found, "DNS"):
        addresses = _look_up(*towards)
    with _Timed(found, "TCP"):
        sock = _connect(addresses)
    try:
        if row.proxy:
            with _Timed(found, "proxy"):
                _tunnel(
                    sock, f"{host}:{port}" if ":" not in host else f"[{host}]:{port}", https=parts.scheme == "https"
                )
        if parts.scheme == "https":
            with _Timed(found, "TLS"):
                sock = _secure(sock, host, context)
        with _Timed(found, "HTTP"):
            _ask(sock, row, host, found, wall)
    finally:
        sock.close()


class _Timed:
    """Notes how long a step took."""

    def __init__(self, found: Reach, stage: Stage) -> None:
        self._found = found
        self._stage: Stage = stage

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_exc: object) -> None:
        self._found.took_ms[self._stage] = round(1000 * (time.monotonic() - self._began))


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _look_up(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _Failed("DNS", f"the name {host} is not found ({error.strerror or error})") from None
    except UnicodeError:
        raise _Failed("DNS", f"{host[:80]} is no name") from None


def _connect(addresses: list[Any]) -> socket.socket:
    """The first address that answers; a machine without IPv6 has to come to the others."""
    said = "it has no address"
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(_STEP_S)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            why = f"no answer within {_STEP_S:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)
            said = f"{address[0]} port {address[1]}: {why}"
        else:
            return sock
    raise _Failed("TCP", said)


def _tunnel(sock: socket.socket, authority: str, *, https: bool) -> None:
    """CONNECT, without a password: that stays with the daemon."""
    if not https:
        raise _Failed("proxy", "plain HTTP goes through the proxy; only the daemon can tell how that goes", -1)
    try:
        sock.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode("latin-1", "replace"))
        head = _head(sock)
    except OSError as error:
        raise _Failed("proxy", f"the proxy does not answer ({error.strerror or type(error).__name__})") from None
    status = _status(head)
    if status == 407:
        raise _Failed("proxy", "the proxy wants its password, which only the daemon sends", -1)
    if not 200 <= status < 300:
        raise _Failed("proxy", f"the proxy refuses it with {status or 'no HTTP'}")


def _secure(sock: socket.socket, host: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise _Failed("TLS", why_untrusted(error.verify_code), error.verify_code) from None
    except ssl.SSLError as error:
        raise _Failed("TLS", f"no common TLS ({(error.reason or 'unknown').lower().replace('_', ' ')})") from None
    except OSError as error:
        raise _Failed("TLS", f"the connection was cut in it ({error.strerror or type(error).__name__})") from None


def why_untrusted(code: int) -> str:
    """OpenSSL's code for a refused certificate in words."""
    words = {
        9: "its certificate is not valid yet",
        10: "its certificate has expired",
        18: "its certificate is signed by itself",
        19: "its certificate comes from an authority that this machine does not know",
        20: "its certificate comes from an authority that this machine does not know",
        21: "its certificate comes from an authority that this machine does not know",
        62: "its certificate is another host's",
        64: "its certificate is another address's",
    }
    return words.get(code, f"its certificate is refused (code {code})")


def _ask(sock: socket.socket, row: h.EndpointRow, host: str, found: Reach, wall: Callable[[], float]) -> None:
    path = urlsplit(row.url).path.rstrip("/") + "/models" if row.keyless else "/"
    method = "GET" if row.keyless else "HEAD"
    name = f"[{host}]" if ":" in host else host
    sock.settimeout(_STEP_S)
    began = wall()
    try:
        sock.sendall(
            f"{method} {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: hermes-router\r\nAccept: */*\r\n"
            "Connection: close\r\n\r\n".encode("latin-1", "replace")
        )
        head = _head(sock)
    except OSError as error:
        why = f"no answer within {_STEP_S:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise _Failed("HTTP", why) from None
    found.at = (began + wall()) / 2
    found.status = _status(head)
    if not found.status:
        raise _Failed("HTTP", "what answers does not speak HTTP")
    found.date = _date(head)
    if row.keyless:
        found.models = _models(sock, head)


def _head(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _MOST_HEAD:
        chunk = sock.recv(4096)
        if not chunk:
            break
        data += chunk
    return data


def _status(head: bytes) -> int:
    words = head.partition(b"\r\n")[0].split(b" ")
    is_http = words[0].startswith(b"HTTP/") and len(words) > 1 and words[1].isdigit()
    return int(words[1]) if is_http else 0


def _headers(head: bytes) -> Mapping[str, str]:
    lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _date(head: bytes) -> float | None:
    with suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(_headers(head).get("date", "")).timestamp()
    return None


def _models(sock: socket.socket, head: bytes) -> int | None:
    """How many models the list has; None where that is no list."""
    body = head.partition(b"\r\n\r\n")[2]
    with suppress(OSError):
        while len(body) < _MOST_BODY and (chunk := sock.recv(65_536)):
            body += chunk
    if _headers(head).get("transfer-encoding", "").lower() == "chunked":
        body = _unchunked(body)
    with suppress(ValueError, RecursionError):
        found = json.loads(body)
        if isinstance(found, dict) and isinstance(found.get("data"), list):
            return len(found["data"])
    return None


def _unchunked(body: bytes) -> bytes:
    whole = b""
    with suppress(ValueError):
        while body:
            size, _, body = body.partition(b"\r\n")
            length = int(size.partition(b";")[0], 16)
            if not length:
                break
            whole, body = whole + body[:length], body[length + 2 :]
    return whole
