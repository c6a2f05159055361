"""The daemon's lock, as a command looks at it.

Owns the look: it takes nothing that a daemon would miss. It must never wait, nor change the file.
"""

import fcntl
import os
from pathlib import Path

__all__ = ["is_held"]


def is_held(path: Path) -> bool | None:
    """Whether a daemon holds the lock; None where there is no file, or no lock to be had on this disk."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(fd)
    return False
