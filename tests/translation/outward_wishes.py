"""What must become of wishes on their way to an upstream: sampling, length, shape, thinking, caches, books, state."""

import json
from collections.abc import Mapping
from typing import Any, Final

from .expectation import Expected, Refused, Says, Table, like

__all__ = ["WISHES"]

_GREET: Final = {"role": "user", "content": "Greet me, in JSON with the one key greeting."}
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"greeting": {"type": "string"}},
    "required": ["greeting"],
    "additionalProperties": False,
}
_JSON_ONLY: Final = "Answer with one JSON object and nothing else."
_BY_SCHEMA: Final = f"{_JSON_ONLY} It must match this JSON schema: {json.dumps(_SCHEMA, separators=(',', ':'))}"
_DEFAULT: Final = "the words, which say what goes without saying"
_BOOK: Final = "a word for the provider's books, which changes no answer"
_CACHE: Final = "a hint to a cache, which changes no answer"
_SYSTEM: Final = {"role": "system", "content": "Be brief."}
_PLEASE: Final = {"role": "user", "content": "Say hello."}


def _dropped(what: str, *upstreams: str) -> dict[str, Expected]:
    return {upstream: Says(warns=(f"dropped:{what}",)) for upstream in upstreams}


def _left(why: str, *keys: str) -> dict[str, Expected]:
    return {key: Says(left=why) for key in keys}


def _refused(words: str, param: str, *upstreams: str) -> dict[str, Expected]:
    return {upstream: Refused(words, param) for upstream in upstreams}


def _budget(tokens: int) -> dict[str, Expected]:
    """Effort as a budget, above the caller's cap; the maker takes effort itself."""
    fields = {"max_tokens": 64 + tokens, "thinking": {"type": "enabled", "budget_tokens": tokens}}
    says = Says(fields, note="a budget of tokens, on top of the cap")
    return {"chat-messages": says, "responses-messages": says}


def _adaptive(effort: str, *warns: str) -> dict[str, Expected]:
    says = Says(
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}},
        warns,
        note="adaptive thinking of this effort",
    )
    return {"chat-messages@maker": says, "responses-messages@maker": says}


_PROVIDERS_OWN: Final = "who the user is, as a digest"
_C_ADA: Final = "a8fab6a0d8218e61dd723a38"
_M_ADA: Final = "c6ef43c47f8c23627ee5b9f8f5cb406c"
_NEAREST: Final = "approx:reasoning_effort"
_NO_STATE: Final = "is not supported here"

WISHES: Final[Table] = {
    "sampling.temperature_high": {"messages": Says({"temperature": 1}, ("approx:temperature",))},
    "sampling.top_k": _dropped("top_k", "responses"),
    "sampling.seed": _dropped("seed", "messages", "responses"),
    "sampling.frequency": _dropped("frequency_penalty", "messages", "responses"),
    "sampling.presence": _dropped("presence_penalty", "messages", "responses"),
    "sampling.logit_bias": _dropped("logit_bias", "messages", "responses"),
    "sampling.n": {
        "messages": Refused("one answer a request", "n"),
        "responses": Refused("n cannot be asked for in Responses", "n"),
    },
    "sampling.logprobs": {
        "responses-chat": Says(warns=("dropped:top_logprobs",)),
        "responses-messages": Says(warns=("dropped:top_logprobs",)),
        "chat-messages": Refused("no log probabilities", "logprobs"),
        "chat-responses": Refused("logprobs cannot be asked for in Responses", "logprobs"),
    },
    "sampling.prediction": _dropped("prediction", "messages", "responses"),
    "length.cap_newer": {
        "messages": Says({"max_tokens": 100}),
        "responses": Says({"max_output_tokens": 100}),
    },
    "length.cap_small": {
        "responses": Says({"max_output_tokens": 16}, ("approx:max_output_tokens",)),
    },
    "length.no_cap": {"messages": Says({"max_tokens": 8192}, note="a cap of 8192, since this dialect demands one")},
    "length.stop": _dropped("stop", "responses"),
    "length.stop_one": {"messages": Says({"stop_sequences": ["END"]}), **_dropped("stop", "responses")},
    "shape.text": {
        "responses-chat": Says({"messages": [_GREET]}, left=_DEFAULT),
        "messages": Says({"messages": [_GREET]}, left=_DEFAULT),
        "chat-responses": Says({"input": [_GREET]}, left=_DEFAULT),
    },
    "shape.json": {"messages": Says({"system": _JSON_ONLY, "messages": [_GREET]}, ("approx:response_format",))},
    "shape.schema": {
        "chat-messages": Says({"system": _BY_SCHEMA, "messages": [_GREET]}, ("approx:response_format",)),
        "responses-messages": Says({"system": _BY_SCHEMA, "messages": [_GREET]}, ("approx:response_format",)),
        "messages-chat": Says(
            {
                "messages": [_GREET],
                "response_format": {"type": "json_schema", "json_schema": {"name": "output", "schema": _SCHEMA}},
            },
            note="under the name `output`",
        ),
        "messages-responses": Says(
            {"input": [_GREET], "text": {"format": {"type": "json_schema", "name": "output", "schema": _SCHEMA}}},
            note="under the name `output`",
        ),
    },
    "shape.schema_loose": {
        "messages": Says({"system": _BY_SCHEMA, "messages": [_GREET]}, ("approx:response_format",)),
    },
    "shape.verbosity": _dropped("verbosity", "messages"),
    "thinking.minimal": {**_budget(1_024), **_adaptive("low", _NEAREST)},
    "thinking.low": {**_budget(1_024), **_adaptive("low")},
    "thinking.medium": {**_budget(8_192), **_adaptive("medium")},
    "thinking.high": {**_budget(24_576), **_adaptive("high")},
    "thinking.xhigh": {**_budget(32_768), **_adaptive("high", _NEAREST)},
    "thinking.max": {
        "chat-messages": _budget(65_536)["chat-messages"],
        "chat-messages@maker": _adaptive("high", _NEAREST)["chat-messages@maker"],
        "responses": Says({"reasoning": {"effort": "max"}}),
    },
    "thinking.budget": {
        "messages-chat": Says({"max_tokens": 4_096, "reasoning_effort": "medium"}, note="as the effort it stands for"),
        "responses": Says(
            {"max_output_tokens": 4_096, "reasoning": {"effort": "medium"}}, note="as the effort it stands for"
        ),
        "messages@maker": Says(
            {"max_tokens": 4_096, "thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}},
            ("approx:thinking.budget_tokens",),
        ),
    },
    "thinking.adaptive": _left(_DEFAULT, "chat", "responses"),
    "thinking.hidden": {
        **_left("what is shown of thoughts is said in Messages only", "chat", "responses"),
        "messages": Says({"thinking": {"type": "adaptive"}}, left="that they are not to be shown"),
        "messages@maker": Says(like("thinking.hidden", "messages")),
    },
    "thinking.summary": {
        "chat": Says({"reasoning_effort": "low"}, left="the summary: a provider shows of its thoughts what it shows"),
        "messages": Says(
            {"max_tokens": 1_088, "thinking": {"type": "enabled", "budget_tokens": 1_024}},
            left="the summary: a provider shows of its thoughts what it shows",
        ),
        "messages@maker": Says(
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            left="the summary: a provider shows of its thoughts what it shows",
        ),
    },
    "thinking.encrypted": _left("thoughts are sealed in Responses only", "chat", "messages"),
    "thinking.forced_tool": {
        "messages@maker": Says(
            like("thinking.forced_tool", "messages", thinking={"type": "disabled"}), ("dropped:thinking",)
        ),
        "chat": Says(
            {
                "max_tokens": 4_096,
                "reasoning_effort": "medium",
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "greet", "parameters": {"type": "object", "properties": {}}},
                    }
                ],
                "tool_choice": "required",
            },
            note="the budget as the effort it stands for",
        ),
        "responses": Says(
            {
                "max_output_tokens": 4_096,
                "reasoning": {"effort": "medium"},
                "tools": [
                    {
                        "type": "function",
                        "name": "greet",
                        "parameters": {"type": "object", "properties": {}},
                        "strict": False,
                    }
                ],
                "tool_choice": "required",
            },
            note="the budget as the effort it stands for",
        ),
    },
    "cache.key": _left(_CACHE, "messages", "responses-chat"),
    "cache.mark": _left(_CACHE, "messages-chat", "responses-chat", "chat-responses", "messages-responses"),
    "cache.system": {
        "chat": Says({"messages": [_SYSTEM, _PLEASE]}, left=_CACHE),
        "responses": Says({"instructions": "Be brief."}, left=_CACHE),
    },
    "cache.whole": _left(_CACHE, "chat", "responses"),
    "books.user": {
        "messages-chat": Says({"user": _C_ADA}, note=_PROVIDERS_OWN),
        "chat-messages": Says({"metadata": {"user_id": _M_ADA}}, note=_PROVIDERS_OWN),
        "responses-messages": Says({"metadata": {"user_id": _M_ADA}}, note=_PROVIDERS_OWN),
        "messages-responses": Says({"user": _C_ADA, "prompt_cache_key": _C_ADA}, note=_PROVIDERS_OWN),
    },
    "books.safety": _left(_BOOK, "messages", "responses-chat"),
    "books.metadata": _left(_BOOK, "messages", "responses-chat"),
    "books.store": {
        **_left(_BOOK, "messages", "responses-chat"),
        "chat-responses": Says(warns=("dropped:store",)),
    },
    "books.store_off": _left("nothing is kept in this dialect", "messages", "responses-chat"),
    "books.tier": {
        **_left(_BOOK, "messages", "messages-chat", "responses-chat", "messages-responses"),
        "messages-messages@maker": Says(like("books.tier", "messages")),
    },
    "state.previous": _refused(_NO_STATE, "previous_response_id", "chat", "messages", "responses"),
    "state.conversation": _refused(_NO_STATE, "conversation", "chat", "messages", "responses"),
    "state.prompt": _refused(_NO_STATE, "prompt", "chat", "messages", "responses"),
    "state.background": _refused(_NO_STATE, "background", "chat", "messages", "responses"),
    "state.container": {
        "chat": Refused("container cannot be asked for in Chat", "container"),
        "messages": Says(warns=("dropped:container",)),
        "messages@maker": Says(like("state.container", "messages")),
        "responses": Refused("container cannot be asked for in Responses", "container"),
    },
    "state.context": {
        **_dropped("context_management", "chat", "messages", "messages-responses"),
        "messages-messages@maker": Says(like("state.context", "messages")),
    },
    "state.truncation": _left("nothing is cut: a prompt that is too long is told as such", "chat", "messages"),
    "state.tool_calls": _dropped("max_tool_calls", "chat", "messages"),
    "state.unknown": _dropped(
        "tomorrow", "messages-chat", "responses-chat", "chat-messages", "responses-messages", "chat-responses",
        "messages-responses",
    ),
    "streams.plain": {
        "chat": Says({"stream": True, "stream_options": {"include_usage": True}}, note="usage is asked for besides"),
    },
    "streams.usage": {
        "messages": Says({"stream": True}, note="usage is always told"),
        "responses": Says({"stream": True}, note="usage is always told"),
    },
    "streams.no_obfuscation": {
        "chat": Says(
            {"stream": True, "stream_options": {"include_usage": True}}, left="the wish: padding is no part of an answer"
        ),
        "messages": Says({"stream": True}, left="the wish: there is no padding in this dialect"),
        "chat-responses": Says({"stream": True}, left="the wish: padding is no part of an answer"),
    },
}  # fmt: skip
