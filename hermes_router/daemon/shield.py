"""Keeps what is in memory out of files: no core dumps, and no debugger of another process of the same user.

Owns two switches of the kernel. Secrets are in memory for as long as the daemon lives, and a core file would be a copy
of them that nobody knows of. It must never know a secret.
"""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4  # <linux/prctl.h>


def raise_shield(platform: str = sys.platform) -> bool:
    """Turn dumps off for this process and what it starts; True where all switches were taken."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limited = True
    except (OSError, ValueError):  # a unit may forbid it, and the other switch be free
        limited = False
    return (not platform.startswith("linux") or _undumpable()) and limited


def _undumpable() -> bool:
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return False
    return bool(prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
