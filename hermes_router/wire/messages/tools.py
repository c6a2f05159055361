"""Tools and the choice among them, in the Messages dialect.

Owns definitions, whose schema must be an object at its root, free-text tools as functions of one string, and what
becomes of tools that somebody else would run (facts: providers.md 12.4, 12.5). It must never know a provider.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hermes_router.core.catalog import Quirk
from hermes_router.core.content import Choice, Conversation, Tool
from hermes_router.core.errors import Inexpressible
from hermes_router.wire.messages.media import own_keys
from hermes_router.wire.messages.parts import DIALECT
from hermes_router.wire.messages.rules import NEED_BETAS_IN_TOOLS, Notes, Rules
from hermes_router.wire.quirks import schema as schemas

__all__ = ["FREE_TEXT", "choice_of", "definitions"]

FREE_TEXT: Final = "input"
"""The one field of a function that stands for a tool of free text."""
_UNIONS: Final = ("anyOf", "oneOf", "allOf")
_CLEANERS: Final[Mapping[Quirk, Callable[[Any], Any]]] = {
    Quirk.CLEAN_SCHEMA_KIMI: schemas.kimi,
    Quirk.CLEAN_SCHEMA_BASIC: schemas.basic,
}


def definitions(conversation: Conversation, rules: Rules, notes: Notes) -> list[dict[str, Any]]:
    """The tools to send. Raises Inexpressible where the choice is a tool that cannot be sent."""
    choice = conversation.choice
    wanted = frozenset(choice.names) if choice is not None else frozenset()
    if Quirk.TOOL_CHOICE_AUTO_ONLY in rules.quirks and choice is not None and choice.mode == "none":
        if conversation.tools:
            notes.warn("approx", "tool_choice")
        return []
    subset = wanted if choice is not None and choice.mode != "tool" else frozenset()
    out: dict[str, dict[str, Any]] = {}
    for tool in conversation.tools:
        if not tool.name or tool.name in out:
            notes.warn("dropped", f"tools.{tool.name}" if tool.name else "tools.unnamed")
        elif subset and tool.name not in subset:
            notes.warn("approx", "tool_choice")
        else:
            out[tool.name] = _definition(tool, rules, notes)
    for name, value in _hosted(conversation.hosted, rules, notes):
        out.setdefault(name, value)
    if choice is not None and choice.mode == "tool" and not wanted <= set(out):
        raise Inexpressible("the tool that must be called cannot be offered", param="tool_choice")
    if choice is not None and choice.mode == "required" and conversation.hosted and not out:
        raise Inexpressible("a tool must be called, and none can be offered", param="tool_choice")
    return list(out.values())


def _hosted(hosted: Iterable[tuple[str, Any]], rules: Rules, notes: Notes) -> Iterable[tuple[str, dict[str, Any]]]:
    for dialect, tool in hosted:
        kind = str(tool.get("type")) if isinstance(tool, dict) else ""
        if dialect == DIALECT and rules.hosted and isinstance(tool, dict):
            yield str(tool.get("name") or kind), tool
        else:
            notes.warn("dropped", f"tools.{kind}")


def _definition(tool: Tool, rules: Rules, notes: Notes) -> dict[str, Any]:
    out: dict[str, Any] = {"name": tool.name}
    if tool.description:
        out["description"] = tool.description
    if tool.custom:
        notes.warn("approx", "tools.custom")
        out["input_schema"] = _free_text(tool)
    else:
        schema = _rooted(tool.schema, notes)
        for quirk, clean in _CLEANERS.items():
            if quirk in rules.quirks:
                schema = clean(schema)
        out["input_schema"] = schema
    if tool.strict is not None:
        if Quirk.DROP_STRICT not in rules.quirks:
            out["strict"] = tool.strict
        elif tool.strict:
            notes.warn("dropped", "tools.strict")
    own = own_keys(tool.extras)
    if own.get("input_examples") and not rules.betas:
        notes.warn("dropped", "tools.input_examples")
    out.update((key, own[key]) for key in own if rules.betas or key not in NEED_BETAS_IN_TOOLS)
    return out


def _free_text(tool: Tool) -> dict[str, Any]:
    """One string; a grammar becomes part of what is said of it, since it cannot bind here (12.4)."""
    field = {"type": "string"}
    for own in tool.extras.values():
        shape = own.get("format") if isinstance(own, dict) else None
        inner = shape.get("grammar", shape) if isinstance(shape, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("definition"), str):
            field["description"] = (
                f"Free text that follows this grammar ({inner.get('syntax')}):\n{inner['definition']}"
            )
    return {"type": "object", "properties": {FREE_TEXT: field}, "required": [FREE_TEXT]}


def _rooted(schema: Mapping[str, Any] | None, notes: Notes) -> dict[str, Any]:
    """A schema whose root is an object with nothing to choose from, as the dialect demands."""
    if schema is None:
        return {"type": "object", "properties": {}}
    if schema.get("type") == "object" and not any(key in schema for key in _UNIONS):
        return dict(schema)
    out = {key: value for key, value in schema.items() if key not in _UNIONS}
    variants = [each for key in _UNIONS for each in _dicts(schema.get(key))]
    if variants:
        fields: dict[str, Any] = {}
        for variant in variants:
            inner = variant.get("properties")
            if isinstance(inner, dict):
                fields.update((key, value) for key, value in inner.items() if key not in fields)
        own = out.get("properties")
        out["properties"] = {**fields, **(own if isinstance(own, dict) else {})}
        notes.warn("approx", "tools.input_schema")
    out["type"] = "object"
    return out


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def choice_of(
    choice: Choice | None, parallel: bool | None, rules: Rules, notes: Notes, *, tools: bool
) -> dict[str, Any] | None:
    """The choice to send, None for none: without tools it is refused everywhere (12.5)."""
    mode = choice.mode if choice is not None else None
    if not tools:
        if mode in ("required", "tool"):
            notes.warn("dropped", "tool_choice")
        return None
    if mode in ("required", "tool") and Quirk.TOOL_CHOICE_AUTO_ONLY in rules.quirks:
        notes.warn("approx", "tool_choice")
        mode = "auto"
    match mode:
        case "none":
            return {"type": "none"}
        case "required":
            out: dict[str, Any] = {"type": "any"}
        case "tool":
            out = {"type": "tool", "name": choice.names[0] if choice is not None and choice.names else ""}
        case "auto":
            out = {"type": "auto"}
        case _:
            if parallel is not False:
                return None
            out = {"type": "auto"}
    if parallel is not None:
        out["disable_parallel_tool_use"] = not parallel
    return out
