"""`hr demo cut`: a provider dies in mid-answer, and the caller gets the whole of it all the same.

Owns the scenes, the mark at the seam, and the verdict: the answer is held against what the dead provider would have
said. It must never take the router's word for that.
"""

import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import click
import msgspec

from hermes_router.cli import explain, render, words
from hermes_router.cli.demo.callers import DIALECTS, BadEnd, Call, Caller, Dialect, Question, Told, caller
from hermes_router.cli.demo.stage import Stage, play
from hermes_router.cli.trouble import INTERRUPTED, Trouble
from hermes_router.core.errors import ControlError
from hermes_router.sandbox import demo_cut as script

_CAST: Final = "cut"
_GOOD_ENDS: Final = frozenset({"stop", "tool_calls", "end_turn", "tool_use", "completed"})
_NAMES: Final = {"chat": "Chat Completions", "messages": "Messages", "responses": "Responses"}


class Scene(NamedTuple):
    """One answer that is cut, in mid-sentence or, where `calls`, in mid-call; and who asks for it."""

    dialect: Dialect
    calls: bool


_SCENES: Final = (Scene("chat", calls=False), Scene("responses", calls=True), Scene("messages", calls=True))


@click.command()
@click.option(
    "--as",
    "dialect",
    type=click.Choice(DIALECTS),
    help="Only callers of this dialect: a text, and a tool call.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Where the router listens; any free port if not given.",
)
def cut(dialect: Dialect | None, port: int) -> None:
    """Show an answer whose provider dies in mid-sentence, and in mid-call: it comes whole all the same."""
    scenes = _SCENES if dialect is None else (Scene(dialect, calls=False), Scene(dialect, calls=True))
    failed: list[str] = []

    def show(stage: Stage) -> None:
        for number, scene in enumerate(scenes, 1):
            if said := _play(stage, scene, f"{number} of {len(scenes)}"):
                failed.append(said)

    if not play(show, port, _CAST):
        raise click.exceptions.Exit(INTERRUPTED)
    if failed:
        raise Trouble(f"{words.some(len(failed), 'answer')} did not come whole", failed[0])


def _play(stage: Stage, scene: Scene, number: str) -> str:
    """One scene. Returns what is wrong with the answer; empty = nothing."""
    who = caller(scene.dialect, f"http://localhost:{stage.port}", stage.key)
    said, tool, where = script.STORY, None, "mid-sentence"
    if scene.calls:
        said, tool, where = script.ERRAND, script.TOOL, "mid-call"
    asked, wanted = Question(said, f"demo-{secrets.token_hex(4)}", tool), script.uncut(said)
    click.echo(click.style(f"{number}: ", bold=True) + f"{_NAMES[scene.dialect]}, read by {who.name}. ", nl=False)
    click.echo(f"The provider that begins the answer dies in {where}.")
    click.echo(click.style("You: ", bold=True) + said)
    heard = _listen(who, asked, script.cut_at(wanted))
    wrong = heard.wrong or _departure(heard.text, wanted.text) or _end(heard.told)
    calls = [Call(call.name, msgspec.json.decode(call.arguments)) for call in wanted.calls]
    if not wrong and heard.told.calls != calls:
        wrong = f"{words.some(len(heard.told.calls), 'tool call')} came, and not what should have been called"
    try:
        trail = stage.trail(asked.id)
    except ControlError as error:
        trail, wrong = None, wrong or error.message
    if trail is not None and len(trail.attempts) < 2:
        wrong = wrong or "nobody died, so nothing was shown"
    click.echo(_verdict(wrong, wanted.text, calls, heard.told.end))
    if trail is not None:
        click.echo(f"\nWhat `hr request {asked.id}` tells of it:\n")
        render.say(explain.trail(msgspec.structs.replace(trail, router_key=""), time.time(), render.width()))
    click.echo()
    return wrong


class Heard(NamedTuple):
    """What came of an answer, and what went wrong with its coming."""

    text: str
    told: Told
    wrong: str


def _listen(who: Caller, asked: Question, at: int) -> Heard:
    """Ask, and show the answer as it comes, with a mark behind `at` characters."""
    told, text, wrong = Told(), "", ""
    click.echo(click.style("Answer: ", bold=True), nl=False)
    try:
        for piece, ours in _marked(who.ask(asked, told), at):
            click.echo(click.style(piece, dim=True) if ours else piece, nl=False)
            text += "" if ours else piece
    except BadEnd as error:
        wrong = str(error)
    click.echo("\n")
    for call in told.calls:
        click.echo(f"{click.style('Call: ', bold=True)}{call.name} {msgspec.json.encode(call.arguments).decode()}\n")
    return Heard(text, told, wrong)


def _marked(pieces: Iterable[str], at: int) -> Iterator[tuple[str, bool]]:
    """The text with a mark behind `at` characters; True = this is the mark, False = this is text."""
    mark = " ⟨cut here⟩" if render.glyphs() is render.UNICODE else " <cut here>"
    seen = 0
    for piece in pieces:
        left = max(0, at - seen)
        if piece[:left]:
            yield piece[:left], False
        if seen < at <= seen + len(piece):
            yield mark, True
        if piece[left:]:
            yield piece[left:], False
        seen += len(piece)


def _departure(text: str, wanted: str) -> str:
    if text == wanted:
        return ""
    same = next((at for at, (one, other) in enumerate(zip(text, wanted, strict=False)) if one != other), None)
    same = min(len(text), len(wanted)) if same is None else same
    return f"the text is not what it should be from its character {same + 1} on"


def _end(told: Told) -> str:
    return "" if told.end in _GOOD_ENDS else f"its end is no good one: {told.end or 'none'}"


def _verdict(wrong: str, text: str, calls: list[Call], end: str) -> str:
    if wrong:
        return click.style("Not whole: ", fg="red") + words.clean(wrong) + "."
    whole = f"all {len(text)} characters, none missing, none twice"
    if calls:
        whole += f"; {words.some(len(calls), 'tool call')}, whole and valid"
    return click.style("Whole: ", fg="green") + f"{whole}; it ended with `{end}`."
