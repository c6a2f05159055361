"""hermes_router/daemon/desks/notify.py: what `hr notify` shows of ways that are secret, and what a test of them says."""

from pathlib import Path

from hermes_router.control import notify_types as n
from hermes_router.engine.alerts import KINDS, Fault

SECRET = "tk_AgQdq7mVBoFD37zQVN29"


async def test_nothing_is_set(office) -> None:
    """No way, every kind, nothing told."""
    here = await office("groq")
    shown = await here.backend.notify()
    assert shown.ways == []
    assert [kind.kind for kind in shown.kinds] == list(KINDS)
    assert not any(kind.about or kind.told_at or kind.over_at for kind in shown.kinds)
    assert await here.backend.test_notify() == n.NotifyTested(rows=[])
    assert not (await here.backend.status()).told


async def test_ways_are_shown_without_what_is_confidential(office) -> None:
    """Host and program, where they are set, what waits; and what was told with its instant."""
    here = await office(
        "groq", NOTIFY_URL=f"http://:{SECRET}@127.0.0.1:9/{SECRET}", NOTIFY_COMMAND=f"/usr/bin/tell --token {SECRET}"
    )
    now = here.clock.now()
    alerts = here.daemon.engine.alerts
    fault = Fault("disk_full", "f", "The file f", "The file f cannot be written.")
    for at in (now, now + 30):
        alerts.look([fault], ("url", "command"), at)
    shown = await here.backend.notify()
    assert [(way.way, way.shown, way.source, way.unsent) for way in shown.ways] == [
        ("url", "http://127.0.0.1:9/…", "environment", 1),
        ("command", "tell", "environment", 1),
    ]
    row = next(kind for kind in shown.kinds if kind.kind == "disk_full")
    assert (row.about, row.told_at, row.over_at) == (["The file f"], now + 30, None)
    assert SECRET not in repr(shown)
    assert (await here.backend.status()).told


async def test_each_way_is_tried(office, tmp_path: Path) -> None:
    """Which works, which does not, and why."""
    here = await office("groq", NOTIFY_URL="http://127.0.0.1:9/x", NOTIFY_COMMAND=f"/bin/sh -c 'cat >{tmp_path}/t'")
    rows = {row.way: row for row in (await here.backend.test_notify()).rows}
    assert not rows["url"].ok
    assert "cannot be reached" in rows["url"].said
    assert rows["command"].ok
    assert (tmp_path / "t").read_text().startswith("This is a test")
    shown = await here.backend.notify()
    assert {way.way: bool(way.failing) for way in shown.ways} == {"url": True, "command": False}
