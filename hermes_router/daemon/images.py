"""The fetcher of images, made when the first image is wanted: nobody pays for what is switched off.

Owns that moment, and which settings it takes its proxies from. It must never fetch anything itself.
"""

import asyncio
from collections.abc import Callable, Mapping

from hermes_router.core.ids import RouterKeyId
from hermes_router.core.images import Picture, Unfit
from hermes_router.core.ports import Clock, Fetching, ImageFetcher
from hermes_router.core.settings import Settings

__all__ = ["LateImages"]


class LateImages:
    """An ImageFetcher that becomes one when it is asked."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, settings: Settings) -> None:
        self._loop = loop
        self._clock = clock
        self._settings = settings
        self._fetcher: ImageFetcher | None = None

    def fetch(
        self,
        wanted: Mapping[str, int],
        caller: RouterKeyId,
        done: Callable[[Mapping[str, Picture] | Unfit], None],
        *,
        max_bytes: int,
    ) -> Fetching:
        """Have the image of each URL, from public addresses alone."""
        if self._fetcher is None:
            self._fetcher = self._made()
        return self._fetcher.fetch(wanted, caller, done, max_bytes=max_bytes)

    def close(self) -> None:
        """End what the fetcher has running, where there is one."""
        if self._fetcher is not None:
            self._fetcher.close()

    def _made(self) -> ImageFetcher:
        from hermes_router.upstream.images import StrangersImages  # noqa: PLC0415 - what this module is about
        from hermes_router.upstream.public import is_strange  # noqa: PLC0415 - as above

        said = self._settings
        return StrangersImages(
            self._loop,
            self._clock,
            allows=is_strange,
            https_proxy=said.https_proxy,
            http_proxy=said.http_proxy,
            no_proxy=said.no_proxy,
        )
