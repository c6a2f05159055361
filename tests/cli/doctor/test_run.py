"""hermes_router/cli/doctor/run.py: checks side by side, each within its time."""

import threading
import time
from pathlib import Path

from hermes_router.cli.doctor.finding import Check, Finding, fault, ok
from hermes_router.cli.doctor.run import run

from .scenes import scene


def check(name: str, look: object, *, limit_s: float = 5.0, network: bool = False) -> Check:
    return Check(name, name.title(), "Group", "", look, limit_s, network)  # type: ignore[arg-type]


def test_they_run_at_the_same_time_and_keep_their_order(tmp_path: Path) -> None:
    """Two that wait for one another come to an end; what each found stands in the order of the table."""
    meet = threading.Barrier(2)

    def waits(_scene: object) -> Finding:
        meet.wait(5)
        return ok("met")

    several = check("c", lambda _: [ok("one"), fault("two", "cure")])
    seen: list[tuple[int, int]] = []
    found = run(
        [check("a", waits), check("b", waits), several],
        scene(tmp_path),
        progress=lambda done, of, _open: seen.append((done, of)),
    )
    assert [(one.check.ident, one.finding.said) for one in found] == [
        ("a", "met"), ("b", "met"), ("c", "one"), ("c", "two"),
    ]  # fmt: skip
    assert seen[0] == (0, 3)
    assert seen[-1] == (3, 3)


def test_one_that_hangs_is_told_and_left(tmp_path: Path) -> None:
    """Within its limit, while the others are heard."""
    never = threading.Event()
    began = time.monotonic()

    def hangs(_scene: object) -> Finding:
        never.wait(60)
        return ok("late")

    found = run([check("hangs", hangs, limit_s=0.3), check("well", lambda _: ok("fine"))], scene(tmp_path))
    never.set()
    assert [one.finding.state for one in found] == ["warning", "ok"]
    assert "did not come to an end" in found[0].finding.said
    assert found[0].took_ms >= 300
    assert time.monotonic() - began < 10


def test_one_that_fails_takes_no_other_along(tmp_path: Path) -> None:
    """And shows nothing of what it met: that may be a secret."""

    def fails(_scene: object) -> Finding:
        raise ValueError("sk-canary")

    found = run([check("fails", fails), check("well", lambda _: ok("fine"))], scene(tmp_path))
    assert [one.finding.state for one in found] == ["warning", "ok"]
    assert "canary" not in found[0].finding.said


def test_offline_leaves_the_network_alone(tmp_path: Path) -> None:
    """Those checks are not even begun."""
    asked: list[object] = []
    found = run([check("net", asked.append, network=True)], scene(tmp_path, offline=True))
    assert ([one.finding.state for one in found], asked) == (["skipped"], [])
