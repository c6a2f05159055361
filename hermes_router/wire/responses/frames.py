"""The frames of a Responses answer as typed structs, and the words in them.

Owns what an event may look like (facts: codex.md 8, providers.md 12.6, 12.7, 12.10): which keys are read, what an item
says, how usage is spelled, what an end means. Everything foreign is `Any` and checked where it is used. It must never
keep state.
"""

from typing import Any, Final

import msgspec

from hermes_router.core.events import BlockKind, Citation, Finish, Usage
from hermes_router.wire.chat.frames import count, sendable
from hermes_router.wire.citations import citations
from hermes_router.wire.responses.tools import PLAIN_NAMESPACE, flat_name

TEXT_DELTA: Final = "response.output_text.delta"


class ItemFrame(msgspec.Struct, gc=False):
    """An output item. What hosted tools have in theirs is skipped."""

    type: Any = None
    id: Any = None
    status: Any = None
    content: Any = None
    summary: Any = None
    encrypted_content: Any = None
    call_id: Any = None
    name: Any = None
    namespace: Any = None
    arguments: Any = None
    input: Any = None
    action: Any = None
    operation: Any = None
    execution: Any = None


class ResponseFrame(msgspec.Struct, gc=False):
    """The `response` of a lifecycle event, or a whole answer. What it echoes of the request is skipped."""

    id: Any = None
    model: Any = None
    created_at: Any = None
    status: Any = None
    error: Any = None
    incomplete_details: Any = None
    output: list[ItemFrame] | None = None
    usage: Any = None


class EventFrame(msgspec.Struct, gc=False):
    """One event of any type."""

    type: Any = None
    delta: Any = None
    item_id: Any = None
    output_index: Any = None
    summary_index: Any = None
    content_index: Any = None
    item: ItemFrame | None = None
    response: ResponseFrame | None = None
    error: Any = None
    detail: Any = None
    message: Any = None


class TextFrame(msgspec.Struct, gc=False):
    """More text: what the hot path reads of it."""

    type: str
    delta: str
    item_id: str
    output_index: int


EVENT: Final = msgspec.json.Decoder(EventFrame)
TEXT: Final = msgspec.json.Decoder(TextFrame)
RESPONSE: Final = msgspec.json.Decoder(ResponseFrame)

KINDS: Final = {
    "message": BlockKind.TEXT,
    "reasoning": BlockKind.REASONING,
    "function_call": BlockKind.TOOL_CALL,
    "custom_tool_call": BlockKind.TOOL_CALL,
}
# Tools of the dialect's own that the caller runs: a call of one ends a turn as any other does.
CLIENT_RUN: Final = {
    "local_shell_call": "local_shell",
    "shell_call": "shell",
    "apply_patch_call": "apply_patch",
    "computer_call": "computer",
    "tool_search_call": "tool_search",
}
CUT: Final = {
    "max_output_tokens": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "length": Finish.LENGTH,
    "content_filter": Finish.CONTENT_FILTER,
}


def kind_of(item: ItemFrame) -> BlockKind | None:
    """What block an item is; None for what a provider ran itself, and for what nobody knows."""
    kind = KINDS.get(item.type) if isinstance(item.type, str) else None
    if kind is None and isinstance(item.type, str) and item.type in CLIENT_RUN and item.execution != "server":
        return BlockKind.TOOL_CALL
    return kind


def tool_of(item: ItemFrame) -> str:
    """The flat name of the tool that an item calls, empty where it has none (`responses_tools.py`)."""
    name = item.name if isinstance(item.name, str) else ""
    group = item.namespace
    if name and isinstance(group, str) and group and group != PLAIN_NAMESPACE:
        return flat_name(group, name)
    return CLIENT_RUN.get(item.type) or name


def refuses(item: ItemFrame) -> bool:
    """Whether a whole item is a refusal."""
    parts = item.content if isinstance(item.content, list) else ()
    return any(isinstance(part, dict) and part.get("type") == "refusal" and part.get("refusal") for part in parts)


def cited_in(item: ItemFrame) -> list[Citation]:
    """The citations of a whole message, by their places in all of its text."""
    found: list[Citation] = []
    begins = 0
    for part in item.content if isinstance(item.content, list) else ():
        if isinstance(part, dict):
            found += citations(part.get("annotations"), -begins)
            begins += sum(map(len, _texts([part])))
    return found


def text_of(item: ItemFrame) -> str:
    """All that a whole item says: text, a summary, or arguments. Raises Malformed."""
    if item.type == "message":
        return item.content if isinstance(item.content, str) else "".join(_texts(item.content))
    if item.type == "reasoning":
        return "\n\n".join(_texts(item.summary) or _texts(item.content))
    if item.type == "custom_tool_call":
        return item.input if isinstance(item.input, str) else ""
    said = next((part for part in (item.arguments, item.action, item.operation) if part is not None), "")
    return said if isinstance(said, str) else msgspec.json.encode(sendable(said)).decode()


def _texts(parts: Any) -> list[str]:
    """The texts of a list of parts, refusals among them."""
    found = []
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict):
            text = part.get("text", part.get("refusal"))
            if isinstance(text, str) and text:
                found.append(text)
    return found


def parse_usage(raw: Any) -> Usage | None:
    """A `usage` object (12.7): input includes what was cached, output what was thought. None where there is none."""
    if not isinstance(raw, dict):
        return None
    given, made = raw.get("input_tokens_details"), raw.get("output_tokens_details")
    given, made = given if isinstance(given, dict) else {}, made if isinstance(made, dict) else {}
    return Usage(
        input_tokens=count(raw.get("input_tokens")),
        output_tokens=count(raw.get("output_tokens")),
        cached_tokens=count(given.get("cached_tokens")),
        reasoning_tokens=count(made.get("reasoning_tokens")),
        written_tokens=count(given.get("cache_write_tokens")),
    )


def cut_of(response: ResponseFrame) -> str:
    """Why a response is incomplete, in the provider's own word; `incomplete` where it does not say."""
    details = response.incomplete_details
    reason = details.get("reason") if isinstance(details, dict) else None
    return reason if isinstance(reason, str) and reason else "incomplete"
