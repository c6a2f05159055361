"""By which words a refusal, or a warning, is known to be about a feature.

Owns those words: the fields that ask for it, the kinds of its parts, and what people call its area.
"""

from collections.abc import Iterator
from typing import Any, Final

from hermes_router.conformance.feature import Feature

_TURNS: Final = frozenset({"messages", "input"})
_EVERYWHERE: Final = frozenset(
    {
        "role", "content", "type", "text", "id", "name", "user", "assistant", "system", "function", "properties",
        "object", "string", "required", "additionalProperties", "city", "description", "input_text", "output_text",
        "message", "data", "auto", "low", "url", "schema", "parameters",
    }
)  # fmt: skip

_PART: Final = "content[].type"  # what is said of a part of any kind that is not taken

_CALLED: Final = {
    "turns": ("role", "turn", "assistant", "prefill", "content", "messages", "input"),
    "system": ("system", "role", "developer"),
    "images": ("image", _PART, "vision", "multimodal", "mmproj"),
    "files": ("file", _PART, "document", "pdf"),
    "audio": ("audio", _PART, "modalit", "sound"),
    "video": (
        "video",
        _PART,
    ),
    "thoughts": ("thinking", "reasoning", "signature", "encrypted"),
    "tools": ("tool", "function"),
    "choice": ("tool", "function"),
    "calls": ("tool", "call", "function", "arguments"),
    "results": ("tool", _PART, "result", "image", "document", "file", "pdf"),
    "shape": ("json", "format", "grammar", "schema"),
    "thinking": ("thinking", "reasoning", "effort", "budget"),
    "cache": ("cache",),
    "length": ("max_tokens", "token", "stop"),
    "sampling": ("sampling",),
    "state": ("store", "stored"),
}


def fields(feature: Feature, dialect: str) -> set[str]:
    """The words of the dialect itself: fields, and the kinds of parts and tools."""
    found: set[str] = set()
    for name, value in feature.asks[dialect].items():
        if name not in _TURNS:
            found.add(name)
        found.update(_words(value))
    return found - _EVERYWHERE


def terms(feature: Feature, dialect: str) -> set[str]:
    """Those, and what people call its area."""
    return fields(feature, dialect) | set(_CALLED.get(feature.id.partition(".")[0], ()))


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _words(one)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            if name == "type" and isinstance(inner, str):
                yield inner
            yield from _words(inner)
