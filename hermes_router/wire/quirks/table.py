"""The table of request quirks: for each the function that applies it, and what triggers it.

Owns which function belongs to which `Quirk` and in which order they run. The functions live beside it, by what they
touch: `quirks_replay`, `quirks_messages`, `quirks_calls`, `quirks_tools`, `quirks_schema`, `quirks_parameters`. It must
never know a provider: rows name their quirks.
"""

from collections.abc import Callable
from typing import NamedTuple

from hermes_router.core.catalog import Quirk
from hermes_router.wire.chat.traits import NOTHING, Trait
from hermes_router.wire.quirks import calls, messages, parameters, replay, tools
from hermes_router.wire.quirks.draft import Draft
from hermes_router.wire.quirks.tools import ToolStep

Step = Callable[[Draft], None]


class Rule(NamedTuple):
    """One quirk, on whichever parts of a request it touches.

    Attributes:
        messages: edits the opened messages; runs only where they have a trait of `when`, or were opened anyway.
        when: the traits that give it something to do.
        remembered: traits that do so only where the memory holds something for the target.
        tools: edits the tools; runs only if `tools_trigger` is found in the raw tools.
        tools_trigger: regular expression alternatives (bytes) that must follow an opening quote of the raw tools. JSON
            escapes quotes within strings, so a key or a whole short value is met only where it is one.
        parameters: edits top-level parameters; runs only if one of `keys` is there.
        keys: top-level keys; empty = always.
    """

    messages: Step | None = None
    when: int = NOTHING
    remembered: int = NOTHING
    tools: ToolStep | None = None
    tools_trigger: bytes = b""
    parameters: Step | None = None
    keys: frozenset[str] = frozenset()


_NOT_STRICT = Trait.FOREIGN | Trait.LISTS | Trait.EMPTY_TURN
_EFFORT = frozenset({"reasoning_effort"})
_FOREIGN_TOOL_KEY = rb'cache_control"|defer_loading"|eager_input_streaming"|input_examples"'

QUIRKS: dict[Quirk, Rule] = {
    # replay first: what is remembered goes by the ids and shapes that the caller sends
    Quirk.REPLAY_SIGNATURE: Rule(messages=replay.replay_signature, when=Trait.CALLS),
    Quirk.REPLAY_REASONING: Rule(messages=replay.replay_reasoning, when=Trait.CALLS),
    Quirk.REPLAY_REASONING_IF_KNOWN: Rule(
        messages=replay.replay_reasoning_if_known, when=Trait.FOREIGN, remembered=Trait.CALLS
    ),
    Quirk.REPLAY_DETAILS: Rule(messages=replay.replay_details, remembered=Trait.CALLS),
    # roles, then keys, then content, then the order of turns, ids last
    Quirk.DEVELOPER_TO_SYSTEM: Rule(messages=messages.developer_to_system, when=Trait.DEVELOPER),
    Quirk.SYSTEM_TO_USER: Rule(messages=messages.system_to_user, when=Trait.SYSTEM),
    Quirk.MERGE_SYSTEM: Rule(messages=messages.merge_system, when=Trait.SYSTEMS),
    Quirk.STRICT_MESSAGE_KEYS: Rule(
        messages=messages.strict_message_keys, when=_NOT_STRICT, tools_trigger=_FOREIGN_TOOL_KEY
    ),
    Quirk.DROP_MESSAGE_NAMES: Rule(messages=messages.drop_message_names, when=Trait.NAMES),
    Quirk.FLATTEN_TEXT: Rule(messages=messages.flatten_text, when=Trait.LISTS),
    Quirk.SINGLE_CALLS: Rule(
        messages=calls.single_calls, when=Trait.PARALLEL, parameters=calls.single_calls_parameter
    ),
    Quirk.CONTENT_NEVER_NULL: Rule(messages=messages.content_never_null, when=Trait.NULL_CONTENT),
    Quirk.USER_AFTER_TOOL_BRIDGE: Rule(messages=calls.user_after_tool_bridge, when=Trait.USER_AFTER_TOOL),
    Quirk.PREFILL_PREFIX: Rule(messages=calls.prefill_prefix, when=Trait.OPEN_END),
    Quirk.PREFILL_PARTIAL: Rule(messages=calls.prefill_partial, when=Trait.OPEN_END),
    Quirk.LAST_NOT_ASSISTANT: Rule(messages=calls.last_not_assistant, when=Trait.OPEN_END),
    Quirk.CALL_IDS_9: Rule(messages=calls.call_ids_9, when=Trait.ODD_IDS),
    # tools
    Quirk.CLEAN_SCHEMA_GEMINI: Rule(tools=tools.clean_schema_gemini, tools_trigger=rb'parameters"'),
    Quirk.CLEAN_SCHEMA_BASIC: Rule(
        tools=tools.clean_schema_basic, tools_trigger=rb'\$schema"|additionalProperties"'
    ),
    Quirk.CLEAN_SCHEMA_KIMI: Rule(tools=tools.clean_schema_kimi, tools_trigger=rb'\$ref"|enum"'),
    Quirk.DROP_STRICT: Rule(tools=tools.drop_strict, tools_trigger=rb'strict"'),
    Quirk.UNIFORM_STRICT: Rule(tools=tools.uniform_strict, tools_trigger=rb'strict"'),
    # parameters
    Quirk.CACHE_MARKS: Rule(),  # set when all else is done with the messages (`outgoing.py`)
    Quirk.ALLOWED_AS_TOOLS: Rule(),  # what is chosen is fitted with the tools (`outgoing.py`)
    Quirk.TOOL_CHOICE_AUTO_ONLY: Rule(parameters=tools.tool_choice_auto_only, keys=frozenset({"tool_choice"})),
    Quirk.TOOL_CHOICE_ANY: Rule(parameters=tools.tool_choice_any, keys=frozenset({"tool_choice"})),
    Quirk.JSON_OBJECT_ONLY: Rule(parameters=parameters.json_object_only, keys=frozenset({"response_format"})),
    Quirk.ONE_STOP: Rule(parameters=parameters.one_stop, keys=frozenset({"stop"})),
    Quirk.FIXED_SAMPLING: Rule(parameters=parameters.fixed_sampling, keys=frozenset({"temperature", "top_p"})),
    Quirk.NO_ZERO_TEMPERATURE: Rule(parameters=parameters.no_zero_temperature, keys=frozenset({"temperature"})),
    Quirk.EFFORT_NONE_HIGH: Rule(parameters=parameters.effort_none_high, keys=_EFFORT),
    Quirk.EFFORT_LOW_HIGH_MAX: Rule(parameters=parameters.effort_low_high_max, keys=_EFFORT),
    Quirk.EFFORT_LOW_MEDIUM_HIGH: Rule(parameters=parameters.effort_low_medium_high, keys=_EFFORT),
    Quirk.EFFORT_NONE_DEFAULT: Rule(parameters=parameters.effort_none_default, keys=_EFFORT),
    Quirk.SESSION_ID: Rule(parameters=parameters.session_id),
    Quirk.MODEST_OUTPUT: Rule(parameters=parameters.modest_output),
}  # fmt: skip

ELSEWHERE = frozenset({
    Quirk.BARE_END, Quirk.CALLER_AGENT, Quirk.THINK_TAGS, Quirk.THOUGHT_TAGS, Quirk.BETAS, Quirk.HOSTED_TOOLS,
    Quirk.SYSTEM_TURNS, Quirk.ADAPTIVE_THINKING, Quirk.BUDGET_THINKING, Quirk.ALWAYS_THINKS,
    Quirk.NATIVE_RESPONSES, Quirk.PREFILL_ECHOED, Quirk.CODEX_BODY, Quirk.RESPONSES_LITE, Quirk.GROUPED_TOOLS,
    Quirk.ACCOUNT_SEALS,
})  # fmt: skip
"""Quirks of the transport, of the answer, and of upstreams of other dialects: a Chat request shows none."""
