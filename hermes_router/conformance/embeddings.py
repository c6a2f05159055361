"""Embeddings, in the one spelling that there is: its shape, and vectors in both of their forms.

Owns the checks of that path. Errors are told as Chat's.
"""

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hermes_router.conformance.answer import Wrong
from hermes_router.conformance.chat import Chat
from hermes_router.conformance.endpoint import Heard
from hermes_router.conformance.extra import EMBEDDINGS, Extra, Visit
from hermes_router.conformance.reply import Refused, refusal
from hermes_router.conformance.shapes import anything, count, each, faults, filled, members, number, one_of, shown

PATH: Final = "/embeddings"
_TEXT: Final = "The harbour at night."
_OTHER: Final = "A recipe for bread."
_NEAR: Final = 1e-3  # a float of 4 bytes, and a model that may round
_BODY: Final = members(
    {
        "object": one_of("list"),
        "data": each(members({"object": one_of("embedding"), "index": count, "embedding": anything}), least=1),
        "model": filled,
        "usage": members({"prompt_tokens": count, "total_tokens": count}),
    }
)


class Embeddings(Chat):
    """Its path, and how its errors look; there is nothing to be read as an answer."""

    name = EMBEDDINGS
    path = PATH


async def _embed(visit: Visit, **body: Any) -> Mapping[str, Any]:
    """The body of an answer that is well formed but for its vectors. Raises Refused and Wrong."""
    heard = await visit.asker.post(PATH, {"model": visit.model, **body}, visit.headers)
    if heard.status != 200:
        raise refusal(visit.tongue, heard)
    if found := faults(_BODY, heard.json):
        raise Wrong("; ".join(found[:3]))
    indexes = [one["index"] for one in heard.json["data"]]
    if indexes != list(range(len(indexes))):
        raise Wrong(f"the vectors are numbered {shown(indexes)}")
    return dict(heard.json)


def _floats(body: Mapping[str, Any], at: int = 0) -> Sequence[float]:
    vector = body["data"][at]["embedding"]
    for why in faults(each(number, least=1), vector, f"data[{at}].embedding"):
        raise Wrong(why)
    return list(vector)


async def _one(visit: Visit) -> None:
    _floats(await _embed(visit, input=_TEXT, encoding_format="float"))


async def _base64(visit: Visit) -> None:
    floats = _floats(await _embed(visit, input=_TEXT, encoding_format="float"))
    packed = (await _embed(visit, input=_TEXT, encoding_format="base64"))["data"][0]["embedding"]
    if not isinstance(packed, str):
        raise Wrong(f"base64 was asked for, and the vector is {shown(packed, 40)}")
    try:
        raw = base64.b64decode(packed, validate=True)
    except binascii.Error:
        raise Wrong(f"the vector is not base64: {shown(packed, 40)}") from None
    if len(raw) != 4 * len(floats):
        raise Wrong(f"{len(raw)} bytes of base64 for {len(floats)} numbers: 4 bytes each are meant")
    unpacked = struct.unpack(f"<{len(floats)}f", raw)
    if any(not math.isclose(a, b, abs_tol=_NEAR) for a, b in zip(floats, unpacked, strict=True)):
        raise Wrong("the vector in base64, read as little-endian floats, is another one than the plain one")


async def _batch(visit: Visit) -> None:
    body = await _embed(visit, input=[_TEXT, _OTHER], encoding_format="float")
    if len(body["data"]) != 2:
        raise Wrong(f"two texts, and {len(body['data'])} vectors")
    one, other = _floats(body, 0), _floats(body, 1)
    if len(one) != len(other):
        raise Wrong(f"two vectors of one batch have {len(one)} and {len(other)} numbers")
    if one == other:
        raise Wrong("two texts that have nothing in common have the same vector")


async def _dimensions(visit: Visit) -> None:
    whole = len(_floats(await _embed(visit, input=_TEXT, encoding_format="float")))
    wanted = max(1, whole // 2)
    came = len(_floats(await _embed(visit, input=_TEXT, encoding_format="float", dimensions=wanted)))
    if came != wanted:
        raise Wrong(f"{wanted} dimensions were asked for, and {came} came")


async def _no_text(visit: Visit) -> None:
    await _mistake(visit, [])


async def _wrong_type(visit: Visit) -> None:
    await _mistake(visit, {"a": 1})


async def _mixed(visit: Visit) -> None:
    await _mistake(visit, [_TEXT, 1])


async def _mistake(visit: Visit, value: Any) -> None:
    heard: Heard = await visit.asker.post(PATH, {"model": visit.model, "input": value}, visit.headers)
    if heard.status == 200:
        raise Wrong(f"input {shown(value)} was taken as if nothing were wrong with it")
    error = refusal(visit.tongue, heard)
    if not isinstance(error, Refused):
        raise error
    if error.faults or not error.names(["input"]):
        raise Wrong(f"input {shown(value)} is refused without naming input: {shown(error.message)}")


_AREA: Final = "Embeddings"
VECTORS: Final = tuple(
    Extra(f"embeddings.{name}", _AREA, title, (EMBEDDINGS,), run, terms)
    for name, title, run, terms in (
        ("floats", "one text, as numbers", _one, ("embedding", "model")),
        ("base64", "the same in base64", _base64, ("encoding_format",)),
        ("batch", "two texts at once", _batch, ("input",)),
        ("dimensions", "fewer dimensions", _dimensions, ("dimensions",)),
        ("empty", "no text at all", _no_text, ()),
        ("wrong_type", "an object instead of a text", _wrong_type, ()),
        ("mixed", "texts and numbers in one list", _mixed, ()),
    )
)
