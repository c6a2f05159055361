"""All targets of one snapshot, indexed once, so that no request ever searches them.

Owns the static side of the pool: targets, providers, and every model that may be pinned. It must never hold anything
that changes: cooldowns, counters and learned facts are the state's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec
from msgspec.structs import replace

from hermes_router.core.catalog import ModelSpec, TargetFacts
from hermes_router.core.ids import ModelId, Target

_NONE: Mapping[str, Mapping[str, ModelSpec]] = MappingProxyType({})
_NO_MODELS: Mapping[str, ModelSpec] = MappingProxyType({})


class Former(msgspec.Struct, frozen=True):
    """What a provider served before its last key was taken out, or before its list was dropped to be read anew.

    `models` by id are all that may be pinned; `pool` could be named without their provider; `embeds` made vectors.
    `how` is the command that gives it a key, empty where its row is gone. `unread` = it has a key that
    cannot be read now.
    """

    models: Mapping[str, ModelSpec]
    pool: frozenset[str] = frozenset()
    embeds: frozenset[str] = frozenset()
    open_catalogue: bool = False
    how: str = ""
    unread: bool = False


_NO_FORMER: Mapping[str, Former] = MappingProxyType({})


class Roster:
    """The pool of one snapshot.

    `live_models` are the models by provider as the provider itself lists them. `pinned` makes the targets of a
    model outside the pool from provider and model id, with the owner's overrides; without it they are made from
    what the pool's own targets of that provider have in common. `former` is what was served before: such a name goes on
    meaning what it meant, though nobody may be there to serve it.
    """

    def __init__(
        self,
        facts: Sequence[TargetFacts],
        *,
        live_models: Mapping[str, Mapping[str, ModelSpec]] = _NONE,
        pinned: Callable[[str, str], Sequence[TargetFacts]] | None = None,
        former: Mapping[str, Former] = _NO_FORMER,
    ) -> None:
        self._pinned = pinned
        self._made: dict[tuple[str, str], list[TargetFacts]] = {}
        self.facts: tuple[TargetFacts, ...] = tuple(facts)
        self.by_target: dict[Target, TargetFacts] = {f.target: f for f in self.facts}
        self.live_models = live_models
        self.former = former
        self.by_provider: dict[str, list[TargetFacts]] = {}
        self.model_ids: set[str] = set()
        self._specs: dict[str, dict[str, ModelSpec]] = {}
        for one in self.facts:
            self.by_provider.setdefault(one.provider.name, []).append(one)
            self.model_ids.add(one.model.id)
            self._specs.setdefault(one.provider.name, {})[one.model.id] = one.model
        for name, of_provider in self.by_provider.items():
            row = of_provider[0].provider
            specs = self._specs[name]
            for spec in row.models:
                specs.setdefault(spec.id, spec)
            for model, spec in sorted(live_models.get(name, _NO_MODELS).items()):
                specs.setdefault(model, spec)
        self._whole_ids = self.model_ids.union(*(one.pool for one in former.values()))

    def __len__(self) -> int:
        return len(self.facts)

    def knows(self, provider: str, model: str) -> bool:
        """Whether `model` is known for `provider`: its row, the owner's list or its live list, now or before."""
        if model in self._specs.get(provider, ()) or model in self.live_models.get(provider, _NO_MODELS):
            return True
        former = self.former.get(provider)
        return former is not None and model in former.models

    def whole(self, name: str) -> bool:
        """Whether a name is, whole, the model id of a target of the pool, now or before."""
        return name in self._whole_ids

    def open_catalogue(self, provider: str) -> bool:
        """Whether any model id may be pinned at this provider, because its list is too long to carry."""
        of_provider = self.by_provider.get(provider)
        if of_provider is not None:
            return of_provider[0].provider.open_catalogue
        former = self.former.get(provider)
        return former is not None and former.open_catalogue

    def without_key(self, provider: str | None, model: str) -> list[str]:
        """The providers that a pin means, where none of them has a key any more; none where somebody has."""
        if provider is not None:
            return [provider] if provider in self.former and provider not in self.by_provider else []
        if model in self.model_ids:
            return []
        return [name for name, former in self.former.items() if model in former.pool]

    def embedded(self, name: str) -> tuple[str, str] | None:
        """Provider and model of a name, whole or with its provider, that made vectors before; None for any other."""
        provider, _, model = name.partition("/")
        if provider in self.former and model in self.former[provider].embeds:
            return provider, model
        return next(((other, name) for other, former in self.former.items() if name in former.embeds), None)

    def pinnable(self) -> list[tuple[str, ModelSpec]]:
        """Every provider and chat model that can be pinned, in the pool's order."""
        return [
            (provider, spec)
            for provider, specs in self._specs.items()
            for spec in specs.values()
            if spec.embeds is None
        ]

    def of_model(self, provider: str | None, model: str) -> Sequence[TargetFacts]:
        """Targets of one model: the pool's own, else what a pin makes. `provider` None = of every one in the pool."""
        if provider is None:
            return [one for one in self.facts if one.model.id == model]
        ours = self._made.get((provider, model))
        if ours is None:
            ours = [one for one in self.by_provider.get(provider, ()) if one.model.id == model]
            ours = ours or self.pinned(provider, model)
            if self.knows(provider, model):  # any other name is a caller's own, and those have no end
                self._made[provider, model] = ours
        return ours

    def pinned(self, provider: str, model: str) -> list[TargetFacts]:
        """Targets of a model that is pinned but not in the pool: one for each credential of its provider."""
        if self._pinned is not None:
            return list(self._pinned(provider, model))
        of_provider = self.by_provider.get(provider, ())
        made: dict[str, TargetFacts] = {}
        for one in of_provider:
            if one.credential.id in made:
                continue
            row = one.provider
            spec = self._specs[provider].get(model) or ModelSpec(id=ModelId(model), price_class=row.price_class)
            owners = tuple(q for q in one.quotas if q.origin == "owner")
            made[one.credential.id] = replace(
                one,
                target=Target(row.name, ModelId(model), one.credential.id),
                model=spec,
                quotas=owners or (*row.quotas, *spec.quotas),
                output_cap=spec.max_output,
                position=len(self._specs[provider]),
                quirks=row.quirks_of(spec),
            )
        return list(made.values())

    def names(self) -> Iterable[str]:
        """Every name that can be pinned: `provider/model`, and whole model ids of the pool."""
        yield from (f"{provider}/{spec.id}" for provider, spec in self.pinnable())
        yield from sorted(self.model_ids)
