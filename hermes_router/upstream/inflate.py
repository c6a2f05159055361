"""Undoes a `content-encoding` that was sent although we asked for none; bounded, in pieces.

Owns gzip and deflate. It must never know a connection, and never hold more than one piece of output.
"""

import zlib
from collections.abc import Iterator
from typing import Final

from hermes_router.core.errors import Malformed

PIECE: Final = 65536
# A JSON answer shrinks 5 to 50 times, deflate's own limit is 1,032: above this it is an attack.
_BOMB_RATIO: Final = 256
_BOMB_FROM: Final = 8_000_000


class Inflate:
    """An incremental decoder of gzip (any number of members) or deflate (with or without zlib's frame).

    Raises Malformed from the constructor for any other coding, and from `pieces` for broken data or a bomb.
    """

    __slots__ = ("_coding", "_engine", "_made", "_taken")

    def __init__(self, coding: str) -> None:
        self._coding = coding.strip().lower()
        if self._coding not in {"gzip", "x-gzip", "deflate"}:
            raise Malformed("a content-encoding that was not asked for")
        self._engine: zlib._Decompress | None = None
        self._taken = 0
        self._made = 0

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What `chunk` unpacks to, at most PIECE bytes at a time; stop iterating to stop the work."""
        self._taken += len(chunk)
        engine = self._engine or self._start(chunk)
        while True:
            if engine.eof:
                if not chunk or self._coding == "deflate":
                    return
                engine = self._start(chunk)
            try:
                piece = engine.decompress(chunk, PIECE)
            except zlib.error:
                raise Malformed("a body that its content-encoding cannot decode") from None
            if piece:
                self._made += len(piece)
                if self._made > _BOMB_FROM and self._made > _BOMB_RATIO * self._taken:
                    raise Malformed("a decompression bomb")
                yield piece
            chunk = engine.unconsumed_tail or engine.unused_data
            if not chunk and len(piece) < PIECE:
                return

    def whole(self) -> bool:
        """Whether the coding's own end was seen; a body without a byte is whole."""
        return self._engine is None or self._engine.eof

    def _start(self, chunk: bytes) -> "zlib._Decompress":
        wbits = 31
        if self._coding == "deflate":
            # RFC 9110 means zlib's frame, some servers send it bare; the low bits of zlib's first byte are 8
            wbits = 15 if chunk[0] & 0x0F == 8 else -15
        self._engine = zlib.decompressobj(wbits)
        return self._engine
