"""Checks of answers that an endpoint keeps: read again, gone on with by their id, and deleted.

Owns these checks. Each keeps an answer of its own, so that one does not fail with another.
"""

from typing import Final
from urllib.parse import quote

from hermes_router.conformance.answer import Skipped, Wrong
from hermes_router.conformance.endpoint import offered
from hermes_router.conformance.extra import Extra, Visit
from hermes_router.conformance.feature import RESPONSES
from hermes_router.conformance.reply import Refused, Reply
from hermes_router.conformance.shapes import shown
from hermes_router.conformance.tongue import words

_CAP: Final = 64
_TERMS: Final = ("store", "previous_response_id", "kept", "stored")


async def _kept(visit: Visit) -> tuple[Reply, str]:
    """An answer that is to be kept, and its id."""
    reply = await visit.ask({**visit.tongue.ask("My name is Ada, and I live in Oslo. Say hello.", _CAP), "store": True})
    body = reply.answer.body
    if body.get("store") is False:
        raise Skipped("the answer says that it was not kept: store is false")
    return reply, words(body.get("id"))


async def _read(visit: Visit) -> None:
    first, name = await _kept(visit)
    heard = await visit.asker.get(f"/responses/{quote(name, safe='')}", visit.headers)
    offered(heard, "reading a kept answer")
    answer = visit.tongue.whole(heard.json)
    if heard.status != 200 or answer.body.get("id") != name:
        raise Wrong(f"HTTP {heard.status}, with the id {shown(answer.body.get('id'))}: {name} was asked for")
    if answer.text != first.answer.text:
        raise Wrong(f"kept was {shown(answer.text)}, answered was {shown(first.answer.text)}")


async def _gone_on_with(visit: Visit) -> None:
    first, name = await _kept(visit)
    body = {**visit.tongue.ask("What is my name?", _CAP), "previous_response_id": name}
    try:
        reply = await visit.ask(body)
    except Refused as refused:
        if refused.heard.status == 404:
            raise Skipped(f"answers are not kept: HTTP 404: {shown(refused.message)}") from None
        raise
    if reply.answer.body.get("previous_response_id") != name:
        raise Wrong(f"previous_response_id is told as {shown(reply.answer.body.get('previous_response_id'))}")
    knows = "ada" in reply.answer.text.lower()
    one, two = first.answer.usage, reply.answer.usage
    if not knows and not (one and two and two.input > one.input):
        raise Wrong(f"the answer knows nothing of the one before it: {shown(reply.answer.text)}")


async def _deleted(visit: Visit) -> None:
    _, name = await _kept(visit)
    path = f"/responses/{quote(name, safe='')}"
    heard = await visit.asker.send("DELETE", path, visit.headers)
    offered(heard, "deleting a kept answer")
    if heard.status not in {200, 204}:
        raise Wrong(f"HTTP {heard.status}: {shown(heard.text)}")
    after = await visit.asker.get(path, visit.headers)
    if after.status != 404:
        raise Wrong(f"a deleted answer should be 404, and is HTTP {after.status}")
    if found := visit.tongue.error(after.json):
        raise Wrong(f"a deleted answer is told in a shape of its own ({'; '.join(found[:2])})")


KEPT: Final = (
    Extra("kept.read", "Kept answers", "read again by its id", (RESPONSES,), _read, _TERMS),
    Extra("kept.gone_on", "Kept answers", "gone on with by its id", (RESPONSES,), _gone_on_with, _TERMS),
    Extra("kept.deleted", "Kept answers", "deleted", (RESPONSES,), _deleted, _TERMS),
)
