"""Streams that misbehave, by name: what the upstream sent, and what the caller is sent for it.

Each directory of fixtures/openai_chat holds `upstream.sse`, `caller.sse` and `meta.toml`: whence it is (`origin` is
recorded, documented or synthetic), and the verdict (`finish`, or the class of the `error`).
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from hermes_router.core.errors import UpstreamError
from hermes_router.core.events import ChatEvent
from hermes_router.wire.sse import SSEDecoder

from .grammar import check_caller, check_events
from .streams import DONE, decoder, tr

ROOT = Path(__file__).parent / "fixtures" / "openai_chat"
CASES = sorted(path.name for path in ROOT.iterdir())


def meta_of(case: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / case / "meta.toml").read_text())


@pytest.mark.parametrize("case", CASES)
def test_a_misbehaving_stream_becomes_what_the_caller_should_see(case: str) -> None:
    """However it is cut on the way, the caller's bytes are those of the fixture, and the verdict is right."""
    meta = meta_of(case)
    options = {}
    if "think_tags" in meta:
        options["think_tags"] = tuple(meta["think_tags"])
    if "bare_end" in meta:
        options["bare_end"] = meta["bare_end"]
    played = tr(
        (ROOT / case / "upstream.sse").read_bytes(),
        clean=meta.get("clean", True),
        include_usage=meta.get("include_usage", False),
        **options,
    )
    assert played.sse.decode() == (ROOT / case / "caller.sse").read_text()
    assert (type(played.error).__name__ if played.error else None) == meta.get("error")
    frames = check_caller(played.sse)
    reasons = [c["finish_reason"] for f in frames for c in f["choices"] if c["finish_reason"]]
    assert reasons == ([meta["finish"]] if "finish" in meta else [])
    assert played.sse.endswith(DONE) == ("finish" in meta)


@pytest.mark.parametrize("case", CASES)
def test_its_events_keep_the_grammar(case: str) -> None:
    """Started Block* (Finished | Failed), up to the frame that is an error, if one is (design.md 2.4)."""
    one, sse = decoder(), SSEDecoder()
    events: list[ChatEvent] = []
    try:
        for frame in [*sse.feed((ROOT / case / "upstream.sse").read_bytes()), *sse.finish()]:
            if frame.data and frame.data != b"[DONE]":
                events.extend(one.events(one.parse(frame.data)))
    except UpstreamError:
        pass
    check_events([*events, *one.finish_stream(clean=True)])


@pytest.mark.parametrize("case", CASES)
def test_every_fixture_says_whence_it_is(case: str) -> None:
    """Origin, date and source; recordings are marked as such (design.md 4)."""
    meta = meta_of(case)
    assert meta["origin"] in {"recorded", "documented", "synthetic"}
    assert meta["date"]
    assert meta["source"]
    assert ("finish" in meta) != ("error" in meta)
