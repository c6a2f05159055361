"""hermes_router/cli/doctor/reach.py: each step of the way, with real sockets, real certificates and a real proxy."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hermes_router.cli.doctor.reach import reach
from hermes_router.control.health_types import EndpointRow

x509 = pytest.importorskip("cryptography.x509")
hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")

Talk = Callable[[socket.socket], None]
DATE = "Sat, 21 Nov 2026 13:00:00 GMT"
NOW = datetime.now(UTC)


def answers(text: str) -> Talk:
    def talk(sock: socket.socket) -> None:
        while b"\r\n\r\n" not in sock.recv(4096):
            pass
        sock.sendall(text.replace("\n", "\r\n").encode())

    return talk


class Server:
    """A listener on loopback; `talk` speaks with each that comes, over TLS where there is a certificate."""

    def __init__(self, talk: Talk, certificate: Path | None = None) -> None:
        self._talk = talk
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                with suppress(OSError):
                    if self._context is not None:
                        sock = self._context.wrap_socket(sock, server_side=True)
                    self._talk(sock)
                sock.close()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else whoever waits in accept() keeps the door open
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(talk: Talk, certificate: Path | None = None) -> Server:
        running.append(Server(talk, certificate))
        return running[-1]

    yield start
    for one in running:
        one.close()


def certificate(path: Path, *, days: tuple[int, int] = (-1, 30), name: str = "127.0.0.1") -> Path:
    """One that signs itself, for an address or a name, good between these days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a provider")])
    try:
        alternative = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def row(port: int, scheme: str = "https", **changes: object) -> EndpointRow:
    return EndpointRow(provider="groq", url=f"{scheme}://127.0.0.1:{port}/v1", **changes)  # type: ignore[arg-type]


def trusting(path: Path) -> Callable[[], ssl.SSLContext]:
    return partial(ssl.create_default_context, cafile=str(path))


OK = answers(f"HTTP/1.1 404 Not Found\nDate: {DATE}\nContent-Length: 0\n\n")


def test_a_provider_that_answers_is_reached_whatever_it_says(serve: Callable[..., Server], tmp_path: Path) -> None:
    """Over TLS that is trusted: every step has its time, and the answer says what time it is there."""
    path = certificate(tmp_path / "c.pem")
    found = reach(row(serve(OK, path).port), context=trusting(path))
    assert (found.failed, found.status) == ("", 404)
    assert set(found.took_ms) == {"DNS", "TCP", "TLS", "HTTP"}
    assert found.date == datetime(2026, 11, 21, 13, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("made", "trusted", "said"),
    [
        ({"days": (-30, -1)}, True, "expired"),
        ({"days": (1, 30)}, True, "not valid yet"),
        ({}, False, "signed by itself"),
        ({"name": "other.example"}, True, "another"),
    ],
)
def test_each_fault_of_a_certificate_is_told_apart(
    serve: Callable[..., Server], tmp_path: Path, made: dict[str, Any], trusted: bool, said: str
) -> None:
    """Real ones: expired, of the future, signed by itself, of another host. Of a matter of time the Date is told still."""
    path = certificate(tmp_path / "c.pem", **made)
    found = reach(row(serve(OK, path).port), context=trusting(path) if trusted else ssl.create_default_context)
    assert found.failed == "TLS"
    assert said in found.said
    assert (found.date is not None) == (said in {"expired", "not valid yet"})


def test_what_speaks_no_tls_or_no_http_is_told(serve: Callable[..., Server]) -> None:
    """The step that fails is named."""
    plain = serve(lambda sock: sock.sendall(b"220 mail ready\r\n\r\n"))
    assert reach(row(plain.port)).failed == "TLS"
    found = reach(row(plain.port, "http"))
    assert (found.failed, "does not speak HTTP" in found.said) == ("HTTP", True)


def test_names_and_doors_that_are_not_there(serve: Callable[..., Server]) -> None:
    """DNS and TCP."""
    found = reach(EndpointRow(provider="groq", url="https://nobody.invalid/v1"))
    assert (found.failed, "nobody.invalid" in found.said) == ("DNS", True)
    gone = serve(OK)
    gone.close()
    assert reach(row(gone.port)).failed == "TCP"


@pytest.mark.parametrize(
    ("answer", "failed", "said"),
    [("HTTP/1.1 403 Forbidden\n\n", "proxy", "403"), ("HTTP/1.1 407 Auth\n\n", "proxy", "password")],
)
def test_a_proxy_that_refuses_is_told(serve: Callable[..., Server], answer: str, failed: str, said: str) -> None:
    """With its status; one that wants a password is the daemon's matter."""
    proxy = serve(answers(answer))
    found = reach(row(1, proxy=f"127.0.0.1:{proxy.port}"))
    assert (found.failed, said in found.said) == (failed, True)
    assert (found.untrusted == -1) == ("407" in answer)


def test_the_way_goes_through_the_proxy(serve: Callable[..., Server], tmp_path: Path) -> None:
    """CONNECT, then TLS with the provider itself inside."""
    path = certificate(tmp_path / "c.pem")
    asked: list[bytes] = []

    def tunnel(sock: socket.socket) -> None:
        asked.append(sock.recv(4096))
        sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        with context.wrap_socket(sock, server_side=True) as inner:
            OK(inner)

    proxy = serve(tunnel)
    found = reach(row(443, proxy=f"127.0.0.1:{proxy.port}"), context=trusting(path))
    assert (found.failed, found.status) == ("", 404)
    assert asked[0].startswith(b"CONNECT 127.0.0.1:443 HTTP/1.1")
    assert b"uthorization" not in asked[0]


@pytest.mark.parametrize(
    ("body", "models"),
    [('{"data": [{"id": "a"}, {"id": "b"}]}', 2), ('{"data": []}', 0), ("<html>", None)],
)
def test_a_local_server_is_asked_for_its_models(serve: Callable[..., Server], body: str, models: int | None) -> None:
    """How many it lists; what gives no list is told from one that is empty."""
    there = serve(answers(f"HTTP/1.1 200 OK\n\n{body}"))
    assert reach(row(there.port, "http", keyless=True)).models == models
    size = f"{len(body):x}"
    chunked = serve(answers(f"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n{size}\n{body}\n0\n\n"))
    assert reach(row(chunked.port, "http", keyless=True)).models == models
