"""Features of calls: those of earlier turns, and what they gave back.

Owns their requests, as each dialect spells them (facts: providers.md 12.4). It must never know who answers.
"""

from typing import Any, Final

from hermes_router.conformance.feature import CHAT, MESSAGES, RESPONSES, Feature
from hermes_router.conformance.features_tools import ASK, SCHEMA, WHAT, chat_tool, messages_tool, responses_tool
from hermes_router.conformance.features_turns import PDF, PNG

__all__ = ["CALLS"]

_OSLO: Final = '{"city":"Oslo"}'
_BERGEN: Final = '{"city":"Bergen"}'


def _chat_call(call_id: str = "call_1", arguments: str = _OSLO, name: str = "weather") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _chat_calls(*calls: dict[str, Any], content: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": [*calls]}


def _chat_result(content: Any = "Rain.", call_id: str = "call_1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _use(call_id: str = "call_1", **arguments: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": "weather", "input": arguments}


def _gave(content: Any = "Rain.", call_id: str = "call_1", **keys: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **keys}


def _item(call_id: str = "call_1", arguments: str = _OSLO) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "weather", "arguments": arguments}


def _output(output: Any = "Rain.", call_id: str = "call_1") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def _chat(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": ASK}, *messages], "tools": [chat_tool()]}


def _messages(said: list[dict[str, Any]], heard: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": ASK},
            {"role": "assistant", "content": said},
            {"role": "user", "content": heard},
        ],
        "tools": [messages_tool()],
    }


def _responses(*items: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": ASK}, *items], "tools": [responses_tool()]}


_LETS_SEE: Final = "Let me see."
_IMAGE: Final = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
_DOCUMENT: Final = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}

CALLS: Final = (
    Feature(
        "calls.result",
        "Calls and results",
        "a call of an earlier turn, and what it gave back",
        {
            CHAT: _chat(_chat_calls(_chat_call()), _chat_result()),
            MESSAGES: _messages([_use(city="Oslo")], [_gave()]),
            RESPONSES: _responses(_item(), _output()),
        },
    ),
    Feature(
        "calls.parallel",
        "Calls and results",
        "two calls of one turn, with their results",
        {
            CHAT: _chat(
                _chat_calls(_chat_call(), _chat_call("call_2", _BERGEN)),
                _chat_result(),
                _chat_result("Sun.", "call_2"),
            ),
            MESSAGES: _messages([_use(city="Oslo"), _use("call_2", city="Bergen")], [_gave(), _gave("Sun.", "call_2")]),
            RESPONSES: _responses(_item(), _item("call_2", _BERGEN), _output(), _output("Sun.", "call_2")),
        },
    ),
    Feature(
        "calls.with_text",
        "Calls and results",
        "text before a call, and a word of the user's behind its result",
        {
            CHAT: _chat(
                _chat_calls(_chat_call(), content=_LETS_SEE), _chat_result(), {"role": "user", "content": "Well?"}
            ),
            MESSAGES: _messages(
                [{"type": "text", "text": _LETS_SEE}, _use(city="Oslo")], [_gave(), {"type": "text", "text": "Well?"}]
            ),
            RESPONSES: _responses(
                {
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": _LETS_SEE, "annotations": []}],
                },
                _item(),
                _output(),
                {"role": "user", "content": "Well?"},
            ),
        },
    ),
    Feature(
        "calls.no_arguments",
        "Calls and results",
        "a call without arguments",
        {
            CHAT: _chat(_chat_calls(_chat_call(arguments="")), _chat_result()),
            MESSAGES: _messages([_use()], [_gave()]),
            RESPONSES: _responses(_item(arguments=""), _output()),
        },
    ),
    Feature(
        "calls.broken_arguments",
        "Calls and results",
        "a call whose arguments are no JSON",
        {
            CHAT: _chat(_chat_calls(_chat_call(arguments='{"city":"Os')), _chat_result()),
            RESPONSES: _responses(_item(arguments='{"city":"Os'), _output()),
        },
    ),
    Feature(
        "calls.odd_id",
        "Calls and results",
        "a call id that not every dialect takes",
        {
            CHAT: _chat(_chat_calls(_chat_call("weather:0|x")), _chat_result(call_id="weather:0|x")),
            RESPONSES: _responses(_item("weather:0|x"), _output(call_id="weather:0|x")),
        },
    ),
    Feature(
        "calls.no_result",
        "Calls and results",
        "a call that has no result",
        {
            CHAT: _chat(_chat_calls(_chat_call()), {"role": "user", "content": "Well?"}),
            MESSAGES: _messages([_use(city="Oslo")], [{"type": "text", "text": "Well?"}]),
            RESPONSES: _responses(_item(), {"role": "user", "content": "Well?"}),
        },
    ),
    Feature(
        "calls.no_call",
        "Calls and results",
        "a result that has no call",
        {
            CHAT: _chat(_chat_result(), {"role": "user", "content": "Well?"}),
            MESSAGES: {
                "messages": [
                    {"role": "user", "content": ASK},
                    {"role": "assistant", "content": _LETS_SEE},
                    {"role": "user", "content": [_gave(), {"type": "text", "text": "Well?"}]},
                ],
                "tools": [messages_tool()],
            },
            RESPONSES: _responses(_output(), {"role": "user", "content": "Well?"}),
        },
    ),
    Feature(
        "calls.custom",
        "Calls and results",
        "a call of a tool that takes free text",
        {
            CHAT: {
                "messages": [
                    {"role": "user", "content": ASK},
                    _chat_calls({"id": "call_1", "type": "custom", "custom": {"name": "note", "input": "Oslo"}}),
                    _chat_result(),
                ],
                "tools": [{"type": "custom", "custom": {"name": "note"}}],
            },
            RESPONSES: {
                "input": [
                    {"role": "user", "content": ASK},
                    {"type": "custom_tool_call", "call_id": "call_1", "name": "note", "input": "Oslo"},
                    {"type": "custom_tool_call_output", "call_id": "call_1", "output": "Rain."},
                ],
                "tools": [{"type": "custom", "name": "note"}],
            },
        },
    ),
    Feature(
        "calls.legacy",
        "Calls and results",
        "a call and its result in the older spelling",
        {
            CHAT: {
                "messages": [
                    {"role": "user", "content": ASK},
                    {
                        "role": "assistant",
                        "content": None,
                        "function_call": {"name": "weather", "arguments": _OSLO},
                    },
                    {"role": "function", "name": "weather", "content": "Rain."},
                ],
                "functions": [{"name": "weather", "description": WHAT, "parameters": SCHEMA}],
            },
        },
    ),
    Feature(
        "calls.hosted",
        "Calls and results",
        "a search that the provider ran in an earlier turn",
        {
            MESSAGES: {
                "messages": [
                    {"role": "user", "content": ASK},
                    {
                        "role": "assistant",
                        "content": [
                            {
                                "type": "server_tool_use",
                                "id": "srvtoolu_1",
                                "name": "web_search",
                                "input": {"query": "Oslo"},
                            },
                            {
                                "type": "web_search_tool_result",
                                "tool_use_id": "srvtoolu_1",
                                "content": [
                                    {
                                        "type": "web_search_result",
                                        "url": "https://example.com/oslo",
                                        "title": "Oslo",
                                        "encrypted_content": "eA==",
                                    }
                                ],
                            },
                            {"type": "text", "text": "Rain."},
                        ],
                    },
                    {"role": "user", "content": "Well?"},
                ],
            },
            RESPONSES: {
                "input": [
                    {"role": "user", "content": ASK},
                    {
                        "type": "web_search_call",
                        "id": "ws_1",
                        "status": "completed",
                        "action": {"type": "search", "query": "Oslo"},
                    },
                    {
                        "role": "assistant",
                        "content": [{"type": "output_text", "text": "Rain.", "annotations": []}],
                    },
                    {"role": "user", "content": "Well?"},
                ],
            },
        },
    ),
    Feature(
        "calls.cited",
        "Calls and results",
        "an earlier answer with citations",
        {
            MESSAGES: {
                "messages": [
                    {"role": "user", "content": ASK},
                    {
                        "role": "assistant",
                        "content": [
                            {
                                "type": "text",
                                "text": "Rain.",
                                "citations": [
                                    {
                                        "type": "char_location",
                                        "cited_text": "rain",
                                        "document_index": 0,
                                        "document_title": None,
                                        "start_char_index": 0,
                                        "end_char_index": 4,
                                    }
                                ],
                            }
                        ],
                    },
                    {"role": "user", "content": "Well?"},
                ],
            },
            RESPONSES: {
                "input": [
                    {"role": "user", "content": ASK},
                    {
                        "role": "assistant",
                        "content": [
                            {
                                "type": "output_text",
                                "text": "Rain.",
                                "annotations": [
                                    {
                                        "type": "url_citation",
                                        "url": "https://example.com/oslo",
                                        "title": "Oslo",
                                        "start_index": 0,
                                        "end_index": 4,
                                    }
                                ],
                            }
                        ],
                    },
                    {"role": "user", "content": "Well?"},
                ],
            },
        },
    ),
    Feature(
        "results.parts",
        "Calls and results",
        "a result in several text parts",
        {
            CHAT: _chat(
                _chat_calls(_chat_call()),
                _chat_result([{"type": "text", "text": "Rain."}, {"type": "text", "text": "Wind."}]),
            ),
            MESSAGES: _messages(
                [_use(city="Oslo")], [_gave([{"type": "text", "text": "Rain."}, {"type": "text", "text": "Wind."}])]
            ),
            RESPONSES: _responses(
                _item(), _output([{"type": "input_text", "text": "Rain."}, {"type": "input_text", "text": "Wind."}])
            ),
        },
    ),
    Feature(
        "results.empty",
        "Calls and results",
        "an empty result",
        {
            CHAT: _chat(_chat_calls(_chat_call()), _chat_result("")),
            MESSAGES: _messages([_use(city="Oslo")], [{"type": "tool_result", "tool_use_id": "call_1"}]),
            RESPONSES: _responses(_item(), _output("")),
        },
    ),
    Feature(
        "results.error",
        "Calls and results",
        "a result that is an error",
        {MESSAGES: _messages([_use(city="Oslo")], [_gave("No such city.", is_error=True)])},
    ),
    Feature(
        "results.image",
        "Calls and results",
        "a result with an image",
        {
            MESSAGES: _messages([_use(city="Oslo")], [_gave([{"type": "text", "text": "A photo."}, _IMAGE])]),
            RESPONSES: _responses(
                _item(),
                _output(
                    [
                        {"type": "input_text", "text": "A photo."},
                        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                    ]
                ),
            ),
        },
    ),
    Feature(
        "results.error_image",
        "Calls and results",
        "an error with an image",
        {
            MESSAGES: _messages(
                [_use(city="Oslo")], [_gave([{"type": "text", "text": "Fog."}, _IMAGE], is_error=True)]
            ),
        },
    ),
    Feature(
        "results.file",
        "Calls and results",
        "a result with a PDF",
        {
            MESSAGES: _messages([_use(city="Oslo")], [_gave([_DOCUMENT])]),
            RESPONSES: _responses(
                _item(),
                _output(
                    [
                        {
                            "type": "input_file",
                            "file_data": f"data:application/pdf;base64,{PDF}",
                            "filename": "a.pdf",
                        }
                    ]
                ),
            ),
        },
    ),
)
