"""Embeddings in the OpenAI form, both ways: what a caller asks, what a provider is sent, and what it answers.

Owns the shapes of `/embeddings`. A vector stays as it came where it is in the encoding that was asked for; it is always
read, so that none leaves that holds something else than finite numbers. It must never know a target, or who is asked.
"""

import math
import sys
from array import array
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from hermes_router.core.errors import BadRequest, Malformed, UpstreamError
from hermes_router.wire.fields import escaped_bytes, integer, read_body, string

__all__ = ["FIXED", "EmbedRequest", "Told", "compose", "parse_request", "read_answer", "recoded", "render"]

_MOST_INPUTS: Final = 2_048
_MOST_DIMENSIONS: Final = 1_000_000
_LAST_TOKEN: Final = 2**31 - 1
_WIDTH: Final = 4  # bytes of a float32
_OURS: Final = frozenset({"model", "input"})
FIXED: Final = frozenset({*_OURS, "dimensions"})
"""The fields that decide what a vector is: never left out of a request."""

_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_RAWS: Final = msgspec.json.Decoder(list[Raw])
_TOKENS: Final = msgspec.json.Decoder(list[int])
_NUMBERS: Final = msgspec.json.Decoder(list[float])
_TEXT: Final = msgspec.json.Decoder(str)
_ENCODER: Final = msgspec.json.Encoder()
_NULL: Final = Raw(b"null")
_QUOTE, _BRACKET = b'"['
_DIGITS: Final = frozenset(b"-0123456789")


class EmbedRequest(NamedTuple):
    """A caller's request, parsed.

    `inputs` are as they came, each a text or a list of tokens (`tokens`); `sizes` estimates each in tokens. `single` =
    one input that was no list of inputs. `base64` is the encoding asked for, `dimensions` None where none were.
    """

    model: str
    inputs: Sequence[Raw]
    sizes: Sequence[int]
    tokens: bool
    single: bool
    dimensions: int | None
    base64: bool
    fields: Mapping[str, Raw]


def parse_request(body: bytes) -> EmbedRequest:
    """Parse a body. Raises BadRequest with the path of what is wrong."""
    fields = read_body(body, _FIELDS.decode)
    model = string(fields, "model") or ""
    inputs, tokens, single = _inputs(fields.get("input"))
    encoding = string(fields, "encoding_format")
    if encoding not in {None, "float", "base64"}:
        raise BadRequest("encoding_format must be 'float' or 'base64'", param="encoding_format")
    dimensions = integer(fields, "dimensions", 1, _MOST_DIMENSIONS)
    sizes = [_size(one, n, tokens=tokens, single=single) for n, one in enumerate(inputs)]
    return EmbedRequest(model, inputs, sizes, tokens, single, dimensions, encoding == "base64", fields)


def _inputs(raw: Raw | None) -> tuple[list[Raw], bool, bool]:
    """The inputs, whether they are tokens, and whether there was one alone."""
    if raw is None or raw == _NULL:
        raise BadRequest("input is required: a text, a list of texts, or tokens", param="input")
    first = memoryview(raw)[0]
    if first == _QUOTE:
        return [raw], False, True
    if first != _BRACKET:
        raise BadRequest(
            "input must be a text, a list of texts, a list of tokens or a list of such lists", param="input"
        )
    found = _RAWS.decode(raw)
    if not found:
        raise BadRequest("input must not be empty", param="input")
    kinds = [_kind(one) for one in found]
    odd = next((n for n, kind in enumerate(kinds) if not kind or kind != kinds[0]), None)
    if odd is not None:
        wanted = "a text or a list of tokens" if not kinds[0] else f"{kinds[0]}, as the first one is"
        raise BadRequest(f"input[{odd}] must be {wanted}", param=f"input[{odd}]")
    if kinds[0] == "a token":
        return [raw], True, True
    if len(found) > _MOST_INPUTS:
        raise BadRequest(f"input holds {len(found)} inputs; {_MOST_INPUTS} is the most", param="input")
    return found, kinds[0] == "a list of tokens", False


def _kind(raw: Raw) -> str:
    """What stands there, in words; empty for what may not."""
    first = memoryview(raw)[0]
    if first == _QUOTE:
        return "a text"
    if first == _BRACKET:
        return "a list of tokens"
    return "a token" if first in _DIGITS else ""


def _size(raw: Raw, number: int, *, tokens: bool, single: bool) -> int:
    """An input in tokens, estimated. Raises BadRequest where it is empty, or no list of tokens."""
    path = "input" if single else f"input[{number}]"
    if tokens:
        try:
            found = _TOKENS.decode(raw)
        except msgspec.ValidationError:
            raise BadRequest(f"{path} must be a list of tokens: whole numbers", param=path) from None
        if not found:
            raise BadRequest(f"{path} must not be empty", param=path)
        if min(found) < 0 or max(found) > _LAST_TOKEN:
            raise BadRequest(f"{path} holds a number that is no token", param=path)
        return len(found)
    if len(raw) == 2:
        raise BadRequest(f"{path} must not be empty", param=path)
    try:
        _TEXT.decode(raw)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BadRequest(f"{path} cannot be read: {error}", param=path) from None
    return max(0, len(raw) - 2 - escaped_bytes(raw)) * 5 // 18 + 1


def compose(
    asked: EmbedRequest, part: slice, *, model: str, own_size: bool, without: frozenset[str] = frozenset()
) -> tuple[bytes, list[str]]:
    """The body for some of the inputs, and the names of the fields that were left out of it.

    `own_size` = the model takes no `dimensions` and is asked for its own length. `without` are fields that it refuses;
    those that decide what a vector is are sent all the same.
    """
    fields: dict[str, object] = {}
    dropped: list[str] = []
    for name, raw in asked.fields.items():
        if name in _OURS or raw == _NULL or (own_size and name == "dimensions"):
            continue  # null says nothing, and strict providers refuse it
        if name in without and name not in FIXED:
            dropped.append(name)
        else:
            fields[name] = raw
    inputs = asked.inputs[part]
    fields["model"] = model
    fields["input"] = inputs[0] if asked.single else inputs
    return _ENCODER.encode(fields), dropped


class _Row(msgspec.Struct):
    embedding: Raw
    index: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Row] | None = None
    model: Any = None
    usage: Any = None
    error: Any = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


class Told(NamedTuple):
    """What a provider answered: the vectors as they came, in the order of the inputs. Tokens None = not reported."""

    vectors: list[Raw]
    model: str | None
    prompt_tokens: int | None
    total_tokens: int | None


def read_answer(body: bytes, number: int, in_band: Callable[[object], UpstreamError]) -> Told:
    """The answer to `number` inputs. Raises Malformed, and what `in_band` makes of an error object in a 200."""
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _malformed(f"no answer with vectors: {error}") from None
    if answer.error is not None:
        raise in_band(answer.error)
    rows = answer.data
    if rows is None or len(rows) != number:
        raise _malformed(f"{0 if rows is None else len(rows)} vectors for {number} inputs")
    if any(row.index is not None for row in rows):
        if {row.index for row in rows} != set(range(number)):
            raise _malformed("vectors whose indexes are not those of the inputs")
        rows.sort(key=_index)
    usage = answer.usage if isinstance(answer.usage, dict) else {}
    prompt, total = _count(usage.get("prompt_tokens")), _count(usage.get("total_tokens"))
    model = answer.model if isinstance(answer.model, str) and answer.model else None
    return Told([row.embedding for row in rows], model, prompt if prompt is not None else total, total)


def _index(row: _Row) -> int:
    return row.index or 0


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def recoded(vectors: Sequence[Raw], *, base64: bool) -> Iterator[tuple[Raw, int]]:
    """Each vector in the encoding that is wanted, and its length. Raises Malformed for what is no vector."""
    for raw in vectors:
        if memoryview(raw)[0] == _QUOTE:
            packed = _unpacked(raw)
            yield (raw if base64 else Raw(_ENCODER.encode(_numbers(packed).tolist()))), len(packed) // _WIDTH
        else:
            try:
                floats = _NUMBERS.decode(raw)
            except msgspec.MsgspecError:
                raise _malformed("a vector that is no list of numbers") from None
            if not floats:
                raise _malformed("an empty vector")
            yield (_packed(floats) if base64 else raw), len(floats)


def _packed(floats: list[float]) -> Raw:
    """Little-endian float32 in base64, as SDKs read it."""
    numbers = array("f", floats)
    if not math.isfinite(sum(numbers)):
        raise _malformed("a number beyond float32")
    if sys.byteorder == "big":
        numbers.byteswap()
    return Raw(b'"' + b64encode(numbers.tobytes()) + b'"')


def _unpacked(raw: Raw) -> bytes:
    """Little-endian float32, all of them finite. Raises Malformed."""
    try:
        packed = b64decode(bytes(raw)[1:-1].replace(b"\\/", b"/"), validate=True)
    except (Base64Error, ValueError):
        raise _malformed("a vector that is no base64") from None
    if not packed or len(packed) % _WIDTH:
        raise _malformed("a vector that is no base64 of float32")
    tops = packed[_WIDTH - 1 :: _WIDTH]  # the byte with sign and exponent: of a number below 2^127 it is none of these
    if (b"\x7f" in tops or b"\xff" in tops) and not math.isfinite(sum(_numbers(packed))):
        raise _malformed("a vector that is not of finite numbers")
    return packed


def _numbers(packed: bytes) -> "array[float]":
    numbers = array("f")
    numbers.frombytes(packed)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _malformed(said: str) -> Malformed:
    """It is the model's fault: chat at the same provider may be in order."""
    return Malformed(said, scope="model")


def render(vectors: Sequence[Raw], *, model: str, prompt_tokens: int, total_tokens: int) -> bytes:
    """The whole answer, in one copy that lets other threads run."""
    pieces: list[bytes | Raw] = [b'{"object":"list","data":[']
    for number, one in enumerate(vectors):
        comma = b"," if number else b""
        pieces += (b'%b{"object":"embedding","index":%d,"embedding":' % (comma, number), one, b"}")
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": total_tokens}
    pieces.append(b'],"model":%b,"usage":%b}' % (_ENCODER.encode(model), _ENCODER.encode(usage)))
    return b"".join(pieces)
