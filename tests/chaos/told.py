"""What a caller was told, and the events that it was told in.

Owns the value that every reader fills, the cutting of a body into events, and what holds in every dialect. Whatever no
client could be sure to read is a complaint.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_FINISH = {
    "stop": "stop", "end_turn": "stop", "length": "length", "max_tokens": "length", "tool_calls": "calls",
    "tool_use": "calls", "content_filter": "filter", "refusal": "filter",
}  # fmt: skip


@dataclass
class Told:
    """What a caller was told. `finish` = it ended well, and why; `error` = it was told that it did not."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    finish: str = ""
    error: str = ""
    complaints: list[str] = field(default_factory=list)

    def demand(self, holds: bool, complaint: str) -> None:
        """Complain unless it holds."""
        if not holds:
            self.complaints.append(complaint)


def check_calls(told: Told) -> None:
    """What every client relies on: calls that are whole, and one end."""
    told.demand(len({call_id for call_id, _, _ in told.calls}) == len(told.calls), "two calls of one id")
    for call_id, name, arguments in told.calls:
        told.demand(bool(call_id and name), "a call without id or name")
        try:
            told.demand(isinstance(json.loads(arguments), dict), "arguments that are no object")
        except ValueError:
            told.complaints.append(f"arguments that are no JSON: {arguments[-40:]!r}")
    told.demand(bool(told.finish) != bool(told.error), f"finish {told.finish!r} and error {told.error!r}")
    told.demand(told.finish != "calls" or bool(told.calls), "it finished with calls, and there is none")


def frames(raw: bytes, told: Told, *, named: bool) -> Iterator[tuple[str, Any]]:
    """Events as (name, payload); comments are nothing."""
    body = raw.decode()
    told.demand(body.endswith("\n\n") or not body, "the last event has no end")
    for block in body.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        name = ""
        if named:
            told.demand(lines[0].startswith("event: "), f"an event without a name: {lines[0][:60]}")
            name = lines.pop(0).removeprefix("event: ")
        told.demand(len(lines) == 1 and lines[0].startswith("data: "), f"not one data line: {block[:80]!r}")
        data = lines[0].removeprefix("data: ")
        yield name, data if data == "[DONE]" else json.loads(data)


def finish_of(word: str | None) -> str:
    """Why an answer ended, in one word for all dialects."""
    return _FINISH.get(word or "", f"unknown {word}") if word else ""
