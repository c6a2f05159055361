"""`python -m tests.chaos --faults 10000 --seed N`: cuts, stalls and poison against the real exchange, and the bars.

Owns the command and its table. A case that fails is named by its number: `--case N` plays it alone and tells all.
"""

import argparse
import asyncio
import faulthandler
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from . import cost
from .case import CAP, RATE, Outcome, play
from .judging import CALLS, FALSE, KINDS, SEAM, UNFINISHED, Sums, judge

SEED = 20_261_121
FINISHED = 99.9
_BLOCK = 20
_SHOWN = 12
_HANG_S = 120.0

Task = tuple[int, int, float, int]


def _block(task: Task) -> list[Outcome]:
    """The cases of one block."""
    seed, number, rate, cap = task

    async def run() -> list[Outcome]:
        return [_light(await play(seed, number * _BLOCK + n, rate=rate, cap=cap)) for n in range(_BLOCK)]

    return asyncio.run(run())


def _watched(task: Task) -> list[Outcome]:
    """The same in a process of its own, which ends and says where it is if it hangs."""
    faulthandler.dump_traceback_later(_HANG_S, exit=True)
    try:
        return _block(task)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _light(out: Outcome) -> Outcome:
    out.logged = []
    return out


def run(seed: int, faults: int, *, rate: float = RATE, cap: int = CAP, jobs: int = 1) -> Sums:
    """Cases until so many faults were met, in order of their numbers: the same with any number of jobs."""
    sums = Sums()

    def tasks() -> Iterator[Task]:
        number = 0
        while True:
            yield seed, number, rate, cap
            number += 1

    todo = tasks()
    if jobs == 1:
        while sums.faults < faults:
            for out in _block(next(todo)):
                sums.add(out)
        return sums
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        running = [pool.submit(_watched, next(todo)) for _ in range(2 * jobs)]
        while sums.faults < faults:
            done = running.pop(0)
            running.append(pool.submit(_watched, next(todo)))
            for out in done.result():
                sums.add(out)
            if sys.stderr.isatty():
                print(f"\r{sums.faults} faults", end="", file=sys.stderr)
        for left in running:
            left.cancel()
    return sums


def table(sums: Sums) -> list[str]:
    """What was met, and what came of it."""
    lines = [f"{'fault':<20}{'met':>7}{'finished':>10}"]
    lines += [f"{name:<20}{met:>7}{sums.survived[name]:>10}" for name, met in sums.kinds.most_common()]
    lines += ["", "attempts a case  " + "  ".join(f"{n}: {sums.attempts[n]}" for n in sorted(sums.attempts))]
    kinds = (f"{kind} {sums.finished[kind]} of {sums.cases[kind]}" for kind in sums.cases)
    lines.append("finished, by kind of case  " + ", ".join(kinds))
    lines.append(
        f"{sums.cases.total()} cases, {sums.faults} faults, {sums.joined} answers joined, "
        f"{sums.disobeyed} times a model did not obey, {sums.refused} times it refused a prefill"
    )
    return lines


def bars(sums: Sums) -> list[tuple[bool, str]]:
    """What must hold."""
    found = [(sums.share >= FINISHED, f"finished while a target can serve: {sums.share:.3f} % (at least {FINISHED})")]
    names = {SEAM: "seam errors", CALLS: "tool calls duplicated or invalid", FALSE: "false successes"}
    rest = [kind for kind in KINDS if kind not in names and kind != UNFINISHED]
    found += [(not sums.wrong[kind], f"{said}: {sums.wrong[kind]}") for kind, said in names.items()]
    found += [(False, f"{kind}: {sums.wrong[kind]}") for kind in rest if sums.wrong[kind]]
    return found


def tell(seed: int, out: Outcome) -> list[str]:
    """A case that failed, and how to see it again."""
    how = "streamed" if out.streamed else "whole"
    lines = [
        f"case {out.number} ({out.kind}, {out.dialect}, {how}, ask {out.ask}): " + "; ".join(map(str, out.attempts))
    ]
    lines += [f"    {fault.kind}: {fault.text}" for fault in judge(out)]
    return [*lines, f"    again: python -m tests.chaos --seed {seed} --case {out.number}"]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--rate", type=float, default=RATE, help="how likely an attempt is to fail")
    parser.add_argument("--cap", type=int, default=CAP, help="how many attempts of one answer may fail")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--case", type=int, help="play this one alone")
    parser.add_argument("--cost", action="store_true", help="measure what health costs beside an earlier commit, too")
    asked = parser.parse_args(argv)
    if asked.case is not None:
        return _one(asked.seed, asked.case, asked.rate, asked.cap)
    sums = run(asked.seed, asked.faults, rate=asked.rate, cap=asked.cap, jobs=asked.jobs)
    print(f"seed {asked.seed}, fault rate {asked.rate} an attempt, at most {asked.cap} faults an answer")
    print("\n".join(table(sums)))
    for out, _ in sums.failures[:_SHOWN]:
        print("\n".join(tell(asked.seed, out)))
    print()
    for holds, said in bars(sums):
        print(f"{'holds ' if holds else 'MISSED'}  {said}")
    if asked.cost:
        print("\n".join(["", *cost.compare(Path(__file__).parents[2])]))
    return 0 if all(holds for holds, _ in bars(sums)) else 1


def _one(seed: int, number: int, rate: float, cap: int) -> int:
    out = asyncio.run(play(seed, number, rate=rate, cap=cap))
    print("\n".join(tell(seed, out)))
    for at, data in out.heard:
        print(f"{at - out.arrived_mono:9.2f} s  {data.decode(errors='replace')!r}")
    print(f"told: {out.told}")
    for event, fields in out.logged:
        print(event, fields)
    return 1 if judge(out) else 0


if __name__ == "__main__":
    sys.exit(main())
