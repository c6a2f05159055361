"""What the pool says of itself: status of every target, readiness, and the models that can be named.

Owns the shapes of `GET /v1/status` (contract.md, Status and control). It only reads; it must never show a secret beyond
its last four characters.
"""

from typing import Any

from msgspec.structs import asdict

from hermes_router.engine.context import Engine
from hermes_router.routing.names import PROFILES
from hermes_router.routing.window import (
    UNKNOWN_CONTEXT,
    UNKNOWN_OUTPUT,
    advertised_context,
    advertised_output,
    pin_output,
    pin_window,
)
from hermes_router.wire.chat.models import ModelRow

_CREATED = 1_767_225_600  # 2026-01-01: a model list is no news, and must be stable over restarts


def status_report(engine: Engine, version: str, *, providers: frozenset[str] | None = None) -> dict[str, Any]:
    """`GET /v1/status`; a scoped key sees its scope."""
    snapshot = engine.snapshot
    now = engine.clock.now()
    targets: list[dict[str, Any]] = []
    for facts in snapshot.roster.facts:
        if providers is not None and facts.provider.name not in providers:
            continue
        status = engine.state.status(facts, now)
        targets.append(
            {
                "target": str(facts.target),
                "provider": facts.provider.name,
                "model": facts.model.id,
                "credential": facts.credential.tail,
                "account": facts.credential.account,
                "state": status.state,
                "reason": status.reason,
                "until": status.until,
                "capabilities": status.capabilities,
                "quota": [window._asdict() for window in status.quota],
            }
        )
    ready = any(_may_serve(target["state"], target["until"], now) for target in targets)
    if not ready:  # a request goes to a broken one now, as a last resort: that is what `Retry-After` says, too
        for target in targets:
            if target["state"] == "open":
                target["until"] = now
    return {
        "version": version,
        "uptime_s": round(engine.clock.mono() - engine.started_mono, 1),
        "ready": ready,
        "mode": snapshot.settings.mode,
        "targets": targets,
        "counters": asdict(engine.counters),
    }


def is_ready(engine: Engine) -> bool:
    """Whether a target could serve now. Stops at the first that can."""
    now = engine.clock.now()
    standing = (engine.state.status(facts, now) for facts in engine.snapshot.roster.facts)
    return any(_may_serve(status.state, status.until, now) for status in standing)


def _may_serve(state: str, until: float | None, now: float) -> bool:
    """Whether a request would go there: also as the probe of a half-open breaker, or as the try that is due."""
    return state == "ready" or (until is not None and until <= now)


def model_rows(engine: Engine, providers: frozenset[str] | None = None) -> list[ModelRow]:
    """`hermes-router` and its profiles, then every `P/M` that can be pinned: those that chat, then those that embed."""
    snapshot = engine.snapshot
    learned = engine.state.learned
    rows = [
        ModelRow(
            name,
            "hermes-router",
            _CREATED,
            advertised_context(snapshot.roster, snapshot.settings, learned, profile=profile),
            advertised_output(snapshot.roster, snapshot.settings, learned, profile=profile),
        )
        for name, profile in PROFILES.items()
    ]
    for provider, spec in snapshot.roster.pinnable():
        if providers is None or provider in providers:
            window = pin_window(snapshot.roster, learned, provider, spec.id)
            output = min(window, pin_output(snapshot.roster, provider, spec.id))
            rows.append(ModelRow(f"{provider}/{spec.id}", provider, _CREATED, window, output))
    return [*rows, *_embedding_rows(engine, providers)]


def former_row(engine: Engine, name: str, providers: frozenset[str] | None = None) -> ModelRow | None:
    """The row of a `P/M` that was served before, None for any other name.

    A client that asks for one model has its name already, and the name is a pin still. The list has no such row: who
    picks from it wants an answer.
    """
    provider, _, model = name.partition("/")
    former = engine.snapshot.roster.former.get(provider)
    if former is None or (providers is not None and provider not in providers):
        return None
    spec = former.models.get(model)
    if spec is None:
        return None
    if model in former.embeds or spec.embeds is not None:
        return ModelRow(name, provider, _CREATED, spec.context, None, embeds=True)
    context = engine.state.learned.context(provider, spec.id) or spec.context or UNKNOWN_CONTEXT
    return ModelRow(name, provider, _CREATED, context, spec.max_output or UNKNOWN_OUTPUT)


def _embedding_rows(engine: Engine, providers: frozenset[str] | None) -> list[ModelRow]:
    """Models for embeddings, with the window of one input: the one of each provider, then others of its row."""
    made: dict[str, ModelRow] = {}
    for facts in engine.snapshot.embedders:
        provider = facts.provider
        if facts.disabled is None and (providers is None or provider.name in providers):
            others = (model.id for model in provider.models if model.embeds is not None)
            for model_id in (facts.model.id, *others):
                known = provider.model(model_id)
                context = known.context if known is not None else None
                name = f"{provider.name}/{model_id}"
                made.setdefault(name, ModelRow(name, provider.name, _CREATED, context, None, embeds=True))
    return list(made.values())
