"""How OpenAI's `/responses/compact` is asked and answered (facts/codex.md 6.5, providers.md 12.1).

Owns its fields, its object, the item that stands for a conversation, and who reads that. What a request may hold beside
is the business of `responses_rules`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from hermes_router.sandbox.responses_hear import items
from hermes_router.sandbox.rules import Rule
from hermes_router.sandbox.values import Asked, Breach

_FIELDS = frozenset({
    "model", "input", "instructions", "previous_response_id", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "service_tier", "image",
})  # fmt: skip


def known(asked: Asked) -> Breach | None:
    """The fields of this operation, and no others: it is neither streamed nor kept."""
    for key in asked.body:
        if key not in _FIELDS:
            return Breach(f"Unknown parameter: '{key}'.", key, "unknown_parameter")
    return None


def own(asked: Asked) -> Breach | None:
    """What was compacted is read by who compacted it; the order to compact comes last."""
    found = items(asked)
    for number, item in enumerate(found):
        kind = item.get("type") if isinstance(item, dict) else None
        at = f"input[{number}]"
        if kind == "compaction":
            sealed = item.get("encrypted_content")
            if not isinstance(sealed, str) or asked.opens(sealed) is None:
                return Breach(f"The encrypted content for item {item.get('id')} could not be verified. Reason: "
                              "Encrypted content could not be decrypted.", "input",
                              "invalid_encrypted_content")  # fmt: skip
        if kind == "compaction_trigger" and number + 1 < len(found):
            return Breach(f"Invalid '{at}': a compaction_trigger must be the last item.", at, "invalid_value")
    return None


def is_ordered(body: Mapping[str, Any]) -> bool:
    """Whether an ordinary request ends with the order to compact."""
    given = body.get("input")
    last = given[-1] if isinstance(given, list) and given else None
    return isinstance(last, dict) and last.get("type") == "compaction_trigger"


def item(body: Mapping[str, Any], tail: str, seal: Callable[[str], str]) -> dict[str, Any]:
    """What stands for a conversation."""
    told = json.dumps({"items": len(body["input"]) if isinstance(body["input"], list) else 1})
    return {"id": f"cmp_{tail}", "type": "compaction", "encrypted_content": seal(told)}


def answer(body: Mapping[str, Any], tail: str, seal: Callable[[str], str], tokens: int, now: float) -> dict[str, Any]:
    """The whole answer: the messages of the user, and behind them what stands for the rest."""
    given = body["input"]
    listed = [{"role": "user", "content": given}] if isinstance(given, str) else given
    users = [one for one in listed if isinstance(one, dict) and one.get("role") == "user"]
    kept = [
        {"id": f"msg_{tail}{number}", "type": "message", "status": "completed", "role": "user",
         "content": [{"type": "input_text", "text": one["content"]}] if isinstance(one["content"], str)
         else one["content"]}
        for number, one in enumerate(users)
    ]  # fmt: skip
    return {
        "id": f"resp_{tail}", "object": "response.compaction", "created_at": int(now),
        "output": [*kept, item(body, tail, seal)],
        "usage": {
            "input_tokens": tokens, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": tokens + 20,
        },
    }  # fmt: skip


COMPACTING: tuple[Rule, ...] = (known,)
