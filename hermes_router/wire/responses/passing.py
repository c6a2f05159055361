"""A Responses request to a target that is asked in Responses: the caller's own fields, fitted.

Owns `pass_on`: fields that we do not know survive, and what needs no change goes out as slices of the caller's own.
Nothing is kept by the provider unless the caller says so, and no thought goes to a model that did not make it (facts:
providers.md 12.8, 12.9; codex.md 6.2). It must never know a provider: rows say what they take.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw

from hermes_router.core.catalog import Quirk, TargetFacts
from hermes_router.core.content import Seal
from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat.outgoing import Options, Recall, Recipe, Rendered, recipe_for
from hermes_router.wire.fields import decode
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.quirks.draft import Draft
from hermes_router.wire.quirks.parameters import is_silent
from hermes_router.wire.responses.compact import as_compact
from hermes_router.wire.responses.compose import compose
from hermes_router.wire.responses.content import DIALECT, read
from hermes_router.wire.responses.history import goes_back, stays_with_its_maker
from hermes_router.wire.responses.items import CALLS, OUTPUTS, is_assistants
from hermes_router.wire.responses.parameters import ENCRYPTED, fit, reasons, taken
from hermes_router.wire.responses.tools import toolset
from hermes_router.wire.seals import unwrap

__all__ = ["pass_on"]

_ENCODE: Final = msgspec.json.Encoder().encode
_RAWS: Final = msgspec.json.Decoder(list[Raw])
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_SEALED: Final = re.compile(rb'"(?:reasoning|compaction)"')
_TRIGGER: Final = re.compile(rb'"compaction_trigger"')
_CUSTOM: Final = re.compile(rb'"(?:custom_tool_call|namespace)"')
_PAIRS: Final = re.compile(rb'"(?:function|custom_tool)_call(?:_output)?"')
_SIMPLE: Final = (
    "temperature", "top_p", "parallel_tool_calls", "user", "service_tier", "metadata", "prompt_cache_key",
    "safety_identifier",
)  # fmt: skip
_OURS: Final = frozenset({"model", "stream", "max_output_tokens", "store"})


class _Head(msgspec.Struct, gc=False):
    """What of an item decides where it goes. It was checked when the request was parsed."""

    type: Any = None
    role: Any = None
    id: Any = None
    call_id: Any = None
    name: Any = None
    encrypted_content: Any = None
    content: Raw = Raw(b"")
    output: Raw = Raw(b"")


_HEADS: Final = msgspec.json.Decoder(list[_Head])
_OBJECT, _LIST = ord("{"), ord("[")


def pass_on(inbound: Inbound, facts: TargetFacts, options: Options, recall: Recall) -> Rendered:
    """The whole body. Raises BadRequest where values cannot be sent on, Inexpressible where a target has no word."""
    rendered = _fitted(inbound, facts, options, recall)
    if inbound.operation == "compact":
        return as_compact(rendered, facts)
    if inbound.request.compaction and _TRIGGER.search(inbound.fields["input"]):
        return rendered._replace(straight=True)  # what comes is no call, and only as it comes
    return rendered


def _fitted(inbound: Inbound, facts: TargetFacts, options: Options, recall: Recall) -> Rendered:
    if Quirk.CODEX_BODY in facts.quirks:
        said = read(inbound)
        own = {"reasoning": {}, **said.extras.get(DIALECT, {})}  # how it is to be thought, the caller says here
        return compose(said._replace(extras={**said.extras, DIALECT: own}), facts, options, recall)
    items = _Items(inbound.fields["input"])
    if Quirk.NATIVE_RESPONSES not in facts.quirks and _is_rich(inbound.fields, items):
        return compose(read(inbound), facts, options, recall)._replace(straight=False)
    if not _is_paired(items):  # refused everywhere, with each later turn (contract.md, Errors)
        return compose(read(inbound), facts, options, recall)
    passing = _Passing(inbound, items, facts, options, recall)
    try:
        return passing.run()
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        raise BadRequest("the request holds values that cannot be sent on") from error


class _Items:
    """The input of a request. Its items are read when somebody looks at them, once."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.listed = memoryview(raw)[0] == _LIST
        self._heads: list[_Head] | None = None

    @property
    def heads(self) -> list[_Head]:
        """What of each item decides where it goes."""
        if self._heads is None:
            self._heads = _HEADS.decode(self.raw)
        return self._heads


def _is_rich(fields: Mapping[str, Raw], items: _Items) -> bool:
    """Whether a request needs more than functions, and results that are text."""
    tools = toolset(fields)
    if tools.hosted or any(tool.custom or tool.namespace for tool in tools.declared):
        return True
    if not items.listed:
        return False
    if _CUSTOM.search(items.raw):
        return True
    return any(len(head.output) and memoryview(head.output)[0] == _LIST for head in items.heads)


def _is_paired(items: _Items) -> bool:
    """Whether each call has a name, an id of its own and one output, and each output stands behind its call."""
    if not items.listed or not _PAIRS.search(items.raw):
        return True
    called: set[str] = set()
    answered: set[str] = set()
    for head in items.heads:
        if head.type in CALLS:
            if head.call_id in called or not head.name:
                return False
            called.add(head.call_id)
        elif head.type in OUTPUTS:
            if head.call_id in answered or head.call_id not in called:
                return False
            answered.add(head.call_id)
    return called == answered


class _Passing:
    """One request on its way to one target. `edits` are the fields that change; None = left out."""

    def __init__(self, inbound: Inbound, items: _Items, facts: TargetFacts, options: Options, recall: Recall) -> None:
        self.fields = inbound.fields
        self.items = items
        self.request = inbound.request
        self.facts = facts
        self.options = options
        self.recall = recall
        self.recipe: Recipe = recipe_for(facts)
        self.store = self._value("store")
        # Whether the provider may keep the answer: where the caller says so, and the row takes the word.
        self.stores = self.store is True and taken("store", self.recipe, self.recipe.refuse | options.without)
        self.edits: dict[str, bytes | None] = {}

    def run(self) -> Rendered:
        """The body, and what has to be said of it."""
        reasoning, text = self._object("reasoning"), self._object("text")
        params = {key: value for key in _SIMPLE if key in self.fields and (value := self._value(key)) is not None}
        if reasoning.get("effort") is not None:
            params["reasoning_effort"] = reasoning["effort"]
        if text.get("verbosity") is not None:
            params["verbosity"] = text["verbosity"]
        if isinstance(wanted := text.get("format"), dict) and wanted.get("type") == "json_schema":
            params["response_format"] = {"type": "json_schema", "json_schema": wanted}
        before = dict(params)
        has_tools = self.request.tools > 0 or len(self.fields.get("tools", b"")) > len("[ ]")
        draft, cap = fit(params, self.recipe, self.options, self.request.max_output_tokens, has_tools=has_tools)
        for key in _SIMPLE:
            if params.get(key) != before.get(key):
                self.edits[key] = _ENCODE(params[key]) if key in params else None
        self._reasoning(reasoning, params.get("reasoning_effort"), draft)
        self._text(text, params, before)
        self._instruct(draft)
        self._include(draft)
        self._refused(draft, has_tools=has_tools)
        if self.store is True and not self.stores:
            draft.warn("dropped", "store", altered=False)
        self._input()
        return Rendered(self._body(cap), tuple(draft.notes), draft.altered, cap)

    def _value(self, key: str) -> Any:
        raw = self.fields.get(key)
        return None if raw is None else decode(raw, key)

    def _object(self, key: str) -> dict[str, Any]:
        value = self._value(key)
        return value if isinstance(value, dict) else {}

    # -- parameters ------------------------------------------------------------------------------------

    def _reasoning(self, said: dict[str, Any], effort: Any, draft: Draft) -> None:
        if not said:
            return
        if not taken("reasoning_effort", self.recipe, draft.refused):
            self.edits["reasoning"] = None  # a model that does not reason takes none of it
        elif effort != said.get("effort"):
            rest = {key: value for key, value in said.items() if key != "effort"}
            if effort is not None:
                rest["effort"] = effort
            self.edits["reasoning"] = _ENCODE(rest) if rest else None

    def _text(self, said: dict[str, Any], params: dict[str, Any], before: dict[str, Any]) -> None:
        changed = dict(said)
        if params.get("verbosity") != before.get("verbosity"):
            del changed["verbosity"]
        wanted = params.get("response_format")
        if wanted != before.get("response_format"):
            del changed["format"]
            if wanted is not None:
                changed["format"] = wanted
        if changed != said:
            self.edits["text"] = _ENCODE(changed) if changed else None

    def _instruct(self, draft: Draft) -> None:
        if draft.instruction:
            said = self._value("instructions")
            text = f"{said}\n\n{draft.instruction}" if said else draft.instruction
            self.edits["instructions"] = _ENCODE(text)

    def _include(self, draft: Draft) -> None:
        """Who relied on the provider's memory gets sealed thoughts to bring back; who cannot have any asks for none."""
        include = self._value("include")
        words = list(include) if isinstance(include, list) else []
        if ENCRYPTED in words:
            if not taken("reasoning_effort", self.recipe, draft.refused):
                words.remove(ENCRYPTED)
        elif self.store is not False and reasons(self.facts):
            words.append(ENCRYPTED)
        if words != (include or []):
            self.edits["include"] = _ENCODE(words) if words else None

    def _refused(self, draft: Draft, *, has_tools: bool) -> None:
        for key in self.fields:
            if key in draft.refused and key not in _OURS and self.edits.get(key, b"") is not None:
                if not is_silent(draft, key):
                    draft.warn("dropped", key)
                self.edits[key] = None
        if "stream_options" in self.fields and not self.options.stream:
            self.edits["stream_options"] = None
        if not has_tools and "tool_choice" in self.fields:  # a choice without tools is a 400 (12.5)
            if self._value("tool_choice") not in ("auto", "none", None):
                draft.warn("dropped", "tool_choice")
            self.edits["tool_choice"] = None

    # -- items -----------------------------------------------------------------------------------------

    def _input(self) -> None:
        items, keeps = self.items, self.stores
        if not items.listed or not (keeps or _SEALED.search(items.raw)):
            return
        out: list[Raw | bytes] = []
        changed = lost = False
        for head, item in zip(items.heads, _RAWS.decode(items.raw), strict=True):
            kind = head.type or "message"
            if not is_assistants({"type": kind, "role": head.role}):
                lost = False
                if kind == "compaction":
                    stays_with_its_maker(head.encrypted_content, self.options, self.recall)
                out.append(item)
            elif kind == "reasoning":
                kept = self._thought(head, item)
                changed = changed or kept is not item
                lost = lost or kept is None
                if kept is not None:
                    out.append(kept)
            elif (lost or keeps) and head.id is not None:
                # Its id belongs with a thought that is not sent, or was made up here: a provider that keeps answers
                # would look for it.
                out.append(_without_id(item))
                changed = True
            else:
                out.append(item)
        if changed:
            self.edits["input"] = b"[%b]" % b",".join(bytes(each) for each in out)

    def _thought(self, head: _Head, item: Raw) -> Raw | bytes | None:
        """The item as it goes out, None where it cannot be this target's."""
        data = head.encrypted_content
        if not data:
            # Without its seal it is a reference into the provider's memory, unless it says its thought in plain text.
            return item if len(head.content) and memoryview(head.content)[0] == _LIST else None
        mark = unwrap(data)
        seal = mark or Seal(DIALECT, "encrypted", data)
        if not goes_back(seal, self.facts.maker, self.options, self.recall):
            return None
        if mark is None:
            return item
        own = _FIELDS.decode(item)
        own["encrypted_content"] = Raw(_ENCODE(mark.data))
        if mark.item_id:
            own["id"] = Raw(_ENCODE(mark.item_id))
        else:
            own.pop("id", None)
        return _ENCODE(own)

    def _body(self, cap: int | None) -> bytes:
        recipe = self.recipe
        parts = [recipe.bare_stream_head if self.options.stream else recipe.plain_head]
        for key, raw in self.fields.items():
            if key not in _OURS and key not in self.edits:
                parts += (b",", _ENCODE(key), b":", raw)
        for key, edit in self.edits.items():
            if edit is not None:
                parts += (b",", _ENCODE(key), b":", edit)
        if cap is not None:
            parts.append(b',"max_output_tokens":%d' % cap)
        parts.append(b',"store":true}' if self.stores else b',"store":false}')
        return b"".join(parts)


def _without_id(item: Raw) -> bytes:
    fields = _FIELDS.decode(item)
    fields.pop("id", None)
    return _ENCODE(fields)
