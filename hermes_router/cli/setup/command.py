"""`hr setup`: from nothing to a real answer, in a few questions or in none.

Owns the command and the order of its steps. Each step looks first at what is there and may be repeated: a run that was
ended anywhere goes on with the next one.
"""

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from hermes_router.cli import render
from hermes_router.cli.link import connect
from hermes_router.cli.setup.talk import SetupReport, Talk
from hermes_router.cli.trouble import FAILED, INTERRUPTED, USAGE, Trouble

if TYPE_CHECKING:
    from hermes_router.cli.setup.end import Ending

_ON = "what was done is kept; `hr setup` goes on from here"


@click.command()
@click.option("--yes", is_flag=True, help="Ask nothing: take what is found, but no login; start the router.")
@click.option(
    "--service/--no-service", default=None, help="Install the service, which --yes alone does not; or do not offer it."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON at the end; with --yes.")
@click.pass_context
def setup(ctx: click.Context, *, yes: bool, service: bool | None, as_json: bool) -> None:
    """Set the router up: find what is there, take and test keys, start, and ask the first question.

    Looks for local servers, keys in the environment and the original hermes-router. Ends with 0 once somebody has
    answered, and the service that was asked for is there.
    """
    if as_json and not yes:
        raise click.UsageError("--json goes with --yes")
    if not yes and not sys.stdin.isatty():
        raise Trouble(
            "there is nobody to ask: standard input is no terminal",
            "`hr setup --yes` takes what it finds; `hr auth add PROVIDER` reads keys from a pipe",
            code=USAGE,
        )
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        try:
            report, code = _run(Talk(yes), service)
        except (KeyboardInterrupt, click.Abort):
            click.echo(f"\n  {_ON[0].upper()}{_ON[1:]}.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
    if as_json:
        render.say_json(report)
    if code:
        ctx.exit(code)


def _run(talk: Talk, service: bool | None) -> tuple[SetupReport, int]:
    from hermes_router.cli.setup.end import Ending  # noqa: PLC0415 - `hr setup --help` needs none of it
    from hermes_router.cli.setup.keys import Gathering  # noqa: PLC0415

    click.echo(render.paint("Setting up hermes-router", "bold"))
    if not talk.yes:
        click.echo("Ctrl-C ends it at any time: what was done is kept.")
    gathering = Gathering(talk, connect(needs_daemon=False))
    ending = Ending(talk, gathering.link, service)
    steps: tuple[Callable[[], None], ...] = (gathering.look_here, gathering.look_around, ending.router_key, ending.run)
    for step in steps:
        _try(talk, step)
    if not ending.link.works_on_files:
        _try(talk, lambda: ending.pool_and_answer(gathering.doubted))
        ending.clients()
    _say_end(talk, answered=ending.answered is not None)
    answered = ending.answered
    ping = ending.link.ping
    report = SetupReport(
        answered=answered is not None,
        url="" if ending.link.works_on_files else ping.url,
        router_key=ending.key,
        run="" if ending.link.works_on_files else ping.run,
        outcomes=gathering.outcomes,
        target=answered.target if answered is not None else "",
        answer=answered.text if answered is not None else "",
        duration_s=round(answered.duration_s, 3) if answered is not None else 0.0,
        troubles=[trouble.message for trouble in talk.troubles],
    )
    return report, _code(talk, ending)


def _code(talk: Talk, ending: "Ending") -> int:
    if ending.refused is not None:
        return ending.refused.exit_code
    if ending.answered is not None:
        return 0
    return talk.troubles[-1].exit_code if talk.troubles else FAILED


def _try(talk: Talk, step: Callable[[], None]) -> None:
    """One step; what goes wrong in it is said, and the next one is tried."""
    try:
        step()
    except Trouble as trouble:
        talk.trouble(trouble)


def _say_end(talk: Talk, *, answered: bool) -> None:
    click.echo()
    if answered and not talk.troubles:
        click.echo(render.paint("It works.", "good") + " `hr status` shows whether it lasts the night.")
    elif answered:
        click.echo("It works; what went wrong is said above, and `hr setup` tries it again.")
    else:
        click.echo(f"Not yet: {_ON}.")
