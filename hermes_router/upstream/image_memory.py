"""Images that were fetched lately: an agent sends its whole history with every turn.

Owns how many are kept, for how long and for whom: in memory alone, for the caller that had them fetched, and gone by a
timer, so that an idle router holds none. It must never fetch.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from hermes_router.core.ids import RouterKeyId
from hermes_router.core.images import Picture

__all__ = ["KEPT_BYTES", "KEPT_S", "ImageMemory"]

KEPT_BYTES: Final = 32_000_000  # of base64 and URLs, and what each entry takes
KEPT_S: Final = 300.0
_ENTRY_BYTES: Final = 300  # the objects of one entry, so that very small images are not for nothing


class ImageMemory:
    """Pictures by router key and URL, the longest unused going first. `mono` gives monotonic seconds."""

    def __init__(
        self,
        mono: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Any],
        *,
        most_bytes: int = KEPT_BYTES,
        kept_s: float = KEPT_S,
    ) -> None:
        self._mono = mono
        self._call_later = call_later
        self._most = most_bytes
        self._kept_s = kept_s
        self._kept: OrderedDict[tuple[RouterKeyId, str], tuple[Picture, float]] = OrderedDict()
        self._armed = False
        self.bytes = 0

    def get(self, caller: RouterKeyId, url: str) -> Picture | None:
        """What was fetched for this caller lately, None where nothing was. A use does not make it any younger."""
        found = self._kept.get((caller, url))
        if found is None or self._mono() >= found[1]:
            return None
        self._kept.move_to_end((caller, url))
        return found[0]

    def put(self, caller: RouterKeyId, url: str, picture: Picture) -> None:
        """Remember it for a while, unless it is larger than all that may be."""
        size = _size(url, picture)
        if size > self._most:
            return
        self._drop((caller, url))
        self._kept[caller, url] = picture, self._mono() + self._kept_s
        self.bytes += size
        while self.bytes > self._most:
            self._drop(next(iter(self._kept)))
        self._arm()

    def _drop(self, key: tuple[RouterKeyId, str]) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self.bytes -= _size(key[1], found[0])

    def _arm(self) -> None:
        if self._kept and not self._armed:
            self._armed = True
            oldest = min(until for _, until in self._kept.values())
            self._call_later(max(0.0, oldest - self._mono()), self._tidy)

    def _tidy(self) -> None:
        self._armed = False
        now = self._mono()
        for key in [key for key, (_, until) in self._kept.items() if now >= until]:
            self._drop(key)
        self._arm()


def _size(url: str, picture: Picture) -> int:
    return len(picture.data) + len(url) + _ENTRY_BYTES
