"""Checks of the model lists and of the counting of tokens.

Owns these checks, and the shapes of lists in both spellings.
"""

from typing import Any, Final
from urllib.parse import quote

from hermes_router.conformance.answer import Skipped, Wrong
from hermes_router.conformance.bundles import request
from hermes_router.conformance.endpoint import Heard, offered
from hermes_router.conformance.extra import Extra, Visit
from hermes_router.conformance.feature import CHAT, MESSAGES, RESPONSES
from hermes_router.conformance.features import FEATURES
from hermes_router.conformance.shapes import (
    Shape,
    count,
    each,
    faults,
    filled,
    flag,
    maybe,
    members,
    one_of,
    shown,
    text,
)  # fmt: skip
from hermes_router.conformance.tongue import objects

_OPENAI_ONE: Final = members({"id": filled, "object": one_of("model"), "created": count, "owned_by": text})
_ANTHROPIC_ONE: Final = members({"id": filled, "type": one_of("model"), "display_name": filled, "created_at": filled})
ONE: Final = {CHAT: _OPENAI_ONE, MESSAGES: _ANTHROPIC_ONE}
LIST: Final[dict[str, Shape]] = {
    CHAT: members({"object": one_of("list"), "data": each(_OPENAI_ONE)}),
    MESSAGES: members(
        {"data": each(_ANTHROPIC_ONE), "has_more": flag, "first_id": maybe(text), "last_id": maybe(text)}
    ),
}


async def _models(visit: Visit) -> None:
    _right(visit, await visit.asker.get("/models", visit.headers), LIST[visit.tongue.name])


async def _model(visit: Visit) -> None:
    heard = await visit.asker.get(f"/models/{quote(visit.model)}", visit.headers)
    _right(visit, heard, ONE[visit.tongue.name])
    if heard.json["id"] != visit.model:
        raise Wrong(f"the model {shown(visit.model)} was asked for, and {shown(heard.json['id'])} came")


async def _unknown(visit: Visit) -> None:
    heard = await visit.asker.get("/models/no-such-model", visit.headers)
    if heard.status in {405, 501}:
        raise Skipped(f"single models are not offered: HTTP {heard.status}")
    if heard.status != 404:
        raise Wrong(f"a model that does not exist should be 404, and is HTTP {heard.status}")
    if found := visit.tongue.error(heard.json):
        raise Wrong(f"a model that does not exist is told in a shape of its own ({'; '.join(found[:2])})")


def _right(visit: Visit, heard: Heard, shape: Shape) -> None:
    offered(heard, "it")
    if heard.status != 200:
        raise Wrong(f"HTTP {heard.status}: {shown(heard.text)}")
    body: Any = heard.json
    found = faults(shape, body)
    if not found:
        return
    one = next(iter(objects(body.get("data"))), body) if isinstance(body, dict) else {}
    if visit.tongue.name == MESSAGES and one.get("object") == "model":
        raise Skipped("it comes in OpenAI's spelling only")
    raise Wrong("; ".join(found[:3]))


async def _count_messages(visit: Visit) -> None:
    body = request(MESSAGES, [FEATURES["turns.user"]])
    body.pop("max_tokens")
    await _count(visit, "/messages/count_tokens", body, {"input_tokens": count})


async def _count_responses(visit: Visit) -> None:
    body = request(RESPONSES, [FEATURES["turns.user"]])
    body.pop("max_output_tokens")
    await _count(
        visit,
        "/responses/input_tokens",
        body,
        {"input_tokens": count, "object": one_of("response.input_tokens")},
    )


async def _count(visit: Visit, path: str, body: dict[str, Any], needed: dict[str, Shape]) -> None:
    heard = await visit.asker.post(path, {**body, "model": visit.model}, visit.headers)
    offered(heard, path)
    if heard.status != 200:
        raise Wrong(f"HTTP {heard.status}: {shown(heard.text)}")
    for why in faults(members(needed), heard.json):
        raise Wrong(why)
    if not heard.json["input_tokens"]:
        raise Wrong("a request of several words is said to have no tokens")


LISTS: Final = (
    Extra("lists.models", "Lists and counts", "the list of models", (CHAT, MESSAGES), _models),
    Extra("lists.model", "Lists and counts", "one model", (CHAT, MESSAGES), _model),
    Extra("lists.unknown", "Lists and counts", "a model that does not exist", (CHAT, MESSAGES), _unknown),
    Extra("counts.messages", "Lists and counts", "tokens of a request", (MESSAGES,), _count_messages),
    Extra("counts.responses", "Lists and counts", "tokens of a request", (RESPONSES,), _count_responses),
)
