"""Keeps the C allocator from giving memory back to the system between two requests.

Owns two settings of glibc, and the one time that it does give back: what a start has left behind. A body of 237 KB lies
above its default threshold for mapping, so that each request maps, faults in and unmaps every buffer anew: 84 page
faults a request (facts/perf.md). Elsewhere this does nothing.
"""

import ctypes
import sys
from typing import Any

# <malloc.h>
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MMAP_ABOVE = 32 * 1024 * 1024  # the largest that glibc accepts
_TRIM_ABOVE = 16 * 1024 * 1024  # what a burst may leave behind


def settle() -> bool:
    """Fix the thresholds; True where the allocator took them."""
    mallopt = _of_glibc("mallopt")
    return mallopt is not None and bool(
        mallopt(_M_MMAP_THRESHOLD, _MMAP_ABOVE) and mallopt(_M_TRIM_THRESHOLD, _TRIM_ABOVE)
    )


def trim() -> bool:
    """Give back what is free now; True where there was anything. It takes half a millisecond after a start."""
    malloc_trim = _of_glibc("malloc_trim")
    return malloc_trim is not None and bool(malloc_trim(0))


def _of_glibc(name: str) -> Any:
    """A function of glibc's, None with musl and elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
