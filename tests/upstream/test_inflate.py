"""Undoing a content-encoding: whole, in pieces, bounded."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import Malformed
from hermes_router.upstream.inflate import PIECE, Inflate


def bare(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


PACK = {
    "gzip": ("gzip", gzip.compress),
    "X-GZIP": ("X-GZIP", gzip.compress),
    "two members": ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare),
}


@given(st.sampled_from(sorted(PACK)), st.binary(max_size=500), st.integers(1, 40), st.integers(1, 300))
def test_any_packing_and_any_cut_gives_the_data_back(name, data, step, times) -> None:
    """gzip with one or two members, deflate with and without zlib's frame, cut anywhere, pieces bounded."""
    coding, pack = PACK[name]
    data *= times
    packed = pack(data)
    inflate = Inflate(coding)
    pieces = [piece for n in range(0, len(packed), step) for piece in inflate.pieces(packed[n : n + step])]
    assert b"".join(pieces) == data
    assert inflate.whole()
    assert all(len(piece) <= PIECE for piece in pieces)


def test_a_cut_is_seen() -> None:
    """Without the coding's own end the body is not whole; without a byte it is."""
    inflate = Inflate("gzip")
    assert inflate.whole()
    list(inflate.pieces(gzip.compress(b"hello")[:-1]))
    assert not inflate.whole()


def test_other_codings_and_broken_data_are_malformed() -> None:
    """What we cannot decode is an error, never passed on packed."""
    for coding in ("br", "zstd", "gzip, gzip", ""):
        with pytest.raises(Malformed):
            Inflate(coding)
    with pytest.raises(Malformed):
        list(Inflate("gzip").pieces(b"no gzip at all"))


def test_a_bomb_is_refused() -> None:
    """Data that grows beyond any honest ratio ends, long before it is unpacked."""
    packed = gzip.compress(b"\0" * 50_000_000)
    made = 0
    with pytest.raises(Malformed, match="bomb"):
        for piece in Inflate("gzip").pieces(packed):
            made += len(piece)
    assert made <= 20_000_000
