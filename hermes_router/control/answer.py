"""One HTTP/1.1 answer, read off a connection that is closed after it.

Owns framing: Content-Length, chunks, or the end of the connection. It must never know sockets or what an answer means,
and takes no more bytes than an answer of ours can have, whoever sends them.
"""

from collections.abc import Callable
from typing import Final

__all__ = ["Cut", "Garbled", "Reading"]

_LONGEST_HEAD: Final = 64 << 10
_LARGEST_ANSWER: Final = 64 << 20
_START: Final = b"HTTP/1."
_PIECE: Final = 64 << 10
_DIGITS: Final = {10: frozenset("0123456789"), 16: frozenset("0123456789abcdefABCDEF")}


class Cut(Exception):
    """The connection ended inside the answer."""


class Garbled(Exception):
    """The answer is not HTTP as we speak it."""


class Reading:
    """Reads one answer by `receive` (b"" = the end), never more than `_LARGEST_ANSWER` bytes of it."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._buffer = bytearray()
        self._total = 0

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body; raises Cut, Garbled, and what `receive` raises."""
        self._check_start()
        status, headers = _head(self._until(b"\r\n\r\n", _LONGEST_HEAD))
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return status, headers, self._chunks()
        length = headers.get("content-length")
        if length is not None:
            return status, headers, self._exactly(_number(length, 10))
        while self._more():
            pass
        return status, headers, bytes(self._buffer)

    def _check_start(self) -> None:
        """Whoever speaks another protocol is found out at once, also where nothing more would follow."""
        while len(self._buffer) < len(_START):
            if not self._more():
                raise Cut
            if not _START.startswith(self._buffer[: len(_START)]):
                raise Garbled("its answer is not HTTP")

    def _more(self) -> bool:
        data = self._receive(_PIECE)
        self._buffer += data
        self._total += len(data)
        if self._total > _LARGEST_ANSWER:
            raise Garbled("its answer has no end")
        return bool(data)

    def _until(self, mark: bytes, longest: int) -> bytes:
        at, searched = -1, 0
        while (at := self._buffer.find(mark, searched)) < 0:
            searched = max(0, len(self._buffer) - len(mark) + 1)
            if len(self._buffer) > longest:
                raise Garbled("its answer is not HTTP")
            if not self._more():
                raise Cut
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        return found

    def _exactly(self, length: int) -> bytes:
        if length > _LARGEST_ANSWER:
            raise Garbled("its answer is too large")
        while len(self._buffer) < length:
            if not self._more():
                raise Cut
        found = bytes(self._buffer[:length])
        del self._buffer[:length]
        return found

    def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while size := _number(self._until(b"\r\n", _LONGEST_HEAD).partition(b";")[0].decode("latin-1"), 16):
            parts.append(self._exactly(size))
            if self._exactly(2) != b"\r\n":
                raise Garbled("its chunks are broken")
        return b"".join(parts)


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    first, *rest = raw.decode("latin-1").split("\r\n")
    code = first.partition(" ")[2][:3]
    if not (code.isascii() and code.isdecimal() and len(code) == 3):
        raise Garbled("its answer is not HTTP")
    pairs = (line.partition(":") for line in rest)
    return int(code), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _number(text: str, base: int) -> int:
    text = text.strip()
    if not 1 <= len(text) <= 16 or not _DIGITS[base].issuperset(text):
        raise Garbled("the length of its answer is no number")
    return int(text, base)
