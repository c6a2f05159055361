"""The one screen of `hr status`.

Owns what stands on it and in which order: the verdict, providers, keys, what is known, errors, today, where. Pure but
for the output's width and signs; the time is an argument.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from hermes_router.cli import render, words
from hermes_router.cli.accounts import account_lines, without_accounts
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.states import REASONS, STATES, state_cell, why
from hermes_router.cli.verdict import Verdict, allowance, judge, may_serve
from hermes_router.control import types as t

__all__ = ["REASONS", "STATES", "account", "budget_said", "resting_place", "screen", "state_cell", "why"]

_MARGIN: Final = 11
_MANY_KEYS: Final = 8
_ERRORS: Final = 3
_SHOWN: Final = ("tools", "images", "reasoning", "json_schema")


def resting_place(store: str) -> str:
    """Where keys are kept, in words."""
    return {"file": "a private file", "keyring": "the keyring"}.get(store, store)


def screen(status: t.Status, now: float, width: int | None, *, pace: Sequence[float] = ()) -> list[str]:
    """The lines. `pace` is the number of requests in each of the last intervals, while somebody watches."""
    lines = _verdict(judge(status, now), width)
    for title, body in (
        ("Providers", _providers(status, now, width)),
        ("Keys", _keys(status, now, width)),
        ("Accounts", account_lines(status.accounts, now, _room(width), whole=False)),
        ("Known", _known(status.targets, width)),
        ("Errors", _errors(status.last_errors, now, width)),
        ("Today", _today(status, now, width, pace)),
        ("Daemon", _daemon(status, width)),
        ("Problems", [one for said in status.problems for one in _prose(words.clean(render.tilde(said)), width)]),
    ):
        if body:
            head = render.paint(title.ljust(_MARGIN), "bold")
            lines += ["", head + body[0], *(" " * _MARGIN + line if line else line for line in body[1:])]
    return lines


def _room(width: int | None) -> int | None:
    return None if width is None else max(20, width - _MARGIN)


def _prose(text: str, width: int | None) -> list[str]:
    return render.paragraph(text, _room(width))


def _verdict(verdict: Verdict, width: int | None) -> list[str]:
    signs = render.glyphs()
    sign, style = {"yes": (signs.good, "good"), "mostly": (signs.warn, "warn"), "no": (signs.bad, "bad")}[verdict.word]
    head = f"{sign} {verdict.word.capitalize()}"
    lines = []
    for at, said in enumerate(verdict.because):
        first = f"{head}: " if at == 0 else ""
        folded = render.paragraph(f"{words.clean(said)}.", width, indent=len(head) + 2)
        lines += [first + folded[0].lstrip() if first else folded[0], *folded[1:]]
    lines[0] = render.paint(head, style) + lines[0][len(head) :]
    if verdict.next_step:
        lines += render.paragraph(f"{signs.arrow} {verdict.next_step}", width, indent=len(head) + 2)
    return lines


# --- providers and keys ---------------------------------------------------------------------------------


def _providers(status: t.Status, now: float, width: int | None) -> list[str]:
    by_name: dict[str, list[t.TargetRow]] = {}
    for target in status.targets:
        by_name.setdefault(target.provider, []).append(target)
    titles = {row.name: row for row in status.providers}
    rows: list[tuple[Cell | str, ...]] = []
    for name, targets in by_name.items():
        ready = sum(may_serve(one, now) for one in targets)
        style = "good" if ready == len(targets) else "warn" if ready else "bad"
        keys = len({one.credential for one in targets if one.credential})
        rows.append(
            (
                name,
                Cell(render.bar(ready / len(targets), 8), style),
                Cell(f"{ready}/{len(targets)}", style),
                words.some(keys, "key") if keys else "no key needed",
                _trouble(targets, now),
                _left(targets, now),
            )
        )
    rows += [
        (row.name, "", "", words.some(row.keys, "key"), Cell(row.reason or row.state, "dim"), "")
        for row in titles.values()
        if row.name not in by_name and row.keys and row.state != "on"
    ]
    columns = (
        Column("", least=8),
        Column("", drop=2),
        Column("", right=True),
        Column("", drop=1),
        Column("", least=18, wrap=True),
        Column("", drop=3),
    )
    lines = render.table(columns, rows, _room(width), titles=False)
    without = [row.name for row in status.providers if row.state == "no key"]
    if without:
        lines += [render.paint(line, "dim") for line in _prose(f"no key: {words.listing(without, 8)}", width)]
    return lines


def _trouble(targets: Iterable[t.TargetRow], now: float) -> Cell:
    """The states of the targets that are not ready, each with its number and its first return."""
    groups: dict[tuple[str, str], list[t.TargetRow]] = {}
    total = 0
    for one in targets:
        total += 1
        if not may_serve(one, now):
            groups.setdefault((one.state, why(one.state, one.reason)), []).append(one)
    if not groups:
        return Cell("ready", "good")
    said, worst = [], "dim"
    for (state, text), members in groups.items():
        until = min((one.until for one in members if one.until is not None), default=None)
        back = f", {'next try' if state in {'paused', 'revoked'} else 'back'} {words.when(until, now)}" if until else ""
        said.append((f"{len(members)} " if total > 1 else "") + text + back)
        worst = max(worst, STATES.get(state, ""), key=("", "dim", "good", "warn", "bad").index)
    return Cell("; ".join(said), worst)


def _left(targets: list[t.TargetRow], now: float) -> Cell:
    found = allowance(targets)
    if found is None:
        return Cell("")
    if found.unit == "percent":  # of the windows of several plans
        style = "bad" if found.share < 0.1 else "warn" if found.share < 0.3 else ""
        reset = f" till {words.clock(found.reset_at, now)}" if found.reset_at else ""
        return Cell(f"{render.bar(found.share, 6)} {100 * found.share:.0f} %{reset}", style)
    amount = words.money if found.unit == "microusd" else words.count
    unit = {"requests": " req", "microusd": ""}.get(found.unit, " tok")
    reset = f" till {words.clock(found.reset_at, now)}" if found.reset_at else ""
    about = "" if found.certain else "~"
    style = "bad" if found.share < 0.1 else "warn" if found.share < 0.3 else ""
    return Cell(f"{render.bar(found.share, 6)} {about}{amount(found.left)}/{amount(found.limit)}{unit}{reset}", style)


def _keys(status: t.Status, now: float, width: int | None) -> list[str]:
    rows = without_accounts(status.credentials, status.accounts)
    quiet = [row for row in rows if row.state == "ready"]
    shown = rows if len(rows) <= _MANY_KEYS else [row for row in rows if row.state != "ready"][:_MANY_KEYS]
    lines = render.table(
        (
            Column("", least=8),
            Column(""),
            Column("", least=6, drop=2),
            Column("", least=8, drop=1),
            Column("", least=14, wrap=True),
        ),
        [
            (
                row.provider,
                f"…{row.tail}",
                account(row),
                render.tilde(row.source),
                state_cell(row.state, row.reason, row.until, now),
            )
            for row in shown
        ],
        _room(width),
        titles=False,
    )
    if len(rows) > len(shown):
        by_source = Counter(row.source.rpartition(":")[0] or row.source for row in quiet)
        where = words.listing([f"{number} {render.tilde(source)}" for source, number in by_source.most_common()], 4)
        lines += _prose(words.clean(f"{words.some(len(quiet), 'key')} ready: {where}"), width)
    return lines


def account(row: t.CredentialRow) -> str:
    """The owner's label; empty where a key is an account of its own."""
    return "" if row.account in {"", row.id} else row.account.removeprefix(f"{row.provider}:")


# --- what is known ------------------------------------------------------------------------------------


def _known(targets: Sequence[t.TargetRow], width: int | None) -> list[str]:
    models = {(one.provider, one.model): one for one in targets}.values()
    if not models:
        return []
    said = []
    for what in _SHOWN:
        found = Counter(one.capabilities.get(what, "unknown") for one in models)
        parts = [
            f"{found[word]} {text}" for word, text in (("yes", "yes"), ("no", "no"), ("unknown", "?")) if found[word]
        ]
        said.append(f"{what.replace('_', ' ')} {', '.join(parts)}")
    sized = sum(one.context is not None for one in models)
    said.append(f"windows {sized} of {len(models)}")
    limits = Counter(_origin(one) for one in targets)
    parts = [f"{limits[word]} {word}" for word in ("told", "owner", "learned", "published", "unknown") if limits[word]]
    said.append(f"limits {', '.join(parts)}")
    sign = f" {render.glyphs().dot} "
    return _prose(f"of {words.some(len(models), 'model')}: {sign.join(said)}", width)


def _origin(target: t.TargetRow) -> str:
    """The best origin of any of its windows."""
    found = {str(window.get("origin")) for window in target.quota}
    return next((word for word in ("told", "owner", "learned", "published") if word in found), "unknown")


def _errors(errors: Sequence[t.ErrorRow], now: float, width: int | None) -> list[str]:
    columns = (
        Column(""),
        Column("", least=14),
        Column(""),
        Column("", least=10, drop=1),
    )
    rows = [
        (f"{words.span(now - one.at)} ago", one.target, Cell(REASONS.get(one.outcome, one.outcome), "warn"), one.said)
        for one in errors[:_ERRORS]
    ]
    return render.table(columns, rows, _room(width), titles=False)


# --- today and where ----------------------------------------------------------------------------------


def _today(status: t.Status, now: float, width: int | None, pace: Sequence[float]) -> list[str]:
    spent, sign = status.today, f" {render.glyphs().dot} "
    first = [words.some(spent.requests, "request")]
    if spent.failed:
        first.append(f"{spent.failed} failed")
    if spent.failovers:
        first.append(words.some(spent.failovers, "failover"))
    if status.in_flight:
        first.append(f"{status.in_flight} under way")
    lines = _prose(sign.join(first), width)
    if pace:
        lines[0] += f"  {render.sparkline(pace)}"
    tokens = tokens_said(spent)
    if tokens:
        lines += _prose(f"{tokens}{sign}{cost_said(spent)}", width)
    budget = budget_said(status.budget, now)
    if budget:
        lines += [render.paint(line, "" if budget_left(status.budget) else "bad") for line in _prose(budget, width)]
    return lines


def budget_left(budget: t.Budget | None) -> int:
    """What the day's budget still allows, in micro-US-dollars."""
    if budget is None or budget.limit_microusd is None:
        return 0
    return max(0, budget.limit_microusd - budget.spent_microusd)


def budget_said(budget: t.Budget | None, now: float) -> str:
    """The day's budget and what is left of it; empty where there is none."""
    if budget is None or budget.limit_microusd is None:
        return ""
    of, left = words.money(budget.limit_microusd), budget_left(budget)
    if not left:
        said = f"budget {of} is spent" if budget.limit_microusd else "budget $0: no paid model"
        return said + (f", paid models are back {words.when(budget.reset_at, now)}" if budget.limit_microusd else "")
    return f"budget {of}: {words.money(left)} left till {words.clock(budget.reset_at, now)}"


def tokens_said(spent: t.Spent) -> str:
    """Tokens in and out, what was estimated apart."""
    parts = []
    if spent.input_tokens or spent.output_tokens:
        cached = f" ({words.count(spent.cached_tokens)} cached)" if spent.cached_tokens else ""
        parts.append(f"{words.count(spent.input_tokens)} tokens in{cached}, {words.count(spent.output_tokens)} out")
    if spent.estimated_input_tokens or spent.estimated_output_tokens:
        ours = f"{words.count(spent.estimated_input_tokens)} in, {words.count(spent.estimated_output_tokens)} out"
        parts.append(f"estimated {ours}")
    return "; ".join(parts)


def cost_said(spent: t.Spent) -> str:
    """Money, what was estimated apart, and what has no price."""
    said = words.money(spent.cost_microusd)
    if spent.estimated_cost_microusd:
        said += f" and about {words.money(spent.estimated_cost_microusd)} estimated"
    if spent.unpriced:
        said += f" ({words.some(spent.unpriced, 'attempt')} without a known price)"
    return said


def _daemon(status: t.Status, width: int | None) -> list[str]:
    ping, sign = status.ping, f" {render.glyphs().dot} "
    parts = [ping.url or "no public port", f"hr mode {status.mode}", f"up {words.span(status.uptime_s)}"]
    parts += [ping.run, f"pid {ping.pid}", ping.version]
    lines = _prose(sign.join(part for part in parts if part), width)
    rest = [
        f"log {render.tilde(ping.log)}" if ping.log else "",
        f"keys rest in {resting_place(status.store)}" if status.store else "",
    ]
    if ping.successor:
        rest.append(f"handing over to {ping.successor}")
    failing = [str(task.get("name")) for task in status.tasks if task.get("error") or task.get("failures")]
    if failing:
        rest.append(f"failing tasks: {words.listing(failing)}")
    for said in filter(None, rest):
        lines += _prose(words.clean(said), width)
    return lines
