"""What a provider sends, as a script: heads, bytes, silences and ends, each after some time.

Owns the steps that the fake transport plays, and the scripts of good answers. A script knows whether the upstream has
said that its answer is whole before anything went wrong: only then may the caller's answer end well.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from hermes_router.core.errors import UpstreamError

from .hand import Piece

SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Step:
    """After `wait_s`: the head, some bytes, an end, or an error of the connection."""

    wait_s: float = 0.0
    head: tuple[int, dict[str, str]] | None = None
    data: bytes = b""
    end: bool = False
    error: UpstreamError | None = None


@dataclass(frozen=True)
class Script:
    """What comes of one attempt. `whole` = the upstream said, before anything went wrong, that all was said.

    `fault` is its name, "" = none.
    """

    steps: list[Step] = field(repr=False)
    whole: bool = True
    fault: str = ""


def joined(pieces: list[Piece]) -> bytes:
    """The bytes of pieces."""
    return b"".join(piece.data for piece in pieces)


def good(pieces: list[Piece], rng: random.Random) -> Script:
    """A stream without a fault."""
    return Script([Step(rng.random(), head=(200, SSE)), *in_bits(joined(pieces), rng), Step(end=True)])


def good_whole(body: bytes, rng: random.Random) -> Script:
    """A whole answer without a fault."""
    return Script([Step(rng.random() * 5, head=(200, JSON)), *in_bits(body, rng), Step(end=True)])


def in_bits(data: bytes, rng: random.Random) -> Iterator[Step]:
    """Bytes as a network brings them: in frames, in bits, or in one; with time between them, never too long."""
    way = rng.randrange(4)
    at = 0
    while at < len(data):
        if way == 0:
            size = len(data)
        elif way == 1:
            end = data.find(b"\n\n", at)
            size = len(data) - at if end < 0 else end + 2 - at
        else:
            size = rng.choice((1, 7, 100, 1_000) if way == 2 else (200, 3_000))
        wait_s = rng.choice((0.0, 0.01, 0.05, 0.3)) if rng.random() < 0.95 else rng.uniform(0.0, 12.0)
        yield Step(wait_s, data=data[at : at + size])
        at += size
