"""A parsed request for vectors to the question that an exchange answers.

Owns what a model name means here: the router's own, a pin of a model, or nothing. It must never decide who serves.
"""

from collections.abc import Mapping

from hermes_router.core.chat import ChatRequest
from hermes_router.core.chat import Warning as Notice
from hermes_router.core.errors import BadRequest
from hermes_router.engine.admission import Caller
from hermes_router.engine.context import Engine, Generation
from hermes_router.engine.exchange import Question
from hermes_router.engine.question import make_question
from hermes_router.routing.demand import Demand, Profile
from hermes_router.routing.names import ROUTER, Pin
from hermes_router.wire.embeddings import EmbedRequest
from hermes_router.wire.inbound import Inbound

__all__ = ["make_embed_question"]


def make_embed_question(
    engine: Engine, asked: EmbedRequest, caller: Caller, headers: Mapping[str, str], request_id: str
) -> Question:
    """The question; `headers` have names in lower case. Its profile is `main` or `local`.

    Raises UnknownModel for a name that does not exist, BadRequest for one of a model that chats.
    """
    known = _known(engine.snapshot, asked.model.strip())
    # What is known to embed need not be looked for among the models that chat.
    looked_for = Inbound(ChatRequest(ROUTER if known is not None else asked.model), asked.fields)
    question = make_question(engine, looked_for, caller, headers, request_id)
    pin = known or question.constraint.pin
    if pin is not None and pin.provider is None:
        raise BadRequest(f"{pin.model} is a model that chats, not one for embeddings", param="model")
    profile: Profile = "local" if question.demand.profile == "local" else "main"
    notices = question.notices
    if question.fallback_any:
        notices = (*notices, Notice("ignored", "x-hermes-fallback"))  # no other model's vectors would do
    return question._replace(
        inbound=looked_for._replace(request=ChatRequest(asked.model)),
        # Of the answer nothing is counted as output, and of models for vectors none is weaker than another.
        demand=Demand("embed", frozenset(), sum(asked.sizes), 1, 1, profile),
        constraint=question.constraint._replace(pin=pin, min_tier=1),
        notices=notices,
        fallback_any=False,
    )


def _known(snapshot: Generation, name: str) -> Pin | None:
    """A model of those that are there to embed: with its provider, else by its whole id (as in `routing/names.py`)."""
    named = {facts.target.name: facts for facts in reversed(snapshot.embedders)}
    known = {str(facts.model.id): facts for facts in reversed(snapshot.embedders)}
    facts = named.get(name) or known.get(name)
    if facts is not None:
        return Pin(facts.provider.name, facts.model.id)
    before = snapshot.roster.embedded(name)
    return None if before is None else Pin(*before)
