"""The model list in the shape that Anthropic's clients read.

Owns `/v1/models` where `anthropic-version` was sent (clients.md 4, 7.7, 7.21): display names, RFC 3339 times, windows,
pages, and the name under which Claude Code's discovery finds us. It must never know how a window was found.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from hermes_router.wire.chat.models import ModelRow

__all__ = ["ALIASES", "original", "render_list", "render_one"]

_JSON = msgspec.json.Encoder()
ALIASES = {"hermes-router": "claude-hermes-router"}
"""Claude Code lists only ids with `claude` or `anthropic` in them. Any name that is no pin is routed like ours; so no
profile has an alias: a name that looks like `:local` and is not would take a private request off this machine."""

_ORIGINALS = {alias: name for name, alias in ALIASES.items()}


def render_list(rows: Sequence[ModelRow]) -> bytes:
    """The list object: one page, whatever was asked for. The aliases stand behind their models.

    Models for embeddings are left out: this dialect has none.
    """
    shown: list[ModelRow] = []
    for row in rows:
        if row.embeds:
            continue
        shown.append(row)
        if row.id in ALIASES:
            shown.append(row._replace(id=ALIASES[row.id]))
    return _JSON.encode(
        {
            "data": [_object(row) for row in shown],
            "has_more": False,
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
        }
    )


def original(model_id: str) -> str:
    """What a listed id stands for: an alias for its model, any other for itself."""
    return _ORIGINALS.get(model_id, model_id)


def render_one(row: ModelRow) -> bytes:
    """One model object."""
    return _JSON.encode(_object(row))


def _object(row: ModelRow) -> dict[str, object]:
    model: dict[str, object] = {
        "type": "model",
        "id": row.id,
        "display_name": row.id,
        "created_at": datetime.fromtimestamp(row.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
    }
    if row.context_length is not None:
        model["max_input_tokens"] = row.context_length
    if row.max_output_tokens is not None:
        model["max_tokens"] = row.max_output_tokens
    return model
