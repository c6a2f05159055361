"""Responses requests as real callers send them, targets to send them to, and ways to break them."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hermes_router.core.catalog import Capability, Claim, Known, ModelSpec, ProviderSpec, Quirk, TargetFacts
from hermes_router.core.content import Conversation, Reasoning
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName, Target
from hermes_router.wire.chat.outgoing import NO_RECALL, Options, Rendered
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.quirks.draft import NoRecall
from hermes_router.wire.responses.compose import compose
from hermes_router.wire.responses.content import read
from hermes_router.wire.responses.passing import pass_on
from hermes_router.wire.responses.request import parse_request

ROOT = Path(__file__).parent / "fixtures" / "openai_responses_requests"
CALLERS: dict[str, dict[str, Any]] = {
    place.name: json.loads((place / "request.json").read_text()) for place in sorted(ROOT.iterdir())
}
STREAM = Options(stream=True)
ORIGIN = "p/m-1"
NATIVE = Quirk.NATIVE_RESPONSES


def parse(body: dict[str, Any] | None = None, headers: dict[str, str] | None = None, **fields: Any) -> Inbound:
    """A body, or these fields around a short input."""
    whole = body if body is not None else {"model": "auto", "input": "hi", **fields}
    return parse_request(json.dumps(whole).encode(), headers or {})


def reading(body: dict[str, Any] | None = None, **fields: Any) -> Conversation:
    return read(parse(body, **fields))


def facts(*quirks: Quirk, allow=None, output_cap=None, levels=(), reasons=True, **model: Any) -> TargetFacts:
    """A target of a row made of nothing but what is named; its model reasons unless told otherwise."""
    can = {Capability.REASONING: Claim(Known.YES)} if reasons else {}
    spec = ModelSpec(ModelId("m-1"), capabilities=can, **model)
    provider = ProviderSpec(
        ProviderName("p"), "P", {"openai_responses": "http://p"}, "bearer", (spec,),
        allow=None if allow is None else frozenset(allow),
    )  # fmt: skip
    credential = Credential(CredentialId("abcd"), provider.name, AccountId("a"), "api_key", "ref", "tail", "env")
    return TargetFacts(
        Target(provider.name, spec.id, credential.id), provider, spec, credential, "http://p",
        dialect="openai_responses", quirks=frozenset(quirks), output_cap=output_cap, effort_levels=levels,
    )  # fmt: skip


def composed(
    conversation: Conversation, where: TargetFacts | None = None, options=STREAM, recall=NO_RECALL
) -> tuple[Rendered, dict[str, Any]]:
    rendered = compose(conversation, where or facts(NATIVE), options, recall)
    return rendered, json.loads(rendered.body)


def passed(
    inbound: Inbound, where: TargetFacts | None = None, options=STREAM, recall=NO_RECALL
) -> tuple[Rendered, dict[str, Any]]:
    rendered = pass_on(inbound, where or facts(NATIVE), options, recall)
    return rendered, json.loads(rendered.body)


def warnings(rendered: Rendered) -> list[str]:
    return [str(each) for each in rendered.warnings]


class Memory(NoRecall):
    """A memory of thoughts by the id of the call that they led to, and of whose sealed data is whose."""

    holds = True

    def __init__(self, thoughts: dict[str, tuple[Reasoning, ...]] | None = None, made: dict[str, bool] | None = None):
        self._thoughts = thoughts or {}
        self._made = made or {}

    def thoughts(self, call_id: str, name: str, arguments: str) -> tuple[Reasoning, ...]:
        return self._thoughts.get(call_id, ())

    def made_here(self, data: str) -> bool | None:
        return self._made.get(data)


def broken(body: Any) -> Iterator[tuple[str, Any]]:
    """The body once for each place in it and each wrong value there, with the path of the place."""
    for path in _places(body):
        for wrong in (None, 7, "wrong", [None], {}, {"type": "x"}):
            changed = copy.deepcopy(body)
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = wrong
            yield "/".join(map(str, path)), changed


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    found = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in found:
        if path[-1:] == ("tools",) and 1 < key < len(value) - 2:
            continue  # tools are much alike
        yield (*path, key)
        yield from _places(inner, (*path, key))
