"""Which model may make the vectors of a request, what one call to it may hold, and the words for why none can.

Owns the choice of a provider and model for whoever is bound to none, and the check of one that is named. It must never
look at what changes by the minute: whether its keys can be asked now, the scheduler says.
"""

from collections.abc import Iterator
from typing import Final

from hermes_router.core.catalog import ModelSpec, TargetFacts
from hermes_router.core.errors import BadRequest, CallerError, NoCapableTarget, NoTarget, Unbindable
from hermes_router.engine.context import Generation
from hermes_router.engine.former import no_key
from hermes_router.routing.demand import Constraint
from hermes_router.routing.names import Pin
from hermes_router.routing.window import capacity
from hermes_router.wire.embeddings import EmbedRequest

__all__ = ["ENDS", "calls", "check", "choices", "own_size", "source"]

ENDS: Final = "`hr embed unbind` would end the binding; the store must then be embedded anew."
_MOST_INPUTS: Final = 256  # in a call to a model of which nobody knows how many it takes
_MOST_NUMBERS: Final = 1_000_000  # in an answer: some 20 MB of JSON, 30 ms to take apart
_USUAL_SIZE: Final = 1_536
_TRY_AGAIN_S: Final = 5.0  # when a local server that does not answer is looked for again


def choices(snapshot: Generation, asked: EmbedRequest, constraint: Constraint, now: float) -> list[TargetFacts]:
    """The models that could be bound, one target of each: the cheapest class first, then the catalogue's order.

    Raises what the caller gets where there is none.
    """
    found: dict[str, TargetFacts] = {}
    unfit: list[CallerError] = []
    lacking: list[str] = []
    for facts in snapshot.embedders:
        if facts.provider.name in found:
            continue
        why = _barred(facts, constraint)
        if why is not None:
            lacking.append(why)
            continue
        try:
            check(facts, asked)
        except BadRequest as error:
            unfit.append(error)
        else:
            found[facts.provider.name] = facts
    if found:
        return sorted(found.values(), key=_class)
    if unfit:
        raise unfit[0]
    if constraint.local_only and snapshot.awaits_local:
        raise _awaited(now)
    if constraint.local_only:
        raise NoCapableTarget(
            "No local model for embeddings is configured: LOCAL_EMBED_MODEL names one, of the server at LOCAL_BASE_URL."
        )
    raise NoCapableTarget(
        f"No configured provider can serve embeddings{f' ({lacking[0]})' if lacking else ''}: add a key of one that "
        "has a model for them (`hr auth add`), or name a model by <PROVIDER>_EMBED_MODEL."
    )


def source(
    snapshot: Generation, provider: str, model: str, constraint: Constraint, now: float, *, bound: bool
) -> TargetFacts:
    """A target of the one model that is pinned or `bound`.

    Raises NoTarget while a local server is not there yet, and for a pin whose provider's last key was taken out; else,
    for whatever its owner has to change, Unbindable where it is bound, NoCapableTarget where it is pinned.
    """
    found = [f for f in snapshot.embedders if f.provider.name == provider and f.model.id == model]
    found = found or snapshot.roster.pinned(provider, model)
    name = f"{provider}/{model}"
    variable = f"{provider.upper()}_EMBED_MODEL"
    if snapshot.settings.provider(provider).embed_model == "":
        why = f"{variable} is empty, so {provider} serves no embeddings"
    elif not found or found[0].model.embeds is None:
        keyless = not found or found[0].provider.keyless
        if keyless and snapshot.awaits_local:
            raise _awaited(now)
        lost = no_key(snapshot.roster, Pin(provider, model), now)
        if lost is not None and not bound:
            raise lost
        none = f"no key of {provider} is configured" if not found else ""
        why = none or f"{name} is not known to be a model for embeddings; {variable} would name it"
    else:
        barred = [_barred(facts, constraint) for facts in found]
        if None in barred:
            return found[barred.index(None)]
        why = barred[0] or ""
    if not bound:
        raise NoCapableTarget(f"{name} cannot serve embeddings: {why}.")
    raise Unbindable(
        f"The vectors of this router key come from {name}, and no other model's would compare with them. It cannot "
        f"serve: {why}. {ENDS}"
    )


def _awaited(now: float) -> NoTarget:
    return NoTarget(limited=False, retry_at=now + _TRY_AGAIN_S, said="The local server has not answered yet.")


def _class(facts: TargetFacts) -> int:
    return int(facts.model.price_class)


def _barred(facts: TargetFacts, constraint: Constraint) -> str | None:
    """Why a model may not serve this request whatever is asked, None where it may."""
    name = facts.provider.name
    if facts.disabled is not None:
        return f"{name} is {facts.disabled}" if facts.disabled.startswith("disabled") else f"{name}: {facts.disabled}"
    if constraint.providers is not None and name not in constraint.providers:
        return f"{name} is outside the router key's scope"
    if constraint.local_only and not facts.private:
        return f"{name} is not on this machine"
    if constraint.no_training and not facts.private and facts.provider.trains is not False:
        return f"{name} may train on content (PRIVACY=no-training)"
    return None


# --- what is asked of it ------------------------------------------------------------------------------


def check(facts: TargetFacts, asked: EmbedRequest, own: int = 0) -> None:
    """Raise BadRequest where the model is known not to take what is asked. `own` is its proven length, 0 = none."""
    model, name = facts.model, facts.target.name
    if asked.tokens and model.embedding.token_arrays is False:
        raise BadRequest(
            f"{name} takes texts, not tokens: send strings (LangChain: check_embedding_ctx_length=False)", param="input"
        )
    wanted, sizes = asked.dimensions, model.embedding.sizes
    own = own or model.embeds or 0
    if wanted is None or sizes is None or not own or wanted == own:
        return
    if sizes == "any":
        if wanted > own:
            raise BadRequest(f"{name} gives vectors of {own} numbers, or fewer", param="dimensions")
    elif wanted not in sizes:
        words = ", ".join(map(str, (*sizes, own)))
        raise BadRequest(f"{name} gives vectors of {words} numbers, and no others", param="dimensions")


def own_size(model: ModelSpec, asked: EmbedRequest) -> bool:
    """Whether its own length is asked for by `dimensions`, of a model that takes no such field."""
    return asked.dimensions is not None and model.embedding.sizes == () and asked.dimensions == model.embeds


def calls(facts: TargetFacts, asked: EmbedRequest) -> Iterator[slice]:
    """The inputs by calls: as many in each as the model takes, in order."""
    most, tokens = _room(facts, asked)
    first = total = 0
    for number, size in enumerate(asked.sizes):
        if number > first and (number - first >= most or total + size > tokens):
            yield slice(first, number)
            first, total = number, 0
        total += size
    yield slice(first, len(asked.sizes))


def _room(facts: TargetFacts, asked: EmbedRequest) -> tuple[int, int]:
    """How many inputs, and how many tokens, one call may hold."""
    known = facts.model.embedding
    numbers = asked.dimensions or facts.model.embeds or _USUAL_SIZE
    most = min(known.inputs or _MOST_INPUTS, max(1, _MOST_NUMBERS // numbers))
    room = capacity(facts, None).soft
    return most, room if known.call_tokens is None else min(room, known.call_tokens)
