"""Supervised background tasks: named, owned, restarted with a growing pause, shown in status.

Owns the only place where a task is made, and one of the two broad `except` of the program. It must never know what a
task does.
"""

import asyncio
from collections.abc import Awaitable, Callable

from hermes_router.core.ports import Log

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0


class Supervisor:
    """Keeps tasks alive until `stop`."""

    def __init__(self, log: Log, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._log = log
        self._sleep = sleep
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.failures: dict[str, int] = {}

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` once; where it raises, again after a pause that doubles. A name runs once."""
        if name in self._tasks and not self._tasks[name].done():
            return
        self._tasks[name] = asyncio.create_task(self._run(name, work), name=name)  # noqa: TID251 - the owner itself

    async def _run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        pause = FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        while True:
            began = loop.time()
            try:
                await work()
            except asyncio.CancelledError:
                if task.cancelling():
                    raise
                error = "CancelledError"  # something that it awaited was cancelled: that is a failure like any other
            except Exception as failure:  # noqa: BLE001 - a task may fail in any way; it must be said and tried again
                error = type(failure).__name__
            else:
                return
            if loop.time() - began > LONGEST_PAUSE_S:
                pause = FIRST_PAUSE_S  # it had long been well
            self.failures[name] = self.failures.get(name, 0) + 1
            if task.cancelling():  # it failed in its own clean-up: stopped is stopped
                self._log.warning("task.failed", task=name, error=error)
                return
            self._log.warning("task.failed", task=name, error=error, again_in_s=pause)
            await self._sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def stop(self) -> None:
        """Cancel all tasks and wait for their ends."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
