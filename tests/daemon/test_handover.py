"""hermes_router/daemon/handover/: the steps, and that whatever fails in any of them leaves one daemon that serves."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from hermes_router.control.events import EventRing
from hermes_router.control.log_types import LogWish
from hermes_router.core.errors import ControlError
from hermes_router.core.records import AttemptRecord, ExchangeRecord
from hermes_router.daemon.doors import Door
from hermes_router.daemon.handover.estate import Household, Outpost
from hermes_router.daemon.handover.heir import Forebear, inherit
from hermes_router.daemon.handover.link import Link, V, post_blocking, receive_blocking
from hermes_router.daemon.handover.predecessor import Given, Successor, hand_over, start_successor

ATTEMPT = AttemptRecord("groq", "m", "cafe01", "wxyz", "ok", input_tokens=3, output_tokens=4, billed=True)
RECORD = ExchangeRecord("req_1", 1.0, "k", "openai_chat", "m", "auto", True, "answered", 0.5, 2, 10, (ATTEMPT,))


async def _pair() -> tuple[Link, Link]:
    ours, theirs = socket.socketpair()
    return await Link.over(ours), await Link.over(theirs)


class Process:
    """A successor's process."""

    pid = 4711
    stderr = None

    def __init__(self) -> None:
        self.killed = False
        self.result: int | None = None

    def kill(self) -> None:
        self.killed = True
        self.result = -9

    def wait(self, timeout: float | None = None) -> int | None:
        if self.result is None:
            raise subprocess.TimeoutExpired("successor", timeout or 0.0)
        return self.result

    def poll(self) -> int | None:
        return self.result


class Estate:
    """Notes what is done to it; `fails` at one step."""

    def __init__(self, fails: str = "") -> None:
        self.did: list[str] = []
        self.fails = fails
        self.left = asyncio.Event()

    async def give_up(self) -> None:
        self.did.append("give_up")
        if self.fails == "give_up":
            raise OSError("the disk is gone")

    def leave(self, link: Link, *, shut: bool) -> None:
        self.did.append(f"leave shut={shut}")
        link.post("state", routing={"a": 1})
        self.left.set()

    async def take_back(self) -> None:
        self.did.append("take_back")


class Scene:
    """A predecessor that hands over to `play`, which has the successor's end of the pair."""

    def __init__(self, play: Callable[[Link], Awaitable[None]], estate: Estate | None = None) -> None:
        self.process = Process()
        self.estate = estate or Estate()
        self._play = play

    async def run(self, **limits: float) -> Any:
        ours, theirs = await _pair()

        async def start() -> Successor:
            return Successor(self.process, ours)  # type: ignore[arg-type]

        playing = asyncio.ensure_future(self._play(theirs))
        try:
            return await hand_over(start, self.estate, **limits)
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            theirs.close()
            ours.close()


async def _well(link: Link) -> None:
    link.post("hint", unknown=True)
    link.post("ready", version="9.9", kept_public=True)
    assert await link.expect("state") == {"v": V, "is": "state", "routing": {"a": 1}}
    link.post("serving")
    await asyncio.sleep(60)


async def test_everything_goes_over_in_order() -> None:
    """`ready`, then what is held is given up, then the state; with `serving` it is done. Unknown words are ignored."""
    scene = Scene(_well)
    handed = await scene.run()
    assert (handed.pid, handed.version) == (4711, "9.9")
    assert scene.estate.did == ["give_up", "leave shut=True"]
    assert not scene.process.killed


async def test_a_successor_with_other_sockets_leaves_ours_open() -> None:
    """Where HOST or PORT have changed, our doors stay open until it serves on its own."""

    async def other(link: Link) -> None:
        link.post("ready", version="9.9", kept_public=False)
        await link.expect("state")
        link.post("serving")
        await asyncio.sleep(60)

    scene = Scene(other)
    await scene.run()
    assert scene.estate.did == ["give_up", "leave shut=False"]


async def _refuses(link: Link) -> None:
    link.post("failed", said=["/x/.env:1: PORT must be a number"], code=1)


async def _dies(link: Link) -> None:
    link.close()


async def _sleeps(_link: Link) -> None:
    await asyncio.sleep(60)


async def test_one_that_cannot_be_killed_does_not_keep_the_doors_shut() -> None:
    """A dead disk may hold a process after SIGKILL: it runs nothing any more, and this daemon serves on."""

    async def silent(link: Link) -> None:
        link.post("ready", version="9.9", kept_public=True)
        await asyncio.sleep(60)

    def stays(timeout: float | None = None) -> int:
        raise subprocess.TimeoutExpired("successor", timeout or 0.0)

    scene = Scene(silent)
    scene.process.wait = stays  # type: ignore[method-assign]
    with pytest.raises(ControlError, match="not serving within"):
        await scene.run(serving_s=0.05)
    assert scene.estate.did[-1] == "take_back"


@pytest.mark.parametrize(
    ("play", "said"),
    [(_refuses, "PORT must be a number"), (_dies, "went silent"), (_sleeps, "not ready within")],
)
async def test_a_successor_that_does_not_get_ready_changes_nothing(play: Any, said: str) -> None:
    """A bad configuration, a crash, a hang: it is killed, nothing was given up, and whoever asked is told why."""
    scene = Scene(play)
    with pytest.raises(ControlError, match=said) as caught:
        await scene.run(ready_s=0.05)
    assert scene.process.killed
    assert scene.estate.did == []
    assert caught.value.exit_code == 1
    assert "serves on as before" in caught.value.next_step


@pytest.mark.parametrize("end", [_dies, _sleeps])
async def test_a_successor_that_fails_late_is_killed_and_all_is_taken_back(end: Any) -> None:
    """Whoever said `ready` and then dies or hangs does not leave the callers without a daemon."""

    async def late(link: Link) -> None:
        link.post("ready", version="9.9")
        await link.expect("state")
        await end(link)

    scene = Scene(late)
    with pytest.raises(ControlError):
        await scene.run(serving_s=0.05)
    assert scene.process.killed
    assert scene.estate.did == ["give_up", "leave shut=True", "take_back"]


async def test_a_step_of_ours_that_fails_is_taken_back() -> None:
    """Also where the fault is on this side."""
    scene = Scene(_well, Estate(fails="give_up"))
    with pytest.raises(OSError, match="the disk is gone"):
        await scene.run()
    assert scene.process.killed
    assert scene.estate.did == ["give_up", "take_back"]


async def test_a_stop_in_the_middle_ends_the_successor() -> None:
    """Cancelled while it waits, nothing is left running."""

    async def late(link: Link) -> None:
        link.post("ready", version="9.9")
        await asyncio.sleep(60)

    scene = Scene(late)
    running = asyncio.ensure_future(scene.run())
    await scene.estate.left.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert scene.process.killed
    assert scene.estate.did[-1] == "take_back"


async def test_a_successor_that_cannot_be_started_is_said() -> None:
    """No interpreter, no memory for a process: a sentence, and nothing else happens."""

    async def start() -> Successor:
        raise FileNotFoundError(2, "No such file or directory")

    estate = Estate()
    with pytest.raises(ControlError, match="could not be started"):
        await hand_over(start, estate)
    assert estate.did == []


# --- the successor's side -----------------------------------------------------------------------------


async def test_the_successor_keeps_what_the_predecessor_still_tells() -> None:
    """Records and settlements in order, until its end; what is no record of ours is left out."""
    ours, theirs = await _pair()
    forebear = Forebear(ours)
    outpost = Outpost()
    outpost.put(RECORD)
    theirs.post("state", routing={"x": 1})
    assert (await forebear.state(kept_public=True))["routing"] == {"x": 1}
    ready = await theirs.expect("ready")
    assert ready is not None
    assert ready["kept_public"] is True
    forebear.serving()
    assert await theirs.expect("serving") is not None
    outpost.open(theirs)
    theirs.post("record", record={"of": "another version"})
    theirs.post("settled", told=[["s", 1]])
    theirs.post("event", event={"event": "a.b"})
    outpost.put(RECORD._replace(request_id="req_2", model="half \ud800 character"))
    theirs.close()
    kept: list[Any] = []
    heard: list[Any] = []
    await asyncio.wait_for(forebear.follow(kept.append, kept.append, heard.append), 5)
    assert heard == [{"event": "a.b"}]
    assert [one if isinstance(one, list) else one.request_id for one in kept] == ["req_1", [["s", 1]], "req_2"]
    assert kept[0] == RECORD


async def test_a_predecessor_that_dies_leaves_the_successor_without_state() -> None:
    """It serves all the same."""
    ours, theirs = await _pair()
    theirs.close()
    assert await Forebear(ours).state(kept_public=True) == {}
    ours.close()


async def test_what_is_held_can_be_taken_back() -> None:
    """Records of exchanges that ended in between go into our own store, where the handover failed."""
    outpost = Outpost()
    outpost.put(RECORD)
    assert outpost.withdrawn() == [RECORD]
    assert outpost.withdrawn() == []


async def test_records_that_a_full_disk_did_not_take_go_to_the_successor() -> None:
    """Given up with records still queued, they are told to whoever takes over, or kept where nobody does."""

    class Queue:
        def __init__(self, left: list[Any]) -> None:
            self.left = left
            self.started = False

        def close(self, _timeout_s: float) -> bool:
            return not self.left

        def withdraw(self) -> list[Any]:
            left, self.left = self.left, []
            return left

        def start(self) -> None:
            self.started = True

        def put(self, record: Any) -> None:
            self.left.append(record)

    async def nothing() -> None: ...

    async def looked() -> None:
        bindings.append("read again")

    def household(usage: Queue) -> Household:
        async def written(_limit_s: float) -> None:
            flushed.append(usage)

        told = SimpleNamespace(report_settlements=lambda _tell: None, report_money=lambda _tell: None)
        daemon = SimpleNamespace(
            usage=usage,
            ledger=None,
            responses=SimpleNamespace(flush=written),
            recent=SimpleNamespace(behind=usage),
            accounts=None,
            supervisor=SimpleNamespace(stop=nothing),
            engine=SimpleNamespace(state=told, limits=told, embed_bindings=SimpleNamespace(resting=False)),
            start_tasks=lambda: None,
            load_bindings=looked,
        )
        return Household(daemon, Door([]), None, open_doors=nothing, ring=ring)  # type: ignore[arg-type]

    ring = EventRing(lambda: 1.0)
    flushed: list[Any] = []
    bindings: list[str] = []
    failed = Queue([RECORD])
    home = household(failed)
    await home.give_up()
    assert flushed == [failed]  # remembered answers are on the disk before the successor looks there
    assert failed.left == []
    assert home._daemon.engine.embed_bindings.resting  # nothing is bound that the successor would not know of
    ring.publish("a.b", "info", {})
    assert ring.tail(LogWish()).events == []  # the log rests, too
    await home.take_back()
    assert len(ring.tail(LogWish()).events) == 1
    assert not home._daemon.engine.embed_bindings.resting
    assert bindings == ["read again"]  # what the successor had bound before it failed
    assert (failed.left, failed.started) == ([RECORD], True)
    given = household(Queue([RECORD]))
    await given.give_up()
    ours, theirs = await _pair()
    given.outpost.open(ours)
    message = await theirs.expect("record")
    assert message is not None
    assert msgspec.convert(message["record"], ExchangeRecord) == RECORD
    ours.close()
    theirs.close()


@pytest.mark.parametrize("garbage", [b"\x00\x00\x00\x02{]", b"\x00\x00\x00\x02[]", b"\xff\xff\xff\xff", b"\x00\x00"])
async def test_garbage_on_the_pair_is_its_end(garbage: bytes) -> None:
    """A cut or broken message is as if the other end were gone; nothing is waited for, nothing raised."""
    ours, theirs = socket.socketpair()
    link = await Link.over(ours)
    theirs.sendall(garbage)
    theirs.close()
    assert await asyncio.wait_for(link.expect("ready"), 5) is None
    link.close()


def test_before_there_is_a_loop_the_pair_speaks_too() -> None:
    """The first and the last word of a successor that never gets a loop."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        post_blocking(ours, "failed", said=["no"])
        assert receive_blocking(theirs, timeout_s=5) == {"v": V, "is": "failed", "said": ["no"]}
        assert receive_blocking(theirs, timeout_s=0.01) is None
        ours.close()
        assert receive_blocking(theirs, timeout_s=5) is None
        post_blocking(theirs, "failed")
        post_blocking(theirs, "failed")


SUCCESSOR = """
import json, os, sys
from hermes_router.daemon.handover.heir import inherit
from hermes_router.daemon.handover.link import post_blocking
found = inherit(int(sys.argv[-1]))
fds = [found.lock, found.control.fileno(), *(s.fileno() for s in found.public), found.pair.fileno()]
post_blocking(found.pair, "seen", flags=sys.argv[1:-2], run=found.run, port=found.public[0].getsockname()[1],
    inherited=[fd for fd in fds if os.get_inheritable(fd)], open=sorted(int(n) for n in os.listdir('/proc/self/fd')),
    shown=repr(found), taken=found.take_secrets(), left=found.take_secrets(),
    told=[open('/proc/self/cmdline').read(), open('/proc/self/environ').read()])
"""


async def test_a_successor_gets_its_descriptors_and_no_others(tmp_path: Any) -> None:
    """Lock, control and public sockets arrive, the flags too; what it starts in its turn inherits nothing of them."""
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    secret = os.open(tmp_path / "private", os.O_RDWR | os.O_CREAT)
    with socket.socket() as public, socket.socket(socket.AF_UNIX) as control:
        public.bind(("127.0.0.1", 0))
        given = Given(lock, control, [public], "detached")
        successor = await start_successor(["--detached"], given, program=(sys.executable, "-c", SUCCESSOR))
        seen = await asyncio.wait_for(successor.link.expect("seen"), 20)
        assert seen is not None
        assert seen["flags"] == ["--detached"]
        assert (seen["run"], seen["port"]) == ("detached", public.getsockname()[1])
        assert seen["inherited"] == []
        assert secret not in seen["open"]
        assert await asyncio.to_thread(successor.process.wait, 20) == 0
        await successor.end()
    os.close(lock)
    os.close(secret)


async def test_secrets_go_over_the_pair_and_nowhere_else() -> None:
    """Any number of them, before the successor does anything; not on its command line, in its environment or a repr."""
    secrets = {f"{number:016x}": f"gsk_handed_{number:04d}_{'x' * 200}" for number in range(2_000)}
    with socket.socket() as public:
        public.bind(("127.0.0.1", 0))
        given = Given(None, None, [public], "detached", secrets)
        assert "gsk_" not in repr(given)
        program = SUCCESSOR.replace("fds = [found.lock, found.control.fileno(), *", "fds = [*")
        successor = await start_successor([], given, program=(sys.executable, "-c", program))
        seen = await asyncio.wait_for(successor.link.expect("seen"), 20)
        assert seen is not None
        assert (seen["taken"], seen["left"]) == (secrets, {})
        assert "gsk_" not in seen["shown"] + "".join(seen["told"])
        assert await asyncio.to_thread(successor.process.wait, 20) == 0
        await successor.end()


async def test_secrets_that_make_no_sense_are_none() -> None:
    """Of another version, or not there at all."""
    for said, taken in (({}, {}), ({"secrets": ["a"]}, {}), ({"secrets": {"a": 1, "b": "c"}}, {"b": "c"})):
        ours, theirs = socket.socketpair()
        post_blocking(ours, "inherit", lock=None, control=None, public=[], run="detached", **said)
        found = inherit(theirs.detach())
        assert found is not None
        assert found.take_secrets() == taken
        found.pair.close()
        ours.close()


async def test_the_last_words_of_a_successor_that_ended_early_are_told() -> None:
    """A torn upgrade: the import fails before there is a log, and whoever asked for the restart is told which."""

    async def start() -> Successor:
        program = (sys.executable, "-c", "import hermes_router.no_such_module")
        return await start_successor([], Given(None, None, [], "detached"), program=program)

    with pytest.raises(ControlError, match=r"ModuleNotFoundError.*hermes_router\.no_such_module"):
        await hand_over(start, Estate())


def test_no_inheritance_without_a_predecessor() -> None:
    """A number that is no socket, or a pair whose other end is gone or says something else: there is nothing to do."""
    assert inherit(987) is None
    for words in ((), (("hello", {}),)):
        ours, theirs = socket.socketpair()
        for kind, fields in words:
            post_blocking(ours, kind, **fields)
        ours.close()
        assert inherit(theirs.detach()) is None


def test_messages_are_small_and_named() -> None:
    """What goes over the pair is JSON with a version and a kind, so that another version can read it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        post_blocking(ours, "record", record={"a": 1})
        raw = theirs.recv(1000)
        assert msgspec.json.decode(raw[4:]) == {"v": V, "is": "record", "record": {"a": 1}}
        assert int.from_bytes(raw[:4], "big") == len(raw) - 4
