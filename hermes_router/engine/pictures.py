"""The images of a request for a target that does not fetch them itself: fetched once, and put in their places.

Owns the wait for them, and the words in which a caller hears that one cannot be had. It must never know how an image is
fetched, or who is asked then.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Final, NamedTuple

from hermes_router.core.errors import Unfetched
from hermes_router.core.images import Fault, Picture, Unfit
from hermes_router.engine.asking import Asking
from hermes_router.engine.context import Engine
from hermes_router.engine.exchange import Question
from hermes_router.wire.inlining import EARLIER, Link, inlined, links, own_bytes

__all__ = ["LIMIT_S", "Wait", "put_in"]

LIMIT_S: Final = 30.0  # all images of a request: the target that waits for them could answer somebody else


class Wait(NamedTuple):
    """How an exchange waits: `on` returns when something may have changed, which `wake` brings about.

    It is over at `until_mono`, in monotonic seconds.
    """

    on: Callable[[None], Awaitable[None]]
    wake: Callable[[], None]
    until_mono: float


async def put_in(
    asking: Asking, engine: Engine, question: Question, wait: Wait, notices: MutableMapping[str, None]
) -> None:
    """Let `asking` have the caller's request with the images in it that it names by their addresses.

    Whoever leaves the wait, by an error or by being cancelled, ends the fetch. Where one cannot be had, that goes into
    `notices`. Raises Unfetched, and BadRequest where the request cannot be read.
    """
    places = links(question.inbound)
    found = await _fetched(places, engine, question, wait)
    if not isinstance(found, Unfit):
        asking.pictured = Asking(inlined(question.inbound, found), question.demand, engine.secret)
        return
    path = next((link.path for link in places if link.url == found.url), places[0].path)
    fault = found.fault.name.lower()
    engine.log.info("image.unfetched", request_id=question.request_id, path=path, fault=fault, said=found.said)
    notices[f"unfetched:{path}"] = None
    where = "an image of an earlier turn" if path == EARLIER else path
    raise Unfetched(f"{where}: the image cannot be used: {found.fault}", param=path)


async def _fetched(places: list[Link], engine: Engine, question: Question, wait: Wait) -> Mapping[str, Picture] | Unfit:
    fetcher = engine.images
    assert fetcher is not None  # no request is allowed a fetch without it (`question.py`)
    heard: list[Mapping[str, Picture] | Unfit] = []

    def done(found: Mapping[str, Picture] | Unfit) -> None:
        heard.append(found)
        wait.wake()

    left = engine.snapshot.settings.max_request_bytes - own_bytes(question.inbound)
    fetching = fetcher.fetch(Counter(link.url for link in places), question.caller.key, done, max_bytes=left)
    try:
        while not heard and engine.clock.mono() < wait.until_mono:
            await wait.on(None)
    finally:
        fetching.abort()
    return heard[0] if heard else Unfit(places[0].url, Fault.LATE, "the wait is over")
