"""Request headers that stay as they are for a whole generation, with what the transport has made of them.

Owns the tie between the two: what was written of the headers, the secret in it, is gone when they are. It must never
know what a header means.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["LastingHeaders"]

_MOST: Final = 8  # addresses that one target is asked at


class LastingHeaders(dict[str, str]):
    """Headers that nobody changes once they are made."""

    __slots__ = ("_made",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(headers)
        self._made: dict[tuple[str, str], Any] = {}

    def made(self, method: str, url: str) -> Any:
        """What `keep` was given for this method and URL; None where that was nothing."""
        return self._made.get((method, url))

    def keep(self, method: str, url: str, made: object) -> None:
        """Have `made` live as long as the headers."""
        if len(self._made) >= _MOST:
            self._made.clear()
        self._made[method, url] = made
