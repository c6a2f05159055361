"""Background tasks: named, owned, restarted with a growing pause, and never dead unseen."""

import asyncio
from typing import Any

import pytest

from hermes_router.engine.tasks import FIRST_PAUSE_S, LONGEST_PAUSE_S, Supervisor

from ..fakes import turns


class Log:
    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: object) -> None:
        raise AssertionError(event)

    def warning(self, event: str, **fields: object) -> None:
        self.said.append((event, fields))


class Naps:
    """`asyncio.sleep`, without the sleep."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
def supervisor(log: Log, naps: Naps) -> Supervisor:
    return Supervisor(log, sleep=naps)


async def test_what_ends_well_is_not_started_again(supervisor: Supervisor, log: Log) -> None:
    """Work runs once; its name is free again afterwards."""
    runs = []

    async def work() -> None:
        runs.append(asyncio.current_task().get_name())  # type: ignore[union-attr]

    supervisor.keep("w", work)
    supervisor.keep("w", work)
    await turns()
    assert runs == ["w"]
    supervisor.keep("w", work)
    await turns()
    assert runs == ["w", "w"]
    assert not log.said


async def test_a_failure_is_said_and_tried_again_after_a_growing_pause(
    supervisor: Supervisor, log: Log, naps: Naps
) -> None:
    """One second, doubling, at most five minutes; each failure is counted and logged by its class only."""
    left = 12

    async def work() -> None:
        nonlocal left
        left -= 1
        if left:
            raise ValueError("a secret")

    supervisor.keep("w", work)
    await turns(60)
    assert naps.taken[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert max(naps.taken) == naps.taken[-1] == LONGEST_PAUSE_S
    assert supervisor.failures == {"w": 11}
    assert log.said[0] == ("task.failed", {"task": "w", "error": "ValueError", "again_in_s": FIRST_PAUSE_S})
    assert "secret" not in str(log.said)


async def test_a_cancelled_part_is_a_failure_like_any_other(supervisor: Supervisor, log: Log) -> None:
    """Something that the work awaited was cancelled: the task must not die of it, unseen."""
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            part: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            part.cancel()
            await part

    supervisor.keep("w", work)
    await turns(20)
    assert runs == 2
    assert log.said[0][1]["error"] == "CancelledError"


async def test_stop_ends_everything(supervisor: Supervisor, log: Log) -> None:
    """Every task is cancelled and awaited; one that fails in its clean-up is said, and not started again."""
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("well")

    async def bad_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("badly")
            raise ValueError

    supervisor.keep("a", work)
    supervisor.keep("b", bad_end)
    await turns()
    await supervisor.stop()
    assert ended == ["well", "badly"]
    assert [fields["task"] for _, fields in log.said] == ["b"]
    await supervisor.stop()


async def test_stop_ends_a_pause(log: Log) -> None:
    """A task that waits to be tried again does not hold up the stop."""

    async def work() -> None:
        raise ValueError

    supervisor = Supervisor(log)
    supervisor.keep("w", work)
    await turns()
    await supervisor.stop()
    assert len(log.said) == 1
