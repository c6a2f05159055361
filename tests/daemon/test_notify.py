"""hermes_router/daemon/notify.py: what reaches the manager's socket, and that nothing of it ever hurts."""

import asyncio
import os
from pathlib import Path

import pytest

from hermes_router.daemon.notify import Notifier

from .listening import Manager


def test_a_word_is_one_datagram(manager: Manager, notifier: Notifier) -> None:
    """Its lines are lines of the protocol: a line break inside a text is none."""
    assert notifier.is_heard
    assert notifier.say("READY=1", "STATUS=one\ntwo")
    assert manager.heard() == [["READY=1", "STATUS=one two"]]


@pytest.mark.parametrize("odd", ["\udcff in a path", "щ" * 5_000, "字" * 5_000])
def test_whatever_a_text_holds_the_announcement_goes_out(manager: Manager, notifier: Notifier, odd: str) -> None:
    """A path may be no UTF-8, and the manager drops a message of more than 4 KiB, whole."""
    assert notifier.say("READY=1", f"STATUS={odd}", "WATCHDOG=1")
    [lines] = manager.heard()
    assert (lines[0], lines[2]) == ("READY=1", "WATCHDOG=1")
    assert len("\n".join(lines).encode()) < 4_096


def test_an_abstract_address(tmp_path: Path) -> None:
    """`@` is a NUL."""
    manager = Manager(f"@hr-test-{os.getpid()}")
    notifier = Notifier(manager.address)
    assert notifier.say("READY=1")
    assert manager.lines() == ["READY=1"]
    assert notifier._socket is not None
    notifier._socket.close()
    manager.socket.close()


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "vsock:2:1", "@" + "x" * 200])
async def test_nobody_to_tell_is_no_fault(address: str) -> None:
    """No address, one that is gone, or one of a kind that we do not know: nothing is raised, and nobody waits."""
    notifier = Notifier(address)
    assert not notifier.say("READY=1")
    assert not await notifier.part()
    assert not await notifier.insist("READY=1")


async def test_a_full_queue_loses_a_status_and_no_announcement(manager: Manager, notifier: Notifier) -> None:
    """It never blocks; what must arrive is said again until there is room."""
    while notifier.say("STATUS=" + "x" * 1_000):
        pass
    insisting = asyncio.ensure_future(notifier.insist("MAINPID=7"))
    await asyncio.sleep(0)
    assert not insisting.done()
    manager.heard()
    assert await insisting
    assert manager.lines() == ["MAINPID=7"]


async def test_the_barrier_falls_when_all_was_read(manager: Manager, notifier: Notifier) -> None:
    """Not before the manager has taken the descriptor and closed it."""
    notifier.say("MAINPID=7")
    waiting = asyncio.ensure_future(notifier.part())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert manager.lines() == ["MAINPID=7", "BARRIER=1"]
    assert not notifier.say("STATUS=late")
    assert await waiting
