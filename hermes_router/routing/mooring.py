"""When a long window truly ends: by its row's clock, with the age of what it holds, or a while after its first use.

Owns the passage from one to the other, and what of a count it lets go or takes up again. It must never decide which
number is believed (`quota.py`), or which window a refusal speaks of (`refusals.py`).

A window whose clock a refusal has belied is counted as one that rolls: that errs on the safe side. If it begins with
its first use instead, it began anew with whoever was let in first after the refusal. So that is followed beside the
count: where the count is full by what such a window would not hold, one request may go beyond it. A success says that
it is such a window, a refusal that it is none.
"""

from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING

from hermes_router.core.observations import Window
from hermes_router.routing.units import REQUESTS

if TYPE_CHECKING:
    from hermes_router.routing.quota import Meter

ROLLING = "rolling"
FIRST_USE = "first use"  # it begins with the first request in it, and ends when it is as old as the window is long
LONG = frozenset({Window.DAY, Window.MONTH})  # a shorter one is as good as over before any of this is found out
ROLLS = -1  # for `anew_mark`: it was found out that it rolls
NEVER = float("inf")

_expiry = itemgetter(0)


def unmoor(meter: "Meter", now: float) -> bool:
    """Its clock is not the provider's: what the window before held counts until it is as old as the window.

    For a window that begins with its first use this errs on the safe side. True where it changed anything.
    """
    if meter.sliding or meter.level or not meter.former or meter.fixed:
        return False
    if meter.resets == FIRST_USE:
        meter.anew_mark, meter.reset_at = ROLLS, 0.0
    meter.close()
    meter.log = deque(sorted([*meter.former, *meter.log], key=_expiry))
    meter.former = deque()
    meter.resets = ROLLING
    meter.sliding = True
    meter.closed = sum(entry[1] for entry in meter.log)
    meter.base = meter.total - meter.closed
    meter.expire(now)
    meter.set_due()
    meter.arm()
    return True


# --- a window that rolls by our count, and may begin with its first use ------------------------------------


def refused(meter: "Meter") -> None:
    """It was full: if it begins with its first use, then anew with whoever is let in next."""
    if not meter.sliding or meter.code != REQUESTS or meter.window not in LONG or meter.anew_mark == ROLLS:
        return
    if astray(meter):
        meter.anew_mark, meter.anew_until = ROLLS, 0.0
    else:
        turn(meter)


def still_refuses(meter: "Meter") -> bool:
    """Whether it has refused before, and nobody was let in since."""
    return meter.anew_mark > 0 and not meter.anew_until and meter.total > meter.anew_mark


def turn(meter: "Meter") -> None:
    """Such a window would be over: it would hold nothing of what was charged so far."""
    meter.anew_mark, meter.anew_until = meter.total, 0.0


def let_in(meter: "Meter", mark: int) -> bool:
    """Somebody was; whether such a window would have begun with that."""
    if meter.anew_until or mark <= meter.anew_mark or not meter.sliding:
        return False
    meter.anew_until = meter.leaves_at(mark)
    return True


def astray(meter: "Meter") -> bool:
    """Whether it holds what such a window would not: then it may be less full than we believe."""
    if meter.anew_until:
        for _, amount, mark in meter.log:
            if mark > meter.anew_mark:
                break
            if amount:
                return True
    return False


def begun_anew(meter: "Meter") -> bool:
    """A request beyond the number was let in: whether it is the clock that was wrong, and not the number.

    Then what such a window would not hold is gone, and from now on it is one.
    """
    if not astray(meter) or not meter.sliding or meter.once:
        return False
    meter.close()
    since = deque(entry for entry in meter.log if entry[1] and entry[2] > meter.anew_mark)
    used = sum(entry[1] for entry in since)
    if used > (meter.limit or 0):
        return False
    meter.former = deque(entry for entry in meter.log if entry[2] <= meter.anew_mark)
    meter.log, meter.closed = since, used
    meter.base = meter.total - used
    meter.void, meter.gone = max(meter.void, meter.anew_mark), max(meter.gone, meter.anew_mark)
    meter.resets, meter.sliding = FIRST_USE, False
    meter.reset_at = meter.anew_until
    meter.rolled_at = meter.anew_until - meter.span_s
    meter.anew_mark, meter.anew_until = 0, 0.0
    meter.set_due()
    meter.arm()
    return True


def begin(meter: "Meter") -> None:
    """Time has passed in a window that begins with its first use: it ends so long after that, never without any."""
    if meter.total == meter.base:
        meter.reset_at = NEVER
    elif meter.reset_at == NEVER:
        meter.reset_at = meter.touched_at + meter.span_s + meter.grace_s
