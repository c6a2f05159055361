"""What went wrong, as `hr` says it: one sentence what happened, one what to do, and the exit code.

Owns the form and the codes of contract.md. Commands raise it; nobody prints an error in another way.
"""

from collections.abc import Iterable
from typing import IO, Any, Final

import click

from hermes_router.cli.words import clean, sentence

FAILED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
NO_DAEMON: Final = 4
INTERRUPTED: Final = 130

_AS_GOOD: Final = 0.1  # of likeness, from 0 to 1


class Trouble(click.ClickException):
    """Ends the command with `code`. Texts may come from the daemon: what could steer a terminal is taken out.

    `kind` is the daemon's own code for it, where it comes from there.
    """

    def __init__(self, message: str, next_step: str = "", *, code: int = FAILED, kind: str = "") -> None:
        super().__init__(sentence(message))
        self.kind = kind
        self.next_step = sentence(next_step)
        self.exit_code = code  # type: ignore[misc]  # click reads it off the instance

    def format_message(self) -> str:
        """Both sentences, a line each."""
        return f"{self.message}\n    {self.next_step}" if self.next_step else self.message

    def show(self, file: IO[Any] | None = None) -> None:
        """To standard error, or `file`."""
        head = click.style("hr:", fg="red", bold=True)
        # The context that knows of NO_COLOR is gone by now; click has kept its word.
        click.echo(
            f"{head} {self.format_message()}", file=file, err=file is None, color=getattr(self, "show_color", None)
        )


def warn(text: str) -> None:
    """A line on standard error, beside what was asked for."""
    click.echo(f"{click.style('hr:', fg='yellow')} {clean(text)}", err=True)


def unstartable(error: OSError) -> Trouble:
    """Our own program cannot be run: it was moved or replaced under us, or the system has no room for it."""
    said = f"the daemon's program cannot be started: {error.filename or 'python'}: {error.strerror}"
    return Trouble(said, "if hermes-router was just upgraded or moved, install it anew; else try again")


def near(name: str, known: Iterable[str]) -> str:
    """What may have been meant, as a next step; empty where nothing is like it."""
    import difflib  # noqa: PLC0415 - only where something went wrong

    found = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    if len(found) > 1:
        best, other = (difflib.SequenceMatcher(None, one, name).ratio() for one in found)
        found = found if best - other < _AS_GOOD else found[:1]
    return f"did you mean {' or '.join(found)}?" if found else ""
