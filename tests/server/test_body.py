"""hermes_router/server/body.py: bodies within a bound, packed or not."""

import gzip
import json
import sys
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import BadRequest
from hermes_router.server.body import CODINGS, PIECE, Unpacker

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHAT = "/v1/chat/completions"
BODY = json.dumps({"model": "hermes-router", "messages": [{"role": "user", "content": "hi " * 500}]}).encode()


def _bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACK = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress}


@pytest.mark.parametrize("coding", [*CODINGS, "GZIP", "identity"])
async def test_packed_bodies_are_understood(serve: Any, speak: Any, coding: str) -> None:
    """Every coding of the table is undone, whatever its case."""
    router = await serve(speak.whole())
    data = PACK.get(coding.lower(), bytes)(BODY)
    answer = await router.ask("POST", CHAT, data, {"Content-Encoding": coding})
    assert answer.status == 200
    assert b"hi hi hi" in router.providers.requests[0].body


@pytest.mark.parametrize("coding", ["br", "compress", "gzip, zstd", "nonsense"])
async def test_an_unknown_coding_is_400(serve: Any, coding: str) -> None:
    """A coding that is not understood is named, and no provider is asked."""
    router = await serve()
    answer = await router.ask("POST", CHAT, BODY, {"Content-Encoding": coding})
    assert answer.status == 400
    assert "content-encoding" in answer.error["message"]
    assert not router.providers.requests


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", BODY),
        ("gzip", gzip.compress(BODY)[:-9]),
        ("gzip", gzip.compress(BODY)[:40] + b"\xff" * 40),
        ("gzip", gzip.compress(BODY) + b"trailing"),
        ("deflate", b"\x78\x9cnonsense"),
        ("deflate", _bare_deflate(BODY)[:-3]),
        ("zstd", BODY),
        ("zstd", zstd.compress(BODY)[:-5]),
        ("zstd", b"\x28\xb5\x2f\xfd" + b"\xff" * 30),
    ],
)
async def test_broken_packing_is_400_json(serve: Any, speak: Any, coding: str, data: bytes) -> None:
    """Garbage, a cut and what follows the end are the caller's mistake; the connection stays in step."""
    router = await serve()
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, data, {"Content-Encoding": coding}))
    answer = await wire.answer()
    assert answer.status == 400
    assert coding in answer.error["message"]
    wire.send(speak.request("GET", "/health"))
    assert (await wire.answer()).status == 200


@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
async def test_a_body_over_the_limit_is_413(serve: Any, speak: Any, length: bool) -> None:
    """Above MAX_REQUEST_BYTES is 413 that names the setting, announced or chunked; at the limit it is taken."""
    router = await serve(speak.whole(), MAX_REQUEST_BYTES=str(len(BODY)))

    async def post(body: bytes) -> Any:
        if length:
            return await router.ask("POST", CHAT, body)
        wire = await router.wire()
        wire.send(speak.request("POST", CHAT, headers={"Transfer-Encoding": "chunked"}))
        wire.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        return await wire.answer()

    assert (await post(BODY)).status == 200
    refused = await post(BODY + b" ")
    assert refused.status == 413
    assert "MAX_REQUEST_BYTES" in refused.error["message"]
    assert len(router.providers.requests) == 1


async def test_an_announced_giant_is_refused_before_it_comes(serve: Any, speak: Any) -> None:
    """A Content-Length above the limit is answered without a byte of the body."""
    router = await serve()
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, headers={"Content-Length": "99999999999"}))
    assert (await wire.answer()).status == 413


async def test_after_a_413_the_connection_is_in_step(serve: Any, speak: Any) -> None:
    """What is left of a refused body is read off, and the next request on the connection is answered."""
    router = await serve(speak.whole(), MAX_REQUEST_BYTES="1000")
    wire = await router.wire()
    wire.send(speak.request("POST", CHAT, b"x" * 300_000))
    wire.send(speak.request("GET", "/health"))
    assert (await wire.answer()).status == 413
    assert (await wire.answer()).json == {"status": "ok"}


@pytest.mark.parametrize("coding", ["gzip", "zstd", "deflate"])
async def test_a_bomb_costs_no_more_than_the_limit(serve: Any, coding: str) -> None:
    """Bodies count unpacked: 40 MB of zeros in a few KB are 413, and the memory stays near the limit."""
    router = await serve(MAX_REQUEST_BYTES="2000000")
    bomb = PACK[coding](bytes(40_000_000))
    assert len(bomb) < 300_000
    tracemalloc.start()
    try:
        answer = await router.ask("POST", CHAT, bomb, {"Content-Encoding": coding})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status == 413
    assert answer.error["message"].startswith("The request body is larger")
    assert peak < 8_000_000


async def test_a_packed_body_that_unpacks_to_nothing_has_its_bound(serve: Any) -> None:
    """Endless empty members are broken data, not endless work."""
    router = await serve()
    answer = await router.ask("POST", CHAT, gzip.compress(b"") * 5_000, {"Content-Encoding": "gzip"})
    assert answer.status == 400


@given(st.binary(max_size=300_000), st.integers(1, 50_000), st.sampled_from(sorted(PACK)))
def test_unpacking_is_the_same_for_every_split(data: bytes, step: int, coding: str) -> None:
    """However a body is split, the same bytes come out, in pieces of at most PIECE."""
    packed = PACK[coding](data)
    unpacker = Unpacker(coding)
    out = [piece for i in range(0, len(packed), step) for piece in unpacker.pieces(packed[i : i + step])]
    unpacker.finish()
    assert b"".join(out) == data
    assert all(0 < len(piece) <= PIECE for piece in out)


@given(st.binary(min_size=1, max_size=2_000), st.sampled_from(sorted(CODINGS)))
def test_garbage_is_nothing_worse_than_a_bad_request(data: bytes, coding: str) -> None:
    """Any bytes unpack or raise BadRequest, never anything else."""
    unpacker = Unpacker(coding)
    try:
        for _ in unpacker.pieces(data):
            pass
        unpacker.finish()
    except BadRequest:
        pass


def test_several_members_are_one_body() -> None:
    """Concatenated gzip members and zstd frames are one body, also where the bare deflate has no frame."""
    for coding in ("gzip", "zstd"):
        unpacker = Unpacker(coding)
        packed = PACK[coding](b"one ") + PACK[coding](b"two")
        assert b"".join(unpacker.pieces(packed)) == b"one two"
        unpacker.finish()
    bare = Unpacker("deflate")
    assert b"".join(bare.pieces(_bare_deflate(BODY))) == BODY
    bare.finish()
