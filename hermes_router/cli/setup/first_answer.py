"""One question through the public port, streamed, as any caller would ask it: the proof at the end of a set-up.

Owns the request, the reading of its events and the flow of the text over lines. Nothing of an answer is kept.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import click

from hermes_router.cli import render, words
from hermes_router.cli.trouble import FAILED, Trouble

__all__ = ["Answered", "Flow", "stream"]

_SILENCE_S: Final = 660.0  # the router's own deadline comes first
_INDENT: Final = "  "


@dataclass(slots=True)
class Answered:
    """Who answered, after how many attempts, and how long it took: to the first word, and in all (seconds)."""

    target: str = ""
    attempts: int = 1
    first_s: float = 0.0
    duration_s: float = 0.0
    text: str = ""


class Flow:
    """Text that comes in pieces, written in lines that fit; what could steer a terminal is taken out."""

    def __init__(self, most: int | None) -> None:
        self._most = (most or 80) - len(_INDENT)
        self._column = 0
        self._word = ""

    def write(self, text: str) -> None:
        """Write a piece; the last word waits for its end."""
        for sign in text:
            if sign.isspace():
                self._out()
                if sign == "\n":
                    click.echo()
                    self._column = 0
            else:
                self._word += sign
        sys.stdout.flush()

    def end(self) -> None:
        """Write what waits, and end the line."""
        self._out()
        if self._column:
            click.echo()

    def _out(self) -> None:
        word, self._word = words.clean(self._word), ""
        size = render.cells(word)
        if not size:
            return
        if self._column and self._column + 1 + size > self._most:
            click.echo()
            self._column = 0
        click.echo((" " if self._column else _INDENT) + word, nl=False)
        self._column += size + (1 if self._column else 0)


def stream(url: str, key: str, question: str, show: Callable[[str], None]) -> Answered:
    """Ask; `show` gets the text as it comes. Raises Trouble with the router's own words where nothing comes of it."""
    import http.client  # noqa: PLC0415 - few commands call the public port

    parts = urlsplit(url)
    body = json.dumps(
        {"model": "hermes-router", "stream": True, "messages": [{"role": "user", "content": question}]}
    ).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "x-hermes-max-wait": "20"}
    began = time.monotonic()
    connection = http.client.HTTPConnection(parts.hostname or "localhost", parts.port, timeout=_SILENCE_S)
    found = Answered()
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        with connection.getresponse() as answer:
            if answer.status != 200:
                raise _refusal(answer.status, answer.read(1 << 20))
            found.target = answer.getheader("x-hermes-target") or ""
            found.attempts = int(answer.getheader("x-hermes-attempts") or 1)
            while line := answer.readline(1 << 22):
                text = _text(line, found)
                if text:
                    found.first_s = found.first_s or time.monotonic() - began
                    found.text += text
                    show(text)
    except (OSError, http.client.HTTPException) as error:
        raise Trouble(
            f"the router at {url} did not answer to the end: {error}", "see `hr status` and its log"
        ) from None
    finally:
        connection.close()
    found.duration_s = time.monotonic() - began
    if not found.text.strip():
        raise Trouble("the answer was empty", "`hr status` shows the pool; `hr setup` asks again")
    return found


def _text(line: bytes, found: Answered) -> str:
    """What a line of the stream adds; the comment before the end says what the head could not. Raises Trouble."""
    if line.startswith(b": hermes "):
        said = dict(part.partition("=")[::2] for part in line.decode(errors="replace").split()[2:])
        found.target = said.get("target", found.target)
        attempts = said.get("attempts", "")
        found.attempts = int(attempts) if attempts.isdecimal() else found.attempts
    if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
        return ""
    try:
        event: Any = json.loads(line[5:])
    except ValueError:
        return ""
    if "error" in event:
        raise _refusal(0, line[5:])
    choices = event.get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or ""


def _refusal(status: int, raw: bytes) -> Trouble:
    said = f"the router answered {status}"
    with suppress(ValueError, KeyError, TypeError):
        said = str(json.loads(raw)["error"]["message"])
    return Trouble(said[:500], "`hr status` shows the pool, and what each provider said", code=FAILED)
