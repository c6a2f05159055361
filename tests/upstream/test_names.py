"""Looking up strangers' names: how many at once, and what becomes of a look-up that nobody waits for."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hermes_router.core.errors import Unreachable
from hermes_router.upstream.names import AT_ONCE, MOST_NAMES, StrangersNames


class Silent:
    """A resolver that answers when the test says so."""

    def __init__(self) -> None:
        self.answers = threading.Semaphore(0)
        self.asked: list[str] = []
        self.ended = 0

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        assert self.answers.acquire(timeout=15)
        self.ended += 1
        if host == "unknown.test":
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port))]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    """The system's resolver."""
    here = Silent()
    monkeypatch.setattr(socket, "getaddrinfo", here)
    yield here
    here.answers.release(1_000)


async def until(true: Callable[[], bool]) -> None:
    """Poll, for threads are at work."""
    for _ in range(2_000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never became true")


def test_a_name_is_what_the_system_says(run, silent: Silent) -> None:
    """The rows, or the error; threads are made with the first."""

    async def scenario() -> None:
        names = StrangersNames()
        assert not names._threads
        silent.answers.release(2)
        assert (await names.look_up("x.test", 80))[0][4] == ("10.0.0.1", 80)
        with pytest.raises(socket.gaierror, match="unknown"):
            await names.look_up("unknown.test", 80)
        names.close()

    run(scenario)


def test_eight_names_and_no_more_until_the_system_has_answered(run, silent: Silent) -> None:
    """That the wait for one ends gives no room: its thread, or its place in the queue, is still taken."""

    async def scenario() -> None:
        names = StrangersNames()
        waits = [asyncio.ensure_future(names.look_up(f"{number}.test", 80)) for number in range(MOST_NAMES)]
        await until(lambda: len(silent.asked) == AT_ONCE)
        with pytest.raises(Unreachable):
            await names.look_up("more.test", 80)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        with pytest.raises(Unreachable):
            await names.look_up("more.test", 80)
        assert len(silent.asked) == AT_ONCE
        silent.answers.release(MOST_NAMES + 1)
        await until(lambda: silent.ended == MOST_NAMES)
        assert await names.look_up("more.test", 80)
        names.close()

    run(scenario)


def test_an_end_waits_for_nothing(run, silent: Silent) -> None:
    """What is in the queue is told at once; what the system has still to answer is left; nothing more is begun."""

    async def scenario() -> None:
        names = StrangersNames()
        waits = [asyncio.ensure_future(names.look_up(f"{number}.test", 80)) for number in range(4)]
        await until(lambda: len(silent.asked) == AT_ONCE)
        names.close()
        assert silent.ended == 0
        for wait in waits[AT_ONCE:]:
            with pytest.raises(Unreachable):
                await asyncio.wait_for(wait, 5)
        with pytest.raises(Unreachable):
            await names.look_up("more.test", 80)
        for wait in waits:
            wait.cancel()
        assert len(silent.asked) == AT_ONCE

    run(scenario)


def test_an_answer_after_the_loop_has_ended_bothers_nobody(silent: Silent, caplog: pytest.LogCaptureFixture) -> None:
    """The thread ends without a word."""
    names = StrangersNames()

    async def scenario() -> None:
        wait = asyncio.ensure_future(names.look_up("x.test", 80))
        await until(lambda: len(silent.asked) == 1)
        wait.cancel()

    asyncio.run(scenario())
    silent.answers.release()
    names.close()
    for thread in names._threads:
        thread.join(10)
        assert thread.daemon, "the end of a process would wait for it"
        assert not thread.is_alive()
    assert silent.ended == 1
    assert caplog.records == []
