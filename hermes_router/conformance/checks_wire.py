"""Checks of what an agent leans on: calls as they come, a call and its result, and mistakes told in good form.

Owns these checks.
"""

from typing import Final

from hermes_router.conformance.answer import Skipped, Unsure, Wrong
from hermes_router.conformance.bundles import request
from hermes_router.conformance.checks_answers import called
from hermes_router.conformance.checks_refused import mistaken, taken
from hermes_router.conformance.extra import Extra, Visit
from hermes_router.conformance.feature import DIALECTS
from hermes_router.conformance.features import FEATURES
from hermes_router.conformance.reply import Refused, message_of, refusal
from hermes_router.conformance.shapes import shown
from hermes_router.conformance.tongue import Body

_MANY: Final = 1_000_000
_NO_PATH: Final = "/no-such-path"


def _must_call(visit: Visit) -> Body:
    return request(visit.tongue.name, [FEATURES["tools.function"], FEATURES["choice.required"]])


async def _streamed_call(visit: Visit) -> None:
    reply = await visit.ask({**_must_call(visit), "stream": True})
    reply.answer.keep("grammar")
    called(reply.answer)


async def _round_trip(visit: Visit) -> None:
    body = _must_call(visit)
    first = (await visit.ask(body)).answer
    called(first)
    turns = [*visit.tongue.history(body), *first.turn, *visit.tongue.results(first, ["It rains."] * len(first.calls))]
    again = {name: value for name, value in visit.tongue.with_history(body, turns).items() if name != "tool_choice"}
    answer = (await visit.ask(again)).answer
    answer.keep("content")
    if not answer.text:
        raise Unsure("the result was taken, and the answer to it holds no text")


async def _not_json(visit: Visit) -> None:
    await _mistake(visit, "errors.not_json", '{"model": ')


async def _no_object(visit: Visit) -> None:
    await _mistake(visit, "errors.no_object", "[]")


async def _mistake(visit: Visit, name: str, text: str) -> None:
    heard = await visit.asker.post(visit.tongue.path, text, visit.headers)
    if heard.status == 200:
        taken(name)
    error = refusal(visit.tongue, heard)
    if not isinstance(error, Refused):
        raise error
    mistaken(name, error)


async def _method(visit: Visit) -> None:
    heard = await visit.asker.send("PUT", visit.tongue.path, visit.headers, "{}")
    _not_there(heard.status, refusal(visit.tongue, heard), "PUT where POST is meant")


async def _path(visit: Visit) -> None:
    heard = await visit.asker.post(_NO_PATH, {}, visit.headers)
    _not_there(heard.status, refusal(visit.tongue, heard), "a path that does not exist")


def _not_there(status: int, error: Exception, what: str) -> None:
    if status not in {404, 405}:
        raise Wrong(f"{what} should be 404 or 405, and is HTTP {status}: {shown(str(error))}")
    if isinstance(error, Refused) and error.faults:
        raise Wrong(f"{what} is HTTP {status}, with an error in a shape of its own ({'; '.join(error.faults[:2])})")


async def _key(visit: Visit) -> None:
    body = {**request(visit.tongue.name, [FEATURES["turns.user"]]), "model": visit.model}
    heard = await visit.asker.post(visit.tongue.path, body, visit.headers, key="no-such-key")
    if heard.status == 200:
        raise Skipped("every key is taken")
    if heard.status not in {401, 403}:
        raise Wrong(f"a wrong key should be 401, and is HTTP {heard.status}: {shown(heard.text)}")
    if faults := visit.tongue.error(heard.json):
        raise Wrong(f"a wrong key is told in a shape of its own ({'; '.join(faults[:2])}): {message_of(heard.json)}")


async def _many(visit: Visit) -> None:
    body = request(visit.tongue.name, [FEATURES["turns.user"]])
    try:
        reply = await visit.ask({**body, "n": _MANY, "max_tokens": 1})
    except Refused as refused:
        if refused.faults or not refused.names(["n", "n_cmpl"]):
            raise Wrong(f"n: {_MANY:,} is refused without naming n: {shown(refused.message)}") from None
        return
    raise Wrong(f"n: {_MANY:,} was taken, and {len(reply.answer.body.get('choices', ()))} came")


WIRE: Final = (
    Extra("streams.calls", "Streams", "a call as it comes", DIALECTS, _streamed_call, ("tool", "stream")),
    Extra("calls.round_trip", "Calls and results", "a call, its result, the answer to it", DIALECTS, _round_trip,
          ("tool",)),
    Extra("errors.not_json", "Errors", "a body that is no JSON", DIALECTS, _not_json),
    Extra("errors.no_object", "Errors", "a body that is JSON, and no object", DIALECTS, _no_object),
    Extra("errors.many", "Errors", "a million answers at once", ("chat",), _many),
    Extra("errors.method", "Errors", "another method", DIALECTS, _method),
    Extra("errors.path", "Errors", "a path that does not exist", ("chat",), _path),
    Extra("errors.wrong_key", "Errors", "a wrong key", DIALECTS, _key),
)  # fmt: skip
