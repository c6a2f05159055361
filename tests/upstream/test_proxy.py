"""Proxy settings as values, NO_PROXY's rules, and CONNECT against a scripted proxy."""

import asyncio
import socket

import pytest

from hermes_router.core.errors import ConfigError, Unreachable
from hermes_router.upstream.proxy import Proxy, is_direct, is_loopback, open_tunnel, parse_proxy


def test_a_proxy_is_a_host_a_port_and_maybe_a_login() -> None:
    """With or without scheme; port 80 by default; user and password are unquoted into Basic."""
    assert parse_proxy("http://proxy.test:3128") == Proxy("proxy.test", 3128)
    assert parse_proxy("proxy.test:3128/") == Proxy("proxy.test", 3128)
    assert parse_proxy("http://[::1]") == Proxy("::1", 80)
    assert parse_proxy("http://me:p%40ss@proxy.test").authorization == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize("url", ["socks5://me:s3cret@x.test", "https://x.test", "http://", "http://me:s3cret@x.test:y"])
def test_any_other_proxy_is_refused_without_its_password(url) -> None:
    """Other schemes and unreadable addresses are ConfigErrors that do not repeat the address."""
    with pytest.raises(ConfigError) as caught:
        parse_proxy(url)
    assert "s3cret" not in str(caught.value)


def test_ll13_no_repr_shows_the_login() -> None:
    """The password of the proxy is in no repr."""
    proxy = parse_proxy("http://me:s3cret@proxy.test")
    assert proxy.authorization not in repr(proxy)


@pytest.mark.parametrize(
    ("host", "port", "rules", "direct"),
    [
        ("api.x.test", 443, (), False),
        ("api.x.test", 443, ("*",), True),
        ("api.x.test", 443, ("X.test",), True),
        ("api.x.test", 443, (".x.test",), True),
        ("api.x.test", 443, ("*.x.test",), True),
        ("x.test", 443, (" .x.test ",), True),
        ("apix.test", 443, ("x.test",), False),
        ("api.x.test", 443, ("x.test:443",), True),
        ("api.x.test", 443, ("x.test:80",), False),
        ("10.0.0.7", 80, ("10.0.0.7",), True),
        ("10.0.0.7", 80, ("10.0.0.77", "", "0.0.7:81"), False),
        ("fd00::7", 80, ("fd00::7",), True),
        ("fd00::7", 80, ("[fd00::7]:80",), True),
        ("fd00::7", 80, ("[fd00::7]:81",), False),
        ("localhost", 80, (), True),
        ("ollama.localhost", 80, (), True),
        ("127.1.2.3", 80, (), True),
        ("::1", 80, (), True),
    ],
)
def test_no_proxy_names_hosts_suffixes_and_ports(host, port, rules, direct) -> None:
    """Entries cover a host and its subdomains, `*` all, a port narrows; loopback is never proxied."""
    assert is_direct(host, port, rules) is direct


def test_loopback_is_by_name_or_address() -> None:
    """A name that only looks like it is not loopback."""
    assert is_loopback("localhost")
    assert not is_loopback("localhost.evil.test")
    assert not is_loopback("128.0.0.1")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 Connection established\r\n\r\n", None),
        (b"HTTP/1.0 200 OK\r\nvia: x\r\n\r\n", None),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"HTTP/1.1 503 x\r\ncontent-length: 3\r\n\r\nno!", "503"),
        (b"<html>", "no answer"),
        (b"hello\r\n\r\n", "does not speak"),
        (b"HTTP/1.1 200 OK\r\n\r\nearly", "out of turn"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 20000 + b"\r\n\r\n", "no answer"),
    ],
)
async def test_connect_opens_the_tunnel_or_says_why_not(answer, said) -> None:
    """Any 2xx opens it; refusal, silence, other protocols and early bytes are Unreachable."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    loop = asyncio.get_running_loop()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        proxy = Proxy("p.test", 1, "Basic abc")
        if said is None:
            await open_tunnel(loop, ours, "x.test:443", proxy)
        else:
            with pytest.raises(Unreachable, match=said):
                await open_tunnel(loop, ours, "x.test:443", proxy)
        asked = theirs.recv(1000)
    assert asked == (b"CONNECT x.test:443 HTTP/1.1\r\nhost: x.test:443\r\nproxy-authorization: Basic abc\r\n\r\n")
