"""Compaction by codex accounts: both variants of it (facts/codex.md 6.5), in both shapes, and who reads what came of it."""

from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import CompactedResponse

from .backend import Account
from .house import CodexHouse
from .test_backend import GROUP, LITE, PLAIN, RESPONSES_TOOL

MODEL = pytest.mark.parametrize("model", [PLAIN, LITE])
TALK: list[Any] = [
    {"role": "user", "content": "one"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "two", "annotations": []}]},
    {"role": "user", "content": "three"},
]
FIELDS: dict[str, Any] = {
    "instructions": "be brief", "tools": [RESPONSES_TOOL, GROUP], "parallel_tool_calls": True,
    "reasoning": {"effort": "low"}, "prompt_cache_key": "k", "text": {"verbosity": "low"},
}  # fmt: skip


@MODEL
async def test_a_conversation_is_compacted_and_gone_on_with(tmp_path: Path, model: str) -> None:
    """All that it takes goes out and nothing else; the bare output becomes the object that SDKs read."""
    async with CodexHouse(tmp_path) as house:
        answer = await house.ask("/v1/responses/compact", {"model": model, "input": TALK, **FIELDS})
        assert answer.status == 200, answer.raw
        assert not house.backend.refused
        body, headers = house.last
        assert headers.get("accept") != "text/event-stream"
        assert ("additional_tools" in {item.get("type") for item in body["input"]}) is (model == LITE)
        told = answer.json
        *_, item = told["output"]
        CompactedResponse.model_validate({**told, "output": [item]}, strict=True)
        assert told["usage"]["output_tokens"] > 0
        again = {"model": model, "input": [*told["output"], {"role": "user", "content": "four"}]}
        answer = await house.ask("/v1/responses", again)
        assert answer.status == 200, answer.raw
        assert item in house.last[0]["input"]
        assert not house.backend.refused


@MODEL
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("tools", [False, True], ids=["bare", "tools"])
async def test_the_order_to_compact_is_answered_by_the_item(
    tmp_path: Path, model: str, stream: bool, tools: bool
) -> None:
    """Codex's own variant: the item comes through as it was made, whatever names the tools of the request have."""
    async with CodexHouse(tmp_path) as house:
        body = {"model": model, "stream": stream, "input": [*TALK, {"type": "compaction_trigger"}]}
        answer = await house.ask("/v1/responses", body | ({"tools": [RESPONSES_TOOL, GROUP]} if tools else {}))
        assert answer.status == 200, answer.raw
        response = answer.events[-1]["response"] if stream else answer.json
        assert (response["status"], [item["type"] for item in response["output"]]) == ("completed", ["compaction"])
        assert house.last[0]["input"][-1] == {"type": "compaction_trigger"}
        assert not house.backend.refused


async def test_another_account_is_never_sent_what_was_compacted(tmp_path: Path) -> None:
    """It is the account's: with its window full the caller waits or is told, and the other account is not asked."""
    async with CodexHouse(tmp_path, Account("a"), Account("b")) as house:
        answer = await house.ask("/v1/responses/compact", {"model": PLAIN, "input": TALK})
        item = answer.json["output"][-1]
        owner = item["encrypted_content"].split(":")[1]
        house.accounts[owner].used = 100.0
        house.accounts[owner].resets_at = int(house.clock.now()) + 18_000
        heard = len(house.backend.heard)
        answer = await house.ask("/v1/responses", {"model": PLAIN, "input": [item, TALK[0]]})
        assert answer.status == 429, answer.raw
        assert len(house.backend.heard) == heard
