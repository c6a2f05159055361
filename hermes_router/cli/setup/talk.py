"""How the first-run wizard talks: headings, lines with a sign, questions; and what it remembers of its run.

Owns the look. It must never decide anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import click

from hermes_router.cli import render, words
from hermes_router.cli.original.takeover import Outcome
from hermes_router.cli.trouble import Trouble
from hermes_router.control import types as t

__all__ = ["SetupReport", "Talk"]

_STEPS: Final = 6


class SetupReport(t.Type, frozen=True):
    """What `hr setup --yes --json` prints. `router_key` is a key that was made in this run, and shown nowhere else.

    `answered` = the run ended with an answer; then `target`, `answer` and `duration_s` say whose and which.
    """

    answered: bool
    url: str = ""
    router_key: str = ""
    run: str = ""
    outcomes: list[Outcome] = []  # noqa: RUF012 - msgspec copies it
    target: str = ""
    answer: str = ""
    duration_s: float = 0.0
    troubles: list[str] = []  # noqa: RUF012 - msgspec copies it


@dataclass(slots=True)
class Talk:
    """One run. `yes` = every question has its usual answer, and nobody is asked."""

    yes: bool
    troubles: list[Trouble] = field(default_factory=list)
    _step: int = 0

    def head(self, title: str) -> None:
        """A step begins."""
        self._step += 1
        click.echo(f"\n{render.paint(f'{self._step} of {_STEPS}', 'dim')}  {render.paint(title, 'bold')}")

    def say(self, text: str, style: str = "") -> None:
        """A sentence; `good`, `warn` and `bad` stand behind a sign of that colour."""
        signs = render.glyphs()
        sign = {"good": signs.good, "warn": signs.warn, "bad": signs.bad}.get(style, "")
        first = f"  {sign} " if sign else "  "
        lines = render.paragraph(words.clean(text), render.width(), indent=len(first), first=first)
        if sign:
            lines[0] = lines[0].replace(sign, render.paint(sign, style), 1)
        elif style:
            lines = [render.paint(line, style) for line in lines]
        render.say(lines)

    def lines(self, lines: Iterable[str]) -> None:
        """Lines as they are, under what was said."""
        render.say(f"    {line}" for line in lines)

    def trouble(self, trouble: Trouble) -> None:
        """Something went wrong; the run goes on, and remembers it."""
        self.troubles.append(trouble)
        self.say(trouble.message, "bad")
        if trouble.next_step:
            self.say(f"  {render.glyphs().arrow} {trouble.next_step}")

    def sure(self, question: str, *, usual: bool = True) -> bool:
        """A question with two answers. Raises Abort."""
        if self.yes:
            return usual
        return click.confirm(f"  {words.clean(question)}", default=usual, err=True)

    def ask(self, question: str) -> str:
        """A question with an answer of a word, or none. Raises Abort."""
        text: str = click.prompt(f"  {words.clean(question)}", default="", show_default=False, err=True)
        return text.strip()
