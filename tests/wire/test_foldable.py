"""Which whole answers may be put together from a stream: those that hold nothing that a fold would lose."""

import json
from typing import Any

import pytest

from hermes_router.wire.chat.request import parse_request as chat_request
from hermes_router.wire.foldable import is_foldable
from hermes_router.wire.messages.request import parse_request as messages_request
from hermes_router.wire.responses.request import parse_request as responses_request

HELLO = [{"role": "user", "content": "hi"}]
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OWN = {"name": "f", "input_schema": {"type": "object"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
CITED = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}}
FOUND = {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]}


def chat(**more: Any) -> bool:
    return is_foldable(chat_request(json.dumps({"model": "m", "messages": HELLO, **more}).encode(), {}))


def messages(**more: Any) -> bool:
    body = {"model": "m", "max_tokens": 9, "messages": HELLO, **more}
    return is_foldable(messages_request(json.dumps(body).encode(), {}))


def responses(**more: Any) -> bool:
    return is_foldable(responses_request(json.dumps({"model": "m", "input": "hi", **more}).encode(), {}))


def test_text_and_the_callers_own_tools_are_folded() -> None:
    """In each dialect; also where the words of what is not are no more than words."""
    assert chat(tools=[FUNCTION], modalities=["text"])
    assert messages(tools=[OWN, {**OWN, "name": "g", "type": "custom"}])
    assert messages(messages=[{"role": "user", "content": 'about "citations" of a "search_result"'}])
    assert responses(tools=[{"type": "function", "name": "f", "parameters": {}}, {"type": "custom", "name": "g"}])


@pytest.mark.parametrize(
    "more",
    [
        {"modalities": ["image", "text"]},
        {"plugins": [{"id": "web"}]},
        {"web_search_options": {}},
        {"tools": [{"type": "openrouter:web_search"}]},
        {"tools": [FUNCTION, {"type": "nobody_knows"}]},
    ],
)
def test_what_brings_images_or_sources_goes_through_as_it_comes(more: dict[str, Any]) -> None:
    """Annotations and images lie beside the text, and a fold has no place for them; nor for what nobody knows."""
    assert not chat(**more)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [OWN, SEARCH]},
        {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]},
        {"messages": [{"role": "user", "content": [{**CITED, "citations": {"enabled": True}}]}]},
        {"messages": [{"role": "user", "content": [FOUND]}]},
    ],
)
def test_blocks_of_the_providers_own_go_through_as_they_come(more: dict[str, Any]) -> None:
    """The results of its search, its citations, and `pause_turn` (providers.md 12.4) are the caller's to read."""
    assert not messages(**more)


def test_items_of_hosted_tools_go_through_as_they_come() -> None:
    """A search call is an item of its own."""
    assert not responses(tools=[{"type": "web_search"}])
