"""One generation of the configuration as the pool sees it: every target with all that it is scheduled by.

Owns the joining of row, owner's words and credentials into `TargetFacts`. It must never hold anything that changes
with traffic, and never read a file: a new configuration is a new snapshot.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from hermes_router.core.catalog import (
    NO_PRICE,
    UNKNOWN_PRICE,
    Capability,
    Claim,
    DialectName,
    Known,
    ModelSpec,
    PriceClass,
    ProviderSpec,
    QuotaRule,
    Route,
    TargetFacts,
)
from hermes_router.core.ids import Credential, ModelId, ProviderName, Target
from hermes_router.core.live_lists import Listed, LiveList
from hermes_router.core.observations import Unit, Window
from hermes_router.core.settings import ProviderSettings, Settings
from hermes_router.core.variables import variable_part
from hermes_router.engine.live_models import LITE, LiveView, as_spec, replacements
from hermes_router.wire.dialects import DIALECTS

__all__ = [
    "Snapshot", "base_url", "build_facts", "is_on", "picked", "pinned_facts", "spoken_dialect", "take_snapshot",
]  # fmt: skip

SPOKEN: Final[tuple[DialectName, ...]] = tuple(DIALECTS)  # towards providers, the preferred first
_UNKNOWN_TIER: Final = 3
_NO_LISTS: Final = LiveView()
_EMBEDS_IN: Final[DialectName] = "openai_chat"  # `/embeddings` lies beside its `/chat/completions`


class Snapshot(msgspec.Struct, frozen=True):
    """A generation: settings, rows, credentials, and the targets they make.

    `live` is what local servers say that they hold, `lists` what providers list. `embedders` are the targets for
    embeddings, one model of each provider: they are no part of the pool that chats.
    """

    generation: int
    settings: Settings
    catalog: Mapping[ProviderName, ProviderSpec]
    credentials: tuple[Credential, ...] = ()
    facts: tuple[TargetFacts, ...] = ()
    live: Mapping[str, Sequence[ModelSpec]] = msgspec.field(default_factory=dict)
    lists: LiveView = msgspec.field(default_factory=LiveView)
    embedders: tuple[TargetFacts, ...] = ()

    def live_models(self) -> dict[str, dict[str, ModelSpec]]:
        """Every model that a provider of this generation lists, by provider and id.

        Open catalogues are left out: any of their ids may be pinned, and hundreds would bury the pool's own.
        """
        found = {name: {str(model.id): model for model in models} for name, models in self.live.items()}
        for name, spec in self.catalog.items():
            listed = _list_of(spec, self.settings.provider(name), self.lists)
            if listed is not None and not spec.open_catalogue:
                found[name] = {str(model.id): as_spec(spec, model) for model in listed.models}
        return found


def take_snapshot(
    generation: int,
    settings: Settings,
    catalog: Mapping[ProviderName, ProviderSpec],
    credentials: Sequence[Credential],
    live: Mapping[str, Sequence[ModelSpec]] | None = None,
    *,
    lists: LiveView = _NO_LISTS,
) -> Snapshot:
    """The snapshot of one reading of the configuration, with what local servers hold and providers list."""
    found = live or {}
    facts = build_facts(settings, catalog, credentials, found, lists)
    embedders = build_embedders(settings, catalog, credentials, found, lists)
    return Snapshot(generation, settings, catalog, tuple(credentials), facts, found, lists, embedders)


def is_on(spec: ProviderSpec, said: ProviderSettings) -> bool:
    """Whether a keyless provider takes part: the owner gave an address or a model, or wrote the row."""
    return not spec.keyless or spec.own or bool(said.base_url) or bool(said.models)


def base_url(spec: ProviderSpec, said: ProviderSettings, dialect: DialectName) -> str:
    """Where a dialect's paths are appended: the owner's address, else the row's.

    Local servers all have their API under `/v1`, and people write the address without it.
    """
    if not said.base_url:
        return spec.endpoints[dialect]
    if spec.keyless and urlsplit(said.base_url).path == "":
        return f"{said.base_url}/v1"
    return said.base_url


def spoken_dialect(spec: ProviderSpec) -> DialectName:
    """The dialect that a provider is asked in: the first of ours that it has, else its own first."""
    return next((one for one in SPOKEN if one in spec.endpoints), next(iter(spec.endpoints)))


def _asked(spec: ProviderSpec, said: ProviderSettings) -> dict[DialectName, str]:
    """The dialects that its targets may be asked in; at another address it is the first alone, whoever lives there."""
    first = spoken_dialect(spec)
    if said.base_url:
        return {first: base_url(spec, said, first)}
    return {one: spec.endpoints[one] for one in SPOKEN if one in spec.endpoints}


def build_facts(
    settings: Settings,
    catalog: Mapping[ProviderName, ProviderSpec],
    credentials: Sequence[Credential],
    live: Mapping[str, Sequence[ModelSpec]] | None = None,
    lists: LiveView = _NO_LISTS,
) -> tuple[TargetFacts, ...]:
    """Every target: provider by provider in the catalogue's order, model by model in list order, key by key.

    `live` and `lists` fill in what neither row nor owner says.
    """
    found = live or {}
    facts: list[TargetFacts] = []
    for spec, said, mine in _taking_part(settings, catalog, credentials):
        routes = _routes(spec, catalog, settings)
        for position, model in enumerate(_models(spec, said, found.get(spec.name, ()), lists)):
            facts.extend(_of_model(spec, settings, model, position, mine, routes))
    return tuple(facts)


def build_embedders(
    settings: Settings,
    catalog: Mapping[ProviderName, ProviderSpec],
    credentials: Sequence[Credential],
    live: Mapping[str, Sequence[ModelSpec]],
    lists: LiveView = _NO_LISTS,
) -> tuple[TargetFacts, ...]:
    """The targets for embeddings: provider by provider in the catalogue's order, one model of each, key by key."""
    facts: list[TargetFacts] = []
    for spec, said, mine in _taking_part(settings, catalog, credentials):
        local = {model.id: model for model in live.get(spec.name, ())}
        model = _embed_model(spec, said, local, _list_of(spec, said, lists))
        if model is not None:
            routes = _routes(spec, catalog, settings)
            facts.extend(map(_for_vectors, _of_model(spec, settings, model, len(spec.models), mine, routes)))
    return tuple(facts)


def _taking_part(
    settings: Settings, catalog: Mapping[ProviderName, ProviderSpec], credentials: Sequence[Credential]
) -> Iterator[tuple[ProviderSpec, ProviderSettings, Sequence[Credential]]]:
    """The rows that have credentials, with what their owner says."""
    of_provider: dict[ProviderName, list[Credential]] = {}
    for credential in credentials:
        of_provider.setdefault(credential.provider, []).append(credential)
    for spec in catalog.values():
        said = settings.provider(spec.name)
        mine = of_provider.get(spec.name, ())
        if mine and is_on(spec, said):
            yield spec, said, mine


def pinned_facts(snapshot: Snapshot, provider: str, model_id: str) -> tuple[TargetFacts, ...]:
    """Targets of a model that is pinned though the pool does not hold it, one for each credential of its provider."""
    spec = snapshot.catalog.get(ProviderName(provider))
    said = snapshot.settings.provider(provider)
    mine = [c for c in snapshot.credentials if c.provider == provider]
    if spec is None or not mine or not is_on(spec, said):
        return ()
    local = {one.id: one for one in snapshot.live.get(provider, ())}
    listed = _list_of(spec, said, snapshot.lists)
    model = _spec_of(spec, model_id, local, listed)
    if model_id == _named(spec, said):
        model = _embed_model(spec, said, local, listed) or model
    routes = _routes(spec, snapshot.catalog, snapshot.settings)
    facts = _of_model(spec, snapshot.settings, model, len(spec.models), mine, routes)
    return tuple(facts if model.embeds is None else map(_for_vectors, facts))


# --- models -----------------------------------------------------------------------------------------


def _list_of(spec: ProviderSpec, said: ProviderSettings, lists: LiveView) -> LiveList | None:
    """The provider's list, if it was read where its requests go."""
    return lists.of(spec.name, base_url(spec, said, spoken_dialect(spec)))


def _models(spec: ProviderSpec, said: ProviderSettings, live: Sequence[ModelSpec], lists: LiveView) -> list[ModelSpec]:
    """The owner's list, else the row's, else what the local server has; models for embeddings left out."""
    local = {model.id: model for model in live}
    listed = _list_of(spec, said, lists)
    ids: Sequence[str]
    if said.models is not None:
        ids = tuple(dict.fromkeys(one.removeprefix(spec.model_prefix) for one in said.models))
    elif spec.models:
        ids = picked(spec)
        if listed is not None and ids and lists.gone_from(spec.name).issuperset(ids):
            ids = replacements(spec, listed) or ids
    else:
        ids = list(local)
    embeds = _named(spec, said)
    models = [_spec_of(spec, one, local, listed) for one in ids if one != embeds]
    return [model for model in models if model.embeds is None]


def _named(spec: ProviderSpec, said: ProviderSettings) -> str | None:
    """The id of the model that the owner names for embeddings; empty where there is to be none, None where unsaid."""
    return None if said.embed_model is None else said.embed_model.removeprefix(spec.model_prefix)


def _embed_model(
    spec: ProviderSpec, said: ProviderSettings, local: Mapping[ModelId, ModelSpec], listed: LiveList | None
) -> ModelSpec | None:
    """The model that embeds: the one that the owner names, else the row's first, else the local server's."""
    named = _named(spec, said)
    if named is not None:
        found = _spec_of(spec, named, local, listed) if named else None
    else:
        ours = next((m for m in (*spec.models, *local.values()) if m.embeds is not None and m.picked), None)
        found = None if ours is None else _spec_of(spec, ours.id, local, listed)
    if found is None or _EMBEDS_IN not in spec.endpoints:
        return None
    return found if found.embeds is not None else replace(found, embeds=0)


def _for_vectors(facts: TargetFacts) -> TargetFacts:
    """The target without what is about one prompt: a call may hold many inputs, each with the window for itself."""
    return replace(
        facts, model=replace(facts.model, context=None, max_output=None), output_cap=None, skip_tokens_over=None
    )


def picked(spec: ProviderSpec) -> tuple[str, ...]:
    """The ids of a row's own default list."""
    return tuple(str(model.id) for model in spec.models if model.picked and model.embeds is None)


def _spec_of(spec: ProviderSpec, model_id: str, local: Mapping[ModelId, ModelSpec], live: LiveList | None) -> ModelSpec:
    """What is known of a model: the row first, then the provider's own list, then nothing but the row's defaults.

    Of two windows the smaller is the safe one, unless the owner wrote the row: too small is a detour, too large a
    failure.
    """
    seen = local.get(ModelId(model_id))
    listed = live.find(model_id, id_routes=spec.id_routes) if live is not None else None
    if seen is None and listed is not None:
        seen = replace(as_spec(spec, listed), id=ModelId(model_id))
    known = spec.model(model_id)
    if known is not None:
        return known if seen is None else _shaped(_filled(spec, known, seen), listed)
    free = spec.free_only is not None and model_id.endswith(spec.free_only)
    price_class = PriceClass.FREE if free else spec.price_class
    if seen is not None:
        if listed is not None:
            return seen
        return replace(seen, price_class=price_class, capabilities=dict(spec.capabilities) | dict(seen.capabilities))
    return ModelSpec(
        ModelId(model_id), tier=_UNKNOWN_TIER, price_class=price_class, capabilities=dict(spec.capabilities)
    )


def _filled(spec: ProviderSpec, known: ModelSpec, seen: ModelSpec) -> ModelSpec:
    context = known.context or seen.context
    if context is not None and seen.context is not None and not spec.own:
        context = min(context, seen.context)
    unpriced = known.price_class is PriceClass.PAID and known.price == NO_PRICE
    return replace(
        known,
        context=context,
        max_output=known.max_output or seen.max_output,
        price=seen.price if unpriced else known.price,
        capabilities=dict(seen.capabilities) | dict(known.capabilities),
    )


def _shaped(model: ModelSpec, listed: Listed | None) -> ModelSpec:
    """The model in the shape, and with the efforts, that the list tells of: it changes there, and no row keeps up."""
    if listed is None:
        return model
    quirks = model.quirks
    if listed.lite is not None:
        quirks = quirks | LITE if listed.lite else quirks - LITE
    return replace(model, quirks=quirks, efforts=listed.efforts or model.efforts)


def _overridden(model: ModelSpec, said: ProviderSettings) -> ModelSpec:
    """The model with the owner's word on its capabilities: his word on the model before that on the provider."""
    part = variable_part(model.id)
    words = (
        (Capability.TOOLS, said.model_tools.get(part, said.tools)),
        (Capability.REASONING, said.model_reasoning.get(part, said.reasoning)),
    )
    claims = {what: Claim(Known.YES if yes else Known.NO, "override") for what, yes in words if yes is not None}
    return replace(model, capabilities=dict(model.capabilities) | claims) if claims else model


def _priced(model: ModelSpec) -> ModelSpec:
    """The model, for budgets at the dearest price where it is paid for and nobody says how much."""
    if model.price_class is PriceClass.PAID and model.price == NO_PRICE:
        return replace(model, price=UNKNOWN_PRICE)
    return model


# --- targets ----------------------------------------------------------------------------------------


def _routes(
    spec: ProviderSpec, catalog: Mapping[ProviderName, ProviderSpec], settings: Settings
) -> dict[str, tuple[str, Route]]:
    """The other ways of a row, each with its address: that of another row, as its owner has it."""
    dialect = spoken_dialect(spec)
    return {
        name: (base_url(other, settings.provider(other.name), dialect), route)
        for name, route in spec.routes.items()
        if (other := catalog.get(route.address_of)) is not None and dialect in other.endpoints
    }


def _of_model(  # noqa: PLR0917 - whose, by whose word, what, in which place, by whose key, on which way
    spec: ProviderSpec,
    settings: Settings,
    model: ModelSpec,
    position: int,
    credentials: Sequence[Credential],
    routes: Mapping[str, tuple[str, Route]],
) -> list[TargetFacts]:
    said = settings.provider(spec.name)
    dialect = spoken_dialect(spec)
    url = base_url(spec, said, dialect)
    model = _priced(_overridden(model, said))
    # What this model does not take is no longer allowed for it: one list to look at when the body is rendered.
    provider = replace(spec, allow=spec.allow - model.refuse) if spec.allow is not None and model.refuse else spec
    endpoints = _asked(spec, said)
    quotas = _quotas(spec, said, model)
    reasons = model.capability(Capability.REASONING).value is Known.YES
    found: list[TargetFacts] = []
    for credential in credentials:
        where, ways, quirks, disabled = url, endpoints, spec.quirks_of(model), _disabled(spec, said)
        if credential.route:
            address, route = routes.get(credential.route, ("", None))
            where, ways = address, {dialect: address}
            quirks |= route.quirks if route is not None else frozenset()
            disabled = disabled or (None if route is not None else "its row knows no way of this name")
        found.append(
            TargetFacts(
                target=Target(spec.name, model.id, credential.id),
                provider=provider,
                model=model,
                credential=credential,
                base_url=where,
                dialect=dialect,
                quotas=quotas,
                output_cap=said.max_output_tokens or model.max_output,
                skip_tokens_over=said.skip_tokens_over,
                position=position,
                private=spec.keyless and (said.is_private or _on_loopback(where)),
                disabled=disabled,
                quirks=quirks,
                effort_levels=model.efforts,
                own_base_url=bool(said.base_url),
                endpoints=ways,
                cap_reserve=settings.reasoning_token_reserve if reasons else 0,
            )
        )
    return found


def _quotas(spec: ProviderSpec, said: ProviderSettings, model: ModelSpec) -> tuple[QuotaRule, ...]:
    """The owner's limits, else the published ones, a model's before its provider's of the same unit and window.

    At another address nothing that was published holds. Where free models are marked, the row's limits are theirs.
    """
    if said.limits is not None:
        return said.limits
    if said.base_url:
        return ()
    special = {(rule.unit, rule.window) for rule in model.quotas}
    common = spec.quotas if spec.free_only is None or model.id.endswith(spec.free_only) else ()
    rules = [*model.quotas, *(rule for rule in common if (rule.unit, rule.window) not in special)]
    if spec.concurrency is not None and (Unit.CONCURRENCY, Window.NONE) not in special:
        rules.append(QuotaRule(Unit.CONCURRENCY, spec.concurrency, Window.NONE, "account"))
    return tuple(rules)


def _disabled(spec: ProviderSpec, said: ProviderSettings) -> str | None:
    if spec.retired is not None and not said.base_url:
        return spec.retired
    if not said.enabled:
        return f"disabled by the owner: `hr provider enable {spec.name}`"
    if spoken_dialect(spec) not in SPOKEN:
        return "its dialect is not spoken"
    return None


def _on_loopback(url: str) -> bool:
    name = (urlsplit(url).hostname or "").rstrip(".")
    if name == "localhost":  # not *.localhost: some resolvers ask the network for those
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
