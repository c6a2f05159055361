"""The real `hr` against a real daemon: keys and settings change under load, and nobody notices but the owner."""

import asyncio
import time

from hermes_router.sandbox.providers import FakeProvider

from .home import Home

ONE, TWO = "gsk_one_0123456789abcd1111", "gsk_two_0123456789abcd2222"
SOON_S = 1.0


class Load:
    """Callers that ask without a pause, plain and streamed, each over connections of its own."""

    def __init__(self, home: Home, callers: int = 6) -> None:
        self._home = home
        self.answers = 0
        self.failures: list[object] = []
        self._done = False
        self._tasks = [asyncio.create_task(self._call(stream=n % 2 == 1)) for n in range(callers)]

    async def _call(self, *, stream: bool) -> None:
        while not self._done:
            try:
                status, answer = await self._home.ask("say 12 words", stream=stream)
            except OSError as error:
                self.failures.append(error)
                continue
            good = b"data: [DONE]" in answer if stream else b'"finish_reason":"stop"' in answer.replace(b" ", b"")
            if status == 200 and good:
                self.answers += 1
            else:
                self.failures.append((status, answer[-300:]))

    async def more(self, number: int) -> None:
        """Until so many further answers have come."""
        goal = self.answers + number
        while self.answers < goal and not self.failures:  # noqa: ASYNC110 - another process is awaited
            await asyncio.sleep(0.005)

    async def end(self) -> None:
        self._done = True
        await asyncio.gather(*self._tasks)


async def in_use(home: Home, key: str) -> None:
    """Until the provider has seen a chat with this key."""
    while not any(r.key_tail == key[-4:] and r.path.endswith("/chat/completions") for r in home.sandbox.requests):  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def test_a_key_is_added_and_removed_under_load(home) -> None:
    """From a pipe, in one command: in use within a second of its end, gone within a second, and no request failed."""
    here = await home(FakeProvider("groq", keys={ONE, TWO}))
    await here.hr("start", code=0)
    await here.hr("auth", "add", "groq", stdin=f"{ONE}\n", code=0)
    load = Load(here)
    added = await here.hr("auth", "add", "groq", stdin=f"{TWO}\n", code=0)
    began = time.monotonic()
    await asyncio.wait_for(in_use(here, TWO), 10)
    took_s = time.monotonic() - began
    await here.hr("auth", "remove", "groq", "2222", "--yes", code=0)
    here.sandbox.requests.clear()
    await load.more(20)
    used_after = any(r.key_tail == TWO[-4:] for r in here.sandbox.requests)
    await load.end()
    print(
        f"added key in use {took_s * 1000:.0f} ms after hr ended; {load.answers} answers, {len(load.failures)} failed"
    )
    assert ONE not in added.out + added.err
    assert not load.failures
    assert load.answers > 10
    assert not used_after
