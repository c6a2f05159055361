"""`hr ask`: one question through the whole router, the one-line proof.

Owns the command: the answer goes to standard output, who gave it to standard error.
"""

import sys

import click

from hermes_router.cli import render, words
from hermes_router.cli.link import connect
from hermes_router.cli.trouble import warn
from hermes_router.control import types as t

_ANSWER_S = 3600.0  # its deadline is the daemon's


@click.command()
@click.argument("question", nargs=-1)
@click.option(
    "--model", default="hermes-router", show_default=True, metavar="M", help="Model name, as a caller would give it."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ask(question: tuple[str, ...], model: str, as_json: bool) -> None:
    """Ask QUESTION (or standard input) and print the answer; who gave it goes to standard error."""
    text = " ".join(question)
    if text in {"", "-"}:
        if sys.stdin.isatty():
            raise click.UsageError('ask something: `hr ask "hi"`')
        text = sys.stdin.buffer.read().decode(errors="replace")
    if not text.strip():
        raise click.UsageError("the question is empty")
    text = text.encode("utf-8", "replace").decode()  # an argument that is no UTF-8 arrives as surrogates
    answer = connect(needs_daemon=True).call(
        "POST", "/v1/ask", t.Ask(text=text, model=model), t.Answer, wait_s=_ANSWER_S
    )
    if as_json:
        render.say_json(answer)
        return
    if render.is_terminal():
        click.echo("\n".join("\t".join(map(words.clean, line.split("\t"))) for line in answer.text.split("\n")))
    else:
        click.echo(answer.text, color=True)  # click would take away what looks like a colour
    parts = [
        render.paint(words.clean(answer.target), "good"),
        words.some(answer.attempts, "attempt"),
        f"{words.count(answer.input_tokens)} tokens in, {words.count(answer.output_tokens)} out",
        words.lapse(answer.duration_s),
        words.clean(answer.request_id),
    ]
    click.echo(f" {render.glyphs().dot} ".join(part for part in parts if part), err=True)
    for warning in answer.warnings:
        warn(f"no model {model!r} is known, so the router picked one" if warning == "ignored:model" else warning)
