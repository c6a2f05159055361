"""The predecessor's side of a handover: a successor is started beside this daemon, and takes its place step by step.

Owns the order of the steps, their time limits, and that whatever fails in any of them leaves one working daemon: until
the successor has said `serving` it can be killed, and everything given up is taken back (design.md 2.19). It must never
know what is given up.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Final, NamedTuple, Protocol

import msgspec

from hermes_router import __version__
from hermes_router.core.errors import ControlError
from hermes_router.daemon import orphan
from hermes_router.daemon.handover.link import Link, Message

__all__ = ["Estate", "HandedOver", "Successor", "hand_over", "start_successor"]

READY_S: Final = 30.0  # to import, to read keys and configuration, to warm up
SERVING_S: Final = 15.0  # to load the state and open the store; callers wait meanwhile
_GONE_S: Final = 5.0
_WORDS_BYTES: Final = 65_536  # what a pipe holds


class Estate(Protocol):
    """What this daemon holds alone, in the order in which it is given up. `take_back` undoes as much as was done."""

    async def give_up(self) -> None:
        """Tasks, the control socket's door, the store's writer."""
        ...

    def leave(self, link: Link, *, shut: bool) -> None:
        """In one step: shut the public doors, if the successor opens the same, and send it all that is known."""
        ...

    async def take_back(self) -> None:
        """Serve on as if nothing had happened."""
        ...


class Process(Protocol):
    """As much of subprocess.Popen as is needed of a successor; one under a service manager is the manager's child."""

    @property
    def pid(self) -> int:
        """Its number."""
        ...

    @property
    def stderr(self) -> IO[bytes] | None:
        """What it says before it has a log; None where that goes where ours goes."""
        ...

    def send_signal(self, number: int, /) -> None:
        """Signal it, if it lives."""
        ...

    def kill(self) -> None:
        """End it now."""
        ...

    def wait(self, timeout: float | None = None) -> int | None:
        """Return when it has ended: how, where that is known. Raises subprocess.TimeoutExpired."""
        ...

    def poll(self) -> int | None:
        """Leave no zombie."""
        ...


class Successor(msgspec.Struct):
    """The process that is to take over, and our end of the pair."""

    process: Process
    link: Link

    async def end(self) -> None:
        """Kill it, and return when it is gone: two daemons must not hold one lock.

        One that a dead disk still holds after some seconds runs nothing of ours any more.
        """
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self.process.wait, _GONE_S)
        self.link.close()
        self.let_go()

    def last_words(self) -> str:
        """The last line that it said before it had a log of its own, such as an ImportError after a torn upgrade."""
        if self.process.stderr is None:
            return ""
        try:
            said = os.read(self.process.stderr.fileno(), _WORDS_BYTES)
        except BlockingIOError:
            return ""
        return next((line for line in reversed(said.decode(errors="replace").split("\n")) if line.strip()), "").strip()

    def let_go(self) -> None:
        """It has a log of its own by now, or is gone. Idempotent."""
        if self.process.stderr is not None:
            self.process.stderr.close()


class HandedOver(NamedTuple):
    """It is done: the link for what is still to be told, and who serves now."""

    link: Link
    process: Process
    pid: int
    version: str
    took_s: float


@dataclass(frozen=True, slots=True)
class Given:
    """What the successor begins with: descriptors, and secrets that it may be unable to read.

    Its keyring may be locked or hang: what it is to serve with, it must have before it says `ready`. They go over the
    pair and nowhere else. `managers` are the sockets of the service manager, which no daemon may lose: it would not be
    given them again.
    """

    lock: int | None
    control: socket.socket | None
    public: Sequence[socket.socket]
    run: str
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    managers: Sequence[socket.socket] = ()


async def start_successor(
    flags: Sequence[str], given: Given, *, program: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> Successor:
    """Start it. What is to be inherited keeps its number; nothing else of ours is passed on. Raises OSError.

    `environ` is its environment, ours where that is None.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        argv = [*(program or (sys.executable, "-P", "-m", "hermes_router.daemon")), *flags]
        argv += ["--handover", str(theirs.fileno())]
        inherited = [sock.fileno() for sock in given.public]
        managers = [sock.fileno() for sock in given.managers]
        passed = list(dict.fromkeys((theirs.fileno(), *inherited, *managers)))
        control = given.control.fileno() if given.control is not None else None
        passed += [number for number in (given.lock, control) if number is not None]
        try:
            process = await asyncio.to_thread(_start, argv, passed, given.run, environ)
        except OSError:
            ours.close()
            raise
    if process.stderr is not None:
        os.set_blocking(process.stderr.fileno(), False)
    link = await Link.over(ours)
    link.post(
        "inherit",
        version=__version__,
        run=given.run,
        lock=given.lock,
        control=control,
        public=inherited,
        managers=managers,
        secrets=given.secrets,
    )
    return Successor(process, link)


def _start(argv: Sequence[str], passed: Sequence[int], run: str, environ: Mapping[str, str] | None) -> Process:
    """Under a service manager as its child, not ours: it must notice the end of it, and reckons with no other."""
    if run == "systemd":
        return orphan.bear(argv, pass_fds=passed, environ=os.environ if environ is None else environ)
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        argv,
        pass_fds=passed,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE if run == "detached" else None,  # a detached one hears nothing of its own
        env=environ,
    )


async def hand_over(
    start: Callable[[], Any],
    estate: Estate,
    *,
    ready_s: float = READY_S,
    serving_s: float = SERVING_S,
) -> HandedOver:
    """Start a successor and give it everything. Raises ControlError where that failed; this daemon then serves on."""
    began = asyncio.get_running_loop().time()
    try:
        successor: Successor = await start()
    except OSError as error:
        raise _failed(f"it could not be started: {error.strerror}") from None
    try:
        ready = await _ready(successor, ready_s)
        try:
            await estate.give_up()
            estate.leave(successor.link, shut=bool(ready.get("kept_public", True)))
            await _said(successor, serving_s, "serving")
        except BaseException:
            await asyncio.shield(_undo(successor, estate))
            raise
    except BaseException:
        await asyncio.shield(successor.end())
        raise
    successor.let_go()
    took_s = asyncio.get_running_loop().time() - began
    version = str(ready.get("version", ""))
    return HandedOver(successor.link, successor.process, successor.process.pid, version, took_s)


async def _undo(successor: Successor, estate: Estate) -> None:
    await successor.end()
    await estate.take_back()


async def _ready(successor: Successor, limit_s: float) -> Message:
    message = await _said(successor, limit_s, "ready", "failed")
    if message.get("is") == "ready":
        return message
    raise _refused(message)


async def _said(successor: Successor, limit_s: float, *kinds: str) -> Message:
    """The successor's next word. Raises ControlError."""
    try:
        async with asyncio.timeout(limit_s):
            message = await successor.link.expect(*kinds)
    except TimeoutError:
        raise _failed(f"it was not {kinds[0]} within {limit_s:g} s") from None
    if message is None:
        ended = await asyncio.to_thread(_result, successor.process)
        raise _failed((ended and successor.last_words()) or ended or "it went silent")
    return message


def _result(process: Process) -> str:
    """How it ended; empty where it did not."""
    try:
        code = process.wait(1.0)
    except subprocess.TimeoutExpired:
        return ""
    return "it ended; its log says why" if code is None else f"it ended with {code}"


def _refused(message: Message) -> ControlError:
    said = [str(each) for each in message.get("said", ())] or ["it gave no reason"]
    return ControlError(
        "; ".join(said),
        code="refused",
        next_step="the running daemon serves on as before: repair that, then restart",
        exit_code=1,
    )


def _failed(why: str) -> ControlError:
    return ControlError(
        f"the successor did not take over: {why}",
        code="handover",
        next_step="the running daemon serves on as before; its log may say more",
        exit_code=1,
    )
