"""Responses streams by name: what the upstream sent, the events it means, and what a Responses caller is sent for them.

Each directory of fixtures/openai_responses holds `upstream.sse`, `events.jsonl`, `caller.sse` and `meta.toml`: whence it
is (`origin` is recorded, documented or synthetic), and the verdict (`finish`: completed, or why it is incomplete; or the
class of the `error`).
"""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from hermes_router.core.events import BlockKind, Failed, Usage, UsageSeen, fold

from .grammar import check_events
from .responses_streams import INCLUDE, answered, check_caller, encode, joined, line_of, run
from .streams import ways

ROOT = Path(__file__).parent / "fixtures" / "openai_responses"
CASES = sorted(path.parent.name for path in ROOT.glob("*/upstream.sse"))


def meta_of(case: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / case / "meta.toml").read_text())


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
    meta = meta_of(case)
    events = joined(run([(ROOT / case / "upstream.sse").read_bytes()], clean=meta.get("clean", True)))
    usages = [event.usage for event in events if isinstance(event, UsageSeen)]
    sse = encode(events, usages[-1] if usages else Usage(10, 5), include=INCLUDE)
    assert sse.decode() == (ROOT / case / "caller.sse").read_text()
    last = check_caller(sse)[-1]
    if "error" in meta:
        assert last["type"] == "response.failed"
        assert last["response"]["error"]["code"]
        return
    why = last["response"]["incomplete_details"]
    assert (why["reason"] if why else last["response"]["status"]) == meta["finish"]
    assert last["response"]["usage"]["total_tokens"] == usages[-1].input_tokens + usages[-1].output_tokens


@pytest.mark.parametrize("case", CASES)
def test_the_sdk_reads_the_same_answer_out_of_it(case: str) -> None:
    """The openai SDK's stream helper finds the text, the thoughts and the calls of the events, or no good end."""
    answer = fold(run([(ROOT / case / "upstream.sse").read_bytes()], clean=meta_of(case).get("clean", True)))
    with answered((ROOT / case / "caller.sse").read_bytes()).responses.stream(model="m", input="x") as stream:
        last: Any = list(stream)[-1]
        if meta_of(case).get("finish") != "completed":
            assert last.type == ("response.failed" if answer.error else "response.incomplete")
            with pytest.raises(RuntimeError):
                stream.get_final_response()
            return
        response = stream.get_final_response()
    output: list[Any] = list(response.output)
    refused = "".join(part.refusal for item in output if item.type == "message" for part in item.content
                      if part.type == "refusal")  # fmt: skip
    assert response.output_text + refused == answer.text()
    thoughts = [part.text for item in output if item.type == "reasoning" for part in item.summary]
    assert "".join(thoughts) == answer.text(BlockKind.REASONING)
    calls = [item for item in output if item.type in ("function_call", "custom_tool_call")]
    assert [
        (c.call_id, c.name, c.arguments if c.type == "function_call" else c.input, c.type == "custom_tool_call")
        for c in calls
    ] == [(b.call_id, b.name, b.text, b.custom) for b in answer.blocks if b.kind is BlockKind.TOOL_CALL]


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("codex_")])
def test_a_documented_stream_is_one_that_the_sdk_takes(case: str) -> None:
    """What we call documented keeps the rules of the SDK's helper, and its text is what we read."""
    meta = meta_of(case)
    if meta["origin"] != "documented" or meta.get("finish") != "completed":
        return
    body = (ROOT / case / "upstream.sse").read_bytes()
    with answered(body).responses.stream(model="m", input="x") as stream:
        texts = [
            event.delta for event in stream if event.type in ("response.output_text.delta", "response.refusal.delta")
        ]
    assert "".join(texts) == fold(run([body])).text().replace("\n\n", "")


@pytest.mark.parametrize("case", CASES)
def test_every_fixture_says_whence_it_is(case: str) -> None:
    """Origin, date and source; recordings are marked as such (design.md 4)."""
    meta = meta_of(case)
    assert meta["origin"] in {"recorded", "documented", "synthetic"}
    assert meta["date"]
    assert meta["source"]
    assert ("finish" in meta) != ("error" in meta)
