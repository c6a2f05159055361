"""`hr config`: settings with the places where their values stand.

Owns the talk about settings. What is confidential is read from a pipe or a hidden prompt, never from the command line.
"""

import re
import sys
from collections.abc import Sequence

import click

from hermes_router.cli import render, words
from hermes_router.cli.changes import say_changed
from hermes_router.cli.link import Link, connect
from hermes_router.cli.provider_names import EXPOSED, is_key
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.trouble import USAGE, Trouble, near, warn
from hermes_router.control import types as t
from hermes_router.core.variables import CONFIDENTIAL, DERIVED

_WITH_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_KEY_VARIABLE = re.compile(r"(.+)_API_KEYS?")
_ENDINGS = {one.name: one.doc for one in DERIVED} | {"_LIMITS": "Limits that replace the published ones."}


@click.group()
def config() -> None:
    """Settings, each with its source: get, set, unset, list."""


@config.command("list")
@click.option("--changed", is_flag=True, help="Only what is set somewhere.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_settings(changed: bool, as_json: bool) -> None:
    """List all settings: value and where it stands."""
    found = connect(needs_daemon=False).get("/v1/config", t.Config)
    rows = [row for row in found.rows if not changed or row.source != "default"]
    if as_json:
        render.say_json(t.Config(rows=rows, problems=found.problems, files=found.files))
        return
    render.say_table(
        (Column("NAME", least=16), Column("VALUE", least=8), Column("SOURCE", least=12)),
        [
            (
                Cell(row.name, "" if row.source == "default" else "bold"),
                row.value,
                Cell(render.tilde(row.source), "dim"),
            )
            for row in rows
        ],
    )
    for problem in found.problems:
        warn(render.tilde(problem))


@config.command("get")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def get_setting(name: str, as_json: bool) -> None:
    """Print the value of NAME; where it stands goes to standard error."""
    link = connect(needs_daemon=False)
    rows = link.get("/v1/config", t.Config).rows
    wanted = _variable(name)
    row = next((one for one in rows if one.name == wanted), None) or _unset(link, name, wanted, rows)
    if as_json:
        render.say_json(row)
        return
    click.echo(words.clean(row.value))
    notes = [f"from {render.tilde(row.source)}.", row.doc, "" if row.hot else "A change needs `hr restart`."]
    click.echo(click.style(words.clean(" ".join(filter(None, notes))), dim=True), err=True)


def _unset(link: Link, name: str, wanted: str, rows: Sequence[t.ConfigRow]) -> t.ConfigRow:
    """A provider's setting that is set nowhere. Raises Trouble for what is none, with what may have been meant."""
    derived = {
        f"{row.name.upper()}{ending}": doc
        for row in link.get("/v1/credentials", t.Credentials).providers
        for ending, doc in _ENDINGS.items()
    }
    if wanted in derived:
        return t.ConfigRow(name=wanted, value="", source="default", doc=derived[wanted])
    key = _KEY_VARIABLE.fullmatch(wanted)
    if key is not None:
        raise Trouble(f"{name[:80]!r} is a key, not a setting", f"`hr auth list {key[1].lower()}` shows it", code=USAGE)
    hint = near(wanted, [*(one.name for one in rows), *derived])
    raise Trouble(f"{name[:80]!r} is not a setting", hint or "`hr config list` shows all of them", code=USAGE)


@config.command("set", context_settings={"ignore_unknown_options": True})
@click.argument("words_given", metavar="NAME VALUE | NAME=VALUE...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def set_settings(words_given: tuple[str, ...], as_json: bool) -> None:
    """Set NAME to VALUE in the file where the value in force stands; several with NAME=VALUE, all or none.

    VALUE - is read from standard input, or asked for: so must router keys and addresses with a password be.
    """
    changes: dict[str, str | None] = {name: _value(name, value) for name, value in _pairs(words_given)}
    link = connect(needs_daemon=False)
    changed = link.call("PATCH", "/v1/config", t.ChangeConfig(changes=changes), t.Changed)
    say_changed(link, changed, as_json=as_json, nothing="empty")


def _variable(name: str) -> str:
    return name.strip().upper().replace("-", "_").replace(".", "_")


def _pairs(given: tuple[str, ...]) -> list[tuple[str, str | None]]:
    """Names and values; None = to be read."""
    first = given[0]
    if "=" not in first and len(given) <= 2:
        value = given[1] if len(given) == 2 else None
        return [(_variable(first), None if value == "-" else value)]
    pairs: list[tuple[str, str | None]] = []
    for word in given:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise click.UsageError("give one NAME VALUE, or NAME=VALUE several times")
        pairs.append((_variable(name), value))
    return pairs


def _value(name: str, value: str | None) -> str:
    provider = _KEY_VARIABLE.fullmatch(name)
    if provider is not None and name not in CONFIDENTIAL:
        raise Trouble(f"{name} is a key, not a setting", f"use `hr auth add {provider[1].lower()}`", code=USAGE)
    if value is not None:
        exposed = name == "PROXY_API_KEYS" or is_key(value) or _WITH_PASSWORD.search(value)
        if exposed and value:
            raise Trouble(
                f"a secret does not belong on the command line: {EXPOSED}",
                f"use `hr config set {name} -` and type it, or pipe it in; it was not set",
                code=USAGE,
            )
        return value
    if sys.stdin.isatty():
        typed: str = click.prompt(name, hide_input=name in CONFIDENTIAL, default="", show_default=False, err=True)
        text = typed.strip()
    else:
        text = sys.stdin.buffer.read().decode("utf-8-sig", "replace").strip()
    if "\n" in text:
        raise Trouble("a value is one line", "nothing was set", code=USAGE)
    if not text:
        step = f"`hr config set {name} ''` sets it to nothing"
        raise Trouble("no value was given; nothing was set", step, code=USAGE)
    return text


@config.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def unset(name: str, as_json: bool) -> None:
    """Take NAME out of the file where it stands."""
    link = connect(needs_daemon=False)
    changed = link.call("PATCH", "/v1/config", t.ChangeConfig(changes={_variable(name): None}), t.Changed)
    row = changed.rows[0]
    if row.before == row.after and not as_json:
        click.echo(f"{words.clean(row.name)} is set in no file; it is {words.clean(row.after) or 'unset'}.")
        return
    say_changed(link, changed, as_json=as_json)
