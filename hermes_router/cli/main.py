"""`hr`: the command line. One module a command group; imports what a command needs when it runs.

Owns the group, its help and its global options. It must never import the engine, an upstream or the server: it starts
the daemon, and talks to it.
"""

import importlib
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from keyword import iskeyword
from typing import Any

import click

from hermes_router import __version__

# In the sections of `hr --help`, with the first sentence of each command's own: help imports none of them.
SECTIONS = (
    (
        "The daemon",
        (
            ("setup", "hermes_router.cli.setup.command", "Set it up: find keys, test them, start, ask."),
            ("start", "hermes_router.cli.life", "Start the router in the background."),
            ("stop", "hermes_router.cli.life", "Stop it, once its answers have ended."),
            ("restart", "hermes_router.cli.life", "Restart it without losing a request."),
            ("reload", "hermes_router.cli.reload", "Read all files again, without a restart."),
            ("serve", "hermes_router.cli.serve", "Run the router in the foreground."),
            ("install-service", "hermes_router.cli.service.install", "Have it come up with the machine."),
            ("uninstall-service", "hermes_router.cli.service.uninstall", "Remove the service; keys and settings stay."),
            ("service", "hermes_router.cli.service.show", "Show the service as its manager sees it."),
            ("upgrade", "hermes_router.cli.upgrade", "Upgrade the way it was installed, and restart."),
        ),
    ),
    (
        "What goes on",
        (
            ("status", "hermes_router.cli.status", "Show on one screen whether the router will last."),
            ("logs", "hermes_router.cli.logs", "Show the log, and follow it live."),
            ("quota", "hermes_router.cli.quota", "Show every limit: what is left, and when it returns."),
            ("usage", "hermes_router.cli.usage", "Show what was spent: requests, tokens and money."),
            ("doctor", "hermes_router.cli.doctor.command", "Look at everything that can be wrong, each with its cure."),
            ("ask", "hermes_router.cli.ask", "Ask one question, to see that it works."),
            ("explain", "hermes_router.cli.explain", "Show where a request would go and why."),
            ("request", "hermes_router.cli.explain", "Show what happened to one request."),
        ),
    ),
    (
        "Providers",
        (
            ("auth", "hermes_router.cli.auth", "Keys and accounts: add, login, list, test, remove."),
            ("provider", "hermes_router.cli.provider", "Providers: list, enable, disable."),
            ("model", "hermes_router.cli.model", "Models that take part: list, set, reset."),
            ("models", "hermes_router.cli.model", "List the models of all providers with a key."),
            ("mode", "hermes_router.cli.mode", "Show or set the order of a provider's keys."),
        ),
    ),
    (
        "Callers and settings",
        (
            ("key", "hermes_router.cli.key", "Router keys, which callers show: add, list, remove."),
            ("embed", "hermes_router.cli.embed", "Embeddings: the model that a key is bound to."),
            ("notify", "hermes_router.cli.notify", "Be told when something needs you: show, test."),
            ("config", "hermes_router.cli.config", "Settings, each with its source: get, set, unset, list."),
        ),
    ),
    (
        "More",
        (
            ("conformance", "hermes_router.cli.conformance", "Check any endpoint against the dialects."),
            ("export", "hermes_router.cli.carry", "Write this set-up to a file, to carry it to another machine."),
            ("import", "hermes_router.cli.carry", "Bring in the set-up of another machine."),
            ("demo", "hermes_router.cli.demo.command", "Show the router at work on fake providers."),
            ("completions", "hermes_router.cli.completions", "Completion for bash, zsh and fish: install, show."),
            ("man", "hermes_router.cli.man", "Show the manual."),
            ("version", "hermes_router.cli.version", "Print the version."),
        ),
    ),
)


def _attribute(name: str) -> str:
    """What a command is called in its module."""
    return f"{name}_" if iskeyword(name) else name.replace("-", "_")


COMMANDS = {name: (module, _attribute(name)) for _, rows in SECTIONS for name, module, _ in rows}


class LazyGroup(click.Group):
    """Loads a command's module when the command is used, so that `hr --help` and completion stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with what may have been meant."""
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from hermes_router.cli.trouble import near  # noqa: PLC0415 - only on this path

            hint = near(args[0].lower(), COMMANDS)
            ctx.fail(f"No such command {args[0]!r}{'; ' + hint if hint else '.'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The sections, without importing a single command."""
        for title, rows in SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(name, said) for name, _, said in rows])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As click's, its complaints in our form."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise _usage(error) from None

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; what it raises becomes a sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _usage(error) from None
        except (KeyboardInterrupt, click.Abort) as error:
            click.echo(err=True)
            if isinstance(error.__context__, EOFError):  # Ctrl-D at a question
                from hermes_router.cli.trouble import Trouble  # noqa: PLC0415 - only where something went wrong

                raise Trouble("the input ended before an answer; nothing was changed") from None
            raise click.exceptions.Exit(130) from None
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise  # whoever read our output has seen enough: click ends quietly
            from hermes_router.cli.trouble import Trouble  # noqa: PLC0415

            where = f"{error.filename}: " if error.filename else ""
            raise Trouble(f"{where}{error.strerror or error}", "mend that, then try again") from None
        except _known_errors() as error:
            from hermes_router.cli.trouble import Trouble  # noqa: PLC0415 - only where something went wrong

            step, code = getattr(error, "next_step", ""), getattr(error, "exit_code", 1)
            raise Trouble(str(error), step, code=code) from None


def _usage(error: click.UsageError) -> click.ClickException:
    """What click has to say of a command line, as every other word of ours: what, and what to do."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error  # it is the help
    from hermes_router.cli.trouble import USAGE, Trouble  # noqa: PLC0415 - only where something went wrong

    command = error.ctx.command_path if error.ctx is not None else "hr"
    said, meant, hint = " ".join(error.format_message().split()).replace(". Did", "; did").partition("; did you mean ")
    return Trouble(said, f"did you mean {hint}" if meant else f"`{command} --help` shows how", code=USAGE)


def _known_errors() -> tuple[type[Exception], ...]:
    """What the program raises on purpose; asked for only when something was raised."""
    from hermes_router.core.errors import HermesError  # noqa: PLC0415

    return (HermesError,)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hr")
@click.pass_context
def main(ctx: click.Context) -> None:
    """hermes-router: one local endpoint backed by every model key you hold."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # what is no text stream of ours is left alone
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")  # a sign that the terminal lacks is no reason to fail
