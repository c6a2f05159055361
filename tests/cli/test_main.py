"""hermes_router/cli/main.py: the group, its help, its exit codes."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hermes_router.cli.main import COMMANDS, SECTIONS, main
from hermes_router.core.errors import ConfigError, ControlError


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_of_the_table_is_there(name: str) -> None:
    """Each name of the table is a command of that name with a help text."""
    module, attribute = COMMANDS[name]
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0
    assert command.help
    assert command.help.splitlines()[0][:40] in done.output
    assert command.name == name


def _all(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from _all(child, (*path, name))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_has_a_help_text(name: str) -> None:
    """No subcommand and no option goes unexplained, and every help is shown with exit 0."""
    command = main.get_command(click.Context(main), name)
    assert command is not None
    for path, found in _all(command, (name,)):
        assert found.help, path
        assert found.help[0].isupper(), path
        assert found.help.split("\n\n")[0].rstrip().endswith("."), path
        for option in found.params:
            assert not isinstance(option, click.Option) or option.help, (path, option.name)
        done = CliRunner().invoke(main, [*path, "--help"])
        assert done.exit_code == 0, path


def test_the_sections_hold_every_command_once() -> None:
    """Help is written from a table of its own, without importing a command: it must not lie."""
    names = [name for _, rows in SECTIONS for name, _, _ in rows]
    assert len(names) == len(set(names)) == len(COMMANDS)
    for _, rows in SECTIONS:
        for name, _, said in rows:
            assert said.endswith("."), name
            assert len(name) + len(said) < 70, name


def test_a_mistyped_command_gets_a_suggestion() -> None:
    """Exit 2, and what may have been meant."""
    done = CliRunner().invoke(main, ["statsu"])
    assert done.exit_code == 2
    assert done.stderr == "hr: No such command 'statsu'.\n    Did you mean status?\n"


def _loaded(code: str) -> set[str]:
    program = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


HEAVY = {
    "aiohttp",
    "structlog",
    "keyring",
    "uvloop",
    "asyncio",
    "tomlkit",
    "importlib.metadata",
    "hermes_router.daemon",
}


def test_help_imports_nothing_heavy() -> None:
    """`hr --help` loads click and little else: no command, none of what a daemon is made of."""
    loaded = _loaded("from hermes_router.cli.main import main; main(['--help'])")
    assert not loaded & (HEAVY | {"platformdirs", "msgspec", "socket"})
    ours = {name for name in loaded if name.startswith("hermes_router")}
    assert ours == {"hermes_router", "hermes_router.cli", "hermes_router.cli.main"}


@pytest.mark.parametrize(
    "module", ["status", "auth", "usage", "config", "key", "embed", "model", "provider", "explain"]
)
def test_commands_import_nothing_heavy(module: str) -> None:
    """What a command needs before it speaks to the daemon has no event loop and no HTTP library in it."""
    assert not _loaded(f"import hermes_router.cli.{module}") & HEAVY


def test_an_interrupt_is_130_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C anywhere in a command: the shell's number, no word and no traceback."""

    @click.command()
    def slow() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "get_command", lambda _ctx, _name: slow)
    done = CliRunner().invoke(main, ["slow"])
    assert done.exit_code == 130
    assert done.output.strip() == ""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "/x/python"), 1, "hr: /x/python: Permission denied.\n    Mend that"),
        (OSError("no more processes"), 1, "hr: No more processes."),
    ],
)
def test_what_the_system_refuses_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, error: OSError, code: int, said: str
) -> None:
    """A program that is gone in the middle of an upgrade, no descriptors left: never a traceback."""

    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(main, "get_command", lambda _ctx, _name: failing)
    done = CliRunner().invoke(main, ["failing"])
    assert (done.exit_code, said in done.stderr) == (code, True)


def test_the_end_of_input_at_a_question_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-D is no answer: it says so, and is not taken for Ctrl-C."""

    @click.command()
    def asking() -> None:
        click.confirm("Sure?", err=True)

    monkeypatch.setattr(main, "get_command", lambda _ctx, _name: asking)
    done = CliRunner().invoke(main, ["asking"], input="")
    assert done.exit_code == 1
    assert "nothing was changed" in done.stderr


def test_what_the_program_raises_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ControlError or ConfigError that no command caught is told, with its exit code."""
    raised: list[Exception] = [
        ControlError("the socket is foreign", next_step="see who listens", exit_code=3),
        ConfigError("no home", where="/x"),
    ]

    @click.command()
    def failing() -> None:
        raise raised.pop(0)

    monkeypatch.setattr(main, "get_command", lambda _ctx, _name: failing)
    done = CliRunner().invoke(main, ["failing"])
    assert (done.exit_code, done.stderr) == (3, "hr: The socket is foreign.\n    See who listens.\n")
    assert CliRunner().invoke(main, ["failing"]).exit_code == 1


def test_a_terminal_without_the_signs_is_no_reason_to_fail() -> None:
    """In a latin-1 locale a help text and an error with other signs are still printed."""
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONIOENCODING": "latin-1"}
    command = [Path(sys.executable).with_name("hr"), "漢字"]
    done = subprocess.run(command, env=environ, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_commands(flag: str) -> None:
    """Both spellings of help list every command."""
    done = CliRunner().invoke(main, [flag])
    assert done.exit_code == 0
    assert all(name in done.output for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'.\n    `hr --help` shows how."),
        (["--nonsense"], "No such option '--nonsense'.\n    `hr --help` shows how."),
        (["serve", "--nonsense"], "No such option '--nonsense'.\n    `hr serve --help` shows how."),
        (["demo", "--port", "70000"], "--port': 70000 is not in the range 0<=x<=65535.\n    `hr demo --help`"),
        (["auth", "add"], "Missing argument 'PROVIDER'.\n    `hr auth add --help` shows how."),
        (["version", "x"], "unexpected extra argument"),
        (["auth", "lst"], "No such command 'lst'.\n    Did you mean 'list'?"),
        (["status", "--jsn"], "No such option '--jsn'.\n    Did you mean '--json'?"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], said: str) -> None:
    """What cannot be understood is 2: one sentence what, one what to do, like everything else that goes wrong."""
    done = CliRunner().invoke(main, arguments, prog_name="hr")
    assert done.exit_code == 2
    assert done.output.startswith("hr: ")
    assert said in done.output
    assert len(done.output.splitlines()) == 2


def test_a_group_alone_shows_its_help() -> None:
    """`hr auth` without a command is a question, and is answered."""
    done = CliRunner().invoke(main, ["auth"], prog_name="hr")
    assert "Usage: hr auth" in done.output
    assert "migrate" in done.output


@pytest.mark.parametrize("name", ["", *sorted(COMMANDS)])
def test_help_fits_a_terminal_of_80_columns(name: str) -> None:
    """Nothing runs over the edge, and no type of click's stands where a value's name belongs."""
    command = main.get_command(click.Context(main), name) if name else main
    assert command is not None
    for path, _ in [((), main)] if not name else _all(command, (name,)):
        shown = (
            CliRunner().invoke(main, [*path, "--help"], prog_name="hr", terminal_width=80, max_content_width=80).output
        )
        assert max(map(len, shown.splitlines())) <= 80, path
        assert not re.search(r"\b(INTEGER|FLOAT)( RANGE)?\b", shown), path


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR takes colours away also from what is a terminal."""

    @click.command()
    def painted() -> None:
        click.echo(click.style("red", fg="red"))

    monkeypatch.setattr(main, "get_command", lambda _ctx, _name: painted)
    for value, coloured in (("1", False), ("", True)):
        done = CliRunner().invoke(main, ["painted"], env={"NO_COLOR": value}, color=True)
        assert ("\x1b[" in done.output) is coloured, value


def test_both_names_of_the_command_are_installed() -> None:
    """`hr` and `hermes-router` are the same command."""
    for name in ("hr", "hermes-router"):
        done = subprocess.run([Path(sys.executable).with_name(name), "version"], capture_output=True, check=True)
        assert done.stdout.startswith(b"hermes-router ")
