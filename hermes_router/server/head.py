"""HTTP/1.1 heads: the ordinary request's, read whole and strictly, and the answer's, written in one piece.

Owns what counts as ordinary. Anything that two readers could read in two ways (a length given twice, a bare LF, a
folded line, a coding) is not: None, and aiohttp decides about it (request smuggling). It must never know a route.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp.helpers import rfc822_formatted_time

_LONGEST: Final = 8_190  # of a whole head; aiohttp takes so much for one line
_MOST_FIELDS: Final = 100
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_HEAD: Final = re.compile(
    rb"(POST|GET|HEAD|OPTIONS) (/[!-~]*+) HTTP/1\.1\r\n((?:" + _TOKEN + rb":[\t -~]*+\r\n)++)\r\n",
)
_LENGTH: Final = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)
# Each of these changes where the message ends or who answers it: not ordinary, but for the two harmless values.
_ODD: Final = frozenset(
    {
        "connection", "content-encoding", "expect", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_HARMLESS: Final[Mapping[str, str]] = {"connection": "keep-alive", "content-encoding": "identity"}
_REASONS: Final[Mapping[int, str]] = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class Head:
    """An ordinary head. `length` is None where there is no body; `end` is where the body begins in the data."""

    method: str
    target: str
    headers: dict[str, str]
    length: int | None
    end: int


def read_head(data: bytes) -> Head | None:
    """The head that `data` begins with, if it is whole and ordinary."""
    found = _HEAD.match(data, 0, _LONGEST)
    if found is None:
        return None
    method, target, block = found.groups()
    lines = block.decode("ascii").split("\r\n")
    headers: dict[str, str] = {}
    del lines[-1]
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(" \t")
    if len(headers) != len(lines) or len(lines) > _MOST_FIELDS or "host" not in headers:
        return None
    if not _ODD.isdisjoint(headers) and not _harmless(headers):
        return None
    length = headers.get("content-length")
    if length is None:
        return Head(method.decode(), target.decode(), headers, None, found.end())
    if _LENGTH.fullmatch(length) is None:
        return None
    return Head(method.decode(), target.decode(), headers, int(length), found.end())


def _harmless(headers: Mapping[str, str]) -> bool:
    return all(_HARMLESS.get(name) == headers[name].lower() for name in _ODD.intersection(headers))


def write_head(status: int, headers: Mapping[str, str], framing: str) -> bytes:
    """The head of an answer; `framing` is the line that says where its body ends."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\ndate: {rfc822_formatted_time()}\r\n{framing}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in clean(headers).items()]
    lines.append("\r\n")
    return "".join(lines).encode(errors="replace")


def clean(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The same headers with nothing in their values that could end a line."""
    if "".join(headers.values()).isprintable():
        return headers
    return {name: "".join(c if c.isprintable() else "?" for c in value) for name, value in headers.items()}
