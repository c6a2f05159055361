"""Opening a connection: which address, how long, and whom a failure blames."""

import asyncio
import errno
import socket
import ssl
from functools import partial

import pytest

from hermes_router.core.errors import NetworkDown, TimedOut, Unreachable
from hermes_router.upstream import dial as module
from hermes_router.upstream.connection import Connection
from hermes_router.upstream.dial import blame, dial
from hermes_router.upstream.pool import Origin, Pool, Sweep


def open_one(loop, origin, timeout_s=5.0, tls=None, allows=None):
    pool = Pool(origin, Sweep(loop, 45.0), lambda _pool, _flight: None, 1)
    return dial(loop, origin, partial(Connection, pool, 1000), tls=tls, timeout_s=timeout_s, allows=allows)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


OURS = [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EMFILE]


@pytest.mark.parametrize("number", OURS)
def test_our_own_network_blames_nobody(number) -> None:
    """No route, no link, no descriptor: NetworkDown; except towards loopback, which has no network."""
    assert isinstance(blame(OSError(number, "x"), "api.x.test", 443), NetworkDown)
    for host in ("localhost", "127.0.0.1", "::1"):
        assert isinstance(blame(OSError(number, "x"), host, 443), Unreachable)


def test_dns_tells_a_wrong_name_from_a_dead_resolver() -> None:
    """EAI_AGAIN is our network; a name that does not exist is the provider's (or the row's)."""
    again = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert isinstance(blame(again, "api.x.test", 443), NetworkDown)
    assert isinstance(blame(socket.gaierror(socket.EAI_NONAME, "unknown"), "api.x.test", 443), Unreachable)


def test_refusals_resets_and_tls_blame_the_provider() -> None:
    """Refused, reset, certificates and labels that are no name: Unreachable, with a reason for the log."""
    errors = [
        ConnectionRefusedError(errno.ECONNREFUSED, "x"),
        ConnectionResetError(),
        ssl.SSLError(1, "x"),
        UnicodeError(),
    ]
    for error in errors:
        got = blame(error, "api.x.test", 443)
        assert isinstance(got, Unreachable)
        assert "api.x.test" in got.excerpt


@pytest.mark.parametrize("family", ["::1", "127.0.0.1"])
def test_localhost_is_both_families(run, family) -> None:
    """A server on only one of ::1 and 127.0.0.1 is found under localhost, on either loop, TCP_NODELAY on."""

    async def scenario() -> None:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), family, 0)
        port = server.sockets[0].getsockname()[1]
        connection = await open_one(asyncio.get_running_loop(), Origin(False, "localhost", port, None))
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getpeername()[0] == family
        connection.cut()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)

    run(scenario)


def test_nobody_listens(run) -> None:
    """Refused on all addresses: Unreachable."""

    async def scenario() -> None:
        for host in ("localhost", "127.0.0.1"):
            with pytest.raises(Unreachable, match="ECONNREFUSED"):
                await open_one(asyncio.get_running_loop(), Origin(False, host, free_port(), None))

    run(scenario)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "a.localhost"])
async def test_an_address_that_is_not_allowed_is_not_connected_to(monkeypatch, host) -> None:
    """Literals and our own names are judged like any other; no socket is made, and no address is told."""
    monkeypatch.setattr(module, "_connect", None)
    with pytest.raises(Unreachable) as caught:
        await open_one(asyncio.get_running_loop(), Origin(False, host, 80, None), allows=lambda _: False)
    assert caught.value.excerpt == module.NOT_ALLOWED


def test_a_proxy_is_told_the_older_of_two_addresses() -> None:
    """It may know no IPv6; in brackets where there is nothing else."""
    six, four = (socket.AF_INET6, ("2606:4700::1111", 443)), (socket.AF_INET, ("1.1.1.1", 443))
    assert module._numbered([six, four]) == "1.1.1.1:443"
    assert module._numbered([six]) == "[2606:4700::1111]:443"


def scripted_connect(fates, begun):
    """Stands for `_connect`: per address an error, a socket, or silence."""

    async def connect(loop, address):
        host = address[1][0]
        begun.append(host)
        fate = fates[host]
        if fate is None:
            await loop.create_future()
        if isinstance(fate, OSError):
            raise fate
        return fate

    return connect


def race(monkeypatch, fates):
    begun = []
    monkeypatch.setattr(module, "_connect", scripted_connect(fates, begun))
    loop = asyncio.get_running_loop()
    return begun, module._race(loop, [(socket.AF_INET, (host, 80)) for host in fates])


async def test_a_slow_address_is_overtaken(monkeypatch) -> None:
    """The next address starts after a tenth of a second of silence, and the first to connect wins."""
    with socket.socket() as sock:
        begun, racing = race(monkeypatch, {"slow": None, "good": sock, "never": None})
        assert await racing is sock
    assert begun == ["slow", "good"]


async def test_a_failed_address_is_passed_at_once(monkeypatch) -> None:
    """A refusal starts the next address without a wait."""
    monkeypatch.setattr(module, "_EYEBALLS_S", 60)
    with socket.socket() as sock:
        _, racing = race(monkeypatch, {"bad": OSError(errno.ECONNREFUSED, "x"), "good": sock})
        assert await asyncio.wait_for(racing, 5) is sock


async def test_the_error_that_is_not_ours_is_told(monkeypatch) -> None:
    """No IPv6 route here and a refusal there: the refusal counts, or the provider would never be blamed."""
    refused = OSError(errno.ECONNREFUSED, "x")
    for fates in (
        {"six": OSError(errno.ENETUNREACH, "x"), "four": refused},
        {"four": refused, "six": OSError(errno.ENETUNREACH, "x")},
    ):
        _, racing = race(monkeypatch, fates)
        with pytest.raises(OSError) as caught:
            await racing
        assert caught.value is refused


async def test_a_socket_that_lost_the_race_is_closed(monkeypatch) -> None:
    """Two addresses connect in the same turn: one is used, the other closed."""
    monkeypatch.setattr(module, "_EYEBALLS_S", 0)
    gate = asyncio.Event()
    socks = {"a": socket.socket(), "b": socket.socket()}

    async def connect(_loop, address):
        if address[1][0] == "b":
            gate.set()
        await gate.wait()
        return socks[address[1][0]]

    monkeypatch.setattr(module, "_connect", connect)
    won = await module._race(asyncio.get_running_loop(), [(socket.AF_INET, (host, 80)) for host in socks])
    for _ in range(3):
        await asyncio.sleep(0)
    (lost,) = [sock for sock in socks.values() if sock is not won]
    assert lost.fileno() == -1
    assert won.fileno() != -1
    won.close()


async def test_families_alternate(monkeypatch) -> None:
    """Whatever the resolver prefers comes first, then the families take turns; literals ask no resolver."""
    loop = asyncio.get_running_loop()

    async def look_up(_host, port, **_):
        six = [(socket.AF_INET6, 1, 6, "", (f"fd00::{n}", port, 0, 0)) for n in range(3)]
        return [*six, (socket.AF_INET, 1, 6, "", ("10.0.0.1", port))]

    monkeypatch.setattr(loop, "getaddrinfo", look_up)
    found = await module._resolve(loop, "x.test", 80)
    assert [address[0] for _, address in found] == ["fd00::0", "10.0.0.1", "fd00::1", "fd00::2"]
    assert await module._resolve(loop, "10.0.0.9", 80) == [(socket.AF_INET, ("10.0.0.9", 80))]


async def test_a_dead_resolver_is_network_down(monkeypatch) -> None:
    """The classification reaches the caller of dial."""
    loop = asyncio.get_running_loop()

    async def look_up(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(loop, "getaddrinfo", look_up)
    with pytest.raises(NetworkDown):
        await open_one(loop, Origin(True, "x.test", 443, None))


def test_a_slow_connect_times_out(run) -> None:
    """One limit covers TCP and TLS: a server that accepts and never shakes hands is TimedOut("connect")."""

    async def scenario() -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            origin = Origin(True, "127.0.0.1", server.getsockname()[1], None)
            with pytest.raises(TimedOut) as caught:
                await open_one(asyncio.get_running_loop(), origin, 0.05, ssl.create_default_context())
        assert caught.value.phase == "connect"

    run(scenario)
