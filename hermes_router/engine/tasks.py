"""Supervised background tasks: named, owned, restarted with a growing pause, shown in status.

Owns the only place where a task is made, and one of the two broad `except` of the program. It must never know what a task
does.
"""

import asyncio
from collections.abc import Awaitable, Callable

from hermes_router.core.ports import Log

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0


class Supervisor:
    """Keeps tasks alive until `stop`."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.failures: dict[str, int] = {}

    def keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` once; where it raises, again after a pause that doubles. A name runs once."""
        if name in self._tasks and not self._tasks[name].done():
            return
        self._tasks[name] = asyncio.create_task(self._run(name, work), name=name)  # noqa: TID251 - the owner itself

    async def _run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - a task may fail in any way; it must be said and tried again
                self.failures[name] = self.failures.get(name, 0) + 1
                self._log.warning("task.failed", task=name, error=type(error).__name__, again_in_s=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
            else:
                return

    async def stop(self) -> None:
        """Cancel all tasks and wait for their ends."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
