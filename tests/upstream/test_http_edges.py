"""The Transport port where things go wrong: TLS, proxies, names, limits, and its own end."""

import asyncio
import contextlib
import socket
from urllib.parse import urlsplit

import pytest

from hermes_router.core.errors import ConfigError, Malformed, NetworkDown, Unreachable
from hermes_router.core.ports import Outbound
from hermes_router.upstream.connection import Connection
from hermes_router.upstream.fetch import fetch
from hermes_router.upstream.http import HttpTransport

from .asks import CHUNKED, CLOSE, HANG, OK, ask, both, contexts, post


def test_a_handshake_that_hangs_is_a_connect_timeout(run, seen) -> None:
    """`connect_timeout_s` of the request is what counts."""

    async def scenario() -> None:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            transport = HttpTransport(asyncio.get_running_loop())
            sink = seen()
            transport.send(post(f"https://127.0.0.1:{server.getsockname()[1]}/", connect_timeout_s=0.05), sink)
            assert await sink.wait() == ["TimedOut"]
            assert sink.error.phase == "connect"
            await transport.close()

    run(scenario)


def test_tls_with_sni_and_alpn(run, upstream, certificate) -> None:
    """https: the name is sent and checked, http/1.1 agreed on, the connection reused, TCP_NODELAY on."""

    async def scenario() -> None:
        ours, theirs = contexts(certificate)
        names = []
        theirs.sni_callback = lambda _ssl, name, _context: names.append(name)
        server = await upstream(OK, CHUNKED + b"0\r\n\r\n").start(tls=theirs)
        async with both(server, ssl_context=ours) as transport:
            url = server.url(scheme="https", host="localhost")
            assert (await ask(transport, url)).body == b"ok"
            (pool,) = transport._pools.values()
            get = pool.idle[0]._transport.get_extra_info
            assert get("ssl_object").selected_alpn_protocol() == "http/1.1"
            assert get("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert (await ask(transport, url)).body == b"hello"
            assert (server.connections, names) == (1, ["localhost"])

    run(scenario)


def test_an_untrusted_certificate_is_unreachable(run, upstream, certificate) -> None:
    """The default context trusts the system's CAs only; the error says certificate, not the request."""

    async def scenario() -> None:
        server = await upstream().start(tls=contexts(certificate)[1])
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        transport = HttpTransport(asyncio.get_running_loop())
        with pytest.raises(Unreachable, match="certificate") as caught:
            await ask(transport, server.url(scheme="https", host="localhost"))
        assert "s3cret" not in str(caught.value)
        assert not any(pool.open for pool in transport._pools.values())
        await transport.close()
        await server.stop()

    run(scenario)


def test_plain_http_is_no_tls(run) -> None:
    """https towards a server that speaks no TLS: Unreachable."""

    async def answer(_reader, writer) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        transport = HttpTransport(asyncio.get_running_loop())
        with pytest.raises(Unreachable, match="TLS"):
            await ask(transport, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await transport.close()
        server.close()
        await server.wait_closed()

    run(scenario)


@pytest.fixture
def not_loopback(monkeypatch):
    """Treat loopback as any other host, since NO_PROXY's first rule would keep it off every proxy."""
    monkeypatch.setattr("hermes_router.upstream.proxy.is_loopback", lambda _host: False)


async def tunnel_to(port, reader, writer) -> None:
    """What a proxy does after CONNECT: copy both ways until one side ends."""
    there, out = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def copy(source, sink) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()

    await asyncio.gather(copy(reader, out), copy(there, writer))


def test_https_through_a_connect_proxy(run, upstream, certificate, not_loopback) -> None:
    """CONNECT with the proxy's login, TLS end to end within, no secret of ours shown to the proxy, reuse."""

    async def scenario() -> None:
        ours, theirs = contexts(certificate)
        server = await upstream(OK, OK).start(tls=theirs)
        proxy = await upstream((lambda reader, writer: tunnel_to(server.port, reader, writer), CLOSE)).start()
        url = server.url(scheme="https", host="localhost")
        transport = HttpTransport(
            asyncio.get_running_loop(), ssl_context=ours, https_proxy=f"http://me:pw@127.0.0.1:{proxy.port}"
        )
        for _ in range(2):
            assert (await ask(transport, url)).body == b"ok"
        await transport.close()
        await proxy.stop()
        await server.stop()
        assert proxy.requests == [
            b"CONNECT localhost:%d HTTP/1.1\r\nhost: localhost:%d\r\nproxy-authorization: Basic bWU6cHc=\r\n\r\n"
            % (server.port, server.port)
        ]
        assert server.requests[0].startswith(b"POST /v1/x HTTP/1.1\r\n")
        assert b"proxy-authorization" not in server.requests[0]

    run(scenario)


def test_a_proxy_that_refuses_is_unreachable(run, upstream, not_loopback) -> None:
    """CONNECT answered with 407: Unreachable, with that number for the log."""

    async def scenario() -> None:
        proxy = await upstream((b"HTTP/1.1 407 Login\r\ncontent-length: 0\r\n\r\n", HANG)).start()
        async with both(proxy, https_proxy=f"127.0.0.1:{proxy.port}") as transport:
            with pytest.raises(Unreachable, match="407"):
                await ask(transport, "https://api.x.test/v1")

    run(scenario)


def test_http_through_a_proxy_is_absolute(run, upstream) -> None:
    """Plain http: the absolute URL goes to the proxy, with its login; what NO_PROXY names does not."""

    async def scenario() -> None:
        proxy = await upstream(OK).start()
        url = f"http://me:p%25w@127.0.0.1:{proxy.port}"
        async with both(proxy, http_proxy=url, no_proxy=["direct.test"]) as transport:
            assert (await ask(transport, "http://api.x.test/v1?a=%20b")).body == b"ok"
            assert transport._pool(urlsplit("http://direct.test/")).origin.proxy is None
        (request,) = proxy.requests
        assert request == (
            b"POST http://api.x.test/v1?a=%20b HTTP/1.1\r\nhost: api.x.test\r\naccept-encoding: identity\r\n"
            b"proxy-authorization: Basic bWU6cCV3\r\nauthorization: Bearer s3cret\r\ncontent-length: 2\r\n\r\n{}"
        )

    run(scenario)


def test_loopback_is_never_proxied(run, upstream) -> None:
    """A local model is asked directly, whatever the proxy."""

    async def scenario() -> None:
        server = await upstream(OK).start()
        async with both(server, http_proxy="http://127.0.0.1:1") as transport:
            assert (await ask(transport, server.url())).body == b"ok"

    run(scenario)


def test_warm_opens_one_connection_and_never_raises(run, upstream) -> None:
    """The next request finds it; a second warm adds none; what cannot be warmed is left."""

    async def scenario() -> None:
        server = await upstream(OK).start()
        async with both(server) as transport:
            await transport.warm(server.url())
            await transport.warm(server.url("/other"))
            (pool,) = transport._pools.values()
            assert len(pool.idle) == 1
            await ask(transport, server.url())
            assert server.connections == 1
            for url in ("http://127.0.0.1:1/", "ftp://x", "http://", "http://x:y/"):
                await transport.warm(url)

    run(scenario)


def test_close_fails_what_is_under_way(run, upstream, seen) -> None:
    """Dialling, streaming or sent afterwards: NetworkDown, which blames nobody; a second close does nothing."""

    async def scenario() -> None:
        server = await upstream((CHUNKED, HANG)).start()
        async with both(server) as transport:
            streaming, dialling, late = seen(), seen(), seen()
            transport.send(post(server.url()), streaming)
            await asyncio.wait_for(streaming.began.wait(), 5)
            transport.send(post(server.url("/2")), dialling)
            await transport.close()
            transport.send(post(server.url()), late)
            assert await late.wait() == ["NetworkDown"]
            assert isinstance(late.error, NetworkDown)
            assert (streaming.heard, dialling.heard) == ([200, b"hello", "NetworkDown"], ["NetworkDown"])
            server.connections = min(server.connections, 1)
            await transport.warm(server.url())

    run(scenario)


def test_redirects_are_told_not_followed(run, upstream) -> None:
    """A 307 reaches the caller as it is, and no second request is made."""

    async def scenario() -> None:
        server = await upstream(b"HTTP/1.1 307 T\r\nlocation: /v2\r\ncontent-length: 0\r\n\r\n").start()
        async with both(server) as transport:
            reply = await ask(transport, server.url())
            assert (reply.status, reply.headers["location"]) == (307, "/v2")

    run(scenario)


def test_get_and_head_carry_no_length(run, upstream) -> None:
    """GET and HEAD: no content-length; HEAD's answer has no body whatever it says."""

    async def scenario() -> None:
        server = await upstream(OK, (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", HANG)).start()
        async with both(server) as transport:
            for method, body in (("GET", b"ok"), ("HEAD", b"")):
                reply = await fetch(transport, Outbound(method, server.url(), {}), timeout_s=5)
                assert reply.body == body
        assert not any(b"content-length" in request for request in server.requests)

    run(scenario)


def test_framing_headers_are_the_transports_own(run, upstream) -> None:
    """Whatever a row or caller says of host, length, connection or encoding is left out; the rest goes as it is."""

    async def scenario() -> None:
        server = await upstream(OK).start()
        own = {"Host": "evil", "Content-Length": "99", "Transfer-Encoding": "chunked", "Accept-Encoding": "br"}
        async with both(server) as transport:
            await ask(transport, server.url(), **own, Connection="close", **{"X-A": "100% \xe9"})
        head = server.requests[0].partition(b"\r\n\r\n")[0]
        assert head.split(b"\r\n")[2:] == [
            b"accept-encoding: identity", b"authorization: Bearer s3cret", b"X-A: 100% \xe9", b"content-length: 2",
        ]  # fmt: skip

    run(scenario)


@pytest.mark.parametrize(
    "request_",
    [
        *(Outbound("POST", "http://127.0.0.1/", {"a": f"s3cret{bad}x: y"}) for bad in ("\r\n", "\r", "\n", "\0", "\u2028")),
        *(Outbound("POST", "http://127.0.0.1/", {bad: "x"}) for bad in ("", "a b", "a:b", "a\r\nb", "\xe9")),
        Outbound("PO ST", "http://127.0.0.1/", {}),
        Outbound("GET", "http://127.0.0.1/", {}, b"body"),
        *(Outbound("POST", url, {}) for url in ("/v1", "ftp://x/", "http://", "http://x/a b", "http://x/\xe9",
          "http://x y/", "http://me:pw@x/", "http://x:99999/", "http://a..\xe9/")),
    ],
)  # fmt: skip
async def test_what_cannot_be_sent_is_refused(request_, seen) -> None:
    """CR, LF, NUL, other bytes in values and names, bad methods and URLs: ValueError that shows no value."""
    transport = HttpTransport(asyncio.get_running_loop())
    sink = seen()
    for _ in range(2):  # also once the head's form is known
        with pytest.raises(ValueError) as caught:
            transport.send(request_, sink)
        assert "s3cret" not in str(caught.value)
    await transport.close()
    assert sink.heard == []


async def test_forms_are_bounded(upstream) -> None:
    """URLs that vary without end do not grow the memory."""
    transport = HttpTransport(asyncio.get_running_loop())
    for n in range(1200):
        transport._add_form(Outbound("GET", f"http://127.0.0.1/{n}", {}))
    assert len(transport._forms) <= 512
    await transport.close()


async def test_an_unsupported_proxy_is_a_config_error() -> None:
    """Told at construction, not with the first request."""
    with pytest.raises(ConfigError):
        HttpTransport(asyncio.get_running_loop(), https_proxy="socks5://x.test")


async def test_a_malformed_answer_of_a_real_server(upstream) -> None:
    """HTML where a status line should be."""
    server = await upstream((b"<html>", HANG)).start()
    async with both(server) as transport:
        with pytest.raises(Malformed):
            await ask(transport, server.url())


async def test_a_connection_that_died_before_it_could_serve_is_unreachable(monkeypatch, seen) -> None:
    """Opened and closed again before the request was written: told at once, kept nowhere."""
    transport = HttpTransport(asyncio.get_running_loop())
    pool = transport._pool(urlsplit("http://127.0.0.1:1/"))

    async def dead(*_, **__):
        return Connection(pool, 1000)

    monkeypatch.setattr("hermes_router.upstream.http.dial", dead)
    sink = seen()
    transport.send(post("http://127.0.0.1:1/"), sink)
    assert await sink.wait() == ["Unreachable"]
    await transport.warm("http://127.0.0.1:1/")
    assert (pool.idle, pool.open) == ([], set())
    await transport.close()


async def test_a_dial_that_breaks_leaves_nobody_waiting(monkeypatch, seen) -> None:
    """A bug of ours while connecting is reported to the loop, and the attempt fails."""
    reports = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reports.append(type(context["exception"])))

    async def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("hermes_router.upstream.http.dial", broken)
    transport = HttpTransport(loop)
    sink = seen()
    transport.send(post("http://127.0.0.1:1/"), sink)
    assert await sink.wait() == ["Unreachable"]
    assert reports == [ZeroDivisionError]
    await transport.close()
