"""Being told, by a real daemon: its last provider dies in the night, comes back, and the owner hears of both, once."""

import asyncio
import faulthandler
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hermes_router.sandbox.providers import FakeProvider

from ..upstream.conftest import Upstream

KEY = "gsk-0123456789abcdef"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
LONGEST_S = 100.0  # 30 s until it is told, 15 s until it is over, on a busy machine


def titles(upstream: Upstream) -> list[str]:
    heads = [request.partition(b"\r\n\r\n")[0].decode() for request in upstream.requests]
    return [head.partition("\r\ntitle: ")[2].partition("\r\n")[0].partition(": ")[2] for head in heads]


async def until(fact: Callable[[], object], meanwhile: Callable[[], Any] | None = None) -> None:
    deadline = time.monotonic() + LONGEST_S
    while not fact():
        assert time.monotonic() < deadline, "it was not told"
        if meanwhile is not None:
            await meanwhile()
        await asyncio.sleep(0.1)


async def test_a_dead_pool_is_told_once_over_a_restart_and_a_kill_and_so_is_its_end(home) -> None:
    """`NOTIFY_URL` and `NOTIFY_COMMAND` set while it runs; one alarm, one all-clear, no secret in any file but .env."""
    faulthandler.cancel_dump_traceback_later()  # it takes a minute, and is no test that hangs
    upstream = await Upstream(OK, OK, OK, OK).start()
    here = await home(FakeProvider("groq", keys={KEY}), GROQ_API_KEY=KEY, PATIENCE_SECONDS="0")
    try:
        await here.hr("start", code=0)
        nothing = await here.hr("notify", "test", code=3)
        assert "neither NOTIFY_URL nor NOTIFY_COMMAND is set" in nothing.err
        url = f"http://127.0.0.1:{upstream.port}/Topic-48151623"
        said = Path(here.path, "said")
        await here.hr("config", "set", "NOTIFY_URL", "-", stdin=url, code=0)
        await here.hr("config", "set", "NOTIFY_COMMAND", "-", stdin=f"/bin/sh -c 'cat >>{said}'", code=0)
        tested = await here.hr("notify", "test", "--json", code=0)
        assert [row["ok"] for row in tested.json["rows"]] == [True, True]
        assert (await here.ask())[0] == 200
        await here.sandbox.kill("groq")

        for _ in range(4):  # then nobody asks any more: the breaker is half-open by the time that it is told
            assert (await here.ask())[0] >= 500
        await until(lambda: len(upstream.requests) == 2)
        await here.hr("restart", code=0)
        await asyncio.sleep(1.5)  # at most a second of events is lost by a kill
        [pid] = here.daemons()
        os.kill(pid, signal.SIGKILL)
        while here.daemons():  # noqa: ASYNC110 - the end of another's child has no event
            await asyncio.sleep(0.02)
        await here.hr("start", code=0)
        shown = (await here.hr("notify", "--json", code=0)).json
        assert [kind["about"] for kind in shown["kinds"] if kind["kind"] == "pool_down"] == [["The pool"]]
        await here.sandbox.revive("groq")
        await until(lambda: len(upstream.requests) == 3, here.ask)
        assert titles(upstream) == ["a test", "nothing can answer", "requests are answered again"]
        lines = (await asyncio.to_thread(said.read_text)).splitlines()
        assert [line.partition(".")[0] for line in lines] == [
            "This is a test: it works", "No target has answered of late", "The pool has a target that is ready again"
        ]  # fmt: skip
        holders = [each.name for each in here.files() if b"Topic-48151623" in each.read_bytes()]
        assert holders == [".env"]
    finally:
        await upstream.stop()
