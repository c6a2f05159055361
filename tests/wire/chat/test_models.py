"""The model list as agents read it."""

import json

from openai.pagination import AsyncPage
from openai.types import Model

from hermes_router.wire.chat.models import ModelRow, render_list, render_one

FULL = ModelRow("groq/llama-3.3-70b", "groq", 1_790_000_000, 131_072, 32_768)
BARE = ModelRow("local/x", "local", 1_790_000_000, None, None)


def test_every_object_carries_its_windows() -> None:
    """`context_length` and `max_output_tokens` beside the standard members (clients.md 2.2, 7.7)."""
    assert json.loads(render_one(FULL)) == {
        "id": "groq/llama-3.3-70b",
        "object": "model",
        "created": 1_790_000_000,
        "owned_by": "groq",
        "context_length": 131_072,
        "max_output_tokens": 32_768,
    }


def test_unknown_windows_are_left_out() -> None:
    """Null would be read as a number by some."""
    assert set(json.loads(render_one(BARE))) == {"id", "object", "created", "owned_by"}


def test_the_sdk_reads_the_list() -> None:
    """The list object of the OpenAI SDK, in our order."""
    page = AsyncPage[Model].model_validate(json.loads(render_list([FULL, BARE])), strict=True)
    assert [model.id for model in page.data] == ["groq/llama-3.3-70b", "local/x"]
    assert json.loads(render_list([])) == {"object": "list", "data": []}
