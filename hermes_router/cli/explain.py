"""`hr explain`: where a request would go and why, without sending it. `hr request`: what happened to one.

Owns the two tables.
"""

import time
from typing import IO

import click
import msgspec

from hermes_router.cli import render, words
from hermes_router.cli.key import router_key_names
from hermes_router.cli.link import connect
from hermes_router.cli.render import Cell, Column
from hermes_router.cli.screen import REASONS
from hermes_router.cli.trouble import USAGE, Trouble
from hermes_router.control import types as t
from hermes_router.control.client import quote


@click.command()
@click.argument("file", metavar="[FILE|-]", type=click.File("rb"), required=False)
@click.option("--tools", is_flag=True, help="The request carries tools.")
@click.option("--tokens", type=click.IntRange(0), metavar="N", help="Its size in tokens.")
@click.option("--image", is_flag=True, help="It holds an image.")
@click.option("--model", metavar="M", help="Model name, as a caller would give it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    *, file: IO[bytes] | None, tools: bool, tokens: int | None, image: bool, model: str | None, as_json: bool
) -> None:
    """Show where a request would go and why: one from FILE (Chat Completions JSON), or one of these properties."""
    if file is not None and (tools or image or tokens is not None):
        raise click.UsageError("with a FILE, its content says what the request needs: only --model goes with it")
    body = None if file is None else _body(file, model)
    asked = t.PlanQuery(body=body, model=model or "hermes-router", tokens=tokens, tools=tools, image=image)
    report = connect(needs_daemon=True).call("POST", "/v1/plan", asked, t.PlanReport)
    if as_json:
        render.say_json(report)
    else:
        render.say(plan(report, time.time(), render.width()))


def _body(file: IO[bytes], model: str | None) -> str:
    data = file.read()
    name = "standard input" if getattr(file, "name", "<stdin>") == "<stdin>" else file.name
    try:
        content = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Trouble(
            f"{name} is not JSON: {error}", "give the body of a Chat Completions request", code=USAGE
        ) from None
    if not isinstance(content, dict):
        raise Trouble(f"{name} is not a JSON object", "give the body of a Chat Completions request", code=USAGE)
    if model is None and isinstance(content.get("model"), str):
        return data.decode()
    content["model"] = model or "hermes-router"
    return msgspec.json.encode(content).decode()


def plan(report: t.PlanReport, now: float, width: int | None) -> list[str]:
    """The verdict, what the request is, the targets in their order, and the others with what keeps them out."""
    sign = f" {render.glyphs().dot} "
    facts = [
        f"difficulty {report.difficulty}",
        f"{words.count(report.input_tokens)} tokens",
        f"profile {report.profile}",
        f"pinned to {report.pin}" if report.pin else "",
        f"needs {words.listing(report.needs)}" if report.needs else "",
    ]
    lines = render.paragraph(words.clean(sign.join(filter(None, facts))), width)
    if report.verdict:
        lines = [*render.paragraph(words.clean(report.verdict), width), *lines]
    placed = sorted((row for row in report.rows if row.place > 0), key=lambda row: row.place)
    out = [row for row in report.rows if row.place <= 0]
    columns = (
        Column("", right=True),
        Column("TARGET", least=16),
        Column("WHY", least=14, wrap=True),
        Column("UNTIL", least=10, drop=1),
    )
    rows: list[tuple[Cell | str, ...]] = [
        (str(row.place), Cell(row.target, "good" if row.place == 1 else ""), row.why, words.when(row.until, now))
        for row in placed
    ]
    rows += [("", Cell(row.target, "dim"), Cell(row.why, "warn"), words.when(row.until, now)) for row in out]
    return [*lines, "", *render.table(columns, rows, width)] if rows else lines


# --- hr request ---------------------------------------------------------------------------------------


@click.command()
@click.argument("request_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def request(request_id: str, as_json: bool) -> None:
    """Show what happened to the request ID (the x-request-id of its answer): every attempt, in order."""
    if not request_id.strip():
        raise click.UsageError("ID is empty")
    link = connect(needs_daemon=True)
    found = link.get(f"/v1/requests/{quote(request_id)}", t.Trail)
    if as_json:
        render.say_json(found)
        return
    name = router_key_names(link).get(found.router_key, found.router_key)
    render.say(trail(msgspec.structs.replace(found, router_key=name), time.time(), render.width()))


def trail(found: t.Trail, now: float, width: int | None) -> list[str]:
    """What came in and what it ended with; then a line an attempt."""
    sign = f" {render.glyphs().dot} "
    good = found.outcome == "answered"
    outcome = found.outcome.replace("_", " ")
    head = f"{outcome} after {words.lapse(found.duration_s)}, {words.some(len(found.attempts), 'attempt')}"
    costs = [one.cost_microusd for one in found.attempts if one.cost_microusd]
    if len(costs) > 1:
        head += f", {words.money(sum(costs))} in all"
    facts = [
        words.when(found.at, now),
        f"key {found.router_key}" if found.router_key else "",
        found.dialect,
        f"model {found.model}" if found.model else "",
        found.profile,
        "streamed" if found.stream else "",
        f"difficulty {found.difficulty}",
        f"about {words.count(found.estimated_tokens)} tokens",
    ]
    lines = [f"{words.clean(found.request_id)}: {render.paint(words.clean(head), 'good' if good else 'bad')}"]
    lines += render.paragraph(words.clean(sign.join(filter(None, facts))), width)
    for warning in found.warnings:
        lines += render.paragraph(words.clean(warning), width, indent=9, first="Warning")
    columns = (
        Column("", right=True),
        Column("TARGET", least=16),
        Column("OUTCOME"),
        Column("HTTP", right=True, drop=6),
        Column("TIME", right=True, drop=3),
        Column("FIRST", right=True, drop=7),
        Column("SHOWN", right=True, drop=2),
        Column("IN", right=True, drop=4),
        Column("OUT", right=True, drop=4),
        Column("COST", right=True, drop=5),
        Column("WHY", least=14, wrap=True, drop=1),
    )
    rows, shown_chars = [], 0
    for number, one in enumerate(found.attempts, 1):
        rows.append(_attempt(number, one, now, shown_chars))
        shown_chars += one.shown_chars
    return [*lines, "", *render.table(columns, rows, width)] if rows else lines


def _attempt(number: int, one: t.AttemptRow, now: float, shown_chars: int) -> tuple[Cell | str, ...]:
    """A line of the table; `shown_chars` had been shown when the attempt began."""
    about = "~" if one.estimated else ""
    back = f"back {words.when(one.retry_at, now)}" if one.retry_at else ""
    said = [_joined(one, shown_chars), one.why, one.said, back]
    used = bool(one.input_tokens or one.output_tokens)
    return (
        str(number),
        one.target,
        Cell(REASONS.get(one.outcome, one.outcome), "good" if one.outcome == "ok" else "warn"),
        "" if one.status is None else str(one.status),
        words.lapse(one.duration_s),
        "" if one.ttft_s is None else words.lapse(one.ttft_s),
        words.some(one.shown_chars, "char") if one.shown_chars else "",
        about + words.count(one.input_tokens) if used else "",
        about + words.count(one.output_tokens) if used else "",
        words.money(one.cost_microusd) if one.cost_microusd else "",
        ": ".join(filter(None, said)),
    )


def _joined(one: t.AttemptRow, shown_chars: int) -> str:
    """How an attempt took up what had been shown before it."""
    if one.by in {"", "anew"}:
        return "began anew" if one.by else ""
    done = "went on" if one.outcome == "ok" or one.shown_chars else "was to go on"
    return f"{done} after {words.some(shown_chars, 'character')} by {one.by}"
