"""What the outcome of a case is worth: measured against the uncut answer, and against what the upstreams really did.

Owns the list of what may be wrong, and the sums that are printed.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from .answers import Call, answer_to
from .case import KINDS as CASES
from .case import Outcome
from .model import CHARS_PER_TOKEN

HEAD_S, QUIET_S = 15.0, 10.0
_SWEEP_S = 0.5
COPY_CHARS = 80  # beyond the caller's cap, for each anchor: what the copy of it may need is a guess
SPACES = 300  # short of it: white space that was shown, and a beginning, are said twice
_CUT_CALL = "arguments that are no JSON"


class Fault(NamedTuple):
    """Something that must not be."""

    kind: str
    text: str


UNFINISHED, SEAM, CALLS, FALSE = "not finished", "seam error", "tool calls", "false success"
THOUGHT, READING, REQUEST, SILENCE, STUCK, LEDGER = (
    "repeated thought", "unreadable", "wrong request", "silence", "stuck", "unsettled",
)  # fmt: skip
KINDS = (UNFINISHED, SEAM, CALLS, FALSE, THOUGHT, READING, REQUEST, SILENCE, STUCK, LEDGER)


def judge(out: Outcome) -> list[Fault]:
    """All that is wrong with an outcome."""
    if out.stuck:
        return [Fault(STUCK, "it waits for ever")]
    told = out.told
    found = [Fault(REQUEST, text) for text in out.wrong]
    if out.kind == "bound":
        found += [Fault(REQUEST, "another went on with it") for one in out.attempts if one.how != "anew"]
    # Whoever wants calls as they come is told that one broke off, and no more.
    read = [text for text in told.complaints if out.kind != "live" or told.finish or not text.startswith(_CUT_CALL)]
    found += [Fault(READING, text) for text in (*read, *out.caller_faults)]
    if out.unsettled:
        found.append(Fault(LEDGER, f"{out.unsettled} reservations are not settled"))
    found += _finished(out) if told.finish else _failed(out)
    reasoning = answer_to(out.ask).reasoning
    if not reasoning.startswith(told.reasoning):
        found.append(Fault(THOUGHT, difference(told.reasoning, reasoning)))
    return found + _silences(out)


def must_finish(out: Outcome) -> bool:
    """Whether the caller had to get a whole answer: some target could serve, and its part could be joined."""
    if out.kind == "capped":  # whoever begins anew spends the cap, and one of the continuations, on what was said
        return not any(one.disobeyed for one in out.attempts)
    return out.kind == "plain"


def _finished(out: Outcome) -> list[Fault]:
    """What is wrong with an answer that ended well."""
    told, answer = out.told, answer_to(out.ask)
    if told.finish == "length" and out.cap_tokens is not None:
        return _cut(out)
    found: list[Fault] = []
    if not any(one.whole for one in out.attempts):
        found.append(Fault(FALSE, f"it ended with {told.finish}, and no upstream said that all was said"))
    if told.text != answer.text:
        found.append(Fault(SEAM, difference(told.text, answer.text)))
    if _plain(told.calls) != _wanted(answer.calls):
        found.append(Fault(CALLS, f"{len(told.calls)} calls, and {len(answer.calls)} were said"))
    if told.finish != ("calls" if answer.calls else "stop"):
        found.append(Fault(FALSE, f"it ended with {told.finish}"))
    return found


def _cut(out: Outcome) -> list[Fault]:
    """What is wrong with an answer that ended at the caller's cap; past it, what the upstream says is of no concern."""
    told, answer, found = out.told, answer_to(out.ask), []
    if not answer.text.startswith(told.text):
        found.append(Fault(SEAM, difference(told.text, answer.text)))
    size = (out.cap_tokens or 0) * CHARS_PER_TOKEN
    beyond = sum({"anchor": COPY_CHARS, "prefill": CHARS_PER_TOKEN}.get(one.how, 0) for one in out.attempts)
    wasted = 10**6 if any(one.disobeyed for one in out.attempts) else SPACES
    if not size - wasted <= len(told.text) <= size + beyond:
        found.append(Fault(FALSE, f"cut at {len(told.text)} characters, and the cap was {size}"))
    if told.calls:
        found.append(Fault(CALLS, "a call behind a text that was cut"))
    return found


def _failed(out: Outcome) -> list[Fault]:
    """What is wrong with an answer that did not end well."""
    told, answer, found = out.told, answer_to(out.ask), []
    if must_finish(out):
        found.append(Fault(UNFINISHED, told.error or "neither finish nor error"))
    if not answer.text.startswith(told.text):
        found.append(Fault(SEAM, difference(told.text, answer.text)))
    if told.calls and out.kind != "live":
        found.append(Fault(CALLS, "calls were shown, and then it failed"))
    return found


def _plain(calls: Iterable[tuple[str, str, str]]) -> list[tuple[str, str]]:
    found = []
    for _, name, arguments in calls:
        try:
            found.append((name, json.dumps(json.loads(arguments), sort_keys=True)))
        except ValueError:
            found.append((name, arguments))
    return found


def _wanted(calls: Iterable[Call]) -> list[tuple[str, str]]:
    return _plain(("", call.name, call.arguments) for call in calls)


def difference(got: str, wanted: str) -> str:
    """Where two texts part, in one line."""
    at = next((i for i, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), min(len(got), len(wanted)))
    return f"at {at} of {len(wanted)}: {got[max(0, at - 30) : at]!r} goes on {got[at : at + 40]!r}, not {wanted[at : at + 40]!r}"


def _silences(out: Outcome) -> list[Fault]:
    if not out.heard:
        return []
    times = [out.arrived_mono, *(at for at, _ in out.heard)]
    if times[1] - times[0] > HEAD_S + _SWEEP_S:
        return [Fault(SILENCE, f"{times[1] - times[0]:.2f} s without a head")]
    worst = max((after - before for before, after in itertools.pairwise(times[1:])), default=0.0)
    return [Fault(SILENCE, f"{worst:.2f} s without a byte")] if worst > QUIET_S + _SWEEP_S else []


class Sums:
    """What all cases came to."""

    def __init__(self) -> None:
        self.faults = self.joined = self.disobeyed = self.refused = 0
        self.kinds: Counter[str] = Counter()
        self.survived: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.attempts: Counter[int] = Counter()
        self.cases = Counter(dict.fromkeys(CASES, 0))
        self.finished: Counter[str] = Counter()
        self.failures: list[tuple[Outcome, list[Fault]]] = []

    def add(self, out: Outcome) -> None:
        """Count a case."""
        wrong = judge(out)
        hit = [one.fault for one in out.attempts if one.fault and one.fault != "400"]
        self.faults += len(hit)
        self.cases[out.kind] += 1
        self.finished[out.kind] += bool(out.told.finish)
        self.attempts[len(out.attempts)] += 1
        self.joined += any(one.how != "anew" and one.whole for one in out.attempts)
        self.disobeyed += sum(one.disobeyed for one in out.attempts)
        self.refused += sum(one.fault == "400" for one in out.attempts)
        self.kinds.update(hit)
        if out.told.finish:
            self.survived.update(hit)
        self.wrong.update({fault.kind for fault in wrong})
        if wrong:
            self.failures.append((out, wrong))

    @property
    def share(self) -> float:
        """How many of the answers that had to be finished were, in percent."""
        able = self.cases["plain"] + self.cases["capped"]
        return 100.0 * (1 - self.wrong[UNFINISHED] / able) if able else 100.0
