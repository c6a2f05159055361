"""What providers list now: which of the pool's models have vanished from it, and what may take their place.

Owns the memory of live lists and the judgement of a missing model. A list proves nothing alone: it may be cut, of
another account, or odd, so a model has vanished when two good lists in a row lack it, or one does and a request was
told so too. What answers is there, whatever a list says. It must never read a list, send anything, or bench a model.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from hermes_router.core.catalog import Capability, Claim, Known, ModelSpec, Price, PriceClass, ProviderSpec, Quirk
from hermes_router.core.live_lists import Listed, LiveList

__all__ = ["LITE", "Absence", "LiveModels", "LiveView", "News", "as_spec", "replacements"]

LEAST_WINDOW: Final = 64_000  # what agents demand of a model (clients.md 7.7)
MOST_REPLACEMENTS: Final = 8
APART_S: Final = 600.0  # two lists of the same minute are one piece of evidence
_FEW: Final = 3  # a list that is shorter and knows none of ours is no list of this provider's
_EMBEDS_UNKNOWN: Final = 0
LITE: Final = frozenset({Quirk.RESPONSES_LITE})


class LiveView(msgspec.Struct, frozen=True):
    """The lists, and what has vanished from them, as one snapshot sees them."""

    lists: Mapping[str, LiveList] = msgspec.field(default_factory=dict)
    gone: Mapping[str, frozenset[str]] = msgspec.field(default_factory=dict)

    def of(self, provider: str, base_url: str) -> LiveList | None:
        """A provider's list, unless it was read at another address."""
        found = self.lists.get(provider)
        return found if found is not None and found.base_url == base_url else None

    def gone_from(self, provider: str) -> frozenset[str]:
        """The models of a provider that are believed to have vanished."""
        return self.gone.get(provider, frozenset())


class Absence(msgspec.Struct):
    """A model that the lists lack: since which list (epoch seconds), and whether that is believed."""

    since: float
    vanished: bool = False


class News(NamedTuple):
    """What one list changed. `odd` = it was not believed; `fresh` = ids, windows or prices differ from before."""

    vanished: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()
    odd: bool = False
    fresh: bool = False


class LiveModels(msgspec.Struct):
    """The lists by provider, and the absences by provider and model."""

    lists: dict[str, LiveList] = msgspec.field(default_factory=dict)
    absences: dict[str, dict[str, Absence]] = msgspec.field(default_factory=dict)

    def take(
        self,
        spec: ProviderSpec,
        wanted: Sequence[str],
        fresh: LiveList,
        *,
        answered_at: Callable[[str], float],
        refused_at: Callable[[str], float],
    ) -> News:
        """Take up a list that was just read. `wanted` are the pool's ids of this provider.

        `answered_at` and `refused_at` say when a model last answered, and when it was last said to be unknown (epoch
        seconds, 0 = never).
        """
        before = self.lists.get(spec.name)
        if before is not None and before.base_url != fresh.base_url:
            before = None
            self.absences.pop(spec.name, None)
        found = {one for one in wanted if fresh.find(one, id_routes=spec.id_routes) is not None}
        if not any(model.chats for model in fresh.models) or (wanted and not found and len(fresh) < _FEW):
            return News(odd=True)
        self.lists[spec.name] = fresh
        absences = self.absences.setdefault(spec.name, {})
        returned = [one for one in found if (absence := absences.pop(one, None)) is not None and absence.vanished]
        vanished: list[str] = []
        for one in dict.fromkeys(wanted):
            if one in found:
                continue
            absence = absences.setdefault(one, Absence(fresh.read_at))
            if answered_at(one) >= absence.since:  # it is there, though no list has it
                absence.since, absence.vanished = fresh.read_at, False
            refused = refused_at(one) > answered_at(one)
            twice = spec.list_whole and fresh.read_at - absence.since >= APART_S
            if not absence.vanished and (refused or twice):
                absence.vanished = True
                vanished.append(one)
        for forgotten in absences.keys() - set(wanted):
            if not absences[forgotten].vanished:  # a replaced one is waited for, though the pool has others now
                del absences[forgotten]
        return News(
            vanished=tuple(vanished),
            returned=tuple(one for one in wanted if one in returned),
            fresh=before is None or before.models != fresh.models,
        )

    def view(self) -> "LiveView":
        """All of it as it is now, for a snapshot."""
        return LiveView(dict(self.lists), {provider: self.gone_from(provider) for provider in self.absences})

    def gone_from(self, provider: str) -> frozenset[str]:
        """The models of a provider that are believed to have vanished."""
        return frozenset(one for one, absence in self.absences.get(provider, {}).items() if absence.vanished)

    def missing_from(self, provider: str) -> frozenset[str]:
        """The models that its last list lacked, believed or not."""
        return frozenset(self.absences.get(provider, ()))

    def keep(self, providers: Mapping[str, str]) -> None:
        """Forget the lists of providers that are no more, or lie elsewhere now; `providers` gives base URLs."""
        for name in list(self.lists):
            if self.lists[name].base_url != providers.get(name):
                del self.lists[name]
                self.absences.pop(name, None)


def is_free(spec: ProviderSpec, model: Listed) -> bool:
    """Whether a listed model costs nothing: by its price, else by the mark in its id, else by its row."""
    if model.price is not None:
        return model.price == Price()
    if spec.free_only is not None:
        return model.id.endswith(spec.free_only)
    return spec.price_class is PriceClass.FREE


def as_spec(spec: ProviderSpec, model: Listed) -> ModelSpec:
    """A listed model as one of the catalogue's, with what holds for all of its row; what does not chat embeds."""
    free = is_free(spec, model)
    priced = model.price is not None and model.price != Price()
    row_class = PriceClass.PAID if priced and spec.price_class is PriceClass.FREE else spec.price_class
    listed = {what: Claim(known, "listed") for what, known in model.capabilities.items()}
    return ModelSpec(
        id=model.id,
        context=model.context,
        max_output=model.max_output,
        price_class=PriceClass.FREE if free else row_class,
        price=model.price if model.price is not None and not free else Price(),
        capabilities={**spec.capabilities, **listed},
        embeds=None if model.chats else _EMBEDS_UNKNOWN,
        quirks=LITE if model.lite else frozenset(),
        efforts=model.efforts,
    )


def replacements(spec: ProviderSpec, live: LiveList) -> tuple[str, ...]:
    """The listed models that may stand in for a row whose own have all vanished: free, with tools and 64,000 tokens.

    Where a list says nothing of tools at all, a free id must be marked as one, and what is not said counts as unknown.
    """
    mark = spec.free_only or ""
    free = [model for model in live.models if model.chats and model.id.endswith(mark) and is_free(spec, model)]
    if live.tells_tools:
        able = [model for model in free if model.capabilities.get(Capability.TOOLS) is Known.YES]
        fit = [model for model in able if model.context is not None and model.context >= LEAST_WINDOW]
    elif spec.free_only is not None:
        fit = [model for model in free if model.context is None or model.context >= LEAST_WINDOW]
    else:
        fit = []
    return tuple(str(model.id) for model in fit[:MOST_REPLACEMENTS])
