"""hermes_router/daemon/generations.py: who may change the owner's files, and when that is another daemon."""

import asyncio

import pytest

from hermes_router.core.errors import ControlError
from hermes_router.daemon.generations import Changes


async def test_changes_wait_for_each_other() -> None:
    """One at a time, as with any lock, also after a handover that failed."""
    changes = Changes()
    async with changes:
        waiting = asyncio.ensure_future(changes.acquire())
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting
    changes.release()
    async with changes:
        pass


async def test_after_a_handover_changes_are_sent_to_the_successor() -> None:
    """Whoever waited and whoever comes is told that nothing has begun, so that `hr` may ask again."""
    changes = Changes()
    await changes.acquire()
    waiting = [asyncio.ensure_future(changes.acquire()) for _ in range(3)]
    await asyncio.sleep(0)
    changes.move()
    for refused in (*waiting, changes.acquire()):
        with pytest.raises(ControlError) as caught:
            await asyncio.wait_for(refused, 5)
        assert caught.value.code == "moved"
