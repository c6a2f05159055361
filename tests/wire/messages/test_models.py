"""The model list as Anthropic's clients read it."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from anthropic.types import ModelInfo

from hermes_router.wire.chat.models import ModelRow
from hermes_router.wire.messages.models import ALIASES, render_list, render_one

from ..messages_streams import client

ROUTER = ModelRow("hermes-router", "hermes-router", 1_790_000_000, 200_000, 32_768)
LOCAL = ModelRow("hermes-router:local", "hermes-router", 1_790_000_000, 8_192, None)
FULL = ModelRow("groq/llama-3.3-70b", "groq", 1_790_000_000, 131_072, 32_768)
BARE = ModelRow("local/x", "local", 1_790_000_000, None, None)


def listed(*rows: ModelRow) -> dict[str, Any]:
    return dict(json.loads(render_list(rows)))


def test_every_object_carries_its_windows() -> None:
    """`max_input_tokens` and `max_tokens` beside the standard members (clients.md 7.7)."""
    assert json.loads(render_one(FULL)) == {
        "type": "model",
        "id": "groq/llama-3.3-70b",
        "display_name": "groq/llama-3.3-70b",
        "created_at": "2026-09-21T14:13:20Z",
        "lifecycle": "active",
        "max_input_tokens": 131_072,
        "max_tokens": 32_768,
    }
    assert not {"max_input_tokens", "max_tokens"} & set(json.loads(render_one(BARE)))


def test_the_sdk_reads_the_list_and_one() -> None:
    """One page in our order, with times that are times, and no second one to fetch."""
    with client(render_list([FULL, BARE]), kind="application/json") as sdk:
        page = sdk.models.list(limit=1_000)
        assert [model.id for model in page] == ["groq/llama-3.3-70b", "local/x"]
        assert not page.has_next_page()
        assert page.data[0].created_at == datetime.fromtimestamp(FULL.created, UTC)
    assert ModelInfo.model_validate_json(render_one(FULL), strict=True).max_tokens == 32_768


def test_the_list_names_its_ends() -> None:
    """Also where there is none."""
    whole = listed(FULL, BARE)
    assert (whole["has_more"], whole["first_id"], whole["last_id"]) == (False, FULL.id, BARE.id)
    assert listed() == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_models_for_vectors_are_left_out() -> None:
    """This dialect has no endpoint for them."""
    assert [each["id"] for each in listed(BARE, ModelRow("a/vec", "a", 0, 512, None, embeds=True))["data"]] == [BARE.id]


def test_claude_codes_discovery_finds_us() -> None:
    """It keeps ids with `claude` or `anthropic` in them (clients.md 4, 7.21): ours has an alias, with its windows."""
    data = listed(ROUTER, LOCAL, FULL)["data"]
    found = [each for each in data if re.search("claude|anthropic", each["id"], re.IGNORECASE)]
    assert [each["id"] for each in found] == ["claude-hermes-router"]
    assert found[0]["max_input_tokens"] == 200_000
    assert [each["id"] for each in data] == [ROUTER.id, "claude-hermes-router", LOCAL.id, FULL.id]


def test_no_profile_has_an_alias() -> None:
    """A name that looks like `:local` and is none would be routed off this machine (contract.md, Model names)."""
    assert not any(":" in name for name in (*ALIASES, *ALIASES.values()))
