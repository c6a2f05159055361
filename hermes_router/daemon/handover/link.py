"""The pair of sockets between a daemon and its successor: small JSON messages, each with its length before it.

Owns the framing and what a broken end looks like. The two may be of different versions: a message names its kind,
unknown kinds and fields are ignored, and nothing is ever taken out of one (`V` counts changes of meaning). It must
never know what a message leads to.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

__all__ = ["Link", "Message", "V", "post_blocking", "receive_blocking"]

V: Final = 1
_LENGTH_BYTES: Final = 4
_LARGEST: Final = 256 * 1024 * 1024  # a dump of a thousand targets has some megabytes
_LAST_S: Final = 2.0
Message = Mapping[str, Any]


class Link:
    """One end, in the loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> "Link":
        """Take a socket over."""
        sock.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=sock))

    def post(self, kind: str, **fields: Any) -> bool:
        """Send without waiting; False where the other end is gone."""
        if self._writer.is_closing():
            return False
        self._writer.write(_frame(kind, fields))
        return True

    async def receive(self) -> Message | None:
        """The next message; None once the other end is gone, or says what is no message."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES), "big")
            if length > _LARGEST:
                return None
            return _message(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def expect(self, *kinds: str) -> Message | None:
        """The next message of one of these kinds; others are ignored. None once the other end is gone."""
        while True:
            message = await self.receive()
            if message is None or message.get("is") in kinds:
                return message

    def close(self) -> None:
        """What was posted still goes out. Idempotent."""
        self._writer.close()

    async def closed(self) -> None:
        """Close, and return when what was posted is out, or cannot be."""
        self.close()
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await self._writer.wait_closed()


def _frame(kind: str, fields: Mapping[str, Any]) -> bytes:
    data = msgspec.json.encode({"v": V, "is": kind, **fields})
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def _message(data: bytes) -> Message | None:
    try:
        decoded = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return None
    return decoded if isinstance(decoded, dict) else None


# --- before there is a loop ---------------------------------------------------------------------------


def post_blocking(sock: socket.socket, kind: str, **fields: Any) -> None:
    """Send one message. A gone other end is no fault."""
    with suppress(OSError):
        sock.sendall(_frame(kind, fields))


def receive_blocking(sock: socket.socket, *, timeout_s: float) -> Message | None:
    """One message; None where none comes."""
    sock.settimeout(timeout_s)
    try:
        length = _read(sock, _LENGTH_BYTES)
        return _message(_read(sock, min(int.from_bytes(length, "big"), _LARGEST)))
    except OSError:
        return None
    finally:
        sock.settimeout(None)


def _read(sock: socket.socket, size: int) -> bytes:
    pieces: list[bytes] = []
    while size:
        data = sock.recv(min(size, 65_536))
        if not data:
            raise ConnectionResetError("the other end is gone")
        pieces.append(data)
        size -= len(data)
    return b"".join(pieces)


def numbers(value: object) -> Sequence[int]:
    """The descriptors that a message names."""
    return [number for number in value if isinstance(number, int)] if isinstance(value, list) else []
