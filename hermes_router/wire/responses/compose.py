"""Neutral content as a Responses request for one target.

Owns `compose` (facts: providers.md 12.2-12.9, 12.13): tools, wishes and parameters as Responses spells them, nothing
kept by the provider, and what a target cannot be told said or refused. It must never know a provider: rows say what
they take.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from hermes_router.core.catalog import Quirk, TargetFacts
from hermes_router.core.content import Choice, Conversation, Text, Tool
from hermes_router.core.errors import BadRequest, Inexpressible
from hermes_router.wire.chat.fields import effort_of_budget, not_offered, response_format, unsaid_of
from hermes_router.wire.chat.outgoing import Options, Recall, Recipe, Rendered, recipe_for
from hermes_router.wire.pairing import pair
from hermes_router.wire.quirks.parameters import NEUTRAL, SILENT
from hermes_router.wire.responses.codex import shape
from hermes_router.wire.responses.content import DIALECT
from hermes_router.wire.responses.history import History
from hermes_router.wire.responses.parameters import ENCRYPTED, fit, reasons, spelled, taken

__all__ = ["compose"]

_ENCODE: Final = msgspec.json.Encoder().encode
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CHAT: Final = "openai_chat"
_NO_SCHEMA: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}
_FREE_TEXT: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}
_UNSAID: Final = frozenset({"stop", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "top_k"})
"""Parameters that Responses has no word for: they only tune the answer (12.8)."""
_MEANING: Final = {"n": 1, "logprobs": False}
"""Those whose loss would change it, and the value that asks for nothing."""
_LONGEST: Final = 64  # characters of an id of the user or of the conversation; of a longer one its digest is sent
_STATE: Final = frozenset({"container", "mcp_servers"})
_QUIET: Final = SILENT | {"cache_control", "thinking", "output_config", "betas"}
_HINTS: Final = frozenset({"truncation"})
"""Fields that ask for nothing that could be missed."""
_NOTHING: Final[tuple[Any, ...]] = (None, [], {}, "")
_OURS: Final = frozenset({"reasoning", "include", "store", "tool_choice", "top_logprobs", "previous_response_id"})


def compose(conversation: Conversation, facts: TargetFacts, options: Options, recall: Recall) -> Rendered:
    """The whole body. Raises Inexpressible, and BadRequest where values cannot be sent on at all."""
    codex = Quirk.CODEX_BODY in facts.quirks
    if codex:
        conversation, renamed = _named(conversation)
    writer = _Writer(conversation, facts, options, recall)
    headers: tuple[tuple[str, str], ...] = ()
    straight = True
    try:
        fields = writer.fields()
        if codex:
            fields, headers, straight = shape(fields, conversation, facts, writer.draft)
            straight = straight and not renamed
        encoded = [b',"%b":%b' % (key.encode(), _ENCODE(value)) for key, value in fields.items()]
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        raise BadRequest("the request holds values that cannot be sent on") from error
    head = writer.recipe.bare_stream_head if options.stream or codex else writer.recipe.plain_head
    body = b"".join((head, *encoded, b"}"))
    return Rendered(body, tuple(writer.draft.notes), writer.draft.altered, fields.get(_CAP), headers, straight)


def _named(conversation: Conversation) -> tuple[Conversation, bool]:
    """The conversation with names of tools that are taken, and whether any is not the caller's own."""
    tools = tuple(
        tool._replace(plain_name="") if tool.plain_name and not _NAME.fullmatch(tool.plain_name) else tool
        for tool in conversation.tools
    )
    return conversation._replace(tools=tools), tools != conversation.tools


_CAP: Final = "max_output_tokens"


class _Writer:
    """One request on its way to one target."""

    def __init__(self, conversation: Conversation, facts: TargetFacts, options: Options, recall: Recall) -> None:
        self.said = conversation
        self.own = conversation.extras.get(DIALECT, {})
        self.facts = facts
        self.options = options
        self.recall = recall
        self.recipe: Recipe = recipe_for(facts)
        self.plain = Quirk.NATIVE_RESPONSES not in facts.quirks
        self.draft, self.cap = fit(
            _parameters(conversation),
            self.recipe,
            options,
            conversation.max_output_tokens,
            has_tools=bool(conversation.tools)
            or (not self.plain and any(dialect == DIALECT for dialect, _ in conversation.hosted)),
        )

    def fields(self) -> dict[str, Any]:
        """All fields but `model` and `stream`."""
        self._admit()
        said, draft = self.said, self.draft
        for warning in said.warnings:
            if self.plain or warning.what not in self.own:
                draft.warn(warning.code, warning.what)
        turns, repaired = pair(said.turns)
        for notice in repaired:
            draft.warn(notice.code, notice.what)
        out: dict[str, Any] = {}
        first: list[dict[str, Any]] = []
        instructions = self._system(first)
        if instructions:
            out["instructions"] = instructions
        history = History(draft, said.tools, self.facts.maker, self.options, self.recall, plain=self.plain)
        out["input"] = [self._with_role(item) for item in (*first, *history.items(turns))]
        tools = self._tools()
        if tools:
            out["tools"] = tools
        self._choice(out, any_tools=bool(tools))
        if self.cap is not None:
            out[_CAP] = self.cap
        out["store"] = False
        if said.parameters.get("store") is True:
            draft.warn("dropped", "store", altered=False)
        out |= spelled(draft.params)
        if self.plain:
            self._say_lost()
        else:
            self._own_fields(out)
        return out

    def _admit(self) -> None:
        """Refuse what would change the meaning if it were left out; say what only tunes it."""
        for key, neutral in _MEANING.items():
            if self.said.parameters.get(key, neutral) not in (neutral, None):
                raise Inexpressible(f"{key} cannot be asked for in Responses", param=key)
        for key in _UNSAID:
            value = self.said.parameters.get(key)
            if value is not None and value not in NEUTRAL.get(key, ()):
                self.draft.warn("dropped", key)
        for dialect, extras in self.said.extras.items():
            if dialect != DIALECT:
                self._foreign(extras)

    def _foreign(self, extras: Mapping[str, Any]) -> None:
        for key, value in extras.items():
            if (key in _STATE and value) or (key == "modalities" and isinstance(value, list) and "audio" in value):
                raise Inexpressible(f"{key} cannot be asked for in Responses", param=key)
            if key not in _QUIET and not key.startswith("\0") and value not in NEUTRAL.get(key, ()):
                self.draft.warn("dropped", key)

    # -- system text -----------------------------------------------------------------------------------

    def _system(self, first: list[dict[str, Any]]) -> str:
        """The first block is the instructions, the others a message behind them, unless the row wants one text."""
        blocks = [block for block in self.said.system if block.text]
        if self.draft.instruction:
            blocks.append(Text(self.draft.instruction))
        if not blocks:
            return ""
        if self.plain or Quirk.MERGE_SYSTEM in self.facts.quirks:
            return "\n\n".join(block.text for block in blocks)
        if len(blocks) > 1:
            content = [{"type": "input_text", "text": each.text, **each.extras.get(DIALECT, {})} for each in blocks[1:]]
            first.append({"type": "message", "role": "developer", "content": content})
        return blocks[0].text

    def _with_role(self, item: dict[str, Any]) -> dict[str, Any]:
        if item.get("role") == "developer" and Quirk.DEVELOPER_TO_SYSTEM in self.facts.quirks:
            return {**item, "role": "system"}
        return item

    # -- tools -----------------------------------------------------------------------------------------

    def _tools(self) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        groups: dict[str, dict[str, Any]] = {}
        names: set[str] = set()
        for tool in self._offered():
            if tool.name in names:
                self.draft.warn("dropped", "tools.duplicate")
                continue
            names.add(tool.name)
            written = self._tool(tool)
            if self.plain or not tool.namespace:
                out.append(written)
                continue
            group = groups.get(tool.namespace)
            if group is None:
                group = {"type": "namespace", "name": tool.namespace, "description": "", "tools": []}
                groups[tool.namespace] = group
                out.append(group)
            group["description"] = group["description"] or tool.extras.get(DIALECT, {}).get("note", "")
            group["tools"].append(written)
        for dialect, hosted in self.said.hosted:
            if dialect == DIALECT and not self.plain:
                out.append(hosted)
            else:
                kind = hosted.get("type") if isinstance(hosted, dict) else None
                self.draft.warn("dropped", kind if isinstance(kind, str) else "hosted_tool")
        return out

    def _offered(self) -> Sequence[Tool]:
        """The tools; where a subset cannot be named, only those that may be called."""
        choice = self.said.choice
        if choice is None or choice.mode == "tool" or not choice.names or not self.plain:
            return self.said.tools
        self.draft.warn("approx", "tool_choice")
        return [tool for tool in self.said.tools if tool.name in choice.names]

    def _tool(self, tool: Tool) -> dict[str, Any]:
        own = tool.extras.get(DIALECT)
        native = not self.plain
        for what in unsaid_of(tool):
            self.draft.warn("dropped", what)
        name = (tool.plain_name if native else "") or tool.name
        if own is None and not _NAME.fullmatch(name):
            raise Inexpressible(f"the tool name {name[:80]} is too long or has other characters", param="tools")
        description = own["description"] if native and own and "note" in own else tool.description
        written: dict[str, Any] = {"type": "custom" if tool.custom and native else "function", "name": name}
        if description:
            written["description"] = description
        if tool.custom:
            self._custom(tool, written)
        else:
            written["parameters"] = (
                tool.schema if tool.schema is not None or (own is not None and native) else _NO_SCHEMA
            )
            if tool.strict is not None or own is None or not native:
                written["strict"] = bool(tool.strict)  # where nothing is said, Responses tries to be strict (12.4)
        if native and own:
            written |= {key: value for key, value in own.items() if key not in ("note", "description")}
        return written

    def _custom(self, tool: Tool, written: dict[str, Any]) -> None:
        if self.plain:
            if any("format" in extras for extras in tool.extras.values()):
                self.draft.warn("approx", "tools.format")  # the grammar is lost
            written["parameters"], written["strict"] = _FREE_TEXT, False
            return
        wanted = tool.extras.get(_CHAT, {}).get("format")
        if isinstance(wanted, dict):
            grammar = wanted.get("grammar")  # nested in Chat, flat here
            written["format"] = {"type": "grammar", **grammar} if isinstance(grammar, dict) else wanted

    def _choice(self, out: dict[str, Any], *, any_tools: bool) -> None:
        choice = self.said.choice
        if choice is None:
            return
        if choice.mode == "tool":
            out["tool_choice"] = self._demand(choice.names[0] if choice.names else "")
        elif not any_tools:  # a choice without tools is a 400 (12.5)
            if choice.mode == "required":
                self.draft.warn("dropped", "tool_choice")
        elif choice.names and not self.plain:
            out["tool_choice"] = {
                "type": "allowed_tools",
                "mode": "required" if choice.mode == "required" else "auto",
                "tools": list(self._allowed(choice)),
            }
        else:
            out["tool_choice"] = choice.mode

    def _demand(self, name: str) -> dict[str, Any]:
        found = next((tool for tool in self.said.tools if tool.name == name), None)
        if found is not None:
            return self._named(found)
        demanded = self.own.get("tool_choice")
        if not isinstance(demanded, dict) or self.plain:
            raise not_offered(name, self.said)
        return demanded

    def _named(self, tool: Tool) -> dict[str, Any]:
        if self.plain:
            return {"type": "function", "name": tool.name}
        return {"type": "custom" if tool.custom else "function", "name": tool.plain_name or tool.name}

    def _allowed(self, choice: Choice) -> Iterator[dict[str, Any]]:
        known = {tool.name: tool for tool in self.said.tools}
        for name in choice.names:
            yield self._named(known[name]) if name in known else {"type": name}

    # -- the rest --------------------------------------------------------------------------------------

    def _say_lost(self) -> None:
        """Fields of the caller's that a request which is written anew for a plain server cannot carry."""
        for key, value in self.own.items():
            if key not in _OURS | _HINTS | SILENT and value not in _NOTHING:
                self.draft.warn("dropped", key)

    def _own_fields(self, out: dict[str, Any]) -> None:
        """What only Responses has, from a caller that speaks it; thoughts are asked for in sealed form."""
        refused = self.draft.refused
        out |= {key: value for key, value in self.own.items() if key not in _OURS and key not in refused}
        reasoning = self.own.get("reasoning")
        if reasoning and taken("reasoning_effort", self.recipe, refused):
            out["reasoning"] = {**reasoning, **out.get("reasoning", {})}
        if self.own.get("top_logprobs") and "top_logprobs" not in refused:
            out["top_logprobs"] = self.own["top_logprobs"]
        include = list(self.own.get("include") or ())
        if ENCRYPTED in include and not taken("reasoning_effort", self.recipe, refused):
            include.remove(ENCRYPTED)
        elif ENCRYPTED not in include and reasons(self.facts):
            include.append(ENCRYPTED)
        if include and "include" not in refused:
            out["include"] = include


def _parameters(conversation: Conversation) -> dict[str, Any]:
    """What Responses has a word for, by its neutral name."""
    params = {
        key: value
        for key, value in conversation.parameters.items()
        if key not in _UNSAID and key not in _MEANING and key not in ("store", "top_logprobs") and value is not None
    }
    for key in ("user", "prompt_cache_key"):
        if isinstance(value := params.get(key), str) and len(value) > _LONGEST:
            params[key] = hashlib.blake2b(value.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    effort = conversation.effort
    if effort is None and conversation.thinking_tokens is not None:
        effort = effort_of_budget(conversation.thinking_tokens)
    if effort is not None:
        params["reasoning_effort"] = effort
    if conversation.format is not None:
        params["response_format"] = response_format(conversation.format)
    if conversation.parallel is not None:
        params["parallel_tool_calls"] = conversation.parallel
    return params
