"""Messages streams by name: what the upstream sent, the events that it means, and what a Messages caller is sent for them.

Each directory of fixtures/anthropic_messages holds `upstream.sse`, `events.jsonl`, `caller.sse` and `meta.toml`: whence
it is (`origin` is recorded, documented or synthetic), and the verdict (`finish`, the caller's stop reason, or the class
of the `error`).
"""

import tomllib
from pathlib import Path
from typing import Any

import anthropic
import pytest

from hermes_router.core.events import BlockKind, ChatEvent, Failed, Finished, Usage, UsageSeen, fold

from .grammar import check_events
from .messages_streams import accumulated, check_messages, encode, joined, line_of, run
from .streams import ways

ROOT = Path(__file__).parent / "fixtures" / "anthropic_messages"
CASES = sorted(path.name for path in ROOT.iterdir())


def meta_of(case: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / case / "meta.toml").read_text())


def events_of(case: str) -> list[ChatEvent]:
    return run([(ROOT / case / "upstream.sse").read_bytes()], clean=meta_of(case).get("clean", True))


@pytest.mark.parametrize("case", CASES)
def test_a_stream_means_the_events_of_its_fixture(case: str) -> None:
    """However it is cut on the way, and whichever lane asks, its events and their grammar are the same."""
    body, meta = (ROOT / case / "upstream.sse").read_bytes(), meta_of(case)
    expected = (ROOT / case / "events.jsonl").read_text()
    for pieces in ways(body):
        for plain in (False, True):
            events = run(pieces, clean=meta.get("clean", True), plain=plain)
            check_events(events)
            assert "".join(line_of(event) + "\n" for event in joined(events)) == expected
    last = events[-1]
    assert (type(last.error).__name__ if isinstance(last, Failed) else None) == meta.get("error")


@pytest.mark.parametrize("case", CASES)
def test_a_caller_is_sent_what_the_fixture_says(case: str) -> None:
    """Our frames keep the grammar of providers.md 12.10, and end as they should."""
    events = events_of(case)
    usages = [event.usage for event in events if isinstance(event, UsageSeen)]
    sse = encode(events, usages[-1] if usages else Usage(10, 5))
    assert sse.decode() == (ROOT / case / "caller.sse").read_text()
    frames = check_messages(sse)
    reasons = [frame["delta"]["stop_reason"] for frame in frames if frame["type"] == "message_delta"]
    assert reasons == ([meta_of(case)["finish"]] if "finish" in meta_of(case) else [])


@pytest.mark.parametrize("case", CASES)
def test_the_sdk_reads_the_same_answer_out_of_it(case: str) -> None:
    """Anthropic's own accumulator finds the text, the thoughts and the calls of the events, or raises on the error."""
    sse = (ROOT / case / "caller.sse").read_bytes()
    events = events_of(case)
    if isinstance(events[-1], Failed):
        with pytest.raises(anthropic.APIStatusError):
            accumulated(sse)
        return
    assert isinstance(events[-1], Finished)
    answer, message = fold(events), accumulated(sse)
    assert "".join(b.text for b in message.content if b.type == "text") == answer.text()
    assert "".join(b.thinking for b in message.content if b.type == "thinking") == answer.text(BlockKind.REASONING)
    assert [(b.id, b.name) for b in message.content if b.type == "tool_use"] == [
        (b.call_id, b.name) for b in answer.blocks if b.kind is BlockKind.TOOL_CALL
    ]


@pytest.mark.parametrize("case", CASES)
def test_every_fixture_says_whence_it_is(case: str) -> None:
    """Origin, date and source; recordings are marked as such (design.md 4)."""
    meta = meta_of(case)
    assert meta["origin"] in {"recorded", "documented", "synthetic"}
    assert meta["date"]
    assert meta["source"]
    assert ("finish" in meta) != ("error" in meta)
