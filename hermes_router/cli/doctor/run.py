"""Runs checks, all at once, each within its time.

Owns the threads: a look that hangs is told as such and left behind, since a thread cannot be ended and must not keep
the command. It must never know what a check looks at.
"""

import queue
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import click

from hermes_router.cli.doctor.finding import Check, Finding, Result, skipped, warning
from hermes_router.cli.doctor.scene import Scene
from hermes_router.core.errors import HermesError

__all__ = ["Progress", "run"]

_LOOK_S: Final = 0.2
_FAILURES: Final = (
    OSError, ValueError, LookupError, ArithmeticError, AttributeError, TypeError, RuntimeError, AssertionError,
    HermesError, click.ClickException, sqlite3.Error, subprocess.SubprocessError,
)  # fmt: skip

Progress = Callable[[int, int, Sequence[str]], None]
"""Told how many are done, of how many, and the titles of those under way."""


def run(
    checks: Iterable[Check],
    scene: Scene,
    *,
    progress: Progress = lambda _done, _of, _open: None,
    mono: Callable[[], float] = time.monotonic,
) -> list[Result]:
    """The results, in the order of the checks."""
    wanted = list(checks)
    found: dict[str, list[Result]] = {}
    done: queue.SimpleQueue[tuple[Check, Sequence[Finding], float]] = queue.SimpleQueue()
    began: dict[str, tuple[Check, float]] = {}
    for check in wanted:
        if check.network and scene.offline:
            found[check.ident] = [Result(check, skipped("not looked at, with --offline"), 0)]
            continue
        began[check.ident] = (check, mono())
        threading.Thread(target=_look, args=(check, scene, done, mono), daemon=True, name=check.ident).start()
    while began:
        progress(len(wanted) - len(began), len(wanted), [check.title for check, _ in began.values()])
        try:
            check, findings, took_s = done.get(timeout=_LOOK_S)
        except queue.Empty:
            for ident, (late, at) in list(began.items()):
                if mono() - at > late.limit_s:
                    del began[ident]
                    found[ident] = [Result(late, _hung(late), round(1000 * (mono() - at)))]
            continue
        if began.pop(check.ident, None) is not None:
            found[check.ident] = [Result(check, each, round(1000 * took_s)) for each in findings]
    progress(len(wanted), len(wanted), [])
    return [result for check in wanted for result in found[check.ident]]


def _hung(check: Check) -> Finding:
    return warning(
        f"this check did not come to an end within {check.limit_s:g} s",
        "something that it looks at hangs: a disk, the network, a service; see that, then run `hr doctor` again",
    )


def _look(
    check: Check,
    scene: Scene,
    done: "queue.SimpleQueue[tuple[Check, Sequence[Finding], float]]",
    mono: Callable[[], float],
) -> None:
    began = mono()
    found: Finding | Sequence[Finding] = _failed("")
    try:
        found = check.look(scene)
    except _FAILURES as error:  # by its class alone: its text may quote what it met
        found = _failed(f" ({type(error).__name__})")
    finally:  # whatever it was, nobody waits for this check
        done.put((check, [found] if isinstance(found, Finding) else list(found), mono() - began))


def _failed(how: str) -> Finding:
    return warning(f"this check itself failed{how}", "please report it; the other checks are not touched by it")
