"""`hr serve`: the daemon in the foreground, what a service manager runs.

Owns the exec: the daemon keeps this pid, so that signals and notifications reach it. It must never run the daemon in
this process's interpreter.
"""

import os
import signal
import sys
from pathlib import Path

import click


@click.command()
@click.option("--env-file", type=click.Path(dir_okay=False, path_type=Path), help="Read this .env instead.")
@click.option("--system", is_flag=True, help="Use the places of the system service: /etc/hermes-router and others.")
def serve(env_file: Path | None, system: bool) -> None:
    """Run the router in the foreground until Ctrl-C."""
    command = [sys.executable, "-P", "-m", "hermes_router.daemon"]  # -P: nothing is imported from the current directory
    if env_file is not None:
        command += ["--env-file", str(env_file)]
    if system:
        command.append("--system")
    sys.stdout.flush()
    signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGINT}
    )  # a new interpreter has no answer to it yet but a traceback
    try:
        os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, no shell
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        from hermes_router.cli.trouble import unstartable  # noqa: PLC0415 - only where something went wrong

        raise unstartable(OSError(error.errno, error.strerror, sys.executable)) from None
