"""The sandbox's fake providers on ports that do not change, as a service of the box: `python upstreams.py`."""

import asyncio
import itertools

from hermes_router.sandbox import server
from hermes_router.sandbox.providers import FakeProvider

NAMES = ("groq", "mistral", "cerebras")
FIRST_PORT = 18001
WORDS, PACE_S = 60, 0.03


async def main() -> None:
    bind, ports = server._bind, itertools.count(FIRST_PORT)
    server._bind = lambda _port: bind(next(ports))
    said = " ".join(f"word{n}" for n in range(WORDS))
    fakes = [FakeProvider(n, keys={f"key-{n}-0123456789"}, compose=lambda _asked: said, pace_s=PACE_S) for n in NAMES]
    async with server.Sandbox(fakes):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
