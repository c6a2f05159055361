"""`hr completions`: the scripts by which bash, zsh and fish complete `hr`, put where each shell looks for them.

Owns those places and the marks by which our own files are known. What completes a line is `completing.py`'s.
"""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from hermes_router.cli.names import cache
from hermes_router.cli.shipped import shipped
from hermes_router.cli.trouble import REFUSED, USAGE, Trouble

_SCRIPTS: Final = {"bash": "hr.bash", "zsh": "_hr", "fish": "hr.fish"}
_NAMES: Final = ("hr", "hermes-router")
_MARK: Final = "# hermes-router: completion of hr"
# Where the package bash-completion puts what reads ~/.local/share/bash-completion.
BASH_COMPLETION: Final = (
    "/usr/share/bash-completion/bash_completion",
    "/etc/bash_completion",
    "/usr/local/share/bash-completion/bash_completion",
    "/opt/homebrew/share/bash-completion/bash_completion",
)
_shell = click.option(
    "--shell", type=click.Choice(list(_SCRIPTS)), help="For this shell; the one that runs us, if left out."
)


@click.group()
def completions() -> None:
    """Completion for bash, zsh and fish: install, show, uninstall."""


@completions.command()
@_shell
def install(shell: str | None) -> None:
    """Put the completion where your shell looks for it; doing so twice is harmless.

    It asks `hr` at each press of TAB, so it never grows old: an upgrade needs no new one.
    """
    chosen = shell or _running_shell()
    text = _script(chosen)
    places = _places(chosen)
    for place in places:
        _check_ours(place)
    written = [place for place in places if _write(place, text)]
    for place in places:
        click.echo(f"{_tilde(place)} {'written' if place in written else 'is there already'}.")
    for line in _next_steps(chosen, places[0]):
        click.echo(line)


@completions.command()
@click.argument("shell", type=click.Choice(list(_SCRIPTS)))
def show(shell: str) -> None:
    """Print the completion of SHELL, to be put wherever you keep such things."""
    click.echo(_script(shell), nl=False)


@completions.command()
@_shell
def uninstall(shell: str | None) -> None:
    """Take away what `install` wrote, of every shell if none is named, and the names kept for TAB."""
    places = [place for one in ([shell] if shell else _SCRIPTS) for place in _places(one) if os.path.lexists(place)]
    for place in places:
        _check_ours(place)
    for place in places:
        place.unlink()
        click.echo(f"{_tilde(place)} removed.")
    shutil.rmtree(cache(os.environ), ignore_errors=True)
    if not places:
        click.echo("No completion was installed.")


def _script(shell: str) -> str:
    return shipped("completions", _SCRIPTS[shell]).read_text(encoding="utf-8")


def _running_shell() -> str:
    """The shell that runs us, else the login shell. Raises Trouble (2) for one that we know nothing of."""
    found = ""
    with suppress(OSError):
        found = Path(f"/proc/{os.getppid()}/comm").read_text(encoding="utf-8").strip().lstrip("-")
    if found not in _SCRIPTS:
        found = Path(os.environ.get("SHELL", "")).name
    if found not in _SCRIPTS:
        raise Trouble(
            f"your shell {found!r} is none of {', '.join(_SCRIPTS)}"
            if found
            else "it is not clear which shell you use",
            "name one: `hr completions install --shell bash`",
            code=USAGE,
        )
    return found


def _places(shell: str) -> list[Path]:
    """Where a shell looks: bash and fish read a file by the command's name, so there is one for each of ours."""
    home = Path.home()
    match shell:
        case "bash":
            data = _directory("XDG_DATA_HOME", home / ".local" / "share")
            return [data / "bash-completion" / "completions" / name for name in _NAMES]
        case "zsh":
            return [_directory("ZDOTDIR", home) / ".zfunc" / "_hr"]
        case _:
            config = _directory("XDG_CONFIG_HOME", home / ".config")
            return [config / "fish" / "completions" / f"{name}.fish" for name in _NAMES]


def _directory(variable: str, usual: Path) -> Path:
    chosen = Path(os.environ.get(variable, ""))
    return chosen if chosen.is_absolute() else usual


def _check_ours(place: Path) -> None:
    """Raise Trouble (3) where another's file stands."""
    if not os.path.lexists(place):
        return
    with suppress(OSError, ValueError):
        if _MARK in place.read_text(encoding="utf-8"):
            return
    raise Trouble(
        f"{place} is not a file of hermes-router's, and is left as it is",
        "move it away and try again, or use `hr completions show`",
        code=REFUSED,
    )


def _write(place: Path, text: str) -> bool:
    """Write what is not there yet, whole or not at all; through a link, since it is its owner's arrangement."""
    target = place.resolve()
    if target.is_file() and target.read_text(encoding="utf-8") == text:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".hr-completion-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


def _next_steps(shell: str, place: Path) -> list[str]:
    """What is left to be done for the file to be read."""
    here = _tilde(place)
    if shell == "fish":
        return ["New completions work at once in fish."]
    if shell == "zsh":
        rc = _directory("ZDOTDIR", Path.home()) / ".zshrc"
        said = ""
        with suppress(OSError, ValueError):
            said = rc.read_text(encoding="utf-8")
        if ".zfunc" in said:
            return ["It works in every new zsh."]
        return [
            f"zsh looks there once {_tilde(rc)} has, before any compinit of its own:",
            f"    fpath+=({_tilde(place.parent)})",
            "    autoload -Uz compinit && compinit",
        ]
    if any(map(os.path.exists, BASH_COMPLETION)):
        return [f"It works in every new bash; in this one after: source {here}"]
    return ["The package bash-completion is not here, so add to ~/.bashrc:", f"    source {here}"]


def _tilde(path: Path) -> str:
    home = str(Path.home())
    text = str(path)
    return "~" + text[len(home) :] if text.startswith(home + os.sep) else text
