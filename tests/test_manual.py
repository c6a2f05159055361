"""man/: three pages that mandoc has nothing against, and nothing that can be typed or set is missing from them."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from docs.commands import commands  # noqa: E402
from docs.manual import PAGES, prose  # noqa: E402
from hermes_router import __version__  # noqa: E402
from hermes_router.cli.mdoc import plain  # noqa: E402
from hermes_router.core.catalog_rows import parse_rows  # noqa: E402
from hermes_router.core.variables import DERIVED, GLOBALS  # noqa: E402

MAN = ROOT / "man"


def page(name: str) -> str:
    """As a reader sees it, every blank one."""
    return " ".join(plain((MAN / name).read_text()).split())


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed here")
@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_nothing_against_it(name: str) -> None:
    """No warning, no error."""
    command = ["mandoc", "-T", "lint", "-W", "warning", str(MAN / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", PAGES)
def test_each_page_has_what_a_reader_looks_for(name: str) -> None:
    """The usual sections, and the version that it speaks of."""
    source = (MAN / name).read_text()
    assert f'.Os "hermes-router {__version__}"' in source
    wanted = ["NAME", "DESCRIPTION", "FILES", "EXAMPLES", "SEE ALSO"]
    if not name.endswith(".5"):
        wanted += ["SYNOPSIS", "ENVIRONMENT", "EXIT STATUS", "DIAGNOSTICS"]
    for section in wanted:
        assert f"\n.Sh {section}\n" in source, section


def test_every_command_and_option_is_in_its_page() -> None:
    """A command of `hr`, each of its arguments and options, beside one another, and what help says of them."""
    source = (MAN / "hr.1").read_text().partition("\n.Sh COMMANDS\n")[2].partition("\n.Sh ")[0]
    entries = {
        head.partition(" Oo options")[0].partition(" Ar ")[0].partition(" Oo Ar ")[0]: f"{head}\n{rest}"
        for head, _, rest in (entry.partition("\n") for entry in source.split("\n.It Cm ")[1:])
    }
    shown = [
        one for one in commands() if not isinstance(one.command, click.Group) or one.command.invoke_without_command
    ]
    assert sorted(entries) == sorted(one.path for one in shown)
    for one in shown:
        entry = entries[one.path]
        assert "\n".join(prose(one.command.help or "")) in entry, one.path
        for option in one.options:
            for name in (*option.opts, *option.secondary_opts):
                assert re.search(rf"\n\.It (.*, )?Fl {re.escape(name[1:])}(?![\w-])", entry), (one.path, name)
        for argument in one.arguments:
            assert "Ar " in entry.partition("\n")[0], (one.path, argument.name)


def test_every_setting_is_in_its_page() -> None:
    """Those of the router and of a provider, each with its sentence."""
    text = page("hermes-router-config.5")
    for one in GLOBALS:
        said = " ".join(plain("\n".join(prose(one.doc))).split())
        assert f"{one.name} {said}" in text, one.name
    for one in DERIVED:
        assert f"PROVIDER{one.name} " in text, one.name
    assert "PROVIDER_API_KEY," in text
    assert "PROVIDER_LIMITS" in text


def test_every_key_of_a_row_is_in_its_page() -> None:
    """What a table of providers.toml may hold, by the rows that travel with the program."""
    text = page("hermes-router-config.5")
    rows = tomllib.loads((ROOT / "hermes_router" / "data" / "providers.toml").read_text())
    assert not parse_rows(rows, where="providers.toml")[1]
    keys = {key for row in rows.values() for key in row} | {
        key for row in rows.values() for model in row.get("models", []) for key in model
    }
    assert not sorted(key for key in keys if not re.search(rf"(?<!\w){key}(?!\w)", text))


def test_the_literal_examples_fit_a_terminal() -> None:
    """What a reader copies stands in 80 columns."""
    for name in PAGES:
        literal = False
        for line in (MAN / name).read_text().splitlines():
            literal = line.startswith(".Bd -literal") or (literal and line != ".Ed")
            assert not literal or line.startswith(".") or len(line) <= 68, (name, line)
