"""What goes out to a provider in the Chat Completions dialect: the caller's raw fields, fitted to one target.

Owns `render`: which top-level keys are sent, under which names and with which values, and when messages and tools are
opened at all. A body with none of its row's triggers goes out as slices of the caller's own. What depends on the target
alone is worked out once, in its `Recipe`. It must never edit the caller's fields, since it runs again for each attempt,
and knows no provider: rows say what they take (facts: providers.md 3, 5, 7, 12).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Raw

from hermes_router.core.catalog import Quirk, TargetFacts
from hermes_router.core.chat import Warning as Notice
from hermes_router.core.errors import BadRequest
from hermes_router.wire.chat.body_split import Fields
from hermes_router.wire.chat.seen_tools import seen_tools
from hermes_router.wire.chat.traits import EVERYTHING, NOTHING, Trait, are_strict, decode_messages, traits_of
from hermes_router.wire.quirks import history
from hermes_router.wire.quirks.draft import Draft, NoRecall, Recall, open_messages, open_strict
from hermes_router.wire.quirks.marks import may_mark, set_marks
from hermes_router.wire.quirks.messages import instruct
from hermes_router.wire.quirks.parameters import (
    CapKeys,
    asked_cap,
    fit_effort,
    fitted_cap,
    is_silent,
    settle_effort,
    unify_effort,
)
from hermes_router.wire.quirks.table import QUIRKS
from hermes_router.wire.quirks.tools import ALWAYS, ToolPress, chosen_tools, legacy_tools

__all__ = ["NO_RECALL", "Options", "Recall", "Recipe", "Rendered", "recipe_for", "render"]

NO_RECALL: Recall = NoRecall()

_OURS = frozenset({"model", "stream", "stream_options", "messages"})
_ENCODER = msgspec.json.Encoder()


class Options(NamedTuple):
    """What this attempt asks for beside the caller's own words.

    Attributes:
        stream: whether we want a stream from upstream.
        reserve_tokens: REASONING_TOKEN_RESERVE, added to the caller's cap when `reasoning`.
        reasoning: the model is known to reason within its output cap.
        without: keys that this provider and model have refused before: dropped with a warning.
        default_output_tokens: the cap to send where the caller gave none; None = send none.
        input_tokens: the prompt as estimated, if known: the cap then fits what is left of the context.
        traits: what the messages are like (`traits.traits_of`), None where nobody has looked.
        betas: the caller's own `anthropic-beta` values, for Messages upstreams.
        strip_thoughts: this provider has refused a signature or an encrypted thought: send none (providers.md 12.9).
        session: a word for the conversation that tells nothing of it or its caller, for a target that keeps what has
            one word together; empty = no conversation yet, or nobody wants it.
    """

    stream: bool
    reserve_tokens: int = 0
    reasoning: bool = False
    without: frozenset[str] = frozenset()
    default_output_tokens: int | None = None
    input_tokens: int | None = None
    traits: int | None = None
    betas: tuple[str, ...] = ()
    strip_thoughts: bool = False
    session: str = ""


class Rendered(NamedTuple):
    """A body as it goes out.

    `altered` = the meaning or shape of the caller's content changed: messages or tools rewritten, parameters dropped or
    weakened. Model, renaming, clamping the cap and the usage option are not that. `sent_max_tokens` is the cap in the
    body, None where it has none. `headers` go beside those of the row.
    `straight` = the answer may go to a caller of the same dialect as it comes; if not, its tools have other names.
    `path` is where it is asked, behind the dialect's own.
    """

    body: bytes
    warnings: tuple[Notice, ...]
    altered: bool
    sent_max_tokens: int | None
    headers: tuple[tuple[str, str], ...] = ()
    straight: bool = True
    path: str = ""


class Recipe:
    """All of rendering that depends on the target alone; built once per `TargetFacts`."""

    def __init__(self, facts: TargetFacts) -> None:
        provider, model = facts.provider, facts.model
        self.quirks = facts.quirks  # those of the row and of the model, overrides applied
        self.allow = provider.allow
        self.refuse = model.refuse
        self.rename = provider.rename
        self.marks = Quirk.CACHE_MARKS in self.quirks
        self.strict_row = Quirk.STRICT_MESSAGE_KEYS in self.quirks
        self.only_allowed = self.strict_row or Quirk.ALLOWED_AS_TOOLS in self.quirks
        self.caps = CapKeys(provider.allow, provider.rename, newer_first=Quirk.MODEST_OUTPUT in self.quirks)
        self.limits = (facts.output_cap, model.max_output)
        self.context = model.context
        self.levels = facts.effort_levels or model.efforts
        rules = [rule for quirk, rule in QUIRKS.items() if quirk in self.quirks]
        steps = [(quirk in _REPLAYS, QUIRKS[quirk]) for quirk in QUIRKS if quirk in self.quirks]
        self.replay = tuple((rule, rule.messages) for first, rule in steps if first and rule.messages is not None)
        self.steps = tuple((rule, rule.messages) for first, rule in steps if not first and rule.messages is not None)
        self.parameters = tuple((rule.keys, rule.parameters) for rule in rules if rule.parameters is not None)
        self._looks_at = Trait.BROKEN
        self._remembered = NOTHING
        for rule in rules:
            self._looks_at |= rule.when
            self._remembered |= rule.remembered
        self._scan_tools = _pattern([ALWAYS, *(rule.tools_trigger for rule in rules if rule.tools_trigger)])
        self.press = ToolPress(
            tuple(rule.tools for rule in rules if rule.tools is not None), strict_row=self.strict_row
        )
        name = _ENCODER.encode(f"{provider.model_prefix}{model.id}")
        usage = b',"stream_options":{"include_usage":true}' if provider.usage_option else b""
        self.plain_head = b'{"model":' + name + b',"stream":false'
        self.bare_stream_head = b'{"model":' + name + b',"stream":true'
        self.stream_head = self.bare_stream_head + usage

    def opens_messages(self, traits: int, recall: Recall) -> bool:
        """Whether a quirk of this row, or a repair, may have something to do in messages like these."""
        if self._looks_at & traits:
            return True
        return bool(self._remembered & traits) and recall.holds

    def opens_tools(self, raw: Raw) -> bool:
        """Whether a quirk of this row may have something to do in these tools."""
        known = seen_tools(raw)
        return known.match(self._scan_tools) if known is not None else self._scan_tools.search(raw) is not None


_REPLAYS = frozenset({
    Quirk.REPLAY_SIGNATURE, Quirk.REPLAY_REASONING, Quirk.REPLAY_REASONING_IF_KNOWN, Quirk.REPLAY_DETAILS,
})  # fmt: skip
_RECIPES: WeakKeyDictionary[TargetFacts, Recipe] = WeakKeyDictionary()


def recipe_for(facts: TargetFacts) -> Recipe:
    """The recipe of a target, made at the first call; it lives as long as the facts do."""
    recipe = _RECIPES.get(facts)
    if recipe is None:
        recipe = _RECIPES[facts] = Recipe(facts)
    return recipe


def render(fields: Mapping[str, Raw], facts: TargetFacts, options: Options, recall: Recall) -> Rendered:
    """Render the caller's fields for one target. Raises BadRequest, naming the field, where they cannot be."""
    recipe = recipe_for(facts)
    params: dict[str, Any] = {
        key: raw for key, raw in fields.items() if key not in _OURS and not (len(raw) == 4 and bytes(raw) == b"null")
    }
    refused = recipe.refuse | options.without if options.without else recipe.refuse
    draft = Draft(params, recall, recipe.quirks, recipe.allow, refused, session=options.session)
    try:
        _fit_tools(draft, recipe)
        reasoning_off = _fit_parameters(draft, recipe)
        cap_key, cap = _fit_cap(draft, recipe, options, reasoning_off=reasoning_off)
        _fit_keys(draft, recipe.rename)
        messages = _fit_messages(draft, recipe, fields, options.traits)
        body = _joined(draft, _head(recipe, options), cap_key, cap, messages)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        raise BadRequest("the request holds values that cannot be sent on") from error
    return Rendered(body, tuple(draft.notes), draft.altered, cap)


def _fit_tools(draft: Draft, recipe: Recipe) -> None:
    params = draft.params
    if "functions" in params or "function_call" in params:
        legacy_tools(draft)
    raw = params.get("tools")
    if raw is None:
        return
    if recipe.opens_tools(raw) or (recipe.only_allowed and "tool_choice" in params):
        pressed = recipe.press.press(raw)
        draft.notes.extend(pressed.notes)
        draft.altered = draft.altered or pressed.changed
        raw = chosen_tools(draft, pressed, only_allowed=recipe.only_allowed)
    if raw is None or (len(raw) < 16 and not bytes(raw)[1:-1].strip()):
        del params["tools"]
        return
    params["tools"] = raw
    draft.has_tools = True


def _fit_parameters(draft: Draft, recipe: Recipe) -> bool:
    """Apply the row's parameter quirks; tell whether hidden reasoning is switched off."""
    params = draft.params
    if "reasoning" in params:
        unify_effort(draft)
    for keys, step in recipe.parameters:
        if not keys or not keys.isdisjoint(params):
            step(draft)
    if recipe.levels and "reasoning_effort" in params:
        fit_effort(draft, recipe.levels)
    if not draft.has_tools:  # a choice without tools is a 400 everywhere (12.5)
        if "tool_choice" in params:
            if draft.value("tool_choice") not in ("auto", "none"):
                draft.warn("dropped", "tool_choice")
            del params["tool_choice"]
        params.pop("parallel_tool_calls", None)
    return settle_effort(draft)


def _fit_cap(draft: Draft, recipe: Recipe, options: Options, *, reasoning_off: bool) -> tuple[str | None, int | None]:
    asked, came = asked_cap(draft)
    caps = recipe.caps
    key = caps.own if came is None else caps.both if came == "both" else caps.by_caller[came]
    if key is None or key in draft.refused:
        if asked is not None:
            draft.warn("dropped", "max_tokens")
        return None, None
    reserve = options.reserve_tokens if options.reasoning and not reasoning_off else 0
    left = recipe.context - options.input_tokens if recipe.context and options.input_tokens is not None else None
    cap = fitted_cap(draft, asked, reserve, (*recipe.limits, left), options.default_output_tokens)
    return (key, cap) if cap is not None else (None, None)


def _fit_keys(draft: Draft, rename: Mapping[str, str]) -> None:
    """Allow-list, refusals and renaming. The order of the caller's keys is kept."""
    params, allow, gone = draft.params, draft.allow, draft.refused
    for key in list(params):
        new = rename.get(key, key)
        taken = allow is None or new in allow or key in allow
        if not taken or key in gone or new in gone:
            if not is_silent(draft, key):
                draft.warn("dropped", key)
            del params[key]
        elif new != key:
            value = params.pop(key)
            params.setdefault(new, value)


def _fit_messages(draft: Draft, recipe: Recipe, fields: Mapping[str, Raw], traits: int | None) -> bytes | None:
    raw = fields.get("messages")
    if raw is None:
        return None
    if traits is None:
        traits = _traits(raw)
    marks = recipe.marks and may_mark(draft, fields)
    if not marks and not draft.instruction and not recipe.opens_messages(traits, draft.recall):
        return raw
    known = fields.messages if isinstance(fields, Fields) else None
    draft.messages = open_strict(known) if known is not None and are_strict(known) else open_messages(raw)
    # Traits are those of the caller's own messages: once they are repaired or added to, every quirk looks again.
    if traits & Trait.BROKEN or draft.instruction:
        traits = EVERYTHING
        history.legacy_functions(draft)
    for rule, step in recipe.replay:
        if (rule.when | rule.remembered) & traits:
            step(draft)
    if traits & Trait.BROKEN:
        history.repair(draft)
    if draft.instruction:
        instruct(draft, draft.instruction)
    for rule, step in recipe.steps:
        if rule.when & traits:
            step(draft)
    if marks:
        set_marks(draft)
    return _ENCODER.encode(draft.messages) if draft.messages_changed else raw


def _head(recipe: Recipe, options: Options) -> bytes:
    if not options.stream:
        return recipe.plain_head
    return recipe.bare_stream_head if "stream_options" in options.without else recipe.stream_head


def _joined(draft: Draft, head: bytes, cap_key: str | None, cap: int | None, messages: bytes | None) -> bytes:
    parts = [head]
    if messages is not None:
        parts += (b',"messages":', messages)
    if cap_key is not None and cap is not None:
        parts.append(b',"%b":%d' % (cap_key.encode(), cap))
    for key, value in draft.params.items():
        parts += (_key(key), value if isinstance(value, Raw) else _ENCODER.encode(value))
    parts.append(b"}")
    return b"".join(parts)


@lru_cache(maxsize=512)
def _key(key: str) -> bytes:
    return b"," + _ENCODER.encode(key) + b":"


def _pattern(triggers: list[bytes]) -> re.Pattern[bytes]:
    """One search for all triggers behind an opening quote."""
    return re.compile(b'"(?:' + b"|".join(dict.fromkeys(triggers)) + b")")


def _traits(raw: Raw) -> int:
    """The traits of messages that nobody has looked at."""
    try:
        return traits_of(decode_messages(raw))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return EVERYTHING  # whatever is wrong, opening them names it
