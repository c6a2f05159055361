"""Which targets fail just now, and since when: said once as it begins, and once when it is over.

Owns what is news of a failing target. What a failure means for its next turn is the ledger's; every failed attempt
stands in the log all the same, but only the news of it is a warning. It must never know a request.
"""

from typing import Final, NamedTuple

__all__ = ["Outage", "Outages"]

_MOST: Final = 1_024


class Outage(NamedTuple):
    """One target that fails: how (the class of contract.md), since when (epoch seconds), in how many attempts."""

    kind: str
    since: float
    failures: int


class Outages:
    """The targets whose last attempt failed by no fault of its request."""

    def __init__(self) -> None:
        self._known: dict[str, Outage] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def failed(self, target: str, kind: str, now: float) -> bool:
        """An attempt failed; whether that is news."""
        before = self._known.pop(target, None)  # the latest last
        self._known[target] = Outage(kind, before.since if before else now, before.failures + 1 if before else 1)
        if len(self._known) > _MOST:
            self._known.pop(next(iter(self._known)))
        return before is None or before.kind != kind

    def over(self, target: str) -> Outage | None:
        """It has served; what is over with that, if anything."""
        return self._known.pop(target, None)
