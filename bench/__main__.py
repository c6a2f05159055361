"""`make bench`: all gateways in one run, their rounds interleaved, the median of each figure, and the bars.

CPU of a request is taken apart from the rounds, with all gateways alive at once and asked in turns (`paired.py`).

Exit code: 0 when every gateway answered rightly, whatever the figures; 1 when the router did not.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from bench import command_line, dialects, gateways, measure, paired, report


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _medians(rounds: list[measure.Figures]) -> measure.Figures:
    return {k: statistics.median(r[k] for r in rounds if k in r) for r in rounds for k in r}


def _of(module: str, where: gateways.Cores) -> measure.Figures:
    """The figures of a module in a process of its own, on the gateway's core; empty where it cannot run here."""
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=gateways.ROOT, capture_output=True, text=True, timeout=180, check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, where.gateway),
    )  # fmt: skip
    if done.returncode:
        _say(f"no figures of {module}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        return {}
    return {name: float(value) for name, value in json.loads(done.stdout).items()}


async def _dialects(site: gateways.Site, dose: measure.Dose) -> measure.Figures:
    """The other dialects beside Chat: medians over as many rounds as the dose has."""
    try:
        return _medians(
            [await dialects.measure(site, dose.small // 4, dose.chunks * 3 // 5) for _ in range(dose.rounds)]
        )
    except (RuntimeError, OSError, TimeoutError) as error:
        _say(f"no figures for dialects: {error}")
        return {}


def _command_line(runs: int) -> measure.Figures:
    """What a person waits for; empty where the daemon does not start."""
    try:
        return command_line.measure(runs)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        _say(f"no figures for hr: {error}")
        return {}


class Bench:
    """One run: collects rounds per gateway; a gateway that fails leaves the run."""

    def __init__(self, site: gateways.Site, names: list[str]) -> None:
        self.site, self.names = site, names
        self.rounds: dict[str, list[measure.Figures]] = {name: [] for name in names}
        self.failed: dict[str, str] = {}

    async def once(self, name: str, dose: measure.Dose, *, tls: bool) -> None:
        if name in self.failed:
            return
        take = measure.round_over_tls if tls else measure.round_of
        try:
            self.rounds[name].append(await take(name, self.site, dose))
        except (RuntimeError, OSError, TimeoutError) as error:
            self.failed[name] = str(error)
            _say(f"{name} failed: {error}")

    async def starts(self, times: int) -> None:
        """Some more starts, in turns: a round has but one."""
        for name in self.names * times:
            if name not in self.failed:
                try:
                    self.rounds[name].append(await measure.started(name, self.site))
                except (RuntimeError, OSError, TimeoutError) as error:
                    self.failed[name] = str(error)
                    _say(f"{name} failed: {error}")

    async def pairs(self, dose: measure.Dose) -> dict[str, measure.Figures]:
        """CPU of a request, in turns; empty where one of them fails."""
        try:
            return await paired.measure_pairs([n for n in self.names if n not in self.failed], self.site, dose)
        except (RuntimeError, OSError, TimeoutError) as error:
            if isinstance(error, measure.Wrong):
                self.failed[error.name] = str(error)
            _say(f"no figures of requests: {error}")
            return {}

    async def run(self, dose: measure.Dose, *, tls: bool) -> None:
        began = time.monotonic()
        for number in range(dose.rounds):
            for name in self.names:
                await self.once(name, dose, tls=False)
            spent = time.monotonic() - began
            _say(f"round {number + 1} of {dose.rounds}: {spent:.0f} s")
            if number + 1 < dose.rounds and spent * (number + 2) / (number + 1) > dose.budget_s:
                _say("this machine is busy or slow: no further round")
                break
        if tls:
            for name in self.names:
                await self.once(name, dose, tls=True)
            _say(f"TLS upstream: {time.monotonic() - began:.0f} s")


async def _run(options: argparse.Namespace, scratch: Path) -> int:
    where = gateways.cores()
    os.sched_setaffinity(0, where.rest)
    if not where.apart:
        _say("one core only: gateway, mock provider and load share it, so first-token times mean little")
    try:
        certificate, key = gateways.make_certificate(scratch)
    except (OSError, subprocess.CalledProcessError) as error:
        _say(f"no openssl, no TLS figures: {error}")
        certificate, key = scratch / "none.pem", None
    site = gateways.Site(scratch, where, gateways.free_port(), gateways.free_port(), certificate)
    names = [n for n in gateways.available() if not options.only or n in options.only.split(",")]
    dose = measure.QUICK if options.quick else measure.FULL
    bench = Bench(site, names)
    mocks = await gateways.start_mock(site, key)
    try:
        await bench.run(dose, tls=key is not None)
        await bench.starts(dose.starts)
        pairs = await bench.pairs(dose)
        beside = await _dialects(site, dose) if "hermes" in names and "hermes" not in bench.failed else {}
    finally:
        for mock in mocks:
            mock.terminate()
            mock.wait()
    figures = {name: _medians(rounds) for name, rounds in bench.rounds.items() if rounds}
    for name, found in pairs.items():
        figures.setdefault(name, {}).update(found)
    if beside:
        figures.setdefault("hermes", {}).update(beside)
    for module in ("bench.plan_cost", *(() if options.quick else ("bench.estimate",))):
        if found := _of(module, where):
            figures.setdefault("hermes", {}).update(found)
    if "hermes" in names:
        figures.setdefault("hermes", {}).update(_command_line(5 if options.quick else command_line.RUNS))
    taken = max((sum("idle_mb" in one for one in rounds) for rounds in bench.rounds.values()), default=0)
    print(
        f"\nPython {platform.python_version()}, {os.cpu_count()} cores, median of {taken}; ratio: to the minimal proxy\n"
    )
    print(*report.table(figures), sep="\n")
    if "hermes" not in names:
        print("\nhermes-router's daemon is not there yet: only its yardsticks were measured")
    if options.json:
        _write(Path(options.json), figures, bench.failed, taken)
    return 1 if "hermes" in bench.failed else 0


def _write(path: Path, figures: dict[str, measure.Figures], failed: dict[str, str], rounds: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bars = {row.key: report.judge(row, figures).holds for row in report.ROWS}
    found = {
        "python": platform.python_version(), "cores": os.cpu_count(), "rounds": rounds,
        "figures": figures, "holds": {k: v for k, v in bars.items() if v is not None}, "failed": failed,
    }  # fmt: skip
    path.write_text(json.dumps(found, indent=2) + "\n")


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, less work: under a minute")
    parser.add_argument("--only", default="", help="comma list of gateways: nginx,minimal,hermes")
    parser.add_argument("--json", help="write the figures to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hermes-bench-") as scratch:
        return uvloop.run(_run(options, Path(scratch)))


if __name__ == "__main__":
    sys.exit(main())
