"""`hr logs` with a real daemon: followed over restarts and a kill, read back from memory and from its file."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider

from .home import Home

Open = Callable[..., Any]
PATIENCE_S = 20.0
LOG = ".local/state/hermes-router/daemon.log"
CANARY = "gsk_canary0123456789abcdef"


async def opened(home: Open, *providers: FakeProvider, **env: str) -> Home:
    here: Home = await home(*(providers or (FakeProvider("groq"),)), **env)
    for each in here.providers:
        await here.hr("auth", "add", each.name, "--no-test", stdin=f"{min(each.keys)}\n", code=0)
    await here.hr("start", code=0)
    return here


async def written(here: Home, text: str) -> None:
    """Return once it stands in the log's file: lines are gathered for a moment."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if text in (here.path / LOG).read_text():
                return
            await asyncio.sleep(0.02)


class Follower:
    """A running `hr logs -f --json`: its events as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.seen: list[dict[str, Any]] = []

    @classmethod
    async def of(cls, here: Home, *args: str) -> "Follower":
        return cls(await here.spawn("logs", "-f", "--json", *args))

    async def until(self, event: str, **fields: Any) -> dict[str, Any]:
        """The next event of that name with these fields."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                assert self.process.stdout is not None
                line = await self.process.stdout.readline()
                assert line, self.seen[-3:]
                self.seen.append(json.loads(line))
                one = self.seen[-1]
                if one["event"] == event and all(one["fields"].get(name) == value for name, value in fields.items()):
                    return one

    def named(self, event: str) -> list[str]:
        return [one["fields"]["request_id"] for one in self.seen if one["event"] == event]

    async def end(self) -> tuple[int, str]:
        """Ctrl-C: the exit code, and what was said on standard error."""
        self.process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(self.process.communicate(), PATIENCE_S)
        assert self.process.returncode is not None
        return self.process.returncode, err.decode()


async def test_nothing_is_lost_or_doubled_over_restarts_under_load(home: Open) -> None:
    """Three handovers while requests run: every exchange once, ids that grow by one, not a word on standard error."""
    here = await opened(home, FakeProvider("groq", pace_s=0.002))
    follower = await Follower.of(here, "-n", "1000")
    await here.ask(headers="x-request-id: first\r\n")
    await follower.until("exchange.done", request_id="first")
    asked: list[str] = ["first"]
    over = False

    async def load(worker: int) -> None:
        number = 0
        while not over:
            number += 1
            name = f"w{worker}-{number}"
            status, _ = await here.ask("say 40 words", stream=True, headers=f"x-request-id: {name}\r\n")
            assert status == 200
            asked.append(name)

    workers = [asyncio.create_task(load(number)) for number in range(3)]
    for _ in range(3):
        await here.hr("restart", code=0)
    over = True
    await asyncio.gather(*workers)
    await here.ask(headers="x-request-id: last\r\n")
    await follower.until("exchange.done", request_id="last")
    code, said = await follower.end()
    assert (code, said) == (0, "")
    assert sorted(follower.named("exchange.done")) == sorted([*asked, "last"])
    ids = [one["id"] for one in follower.seen]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len([one for one in follower.seen if one["event"] == "daemon.ready"]) == 4
    assert len([one for one in follower.seen if one["event"] == "daemon.retired"]) >= 2  # the last may still drain
    back = await here.hr("logs", "--json", "-n", "1000", code=0)
    assert [json.loads(line)["id"] for line in back.out.splitlines()][: len(ids)] == ids


async def test_a_crash_is_told_and_followed_on(home: Open) -> None:
    """Who follows hears that the daemon is away and back; what the file has of the old one is still to be read."""
    here = await opened(home)
    follower = await Follower.of(here)
    await here.ask(headers="x-request-id: before\r\n")
    await follower.until("exchange.done", request_id="before")
    await written(here, "before")
    for pid in here.daemons():
        os.kill(pid, signal.SIGKILL)
    assert follower.process.stderr is not None
    told = await asyncio.wait_for(follower.process.stderr.readline(), PATIENCE_S)
    assert b"went away" in told
    await here.hr("start", code=0)
    told = await asyncio.wait_for(follower.process.stderr.readline(), PATIENCE_S)
    assert f"back (pid {here.daemons()[0]})".encode() in told
    await here.ask(headers="x-request-id: after\r\n")
    await follower.until("exchange.done", request_id="after")
    assert follower.named("exchange.done") == ["before", "after"]
    assert (await follower.end())[0] == 0
    found = [json.loads(line) for line in (await here.hr("logs", "--json", code=0)).out.splitlines()]
    assert [one["fields"]["request_id"] for one in found if one["event"] == "exchange.done"] == ["before", "after"]
    assert [one["event"] for one in found].count("daemon.ready") == 2
    assert [one["id"] == 0 for one in found if one["event"] == "daemon.ready"] == [True, False]
    ran = await here.hr("logs", "--request", "bef", code=0)
    assert "request_id=before" in ran.out


async def test_filters_find_what_a_tired_person_asks_for(home: Open) -> None:
    """By provider, level and request; in words; and nothing that was not asked for."""
    groq, mistral = FakeProvider("groq"), FakeProvider("mistral")
    here = await opened(home, groq, mistral)
    for provider in (groq, mistral):
        provider.behave(faults.status(500), None)
    status, _ = await here.ask(headers="x-request-id: bad-1\r\nx-hermes-max-wait: 0\r\n")
    assert status == 503
    for provider in (groq, mistral):
        provider.script.clear()
    warned = (await here.hr("logs", "--level", "warning", "--provider", "groq", code=0)).out
    assert "failed (500)" in warned
    assert "mistral/" not in "".join(line for line in warned.splitlines() if "nobody could answer" not in line)
    of_request = (await here.hr("logs", "--request", "bad", code=0)).out.splitlines()
    assert all("request_id=bad-1" in line for line in of_request)
    assert "nobody could answer" in of_request[-1]
    assert (await here.hr("logs", "--request", "none-such", code=1)).out == ""
    assert "Did you mean groq" in (await here.hr("logs", "--provider", "grok", code=2)).err
    assert (await here.hr("logs", "--since", "1d", "-n", "1", code=0)).out.count("\n") == 1


async def test_the_form_changes_with_a_reload_and_is_read_back(home: Open) -> None:
    """LOG_FORMAT needs no restart; lines of both forms are one log."""
    here = await opened(home)
    await here.ask(headers="x-request-id: plain\r\n")
    await here.hr("config", "set", "LOG_FORMAT", "json", code=0)
    await here.ask(headers="x-request-id: object\r\n")
    await here.hr("stop", code=0)
    lines = (here.path / LOG).read_text().splitlines()
    assert any("request_id=plain" in line and not line.startswith("{") for line in lines)
    assert any(line.startswith("{") and json.loads(line).get("request_id") == "object" for line in lines)
    gone = await here.hr("logs", code=4)
    assert "daemon.log" in gone.err
    await here.hr("start", code=0)
    shown = (await here.hr("logs", code=0)).out
    assert "request_id=plain" in shown
    assert "request_id=object" in shown
    assert "the configuration changed: LOG_FORMAT" in shown


async def test_ll13_a_secret_that_is_learned_later_is_not_shown_from_the_file(home: Open) -> None:
    """What a caller put into a request's path before it was a key of the pool is hidden once it is one."""
    here = await opened(home)

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(
            f"GET /v1/{CANARY[4:]} HTTP/1.1\r\nhost: localhost:{here.port}\r\nconnection: close\r\n\r\n".encode()
        )
        await reader.read()
        writer.close()

    await caller()
    await written(here, CANARY[4:])
    assert CANARY[4:] in (await here.hr("logs", code=0)).out
    await here.hr("auth", "add", "mistral", "--no-test", stdin=f"{CANARY[4:]}\n", code=0)
    assert CANARY[4:] not in (await here.hr("logs", code=0)).out
    await here.hr("stop", code=0)
    await here.hr("start", code=0)
    shown = (await here.hr("logs", code=0)).out
    assert "a caller was refused" in shown
    assert CANARY[4:] not in shown


async def test_a_closed_pipe_ends_it_quietly_and_the_first_line_is_quick(home: Open) -> None:
    """`hr logs -f | head -1`."""
    here = await opened(home)
    began = time.monotonic()
    process = await here.spawn("logs", "-f")
    assert process.stdout is not None
    assert process.stderr is not None
    assert await process.stdout.readline()
    assert time.monotonic() - began < 3.0  # 0.17 s here; the machine may be busy
    process.stdout._transport.close()  # type: ignore[attr-defined] # as `head` would
    async with asyncio.timeout(PATIENCE_S):
        while process.returncode is None:
            await here.ask()
            await asyncio.sleep(0.05)
    assert await process.stderr.read() == b""
