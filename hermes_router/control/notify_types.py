"""The control API's types for being told: by which ways, of what, and how a test of them went.

Owns shapes and names, as `types.py`, where they are found by everyone. No type has a field for what is confidential.
"""

from hermes_router.control.account_types import Type

__all__ = ["Notify", "NotifyKindRow", "NotifyTested", "NotifyTestedRow", "NotifyWayRow"]


class NotifyWayRow(Type, frozen=True):
    """One way that is set: `url` or `command`. `shown` is a host or a program's name, `source` where it is set.

    `failing` says why nothing could be told lately, empty where all was; `unsent` counts the messages that wait.
    """

    way: str
    shown: str
    source: str = ""
    failing: str = ""
    unsent: int = 0


class NotifyKindRow(Type, frozen=True):
    """One kind of fault. `about` is what of it was told and is not over; instants in epoch seconds, None = never."""

    kind: str
    title: str
    about: list[str]
    told_at: float | None = None
    over_at: float | None = None


class Notify(Type, frozen=True):
    """`GET /v1/notify`."""

    ways: list[NotifyWayRow]
    kinds: list[NotifyKindRow]


class NotifyTestedRow(Type, frozen=True):
    """One way, tried. `said` says why it failed, empty where it did not."""

    way: str
    shown: str
    ok: bool
    said: str = ""
    took_s: float = 0.0


class NotifyTested(Type, frozen=True):
    """`POST /v1/notify/test`; no row where no way is set."""

    rows: list[NotifyTestedRow]
