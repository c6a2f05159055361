"""A day's free quota spread over the day (`QUOTA_PACING=even`).

Owns the schedule: how much of a long window may be used by now. A target that is ahead of it ranks like one of which
a prior is spent: others come first, nobody is refused. It must never know a request or a target.
"""

from hermes_router.core.observations import Window
from hermes_router.routing.quota import Meter

RESERVE = 0.2  # of the window, for those who cannot wait: usable at any time, and never scheduled
SPREAD = frozenset({Window.DAY, Window.MONTH})


def spread(meter: Meter) -> bool:
    """Whether it is a window whose use is spread."""
    return meter.window in SPREAD and meter.limit is not None


def ahead(meter: Meter, now: float) -> bool:
    """Whether more of the window is used than its schedule allows by now."""
    used = meter.count(now)
    limit = meter.limit
    if limit is None or meter.window not in SPREAD:
        return False
    return used > limit * RESERVE and used > limit * (RESERVE + (1.0 - RESERVE) * _passed(meter, now))


def on_schedule_at(meter: Meter, now: float) -> float:
    """When the schedule has caught up with what is used, epoch seconds."""
    if meter.limit is None or not ahead(meter, now):
        return now
    share = min(1.0, (meter.count(now) / meter.limit - RESERVE) / (1.0 - RESERVE))
    return max(now, _begun_at(meter, now) + share * meter.span_s)


def _begun_at(meter: Meter, now: float) -> float:
    """When the window began; of one that rolls, when the oldest of what it holds was used."""
    if not meter.sliding:
        return meter.reset_at - meter.span_s
    return min(now, (meter.log[0][0] if meter.log else meter.whole_at(now)) - meter.span_s)


def _passed(meter: Meter, now: float) -> float:
    return min(1.0, max(0.0, (now - _begun_at(meter, now)) / meter.span_s))
