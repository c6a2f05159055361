"""`hr doctor`: the command.

Owns its options, its exit code, and the order of things: ask, look, say.
"""

import os
import time
from pathlib import Path

import click

from hermes_router.cli import render
from hermes_router.cli.doctor.run import run
from hermes_router.cli.doctor.scene import gather
from hermes_router.cli.doctor.screen import Line, as_json, is_wrong, lines
from hermes_router.cli.doctor.table import CHECKS

__all__ = ["doctor"]


@click.command()
@click.option("--offline", is_flag=True, help="Leave the network alone.")
@click.option("--all", "whole", is_flag=True, help="Show what is well, too, with what was seen.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def doctor(offline: bool, whole: bool, json_: bool) -> None:
    """Look at everything that can be wrong, and say how to mend it.

    It works with a daemon and without one, changes nothing, starts nothing, and spends no quota. It ends with 0 where
    all is well or could only be better, and with 1 where it found a fault or a warning.
    """
    began = time.monotonic()
    line = Line()
    try:
        line.say("Asking the daemon")
        scene = gather(os.environ, now=time.time(), cwd=_here(), offline=offline)
        results = run(CHECKS, scene, progress=line.progress)
    finally:
        line.clear()
    if json_:
        render.say_json(as_json(results))
    else:
        render.say(lines(results, render.width(), whole=whole, took_s=time.monotonic() - began))
    if is_wrong(results):
        click.get_current_context().exit(1)


def _here() -> Path:
    """The current directory; it may be gone."""
    try:
        return Path.cwd()
    except OSError:
        return Path("/")
