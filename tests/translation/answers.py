"""Answers in the words of each dialect: what an upstream says, and what a caller of that dialect must therefore see.

One table serves both ends. A dialect that is absent has no words for it, or says it in another row's. What identifies an
answer (ids, times) and what is the same in all of them is filled in by `whole_of`, and taken out again by `core_of`.
"""

from collections.abc import Mapping
from typing import Any, Final

from hermes_router.conformance.feature import CHAT, MESSAGES, RESPONSES
from hermes_router.conformance.features_turns import SIGNATURE
from hermes_router.wire.seals import unwrap

__all__ = ["ANSWERS", "MARK", "MODEL", "SEALED", "core_of", "whole_of"]

MODEL: Final = "up-1"
_NOW: Final = 1_790_000_000
_USAGE: Final[Mapping[str, Mapping[str, Any]]] = {
    CHAT: {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    MESSAGES: {"input_tokens": 10, "output_tokens": 5},
    RESPONSES: {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
}
_DETAILS: Final = (
    "prompt_tokens_details",
    "completion_tokens_details",
    "input_tokens_details",
    "output_tokens_details",
)
_ITEM_IDS: Final = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}

Core = Mapping[str, Any]


def whole_of(dialect: str, core: Core) -> dict[str, Any]:
    """The whole answer of an upstream."""
    usage = {**_USAGE[dialect], **(core.get("usage") or {})}
    if dialect == CHAT:
        choice = {"index": 0, "message": {"content": None, **core["message"]}, "finish_reason": core["finish_reason"]}
        if "logprobs" in core:
            choice["logprobs"] = core["logprobs"]
        whole = {"id": "chatcmpl-up", "object": "chat.completion", "created": _NOW, "model": MODEL, "choices": [choice]}
        return whole if "usage" in core and core["usage"] is None else {**whole, "usage": usage}
    if dialect == MESSAGES:
        return {
            "id": "msg_up", "type": "message", "role": "assistant", "model": MODEL, "content": core["content"],
            "stop_reason": core["stop_reason"], "stop_sequence": core.get("stop_sequence"), "usage": usage,
        }  # fmt: skip
    inner = {
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    usage |= {key: {**counts, **usage.get(key, {})} for key, counts in inner.items()}
    return {
        "id": "resp_up", "object": "response", "created_at": _NOW, "model": MODEL,
        "output": [_item(index, item) for index, item in enumerate(core["output"])], "status": core["status"],
        "error": None, "incomplete_details": core.get("incomplete_details"), "instructions": None, "metadata": {},
        "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "usage": usage,
    }  # fmt: skip


def _item(index: int, item: Core) -> dict[str, Any]:
    prefix = _ITEM_IDS.get(item["type"], "it")
    status = {} if item["type"] == "reasoning" else {"status": "completed"}
    return {"id": f"{prefix}_up{index}", **status, **item}


def core_of(dialect: str, whole: Mapping[str, Any]) -> dict[str, Any]:
    """What a whole answer says."""
    usage = {key: value for key, value in (whole.get("usage") or {}).items() if key not in _DETAILS}
    for key in _DETAILS:
        inner = {name: count for name, count in ((whole.get("usage") or {}).get(key) or {}).items() if count}
        if inner:
            usage[key] = inner
    usage = {key: value for key, value in usage.items() if value not in (None, 0) or key in _USAGE[dialect]}
    if dialect == CHAT:
        (choice,) = whole["choices"]
        message = {key: value for key, value in choice["message"].items() if value not in (None, [], "")}
        core = {"message": message, "finish_reason": choice["finish_reason"]}
        core |= {"logprobs": choice["logprobs"]} if choice.get("logprobs") else {}
    elif dialect == MESSAGES:
        core = {"content": [_own_mark(block) for block in whole["content"]], "stop_reason": whole["stop_reason"]}
        core |= {"stop_sequence": whole["stop_sequence"]} if whole["stop_sequence"] else {}
    else:
        core = {"output": [_own_mark(_bare(item)) for item in whole["output"]], "status": whole["status"]}
        core |= {"incomplete_details": whole["incomplete_details"]} if whole["incomplete_details"] else {}
    return {**core, "usage": usage, "model": whole["model"]}


def _bare(item: Core) -> dict[str, Any]:
    said = {key: value for key, value in item.items() if key not in ("id", "status") and value is not None}
    if "content" in said:
        said["content"] = [
            {key: value for key, value in part.items() if key != "logprobs" or value} for part in said["content"]
        ]
    return said


MARK: Final = "<mark>"
"""A seal of ours that holds nothing but who made the thought."""
SEALED: Final = f"<mark {SIGNATURE}>"
"""A seal of ours that holds what the thought's maker sealed, to the byte."""


def _own_mark(holder: Core) -> dict[str, Any]:
    out = dict(holder)
    for key in ("signature", "data", "encrypted_content"):
        if isinstance(value := out.get(key), str) and (seal := unwrap(value)) is not None:
            out[key] = f"<mark {seal.data}>" if seal.data else MARK
    return out


def _text(text: str, **keys: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **keys}


def _chat(content: str | None = "Hello!", finish: str = "stop", **message: Any) -> Core:
    said = {"role": "assistant", **({"content": content} if content else {}), **message}
    return {"message": said, "finish_reason": finish}


def _messages(*content: dict[str, Any], stop: str = "end_turn", **keys: Any) -> Core:
    return {"content": [*content], "stop_reason": stop, **keys}


def _responses(*output: dict[str, Any], status: str = "completed", **keys: Any) -> Core:
    return {"output": [*output], "status": status, **keys}


def _message(*texts: str, **keys: Any) -> dict[str, Any]:
    parts = [{"type": "output_text", "text": text, "annotations": [], **keys} for text in texts]
    return {"type": "message", "role": "assistant", "content": parts}


def _thought(text: str = "A greeting.", **keys: Any) -> dict[str, Any]:
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text}] if text else [], **keys}


_OSLO: Final = '{"city":"Oslo"}'
_BERGEN: Final = '{"city":"Bergen"}'


def _c_call(call_id: str = "call_1", arguments: str = _OSLO) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": arguments}}


def _m_call(call_id: str = "call_1", **arguments: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "weather", "input": arguments}


def _r_call(call_id: str = "call_1", arguments: str = _OSLO) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "weather", "arguments": arguments}


_MAX: Final = {"incomplete_details": {"reason": "max_output_tokens"}}
_FILTER: Final = {"incomplete_details": {"reason": "content_filter"}}
_URL: Final = "https://example.com/cats"
_LOGPROB: Final = {"token": "Hello!", "logprob": -0.1, "bytes": [], "top_logprobs": []}
_SEARCH: Final = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "cats"}}
_FOUND: Final = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [{"type": "web_search_result", "url": _URL, "title": "Cats", "encrypted_content": "eA=="}],
}
_HI: Final = {CHAT: _chat(), MESSAGES: _messages(_text("Hello!")), RESPONSES: _responses(_message("Hello!"))}


def _counted(chat: Core, messages: Core, responses: Core) -> Mapping[str, Core]:
    return {
        CHAT: {**_HI[CHAT], "usage": chat},
        MESSAGES: {**_HI[MESSAGES], "usage": messages},
        RESPONSES: {**_HI[RESPONSES], "usage": responses},
    }


ANSWERS: Final[Mapping[str, Mapping[str, Core]]] = {
    "answers.text": _HI,
    "answers.texts": {
        MESSAGES: _messages(_text("Hello!"), _text("Goodbye.")),
        RESPONSES: _responses(_message("Hello!"), _message("Goodbye.")),
    },
    "answers.thought": {
        CHAT: _chat(reasoning_content="A greeting."),
        MESSAGES: _messages({"type": "thinking", "thinking": "A greeting.", "signature": MARK}, _text("Hello!")),
        RESPONSES: _responses(_thought(), _message("Hello!")),
    },
    "answers.sealed": {
        MESSAGES: _messages({"type": "thinking", "thinking": "A greeting.", "signature": SIGNATURE}, _text("Hello!")),
        RESPONSES: _responses(_thought(encrypted_content=SIGNATURE), _message("Hello!")),
    },
    "answers.redacted": {
        MESSAGES: _messages({"type": "redacted_thinking", "data": SIGNATURE}, _text("Hello!")),
    },
    "answers.thought_only": {
        CHAT: _chat(None, "length", reasoning_content="A greeting."),
        MESSAGES: _messages({"type": "thinking", "thinking": "A greeting.", "signature": MARK}, stop="max_tokens"),
        RESPONSES: _responses(_thought(), status="incomplete", **_MAX),
    },
    "answers.call": {
        CHAT: _chat(None, "tool_calls", tool_calls=[_c_call()]),
        MESSAGES: _messages(_m_call(city="Oslo"), stop="tool_use"),
        RESPONSES: _responses(_r_call()),
    },
    "answers.text_call": {
        CHAT: _chat("Let me see.", "tool_calls", tool_calls=[_c_call()]),
        MESSAGES: _messages(_text("Let me see."), _m_call(city="Oslo"), stop="tool_use"),
        RESPONSES: _responses(_message("Let me see."), _r_call()),
    },
    "answers.calls": {
        CHAT: _chat(None, "tool_calls", tool_calls=[_c_call(), _c_call("call_2", _BERGEN)]),
        MESSAGES: _messages(_m_call(city="Oslo"), _m_call("call_2", city="Bergen"), stop="tool_use"),
        RESPONSES: _responses(_r_call(), _r_call("call_2", _BERGEN)),
    },
    "answers.call_bare": {
        CHAT: _chat(None, "tool_calls", tool_calls=[_c_call(arguments="{}")]),
        MESSAGES: _messages(_m_call(), stop="tool_use"),
        RESPONSES: _responses(_r_call(arguments="{}")),
    },
    "answers.custom": {
        CHAT: _chat(
            None,
            "tool_calls",
            tool_calls=[{"id": "call_1", "type": "custom", "custom": {"name": "note", "input": "Oslo"}}],
        ),
        RESPONSES: _responses({"type": "custom_tool_call", "call_id": "call_1", "name": "note", "input": "Oslo"}),
    },
    "answers.custom_function": {
        CHAT: _chat(
            None,
            "tool_calls",
            tool_calls=[
                {"id": "call_1", "type": "function", "function": {"name": "note", "arguments": '{"input":"Oslo"}'}}
            ],
        ),
        MESSAGES: _messages(
            {"type": "tool_use", "id": "call_1", "name": "note", "input": {"input": "Oslo"}}, stop="tool_use"
        ),
        RESPONSES: _responses(
            {"type": "function_call", "call_id": "call_1", "name": "note", "arguments": '{"input":"Oslo"}'}
        ),
    },
    "answers.length": {
        CHAT: _chat(finish="length"),
        MESSAGES: _messages(_text("Hello!"), stop="max_tokens"),
        RESPONSES: _responses(_message("Hello!"), status="incomplete", **_MAX),
    },
    "answers.cut_call": {
        CHAT: _chat("Let me see.", "length", tool_calls=[_c_call(arguments='{"city":"Os')]),
        RESPONSES: _responses(
            _message("Let me see."), _r_call(arguments='{"city":"Os'), status="incomplete", **_MAX
        ),
    },
    "answers.stop_word": {
        MESSAGES: _messages(_text("Hello!"), stop="stop_sequence", stop_sequence="END"),
    },
    "answers.refusal": {
        CHAT: _chat(None, refusal="I must not."),
        MESSAGES: _messages(_text("I must not."), stop="refusal"),
        RESPONSES: _responses({
            "type": "message",
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "I must not."}],
        }),
    },
    "answers.filter": {
        CHAT: _chat(finish="content_filter"),
        RESPONSES: _responses(_message("Hello!"), status="incomplete", **_FILTER),
    },
    "answers.pause": {MESSAGES: _messages(_text("Hello!"), stop="pause_turn")},
    "answers.window": {MESSAGES: _messages(_text("Hello!"), stop="model_context_window_exceeded")},
    "answers.cited": {
        CHAT: _chat(
            annotations=[
                {
                    "type": "url_citation",
                    "url_citation": {"url": _URL, "title": "Cats", "start_index": 0, "end_index": 6},
                }
            ]
        ),
        MESSAGES: _messages(
            _text(
                "Hello!",
                citations=[
                    {
                        "type": "web_search_result_location",
                        "url": _URL,
                        "title": "Cats",
                        "cited_text": "Hello",
                        "encrypted_index": "eA==",
                    }
                ],
            )
        ),
        RESPONSES: _responses(
            _message(
                "Hello!",
                annotations=[
                    {"type": "url_citation", "url": _URL, "title": "Cats", "start_index": 0, "end_index": 6}
                ],
            )
        ),
    },
    "answers.hosted": {
        MESSAGES: _messages(_SEARCH, _FOUND, _text("Hello!")),
        RESPONSES: _responses(
            {"type": "web_search_call", "action": {"type": "search", "query": "cats"}}, _message("Hello!")
        ),
    },
    "answers.logprobs": {
        CHAT: {**_chat(), "logprobs": {"content": [_LOGPROB], "refusal": None}},
        RESPONSES: _responses(_message("Hello!", logprobs=[_LOGPROB])),
    },
    "answers.identity": _HI,
    "usage.plain": _HI,
    "usage.cached": _counted(
        {
            "prompt_tokens": 1_000, "completion_tokens": 5, "total_tokens": 1_005,
            "prompt_tokens_details": {"cached_tokens": 800, "cache_write_tokens": 50},
        },
        {
            "input_tokens": 150, "output_tokens": 5, "cache_read_input_tokens": 800, "cache_creation_input_tokens": 50,
        },
        {
            "input_tokens": 1_000, "output_tokens": 5, "total_tokens": 1_005,
            "input_tokens_details": {"cached_tokens": 800, "cache_write_tokens": 50},
        },
    ),
    "usage.thinking": _counted(
        {
            "prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60,
            "completion_tokens_details": {"reasoning_tokens": 40},
        },
        {"input_tokens": 10, "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 40}},
        {
            "input_tokens": 10, "output_tokens": 50, "total_tokens": 60,
            "output_tokens_details": {"reasoning_tokens": 40},
        },
    ),
    "usage.unsaid": {CHAT: {**_HI[CHAT], "usage": None}},
}  # fmt: skip
