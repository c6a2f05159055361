"""Server-sent events, read strictly.

Owns the splitting of a stream into frames. What a lenient reader would let pass (a line that is no field, JSON that
does not parse, a last frame that nobody closed) is a fault here. It must never know a dialect.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from hermes_router.conformance.answer import Wrong
from hermes_router.conformance.shapes import shown

DONE: Final = "[DONE]"
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_FIELDS: Final = frozenset({"event", "data", "id", "retry"})


@dataclass(frozen=True, slots=True)
class Frame:
    """One event. `name` is its `event:` line, empty where there is none; `data` its JSON, or DONE."""

    name: str
    data: Any


def frames(raw: bytes) -> list[Frame]:
    """The events of a whole stream, comments left out. Raises Wrong."""
    try:
        lines = [line.decode() for line in _LINE_END.split(raw)]
    except UnicodeDecodeError:
        raise Wrong("the stream is not UTF-8") from None
    cut = lines.pop()  # what stands behind the last line end
    found: list[Frame] = []
    name, data = "", list[str]()
    for line in lines:
        if not line:
            if data:
                found.append(_frame(name, data))
            name, data = "", []
        elif not line.startswith(":"):
            field, _, value = line.partition(":")
            if field not in _FIELDS:
                raise Wrong(f"a line of the stream is no event's field: {shown(line)}")
            value = value.removeprefix(" ")
            if field == "data":
                data.append(value)
            elif field == "event":
                name = value
    if cut or data or name:
        raise Wrong(f"the stream ends inside an event, without its blank line: {shown(cut or ' '.join(data))}")
    return found


def _frame(name: str, data: list[str]) -> Frame:
    text = "\n".join(data)
    if text == DONE:
        return Frame(name, DONE)
    try:
        return Frame(name, json.loads(text))
    except ValueError:
        raise Wrong(f"an event's data is not JSON: {shown(text)}") from None
