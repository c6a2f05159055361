"""Shows remembered responses with the real daemon and the real SDK, all against the fakes: `python -m tests.responses.show`.

A conversation of which its caller keeps nothing but the last id, over kill -9, over a restart in mid-answer and over two
providers, whole and streamed; then what a file of a million rows costs. It ends with 1 where a promise does not hold.
"""

import asyncio
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from hermes_router.store.responses import ResponseStore

from ..fakes import START, SilentLog
from ..store.test_responses import fill
from . import story

ROWS = 1_000_000
ASKED = 200


def tell(text: str) -> None:
    """A line of the show."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def converse() -> None:
    """The conversation, twice."""
    for stream in (False, True):
        tell(f"A conversation by previous_response_id, {'streamed' if stream else 'whole answers'}:")
        async with story.opened() as talk:
            await story.over_kills(talk, tell, stream=stream)
            await story.over_restarts(talk, tell, stream=stream)
            await story.over_providers(talk, tell, stream=stream)
            size = sum(each.stat().st_size for each in talk.file.parent.glob("responses.db*"))
            tell(f"  {len(talk.said) // 2} turns, of which the caller kept one id; {size // 1024} KB on the disk")


async def measure() -> None:
    """Files of a hundred and of a million rows: opened, and asked."""
    with TemporaryDirectory() as folder:
        for rows in (100, ROWS):
            path = Path(folder) / str(rows) / "responses.db"
            fill(path, rows)
            store = ResponseStore(path, log=SilentLog(), now=lambda: START)
            began = time.perf_counter()
            store.start()
            assert await store.load(b"%016d" % 77, turns=9)
            opened = time.perf_counter() - began
            took: list[float] = []
            for number in range(ASKED):
                began = time.perf_counter()
                assert await store.load(b"%016d" % (number % rows + 1 if rows < ASKED else number * 997 + 1), turns=9)
                took.append(time.perf_counter() - began)
            await asyncio.to_thread(store.close, 10.0)
            size = path.stat().st_size / 1e6
            tell(f"  {rows:9,} rows ({size:6.1f} MB): opened with its first answer in {opened * 1e3:5.1f} ms, "
                 f"a look-up {median(took) * 1e6:4.0f} µs (median)")  # fmt: skip


async def main() -> None:
    """All of it."""
    await converse()
    tell("\nA look-up on the disk, in a thread of its own:")
    await measure()
    tell("\nEvery promise held.")


if __name__ == "__main__":
    asyncio.run(main())
