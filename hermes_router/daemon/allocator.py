"""Keeps the C allocator from giving memory back to the system between two requests.

Owns two settings of glibc. A body of 237 KB lies above its default threshold for mapping, so that each request maps,
faults in and unmaps every buffer anew: 84 page faults a request (facts/perf.md). Elsewhere this does nothing.
"""

import ctypes
import sys

# <malloc.h>
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MMAP_ABOVE = 32 * 1024 * 1024  # the largest that glibc accepts
_TRIM_ABOVE = 16 * 1024 * 1024  # what a burst may leave behind


def settle() -> bool:
    """Fix the thresholds; True where the allocator took them."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # musl and others
    return bool(mallopt(_M_MMAP_THRESHOLD, _MMAP_ABOVE) and mallopt(_M_TRIM_THRESHOLD, _TRIM_ABOVE))
