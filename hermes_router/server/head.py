"""HTTP/1.1 heads: the ordinary request's, read whole and strictly, and the answer's, written in one piece.

Owns what counts as ordinary. Anything that two readers could read in two ways (a length given twice, a bare LF, a
folded line, a coding) is not: None, and aiohttp decides about it (request smuggling). A head that differs from the one
before it on its connection by nothing but the length is not taken apart again. It must never know a route.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp.helpers import rfc822_formatted_time

_LONGEST: Final = 8_190  # of a whole head; aiohttp takes so much for one line
_MOST_FIELDS: Final = 100
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_HEAD: Final = re.compile(
    rb"(POST|GET|HEAD|OPTIONS) (/[!-~]*+) HTTP/1\.1\r\n((?:" + _TOKEN + rb":[\t -~]*+\r\n)++)\r\n",
)
_LENGTH: Final = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)
_LENGTH_FIELD: Final = re.compile(rb"\r\ncontent-length:[\t ]*+([0-9]++)\r", re.IGNORECASE)
_MOST_DIGITS: Final = 15
# Each of these changes where the message ends or who answers it: not ordinary, but for the two harmless values.
_ODD: Final = frozenset(
    {
        "connection", "content-encoding", "expect", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_HARMLESS: Final[Mapping[str, str]] = {"connection": "keep-alive", "content-encoding": "identity"}
_REASONS: Final[Mapping[int, str]] = {status.value: status.phrase for status in HTTPStatus}


class Head(msgspec.Struct):
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


class HeadReader:
    """Reads the heads of one connection: a caller's requests mostly differ in their length alone.

    What is remembered holds the caller's key, and lives as long as the connection.
    """

    __slots__ = ("_after", "_before", "_head")

    def __init__(self) -> None:
        self._head: Head | None = None
        self._before = self._after = b""  # all of that head but its length

    def read(self, data: bytes) -> Head | None:
        """What `read_head` gives."""
        known = self._head
        if known is not None and data.startswith(self._before):
            start = len(self._before)
            stop = data.find(b"\r", start, start + _MOST_DIGITS + 1)
            if stop > start and data.startswith(self._after, stop):
                length = data[start:stop].decode("latin-1")
                end = stop + len(self._after)
                if end <= _LONGEST and _LENGTH.fullmatch(length) is not None:
                    return Head(
                        known.method, known.target, {**known.headers, "content-length": length}, int(length), end
                    )
        head = read_head(data)
        if head is not None and head.length is not None and (found := _LENGTH_FIELD.search(data, 0, head.end)):
            self._head = head
            self._before, self._after = data[: found.start(1)], data[found.end(1) : head.end]
        return head


def _harmless(headers: Mapping[str, str]) -> bool:
    return all(_HARMLESS.get(name) == headers[name].lower() for name in _ODD.intersection(headers))


def write_head(status: int, headers: Mapping[str, str], framing: str) -> bytes:
    """The head of an answer; `framing` is the line that says where its body ends."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\ndate: {rfc822_formatted_time()}\r\n{framing}"]
    lines += map(": ".join, clean(headers).items())
    lines.append("\r\n")
    return "\r\n".join(lines).encode(errors="replace")


def clean(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The same headers with nothing in their values that could end a line."""
    if "".join(headers.values()).isprintable():
        return headers
    return {name: "".join(c if c.isprintable() else "?" for c in value) for name, value in headers.items()}
