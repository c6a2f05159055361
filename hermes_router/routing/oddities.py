"""What providers say of their windows that cannot be so: left out, and noted once for the log.

Owns the bounds of sense. It must never know whom a window belongs to, or repeat itself.
"""

from collections import OrderedDict, deque
from typing import Final

from hermes_router.core.ids import Target
from hermes_router.core.observations import WINDOW_SECONDS, QuotaSeen, Window

KEPT: Final = 100  # that wait for the log
REMEMBERED: Final = 2_000
MOST: Final = 2**53
SLACK_S: Final = 60.0  # two clocks may differ by this
LONGEST_S: Final = 31 * 86_400.0
_UNBOUND: Final = frozenset({Window.PLAN, Window.MONTH, Window.NONE})

Oddity = tuple[Target, str]
"""At which target something was said, and what."""


class Oddities:
    """Pairs of target and text that wait to be logged, each once."""

    __slots__ = ("_known", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[Oddity] = deque(maxlen=KEPT)
        self._known: OrderedDict[Oddity, None] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def note(self, target: Target, text: str) -> None:
        """Note it, unless it was noted before."""
        pair = (target, text)
        if pair in self._known:
            return
        self._known[pair] = None
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        self._waiting.append(pair)

    def take(self) -> list[Oddity]:
        """All that were noted since the last call."""
        found = list(self._waiting)
        self._waiting.clear()
        return found


def sensible(seen: QuotaSeen, now: float) -> tuple[QuotaSeen | None, str]:
    """What of a window makes sense, and a word on what does not.

    Counts that contradict each other void the whole of it (None); an instant that cannot be leaves the counts. The
    word holds no numbers that change from answer to answer, so that it is said once.
    """
    name = f"{seen.unit.value} a {seen.window.value}" if seen.window is not Window.NONE else seen.unit.value
    limit, remaining, reset_at = seen.limit, seen.remaining, seen.reset_at
    if (limit is not None and not 0 <= limit <= MOST) or (remaining is not None and not 0 <= remaining <= MOST):
        return None, f"{name}: a count below 0 or beyond reason"
    if limit is not None and remaining is not None and remaining > limit:
        return None, f"{name}: more left than the limit"
    if reset_at is None:
        return seen, ""
    longest_s = LONGEST_S if seen.window in _UNBOUND else WINDOW_SECONDS[seen.window] * 1.1
    if not reset_at <= now + longest_s + SLACK_S:  # NaN is not, either
        return seen._replace(reset_at=None), f"{name}: resets later than such a window can"
    if reset_at < now - SLACK_S:
        return seen._replace(reset_at=None), f"{name}: was reset before it was told"
    return (seen if reset_at > now else seen._replace(reset_at=now + 1.0)), ""
