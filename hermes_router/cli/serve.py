"""`hr serve`: the daemon in the foreground, what a service manager runs.

Owns the exec: the daemon keeps this pid, so that signals and notifications reach it. It must never run the daemon in
this process's interpreter.
"""

import os
import sys
from pathlib import Path

import click


@click.command()
@click.option("--env-file", type=click.Path(dir_okay=False, path_type=Path), help="Read this .env instead.")
def serve(env_file: Path | None) -> None:
    """Run the router in the foreground until Ctrl-C."""
    command = [sys.executable, "-P", "-m", "hermes_router.daemon"]  # -P: nothing is imported from the current directory
    if env_file is not None:
        command += ["--env-file", str(env_file)]
    sys.stdout.flush()
    try:
        os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, no shell
    except OSError as error:
        from hermes_router.cli.trouble import unstartable  # noqa: PLC0415 - only where something went wrong

        raise unstartable(OSError(error.errno, error.strerror, sys.executable)) from None
