"""One round of one gateway: start it, ask it everything, stop it.

Owns what is measured and in which order. Figures are CPU time of the gateway's process over a fixed amount of work, so
neither the speed of the mock nor that of the load generator is in them.
"""

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench import bodies, gateways, load

STREAMS = 500
RATE = 20.0
AGENTS = [bodies.agent(conversation) for conversation in range(16)]


@dataclass(frozen=True)
class Dose:
    """How much work a round is; no further round begins that would end after `budget_s`.

    `bursts` is how many times the gateways are asked in turns (`paired.py`), `starts` how many more are only started.
    """

    rounds: int
    small: int
    agent: int
    single: int
    chunks: int
    budget_s: float
    bursts: int
    starts: int


FULL = Dose(rounds=3, small=6000, agent=400, single=20, chunks=20_000, budget_s=180, bursts=20, starts=6)
QUICK = Dose(rounds=1, small=2000, agent=100, single=10, chunks=5_000, budget_s=45, bursts=7, starts=2)

Figures = dict[str, float]


class Wrong(RuntimeError):
    """A gateway answered wrongly; figures of wrong answers mean nothing."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


def check(name: str, what: str, tally: load.Tally) -> None:
    """Raise Wrong where an answer was."""
    if tally.bad:
        text = f"{tally.bad} wrong answers, {tally.answers} good; the first wrong one:\n{tally.trouble}"
        raise Wrong(name, f"{name}, {what}: {text}")


async def _asked(gateway: gateways.Gateway, what: str, asked: Sequence[bytes], count: int) -> None:
    check(gateway.name, what, await load.unary(gateway.port, asked, count))


def _first_token(figures: Figures, count: int, tally: load.Tally) -> None:
    times = sorted(tally.first_s)
    figures[f"first_{count}_p50_ms"] = statistics.median(times) * 1e3
    figures[f"first_{count}_p99_ms"] = times[min(len(times) - 1, int(len(times) * 0.99))] * 1e3


async def _singles(gateway: gateways.Gateway, count: int, figures: Figures) -> None:
    body, total = bodies.stream(3, 500), load.Tally()
    for _ in range(count):
        streams = load.Streams(gateway.port, body)
        await streams.open(1, 0)
        tally = await streams.finish()
        check(gateway.name, "one stream", tally)
        total.first_s += tally.first_s
    _first_token(figures, 1, total)


async def _hundred(gateway: gateways.Gateway, figures: Figures) -> None:
    streams = load.Streams(gateway.port, bodies.stream(12, RATE))
    await streams.open(100, 0.5)
    tally = await streams.finish()
    check(gateway.name, "100 streams", tally)
    _first_token(figures, 100, tally)


async def _many(gateway: gateways.Gateway, chunks: int, figures: Figures, mark: str) -> None:
    """All streams at once, opened over a second and a half; then CPU over a fixed number of chunks, and memory."""
    ramp_s, settle_s = 1.5, 0.3
    length = int((ramp_s + settle_s + 0.7) * RATE + chunks / STREAMS)
    streams = load.Streams(gateway.port, bodies.stream(length, RATE))
    await streams.open(STREAMS, ramp_s)
    await asyncio.sleep(settle_s)
    before, seen = gateway.cpu_s(), streams.tally.chunks
    await streams.reach(chunks, limit_s=20)
    figures[f"chunk{mark}_us"] = (gateway.cpu_s() - before) / max(1, streams.tally.chunks - seen) * 1e6
    figures[f"streams{mark}_mb"] = gateway.memory_mb()
    tally = await streams.finish()
    check(gateway.name, f"{STREAMS} streams{mark}", tally)
    if not mark:
        _first_token(figures, STREAMS, tally)


async def round_of(name: str, site: gateways.Site, dose: Dose) -> Figures:
    """All figures of one gateway, in a process of its own."""
    figures: Figures = {}
    gateway = await gateways.start(name, site)
    try:
        figures["start_s"] = gateway.started_s
        await asyncio.sleep(0.3)  # what it still does after its first answer belongs to starting
        figures["idle_mb"] = gateway.memory_mb()
        await _asked(gateway, "small requests", [bodies.small()], dose.small // 4)
        await _singles(gateway, dose.single, figures)  # after the load: connections to all providers are warm
        await _hundred(gateway, figures)
        await _many(gateway, dose.chunks, figures, "")
        await _asked(gateway, "237 KB requests", AGENTS, dose.agent // 2)
        figures["after_mb"] = gateway.memory_mb()
    finally:
        gateway.stop()
    return figures


async def started(name: str, site: gateways.Site) -> Figures:
    """Start it and stop it."""
    gateway = await gateways.start(name, site)
    gateway.stop()
    return {"start_s": gateway.started_s}


async def round_over_tls(name: str, site: gateways.Site, dose: Dose) -> Figures:
    """Memory and CPU with all streams, the upstream over TLS."""
    figures: Figures = {}
    gateway = await gateways.start(name, site, tls=True)
    try:
        await _many(gateway, dose.chunks, figures, "_tls")
    finally:
        gateway.stop()
    return figures
