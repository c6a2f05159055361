"""A key that a command prints: `pass show groq`, `op read op://vault/groq/key`.

Owns the running of that command: no shell, no terminal, ten seconds. It must never log what the command says, on
either stream, nor its arguments.
"""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from hermes_router.core.errors import VaultError
from hermes_router.core.ids import Secret
from hermes_router.core.setting_values import key_fault

__all__ = ["LIMIT_S", "run_command"]

LIMIT_S: Final = 10.0
_MAX_BYTES: Final = 64 * 1024


async def run_command(argv: Sequence[str], *, limit_s: float = LIMIT_S) -> Secret:
    """The key on the first line that the command prints. Raises VaultError, which names the program and no more.

    It runs in a session of its own, so that nothing of it is left when it takes too long; what it says on standard
    error is dropped, and it has no input.
    """
    program = argv[0] if argv else ""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, start_new_session=True
        )
    except (OSError, ValueError, TypeError) as error:  # not there, not ours to run, a NUL in an argument, no argument
        said = error.strerror if isinstance(error, OSError) else "its arguments cannot be passed on"
        raise _failed(program, f"cannot be started: {said}") from None
    try:
        async with asyncio.timeout(limit_s):
            printed = await _read(process)
            status = await process.wait()
    except TimeoutError:
        raise _failed(program, f"did not end within {limit_s:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status != 0:
        raise _failed(program, f"ended with {f'signal {-status}' if status < 0 else f'status {status}'}")
    return _key_in(program, printed)


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
