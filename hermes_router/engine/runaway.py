"""The runaway guard: one and the same request, sent again and again by one router key.

Owns what "the same" means and how often is too often: more than 20 times in 5 minutes is warned about, after 40 one in
15 seconds is served, until the caller slows down. A program that runs in circles on an unattended machine is noticed,
and costs little. It must never keep or log what a request says.
"""

from collections import OrderedDict, deque
from typing import Final

from hermes_router.core.chat import Warning as Notice
from hermes_router.core.errors import CallerLimited
from hermes_router.core.ports import Log
from hermes_router.wire.inbound import Inbound

__all__ = ["RunawayGuard", "fingerprint"]

WINDOW_S: Final = 300.0
WARN_AFTER: Final = 20
LIMIT_AFTER: Final = 40
CALM: Final = 10  # so few in the window end the limit: a caller that keeps to its pace stays at it
PACE_S: Final = WINDOW_S / WARN_AFTER  # what is served of a limited request: as often as needs no warning
MOST: Final = 4_096  # requests remembered, of all keys together
_WHOLE: Final = 2_048  # bytes of a field that are looked at one by one
_TAIL: Final = 1_024
_PLACES: Final = 8
_PLACE: Final = 64


def fingerprint(inbound: Inbound) -> int:
    """A number that equal requests share within this process: 1 µs, and 8 µs for a body of 240 KB.

    Of long fields only the length, the end and places in between are looked at: a turn of an agent differs from the
    one before in length or at its end. Headers do not count; every field of the body does.
    """
    request = inbound.request
    if request.text_bytes <= _WHOLE and not request.images and not request.audio and not request.files:
        return hash((request.conversation, *map(bytes, inbound.fields.values())))
    parts: list[bytes | int] = []
    for raw in inbound.fields.values():
        view = memoryview(raw)
        size = len(view)
        if size > _WHOLE:
            parts.append(size)
            parts.append(b"".join([view[at : at + _PLACE] for at in range(0, size, size // _PLACES)]))
            view = view[-_TAIL:]
        parts.append(bytes(view))
    return hash((request.conversation, *parts))


class _Series:
    """When one request came and was let in, within the window."""

    __slots__ = ("limited", "times", "warned")

    def __init__(self, first_at: float) -> None:
        self.times = deque((first_at,))
        self.warned = False
        self.limited = False

    def look(self, now: float) -> None:
        times = self.times
        while times and now - times[0] >= WINDOW_S:
            times.popleft()
        count = len(times)
        if count < WARN_AFTER:
            self.warned = False
        if count >= LIMIT_AFTER:
            self.limited = True
        elif count <= CALM:
            self.limited = False


class RunawayGuard:
    """What came of late, by router key and request. Every method is one synchronous step; `now` is epoch seconds."""

    def __init__(self, log: Log) -> None:
        self._log = log
        # The latest last. Most requests come once, so for one that did a number is enough.
        self._seen: OrderedDict[tuple[str, int], float | _Series] = OrderedDict()

    def admit(self, key: str, inbound: Inbound, now: float, request_id: str = "") -> Notice | None:
        """Count a request; the warning for its caller, if it is one. Raises CallerLimited with the true wait.

        What is refused is not counted, so a caller who insists does not lengthen its own wait.
        """
        name = (key, fingerprint(inbound))
        seen = self._seen.get(name)
        if seen is None:
            self._seen[name] = now
            self._forget(now)
            return None
        series = _Series(seen) if isinstance(seen, float) else seen
        self._seen[name] = series
        self._seen.move_to_end(name)
        series.look(now)
        if series.limited and (wait_s := series.times[-1] + PACE_S - now) > 0:
            raise CallerLimited(
                f"This router key has sent one and the same request {len(series.times)} times in 5 minutes, as a "
                f"program does that runs in circles: one in {PACE_S:g} s is served. Send another request, or set "
                "RUNAWAY_GUARD=off if this is meant.",
                code="runaway",
                retry_after_s=wait_s,
                should_retry=True,
            )
        series.times.append(now)
        count = len(series.times)
        if count <= WARN_AFTER:
            return None
        if not series.warned:
            series.warned = True
            request = inbound.request
            self._log.warning(
                "caller.runaway",
                request_id=request_id,
                router_key=key,
                times=count,
                window_s=WINDOW_S,
                model=request.model[:200],
                messages=request.messages,
                text_bytes=request.text_bytes,
            )
        return Notice("runaway", f"the same request {count} times in 5 minutes")

    def __len__(self) -> int:
        return len(self._seen)

    def _forget(self, now: float) -> None:
        """Drop what is too old, two for each new one, and what is too much."""
        for _ in range(2):
            seen = self._seen[next(iter(self._seen))]
            at = seen if isinstance(seen, float) else seen.times[-1]
            if now - at < WINDOW_S and len(self._seen) <= MOST:
                return
            self._seen.popitem(last=False)
