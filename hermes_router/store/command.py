"""Programs that the owner has us run: one that prints a key (`pass show groq`, `op read op://vault/groq/key`), others.

Owns the running of them: no shell, no terminal, a limit of time, and nothing left of one that takes longer. It must
never log what a program says, on either stream, nor its arguments.
"""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from hermes_router.core.errors import VaultError
from hermes_router.core.ids import Secret
from hermes_router.core.setting_values import key_fault

__all__ = ["LIMIT_S", "MOST_GIVEN", "NotRun", "ending", "run_command", "run_program"]

LIMIT_S: Final = 10.0
MOST_GIVEN: Final = 4_096  # any pipe holds so much
_MAX_BYTES: Final = 64 * 1024


class NotRun(Exception):
    """A program was not started, or did not end in time; the text says which, and names nothing of it."""


async def run_command(argv: Sequence[str], *, limit_s: float = LIMIT_S) -> Secret:
    """The key on the first line that the command prints. Raises VaultError, which names the program and no more."""
    program = argv[0] if argv else ""
    try:
        status, printed = await run_program(argv, limit_s=limit_s, listens=True)
    except NotRun as failed:
        raise _failed(program, str(failed)) from None
    if status != 0:
        raise _failed(program, ending(status))
    return _key_in(program, printed)


async def run_program(
    argv: Sequence[str],
    *,
    given: bytes = b"",
    environ: Mapping[str, str] | None = None,
    limit_s: float = LIMIT_S,
    listens: bool = False,
) -> tuple[int, bytes]:
    """Its exit status (below 0: the signal that ended it), and what it prints, a little more than 64 KB at most.

    It runs in a session of its own, so that nothing of it is left when it takes too long. `given` is its input, of
    MOST_GIVEN bytes at most; `environ` None = ours. What it says on standard error is dropped, and on standard output,
    too, unless one `listens`. Raises NotRun.
    """
    source = DEVNULL
    try:
        if given:
            source = _filled_pipe(given)
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=source,
            stdout=PIPE if listens else DEVNULL,
            stderr=DEVNULL,
            env=environ,
            start_new_session=True,
        )
    except (OSError, ValueError, TypeError) as error:  # not there, not ours to run, a NUL in an argument, no argument
        said = error.strerror if isinstance(error, OSError) else "its arguments cannot be passed on"
        raise NotRun(f"cannot be started: {said}") from None
    finally:
        if source != DEVNULL:
            os.close(source)
    try:
        async with asyncio.timeout(limit_s):
            printed = await _read(process) if listens else b""
            return await process.wait(), printed
    except TimeoutError:
        raise NotRun(f"did not end within {limit_s:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def ending(status: int) -> str:
    """How a program ended, in words."""
    return f"ended with {f'signal {-status}' if status < 0 else f'status {status}'}"


def _filled_pipe(given: bytes) -> int:
    """The end to read from. A pipe takes this at once, so nobody is left to write, and to mind that it was shut."""
    assert len(given) <= MOST_GIVEN
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb") as end:
        end.write(given)
    return ours


async def _read(process: Process) -> bytes:
    assert process.stdout is not None
    printed = b""
    while len(printed) <= _MAX_BYTES and (more := await process.stdout.read(_MAX_BYTES)):
        printed += more
    return printed


def _key_in(program: str, printed: bytes) -> Secret:
    if len(printed) > _MAX_BYTES:
        raise _failed(program, "printed more than 64 KB, which is no key")
    try:
        lines = printed.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise _failed(program, "printed what is not text") from None
    key = next((line.strip() for line in lines if line.strip()), "")
    if not key:
        raise _failed(program, "printed nothing")
    fault = key_fault(key)
    if fault is not None:
        raise _failed(program, f"printed something that is no key: it {fault}")
    return Secret(key)


def _failed(program: str, what: str) -> VaultError:
    return VaultError(
        f"the key command {program} {what}",
        next_step="run it by hand as the daemon's user, without a terminal: it must print the key and end with 0",
    )
