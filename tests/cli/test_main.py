"""hermes_router/cli/main.py: the group, its help, its exit codes."""

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hermes_router.cli.main import COMMANDS, main


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


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_commands(flag: str) -> None:
    """Both spellings of help list every command."""
    done = CliRunner().invoke(main, [flag])
    assert done.exit_code == 0
    assert all(name in done.output for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["--nonsense"], ["serve", "--nonsense"], ["demo", "--port", "70000"], ["version", "x"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    """What cannot be understood is 2, with a hint and no traceback."""
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "Usage:" in done.output
    assert "Traceback" not in done.output


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
