"""hermes_router/daemon/alerting.py: a daemon with a dead pool tells its owner, once, by what he set, whatever happens."""

import asyncio
import json
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from hermes_router.control import types as t
from hermes_router.daemon import alerting as module
from hermes_router.daemon.alerting import Alerting
from hermes_router.daemon.handover.estate import load_state
from hermes_router.engine.alerts import KINDS, Alerts
from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider

from ..upstream.conftest import CLOSE, HANG, Upstream

KEY = "k-groq-0123456789"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
OOPS = b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"
PATIENCE_S = 5.0


def pool() -> FakeProvider:
    return FakeProvider("groq", keys={KEY})


class Owner:
    """Who is told, over a real socket; turns the daemon's clock by hand, and looks as its task would."""

    def __init__(self, here: Any, upstream: Upstream) -> None:
        self.here = here
        self.upstream = upstream
        self.slept: list[float] = []
        here.daemon.on_swap.clear()
        self.alerting = Alerting(here.daemon, here.env, host="box", sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def pass_by(self, seconds: float) -> None:
        for _ in range(round(seconds / module.LOOK_S)):
            self.here.clock.advance(module.LOOK_S)
            self.alerting.look()
            await self.alerting.send_due("url")

    async def kill(self) -> None:
        """The last provider fails until its breaker opens."""
        self.here.sandbox.behave("groq", faults.status(500), times=None)
        for _ in range(4):
            await self.here.ask()

    @property
    def heard(self) -> list[str]:
        """The titles, in order."""
        heads = [request.partition(b"\r\n\r\n")[0].decode() for request in self.upstream.requests]
        return [head.partition("\r\ntitle: hermes-router on box: ")[2].partition("\r\n")[0] for head in heads]

    def body(self, number: int) -> str:
        return self.upstream.requests[number].partition(b"\r\n\r\n")[2].decode()


@pytest.fixture
async def owner(office):
    """Open a daemon whose owner listens, the n-th message being answered by the n-th turn."""
    upstreams: list[Upstream] = []

    async def start(*turns: Any, **env: str) -> Owner:
        upstream = await Upstream(*turns).start()
        upstreams.append(upstream)
        url = f"http://me:hunter22@127.0.0.1:{upstream.port}/Topic123456"
        here = await office(pool(), GROQ_API_KEY=KEY, PATIENCE_SECONDS="0", **{"NOTIFY_URL": url, **env})
        return Owner(here, upstream)

    yield start
    for each in upstreams:
        await each.stop()


def events(owner: Owner, name: str) -> list[dict[str, object]]:
    return [fields for event, fields in owner.here.log.lines if event == name]


async def test_the_last_target_down_is_told_and_the_all_clear(owner) -> None:
    """A provider that dies and comes back: two messages, the first only after it has held, through half-open times."""
    told = await owner(OK, OK)
    await told.pass_by(60)
    assert not told.heard
    await told.kill()
    await told.pass_by(25)
    assert not told.heard
    await told.pass_by(10)
    assert told.heard == [KINDS["pool_down"].title]
    await told.pass_by(7_200)
    assert len(told.heard) == 1
    told.here.sandbox.providers["groq"].script.clear()
    for _ in range(4):
        await told.here.ask()
    await told.pass_by(60)
    assert told.heard == [KINDS["pool_down"].title, KINDS["pool_down"].over]
    assert told.body(1) == "The pool has a target that is ready again."
    assert [f["kind"] for f in events(told, "notify.sent")] == ["pool_down", "pool_down"]


async def test_no_secret_is_in_the_log(owner) -> None:
    """Whatever was told, and whatever failed: no password, no topic, no whole address."""
    told = await owner(OOPS, OOPS, OOPS, CLOSE)
    await told.kill()
    await told.pass_by(600)
    text = json.dumps([str(line) for line in told.here.log.lines])
    assert "notify.failed" in text
    assert "hunter22" not in text
    assert "Topic123456" not in text


async def test_what_cannot_be_sent_is_tried_and_then_again_later(owner) -> None:
    """Three tries with growing pauses, one line in the log, another round in five minutes; then one line that it works."""
    told = await owner(OOPS, CLOSE, OOPS, OOPS, OK)
    await told.kill()
    await told.pass_by(40)
    assert len(told.heard) == 3
    assert told.slept == list(module.PAUSES_S)
    [failed] = events(told, "notify.failed")
    assert failed["reason"] == "it answers 500"
    await told.pass_by(290)
    assert len(told.heard) == 3
    await told.pass_by(20)
    assert len(told.heard) == 5
    assert "could not be told before" in told.body(4)
    assert len(events(told, "notify.failed")) == 1
    assert len(events(told, "notify.recovered")) == 1
    assert not told.alerting.failing


async def test_a_refusal_is_not_repeated_at_once(owner) -> None:
    """A 403 will be one in two seconds, too."""
    told = await owner(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n", OK)
    await told.kill()
    await told.pass_by(40)
    assert len(told.heard) == 1
    await told.pass_by(320)
    assert len(told.heard) == 2


async def test_a_day_in_vain_is_given_up_and_said(owner) -> None:
    """What nobody took for a day is no news any more."""
    told = await owner(*([b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n"] * 60))
    await told.kill()
    await told.pass_by(90_000)
    assert [f["kind"] for f in events(told, "notify.lost")] == ["pool_down"]
    assert not told.here.daemon.engine.alerts.unsent("url")


async def test_a_setting_that_changes_is_in_force_at_once(owner) -> None:
    """A new address is told what the old one did not take, without waiting for the next round."""
    told = await owner(OOPS, OOPS, OOPS)
    await told.kill()
    await told.pass_by(40)
    other = await Upstream(OK).start()
    url = f"http://127.0.0.1:{other.port}/x"
    del told.here.env["NOTIFY_URL"]
    changed = await told.here.backend.reload()
    assert "NOTIFY_URL" in changed.changed
    assert not told.alerting.ways.set()
    changed = await told.here.backend.change_config(t.ChangeConfig(changes={"NOTIFY_URL": url}))
    assert [(row.name, row.before, row.after) for row in changed.rows] == [("NOTIFY_URL", "", "***")]
    assert not changed.needs_restart
    told.upstream = other
    await told.pass_by(5)
    assert told.heard == [KINDS["pool_down"].title]
    assert other.port
    row = next(row for row in (await told.here.backend.config()).rows if row.name == "NOTIFY_URL")
    assert (row.value, row.hot) == ("***", True)
    assert (told.here.places.env_file).read_text().count(url) == 1
    await other.stop()


async def test_a_successor_tells_nothing_twice_and_forgets_nothing(owner) -> None:
    """What a predecessor told goes along with the state; from the file, where it was killed."""
    told = await owner(OK, OK)
    await told.kill()
    await told.pass_by(40)
    engine = told.here.daemon.engine
    dumped = json.loads(json.dumps({"alerts": engine.alerts.dump()}))
    told.here.daemon.ledger._whole = True
    told.here.daemon.ledger.flush()
    await told.here.usage.flush()
    for by in ("handover", "file"):
        told.alerting._alerts = engine.alerts = Alerts()
        if by == "handover":
            load_state(told.here.daemon, dumped)
        else:
            await told.here.daemon.ledger.load()
        assert list(engine.alerts.told()) == [("pool_down", "The pool")]
        await told.pass_by(60)
    assert len(told.heard) == 1
    told.here.sandbox.providers["groq"].script.clear()
    for _ in range(4):
        await told.here.ask()
    await told.pass_by(60)
    assert told.heard[1:] == [KINDS["pool_down"].over]


async def test_a_message_on_its_way_arrives_though_the_daemon_ends(owner) -> None:
    """The task is ended in the middle of a POST: that is waited for, and known to have been told."""
    go_on = asyncio.Event()

    async def later(_reader: object, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(OK)

    told = await owner((later,))
    await told.kill()
    for _ in range(10):
        told.here.clock.advance(5)
        told.alerting.look()
    task = asyncio.create_task(told.alerting.deliver("url"))
    await asyncio.wait_for(told.upstream.asked.get(), PATIENCE_S)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait((task,), timeout=PATIENCE_S)
    assert task.cancelled()
    assert not told.here.daemon.engine.alerts.unsent("url")


async def test_a_message_that_hangs_holds_up_no_end(owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment it is let go, and is for whoever comes next to send."""
    monkeypatch.setattr(module, "LAST_S", 0.05)
    told = await owner(HANG)
    await told.kill()
    for _ in range(10):
        told.here.clock.advance(5)
        told.alerting.look()
    task = asyncio.create_task(told.alerting.deliver("url"))
    await asyncio.wait_for(told.upstream.asked.get(), PATIENCE_S)
    task.cancel()
    await asyncio.wait((task,), timeout=PATIENCE_S)
    assert task.cancelled()
    assert told.here.daemon.engine.alerts.unsent("url") == 1


async def test_a_full_disk_is_told_and_its_end_without_another_record(owner) -> None:
    """The store's own word; it is asked to try again, so that an idle daemon sees the end, too."""
    told = await owner(OK, OK)
    db = told.here.usage.db
    stirred: deque[int] = deque()
    real = db.stir
    db.stir = lambda: (stirred.append(1), real())[1]  # type: ignore[method-assign]
    db._trouble = "No space left on device"
    await told.pass_by(30)
    assert told.heard == [KINDS["disk_full"].title]
    assert f"{db.path} cannot be written (No space left on device)" in told.body(0)
    assert stirred
    db._trouble = ""
    await told.pass_by(60)
    assert told.heard[1:] == [KINDS["disk_full"].over]


async def test_the_tasks_tell_by_themselves(owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """`watch` and `deliver` as the supervisor runs them: asleep while no way is set, awake with the first that is."""
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    told = await owner(OK, NOTIFY_URL="")
    told.alerting._sleep = asyncio.sleep
    await told.kill()
    beside = told.here.daemon.beside
    assert {"alerts", "notify by url", "notify by command"} <= set(beside)
    tasks = [asyncio.create_task(beside[name]()) for name in ("alerts", "notify by url", "notify by command")]
    await asyncio.sleep(0.05)
    assert not told.here.daemon.engine.alerts.rows(0.0)
    told.here.env["NOTIFY_URL"] = f"http://127.0.0.1:{told.upstream.port}/x"
    await told.here.backend.reload()
    async with asyncio.timeout(PATIENCE_S):
        while not told.heard:
            await told.here.ask()
            told.here.clock.advance(5)
            await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert told.heard == [KINDS["pool_down"].title]


async def test_both_ways_are_used_and_neither_waits_for_the_other(owner, tmp_path: Path) -> None:
    """The address fails, the program is told."""
    told = await owner(OOPS, OOPS, OOPS, NOTIFY_COMMAND=f"/bin/sh -c 'cat >{tmp_path}/said'")
    await told.kill()
    await told.pass_by(40)
    await told.alerting.send_due("command")
    assert (tmp_path / "said").read_text().startswith("No target")
    assert told.here.daemon.engine.alerts.unsent("url") == 1
    assert not told.here.daemon.engine.alerts.unsent("command")


async def test_a_test_is_told_by_each_way_once(owner) -> None:
    """With the reason where it failed; and what had waited for that is tried at once."""
    told = await owner(OOPS, OOPS, OOPS, OK, OK, NOTIFY_COMMAND="/bin/false")
    await told.kill()
    await told.pass_by(40)
    assert told.alerting.failing == {"url": "it answers 500"}
    results = {way: why for way, why, _ in await told.alerting.test()}
    assert results == {"url": "", "command": "it ended with status 1"}
    assert told.alerting.failing == {"command": "it ended with status 1"}
    assert [fields["way"] for fields in events(told, "notify.failed")] == ["url"]
    assert "this is a test" in told.body(3).lower()
    await told.alerting.send_due("url")
    assert len(told.heard) == 5
