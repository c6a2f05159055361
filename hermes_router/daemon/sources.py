"""The real clock, randomness and identifiers.

Owns the only calls of time and randomness of the program.
"""

import secrets
import time

_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class SystemClock:
    """Wall and monotonic time. `now` never goes back, and never stands still, or nothing that waits would end.

    Where the wall clock was set back it goes half as fast until that has caught up: a wait is at most twice as long,
    and after twice the jump what others say of the time is true again.
    """

    def __init__(self) -> None:
        self._latest = 0.0
        self._mono = time.monotonic()

    def now(self) -> float:
        """Epoch seconds."""
        wall, mono = time.time(), time.monotonic()
        latest = self._latest + (mono - self._mono) / 2
        if wall > latest:  # noqa: PLR1730 - a call would double what this costs, ten times a request
            latest = wall
        self._latest, self._mono = latest, mono
        return latest

    def mono(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()


class RandomIds:
    """Identifiers: unguessable per process, unique per request, and cheap (0.5 µs)."""

    def __init__(self) -> None:
        self._seed = "".join(secrets.choice(_ALPHABET) for _ in range(16))
        self._count = 0

    def new(self, prefix: str) -> str:
        """`prefix` and 24 characters of [a-zA-Z0-9]."""
        self._count += 1
        return f"{prefix}{self._seed}{self._count:08x}"
