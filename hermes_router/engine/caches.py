"""What each conversation's last turn found in its provider's cache, to tell what a move costs (cases.md CP-7).

Owns these numbers, in memory alone. It must never decide where a conversation goes.
"""

from collections import OrderedDict
from typing import NamedTuple

from hermes_router.core.catalog import TargetFacts
from hermes_router.core.events import Usage
from hermes_router.routing.bindings import IDLE_S

__all__ = ["MOST", "Caches"]

MOST = 20_000


class _Cached(NamedTuple):
    """`where`: provider, model and account, whose the cache is; `at` in epoch seconds."""

    where: tuple[str, str, str]
    tokens: int
    at: float


class Caches:
    """Conversations by affinity key, the one that was longest silent forgotten first."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: OrderedDict[str, _Cached] = OrderedDict()

    def answered(self, key: str | None, facts: TargetFacts, usage: Usage, now: float) -> str:
        """Note the turn that was answered, `now` in epoch seconds.

        Returns what is lost by it, as a clause; empty where the last turn's cache is not known to be, or is the same.
        """
        if key is None:
            return ""
        where = (facts.target.provider, facts.target.model, facts.credential.account)
        cached = 0 if usage.estimated else usage.cached_tokens + usage.written_tokens
        last = self._last.pop(key, None)
        if cached:
            self._last[key] = _Cached(where, cached, now)
            if len(self._last) > MOST:
                self._last.popitem(last=False)
        if last is None or last.where == where or now - last.at >= IDLE_S:
            return ""
        return f"moved from {last.where[0]}/{last.where[1]}: about {last.tokens:,} cached tokens are paid again"
