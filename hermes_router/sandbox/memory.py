"""What a fake provider remembers of its own answers: sealed thoughts, prompts in its cache, and kept responses.

Owns the seals (facts/providers.md 12.9: thoughts go back to who made them, unaltered), the prompt cache's count, and
the store behind `previous_response_id`. It must never know a dialect's shapes.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

LEAST_CACHED_TOKENS = 1_024


@dataclass(slots=True)
class Memory:
    """One provider's. Whom a seal is bound to (`holder`: model and account) is said by who asks.

    `kept`: the items of a whole conversation, by the id of its last answer.
    """

    name: str
    kept: dict[str, list[Any]] = field(default_factory=dict)
    _prompts: set[tuple[str, str]] = field(default_factory=set)

    def seal(self, holder: str, text: str) -> str:
        """A text that only this provider reads, and only for this holder."""
        data = text.encode()
        return base64.b64encode(self._proof(holder, data) + data).decode()

    def opened(self, holder: str, sealed: str) -> str | None:
        """What was sealed for the holder; None for a foreign, altered or cut seal."""
        try:
            raw = base64.b64decode(sealed, validate=True)
        except (binascii.Error, ValueError):
            return None
        proof, data = raw[:32], raw[32:]
        if not hmac.compare_digest(proof, self._proof(holder, data)):
            return None
        return data.decode()

    def _proof(self, holder: str, data: bytes) -> bytes:
        return hmac.digest(f"the secret of {self.name} for {holder}".encode(), data, "sha256")

    def cached(self, holder: str, segments: Iterable[tuple[Any, int, bool]]) -> tuple[int, int]:
        """Tokens of a prompt that are read from the cache, and that are written to it now.

        Segments are its parts in order, with their tokens and whether the prompt may be cached up to there.
        """
        digest, total, read, written = hashlib.sha256(), 0, 0, 0
        fresh: list[str] = []
        for part, tokens, marked in segments:
            digest.update(json.dumps(part, sort_keys=True).encode())
            total += tokens
            if not marked or total < LEAST_CACHED_TOKENS:
                continue
            mark = digest.hexdigest()
            if (holder, mark) in self._prompts:
                read = total
            fresh.append(mark)
            written = total
        self._prompts.update((holder, mark) for mark in fresh)
        return read, written - read
