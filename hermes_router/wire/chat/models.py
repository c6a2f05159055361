"""The model list in the OpenAI shape.

Owns `/v1/models` as agents read it: `context_length` and `max_output_tokens` on every object (clients.md 2.2, 7.7).
It must never know how a window was found.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

_JSON = msgspec.json.Encoder()


class ModelRow(NamedTuple):
    """One model that a caller may name. Windows in tokens, None = unknown. `embeds` = it makes vectors, not text."""

    id: str
    owned_by: str
    created: int
    context_length: int | None
    max_output_tokens: int | None
    embeds: bool = False


def _object(row: ModelRow) -> dict[str, object]:
    model: dict[str, object] = {"id": row.id, "object": "model", "created": row.created, "owned_by": row.owned_by}
    if row.context_length is not None:
        model["context_length"] = row.context_length
    if row.max_output_tokens is not None:
        model["max_output_tokens"] = row.max_output_tokens
    return model


def render_list(rows: Sequence[ModelRow]) -> bytes:
    """The list object."""
    return _JSON.encode({"object": "list", "data": [_object(row) for row in rows]})


def render_one(row: ModelRow) -> bytes:
    """One model object."""
    return _JSON.encode(_object(row))
