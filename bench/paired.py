"""CPU of a request, gateway against gateway: both alive at once, asked in turns, compared burst by burst.

Owns the ratio that the bars are about. What a neighbour on the machine does to caches and clock lasts longer than a
burst, so it hits both of a pair and leaves their ratio; figures that were taken a minute apart would differ by it.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench import bodies, gateways, load, measure

__all__ = ["measure_pairs"]


@dataclass(frozen=True)
class _Burst:
    """One kind of request: under which key its figure goes, what is sent, and how many make a burst."""

    key: str
    asked: Sequence[bytes]
    count: int


async def measure_pairs(names: Sequence[str], site: gateways.Site, dose: measure.Dose) -> dict[str, measure.Figures]:
    """For each gateway the median µs of its bursts; for the router also `<key>_ratio`, the median over all pairs.

    Raises RuntimeError where a gateway does not start or answers wrongly.
    """
    bursts = (
        _Burst("small_us", [bodies.small()], max(dose.small // dose.bursts, 1)),
        _Burst("agent_us", measure.AGENTS, max(dose.agent // dose.bursts, len(measure.AGENTS))),
    )
    running = []
    try:
        for name in names:
            running.append(await gateways.start(name, site))  # noqa: PERF401 - what has started is stopped all the same
        found: dict[str, measure.Figures] = {name: {} for name in names}
        for burst in bursts:
            taken = await _in_turns(running, burst, dose.bursts)
            for name, spent in taken.items():
                found[name][burst.key] = statistics.median(spent)
            if "minimal" in taken and "hermes" in taken:
                pairs = zip(taken["hermes"], taken["minimal"], strict=True)
                found["hermes"][f"{burst.key}_ratio"] = statistics.median(mine / floor for mine, floor in pairs)
        return found
    finally:
        for gateway in running:
            gateway.stop()


async def _in_turns(running: Sequence[gateways.Gateway], burst: _Burst, times: int) -> dict[str, list[float]]:
    """The µs of each burst of each gateway; who begins moves on by one each time."""
    spent: dict[str, list[float]] = {gateway.name: [] for gateway in running}
    for gateway in running:
        measure.check(gateway.name, burst.key, await load.unary(gateway.port, burst.asked, burst.count))  # warm
    for number in range(times):
        first = number % len(running)
        for gateway in (*running[first:], *running[:first]):
            before = gateway.cpu_s()
            measure.check(gateway.name, burst.key, await load.unary(gateway.port, burst.asked, burst.count))
            spent[gateway.name].append((gateway.cpu_s() - before) / burst.count * 1e6)
    return spent
