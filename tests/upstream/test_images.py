"""Fetching images from strangers: what is asked, what is taken, and what becomes of servers that mean harm.

The image servers are on loopback, so the judge of addresses is an argument; where the real one is proved, nobody may
connect.
"""

import _socket
import asyncio
import base64
import gzip
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from hermes_router import __version__
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.images import Fault, Picture, Unfit
from hermes_router.upstream.image_memory import ImageMemory
from hermes_router.upstream.images import AT_ONCE, MOST_REDIRECTS, StrangersImages
from hermes_router.upstream.public import is_strange

from ..fakes import Clock
from .asks import CLOSE, HANG, contexts
from .test_http_edges import tunnel_to

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
KEY = RouterKeyId("k")
ROOM = 33_554_432
Found = Mapping[str, Picture] | Unfit


@pytest.fixture
def upstream(upstream) -> Any:
    """The scripted server; all that a test starts are known."""

    class Known(upstream):
        made: ClassVar[list[Any]] = []
        over = False

        def __init__(self, *turns: Any) -> None:
            super().__init__(*turns)
            self.made.append(self)

        async def stop(self) -> None:
            if not self.over:
                self.over = True
                await super().stop()

    return Known


@pytest.fixture
def run(run, upstream) -> Any:
    """Run a scenario; at its end no server may have a connection left, which its stop waits for."""

    def runs(scenario: Callable[[], Any]) -> None:
        async def whole() -> None:
            await scenario()
            for server in upstream.made:
                await server.stop()

        run(whole)

    return runs


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole HTTP answer."""
    lines = (f"HTTP/1.1 {status}", f"content-length: {len(body) if length is None else length}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def moved(to: str, status: str = "302 Found") -> bytes:
    """A redirect."""
    return answer(b"", f"location: {to}", status=status)


def images(**given: Any) -> StrangersImages:
    """A fetcher for which loopback is as good as any address."""
    loop = asyncio.get_running_loop()
    clock = Clock()
    memory = ImageMemory(clock.mono, lambda _delay, _call: None)
    return StrangersImages(loop, clock, memory=memory, **{"allows": lambda _: True, **given})


async def ask(
    fetcher: StrangersImages, *urls: str, caller: RouterKeyId = KEY, room: int = ROOM, times: int = 1
) -> Found:
    """What a request with these images hears."""
    heard: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
    fetcher.fetch(dict.fromkeys(urls, times), caller, heard.set_result, max_bytes=room)
    return await asyncio.wait_for(heard, 10)


async def fault(fetcher: StrangersImages, url: str, **given: Any) -> Fault:
    """Why there is none."""
    found = await ask(fetcher, url, **given)
    assert isinstance(found, Unfit), found
    assert found.url == url
    return found.fault


def picture(body: bytes = PNG, kind: str = "image/png") -> Picture:
    return Picture(kind, base64.b64encode(body).decode())


# --- what is asked, and what is taken ---------------------------------------------------------------


def test_an_image_is_asked_for_with_nothing_of_ours(run, upstream) -> None:
    """An honest name, the kinds that providers take, no packing; no key, no cookie, no referrer, no fragment."""

    async def scenario() -> None:
        server = await upstream(answer(PNG)).start()
        url = server.url("/a/cat picture ü.png?size=a%20b&c=ü#top")
        assert await ask(images(), url) == {url: picture()}
        head = server.requests[0].decode()
        assert head.splitlines() == [
            "GET /a/cat%20picture%20%C3%BC.png?size=a%20b&c=%C3%BC HTTP/1.1",
            f"host: 127.0.0.1:{server.port}",
            "accept-encoding: identity",
            "accept: image/png, image/jpeg, image/gif, image/webp",
            f"user-agent: hermes-router/{__version__}",
            "",
        ]

    run(scenario)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "image/jpeg"),
        (b"GIF89a" + bytes(20), "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(20), "image/webp"),
        (b"GIF87a", "image/gif"),
        (b"<!doctype html><title>Log in</title>", ""),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", ""),
        (b"RIFF\x10\0\0\0WAVEfmt ", ""),
        (b"BM" + bytes(60), ""),
        (b"", ""),
    ],
)
def test_the_first_bytes_say_what_it_is(run, upstream, body: bytes, kind: str) -> None:
    """The header is not believed: neither where it says that a page is an image, nor the other way round."""

    async def scenario() -> None:
        said = "text/html" if kind else "image/png"
        server = await upstream(answer(body, f"content-type: {said}")).start()
        found = await ask(images(), server.url())
        assert found == (
            {server.url(): picture(body, kind)} if kind else Unfit(server.url(), Fault.NO_IMAGE, found.said)
        )

    run(scenario)


def test_several_images_come_by_four_at_a_time(run, upstream) -> None:
    """And each is whole, also a large one, which is encoded beside the loop."""

    async def scenario() -> None:
        open_now = most = 0
        arrived = asyncio.Event()

        async def slow(_reader, writer) -> None:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            if open_now == AT_ONCE:
                arrived.set()
            await arrived.wait()
            await asyncio.sleep(0.01)
            open_now -= 1
            writer.write(answer(PNG + bytes(300_000)))

        server = await upstream(*[slow] * 10).start()
        urls = [server.url(f"/{number}.png") for number in range(10)]
        found = await ask(images(), *urls)
        assert found == dict.fromkeys(urls, picture(PNG + bytes(300_000)))
        assert most == AT_ONCE

    run(scenario)


def test_tls_is_verified_with_the_name(run, upstream, certificate) -> None:
    """A certificate that nobody vouches for, or for another name, is as good as nobody there."""

    async def scenario() -> None:
        ours, theirs = contexts(certificate)
        server = await upstream(answer(PNG)).start(tls=theirs)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        good = server.url(scheme="https", host="localhost")
        assert await ask(images(tls=ours), good) == {good: picture()}
        assert await fault(images(), good) is Fault.UNREACHABLE
        assert await fault(images(tls=ours), server.url(scheme="https", host="127.0.0.2")) is Fault.UNREACHABLE
        assert len(server.requests) == 1

    run(scenario)


# --- where it may lie -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0"])
def test_the_real_judge_lets_nobody_near_this_machine(run, upstream, monkeypatch, host: str) -> None:
    """However it is spelled: a listener that could hear it hears no connection. The resolver is the system's own."""
    monkeypatch.setattr(socket, "getaddrinfo", _socket.getaddrinfo)

    async def scenario() -> None:
        server = await upstream(answer(PNG)).start()
        assert await fault(images(allows=is_strange), server.url(host=host)) is Fault.UNREACHABLE
        assert server.connections == 0

    run(scenario)


def test_nobody_there_and_not_public_are_one_to_the_caller(run, upstream) -> None:
    """Else a caller could tell which doors of the owner's network are open."""

    async def scenario() -> None:
        server = await upstream(answer(PNG)).start()
        shut = await upstream().start()
        gone = shut.url()
        await shut.stop()
        assert await fault(images(allows=is_strange), server.url()) is await fault(images(), gone)
        assert await fault(images(), "http://nowhere.invalid/a.png") is Fault.UNREACHABLE
        assert "127.0.0.1" not in Fault.UNREACHABLE

    run(scenario)


def test_one_bad_address_of_a_name_is_one_too_many(run, upstream, monkeypatch) -> None:
    """A name with a public and a hidden address is not asked at all, whichever comes first."""

    async def scenario() -> None:
        server = await upstream(answer(PNG)).start()
        judged: list[str] = []

        def allows(address: str) -> bool:
            judged.append(address)
            return address != "127.0.0.9"

        async def resolve(_loop, _host, port, _look_up):
            return [(2, ("127.0.0.1", port)), (2, ("127.0.0.9", port))]

        monkeypatch.setattr("hermes_router.upstream.dial._resolve", resolve)
        url = server.url(host="both.test")
        assert await fault(images(allows=allows), url) is Fault.UNREACHABLE
        assert (judged, server.connections) == (["127.0.0.1", "127.0.0.9"], 0)

    run(scenario)


def test_a_name_is_resolved_once_and_the_connection_goes_where_it_was_checked(run, upstream, monkeypatch) -> None:
    """A name that leads elsewhere at the second look (DNS rebinding) is not looked at twice."""

    async def scenario() -> None:
        server = await upstream(answer(PNG)).start()
        asked: list[str] = []

        async def resolve(_loop, host, port, _look_up):
            asked.append(host)
            return [(2, ("127.0.0.1" if len(asked) == 1 else "127.0.0.9", port))]

        monkeypatch.setattr("hermes_router.upstream.dial._resolve", resolve)
        url = server.url(host="rebinds.test")
        assert await ask(images(allows=lambda address: address == "127.0.0.1"), url) == {url: picture()}
        assert asked == ["rebinds.test"]
        assert f"host: rebinds.test:{server.port}".encode() in server.requests[0]

    run(scenario)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x.test/a.png", "file:///etc/passwd", "gopher://127.0.0.1:25/", "http://me:pw@x.test/a.png",
        "http://me@x.test/", "//x.test/a.png", "a.png", "", "http://", "http://x.test:99999/", "http://[::1/",
        "javascript:alert(1)", "http://a b.test/", "http://x\0.test/",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_not_asked_for(run, url: str) -> None:
    """Other schemes, passwords, and what no URL is."""

    async def scenario() -> None:
        assert await fault(images(), url) is Fault.ADDRESS

    run(scenario)


@pytest.mark.parametrize(
    "url",
    ["http://" + "é" * 1_000_000 + ".test/", "http://" + "é" * 254 + "/", "http://x.test/" + "a" * 8_192,
     "http://" + "a." * 130 + "test/"],
)  # fmt: skip
def test_an_address_that_is_far_too_long_is_none(run, upstream, url: str) -> None:
    """Neither as it is sent nor behind a redirect; the loop is not held up by reading it, nobody by looking it up."""

    async def scenario() -> None:
        begun = time.monotonic()
        assert await fault(images(), url) is Fault.ADDRESS
        assert time.monotonic() - begun < 1.0
        if url.isascii():
            server = await upstream(moved(url)).start()
            found = await ask(images(), server.url())
            assert found == Unfit(server.url(), Fault.REFUSED, "redirected to an address that is none")

    run(scenario)


def test_an_address_as_long_as_may_be_is_asked_for(run, upstream) -> None:
    """8,192 characters: longer than what a signed URL has."""

    async def scenario() -> None:
        server = await upstream(answer(PNG)).start()
        url = server.url("/").ljust(8_192, "a")
        assert await ask(images(), url) == {url: picture()}

    run(scenario)


def test_no_room_at_all_is_told_of_an_image_that_is_in_the_request(run, upstream) -> None:
    """Whether it is fetched or remembered: nothing breaks."""

    async def scenario() -> None:
        server = await upstream(answer(PNG), answer(PNG)).start()
        there = images()
        assert await fault(there, server.url(), room=-1) is Fault.TOGETHER
        await ask(there, server.url())
        assert await fault(there, server.url(), room=-1) is Fault.TOGETHER

    run(scenario)


def test_https_and_http_by_a_proxy_are_checked_here(run, upstream, certificate, monkeypatch) -> None:
    """The proxy is asked for a tunnel to the address that was checked, never for a name; a hidden one it never hears."""
    monkeypatch.setattr("hermes_router.upstream.proxy.is_loopback", lambda _host: False)

    async def scenario() -> None:
        ours, theirs = contexts(certificate)
        for scheme, tls in (("https", theirs), ("http", None)):
            server = await upstream(answer(PNG)).start(tls=tls)
            turn = (lambda reader, writer, port=server.port: tunnel_to(port, reader, writer), CLOSE)
            proxy = await upstream(turn).start()
            address = f"http://127.0.0.1:{proxy.port}"
            seen = {"127.0.0.1": True, "::1": True}
            there = images(tls=ours, https_proxy=address, http_proxy=address, allows=seen.__contains__)
            url = server.url(scheme=scheme, host="localhost")
            assert await ask(there, url) == {url: picture()}
            assert proxy.requests[0].startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % server.port)
            assert f"host: localhost:{server.port}".encode() in server.requests[0]
            hidden = images(tls=ours, https_proxy=address, http_proxy=address, allows=is_strange)
            assert await fault(hidden, url) is Fault.UNREACHABLE
            assert proxy.connections == 1

    run(scenario)


# --- redirects --------------------------------------------------------------------------------------


def test_redirects_are_followed_a_few_times(run, upstream) -> None:
    """Three, relative or not, of each kind; the URL that the request names is what the picture stands for."""

    async def scenario() -> None:
        server = await upstream(
            moved("/b"), moved("c", "301 Moved"), moved("//127.0.0.1/d", "307 T"), answer(PNG)
        ).start()
        server.turns[2] = (moved(f"http://127.0.0.1:{server.port}/d", "308 P"),)
        url = server.url("/a")
        assert await ask(images(), url) == {url: picture()}
        assert [request.split()[1] for request in server.requests] == [b"/a", b"/b", b"/c", b"/d"]

    run(scenario)


def test_a_loop_of_redirects_ends(run, upstream) -> None:
    """At the fourth."""

    async def scenario() -> None:
        server = await upstream(*[moved("/again")] * 9).start()
        assert await fault(images(), server.url()) is Fault.REFUSED
        assert len(server.requests) == MOST_REDIRECTS + 1

    run(scenario)


@pytest.mark.parametrize("host", ["127.0.0.9", "[::1]"])
def test_a_redirect_is_judged_like_the_first_address(run, upstream, host: str) -> None:
    """A stranger may not send us to our own machine."""

    async def scenario() -> None:
        inner = await upstream(answer(PNG)).start(host.strip("[]"))
        server = await upstream(moved(inner.url(host=host))).start()
        there = images(allows=lambda address: address == "127.0.0.1")
        assert await fault(there, server.url()) is Fault.UNREACHABLE
        assert (server.connections, inner.connections) == (1, 0)

    run(scenario)


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "http://me:pw@127.0.0.1/", "data:image/png;base64,AAAA", "http://["]
)
def test_a_redirect_to_what_is_no_plain_address_is_a_refusal(run, upstream, to: str) -> None:
    """It is not the caller's address that is wrong."""

    async def scenario() -> None:
        server = await upstream(moved(to)).start()
        assert await fault(images(), server.url()) is Fault.REFUSED

    run(scenario)


# --- servers that mean harm -------------------------------------------------------------------------


def test_a_silent_name_server_holds_up_no_other_name(run, monkeypatch) -> None:
    """Not the loop's own resolver, by which providers are found, however many strangers' names wait for an answer."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        answered = threading.Event()
        usual = socket.getaddrinfo

        def look_up(host, *args, **given):
            if str(host).endswith("silent.test"):
                answered.wait(15)
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            return usual(host, *args, **given)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        there = images(limit_s=5.0)
        heard: asyncio.Queue[Found] = asyncio.Queue()
        try:
            for number in range(3):
                wanted = {f"http://{number}{letter}.silent.test/": 1 for letter in "abcd"}
                there.fetch(wanted, KEY, heard.put_nowait, max_bytes=ROOM)
            first = await asyncio.wait_for(heard.get(), 2)  # the ninth name is one too many
            assert isinstance(first, Unfit)
            assert (first.fault, first.said) == (Fault.UNREACHABLE, "Unreachable")
            assert await asyncio.wait_for(loop.getaddrinfo("localhost", 80), 2)
            assert await asyncio.wait_for(asyncio.to_thread(usual, "localhost", 80), 2)
            assert {thread.name[:15] for thread in threading.enumerate() if "strangers" in thread.name} == {
                "strangers-names"
            }
        finally:
            answered.set()
            there.close()
        for _ in range(2):
            await asyncio.wait_for(heard.get(), 5)

    run(scenario)


async def endless(_reader, writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)
    while True:
        writer.write(bytes(65_536))
        await writer.drain()


async def drips(_reader, writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + PNG)
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


def bomb() -> bytes:
    packed = gzip.compress(PNG + bytes(50_000_000))
    return answer(packed, "content-encoding: gzip")


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        (endless, Fault.TOO_LARGE),
        (drips, Fault.LATE),
        (HANG, Fault.LATE),
        (answer(PNG, length=9_000_000), Fault.TOO_LARGE),
        (answer(PNG, length=10**30), Fault.REFUSED),
        ((answer(PNG, length=5_000), CLOSE), Fault.REFUSED),
        (answer(b"<html>" + bytes(100), "content-type: image/png"), Fault.NO_IMAGE),
        (answer(b"no such cat", status="404 Not Found"), Fault.REFUSED),
        (answer(PNG, status="206 Partial Content"), Fault.REFUSED),
        (answer(PNG, status="304 Not Modified"), Fault.REFUSED),
        (answer(b"", status="302 Found"), Fault.REFUSED),
        (bomb(), Fault.TOO_LARGE),
        (answer(PNG, "content-encoding: br"), Fault.REFUSED),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Fault.REFUSED),
        (CLOSE, Fault.UNREACHABLE),
    ],
    ids=[
        "endless", "drips", "silent", "says 9 MB", "says far more", "closes in mid-body", "a page", "404", "206", "304",
        "302 to nowhere", "a bomb", "an odd packing", "no HTTP", "hangs up",
    ],
)  # fmt: skip
def test_nobody_gets_more_than_its_share(run, upstream, turn: Any, why: Fault) -> None:
    """Whatever a server does, it ends, soon, with a word for the caller, and with no connection left open."""

    async def scenario() -> None:
        server = await upstream(turn).start()
        began = time.monotonic()
        assert await fault(images(limit_s=2.0 if why is not Fault.LATE else 0.2), server.url()) is why
        assert time.monotonic() - began < 3.0

    run(scenario)


def test_an_image_that_came_packed_is_an_image(run, upstream) -> None:
    """Some servers pack what was asked for plain; what counts is what it unpacks to."""

    async def scenario() -> None:
        server = await upstream(answer(gzip.compress(PNG), "content-encoding: gzip")).start()
        assert await ask(images(), server.url()) == {server.url(): picture()}

    run(scenario)


def test_one_that_cannot_be_had_ends_the_others(run, upstream) -> None:
    """The request cannot be sent without it, so nobody waits for the rest."""

    async def scenario() -> None:
        good = await upstream(HANG).start()
        bad = await upstream(answer(b"", status="404 No")).start()
        found = await ask(images(), good.url("/slow"), bad.url("/gone"))
        assert found == Unfit(bad.url("/gone"), Fault.REFUSED, "status 404")

    run(scenario)


def test_a_caller_who_leaves_ends_the_fetch(run, upstream) -> None:
    """Connections are closed at once, and nobody is told anything."""

    async def scenario() -> None:
        server = await upstream(HANG).start()
        heard: list[Found] = []
        fetching = images().fetch({server.url(): 1}, KEY, heard.append, max_bytes=ROOM)
        await asyncio.wait_for(server.asked.get(), 5)
        fetching.abort()
        fetching.abort()
        await server.stop()
        assert heard == []

    run(scenario)


# --- bounds of one request --------------------------------------------------------------------------


def test_all_together_are_no_larger_than_a_request_may_be(run, upstream) -> None:
    """In base64, and as often as each stands in the request: one small image named a million times is a large body."""

    async def scenario() -> None:
        size = len(picture().data)
        server = await upstream(*[answer(PNG)] * 9).start()
        there = images()
        assert await fault(there, server.url(), times=3, room=3 * size - 1) is Fault.TOGETHER
        assert (
            await fault(there, server.url(), times=3, room=3 * size - 1) is Fault.TOGETHER
        )  # remembered by now, or not
        assert await ask(there, server.url(), times=3, room=3 * size) == {server.url(): picture()}

    run(scenario)


def test_a_hundred_different_images_are_enough(run) -> None:
    """More are not fetched at all: each is a request to a stranger, at the word of a caller."""

    async def scenario() -> None:
        found = await ask(images(), *(f"http://127.0.0.1:9/{number}" for number in range(101)))
        assert found == Unfit("http://127.0.0.1:9/100", Fault.TOO_MANY, "101 addresses")

    run(scenario)


# --- what is remembered -----------------------------------------------------------------------------


def test_what_was_fetched_lately_is_not_fetched_again_for_the_same_caller(run, upstream) -> None:
    """An agent sends its history with each turn. Another caller has it fetched anew."""

    async def scenario() -> None:
        server = await upstream(answer(PNG), answer(PNG)).start()
        there = images()
        for _ in range(3):
            assert await ask(there, server.url()) == {server.url(): picture()}
        assert len(server.requests) == 1
        await ask(there, server.url(), caller=RouterKeyId("other"))
        assert len(server.requests) == 2

    run(scenario)


@pytest.mark.parametrize("where", ["image", "redirect"])
def test_what_is_not_to_be_stored_is_not(run, upstream, where: str) -> None:
    """`cache-control: no-store`, of the image or of a redirect on the way to it."""

    async def scenario() -> None:
        mark = "cache-control: private, No-Store"
        if where == "image":
            turns = [answer(PNG, mark)] * 2
        else:
            turns = [answer(b"", "location: /b", mark, status="302 Found"), answer(PNG)] * 2
        server = await upstream(*turns).start()
        there = images()
        for _ in range(2):
            assert await ask(there, server.url()) == {server.url(): picture()}
        assert len(server.requests) == len(turns)
        assert there.memory.bytes == 0

    run(scenario)


def test_a_fault_of_ours_is_told_and_ends_the_wait(run, upstream, monkeypatch) -> None:
    """Nobody waits for a fetch that broke; the loop's handler hears what it was."""

    async def scenario() -> None:
        heard: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: heard.append(context))

        def broken(_url: str) -> Callable[..., Any]:
            raise RuntimeError("a bug")

        monkeypatch.setattr("hermes_router.upstream.images._address", broken)
        found = await ask(images(), "http://127.0.0.1:9/")
        assert isinstance(found, Unfit)
        assert [context["message"] for context in heard] == ["fetching images broke"]

    run(scenario)
