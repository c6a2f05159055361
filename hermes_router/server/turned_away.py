"""What is said of callers who were refused at the door: a wrong key, an unknown path, a body that cannot be read.

Owns how often: of one kind at once, then once a minute with their number, since a caller who insists must not fill the
log. It must never hold or tell what was sent beyond the path.
"""

from typing import Final

from hermes_router.core.errors import CallerError
from hermes_router.core.ports import Log

__all__ = ["TurnedAway"]

EVERY_S: Final = 60.0
_LONGEST: Final = 200


class TurnedAway:
    """The refusals of one daemon. A kind is a status and a class of error, so there are few. `now` is epoch seconds."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._told: dict[tuple[int, str], tuple[float, int]] = {}

    def note(self, error: CallerError, *, method: str, path: str, request_id: str, now: float) -> None:
        """One more; a line of it where it is time."""
        kind = (error.status, type(error).__name__)
        told_at, unsaid = self._told.get(kind, (float("-inf"), 0))
        if now < told_at + EVERY_S:
            self._told[kind] = (told_at, unsaid + 1)
            return
        self._told[kind] = (now, 0)
        more = {"times": unsaid + 1, "within_s": round(now - told_at)} if unsaid else {}
        self._log.info(
            "caller.refused",
            request_id=request_id,
            status=error.status,
            error=kind[1],
            method=method,
            path=path[:_LONGEST],
            **more,
        )
