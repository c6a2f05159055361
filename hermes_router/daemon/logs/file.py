"""The end of the daemon's own log file, read back into events.

Owns the reading of what `logfmt.py` and the JSON form have written, from the last line towards the first, and how far
back anybody looks. For a thread: it reads a disk. It must never show a line that `clean` has not seen, since what was
no secret when it was written may be one now.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from hermes_router.control.events import plain
from hermes_router.control.log_filter import fits, request_of
from hermes_router.control.log_types import LogWish
from hermes_router.control.types import Event

__all__ = ["MOST_BYTES", "read_back"]

MOST_BYTES: Final = 4_000_000
_BLOCK: Final = 65_536
_OLDER: Final = 2  # files that were turned away from, `.1` and `.2`
_BLURRED_S: Final = 0.005  # a line has milliseconds, and is written a moment after its event
_PAIR: Final = re.compile(r'([^\s=]+)=("(?:[^"\\]|\\.)*"|\S*)(?: |$)')
_ESCAPE: Final = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "r": "\r"}
_NUMBER: Final = re.compile(r"-?\d{1,15}(\.\d+)?(e-?\d+)?").fullmatch
_WORDS: Final = frozenset(
    {"request_id", "provider", "model", "target", "account", "credential", "router_key", "version"}
)
_HEAD: Final = ("timestamp", "level", "event")


def read_back(
    path: Path, wish: LogWish, *, before: Sequence[Event], clean: Callable[[str], str], most_bytes: int = MOST_BYTES
) -> list[Event]:
    """Events of the file that are wished for and older than those of `before`, in order, as far back as is looked.

    Lines in other forms are passed over. Raises OSError where the file cannot be read.
    """
    known = Counter(_mark(event) for event in before)
    begins_at = before[0].at if before else float("inf")
    found: list[Event] = []
    for raw in _lines_back(path, most_bytes):
        if len(found) >= wish.lines:
            break
        if wish.request.encode() not in raw or wish.provider.encode() not in raw:
            continue
        event = _read(raw.decode("utf-8", "replace"), clean)
        if event is None or event.at > begins_at + _BLURRED_S:
            continue
        if event.at >= begins_at - _BLURRED_S and known[_mark(event)]:
            known[_mark(event)] -= 1
            continue
        if wish.since and event.at < wish.since:
            break
        if fits(wish, event.at, event.level, event.fields):
            found.append(event)
    return found[::-1]


def _mark(event: Event) -> tuple[str, str, str]:
    return event.event, request_of(event.fields), str(event.fields.get("target", ""))


def _lines_back(path: Path, most_bytes: int) -> Iterator[bytes]:
    """The lines of the file and of those before it, the last one first."""
    left = most_bytes
    for one in (path, *(path.with_name(f"{path.name}.{number}") for number in range(1, _OLDER + 1))):
        try:
            file = one.open("rb")
        except FileNotFoundError:
            return
        with file:
            at, rest = file.seek(0, os.SEEK_END), b""
            while at and left > 0:
                size = min(_BLOCK, at)
                at -= size
                left -= size
                file.seek(at)
                first, *lines = (file.read(size) + rest).split(b"\n")
                yield from (line for line in reversed(lines) if line)
                rest = first
            if rest and not at:
                yield rest
        if left <= 0:
            return


def _read(line: str, clean: Callable[[str], str]) -> Event | None:
    fields = _json(line) if line.startswith("{") else _logfmt(line)
    try:
        at = datetime.fromisoformat(str(fields["timestamp"])).timestamp()
        return Event(
            id=0,
            at=at,
            event=clean(str(fields["event"])),
            level=str(fields["level"]),
            fields=plain(fields, clean, leave_out=frozenset(_HEAD)),
        )
    except (KeyError, ValueError):
        return None


def _json(line: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _logfmt(line: str) -> dict[str, Any]:
    return {name: _value(name, text) for name, text in _PAIR.findall(line)}


def _value(name: str, text: str) -> Any:
    if text.startswith('"'):
        return _ESCAPE.sub(_unescaped, text[1:-1])
    if text in {"true", "false"}:
        return text == "true"
    if not text:
        return None
    if name in _WORDS or not _NUMBER(text):
        return text
    return int(text) if text.lstrip("-").isdecimal() else float(text)


def _unescaped(match: re.Match[str]) -> str:
    sign = match[1]
    return chr(int(sign[1:], 16)) if len(sign) > 1 else _ESCAPED.get(sign, sign)
