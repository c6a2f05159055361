"""Marks on thoughts: who made one, written into the slot that a dialect has for signatures.

Owns `wrap` and `unwrap` (facts: providers.md 12.9, "smuggle"): a caller that sends its history back brings them along,
so a thought finds its maker again after a restart, and never goes to anybody else; and where sealed thoughts stand in a
body that goes out. It must never know a target.
"""

import base64
import binascii
from typing import Any, Final

import msgspec

from hermes_router.core.content import Seal

__all__ = ["MARK", "sealed_in", "unwrap", "wrap"]

MARK: Final = "hr1."
_MOST: Final = 1024 * 1024  # characters


class _Mark(msgspec.Struct, frozen=True, array_like=True):
    """Order matters: it is on the wire, in conversations that outlive versions."""

    dialect: str
    kind: str
    origin: str
    data: str = ""
    item_id: str = ""


_ENCODE: Final = msgspec.json.Encoder().encode
_DECODER: Final = msgspec.json.Decoder(_Mark)
_KINDS: Final = {kind: kind for kind in ("signature", "redacted", "encrypted", "none")}


def wrap(seal: Seal | None, *, origin: str) -> str:
    """The mark for a thought that `origin` made; without a seal it says no more than that."""
    if seal is None:
        seal = Seal("", "none", "", origin)
    mark = _Mark(seal.dialect, seal.kind, seal.origin or origin, seal.data, seal.item_id)
    return MARK + base64.urlsafe_b64encode(_ENCODE(mark)).decode()


def unwrap(text: str) -> Seal | None:
    """The seal that a mark of ours holds, None for what is no (whole) mark of ours."""
    if not text.startswith(MARK) or len(text) > _MOST:
        return None
    try:
        mark = _DECODER.decode(base64.urlsafe_b64decode(text[len(MARK) :]))
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        return None
    if mark.kind not in _KINDS:
        return None
    return Seal(mark.dialect, _KINDS[mark.kind], mark.data, mark.origin, mark.item_id)


class _Turn(msgspec.Struct, gc=False):
    content: Any = None


class _Body(msgspec.Struct, gc=False):
    messages: list[_Turn] = []
    input: str | list[dict[str, Any]] = ""


_BODY: Final = msgspec.json.Decoder(_Body)
_SEALS: Final = (("thinking", "signature"), ("redacted_thinking", "data"), ("reasoning", "encrypted_content"))


def sealed_in(body: bytes) -> list[str]:
    """The seals of all thoughts in a body as it goes out, in Messages or Responses; none where it is no such body."""
    try:
        said = _BODY.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
    parts: list[Any] = [] if isinstance(said.input, str) else [*said.input]
    for message in said.messages:
        parts += message.content if isinstance(message.content, list) else ()
    found = (_seal_of(part) for part in parts if isinstance(part, dict))
    return [seal for seal in found if isinstance(seal, str) and seal]


def _seal_of(part: dict[str, Any]) -> Any:
    return next((part.get(key) for kind, key in _SEALS if part.get("type") == kind), None)
