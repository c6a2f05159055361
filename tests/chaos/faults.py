"""What goes wrong with one attempt, and where.

Owns the kinds of fault with their weights, and the scripts that they make of a good answer.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hermes_router.core.errors import Truncated, Unreachable

from .hand import Kind, Piece
from .scripts import JSON, SSE, Script, Step, in_bits, joined

HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>\n"
FOREVER_S = 100_000.0
_LIFE_S = 5.0  # between the comments of somebody who says nothing else


# --- heads --------------------------------------------------------------------------------------------------


def _refused(status: int, text: str, **headers: str) -> Callable[[], list[Step]]:
    body = json.dumps({"error": {"message": text, "type": "server_error"}}).encode()
    return lambda: [Step(head=(status, {**JSON, **headers})), Step(data=body), Step(end=True)]


HEADS: Final[dict[str, Callable[[], list[Step]]]] = {
    "500": _refused(500, "internal error"),
    "503": _refused(503, "try again later"),
    "529": _refused(529, "Overloaded"),
    "429": _refused(429, "slow down"),
    "429 for a minute": _refused(429, "slow down", **{"retry-after": "60"}),
    "401": _refused(401, "invalid api key"),
    "HTML head": lambda: [Step(head=(200, {"content-type": "text/html"})), Step(data=HTML), Step(end=True)],
    "HTML 502": lambda: [Step(head=(502, {"content-type": "text/html"})), Step(data=HTML), Step(end=True)],
    "redirect": lambda: [Step(head=(302, {"location": "http://elsewhere.invalid/"})), Step(end=True)],
    "unreachable": lambda: [Step(error=Unreachable("refused"))],
    "no head": lambda: [Step(FOREVER_S, error=Truncated("too late"))],
    "head and silence": lambda: [Step(head=(200, SSE)), Step(FOREVER_S, error=Truncated("too late"))],
    "nothing": lambda: [Step(head=(200, SSE)), Step(end=True)],
    "error as JSON": lambda: [Step(head=(200, JSON)), Step(data=b'{"error":{"message":"boom"}}'), Step(end=True)],
    "comments for ever": lambda: [
        Step(head=(200, SSE)), *(Step(_LIFE_S, data=b": working\n\n") for _ in range(200)), Step(error=Truncated("late")),
    ],
}  # fmt: skip

# --- in the body, at byte or frame k ------------------------------------------------------------------------

IN_STREAM: Final[dict[str, float]] = {
    "cut": 20, "reset": 8, "clean end": 14, "half frame, end": 6, "silence": 8, "comments, then cut": 3,
    "bad UTF-8": 4, "garbage frame": 4, "HTML inside": 3, "error object": 10, "finish error": 5, "no finish": 6,
    "second start": 3, "empty": 2,
}  # fmt: skip
IN_BODY: Final[dict[str, float]] = {
    "cut": 10, "short length": 6, "silence": 4, "bad UTF-8": 3, "garbage": 3, "error object": 6, "finish error": 3,
    "no finish": 4, "empty": 3,
}  # fmt: skip
_HEAD_SHARE = 0.25

_ERRORS: Final[dict[str, list[bytes]]] = {
    "openai_chat": [
        b'data: {"error":{"message":"upstream died","code":502}}\n\n',
        b'data: {"id":"x","object":"chat.completion.chunk","choices":[],"error":{"message":"upstream died"}}\n\n',
        b'event: error\ndata: {"message":"upstream died"}\n\n',
    ],
    "anthropic_messages": [
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
        b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"Internal server error"}}\n\n',
    ],
    "openai_responses": [
        (
            b'event: response.failed\ndata: {"type":"response.failed","sequence_number":99999,"response":{"id":"resp_x",'
            b'"object":"response","status":"failed","error":{"code":"server_error","message":"died"},"output":[]}}\n\n'
        ),
        b'event: error\ndata: {"type":"error","sequence_number":99999,"code":"server_error","message":"died"}\n\n',
    ],
}
_FINISH_ERRORS: Final[dict[str, bytes]] = {
    "openai_chat": b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},'
    b'"finish_reason":"error"}]}\n\ndata: [DONE]\n\n',
    "anthropic_messages": b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"error"},'
    b'"usage":{"output_tokens":3}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
    "openai_responses": b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"resp_x",'
    b'"status":"failed","error":{"code":"server_error","message":"died"},"output":[]}}\n\n',
}


def draw(rng: random.Random, *, stream: bool) -> str:
    """The name of a fault."""
    if rng.random() < _HEAD_SHARE:
        names = [
            name for name in HEADS if stream or name not in {"error as JSON", "head and silence", "comments for ever"}
        ]
        return rng.choice(names)
    table = IN_STREAM if stream else IN_BODY
    return rng.choices(list(table), list(table.values()))[0]


@dataclass(frozen=True)
class _Spot:
    """Where a stream goes wrong: within the piece `at`, of which `part` came."""

    dialect: str
    pieces: list[Piece]
    at: int
    part: bytes
    rng: random.Random

    @property
    def before(self) -> bytes:
        """All whole pieces up to there."""
        return joined(self.pieces[: self.at])

    @property
    def cut(self) -> bytes:
        """All bytes up to there."""
        return self.before + self.part

    @property
    def here(self) -> Piece:
        """The piece that is hit."""
        return self.pieces[self.at]

    @property
    def whole(self) -> bool:
        """Whether the upstream has said by then that all was said."""
        if any(piece.kind == "finish" for piece in self.pieces[: self.at]):
            return True
        if self.here.kind == "finish" and self.part.strip() == self.here.data.strip():
            return True  # all but a line's end came
        calls = [n for n, piece in enumerate(self.pieces) if piece.kind == "call"]
        return self.dialect == "openai_chat" and bool(calls) and calls[-1] < self.at  # cases.md PI-1

    def without(self, *kinds: Kind) -> bytes:
        """The stream without pieces of these kinds."""
        return joined([piece for piece in self.pieces if piece.kind not in kinds])


_Wrong = tuple[bytes, list[Step], bool]
_END = [Step(end=True)]


def _broken(said: str, wait_s: float = 0.0) -> list[Step]:
    return [Step(wait_s, error=Truncated(said, status=200))]


def _comments(spot: _Spot) -> _Wrong:
    comments = [Step(_LIFE_S, data=b": working\n\n") for _ in range(spot.rng.randint(1, 20))]
    return spot.before, [*comments, *_broken("cut")], spot.whole


def _bad_utf8(spot: _Spot) -> _Wrong:
    inner = spot.here.data
    spoiled = inner.replace(b'"', b'"\xff\xfe', 1) if b'"' in inner else b'data: {"\xff"}\n\n'
    passed_over = spot.here.kind in {"head", "mark", "tail"}
    return spot.before + spoiled + joined(spot.pieces[spot.at + 1 :]), _END, spot.whole or passed_over


def _error_object(spot: _Spot) -> _Wrong:
    rest = spot.pieces[-1].data if spot.rng.random() < 0.5 else b""
    return spot.before + spot.rng.choice(_ERRORS[spot.dialect]) + rest, _END, spot.whole


def _no_finish(spot: _Spot) -> _Wrong:
    if spot.dialect != "openai_chat":
        return spot.without("finish", "tail"), _END, False
    called = any(piece.kind == "call" for piece in spot.pieces)  # cases.md PI-1
    return spot.without("finish", "tail") + b"data: [DONE]\n\n", _END, called


def _second_start(spot: _Spot) -> _Wrong:
    other = spot.pieces[0].data
    for prefix in (b"chatcmpl-", b'"msg_', b'"resp_'):
        other = other.replace(prefix, prefix + b"other")
    return spot.before + other, _broken("cut"), spot.whole


def _empty(spot: _Spot) -> _Wrong:
    kinds: tuple[Kind, ...] = ("reasoning", "text", "call", "mark")
    if spot.dialect == "openai_responses":  # whose last event repeats what was said
        kinds = (*kinds, "finish")
    return spot.without(*kinds), _END, False


_SPOILERS: Final[dict[str, Callable[[_Spot], _Wrong]]] = {
    "cut": lambda spot: (spot.cut, _broken("the connection ended within the body"), spot.whole),
    "reset": lambda spot: (spot.cut, _broken("reset", spot.rng.random() * 20), spot.whole),
    "clean end": lambda spot: (spot.before, _END, spot.whole),
    "half frame, end": lambda spot: (spot.cut, _END, spot.whole),
    "silence": lambda spot: (spot.cut, [Step(FOREVER_S, end=True)], spot.whole),
    "comments, then cut": _comments,
    "bad UTF-8": _bad_utf8,
    "garbage frame": lambda spot: (spot.before + b"data: {oops\n\n" + spot.here.data, _broken("cut"), spot.whole),
    "HTML inside": lambda spot: (spot.before + HTML, _END, spot.whole),
    "error object": _error_object,
    "finish error": lambda spot: (spot.before + _FINISH_ERRORS[spot.dialect], _END, spot.whole),
    "no finish": _no_finish,
    "second start": _second_start,
    "empty": _empty,
}


def bad(name: str, dialect: str, pieces: list[Piece], rng: random.Random) -> Script:
    """A stream with this fault, at a random place."""
    if name in HEADS:
        return Script([*HEADS[name]()], whole=False, fault=name)
    at = rng.randrange(len(pieces))
    spot = _Spot(dialect, pieces, at, pieces[at].data[: rng.randrange(len(pieces[at].data))], rng)
    data, tail, whole = _SPOILERS[name](spot)
    return Script([Step(rng.random(), head=(200, SSE)), *in_bits(data, rng), *tail], whole=whole, fault=name)


def bad_whole(name: str, body: bytes, rng: random.Random) -> Script:
    """A whole answer with this fault."""
    if name in HEADS:
        return Script([*HEADS[name]()], whole=False, fault=name)
    whole = False
    if name == "no finish":  # a whole body of Messages needs none, and a call of Chat needs none (cases.md PI-1)
        if b'"stop_reason"' in body:
            name = "short length"
        whole = b'"tool_calls"' in body
    cut = body[: rng.randrange(len(body))]
    tail = [Step(end=True)]
    match name:
        case "cut":
            data, tail = cut, [Step(error=Truncated("cut", status=200))]
        case "short length":
            data = cut
        case "silence":
            data, tail = cut, [Step(FOREVER_S, error=Truncated("too late"))]
        case "bad UTF-8":
            at = body.index(b'"')
            data = body[: at + 1] + b"\xff" + body[at + 1 :]
        case "garbage":
            data = b"{oops"
        case "error object":
            data = b'{"error":{"message":"died","code":502}}'
        case _:
            data = json.dumps(_spoiled(name, json.loads(body))).encode()
    return Script([Step(rng.random() * 5, head=(200, JSON)), *in_bits(data, rng), *tail], whole=whole, fault=name)


def _spoiled(name: str, value: dict[str, Any]) -> dict[str, Any]:
    """A body that lacks its end, its content, or ends in an error."""
    ends = {"finish error": "error", "no finish": None}
    for choice in value.get("choices", ()):
        choice["finish_reason"] = ends.get(name, "stop")
        if name == "empty":
            choice["message"] = {"role": "assistant", "content": ""}
    if "stop_reason" in value:
        value["stop_reason"] = ends.get(name, "end_turn")
        value["content"] = [] if name == "empty" else value["content"]
    if value.get("object") == "response":
        value["status"] = {"finish error": "failed", "no finish": "in_progress"}.get(name, "completed")
        value["output"] = [] if name == "empty" else value["output"]
    return value
