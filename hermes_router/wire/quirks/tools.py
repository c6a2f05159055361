"""Quirks of the `tools` list and of `tool_choice`.

Owns what becomes of tool definitions on their way out (facts: providers.md 5, 12.4, 12.5; cases 9R-8). An agent sends
the same tools with every turn, so the result is remembered per row by `ToolPress`, whose owner is the row's recipe.
It must never know a provider.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from hermes_router.core.chat import Warning as Notice
from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat.seen_tools import seen_tools
from hermes_router.wire.quirks import schema
from hermes_router.wire.quirks.draft import Draft

Tool = dict[str, Any]

_TOOLS = msgspec.json.Decoder(list[dict[str, Any]])
_REMEMBERED = 8

ALWAYS = rb'custom"|web_search|name"\s*:\s*""|description"\s*:\s*null'
"""What no row takes, or only some do, as alternatives behind an opening quote."""


class ToolDraft(msgspec.Struct):
    """Tools on their way to one row. `strict_row`: only functions, with the four keys that everybody knows."""

    tools: list[Tool]
    strict_row: bool = False
    notes: list[Notice] = msgspec.field(default_factory=list)
    changed: bool = False

    def warn(self, code: str, what: str) -> None:
        """Say that something was not honoured."""
        if Notice(code, what) not in self.notes:
            self.notes.append(Notice(code, what))


class PressedTools(NamedTuple):
    """The outcome: `raw` is None where no tool is left. `dropped` are types and names that fell."""

    raw: Raw | None
    notes: tuple[Notice, ...]
    changed: bool
    dropped: frozenset[str]


ToolStep = Callable[[ToolDraft], None]


class ToolPress:
    """Applies one row's steps to tools, and remembers the last few results by their bytes."""

    def __init__(self, steps: tuple[ToolStep, ...], *, strict_row: bool) -> None:
        self._steps = steps
        self._strict_row = strict_row
        self._known: dict[bytes, PressedTools] = {}

    def press(self, raw: Raw) -> PressedTools:
        """Tools as this row takes them. Raises BadRequest where they are no list of objects."""
        seen = seen_tools(raw)
        key = seen.text if seen is not None else bytes(raw)
        found = self._known.pop(key, None)
        if found is None:
            found = self._pressed(raw)
            if len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
        self._known[key] = found
        return found

    def _pressed(self, raw: Raw) -> PressedTools:
        try:
            tools = _TOOLS.decode(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise BadRequest("tools must be a list of objects", param="tools") from error
        for index, tool in enumerate(tools):
            if not isinstance(tool.get("function", {}), dict):
                raise BadRequest(f"tools[{index}].function must be an object", param=f"tools[{index}].function")
        before = {_label(tool) for tool in tools}
        draft = ToolDraft(tools, self._strict_row)
        adapt(draft)
        for step in self._steps:
            step(draft)
        dropped = before - {_label(tool) for tool in draft.tools}
        encoded = (Raw(msgspec.json.encode(draft.tools)) if draft.changed else raw) if draft.tools else None
        return PressedTools(encoded, tuple(draft.notes), draft.changed, frozenset(dropped))


def _label(tool: Tool) -> str:
    kind = tool.get("type", "function")
    name = (tool.get("function") or {}).get("name") if kind == "function" else kind
    return name if isinstance(name, str) else ""


# --- definitions ------------------------------------------------------------------------------------


def adapt(draft: ToolDraft) -> None:
    """For every row: no nameless tools, no null descriptions; for strict rows functions only, without foreign keys."""
    out: list[Tool] = []
    for index, tool in enumerate(draft.tools):
        kind = tool.get("type")
        if "function" not in tool or kind not in (None, "function"):
            if not draft.strict_row:
                out.append(tool)
                continue
            draft.changed = True
            draft.warn("dropped", f"tools.{kind}" if isinstance(kind, str) else f"tools[{index}]")
            continue
        function: dict[str, Any] = tool["function"]
        if not isinstance(function.get("name"), str) or not function["name"]:
            draft.changed = True
            draft.warn("dropped", f"tools[{index}]")
            continue
        if "description" in function and function["description"] is None:
            del function["description"]
            draft.changed = True
        out.append(_strict_tool(draft, tool, function) if draft.strict_row else tool)
    draft.tools = out


def _strict_tool(draft: ToolDraft, tool: Tool, function: dict[str, Any]) -> Tool:
    kept = {key: function[key] for key in function if key in {"name", "description", "parameters", "strict"}}
    strict = {"type": "function", "function": kept}
    draft.changed = draft.changed or strict != tool
    return strict


def drop_strict(draft: ToolDraft) -> None:
    """`strict` on a tool is not taken."""
    for tool in draft.tools:
        function = tool.get("function")
        if isinstance(function, dict) and "strict" in function:
            if function.pop("strict"):
                draft.warn("dropped", "tools.strict")
            draft.changed = True


def uniform_strict(draft: ToolDraft) -> None:
    """`strict` is the same on all tools, so where they differ none is."""
    functions = [tool["function"] for tool in draft.tools if isinstance(tool.get("function"), dict)]
    if len({function.get("strict") is True for function in functions}) <= 1:
        return
    for function in functions:
        function.pop("strict", None)
    draft.changed = True
    draft.warn("approx", "tools.strict")


def clean_schema_gemini(draft: ToolDraft) -> None:
    """Parameters in the subset of OpenAPI that Gemini takes; none where no property is left."""
    _clean(draft, schema.gemini)


def clean_schema_basic(draft: ToolDraft) -> None:
    """Parameters without `$schema` and `additionalProperties`."""
    _clean(draft, schema.basic)


def clean_schema_kimi(draft: ToolDraft) -> None:
    """Parameters whose `$ref` stands alone and whose `enum` has a type."""
    _clean(draft, schema.kimi)


def _clean(draft: ToolDraft, clean: Callable[[Any], Any]) -> None:
    for tool in draft.tools:
        function = tool.get("function")
        if not isinstance(function, dict) or "parameters" not in function:
            continue
        cleaned = clean(function["parameters"])
        if cleaned == function["parameters"]:
            continue
        draft.changed = True
        if cleaned is None:
            del function["parameters"]
        else:
            function["parameters"] = cleaned


# --- the choice -------------------------------------------------------------------------------------


def legacy_tools(draft: Draft) -> None:
    """`functions` and the top-level `function_call` become tools and a choice (providers.md 12.2)."""
    functions, choice = draft.value("functions"), draft.value("function_call")
    draft.params.pop("functions", None)
    draft.params.pop("function_call", None)
    if functions is not None and not isinstance(functions, list):
        raise BadRequest("functions must be a list", param="functions")
    if functions and "tools" not in draft.params:
        draft.params["tools"] = Raw(msgspec.json.encode([{"type": "function", "function": each} for each in functions]))
    if choice is not None and "tool_choice" not in draft.params:
        draft.params["tool_choice"] = {"type": "function", "function": choice} if isinstance(choice, dict) else choice
    draft.warn("renamed", "functions")


def tool_choice_auto_only(draft: Draft) -> None:
    """Only `auto` is taken. `none` is honoured by sending no tools."""
    choice = draft.value("tool_choice")
    if choice in ("auto", None):
        return
    if choice == "none":
        draft.has_tools = False
        draft.params.pop("tools", None)
        del draft.params["tool_choice"]
    else:
        draft.params["tool_choice"] = "auto"
    draft.warn("approx", "tool_choice")


def tool_choice_any(draft: Draft) -> None:
    """`required` is spelled `any` (Mistral, 12.5)."""
    if draft.value("tool_choice") == "required":
        draft.params["tool_choice"] = "any"


def chosen_tools(draft: Draft, pressed: PressedTools, *, only_allowed: bool) -> Raw | None:
    """The tools to send, once `tool_choice` is fitted to what is left of them.

    `only_allowed` = the row does not understand a choice of some of them.
    """
    raw = pressed.raw
    choice = draft.value("tool_choice")
    if isinstance(choice, dict):
        kind = choice.get("type")
        wanted = choice.get("function") if kind == "function" else None
        name = wanted.get("name") if isinstance(wanted, dict) else kind
        if isinstance(name, str) and name in pressed.dropped:
            raise BadRequest(f"tool_choice asks for {name}, which cannot be offered", param="tool_choice")
        if kind == "allowed_tools" and only_allowed and raw is not None:
            raw = _only_allowed(draft, choice, raw)
    return raw


def _only_allowed(draft: Draft, choice: dict[str, Any], raw: Raw) -> Raw:
    """A subset of the tools is said by sending only these."""
    allowed = choice.get("allowed_tools")
    allowed = allowed if isinstance(allowed, dict) else {}
    listed = allowed.get("tools")
    entries = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    names = {_label(each) for each in entries if isinstance(each.get("function"), dict | None)}
    tools = [tool for tool in _TOOLS.decode(raw) if _label(tool) in names]
    draft.params["tool_choice"] = allowed.get("mode") if allowed.get("mode") in ("auto", "required") else "auto"
    draft.warn("approx", "tool_choice")
    return Raw(msgspec.json.encode(tools)) if tools else raw
