"""`hr demo`: the router on a sandbox of failing providers, shown at work.

Owns the show: it asks one streamed question through the public port, and tells who answered and who failed on the way.
The processes are `stage`'s.
"""

import http.client
import json
import queue
from collections.abc import Iterator
from typing import Any

import click

from hermes_router.cli.demo.cut import cut
from hermes_router.cli.demo.stage import Stage, play

DEFAULT_PORT = 8319
_CAST = "plain"
_QUESTION = "In about forty words: what does a lighthouse keeper do on a night when the lamp fails?"


@click.group(invoke_without_command=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    default=DEFAULT_PORT,
    show_default=True,
    help="Where the router listens; 0 = any free port.",
)
@click.option("--once", is_flag=True, help="Stop after the first answer (for scripts).")
@click.pass_context
def demo(context: click.Context, port: int, once: bool) -> None:
    """Show the router at work on fake providers: failures, failover, one whole answer."""
    if context.invoked_subcommand is not None:
        return

    def show(stage: Stage) -> None:
        _ask(stage, _QUESTION)
        _explain(stage)
        if not once:
            _wait(stage)

    play(show, port, _CAST)


demo.add_command(cut)


def _ask(stage: Stage, question: str) -> None:
    """One streamed chat through the public port, shown as it comes."""
    click.echo(click.style("You: ", bold=True) + question)
    click.echo(click.style("Answer: ", bold=True), nl=False)
    body = {"model": "hermes-router", "stream": True, "messages": [{"role": "user", "content": question}]}
    connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=120)
    headers = {"Authorization": f"Bearer {stage.key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    if response.status != 200:
        raise click.ClickException(f"HTTP {response.status}: {response.read().decode(errors='replace')}")
    for text in _texts(response):
        click.echo(text, nl=False)
    click.echo("\n")
    target = response.headers.get("x-hermes-target")
    attempts = int(response.headers.get("x-hermes-attempts", "1"))
    request_id = response.headers.get("x-request-id", "")
    connection.close()
    _trail(stage, request_id, str(target), attempts)


def _trail(stage: Stage, request_id: str, target: str, attempts: int) -> None:
    """Who answered, and who failed on the way."""
    tried = _field(stage.line_of(request_id), "attempts").split()
    for one in tried[:-1]:
        name, _, why = one.rpartition(":")
        click.echo(click.style("  failed    ", fg="red") + f"{name:<52} {why}")
    answered = tried[-1].rpartition(":")[0] if tried else target
    click.echo(click.style("  answered  ", fg="green") + answered)
    unseen = attempts - 1
    click.echo(f"  {unseen} failover{'s' if unseen != 1 else ''}, and the caller saw one clean stream.\n")


def _explain(stage: Stage) -> None:
    """What to try next."""
    base = f"http://localhost:{stage.port}/v1"
    said = '"messages":[{"role":"user","content":"Hello!"}]'
    asked = {
        "chat/completions": f'{{"model":"hermes-router",{said}}}',
        "messages": f'{{"model":"hermes-router","max_tokens":200,{said}}}',
        "responses": '{"model":"hermes-router","input":"Hello!"}',
    }
    click.echo(f"Base URL  {base}\nKey       {stage.key}\nModel     hermes-router\n")
    click.echo("Try it:")
    for path, body in asked.items():
        click.echo(
            f"  curl -s {base}/{path} -H 'Authorization: Bearer {stage.key}' \\\n"
            f"       -H 'Content-Type: application/json' -d '{body}'"
        )
    click.echo(f"  curl -s {base}/status -H 'Authorization: Bearer {stage.key}'\n")


def _wait(stage: Stage) -> None:
    """Serve until Ctrl-C, and show each exchange."""
    click.echo("Serving; Ctrl-C ends it.")
    while not stage.fresh.empty():
        stage.fresh.get()
    while stage.runs:
        try:
            line = stage.fresh.get(timeout=0.5)
        except queue.Empty:
            continue
        if "exchange.done" in line:
            click.echo(f"  {_field(line, 'outcome'):<12} {_field(line, 'attempts')}")
    raise click.ClickException("the router ended:\n" + stage.last_words())


def _texts(response: http.client.HTTPResponse) -> Iterator[str]:
    """The visible text of a Chat stream."""
    for raw in response:
        line = raw.decode().rstrip()
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        chunk: dict[str, Any] = json.loads(line[6:])
        if chunk.get("error"):
            raise click.ClickException(str(chunk["error"].get("message")))
        for choice in chunk.get("choices", []):
            text = choice["delta"].get("content")
            if text:
                yield text


def _field(line: str, name: str) -> str:
    """One field of a logfmt line."""
    _, found, rest = line.partition(f" {name}=")
    if not found:
        return ""
    if rest.startswith('"'):
        return rest[1:].partition('"')[0]
    return rest.partition(" ")[0]
