"""The `response` object of the Responses dialect: what a request said, said back, and how its answer stands.

Owns the members that SDKs require (facts: providers.md 12.10) and the spelling of usage (12.7). The caller's own values
are echoed as they came; what it left out has the value that holds for it. It must never know a target.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.events import Finish, Usage
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.responses.turn import told_of

__all__ = ["INCOMPLETE", "ResponseObject", "usage_object", "wants_encrypted"]

# Nothing is stored and nothing runs behind the caller's back, so these say no where the caller said nothing.
_ECHOED: Final[Mapping[str, bytes]] = {
    "background": b"false",
    "instructions": b"null",
    "max_output_tokens": b"null",
    "max_tool_calls": b"null",
    "metadata": b"{}",
    "parallel_tool_calls": b"true",
    "previous_response_id": b"null",
    "prompt_cache_key": b"null",
    "reasoning": b'{"effort":null,"summary":null}',
    "safety_identifier": b"null",
    "store": b"false",
    "temperature": b"null",
    "text": b'{"format":{"type":"text"}}',
    "tool_choice": b'"auto"',
    "tools": b"[]",
    "top_logprobs": b"0",
    "top_p": b"null",
    "truncation": b'"disabled"',
    "user": b"null",
}
INCOMPLETE: Final[Mapping[Finish, str]] = {
    Finish.LENGTH: "max_output_tokens",
    Finish.CONTENT_FILTER: "content_filter",
}
"""Why an answer is incomplete, by its finish; every other finish completes it (12.6)."""

_ENCODE: Final = msgspec.json.Encoder().encode
_ANY: Final = msgspec.json.Decoder()


class ResponseObject:
    """Writes the `response` of one exchange in each of its states."""

    def __init__(self, inbound: Inbound) -> None:
        turn = inbound.turn
        self._fields = inbound.fields if turn is None else {**inbound.fields, **told_of(turn)}
        self._echo: bytes | None = None  # made once, when it is first shown: tools may be long

    def render(
        self,
        *,
        new_id: str,
        created: int,
        model: str,
        status: str,
        output: Iterable[bytes] = (),
        usage: Usage | None = None,
        error: tuple[str, str] | None = None,
        incomplete: str | None = None,
    ) -> bytes:
        """The object. `output` holds whole items as JSON, `error` (code, message), `created` epoch seconds."""
        if self._echo is None:
            self._echo = b"".join(_echoed(self._fields, name, own) for name, own in _ECHOED.items())
        head = {
            "id": new_id,
            "object": "response",
            "created_at": created,
            "status": status,
            "error": {"code": error[0], "message": error[1]} if error is not None else None,
            "incomplete_details": {"reason": incomplete} if incomplete is not None else None,
            "model": model,
            "usage": usage_object(usage) if usage is not None else None,
        }
        return _ENCODE(head)[:-1] + self._echo + b',"output":[' + b",".join(output) + b"]}"


def _echoed(fields: Mapping[str, Raw], name: str, own: bytes) -> bytes:
    value = bytes(fields[name]) if name in fields else own
    if value == b"null":
        value = own
    if b"\n" in value or b"\r" in value:  # within JSON they stand between the values only; in a frame they would end it
        value = value.replace(b"\n", b" ").replace(b"\r", b" ")
    return b',"%b":%b' % (name.encode(), value)


def usage_object(usage: Usage) -> dict[str, Any]:
    """`usage` as this dialect spells it; the total is computed, since providers disagree (12.7)."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.written_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def wants_encrypted(inbound: Inbound) -> bool:
    """Whether the answer holds what brings thoughts back.

    The caller asked for it (`include: ["reasoning.encrypted_content"]`), or leaves it to us to bring them.
    """
    if inbound.turn is not None and inbound.turn.kept:
        return True
    raw = inbound.fields.get("include")
    if raw is None:
        return False
    try:
        named = _ANY.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return isinstance(named, list) and "reasoning.encrypted_content" in named
