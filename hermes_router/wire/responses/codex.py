"""A Responses request in the shapes that the backends of a ChatGPT plan take.

Owns the last step of `responses_compose` for rows with `codex_body` (facts: codex.md 6.2, 6.3, 10): what may be said at
all, where tools and instructions stand, ids and roles, and the headers that go with a conversation. One parameter that
is refused hides the next, so everything is left out that is not known to be taken. It must never know an account, nor
choose a shape by a model's name: the list of models says which it is (`Quirk.RESPONSES_LITE`).
"""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from hermes_router.core.catalog import Quirk, TargetFacts
from hermes_router.core.content import Conversation, Text
from hermes_router.core.errors import Inexpressible
from hermes_router.wire.quirks.draft import Draft
from hermes_router.wire.quirks.parameters import NEUTRAL, SILENT
from hermes_router.wire.responses.tools import PLAIN_NAMESPACE

__all__ = ["Shaped", "shape"]

Item = dict[str, Any]

_FIELDS: Final = frozenset({
    "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "store", "include",
    "prompt_cache_key", "text", "service_tier", "client_metadata",
})  # fmt: skip
"""All that goes out beside `model` and `stream`."""
_NEEDED: Final = frozenset({"input", "store", "instructions", "tools"})
_HOSTED: Final = frozenset({"web_search"})  # what it runs for others than its own client; plan and model decide
_CALLS: Final = frozenset({"function_call", "custom_tool_call"})
_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_",
}  # fmt: skip
_ID_MAX: Final = 64
_EFFORTS: Final[Mapping[str, str | None]] = {"none": None, "minimal": "low", "ultra": "max"}
"""Words that no model of theirs takes, and what is meant by them; None = nothing is sent."""
_DEFAULT: Final = "You are a helpful assistant."  # a request without instructions was refused (6.2)
_GROUP_NOTE: Final = "Tools that the caller runs."
_LITE_HEADER: Final = "x-openai-internal-codex-responses-lite"


class Shaped(NamedTuple):
    """The fields that go out, the headers beside those of the row, and whether the answer needs no other names."""

    fields: dict[str, Any]
    headers: tuple[tuple[str, str], ...]
    straight: bool


def shape(fields: Mapping[str, Any], said: Conversation, facts: TargetFacts, draft: Draft) -> Shaped:
    """Fit composed fields to the target. Raises Inexpressible where a tool is demanded that nobody would run."""
    grouped = Quirk.GROUPED_TOOLS in facts.quirks
    lite = Quirk.RESPONSES_LITE in facts.quirks and not grouped
    out = _allowed(fields, draft)
    out["store"] = False
    out["include"] = ["reasoning.encrypted_content"]
    out["prompt_cache_key"] = key = _conversation_key(out.get("prompt_cache_key"), said)
    _reasoning(out, said, draft, lite=lite)
    tools = _tools(out, draft)
    if lite:
        tools = _choice_in_words(out, tools, draft)
    items = [_item(item, plain=lite) for item in out["input"]]
    straight = True
    if lite or grouped:
        tools, bare = _grouped(tools)
        straight = not bare
        items = [_in_group(item) for item in items]
    if lite:
        out["parallel_tool_calls"] = False
        first: list[Item] = [{"type": "additional_tools", "role": "developer", "tools": tools}] if tools else []
        instructions = out.pop("instructions", "")
        if instructions:
            content = [{"type": "input_text", "text": instructions}]
            first.append({"type": "message", "role": "developer", "content": content})
        items = [*first, *items]
        out["tool_choice"] = "auto"
        out.pop("tools", None)
    else:
        out["instructions"] = out.get("instructions") or _DEFAULT
        if tools:
            out["tools"] = tools
        else:
            out.pop("tools", None)
            out.pop("tool_choice", None)
            out.pop("parallel_tool_calls", None)
    out["input"] = items
    for name in draft.refused & (out.keys() - _NEEDED):
        del out[name]
    return Shaped(out, _headers(key, lite=lite, grouped=grouped), straight)


def _allowed(fields: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
    """What may go out at all; what tunes the answer and may not is said."""
    out: dict[str, Any] = {}
    for key, value in fields.items():
        if key not in _FIELDS:
            if key == "max_output_tokens":
                draft.warn("approx", key, altered=False)  # the answer is cut here instead (engine/exchange.py)
            elif key not in SILENT and key not in ("metadata", "truncation") and value not in NEUTRAL.get(key, ()):
                draft.warn("dropped", key)
        elif key == "service_tier":
            if value == "priority":
                out[key] = value
        elif key == "client_metadata":
            if isinstance(value, dict) and all(isinstance(word, str) for pair in value.items() for word in pair):
                out[key] = value
        else:
            out[key] = value
    return out


def _conversation_key(own: Any, said: Conversation) -> str:
    """What stays the same through a conversation: the caller's word, else a digest of how it began."""
    if isinstance(own, str) and own:
        return own[:_ID_MAX]
    digest = hashlib.blake2b(digest_size=16)
    first = next((turn for turn in said.turns if turn.role == "user"), None)
    for part in (*said.system, *(first.parts if first is not None else ())):
        if isinstance(part, Text):
            digest.update(part.text.encode(errors="surrogatepass"))
        digest.update(b"\0")
    return str(uuid.UUID(bytes=digest.digest(), version=5))


def _headers(key: str, *, lite: bool, grouped: bool) -> tuple[tuple[str, str], ...]:
    found = [("accept", "text/event-stream")]
    if not grouped:
        thread = str(uuid.UUID(bytes=hashlib.blake2b(key.encode(errors="replace"), digest_size=16).digest(), version=5))
        found += [("session-id", thread), ("thread-id", thread)]
    if lite:
        found.append((_LITE_HEADER, "true"))
    return tuple(found)


def _reasoning(out: dict[str, Any], said: Conversation, draft: Draft, *, lite: bool) -> None:
    own = out.get("reasoning")
    words: Item = {key: own[key] for key in ("effort", "summary") if own.get(key) is not None} if own else {}
    effort = words.get("effort")
    if isinstance(effort, str) and effort in _EFFORTS:
        draft.warn("approx", "reasoning_effort")
        meant = _EFFORTS[effort]
        del words["effort"]
        if meant is not None:
            words["effort"] = meant
    thinks = said.adaptive or bool(said.thinking_tokens) or said.effort not in (None, "none")
    if thinks and "summary" not in words and "reasoning" not in said.extras.get("openai_responses", {}):
        words["summary"] = "auto"  # the only form in which thoughts are shown; callers of Responses say so themselves
    if lite:
        words["context"] = "all_turns"
    if words:
        out["reasoning"] = words
    else:
        out.pop("reasoning", None)


# --- tools ------------------------------------------------------------------------------------------


def _tools(out: dict[str, Any], draft: Draft) -> list[Item]:
    """The tools that the caller runs, and of those of the provider the ones that it runs for others."""
    kept: list[Item] = []
    for tool in out.get("tools") or ():
        kind = tool.get("type")
        if kind == "namespace":
            inner = [one for one in tool["tools"] if one.get("type") in ("function", "custom")]
            if inner:
                kept.append({**tool, "tools": inner})
        elif kind in ("function", "custom") or kind in _HOSTED:
            kept.append(tool)
        else:
            draft.warn("dropped", kind if isinstance(kind, str) else "hosted_tool")
    choice = out.get("tool_choice")
    demanded = choice.get("type") if isinstance(choice, dict) else None
    if demanded not in (None, "function", "custom", "allowed_tools") and demanded not in _HOSTED:
        raise Inexpressible(f"the tool {str(demanded)[:40]} is not run by it", param="tool_choice")
    return kept


def _grouped(tools: Sequence[Item]) -> tuple[list[Item], bool]:
    """All plain tools in one namespace, the caller's own namespaces behind it; whether there was a plain one."""
    plain = [tool for tool in tools if tool["type"] in ("function", "custom")]
    others = [tool for tool in tools if tool["type"] not in ("function", "custom")]
    own = next((one for one in others if one["type"] == "namespace" and one["name"] == PLAIN_NAMESPACE), None)
    if not plain:
        return [_described(one) for one in others], False
    group: Item = {"type": "namespace", "name": PLAIN_NAMESPACE, "description": _GROUP_NOTE, "tools": plain}
    if own is not None:
        others.remove(own)
        group = {**own, "tools": [*own["tools"], *plain]}
    return [_described(one) for one in (group, *others)], True


def _described(tool: Item) -> Item:
    if tool["type"] == "namespace" and not tool.get("description"):
        return {**tool, "description": _GROUP_NOTE}
    return tool


def _in_group(item: Item) -> Item:
    """A call says which namespace its tool is of, as it did when it was made."""
    if item.get("type") in _CALLS and not item.get("namespace"):
        return {**item, "namespace": PLAIN_NAMESPACE}
    return item


def _choice_in_words(out: dict[str, Any], tools: list[Item], draft: Draft) -> list[Item]:
    """A choice other than `auto` is not taken: who may be called is offered, and who must be is told so."""
    choice = out.pop("tool_choice", "auto")
    if choice == "none":
        return []
    order = ""
    if isinstance(choice, dict):
        draft.warn("approx", "tool_choice")
        if choice.get("type") == "allowed_tools":
            names = {one.get("name") or one.get("type") for one in choice.get("tools") or ()}
            tools = _only(tools, names)
            order = "Call at least one of your tools in this turn." if choice.get("mode") == "required" else ""
        elif isinstance(choice.get("name"), str):
            order = f"Call the tool `{choice['name']}` in this turn, and do not answer in words."
        else:
            order = f"Use the tool `{choice.get('type')}` in this turn."
    elif choice == "required" and tools:
        draft.warn("approx", "tool_choice")
        order = "Call at least one of your tools in this turn, and do not answer in words."
    if order:
        # Last in the input, so that what is cached before it stays the same.
        out["input"] = [*out["input"], {"type": "message", "role": "developer", "content": order}]
    return tools


def _only(tools: Sequence[Item], names: set[Any]) -> list[Item]:
    kept: list[Item] = []
    for tool in tools:
        if tool["type"] == "namespace":
            inner = [one for one in tool["tools"] if one.get("name") in names]
            if inner:
                kept.append({**tool, "tools": inner})
        elif tool.get("name") in names or tool["type"] in names:
            kept.append(tool)
    return kept


# --- items ------------------------------------------------------------------------------------------


def _item(item: Item, *, plain: bool) -> Item:
    """An item as it is taken: no system role, no foreign ids, and in the lite shape (`plain`) no detail of images."""
    kind = item.get("type", "message")
    new = dict(item)
    if kind == "message" and item.get("role") == "system":
        new["role"] = "developer"
    found = item.get("id")
    if found is not None:
        prefix = _PREFIXES.get(kind)
        sound = isinstance(found, str) and len(found) <= _ID_MAX and (prefix is None or found.startswith(prefix))
        if not sound:
            del new["id"]
    for key in ("content", "output"):
        if isinstance(item.get(key), list):
            new[key] = [_part(part, plain=plain) for part in item[key]]
    return new


def _part(part: Any, *, plain: bool) -> Any:
    if not isinstance(part, dict):
        return part
    gone = {"prompt_cache_breakpoint"} | ({"detail"} if plain and part.get("type") == "input_image" else set())
    return {key: value for key, value in part.items() if key not in gone} if not gone.isdisjoint(part) else part
