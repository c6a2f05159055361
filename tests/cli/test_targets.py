"""hermes_router/cli/targets.py: every target on a line."""

import click
import pytest

from hermes_router.cli.targets import targets
from hermes_router.control import types as t

from .samples import NOW


def window(limit: int, left: int | None, **more: object) -> dict[str, object]:
    return {"unit": "requests", "window": "day", "limit": limit, "remaining": left, "origin": "told"} | more


def row(*quota: dict[str, object], **more: object) -> t.TargetRow:
    names = {"target": "groq/llama#2f9a", "provider": "groq", "model": "llama", "credential": "wxyz", "account": "a"}
    return t.TargetRow(**(names | {"state": "ready", "quota": list(quota)} | more))  # type: ignore[arg-type]


def said(*rows: t.TargetRow, width: int | None = None) -> list[str]:
    ping = t.Ping(version="0", pid=1, instance="run_x")
    status = t.Status(ping=ping, uptime_s=1.0, ready=True, mode="m", targets=list(rows))
    return [click.unstyle(line) for line in targets(status, NOW, width)]


def test_the_scarcest_window_is_shown_with_its_return() -> None:
    """Of several windows the one with the least share left; a guess is marked, and a whole one returns never."""
    tight = window(8_000, 400, unit="tokens", window="minute", reset_at=NOW + 30)
    lines = said(row(window(1_000, 900), tight), row(window(100, 100, origin="published")))
    assert "400 of 8k tokens/minute" in lines[1]
    assert "in 30 s" in lines[1]
    assert "~100 of 100 requests/day" in lines[2]
    assert "in " not in lines[2].split("requests/day")[1]


@pytest.mark.parametrize("left", [0, None])
def test_a_target_that_rests_says_until_when(left: int | None) -> None:
    """A state and its return; a window without a rest is none to show."""
    resting = row(window(10, left), state="cooling", reason="limited (told)", until=NOW + 60)
    line = said(resting)[1]
    assert "limited, back in" in line
    assert ("0 of 10" in line) is (left == 0)
    assert max(map(len, said(resting, width=50))) <= 50
