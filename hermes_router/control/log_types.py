# ruff: noqa: RUF012 - msgspec copies such defaults; ruff does not see that these are its structs
"""The shapes of `GET /v1/logs`: the end of the log, as far as the daemon remembers it.

Owns what `hr logs` asks and is told. `types.py` holds those of the rest.
"""

from hermes_router.control.types import Event, Type

__all__ = ["LogTail", "LogWish"]


class LogWish(Type, frozen=True):
    """What is wanted of the log: the last `lines` of those that fit.

    `level` = at least so bad. `provider` = the provider is named in it. `request` = the beginning of a request's id, or
    where `whole` all of it. `since` in epoch seconds. Empty or 0 = whatever; `lines` 0 = none.
    """

    lines: int = 50
    level: str = ""
    provider: str = ""
    request: str = ""
    whole: bool = False
    since: float = 0.0


class LogTail(Type, frozen=True):
    """Events in order, the last one last; an id of 0 = it was read from the log's file.

    `last_id` is the latest id there is, from which to follow on. `requests` are the ids that the wished beginning fits;
    where they are several, there are no events. `level` is the least that is logged at all. `begins_at` is the instant
    from which on the daemon remembers all, 0 = its file goes back further, or nothing is older.
    """

    events: list[Event] = []
    last_id: int = 0
    requests: list[str] = []
    level: str = ""
    begins_at: float = 0.0
