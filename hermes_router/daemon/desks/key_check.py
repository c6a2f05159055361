"""Tests keys against their providers, as `hr auth add` and `hr auth test` ask.

Owns which address is asked with which headers, and the words about a key that looks like another provider's. It must
never store anything.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from hermes_router.control import types as t
from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.ids import Credential, Secret
from hermes_router.core.ports import Clock, Transport
from hermes_router.daemon.config import Loaded
from hermes_router.daemon.deferred import classify
from hermes_router.engine.snapshot import base_url
from hermes_router.upstream.auth import begins_with, key_headers
from hermes_router.upstream.probe import Checked, check_key

__all__ = ["KeyCheck", "foreign_prefix"]

_AT_ONCE: Final = 4
_TELLING: Final = 4  # characters: many keys begin with `sk-`


class KeyCheck:
    """Asks providers about keys; a few at a time, since some limit even that."""

    def __init__(self, loaded: Callable[[], Loaded], transport: Transport, clock: Clock) -> None:
        self._loaded = loaded
        self._transport = transport
        self._clock = clock
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def all(self, spec: ProviderSpec, secrets: Sequence[Secret]) -> list[Checked]:
        """What `spec` says of each of these keys, in order."""
        return list(await asyncio.gather(*(self._ask(spec, secret) for secret in secrets)))

    async def one(self, credential: Credential) -> t.TestedRow:
        """What its provider says of a credential in use."""
        loaded = self._loaded()
        spec = loaded.catalog[credential.provider]
        began = self._clock.mono()
        try:
            found = await self._ask(spec, loaded.vault.reveal(credential))
        except KeyError:
            found = Checked("inconclusive", "its secret cannot be read now")
        return t.TestedRow(
            provider=credential.provider,
            id=credential.id,
            tail=credential.tail,
            test=found.verdict,
            said=found.said,
            models=len(found.models),
            duration_s=round(self._clock.mono() - began, 3),
        )

    def _address(self, spec: ProviderSpec) -> str:
        dialect = "openai_chat" if "openai_chat" in spec.endpoints else next(iter(spec.endpoints))
        return base_url(spec, self._loaded().settings.provider(spec.name), dialect)

    async def _ask(self, spec: ProviderSpec, secret: Secret) -> Checked:
        said = self._loaded().settings.provider(spec.name)
        if spec.retired is not None and not said.base_url:
            return Checked("inconclusive", spec.retired)
        async with self._turn:
            return await check_key(
                self._transport,
                spec,
                self._address(spec),
                key_headers(spec, secret),
                lambda status, headers, body: classify(spec.rejection, status, headers, body, self._clock.now()),
                own_address=bool(said.base_url),
            )


def foreign_prefix(secret: Secret, spec: ProviderSpec, catalog: Iterable[ProviderSpec]) -> str | None:
    """A warning where a key does not begin as this provider's do, naming the one whose it looks like."""
    if begins_with(secret, spec.key_prefixes):
        return None
    # The longest prefix tells most: `sk-ant-` is also an `sk-`.
    matching = [(len(p), other) for other in catalog for p in other.key_prefixes if begins_with(secret, (p,))]
    expected = " or ".join(spec.key_prefixes)
    length, other = max(matching, key=lambda one: one[0], default=(0, spec))
    if not expected:  # of keys of its own nothing is known: only a beginning that is no accident tells
        looks = f"this looks like a key of {other.title}: `hr auth add {other.name}`"
        return looks if length >= _TELLING else None
    if matching:
        return f"this looks like a key of {other.title}; keys of {spec.title} begin with {expected}"
    return f"keys of {spec.title} begin with {expected}; this one does not"
