"""`python -m hermes_router.sandbox [--cast C] [--port-file F]`: the demo's fake providers as a process of their own.

Prints one line of JSON with the variables to set, and writes the same to F. Ends on SIGTERM, SIGINT, or when
its standard input, if that is a pipe, closes: a parent that dies takes it along.
"""

import argparse
import asyncio
import json
import os
import pathlib
import signal
import stat
import sys
from collections.abc import Callable

from hermes_router.sandbox.demo import cast, environment
from hermes_router.sandbox.demo_cut import cut_cast
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.server import Sandbox

_CASTS = {"plain": cast, "cut": cut_cast}


def _watch_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Set `stop` at the end of a piped standard input. A terminal or /dev/null says nothing about a parent."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return

    def readable() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, readable)


async def run(providers: Callable[[], list[FakeProvider]], port_file: pathlib.Path | None) -> None:
    """Serve until told to stop. `port_file` appears whole or not at all."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Sandbox(providers()) as sandbox:
        line = json.dumps(environment(sandbox))
        if port_file is not None:
            part = port_file.with_name(port_file.name + ".part")
            part.write_text(line + "\n", encoding="utf-8")
            part.replace(port_file)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        _watch_parent(loop, stop)
        await stop.wait()


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m hermes_router.sandbox", description="Fake providers for a demo.")
    parser.add_argument("--port-file", type=pathlib.Path, help="also write the JSON there")
    parser.add_argument("--cast", choices=sorted(_CASTS), default="plain", help="who plays")
    told = parser.parse_args()
    asyncio.run(run(_CASTS[told.cast], told.port_file))


if __name__ == "__main__":
    main()
