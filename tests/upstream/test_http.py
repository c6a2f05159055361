"""The Transport port against real servers on loopback, on asyncio's loop and on uvloop."""

import asyncio
import contextlib
import gc
import socket
import ssl
from urllib.parse import urlsplit

import pytest

from hermes_router.core.errors import ConfigError, Malformed, NetworkDown, TimedOut, Truncated, Unreachable
from hermes_router.core.ports import Outbound
from hermes_router.upstream.connection import Connection
from hermes_router.upstream.fetch import fetch
from hermes_router.upstream.http import HttpTransport

CLOSE, RESET, HANG = "close", "reset", "hang"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"


def post(url, body=b"{}", connect_timeout_s=5.0, **headers):
    return Outbound("POST", url, {"authorization": "Bearer s3cret", **headers}, body, connect_timeout_s)


@contextlib.asynccontextmanager
async def both(server, **options):
    """A transport and a started server, both closed afterwards."""
    transport = HttpTransport(asyncio.get_running_loop(), **options)
    try:
        yield transport
    finally:
        await transport.close()
        await server.stop()


async def ask(transport, url, **kwargs):
    return await fetch(transport, post(url, **kwargs), timeout_s=5)


def test_a_round_trip_and_a_reused_connection(run, upstream) -> None:
    """The second request goes out on the first one's connection, synchronously, without a task."""

    async def scenario() -> None:
        server = await upstream(OK, OK, CHUNKED + b"0\r\n\r\n").start()
        async with both(server) as transport:
            assert (await ask(transport, server.url("/v1/x?y=1"), body=b"abc")).body == b"ok"
            tasks = len(asyncio.all_tasks())
            flight_asked = fetch(transport, post(server.url()), timeout_s=5)
            assert len(asyncio.all_tasks()) == tasks
            assert (await flight_asked).body == b"ok"
            assert (await ask(transport, server.url())).body == b"hello"
            assert server.connections == 1
        assert server.requests[0] == (
            b"POST /v1/x?y=1 HTTP/1.1\r\nhost: 127.0.0.1:%d\r\naccept-encoding: identity\r\n"
            b"authorization: Bearer s3cret\r\ncontent-length: 3\r\n\r\nabc" % server.port
        )

    run(scenario)


def test_a_pooled_send_writes_at_once(run, upstream, seen) -> None:
    """With an idle connection `send` makes no task, no timer and no future: nothing new is scheduled."""

    async def scenario() -> None:
        server = await upstream(OK, OK).start()
        async with both(server) as transport:
            await ask(transport, server.url())
            tasks = asyncio.all_tasks()
            sink = seen()
            transport.send(post(server.url()), sink)
            assert asyncio.all_tasks() == tasks
            assert not transport._dials
            assert await sink.wait() == [200, b"ok", "end"]

    run(scenario)


def test_a_sink_that_sends_again_from_its_end_reuses_the_connection(run, upstream, seen) -> None:
    """The connection is back in the pool before the sink hears the end."""

    async def scenario() -> None:
        server = await upstream(OK, OK).start()
        async with both(server) as transport:
            second = seen()

            class First(seen):
                def end(self) -> None:
                    transport.send(post(server.url()), second)

            transport.send(post(server.url()), First())
            assert await second.wait() == [200, b"ok", "end"]
            assert server.connections == 1

    run(scenario)


def test_concurrent_requests_take_connections_of_their_own(run, upstream) -> None:
    """No pipelining: eight at once are eight connections, and the ninth takes one of them."""

    async def scenario() -> None:
        server = await upstream(*[OK] * 9).start()
        async with both(server) as transport:
            await asyncio.gather(*(ask(transport, server.url()) for _ in range(8)))
            await ask(transport, server.url())
            assert server.connections == 8

    run(scenario)


def test_a_large_body_arrives_whole(run, upstream) -> None:
    """Head and a body beyond one buffer."""

    async def scenario() -> None:
        server = await upstream(OK, OK).start()
        body = bytes(range(256)) * 8000
        async with both(server) as transport:
            for _ in range(2):
                await ask(transport, server.url(), body=body)
        assert all(request.endswith(b"\r\n\r\n" + body) for request in server.requests)

    run(scenario)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_cr5_a_reused_connection_that_dies_is_retried_once_on_a_new_one(run, upstream, end) -> None:
    """Dead before the first byte: silently sent again; the second death is told."""

    async def scenario() -> None:
        server = await upstream(OK, (end,), OK, (end,), (end,)).start()
        async with both(server) as transport:
            await ask(transport, server.url())
            assert (await ask(transport, server.url(), body=b"again")).body == b"ok"
            assert server.requests[1] == server.requests[2]
            with pytest.raises(Unreachable):
                await ask(transport, server.url())
            assert (server.connections, len(server.requests)) == (3, 5)

    run(scenario)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_fresh_connection_that_dies_is_never_retried(run, upstream, end) -> None:
    """The provider may have done the work: told at once."""

    async def scenario() -> None:
        server = await upstream((end,)).start()
        async with both(server) as transport:
            with pytest.raises(Unreachable):
                await ask(transport, server.url())
            assert len(server.requests) == 1

    run(scenario)


@pytest.mark.parametrize("first", [b"H", CHUNKED])
def test_nothing_is_retried_after_a_byte(run, upstream, first) -> None:
    """A byte of the answer was seen: Truncated, even on a reused connection."""

    async def scenario() -> None:
        server = await upstream(OK, (first, CLOSE)).start()
        async with both(server) as transport:
            await ask(transport, server.url())
            with pytest.raises(Truncated):
                await ask(transport, server.url())
            assert len(server.requests) == 2

    run(scenario)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_cp15_a_long_stream_that_is_reset_is_cut(run, upstream, seen, end) -> None:
    """What came is heard, then Truncated, never an end."""

    async def scenario() -> None:
        sink = seen()

        async def after_the_first_bytes(_reader, _writer) -> None:
            await sink.began.wait()

        server = await upstream((CHUNKED, after_the_first_bytes, end)).start()
        async with both(server) as transport:
            transport.send(post(server.url()), sink)
            assert await sink.wait() == [200, b"hello", "Truncated"]
            assert "s3cret" not in str(sink.error)

    run(scenario)


def test_an_idle_connection_that_the_server_closed_is_not_used(run, upstream) -> None:
    """Closed while idle: dropped from the pool, the next request opens another."""

    async def scenario() -> None:
        server = await upstream((OK, CLOSE), OK).start()
        async with both(server) as transport:
            await ask(transport, server.url())
            (pool,) = transport._pools.values()
            await asyncio.wait_for(server.gone.get(), 5)
            server.connections -= 1
            for _ in range(20):
                await asyncio.sleep(0)
            assert pool.open == set()
            assert pool.idle == []
            assert (await ask(transport, server.url())).body == b"ok"
            assert len(server.requests) == 2

    run(scenario)


def test_idle_connections_close_by_themselves(run, upstream) -> None:
    """After the keep-alive time the server sees the end, and no timer is left."""

    async def scenario() -> None:
        server = await upstream(OK).start()
        transport = HttpTransport(asyncio.get_running_loop(), keepalive_s=0.01)
        await ask(transport, server.url())
        await asyncio.wait_for(server.gone.get(), 5)
        assert not transport._sweep.armed
        server.connections = 0
        await transport.close()
        await server.stop()

    run(scenario)


def test_bf3_a_server_that_never_answers_can_be_left(run, upstream) -> None:
    """Accepted, and silent: the caller's limit ends it, and the server sees the connection close."""

    async def scenario() -> None:
        server = await upstream((HANG,)).start()
        async with both(server) as transport:
            with pytest.raises(TimedOut):
                await fetch(transport, post(server.url()), timeout_s=0.05)

    run(scenario)


@pytest.mark.parametrize("family", [socket.AF_INET, "tls"])
def test_ll14_abort_closes_the_socket_in_the_next_turn_of_the_loop(run, upstream, seen, certificate, family) -> None:
    """Mid-stream: the descriptor is gone at once, the sink hears nothing more, a second abort does nothing."""

    async def scenario() -> None:
        ours, theirs = contexts(certificate)
        tls = family == "tls"
        server = await upstream((CHUNKED, HANG)).start(tls=theirs if tls else None)
        async with both(server, ssl_context=ours) as transport:
            sink = seen()
            flight = transport.send(post(server.url(scheme="https" if tls else "http")), sink)
            await asyncio.wait_for(sink.began.wait(), 5)
            (pool,) = transport._pools.values()
            flight.abort()
            flight.abort()
            for _ in range(2 if tls else 1):
                await asyncio.sleep(0)
            assert not pool.open
            await asyncio.wait_for(server.gone.get(), 5)
            server.connections -= 1
            assert sink.heard == [200, b"hello"]
            assert pool.idle == []

    run(scenario)


def test_abort_while_connecting(run, seen) -> None:
    """Before the connection stands, and in the turn in which it does: nothing is heard, nothing is left."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            url = f"https://127.0.0.1:{server.getsockname()[1]}/"
            for scheme in ("https", "http"):
                for turns in range(12):
                    transport = HttpTransport(loop)
                    sink = seen()
                    flight = transport.send(post(url.replace("https", scheme)), sink)
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    flight.abort()
                    await transport.close()
                    assert sink.heard == []
                    assert not transport._dials
                    assert not any(pool.open for pool in transport._pools.values())
        gc.collect()

    run(scenario)


def test_abort_after_the_end_spares_the_next_request(run, upstream, seen) -> None:
    """The connection belongs to the next flight by then."""

    async def scenario() -> None:
        server = await upstream(OK, OK).start()
        async with both(server) as transport:
            first, second = seen(), seen()
            flight = transport.send(post(server.url()), first)
            await first.wait()
            transport.send(post(server.url()), second)
            flight.abort()
            flight.pause()
            assert await second.wait() == [200, b"ok", "end"]

    run(scenario)


def test_pause_stops_reading_and_resume_goes_on(run, upstream, seen) -> None:
    """While paused nothing is heard, also when paused before the connection stood."""

    async def scenario() -> None:
        server = await upstream(OK, OK).start()
        async with both(server) as transport:
            for _ in range(2):
                sink = seen()
                flight = transport.send(post(server.url()), sink)
                flight.pause()
                await server.asked.get()
                for _ in range(20):
                    await asyncio.sleep(0)
                assert sink.heard == []
                flight.resume()
                assert await sink.wait() == [200, b"ok", "end"]
            assert server.connections == 1

    run(scenario)


def test_a_sink_that_raises_harms_nobody_else(run, upstream, seen) -> None:
    """From head, data, end or failed: reported to the loop, and the next request is served."""

    async def scenario() -> None:
        reports = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(context["exception"]))
        server = await upstream(*[OK] * 6, (CLOSE,), OK).start()
        async with both(server) as transport:

            def bad(self, *_):
                self.over.set()
                raise ZeroDivisionError

            for name in ("head", "data", "end"):
                sink = type("Bad", (seen,), {name: bad})()
                transport.send(post(server.url()), sink)
                await sink.wait()
                assert (await ask(transport, server.url())).body == b"ok"
            for pool in transport._pools.values():
                for connection in list(pool.idle):
                    connection.cut()
            sink = type("Bad", (seen,), {"failed": bad})()
            transport.send(post(server.url()), sink)
            await sink.wait()
            assert (await ask(transport, server.url())).body == b"ok"
        assert [type(report) for report in reports] == [ZeroDivisionError] * 4

    run(scenario)


def test_connect_errors_are_told_after_send_returned(run, seen) -> None:
    """Nobody listens: Unreachable, but never from within `send`."""

    async def scenario() -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        transport = HttpTransport(asyncio.get_running_loop())
        sink = seen()
        transport.send(post(f"http://localhost:{port}/"), sink)
        assert sink.heard == []
        assert await sink.wait() == ["Unreachable"]
        await transport.close()

    run(scenario)


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


def contexts(certificate):
    """Ours, which trusts the server's certificate, and the server's."""
    ours = ssl.create_default_context(cafile=certificate[0])
    ours.set_alpn_protocols(["http/1.1"])
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(*certificate)
    theirs.set_alpn_protocols(["h2", "http/1.1"])
    return ours, theirs


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
