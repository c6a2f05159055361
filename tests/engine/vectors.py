"""A pool that embeds, faked: each target answers vectors that tell whose they are."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from hermes_router.core.catalog import Embedding as Takes
from hermes_router.core.catalog import TargetFacts
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.ports import Log
from hermes_router.core.records import EmbedBinding
from hermes_router.core.settings import Settings
from hermes_router.engine.admission import Caller
from hermes_router.engine.embed_bindings import EmbedBindings
from hermes_router.engine.embed_question import make_embed_question
from hermes_router.engine.embedding import Embedding
from hermes_router.routing.roster import Roster
from hermes_router.wire.embeddings import EmbedRequest, parse_request
from hermes_router.wire.openai_errors import Rendered

from ..fakes import Flight, Turn, World, target

KEY = RouterKeyId("rk")


def embedder(name: str, size: int = 3, takes: Takes | None = None, **more: Any) -> TargetFacts:
    """A target for vectors of `size` numbers."""
    made = target(name, context=None, **more)
    return replace(made, model=replace(made.model, embeds=size, embedding=takes or Takes(sizes="any")))


def asks(given: Any = "hi", model: str = "hermes-router", **fields: Any) -> EmbedRequest:
    """A request, parsed."""
    return parse_request(json.dumps({"model": model, "input": given, **fields}).encode())


def vector(provider: str, text: object, size: int) -> list[float]:
    """What a provider makes of a text."""
    return [float(sum(map(ord, f"{provider}{text}")) % 97)] * size


def embeds(size: int = 3, **more: Any) -> Turn:
    """A turn: good vectors, as long as was asked for."""

    def played(flight: Flight) -> None:
        given, wanted = flight.body["input"], flight.body.get("dimensions", size)
        many = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
        data = [{"index": n, "embedding": vector(flight.provider, text, wanted)} for n, text in enumerate(many)]
        usage = {"prompt_tokens": len(many), "total_tokens": len(many)}
        flight.answer(200, {"object": "list", "data": data, "model": flight.body["model"], "usage": usage, **more})

    return played


class Store:
    """A BindingStore that can fail, and notes what it was asked."""

    def __init__(self) -> None:
        self.works = True
        self.kept: list[EmbedBinding] = []
        self.hold: asyncio.Event | None = None

    async def keep(self, binding: EmbedBinding) -> bool:
        if self.hold is not None:
            await self.hold.wait()
        self.kept.append(binding)
        return self.works

    async def drop(self, gone: Any) -> bool:
        return self.works


class Pool(World):
    """Targets for vectors, in the order of the catalogue, beside one model that chats."""

    def __init__(self, *facts: TargetFacts, settings: Settings | None = None, awaits_local: bool = False) -> None:
        super().__init__("chat/m", settings=settings)
        self.vectors = facts
        by_name: dict[tuple[str, str], list[TargetFacts]] = {}
        for one in facts:
            by_name.setdefault((one.provider.name, one.model.id), []).append(one)
        roster = Roster(self.facts, pinned=lambda *name: by_name.get(name, []))
        self.engine.snapshot = self.engine.snapshot._replace(roster=roster, embedders=facts, awaits_local=awaits_local)
        self.store = Store()
        log: Log = self.log
        self.engine.embed_bindings = EmbedBindings(self.store, log)

    def change(self, **changes: Any) -> None:
        """Another generation."""
        self.engine.snapshot = self.engine.snapshot._replace(**changes)

    def begin(
        self, given: Any = "hi", *, caller: Caller | None = None, headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> "asyncio.Task[Rendered]":  # fmt: skip
        """A request under way."""
        asked = asks(given, **fields)
        question = make_embed_question(self.engine, asked, caller or Caller(KEY), headers or {}, "req_1")

        async def run() -> Rendered:
            found = await Embedding(self.engine, question, asked).run()
            assert found is not None
            return found

        return asyncio.ensure_future(run())

    async def embed(self, given: Any = "hi", **more: Any) -> tuple[int, Any, Mapping[str, str]]:
        """A request that scripts answer, to its end: status, body and headers."""
        return await self.end_of(self.begin(given, **more))

    async def end_of(self, task: "asyncio.Task[Rendered]") -> tuple[int, Any, Mapping[str, str]]:
        """The end of one under way."""
        for _ in range(2_000):
            if task.done():
                break
            await asyncio.sleep(0)
        assert task.done(), "it waits for something that nobody sends"
        found = task.result()
        return found.status, json.loads(found.body), found.headers

    @property
    def bound(self) -> list[tuple[str, str, int]]:
        """Provider, profile and length of each binding."""
        return [(one.provider, one.profile, one.dimensions) for one in self.engine.embed_bindings.bindings()]

    def asked(self) -> list[str]:
        """The providers that were asked, in order."""
        return [flight.provider for flight in self.transport.flights]
