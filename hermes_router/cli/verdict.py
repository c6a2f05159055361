"""Will my agent survive the night? One word, and why.

Owns the judgement of a `Status`. Pure: the time is an argument. It must never print.
"""

from dataclasses import dataclass
from typing import Final, Literal

from hermes_router.cli import words
from hermes_router.control import types as t

NIGHT_S: Final = 10 * 3600.0
_MEASURED_S: Final = 1800.0  # a pace taken over less is none
_MEASURED_REQUESTS: Final = 20

_TOLD: Final = "`hr notify` shows how you would be told if that changed: nobody is now"

Word = Literal["yes", "mostly", "no"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word, its reasons (the strongest first), and what would make it better; empty where nothing would."""

    word: Word
    because: tuple[str, ...]
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a long window, summed over the scopes that have one. `certain` = no mere publication."""

    unit: str
    left: int
    limit: int
    reset_at: float | None
    certain: bool

    @property
    def share(self) -> float:
        """What is left, of 1."""
        return self.left / self.limit if self.limit else 0.0


def may_serve(target: t.TargetRow, now: float) -> bool:
    """Whether a request could go there: ready, or its try is due."""
    return target.state == "ready" or (target.state != "disabled" and target.until is not None and target.until <= now)


def allowance(targets: list[t.TargetRow]) -> Allowance | None:
    """The scarcest unit of these targets' daily (or longer) windows; None where a target has none that is known."""
    sums: dict[str, Allowance] = {}
    for window in {str(w.get("scope")) + str(w.get("unit")): w for one in targets for w in one.quota}.values():
        limit, left = window.get("limit"), window.get("remaining")
        if window.get("window") not in {"day", "month", "plan"} or not limit or window.get("unit") == "concurrency":
            continue
        unit, reset_at = str(window.get("unit")), window.get("reset_at")
        found = sums.get(unit, Allowance(unit, 0, 0, None, certain=True))
        sums[unit] = Allowance(
            unit,
            found.left + int(limit if left is None else max(0, left)),
            found.limit + int(limit),
            min((r for r in (found.reset_at, reset_at) if r is not None), default=None),
            certain=found.certain and window.get("origin") != "published",
        )
    return min(sums.values(), key=lambda one: one.share, default=None)


def judge(status: t.Status, now: float) -> Verdict:
    """The verdict over a status."""
    serving = [one for one in status.targets if may_serve(one, now)]
    if not serving:
        return _none_ready(status, now)
    ready = sorted({one.provider for one in serving})
    keys = {(one.provider, one.credential) for one in serving}
    doubts, steps = _doubts(status, serving, ready, now)
    notes = _notes(status)
    if not doubts:
        said = (
            f"{words.some(len(ready), 'provider')} can answer, on {words.some(len(keys), 'key')} "
            f"and {words.some(len(serving), 'target')}: any one of them may fail"
        )
        return Verdict("yes", (said, *notes), "" if status.told else _TOLD)
    return Verdict("mostly", (*doubts, *notes), next(iter(steps), ""))


def _none_ready(status: t.Status, now: float) -> Verdict:
    if not status.targets:
        return Verdict(
            "no", ("no provider has a key",), "`hr auth add PROVIDER` adds one; `hr provider list` shows all"
        )
    back = min((one for one in status.targets if one.until is not None), key=_until, default=None)
    if back is None:
        return Verdict("no", ("nothing can answer, and nothing comes back by itself",), "`hr auth test` asks again")
    said = f"nothing can answer now; the first to return is {back.provider}, {words.when(back.until, now)}"
    return Verdict("no", (said,), "`hr auth add PROVIDER` adds a key at once")


def _until(target: t.TargetRow) -> float:
    return target.until or 0.0


def _doubts(status: t.Status, serving: list[t.TargetRow], ready: list[str], now: float) -> tuple[list[str], list[str]]:
    doubts: list[str] = []
    steps: list[str] = []
    if len(ready) == 1:
        others = sorted({one.provider for one in status.targets} - set(ready))
        keys = len({one.credential for one in serving})
        said = f"only {ready[0]} can answer ({words.some(keys, 'key')}): if it fails, nothing is left"
        back = min((one for one in status.targets if one.provider in others and one.until), key=_until, default=None)
        if back is not None:
            said += f"; {back.provider} returns {words.when(back.until, now)}"
        doubts.append(said)
        steps.append("`hr auth add PROVIDER` with a key of another provider")
    able = sorted({one.provider for one in serving if one.capabilities.get("tools") != "no"})
    if not able:
        doubts.append("no target that is ready takes tools, and agents need them")
        steps.append("`hr models` shows which do")
    elif len(able) == 1 < len(ready):
        doubts.append(f"only {able[0]} takes tools, and agents need them")
        steps.append("`hr models` shows which do")
    scarce = _scarce(status, serving, ready, now)
    if scarce:
        doubts.append(scarce)
        steps.append("`hr auth add PROVIDER` adds quota")
    return doubts, steps


def _notes(status: t.Status) -> list[str]:
    """What is amiss, though it endangers nothing by itself."""
    notes: list[str] = []
    dead = [row for row in status.credentials if row.state in {"revoked", "paused"}]
    if dead:
        names = words.listing(sorted({f"{row.provider} …{row.tail}" for row in dead}), 3)
        notes.append(f"{words.some(len(dead), 'key is', 'keys are')} out of use: {names}")
    unread = [row for row in status.credentials if row.state == "unavailable"]
    if unread:
        why = unread[0].reason or "the vault is locked"
        notes.append(f"{words.some(len(unread), 'key')} cannot be read: {why}")
    return notes


def _scarce(status: t.Status, serving: list[t.TargetRow], ready: list[str], now: float) -> str:
    """Whether the daily quotas end before the night does, at the pace of today; only where all have one."""
    elapsed = now - status.today_since
    if not status.today_since or elapsed < _MEASURED_S or status.today.requests < _MEASURED_REQUESTS:
        return ""
    pace = status.today.requests / elapsed
    left = 0
    for provider in ready:
        found = allowance([one for one in serving if one.provider == provider])
        if found is None or found.unit == "percent":  # nobody says of how much
            return ""
        spent = _spent(status.today, found.unit)
        left += int(found.left * status.today.requests / spent) if spent else found.left
    lasts = left / pace
    if lasts >= NIGHT_S:
        return ""
    return f"at the pace of today ({pace * 3600:.0f} requests an hour) the daily quotas last {words.span(lasts)}"


def _spent(spent: t.Spent, unit: str) -> int:
    match unit:
        case "requests":
            return spent.requests
        case "microusd":
            return spent.cost_microusd + spent.estimated_cost_microusd
        case "input_tokens":
            return spent.input_tokens + spent.estimated_input_tokens
        case "output_tokens":
            return spent.output_tokens + spent.estimated_output_tokens
        case _:
            return _spent(spent, "input_tokens") + _spent(spent, "output_tokens")
