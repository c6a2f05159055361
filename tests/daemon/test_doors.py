"""hermes_router/daemon/doors.py, doors_control.py: listening sockets that outlive those who listen."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from aiohttp import web
from msgspec.structs import replace

from hermes_router.control.listener import bind_control
from hermes_router.core.errors import ConfigError
from hermes_router.core.settings import Settings
from hermes_router.daemon.doors import Door, public_sockets, unused_sentence
from hermes_router.daemon.doors_control import ControlDoor


class Greeter(asyncio.Protocol):
    """Says who accepted."""

    def __init__(self, name: bytes) -> None:
        self.name = name

    def connection_made(self, transport: Any) -> None:
        transport.write(self.name)
        transport.close()


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    made = public_sockets(Settings(port=0))
    yield made
    for sock in made:
        sock.close()


async def _greeted(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


def test_who_comes_to_a_shut_door_waits(sockets: list[socket.socket]) -> None:
    """Between two that accept nobody is refused: the caller is answered by whoever opens next, again and again."""
    port = sockets[0].getsockname()[1]

    async def scene() -> None:
        ours, theirs = Door(sockets), Door([sock.dup() for sock in sockets])
        for _ in range(3):
            await ours.open(lambda: Greeter(b"first"))
            await ours.open(lambda: Greeter(b"first"))  # open is open
            assert await _greeted(port) == b"first"
            ours.shut()
            await asyncio.sleep(0)
            waiting = asyncio.ensure_future(_greeted(port))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            await theirs.open(lambda: Greeter(b"second"))
            assert await waiting == b"second"
            theirs.shut()
        theirs.discard()
        ours.discard()
        with pytest.raises(OSError):
            await _greeted(port)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


def _ports(sockets: list[socket.socket]) -> set[int]:
    return {sock.getsockname()[1] for sock in sockets}


def test_what_fits_is_kept(sockets: list[socket.socket]) -> None:
    """With the same HOST and PORT, or PORT=0, a successor keeps the sockets; so a waiting caller stays in its queue."""
    (port,) = _ports(sockets)
    assert public_sockets(Settings(port=port), sockets) == sockets
    assert public_sockets(Settings(port=0), sockets) == sockets


def test_a_changed_port_is_bound_anew(sockets: list[socket.socket]) -> None:
    """Another PORT, or HOST, makes new sockets, and the old ones are closed here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        wanted = probe.getsockname()[1]
    made = public_sockets(Settings(port=wanted), sockets)
    assert _ports(made) == {wanted}
    assert all(sock.fileno() == -1 for sock in sockets)
    for sock in made:
        sock.close()


def test_the_managers_sockets_are_used_where_they_fit_and_never_closed(sockets: list[socket.socket]) -> None:
    """Before any is bound; after a predecessor's that fit; where they do not, what is to be done is in one sentence."""
    (port,) = _ports(sockets)
    assert public_sockets(Settings(port=port), (), sockets) == sockets
    assert public_sockets(Settings(port=port), sockets, sockets) == sockets
    made = public_sockets(Settings(port=0, host="127.0.0.2"), sockets, sockets)
    assert {sock.getsockname()[0] for sock in made} == {"127.0.0.2"}
    assert all(sock.fileno() >= 0 for sock in sockets)
    assert public_sockets(Settings(port=port), made, sockets) == sockets
    assert all(sock.fileno() == -1 for sock in made)
    with pytest.raises(ConfigError, match=rf"\.socket unit holds 127\.0\.0\.1:{port}.*ListenStream=") as caught:
        public_sockets(Settings(port=port, host="0.0.0.0"), (), sockets)
    assert caught.value.fatal
    assert "[::1]:1" in unused_sentence(Settings(port=2), [SimpleNamespace(getsockname=lambda: ("::1", 1, 0, 0))])  # type: ignore[list-item]


def test_a_taken_port_says_what_to_do(sockets: list[socket.socket]) -> None:
    """One sentence that names PORT."""
    (port,) = _ports(sockets)
    with pytest.raises(ConfigError, match=f"port {port} is taken.*set PORT"):
        public_sockets(replace(Settings(), port=port))


async def test_the_control_sockets_file_goes_with_the_last_daemon_only(tmp_path: Path) -> None:
    """Shut, or closed in a handover, it stays; closed for good it is gone. Requests under way get their answer."""
    path = tmp_path / "c.sock"
    reached, go = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        reached.set()
        await go.wait()
        return web.Response(text="done")

    def application() -> web.Application:
        app = web.Application()
        app.router.add_get("/", slow)
        return app

    sock = bind_control(path)
    twin = sock.dup()
    ours = ControlDoor(sock, application())
    await ours.serve()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    await reached.wait()
    ours.shut()
    assert path.exists()
    closing = asyncio.ensure_future(ours.close(5.0, remove=False))
    await asyncio.sleep(0)
    go.set()
    assert b"done" in await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await closing
    assert path.exists()
    theirs = ControlDoor(twin, application())
    await theirs.serve()
    await theirs.serve()
    await theirs.close(0.1, remove=True)
    assert not path.exists()


@pytest.mark.parametrize("accepted", [False, True])
def test_whoever_had_reached_the_control_socket_is_answered(tmp_path: Path, accepted: bool) -> None:
    """In the queue, or accepted and still silent, when the daemon ends: an `hr` must not be cut off unanswered."""

    async def scene() -> None:
        async def hello(_request: web.Request) -> web.Response:
            return web.Response(text="hello")

        app = web.Application()
        app.router.add_get("/", hello)
        path = tmp_path / f"{accepted}.sock"
        ours = ControlDoor(bind_control(path), app)
        await ours.serve()
        if not accepted:
            ours.shut()
        reader, writer = await asyncio.open_unix_connection(path)
        while accepted and not ours._runner.server.connections:  # type: ignore[union-attr] # noqa: ASYNC110
            await asyncio.sleep(0)
        closing = asyncio.ensure_future(ours.close(5.0, remove=True))
        while path.exists():  # noqa: ASYNC110 - the first step of the end
            await asyncio.sleep(0)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"hello")
        writer.close()
        await asyncio.wait_for(closing, 5)
        with pytest.raises(FileNotFoundError):
            await asyncio.open_unix_connection(path)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())


async def test_one_who_never_speaks_does_not_keep_a_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for a word has its end."""
    monkeypatch.setattr("hermes_router.daemon.doors_control._SPEAK_S", 0.02)
    path = tmp_path / "c.sock"
    ours = ControlDoor(bind_control(path), web.Application())
    await ours.serve()
    reader, writer = await asyncio.open_unix_connection(path)
    await asyncio.wait_for(ours.close(5.0, remove=True), 5)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
