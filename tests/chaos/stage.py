"""Time and transport of one exchange: a clock that jumps to whatever comes next, providers that play their scripts.

Owns the virtual time of a case. Nothing here sleeps: tasks run until none can go on, then the clock moves.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Mapping
from functools import partial

from hermes_router.core.ports import Outbound, Sink

from ..fakes import World
from .scripts import Script, Step

PATIENCE_S = 20_000.0  # of virtual time; a case that takes longer is stuck
_MOST_TURNS = 1_000


class Stuck(AssertionError):
    """The exchange waits for something that nobody sends."""


class Flight:
    """One request under way: its script is played until it is over or aborted."""

    def __init__(self, stage: "Stage", sink: Sink, script: Script) -> None:
        self._stage, self._sink = stage, sink
        self._steps = iter(script.steps)
        self.aborted = self._paused = False
        self._waits: Step | None = None
        first = next(self._steps)
        stage.after(first.wait_s, partial(self._play, first))

    def abort(self) -> None:
        self.aborted = True

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self._waits is not None:
            step, self._waits = self._waits, None
            self._stage.after(0.0, partial(self._play, step))

    def _play(self, first: Step) -> None:
        """Play a step, and all that comes in the same moment."""
        step: Step | None = first
        while step is not None and not self.aborted:
            if self._paused:
                self._waits = step
                return
            self._tell(step)
            step = next(self._steps, None)
            if step is not None and step.wait_s:
                self._stage.after(step.wait_s, partial(self._play, step))
                return

    def _tell(self, step: Step) -> None:
        sink = self._sink
        if step.head is not None:
            sink.head(*step.head)
        elif step.error is not None:
            sink.failed(step.error)
        elif step.end:
            sink.end()
        else:
            sink.data(step.data)


class Stage:
    """A world whose providers answer by `answer(request)`, and whose time moves by itself."""

    def __init__(self, world: World, answer: Callable[[Outbound], Script]) -> None:
        self._world = world
        self._answer = answer
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        world.engine.transport = self

    def send(self, request: Outbound, sink: Sink) -> Flight:
        return Flight(self, sink, self._answer(request))

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._due, (self._world.clock.mono() + delay_s, next(self._order), call))

    async def run(self, task: "asyncio.Task[object]") -> None:
        """Let time pass until the task is done. Raises Stuck."""
        world, clock = self._world, self._world.clock
        until = clock.mono() + PATIENCE_S
        while True:
            await _settle()
            if task.done():
                return
            timers = world._timers
            times = [at for at, _ in timers]
            if self._due:
                times.append(self._due[0][0])
            if not times or clock.mono() > until:
                raise Stuck
            at = min(times)
            if at > clock.mono():
                clock.advance(at - clock.mono())
            mono = clock.mono()
            if self._due and self._due[0][0] <= mono:
                heapq.heappop(self._due)[2]()
            for timer in [one for one in timers if one[0] <= mono]:
                timers.remove(timer)
                timer[1]()


async def _settle() -> None:
    """Let every task go on until none can."""
    ready = asyncio.get_running_loop()._ready
    for _ in range(_MOST_TURNS):
        await asyncio.sleep(0)
        if not ready:
            return


class Listener:
    """The caller's side of a stream: bytes with the time at which they came."""

    def __init__(self, clock: object) -> None:
        self._clock = clock
        self.head: dict[str, str] | None = None
        self.heard: list[tuple[float, bytes]] = []
        self.ended = False
        self.faults: list[str] = []

    async def start(self, headers: Mapping[str, str]) -> None:
        if self.head is not None:
            self.faults.append("a head twice")
        self.head = dict(headers)

    def write(self, data: bytes) -> None:
        if self.head is None or self.ended:
            self.faults.append("bytes before the head, or behind the end")
        self.heard.append((self._clock.mono(), data))

    def waiting_bytes(self) -> int:
        return 0

    async def end(self) -> None:
        self.ended = True

    @property
    def raw(self) -> bytes:
        return b"".join(data for _, data in self.heard)
