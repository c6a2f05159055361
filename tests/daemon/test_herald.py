"""hermes_router/daemon/herald.py: what the service manager is told, and who is silent when."""

import asyncio

import pytest

from hermes_router.core.errors import ControlError
from hermes_router.daemon.herald import Herald
from hermes_router.daemon.notify import Notifier

from .listening import Manager


async def test_a_status_is_renewed_when_it_changes(
    manager: Manager, notifier: Notifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said once and no more while it stays the same; secrets are taken out; what was refused stands behind it."""
    monkeypatch.setattr("hermes_router.daemon.herald._LOOK_S", 0.001)
    line = ["3 of 3 targets ready"]
    herald = Herald(notifier, describe=lambda: line[0], clean=lambda text: text.replace("sk-1", "***"))
    await herald.ready()
    assert manager.lines() == ["READY=1", "STATUS=3 of 3 targets ready", "WATCHDOG=1"]
    following = asyncio.ensure_future(herald.follow())
    await asyncio.sleep(0.02)
    assert manager.lines() == []
    line[0] = "2 of 3 targets ready; sk-1"
    await asyncio.sleep(0.02)
    assert manager.lines() == ["STATUS=2 of 3 targets ready; ***"]
    following.cancel()
    with pytest.raises(ControlError), herald.reloading():
        raise ControlError("PORT is odd")
    said = manager.lines()
    assert (said[0], said[2:]) == (
        "RELOADING=1",
        ["STATUS=reading its files", "READY=1", "STATUS=2 of 3 targets ready; ***; files not taken up: PORT is odd"],
    )
    assert said[1].startswith("MONOTONIC_USEC=")
    with herald.reloading():
        pass
    assert manager.lines()[-1] == "STATUS=2 of 3 targets ready; ***"


async def test_the_watchdog_is_fed_three_times_in_its_time(manager: Manager, notifier: Notifier) -> None:
    """By the loop; not at all where there is none."""
    herald = Herald(notifier, watchdog_s=0.03)
    assert herald.feeds_every_s == pytest.approx(0.01)
    feeding = asyncio.ensure_future(herald.feed())
    fed: list[str] = []
    async with asyncio.timeout(10):
        while len(fed) < 3:
            await asyncio.sleep(0.005)
            fed += manager.lines()
    assert set(fed) == {"WATCHDOG=1"}
    feeding.cancel()
    assert Herald(notifier).feeds_every_s is None
    assert Herald(Notifier(), watchdog_s=1).feeds_every_s is None


async def test_whoever_has_handed_over_is_silent(manager: Manager, notifier: Notifier) -> None:
    """STOPPING=1 of a predecessor would end the service; its watchdog would hide that the successor hangs."""
    herald = Herald(notifier, watchdog_s=1)
    handing = asyncio.ensure_future(herald.hand_over(4711))
    said: list[str] = []
    async with asyncio.timeout(10):
        while "BARRIER=1" not in said:
            await asyncio.sleep(0.001)
            said += manager.lines()
        await handing
    assert said == ["MAINPID=4711", "READY=1", "WATCHDOG=1", "BARRIER=1"]
    herald.stopping(3, 60.0)
    herald.draining(2, inherited=False)
    with herald.reloading():
        pass
    await asyncio.wait_for(herald.feed(), 1)
    await asyncio.wait_for(herald.follow(), 1)
    assert manager.lines() == []


def test_the_end_says_what_it_waits_for_and_asks_for_time(manager: Manager, notifier: Notifier) -> None:
    """More than the drain, for what is written last; a status is not repeated."""
    herald = Herald(notifier)
    herald.stopping(2, 60.0)
    assert manager.lines() == ["STOPPING=1", "STATUS=draining 2 answers", "EXTEND_TIMEOUT_USEC=75000000"]
    herald.draining(2, inherited=False)
    herald.draining(1, inherited=False)
    herald.draining(0, inherited=True)
    assert manager.lines() == ["STATUS=draining 1 answer", "STATUS=draining those of its predecessor"]


async def test_who_serves_now_is_said_until_it_is_heard(manager: Manager, notifier: Notifier) -> None:
    """A manager that is busy for long would take the predecessor's end for the service's."""
    herald, tries, heard = Herald(notifier), 0, asyncio.Event()

    async def busy(*lines: str) -> bool:
        nonlocal tries
        tries += 1
        if tries > 3:
            heard.set()
        return tries > 3 and notifier.say(*lines)

    notifier.insist = busy  # type: ignore[method-assign]
    handing = asyncio.ensure_future(herald.hand_over(7))
    await heard.wait()
    assert manager.lines()[0] == "MAINPID=7"
    handing.cancel()
    await asyncio.gather(handing, return_exceptions=True)
