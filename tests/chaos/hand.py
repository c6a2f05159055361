"""A provider's handwriting: how it spells JSON, cuts text into deltas, and frames its events.

Owns what the writers of all dialects share. Each piece of a stream says what it is, so that a fault can be aimed.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from .model import Reply

Kind = Literal["head", "reasoning", "text", "call", "mark", "finish", "tail"]
CREATED = 1_789_999_990


class Piece(NamedTuple):
    """One event of a stream. `finish` = with it the upstream has said that its answer is whole."""

    kind: Kind
    data: bytes


@dataclass(frozen=True)
class Hand:
    """One provider's handwriting.

    Attributes:
        most: characters that stand in a delta.
        whole_calls: calls of Chat come in one piece.
        merged: parallel calls of Chat are said in turns.
        parts: in how many blocks the text comes, where the dialect has blocks.
        thinks_twice: before the text, and again before a call.
    """

    ascii: bool = False
    spaced: bool = False
    crlf: bool = False
    most: int = 12
    thought: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    whole_calls: bool = False
    merged: bool = False
    usage: Literal["own", "with finish", "none"] = "own"
    comments: bool = False
    parts: int = 1
    thinks_twice: bool = False


def hand_of(rng: random.Random) -> Hand:
    """Somebody's handwriting."""
    return Hand(
        ascii=rng.random() < 0.4,
        spaced=rng.random() < 0.3,
        crlf=rng.random() < 0.1,
        most=rng.choice((3, 8, 12, 40, 400)),
        thought=rng.choice(("reasoning_content", "reasoning")),
        whole_calls=rng.random() < 0.3,
        merged=rng.random() < 0.3,
        usage=rng.choice(("own", "with finish", "none")),
        comments=rng.random() < 0.2,
        parts=rng.choice((1, 1, 1, 2, 3)),
        thinks_twice=rng.random() < 0.2,
    )


def usage_of(said: Reply) -> tuple[int, int]:
    """Tokens of prompt and answer."""
    return 11, 1 + (len(said.reasoning) + len(said.text) + sum(len(call.arguments) for call in said.calls)) // 4


def blocks_of(said: Reply, hand: Hand) -> list[tuple[Literal["reasoning", "text"], str]]:
    """What is said before the calls, block by block."""
    thought, again = said.reasoning, ""
    if hand.thinks_twice and said.calls:
        thought, again = thought[: len(thought) // 2], thought[len(thought) // 2 :]
    size = max(1, -(-len(said.text) // hand.parts))
    texts = [said.text[at : at + size] for at in range(0, len(said.text), size)]
    if not all(map(str.strip, texts)):  # no provider makes a block of nothing but white space
        texts = [said.text]
    found = [("reasoning", thought), *(("text", text) for text in texts), ("reasoning", again)]
    return [(kind, text) for kind, text in found if text]


Event = tuple[Kind, str, Any]


def as_json(value: Any, hand: Hand) -> bytes:
    return json.dumps(value, ensure_ascii=hand.ascii, separators=None if hand.spaced else (",", ":")).encode()


def framed(event: str, fields: Any, hand: Hand) -> bytes:
    end = b"\r\n" if hand.crlf else b"\n"
    data = fields if isinstance(fields, bytes) else as_json(fields, hand)
    name = b"event: %b%b" % (event.encode(), end) if event else b""
    return b"%bdata: %b%b%b" % (name, data, end, end)


def in_deltas(text: str, hand: Hand, rng: random.Random) -> Iterator[str]:
    at = 0
    while at < len(text):
        size = rng.randint(1, hand.most)
        yield text[at : at + size]
        at += size
