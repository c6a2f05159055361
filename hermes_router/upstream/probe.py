"""Asks a provider about a key, at no cost where that is possible: is it good, and which models does it list.

Owns the one question and the reading of its answer (facts/providers.md 9). It must never spend paid quota, never log a
key, and never decide what is done with a bad one.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from hermes_router.core.catalog import PriceClass, ProviderSpec
from hermes_router.core.errors import CredentialRejected, UpstreamError
from hermes_router.core.ports import Outbound, Transport
from hermes_router.upstream.fetch import fetch

__all__ = ["Checked", "Classify", "Verdict", "check_key", "list_models"]

Verdict = Literal["ok", "rejected", "inconclusive"]

Classify = Callable[[int, Mapping[str, str], bytes], UpstreamError]
"""Status, headers and body of a refusal, read by the row's error family."""

_TIMEOUT_S: Final = 15.0  # NVIDIA's list may take more than ten (providers.md 9)
_MAX_MODELS: Final = 5_000


class Checked(NamedTuple):
    """What a provider says of a key. `models` are the ids that it lists, empty where it was not asked for them."""

    verdict: Verdict
    said: str = ""
    models: tuple[str, ...] = ()


async def check_key(
    transport: Transport,
    spec: ProviderSpec,
    base_url: str,
    headers: Mapping[str, str],
    classify: Classify,
    *,
    own_address: bool = False,
) -> Checked:
    """Ask about the key that `headers` hold. Never raises; what could not be found out is inconclusive, with a reason.

    `own_address` = the owner put another address in the row's place: a check at the row's own host would tell nothing.
    """
    check = spec.key_check
    if own_address and check.startswith("https:"):
        check = "/models"
    if not check:
        return await _by_completion(transport, spec, base_url, headers, classify)
    url = f"{base_url}{check}" if check.startswith("/") else check
    found = await _ask(transport, Outbound("GET", url, headers), classify)
    if found.verdict != "ok" or check == "/models":
        return found
    try:
        return Checked("ok", models=await list_models(transport, base_url, headers))
    except UpstreamError:
        return found  # the key is good; which models it lists is another question


async def list_models(transport: Transport, base_url: str, headers: Mapping[str, str]) -> tuple[str, ...]:
    """The ids of a provider's live list. Raises UpstreamError where there is no answer or none that can be read."""
    try:
        reply = await fetch(transport, Outbound("GET", f"{base_url}/models", headers), timeout_s=_TIMEOUT_S)
    except ValueError as error:
        raise UpstreamError(f"the address cannot be asked: {error}") from None
    if reply.status != 200:
        raise UpstreamError(f"the list of models was refused with HTTP {reply.status}", status=reply.status)
    return _ids(reply.body)


async def _ask(transport: Transport, request: Outbound, classify: Classify) -> Checked:
    try:
        reply = await fetch(transport, request, timeout_s=_TIMEOUT_S)
    except UpstreamError as error:
        return Checked("inconclusive", f"{urlsplit(request.url).hostname} could not be asked: {error.excerpt[:200]}")
    except ValueError as error:
        return Checked("inconclusive", f"the address cannot be asked: {error}")
    if reply.status == 200:
        try:
            return Checked("ok", models=_ids(reply.body))
        except UpstreamError:
            return Checked("ok")
    return _judged(classify(reply.status, reply.headers, reply.body), reply.status)


async def _by_completion(
    transport: Transport, spec: ProviderSpec, base_url: str, headers: Mapping[str, str], classify: Classify
) -> Checked:
    """One token of the first free model: the list of models is public here, and proves nothing."""
    free = next((m for m in spec.models if m.price_class is not PriceClass.PAID and m.embeds is None), None)
    if free is None:
        return Checked("inconclusive", "only a paid request could prove this key, and none is made for a test")
    question = {"model": free.id, "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    body = msgspec.json.encode(question)
    found = await _ask(transport, Outbound("POST", f"{base_url}/chat/completions", headers, body), classify)
    if found.verdict != "ok":
        return found
    try:
        return Checked("ok", models=await list_models(transport, base_url, headers))
    except UpstreamError:
        return found


def _judged(error: UpstreamError, status: int) -> Checked:
    """A refusal: of the key where the family's reader blames the key, else of something that proves neither."""
    said = f"HTTP {status}: {error.excerpt[:200]}" if error.excerpt else f"HTTP {status}"
    return Checked("rejected" if isinstance(error, CredentialRejected) else "inconclusive", said)


def _ids(body: bytes) -> tuple[str, ...]:
    """The ids of `{"data": [{"id": …}]}`; some send the list alone, or `models` with names. Raises UpstreamError."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise UpstreamError("the list of models cannot be read") from None
    rows = found.get("data", found.get("models")) if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise UpstreamError("the list of models cannot be read")
    named = (row.get("id") or row.get("name") for row in rows[:_MAX_MODELS] if isinstance(row, dict))
    return tuple(one for one in named if isinstance(one, str))
