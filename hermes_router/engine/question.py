"""A parsed request of a known caller to the question that an exchange answers.

Owns the joining of names, difficulty and what the caller may use. It must never read a body or decide who serves.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from hermes_router.core.chat import Warning as Notice
from hermes_router.engine.admission import Caller
from hermes_router.engine.context import Engine
from hermes_router.engine.exchange import Question
from hermes_router.routing.demand import Constraint, affinity_key, assess
from hermes_router.routing.names import Pin, Resolved, resolve
from hermes_router.wire.inbound import Inbound

__all__ = ["make_question"]

_FALLBACK_ANY = "x-hermes-fallback"
_PROFILE = "x-hermes-profile"
_MAX_WAIT = "x-hermes-max-wait"
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def make_question(
    engine: Engine, inbound: Inbound, caller: Caller, headers: Mapping[str, str], request_id: str
) -> Question:
    """The question; `headers` have names in lower case. Raises UnknownModel for a name that does not exist."""
    snapshot = engine.snapshot
    settings = snapshot.settings
    asked = inbound.request
    resolved = resolve(asked.model, snapshot.roster, strict=settings.strict_models)
    if headers.get(_PROFILE, "").lower() == "fast" and resolved.profile == "main" and not resolved.pin:
        resolved = Resolved("fast", None, resolved.warning)
    key = affinity_key(asked, caller.key)
    demand = assess(
        asked,
        caller=caller.key,
        profile=resolved.profile,
        floor_difficulty=engine.state.difficulty_floor(key) if key else 1,
    )
    constraint = _constraint(
        resolved.pin,
        caller.providers,
        resolved.profile == "local",
        caller.min_tier,
        settings.privacy == "no-training",
    )
    if settings.fetch_images and demand.image_urls and resolved.profile != "local" and engine.images is not None:
        # A request that must not leave the machine has nothing fetched for it either.
        constraint = constraint._replace(fetches=True)
    notices = (Notice(*resolved.warning.split(":", 1)),) if resolved.warning else ()
    max_wait_s = None
    asked_s = headers.get(_MAX_WAIT)
    if asked_s is not None:
        # A mistake in it costs the agent no request: the answer says that it was ignored.
        max_wait_s = float(asked_s) if _SECONDS.fullmatch(asked_s := asked_s.strip()) else None
        if max_wait_s is None:
            notices = (*notices, Notice("ignored", _MAX_WAIT))
    return Question(  # by position: it is made for every request, and names cost
        inbound,
        demand,
        constraint,
        caller,
        _plain(headers.get("user-agent", "")[:200]),
        notices,
        request_id,
        headers.get(_FALLBACK_ANY, "").lower() == "any",
        max_wait_s,
    )


@lru_cache(maxsize=64)
def _constraint(
    pin: Pin | None, providers: frozenset[str] | None, local_only: bool, min_tier: int, no_training: bool
) -> Constraint:
    """The few that there are of a router's keys and names are shared."""
    return Constraint(pin, providers, local_only=local_only, min_tier=min_tier, no_training=no_training)


def _plain(agent: str) -> str:
    """A User-Agent that can be sent on: printable ASCII alone."""
    return agent if agent.isascii() and agent.isprintable() else "".join(c for c in agent if " " <= c <= "~")
