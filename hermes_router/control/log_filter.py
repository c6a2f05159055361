"""Which events of the log somebody wants, and what an event is about.

Owns the meaning of `--level`, `--provider`, `--request` and `--since`, the same where the daemon looks through what it
remembers, where `hr` follows, and in the journal's fields. Pure; it must never know how an event is shown.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from hermes_router.control.log_types import LogWish

__all__ = ["LEVELS", "Subject", "fits", "request_of", "subject"]

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_RANKS: Final = {level: rank for rank, level in enumerate(LEVELS)}


class Subject(NamedTuple):
    """What an event names: providers, models and targets, each once, in order."""

    providers: tuple[str, ...]
    models: tuple[str, ...]
    targets: tuple[str, ...]


def subject(fields: Mapping[str, Any]) -> Subject:
    """Whom an event is about: its `provider` and `model`, its `target`, and those of `attempts`."""
    targets: dict[str, None] = {}
    target, attempts = fields.get("target"), fields.get("attempts")
    if isinstance(target, str):
        targets[target] = None
    if isinstance(attempts, str) and attempts:
        targets.update(dict.fromkeys(one.rpartition(":")[0] for one in attempts.split(" ")))
    providers: dict[str, None] = {}
    models: dict[str, None] = {}
    provider, model = fields.get("provider"), fields.get("model")
    if isinstance(provider, str):
        providers[provider] = None
    if isinstance(model, str):
        models[model] = None
    for one in targets:
        name, slash, rest = one.partition("/")
        if slash:
            providers[name] = None
            models[rest.rpartition("#")[0] or rest] = None
    return Subject(tuple(providers), tuple(models), tuple(targets))


def request_of(fields: Mapping[str, Any]) -> str:
    """The id of the request that an event belongs to; empty where it belongs to none."""
    found = fields.get("request_id")
    return found if isinstance(found, str) else ""


def fits(wish: LogWish, at: float, level: str, fields: Mapping[str, Any]) -> bool:
    """Whether an event is one of those."""
    if wish.level and _RANKS.get(level, len(_RANKS)) < _RANKS.get(wish.level, 0):
        return False
    if wish.since and at < wish.since:
        return False
    if wish.request:
        ident = request_of(fields)
        if ident != wish.request if wish.whole else not ident.startswith(wish.request):
            return False
    return not wish.provider or wish.provider in subject(fields).providers
