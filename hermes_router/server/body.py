"""A request's body, whole and undone of its content-encoding, within a bound that counts what it unpacks to.

Owns the reading of bodies. aiohttp's own unpacking is off: here a bomb costs one piece of memory, broken data is the
caller's mistake, and what is left of a refused body is read off the connection without being unpacked. It must never
know what a body means.
"""

import asyncio
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from aiohttp import StreamReader, web

from hermes_router.core.errors import BadRequest, Stalled
from hermes_router.server import arrival
from hermes_router.server.arrival import too_large

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE: Final = 65_536
_BREATH: Final = 1_048_576  # unpacked bytes after which the other connections have their turn
_MEMBERS: Final = 256  # concatenated parts of one body; each costs a copy of what is left
_ZSTD_WINDOW_LOG: Final = 25  # 32 MiB: what the decoder may allocate


class _Coding(Protocol):
    """What zlib's and zstd's decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Zlib:
    """A zlib decompressor that keeps its own unconsumed input, as zstd's does."""

    def __init__(self, wbits: int) -> None:
        self._engine = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._engine.decompress(self._engine.unconsumed_tail + data, max_length)


def _deflate(first: bytes) -> _Coding:
    # RFC 9110 means zlib's frame, some senders leave it out; the low bits of its first byte are 8.
    return _Zlib(zlib.MAX_WBITS if first[0] & 0x0F == 8 else -zlib.MAX_WBITS)


def _gzip(_first: bytes) -> _Coding:
    return _Zlib(zlib.MAX_WBITS + 16)


def _zstd(_first: bytes) -> _Coding:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})


CODINGS: Final[Mapping[str, Callable[[bytes], _Coding]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
}


class Unpacker:
    """An incremental decoder of one content-encoding; any number of gzip members or zstd frames up to a bound."""

    def __init__(self, coding: str) -> None:
        """Raise BadRequest for a coding that is not understood."""
        if coding not in CODINGS:
            raise BadRequest(f"content-encoding {coding[:40]!r} is not understood; send gzip, zstd or none")
        self._coding = coding
        self._engine: _Coding | None = None
        self._members = 0

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What `chunk` unpacks to, at most PIECE bytes at a time. Raises BadRequest where it is broken."""
        while chunk:
            engine = self._engine or self._begin(chunk)
            try:
                piece = engine.decompress(chunk, PIECE)
                while piece:
                    yield piece
                    piece = b"" if engine.eof else engine.decompress(b"", PIECE)
            except (zlib.error, zstd.ZstdError, EOFError):
                raise self._broken() from None
            if not engine.eof:
                return
            chunk = engine.unused_data
            self._engine = None

    def finish(self) -> None:
        """Raise BadRequest where the data stopped before its own end."""
        if self._engine is not None:
            raise self._broken()

    def _begin(self, first: bytes) -> _Coding:
        self._members += 1
        if self._members > _MEMBERS:
            raise self._broken()
        self._engine = CODINGS[self._coding](first)
        return self._engine

    def _broken(self) -> BadRequest:
        return BadRequest(f"the request body is not valid {self._coding}, as its content-encoding says")


async def read_body(request: web.Request, limit: int) -> bytes:
    """The body, at most `limit` bytes packed and unpacked. Raises TooLarge, BadRequest and Stalled."""
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    coding = request.headers.get("content-encoding", "").strip().lower()
    unpacker = None if coding in {"", "identity"} else Unpacker(coding)
    pieces: list[bytes] = []
    packed = size = 0
    breath = _BREATH
    while chunk := await _next(request.content):
        packed += len(chunk)
        if packed > limit:
            raise too_large(limit)
        if unpacker is None:
            pieces.append(chunk)
            continue
        for piece in unpacker.pieces(chunk):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise too_large(limit)
            if size > breath:
                breath += _BREATH
                await asyncio.sleep(0)
    if unpacker is not None:
        unpacker.finish()
    return b"".join(pieces)


async def _next(content: StreamReader) -> bytes:
    try:
        async with asyncio.timeout(arrival.STALL_S):
            return await content.readany()
    except TimeoutError:
        raise Stalled from None
