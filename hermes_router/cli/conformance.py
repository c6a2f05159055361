"""`hr conformance`: hold any endpoint that speaks these dialects to them, from outside.

Owns the command and its page. What is checked, and how it is judged, is `hermes_router.conformance`'s; the key goes
into headers only, and onto no page.
"""

import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from hermes_router.cli import render, words
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.trouble import FAILED, NO_DAEMON, REFUSED, USAGE, Trouble

if TYPE_CHECKING:
    from hermes_router.conformance.runner import Finding, Report

_DIALECTS: Final = ("chat", "messages", "responses", "embeddings")
_STYLES: Final = {"pass": "good", "fail": "bad", "skip": "dim", "unsure": "warn"}
_LEAST_S, _MOST_S = 1.0, 3600.0


@click.command()
@click.argument("url")
@click.option(
    "--key",
    envvar="HERMES_ROUTER_KEY",
    show_envvar=True,
    default="",
    help="The endpoint's key; `-` reads it from standard input. It is never shown.",
)
@click.option(
    "--model", default="", metavar="M", help="The model to ask; the first that talks and is listed, if not given."
)
@click.option(
    "--embedding-model", default="", metavar="M", help="The model for embeddings; one named so, if not given."
)
@click.option(
    "--dialect",
    "dialects",
    type=click.Choice(_DIALECTS),
    multiple=True,
    help="Only this dialect (several may be given).",
)
@click.option(
    "--only", default="", metavar="PATTERN", help="Only checks with this in their id, such as tools or answers.*"
)
@click.option(
    "--timeout", type=click.FloatRange(_LEAST_S, _MOST_S), default=60.0, show_default=True, metavar="S",
    help="Seconds that one answer may take.",
)  # fmt: skip
@click.option("--all", "every", is_flag=True, help="Show every check, and why one was skipped.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def conformance(
    context: click.Context, *, url: str, key: str, model: str, embedding_model: str, dialects: tuple[str, ...],
    only: str, timeout: float, every: bool, as_json: bool,
) -> None:  # fmt: skip
    """Check an endpoint against the dialects: what passes, what fails, and why.

    URL is the base that a client is given, such as http://localhost:8319/v1. It is sent about 190 small requests, and
    250 at most. The exit code is 1 if a check failed, 3 if the key was refused, 4 if nobody answers.
    """
    import asyncio  # noqa: PLC0415 - 0.2 s with aiohttp, and no other command needs them

    from hermes_router.conformance import endpoint, runner  # noqa: PLC0415

    try:
        base = endpoint.base_of(url)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if only and not runner.known([only]):
        raise click.UsageError(f"no check has {only!r} in its id")
    wishes = runner.Wishes(dialects or _DIALECTS, only, model, embedding_model)
    secret = sys.stdin.readline().strip() if key == "-" else key

    async def go() -> "Report":
        async with endpoint.Endpoint(base, secret, timeout) as asked:
            return await runner.run(asked, wishes, _progress)

    begun = time.monotonic()
    try:
        report = asyncio.run(go())
    except endpoint.Unreachable as error:
        raise Trouble(
            f"nobody answers at {base}: {error}", "is it running, and is the URL right?", code=NO_DAEMON
        ) from None
    except runner.KeyRefused:
        step = "name a good one with --key, or in HERMES_ROUTER_KEY"
        raise Trouble(
            f"{base} refuses {'this key' if secret else 'to answer without a key'}", step, code=REFUSED
        ) from None
    except runner.NoModel as error:
        raise Trouble(str(error), "name one with --model", code=USAGE) from None
    finally:
        _wipe()
    if as_json:
        render.say_json(as_object(report))
    else:
        render.say(page(report, time.monotonic() - begun, render.width(), every=every))
    if any(one.outcome == "fail" for one in report.findings):
        context.exit(FAILED)


# --- progress -------------------------------------------------------------------------------------------


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{render.bar(done / of, 20)} {done} of {of} checks", nl=False, err=True)


def _wipe() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)


# --- the page -------------------------------------------------------------------------------------------


def as_object(report: "Report") -> dict[str, Any]:
    """The report as `--json` prints it."""
    return {
        "url": report.base,
        "model": report.model,
        "requests": report.requests,
        "dialects": {
            name: {"spoken": True, **{str(outcome): number for outcome, number in report.of(name).items()}}
            for name in _spoken(report)
        }
        | {name: {"spoken": False, "why": why} for name, why in report.unspoken.items()},
        "checks": [
            {
                "id": one.id,
                "area": one.area,
                "title": one.title,
                "dialect": one.dialect,
                "outcome": str(one.outcome),
                "why": one.why,
                "curl": one.sent.curl() if one.sent else "",
            }
            for one in report.findings
        ],
    }


def page(report: "Report", took_s: float, width: int | None, *, every: bool = False) -> list[str]:
    """The lines: areas with what did not pass in them, each failure with its request, and a sum for each dialect."""
    checks, requests = words.some(len(report.findings), "check"), words.some(report.requests, "request")
    head = f"{report.base}, model {report.model or 'none'}: {checks}, {requests}, {words.lapse(took_s)}"
    lines = [*render.paragraph(words.clean(head), width), ""]
    lines += _table(report, width, every=every)
    lines += _failures(report, width)
    if every:
        lines += _reasons(report, width)
    return [*lines, "", *sums(report, width)]


def sums(report: "Report", width: int | None) -> list[str]:
    """A line for each dialect."""
    rows: list[tuple[Cell | str, ...]] = []
    for name in _DIALECTS:
        if name in report.unspoken:
            rows.append((name, Cell(f"not spoken: {report.unspoken[name]}", "dim")))
        elif name in _spoken(report):
            counts = {str(outcome): number for outcome, number in report.of(name).items()}
            style = "bad" if counts["fail"] else "good"
            rows.append((name, Cell(", ".join(f"{number} {word}" for word, number in counts.items()), style)))
    return render.table((Column("", least=10), Column("", least=20, wrap=True)), rows, width, titles=False)


def _spoken(report: "Report") -> list[str]:
    found = {one.dialect for one in report.findings}
    return [name for name in _DIALECTS if name in found]


def _table(report: "Report", width: int | None, *, every: bool) -> list[str]:
    """A line for each area, `passed/asked`, and below it each check that did not pass everywhere."""
    spoken = _spoken(report)
    areas: dict[str, dict[str, list[Finding]]] = {}
    for one in report.findings:
        areas.setdefault(one.area, {}).setdefault(one.id, []).append(one)
    rows: list[tuple[Cell | str, ...]] = []
    for area, checks in areas.items():
        rows.append((Cell(area, "bold"), *(_share([c for of in checks.values() for c in of], name) for name in spoken)))
        for findings in checks.values():
            if every or any(one.outcome != "pass" for one in findings):
                by_dialect = {one.dialect: one for one in findings}
                rows.append((f"- {findings[0].title}", *(_outcome(by_dialect.get(name)) for name in spoken)))
    columns = (Column("", least=16), *(Column(name.upper(), least=6) for name in spoken))
    return render.table(columns, rows, width)


def _share(findings: "list[Finding]", dialect: str) -> Cell:
    mine = [one.outcome for one in findings if one.dialect == dialect]
    if not mine:
        return Cell("")
    passed = mine.count(type(mine[0]).PASS)
    style = "bad" if "fail" in mine else "good" if passed == len(mine) else ""
    return Cell(f"{passed}/{len(mine)}", style)


def _outcome(finding: "Finding | None") -> Cell:
    if finding is None:
        return Cell("")
    return Cell(str(finding.outcome), _STYLES[str(finding.outcome)])


def _failures(report: "Report", width: int | None) -> list[str]:
    lines: list[str] = []
    for one in report.findings:
        if one.outcome == "fail":
            lines += ["", render.paint(f"FAIL {one.dialect} {one.id}", "bad") + f": {words.clean(one.title)}"]
            lines += render.paragraph(words.clean(one.why), width, indent=2)
            if one.sent is not None:  # on one line, whatever its length: it is to be copied
                lines.append("  " + words.clean(one.sent.curl()))
    return lines


def _reasons(report: "Report", width: int | None) -> list[str]:
    rows = [
        (one.dialect, one.id, Cell(str(one.outcome), _STYLES[str(one.outcome)]), one.why)
        for one in report.findings
        if one.outcome in {"skip", "unsure"}
    ]
    columns = (Column("", least=8), Column("", least=12), Column("", least=6), Column("", least=20, wrap=True))
    lines = render.table(columns, rows, width, titles=False)
    return ["", *lines] if lines else []
