"""What a process may leave out while it imports the program: a fifth of the time until it serves (measured).

Owns those two things, and that Ctrl-C meanwhile is no traceback; nothing that is needed later. It must never be called
but by a process that starts, before its other imports.
"""

import gc
import os
import signal
from typing import Final

__all__ = ["calm", "hurry"]

_NOWHERE: Final = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}


def calm() -> None:
    """Let Ctrl-C end this process without a word until there is a loop that hears it: nothing has begun.

    `hr serve` holds the signal back from before this interpreter was there.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def hurry() -> None:
    """Turn the collector off, and import aiohttp without its certificates.

    Modules and their classes stay: looking for garbage among them finds none. `life.py` turns the collector on again
    once all stands. aiohttp's client reads the system's certificates twice when it is imported, and nothing in a daemon
    asks anybody by it: our own transport (ADR 5) reads them when it needs them. Whoever used it after all would trust
    nobody.
    """
    gc.disable()
    said = {name: os.environ.get(name) for name in _NOWHERE}
    os.environ.update(_NOWHERE)
    try:
        import aiohttp.connector  # noqa: F401, PLC0415 - the import is what it is about
    finally:
        for name, value in said.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
