"""What `hr doctor` prints: findings in groups, the worst first, each with its cure; and the line while it looks.

Owns the layout. It must never judge.
"""

import sys
import time
from collections.abc import Collection, Sequence
from typing import Any, Final

import click

from hermes_router.cli import render, words
from hermes_router.cli.doctor.finding import ORDER, Check, Result, State

__all__ = ["Line", "as_json", "is_wrong", "lines"]

_STYLES: Final[dict[State, str]] = {"fault": "bad", "warning": "warn", "advice": "", "skipped": "dim", "ok": "good"}
_WRONG: Final = ("fault", "warning")
_EVERY_S: Final = 0.1


def is_wrong(results: Sequence[Result]) -> bool:
    """Whether the command ends with 1."""
    return any(one.finding.state in _WRONG for one in results)


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The stable form: in the order of the table, whatever was found."""
    return [
        {
            "id": one.check.ident,
            "title": one.check.title,
            "state": one.finding.state,
            "said": words.clean(one.finding.said),
            "cure": words.clean(one.finding.cure),
            "took_ms": one.took_ms,
            "group": one.check.group,
            "subject": words.clean(one.finding.subject),
        }
        for one in results
    ]


def lines(results: Sequence[Result], width: int | None, *, whole: bool, took_s: float) -> list[str]:
    """The screen. Without `whole`, what is well and what was not looked at is one line a group."""
    printed: list[str] = []
    groups = list(dict.fromkeys(one.check.group for one in results))
    groups.sort(key=lambda group: min(ORDER.index(one.finding.state) for one in results if one.check.group == group))
    for group in groups:
        mine = [one for one in results if one.check.group == group]
        mine.sort(key=lambda one: ORDER.index(one.finding.state))
        if printed:
            printed.append("")
        printed.append(render.paint(group, "bold"))
        loud = [one for one in mine if whole or one.finding.state in {"fault", "warning", "advice"}]
        for one in loud:
            printed += _finding(one, width)
        quiet = [one for one in mine if one not in loud]
        printed += _quiet(quiet, width, {one.check for one in loud})
    return [*printed, "", _summary(results, took_s)]


def _finding(one: Result, width: int | None) -> list[str]:
    signs = render.glyphs()
    sign = {"fault": signs.bad, "warning": signs.warn, "advice": signs.arrow, "skipped": signs.dash, "ok": signs.good}
    state = one.finding.state
    said = words.clean(one.finding.said)
    subject = words.clean(one.finding.subject)
    named = f"{one.check.title}: " + (f"{subject}: " if subject and subject not in said else "")
    text = f"{named}{said.removesuffix('.')}"
    folded = render.paragraph(text, width, indent=4)
    head = f"  {sign[state]} "
    printed = [render.paint(head, _STYLES[state]) + folded[0][4:], *folded[1:]]
    if state == "skipped":
        printed = [render.paint(line, "dim") for line in (head + folded[0][4:], *folded[1:])]
    if one.finding.cure:
        printed += render.paragraph(words.clean(one.finding.cure), width, indent=6, first="    " + signs.arrow)
    return printed


def _quiet(quiet: Sequence[Result], width: int | None, told: Collection[Check]) -> list[str]:
    """What is well, and what was not looked at, by title alone; not what was `told` to be otherwise in a part."""
    signs = render.glyphs()
    printed: list[str] = []
    for state, sign, word in (("ok", signs.good, "well"), ("skipped", signs.dash, "not looked at")):
        titles = [one.check.title for one in quiet if one.finding.state == state and one.check not in told]
        titles = list(dict.fromkeys(titles))
        if titles:
            folded = render.paragraph(f"{word}: {', '.join(titles)}", width, indent=4)
            style = _STYLES["ok"] if state == "ok" else "dim"
            printed += [render.paint(f"  {sign} ", style) + render.paint(folded[0][4:], "dim")]
            printed += [render.paint(line, "dim") for line in folded[1:]]
    return printed


def _summary(results: Sequence[Result], took_s: float) -> str:
    counted = {state: sum(one.finding.state == state for one in results) for state in ORDER}
    parts = [
        words.some(counted["fault"], "fault") if counted["fault"] else "",
        words.some(counted["warning"], "warning") if counted["warning"] else "",
        f"{counted['advice']} to consider" if counted["advice"] else "",
        f"{counted['ok']} well",
        f"{counted['skipped']} not looked at" if counted["skipped"] else "",
    ]
    verdict = "Something is wrong" if is_wrong(results) else "All is well"
    return f"{verdict}: {', '.join(filter(None, parts))}, in {words.lapse(took_s)}."


class Line:
    """The line that says what is under way, on a terminal's standard error only; it leaves nothing behind."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._last = 0.0

    def say(self, text: str) -> None:
        """Show this, cut to the terminal's width."""
        now = time.monotonic()
        if self._shows and now - self._last >= _EVERY_S:
            self._last = now
            click.echo("\r\x1b[K" + render.cut(text, (render.width() or 80) - 1), nl=False, err=True)

    def progress(self, done: int, of: int, titles: Sequence[str]) -> None:
        """The checks that are done, and those that are awaited."""
        waits = f": {words.listing(list(titles), 3)}" if 0 < len(titles) <= of // 2 else ""
        self.say(f"Looking, {done} of {of}{waits}")

    def clear(self) -> None:
        """Take it away."""
        if self._shows:
            click.echo("\r\x1b[K", nl=False, err=True)
