"""Images fetched lately: for whom, how many, and for how long."""

from collections.abc import Callable

from hermes_router.core.ids import RouterKeyId
from hermes_router.core.images import Picture
from hermes_router.upstream.image_memory import ImageMemory

from ..fakes import Clock

ONE, OTHER = RouterKeyId("one"), RouterKeyId("other")
ENTRY = 301  # what one takes besides its picture: its objects, and a URL of one character


def picture(size: int = 10) -> Picture:
    return Picture("image/png", "x" * size)


class Timers:
    """Timers that the test fires."""

    def __init__(self) -> None:
        self.set: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, delay_s: float, call: Callable[[], None]) -> None:
        self.set.append((delay_s, call))


def memory(clock: Clock, timers: Timers, most: int = 1_003) -> ImageMemory:
    return ImageMemory(clock.mono, timers, most_bytes=most, kept_s=300.0)


def test_what_was_fetched_for_one_caller_is_that_callers() -> None:
    """Another that names the same URL learns nothing of it."""
    kept = memory(Clock(), Timers())
    kept.put(ONE, "u", picture())
    assert kept.get(ONE, "u") == picture()
    assert kept.get(OTHER, "u") is None


def test_the_longest_unused_goes_first() -> None:
    """And what is larger than all that may be is never kept."""
    kept = memory(Clock(), Timers())
    for name in "abc":
        kept.put(ONE, name, picture(33))
    kept.get(ONE, "a")
    kept.put(ONE, "d", picture(33))
    assert [kept.get(ONE, name) is not None for name in "abcd"] == [True, False, True, True]
    kept.put(ONE, "e", picture(1_003))
    assert kept.get(ONE, "e") is None
    assert kept.bytes == 3 * (33 + ENTRY)
    kept.put(ONE, "a", picture(1))
    assert kept.bytes == 2 * (33 + ENTRY) + 1 + ENTRY


def test_a_url_counts_like_a_picture() -> None:
    """Small images at long URLs are no way around the limit, and one whose URL is larger than all is never kept."""
    kept = memory(Clock(), Timers(), most=10_000)
    urls = [f"{number:04}" + "u" * 996 for number in range(100)]
    for url in urls:
        kept.put(ONE, url, picture(1))
    assert [url for url in urls if kept.get(ONE, url) is not None] == urls[-7:]
    assert kept.bytes == 7 * 1_301
    kept.put(ONE, "u" * 9_700, picture(1))
    assert kept.bytes == 7 * 1_301


def test_the_smallest_images_are_not_for_nothing() -> None:
    """An entry takes room of its own, however little is in it."""
    kept = memory(Clock(), Timers(), most=10_000)
    for number in range(1_000):
        kept.put(ONE, str(number), picture(1))
    assert sum(kept.get(ONE, str(number)) is not None for number in range(1_000)) < 34


def test_a_use_makes_nothing_younger_and_an_idle_router_holds_nothing() -> None:
    """After five minutes it is fetched anew; a timer has it gone also where nobody asks, and then there is no timer."""
    clock, timers = Clock(), Timers()
    kept = memory(clock, timers)
    kept.put(ONE, "a", picture())
    clock.advance(200.0)
    kept.put(ONE, "b", picture())
    assert [delay for delay, _ in timers.set] == [300.0]
    clock.advance(100.0)
    assert kept.get(ONE, "a") is None
    timers.set.pop()[1]()
    assert kept.bytes == 10 + ENTRY
    assert [delay for delay, _ in timers.set] == [200.0]
    clock.advance(200.0)
    timers.set.pop()[1]()
    assert (kept.bytes, timers.set) == (0, [])
