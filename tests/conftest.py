"""What holds for every test: no connection leaves the machine, and properties run by one of two profiles."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# `quick` is what a commit runs. No deadline: on a busy machine it measures the neighbours.
# The same examples every time: a red run is the change's own. `make fuzz` looks for new ones.
settings.register_profile("quick", deadline=None, derandomize=True, database=None)
settings.register_profile("nightly", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

_NEVER_RESOLVE = (".invalid", ".test", ".example")  # RFC 2606 and 6761: tests may name them


class LeftTheMachine(RuntimeError):
    """A test tried to reach something beyond loopback."""


def _is_loopback(host: str) -> bool:
    if host in {"", "localhost"} or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


@pytest.fixture(scope="session", autouse=True)
def _tripwire() -> Iterator[None]:
    """Refuse non-loopback connects and name look-ups of this process, aiohttp's and asyncio's included.

    uvloop's own sockets and child processes are not seen: tests hand them loopback addresses.
    """
    patch = pytest.MonkeyPatch()
    connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(sock: socket.socket, address: Any) -> None:
        if sock.family in {socket.AF_INET, socket.AF_INET6} and not _is_loopback(str(address[0])):
            raise LeftTheMachine(f"a test connects to {address!r}: only loopback is allowed")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        check(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        check(self, address)
        return connect_ex(self, address)

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host or "")
        if name.lower().endswith(_NEVER_RESOLVE):
            raise socket.gaierror(socket.EAI_NONAME, "a reserved name: it never resolves")
        if not _is_loopback(name) and not _is_address(name):
            raise LeftTheMachine(f"a test looks up {name!r}: only loopback is allowed")
        return look_up(host, *args, **kwargs)

    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    patch.setattr(socket, "getaddrinfo", guarded_look_up)
    yield
    patch.undo()
