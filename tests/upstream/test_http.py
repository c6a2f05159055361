"""The Transport port against real servers on loopback, on asyncio's loop and on uvloop."""

import asyncio
import gc
import socket

import pytest

from hermes_router.core.errors import TimedOut, Truncated, Unreachable
from hermes_router.upstream.fetch import fetch
from hermes_router.upstream.http import HttpTransport

from .asks import CHUNKED, CLOSE, HANG, OK, RESET, ask, both, contexts, post


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
