"""How many tokens a request is, without asking anybody.

Owns `count_tokens` and `input_tokens` (design.md 2.17): the estimator's answer, calibrated for the model that the
conversation is bound to or pinned to, else by the pool's largest factor, so that it errs high. It must never make an
attempt.
"""

from hermes_router.engine.admission import Caller
from hermes_router.engine.context import Engine
from hermes_router.routing.demand import affinity_key, estimate_tokens
from hermes_router.routing.names import resolve
from hermes_router.wire.inbound import Inbound

__all__ = ["count_tokens"]


def count_tokens(engine: Engine, inbound: Inbound, caller: Caller) -> int:
    """Input tokens of the request. Raises UnknownModel for a name that does not exist."""
    learned, snapshot = engine.state.learned, engine.snapshot
    request = inbound.request
    resolved = resolve(request.model, snapshot.roster, strict=snapshot.settings.strict_models)
    maker: tuple[str, str] | None = None
    if resolved.pin is not None:
        if resolved.pin.provider is not None:
            maker = (resolved.pin.provider, resolved.pin.model)
    else:
        key = affinity_key(request, caller.key)
        binding = engine.state.bindings.get(key) if key is not None else None
        if binding is not None and binding.target is not None:
            maker = (binding.target.provider, binding.target.model)
    memory = learned.models.get(maker) if maker is not None else None
    factor = memory.factor if memory is not None else learned.largest_factor()
    return max(1, round(estimate_tokens(request) * factor))
