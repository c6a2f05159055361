"""The `compact` operation of Responses: a conversation in, what stands for it in later requests out.

Owns what is asked for and sent (facts: codex.md 6.5), and the members of the object that comes back. It is served by
targets that have it, and by nobody in their stead: what was compacted is read by its maker alone. It must never know a
target.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.catalog import Quirk, TargetFacts
from hermes_router.core.content import Seal
from hermes_router.core.errors import BadRequest, ForeignThought, Inexpressible, UpstreamError
from hermes_router.core.events import Usage
from hermes_router.wire.chat.outgoing import Rendered
from hermes_router.wire.dialect import NewId
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.responses.history import NOT_ITS_OWN
from hermes_router.wire.responses.object import usage_object
from hermes_router.wire.responses.request import parse_fields
from hermes_router.wire.responses.turn import Past

__all__ = ["as_compact", "compacted", "compactions_in", "not_compacted", "not_its_own", "parse_compact"]

PATH: Final = "/compact"
_PUBLIC: Final = frozenset({
    "model", "input", "instructions", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
    "service_tier", "image",
})  # fmt: skip
_OF_A_PLAN: Final = frozenset({
    "model", "input", "instructions", "tools", "parallel_tool_calls", "reasoning", "service_tier", "prompt_cache_key",
    "text",
})  # fmt: skip
_MISSING: Final = frozenset({404, 405, 501})


class _Item(msgspec.Struct, gc=False):
    type: Any = None
    encrypted_content: Any = None


_ITEMS: Final = msgspec.json.Decoder(list[_Item])
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_ENCODE: Final = msgspec.json.Encoder().encode


def parse_compact(fields: dict[str, Raw], headers: Mapping[str, str], past: Past | None = None) -> Inbound:
    """A request to compact, with what it refers to. Raises BadRequest with the path of the field that is wrong."""
    inbound = parse_fields(fields, headers, past)
    if inbound.request.stream:
        raise BadRequest("stream is not supported here: what is compacted comes whole", param="stream")
    return inbound._replace(request=inbound.request._replace(compaction=True), operation="compact")


def as_compact(rendered: Rendered, facts: TargetFacts) -> Rendered:
    """A request that was fitted to the target as any, with what this operation takes, to where it is asked."""
    taken = _OF_A_PLAN if Quirk.CODEX_BODY in facts.quirks else _PUBLIC
    body = _ENCODE({key: raw for key, raw in _FIELDS.decode(rendered.body).items() if key in taken})
    headers = tuple((name, value) for name, value in rendered.headers if name != "accept")
    return rendered._replace(body=body, headers=headers, sent_max_tokens=None, straight=True, path=PATH)


def compacted(body: bytes, usage: Usage, *, new_id: NewId, now: int) -> bytes:
    """The answer as SDKs read it: a plan's backend tells the output alone. `now` in epoch seconds."""
    fields = _FIELDS.decode(body)
    whole: dict[str, Any] = {
        "id": new_id("resp_"),
        "object": "response.compaction",
        "created_at": now,
        "usage": usage_object(usage),
    }
    if all(name in fields for name in whole):
        return body
    return _ENCODE({**whole, **fields})


def not_compacted(error: UpstreamError) -> UpstreamError:
    """What a failure means: where the address is not there, the request is refused, and the model is not gone."""
    if error.status not in _MISSING:
        return error
    return Inexpressible(f"it does not compact conversations: {error.excerpt}", status=error.status)


def not_its_own(error: UpstreamError) -> UpstreamError:
    """What the refusal of a foreign seal means where there is one that cannot be left out."""
    if not isinstance(error, ForeignThought):
        return error
    return Inexpressible(NOT_ITS_OWN, status=error.status, param="input")


def compactions_in(fields: Mapping[str, Raw]) -> list[Seal]:
    """What stands for a conversation in the input of a request that was parsed."""
    try:
        items = _ITEMS.decode(fields["input"])
    except (msgspec.MsgspecError, KeyError):
        return []
    found = (item.encrypted_content for item in items if item.type == "compaction")
    return [Seal("openai_responses", "encrypted", data) for data in found if isinstance(data, str)]
