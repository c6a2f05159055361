"""Features of how an answer is wished for: sampling, length, shape, thinking, caches, bookkeeping, state, streams.

Owns their requests, as each dialect spells them (facts: providers.md 12.8, 12.13). It must never know who answers.
"""

from collections.abc import Mapping
from typing import Any, Final

from hermes_router.conformance.feature import CHAT, DIALECTS, MESSAGES, PROMPT, RESPONSES, Feature

__all__ = ["BOOKS", "LENGTH", "SAMPLING", "SHAPE", "STATE", "STREAMS", "THINKING"]


def _everywhere(**fields: Any) -> dict[str, Mapping[str, Any]]:
    return dict.fromkeys(DIALECTS, fields)


def _openai(**fields: Any) -> dict[str, Mapping[str, Any]]:
    return {CHAT: fields, RESPONSES: fields}


SAMPLING: Final = (
    Feature("sampling.temperature", "Sampling", "temperature", _everywhere(temperature=0.2)),
    Feature("sampling.temperature_high", "Sampling", "a temperature beyond 1", _openai(temperature=1.5)),
    Feature("sampling.top_p", "Sampling", "nucleus sampling", _everywhere(top_p=0.9)),
    Feature(
        "sampling.top_k", "Sampling", "the most likely tokens only", {CHAT: {"top_k": 40}, MESSAGES: {"top_k": 40}}
    ),
    Feature("sampling.seed", "Sampling", "a seed", {CHAT: {"seed": 7}}),
    Feature("sampling.frequency", "Sampling", "a penalty on frequent words", {CHAT: {"frequency_penalty": 0.5}}),
    Feature("sampling.presence", "Sampling", "a penalty on words that were said", {CHAT: {"presence_penalty": 0.5}}),
    Feature("sampling.logit_bias", "Sampling", "a bias on tokens", {CHAT: {"logit_bias": {"50256": -100}}}),
    Feature("sampling.n", "Sampling", "several answers at once", {CHAT: {"n": 2}}),
    Feature(
        "sampling.logprobs",
        "Sampling",
        "how likely each token was",
        {
            CHAT: {"logprobs": True, "top_logprobs": 2},
            RESPONSES: {"top_logprobs": 2, "include": ["message.output_text.logprobs"]},
        },
    ),
    Feature(
        "sampling.prediction",
        "Sampling",
        "what the answer will probably be",
        {CHAT: {"prediction": {"type": "content", "content": "Hello!"}}},
    ),
)

LENGTH: Final = (
    Feature(
        "length.cap",
        "Length",
        "the most tokens of the answer",
        {CHAT: {"max_tokens": 100}, MESSAGES: {"max_tokens": 100}, RESPONSES: {"max_output_tokens": 100}},
    ),
    Feature(
        "length.cap_newer",
        "Length",
        "the same in Chat's newer word",
        {CHAT: {"max_tokens": None, "max_completion_tokens": 100}},
    ),
    Feature(
        "length.cap_small",
        "Length",
        "a cap below 16 tokens",
        {CHAT: {"max_tokens": 8}, MESSAGES: {"max_tokens": 8}, RESPONSES: {"max_output_tokens": 8}},
    ),
    Feature(
        "length.no_cap",
        "Length",
        "no cap at all",
        {CHAT: {"max_tokens": None}, RESPONSES: {"max_output_tokens": None}},
    ),
    Feature(
        "length.stop",
        "Length",
        "words that end the answer",
        {CHAT: {"stop": ["END", "STOP"]}, MESSAGES: {"stop_sequences": ["END", "STOP"]}},
    ),
    Feature("length.stop_one", "Length", "one such word, not in a list", {CHAT: {"stop": "END"}}),
)

_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"greeting": {"type": "string"}},
    "required": ["greeting"],
    "additionalProperties": False,
}
_JSON_PLEASE: Final = "Greet me, in JSON with the one key greeting."


def _shaped(chat: Mapping[str, Any], responses: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        CHAT: {"messages": [{"role": "user", "content": _JSON_PLEASE}], "response_format": chat},
        RESPONSES: {"input": _JSON_PLEASE, "text": {"format": responses}},
    }


SHAPE: Final = (
    Feature("shape.text", "Shape", "plain text, said in so many words", _shaped({"type": "text"}, {"type": "text"})),
    Feature("shape.json", "Shape", "any JSON object", _shaped({"type": "json_object"}, {"type": "json_object"})),
    Feature(
        "shape.schema",
        "Shape",
        "JSON of a schema",
        {
            **_shaped(
                {"type": "json_schema", "json_schema": {"name": "greeting", "schema": _SCHEMA, "strict": True}},
                {"type": "json_schema", "name": "greeting", "schema": _SCHEMA, "strict": True},
            ),
            MESSAGES: {
                "messages": [{"role": "user", "content": _JSON_PLEASE}],
                "output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}},
            },
        },
    ),
    Feature(
        "shape.schema_loose",
        "Shape",
        "JSON of a schema, with a description and not strict",
        _shaped(
            {
                "type": "json_schema",
                "json_schema": {"name": "greeting", "description": "A word.", "schema": _SCHEMA, "strict": False},
            },
            {
                "type": "json_schema",
                "name": "greeting",
                "description": "A word.",
                "schema": _SCHEMA,
                "strict": False,
            },
        ),
    ),
    Feature(
        "shape.verbosity",
        "Shape",
        "how many words to make",
        {CHAT: {"verbosity": "low"}, RESPONSES: {"text": {"verbosity": "low"}}},
    ),
)

_THINKING_CAP: Final = 4_096


THINKING: Final = (
    *(
        Feature(
            f"thinking.{effort}",
            "Thinking",
            f"effort `{effort}`",
            {
                CHAT: {"reasoning_effort": effort},
                **({MESSAGES: {"output_config": {"effort": effort}}} if effort != "minimal" else {}),
                RESPONSES: {"reasoning": {"effort": effort}},
            },
        )
        for effort in ("minimal", "low", "medium", "high", "xhigh")
    ),
    Feature(
        "thinking.max",
        "Thinking",
        "effort `max`",
        {CHAT: {"reasoning_effort": "max"}, MESSAGES: {"output_config": {"effort": "max"}}},
    ),
    Feature(
        "thinking.off",
        "Thinking",
        "no thinking",
        {
            CHAT: {"reasoning_effort": "none"},
            MESSAGES: {"thinking": {"type": "disabled"}},
            RESPONSES: {"reasoning": {"effort": "none"}},
        },
    ),
    Feature(
        "thinking.budget",
        "Thinking",
        "a budget of tokens",
        {
            CHAT: {"max_tokens": _THINKING_CAP, "reasoning": {"max_tokens": 2048}},
            MESSAGES: {"max_tokens": _THINKING_CAP, "thinking": {"type": "enabled", "budget_tokens": 2048}},
        },
    ),
    Feature(
        "thinking.adaptive",
        "Thinking",
        "as much as the model likes",
        {MESSAGES: {"thinking": {"type": "adaptive"}}},
    ),
    Feature(
        "thinking.hidden",
        "Thinking",
        "thoughts that are not shown",
        {MESSAGES: {"thinking": {"type": "adaptive", "display": "omitted"}}},
    ),
    Feature(
        "thinking.summary",
        "Thinking",
        "a summary of the thoughts",
        {RESPONSES: {"reasoning": {"effort": "low", "summary": "auto"}}},
    ),
    Feature(
        "thinking.encrypted",
        "Thinking",
        "encrypted thoughts, to be brought back later",
        {RESPONSES: {"store": False, "include": ["reasoning.encrypted_content"]}},
    ),
    Feature(
        "thinking.forced_tool",
        "Thinking",
        "thinking together with a tool that must be called",
        {
            MESSAGES: {
                "max_tokens": _THINKING_CAP,
                "thinking": {"type": "enabled", "budget_tokens": 2048},
                "tools": [{"name": "greet", "input_schema": {"type": "object", "properties": {}}}],
                "tool_choice": {"type": "any"},
            },
        },
    ),
)

_MARK: Final = {"cache_control": {"type": "ephemeral"}}

BOOKS: Final = (
    Feature("cache.key", "Caches and books", "a key of the prompt's cache", _openai(prompt_cache_key="thread-1")),
    Feature(
        "cache.mark",
        "Caches and books",
        "a mark up to which the prompt is cached",
        {
            CHAT: {"messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT, **_MARK}]}]},
            MESSAGES: {"messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT, **_MARK}]}]},
            RESPONSES: {"input": [{"role": "user", "content": [{"type": "input_text", "text": PROMPT, **_MARK}]}]},
        },
    ),
    Feature(
        "cache.system",
        "Caches and books",
        "such a mark on the system text",
        {MESSAGES: {"system": [{"type": "text", "text": "Be brief.", **_MARK}]}},
    ),
    Feature("cache.whole", "Caches and books", "such a mark on the whole request", {MESSAGES: _MARK}),
    Feature(
        "books.user",
        "Caches and books",
        "who the user is",
        {CHAT: {"user": "ada"}, MESSAGES: {"metadata": {"user_id": "ada"}}, RESPONSES: {"user": "ada"}},
    ),
    Feature("books.safety", "Caches and books", "who the user is, for abuse", _openai(safety_identifier="ada")),
    Feature("books.metadata", "Caches and books", "labels", _openai(metadata={"job": "nightly"})),
    Feature("books.store", "Caches and books", "the answer is to be kept", _openai(store=True)),
    Feature("books.store_off", "Caches and books", "the answer is not to be kept", _openai(store=False)),
    Feature("books.tier", "Caches and books", "a service tier", _everywhere(service_tier="auto")),
)

STATE: Final = (
    Feature(
        "state.previous",
        "State and more",
        "an earlier answer, by an id that is not known here",
        {RESPONSES: {"previous_response_id": "resp_unknown"}},
    ),
    Feature(
        "state.conversation", "State and more", "a conversation that is kept", {RESPONSES: {"conversation": "conv_1"}}
    ),
    Feature("state.prompt", "State and more", "a prompt that is kept", {RESPONSES: {"prompt": {"id": "pmpt_1"}}}),
    Feature("state.background", "State and more", "an answer for later", {RESPONSES: {"background": True}}),
    Feature("state.container", "State and more", "a container that is kept", {MESSAGES: {"container": "container_1"}}),
    Feature(
        "state.context",
        "State and more",
        "what to do when the context grows",
        {
            MESSAGES: {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
            RESPONSES: {"context_management": [{"type": "compaction", "compact_threshold": 1000}]},
        },
    ),
    Feature("state.truncation", "State and more", "the oldest may be left out", {RESPONSES: {"truncation": "auto"}}),
    Feature("state.tool_calls", "State and more", "the most calls of hosted tools", {RESPONSES: {"max_tool_calls": 3}}),
    Feature("state.unknown", "State and more", "a field that nobody knows yet", _everywhere(tomorrow={"is": "new"})),
)

STREAMS: Final = (
    Feature("streams.plain", "Streams", "the answer as it comes", _everywhere(stream=True)),
    Feature(
        "streams.usage",
        "Streams",
        "usage at the end of a stream",
        {CHAT: {"stream": True, "stream_options": {"include_usage": True}}},
    ),
    Feature(
        "streams.no_obfuscation",
        "Streams",
        "no padding against listeners",
        {
            CHAT: {"stream": True, "stream_options": {"include_obfuscation": False}},
            RESPONSES: {"stream": True, "stream_options": {"include_obfuscation": False}},
        },
    ),
)
