"""What must become of tools, of the choice among them, and of calls and their results on their way to an upstream."""

from collections.abc import Mapping
from typing import Any, Final

from hermes_router.conformance.features_turns import PDF, PNG

from .expectation import Refused, Says, Table, like

__all__ = ["TOOLS"]

_ASK: Final = {"role": "user", "content": "What is the weather in Oslo? Call the tool."}
_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
_WHAT: Final = "The weather in a city."
_NOTHING: Final = {"type": "object", "properties": {}}
_FREE: Final = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
_RULED: Final = {
    "type": "object",
    "properties": {
        "input": {"type": "string", "description": "Free text that follows this grammar (regex):\n[a-z]+"},
    },
    "required": ["input"],
}


def _chat(*tools: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The question to a Chat upstream, beside functions."""
    said = {"tools": [{"type": "function", "function": tool} for tool in tools]} if tools else {}
    return {"messages": [_ASK], **said, **fields}


def _messages(*tools: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": [_ASK], **({"tools": [*tools]} if tools else {}), **fields}


def _responses(*tools: dict[str, Any], **fields: Any) -> dict[str, Any]:
    said = {"tools": [{"type": "function", "strict": False, **tool} for tool in tools]} if tools else {}
    return {"input": [_ASK], **said, **fields}


def _flat(name: str, schema: Mapping[str, Any], what: str = "") -> dict[str, Any]:
    """A function as Chat and Responses have it."""
    return {"name": name, **({"description": what} if what else {}), "parameters": schema}


def _rooted(name: str, schema: Mapping[str, Any], what: str = "") -> dict[str, Any]:
    """A function as Messages has it."""
    return {"name": name, **({"description": what} if what else {}), "input_schema": schema}


_WEATHER: Final = _flat("weather", _SCHEMA, _WHAT)
_M_WEATHER: Final = _rooted("weather", _SCHEMA, _WHAT)
_SKY: Final = f"What is above.\n\n{_WHAT}"
_GROUPED: Final = "the group's name stands before the function's, its text before the function's own"
_AS_FUNCTION: Final = "a function of one string"

# --- history ----------------------------------------------------------------------------------------

_OSLO: Final = '{"city":"Oslo"}'
_SEARCH: Final = "https://example.com/oslo\nOslo"
_RAIN: Final = {"role": "assistant", "content": "Rain."}
_WELL: Final = {"role": "user", "content": "Well?"}
_CITED: Final = "the citations, which are the earlier answer's own"
_ORPHAN: Final = {"role": "user", "content": "Result of an earlier tool call: Rain."}
_FOLLOW: Final = "[the images of this result follow]"
_JOINED: Final = "one text, a line each"


def _c_call(arguments: str = _OSLO, name: str = "weather") -> dict[str, Any]:
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _c_result(content: Any = "Rain.") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "call_1", "content": content}


def _c_history(*messages: dict[str, Any], tool: Mapping[str, Any] = _WEATHER) -> dict[str, Any]:
    return {"messages": [_ASK, *messages], "tools": [{"type": "function", "function": tool}]}


def _m_call(call_id: str = "call_1", name: str = "weather", **arguments: str) -> dict[str, Any]:
    use = {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
    return {"role": "assistant", "content": [use]}


def _m_result(content: Any = "Rain.", *beside: dict[str, Any], call_id: str = "call_1", **keys: Any) -> dict[str, Any]:
    gave = {"type": "tool_result", "tool_use_id": call_id, "content": content, **keys}
    return {"role": "user", "content": [gave, *beside]}


def _m_history(*messages: dict[str, Any], tool: Mapping[str, Any] = _M_WEATHER) -> dict[str, Any]:
    return {"messages": [_ASK, *messages], "tools": [tool]}


def _r_call(arguments: str = _OSLO, name: str = "weather") -> dict[str, Any]:
    return {"type": "function_call", "call_id": "call_1", "name": name, "arguments": arguments}


def _r_result(output: Any = "Rain.") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": "call_1", "output": output}


def _r_history(*items: dict[str, Any], tool: Mapping[str, Any] = _WEATHER) -> dict[str, Any]:
    return {"input": [_ASK, *items], "tools": [{"type": "function", "strict": False, **tool}]}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


_WRAPPED: Final = '{"input":"{\\"city\\":\\"Os"}'
_NEW_ID: Final = "call_e1925cac0e29a014dc0726588ae3a6ca"
_C_IMAGE: Final = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
_M_IMAGE: Final = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
_R_IMAGE: Final = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}
_PDF_DATA: Final = f"data:application/pdf;base64,{PDF}"


def _c_file(name: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "file", "file": {"file_data": _PDF_DATA, "filename": name}}]}


def _r_file(name: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "input_file", "file_data": _PDF_DATA, "filename": name}]}


def _images(upstream: str, text: str) -> Says:
    note = "a pointer in the result, the image in a turn behind it"
    if upstream == "chat":
        return Says(_c_history(_c_call(), _c_result(text), {"role": "user", "content": [_C_IMAGE]}), note=note)
    return Says(_r_history(_r_call(), _r_result(text), {"role": "user", "content": [_R_IMAGE]}), note=note)


_HOSTED_GONE: Final = "that tool is run by a provider"

TOOLS: Final[Table] = {
    "tools.no_schema": {
        "messages": Says(_messages(_rooted("weather", _NOTHING)), note="an object without fields"),
        "responses-chat": Says(_chat(_flat("weather", _NOTHING)), note="an object without fields"),
        "chat-responses": Says(_responses(_flat("weather", _NOTHING)), note="an object without fields"),
    },
    "tools.strict_unsaid": {
        "chat": Says(_chat(_WEATHER), note="nothing is said, which is not strict in this dialect"),
        "messages": Says(_messages(_M_WEATHER), note="nothing is said, which is not strict in this dialect"),
    },
    "tools.parallel_off": {
        "messages-chat": Says(like("tools.parallel_off", "chat", tool_choice="auto")),
        "messages-responses": Says(like("tools.parallel_off", "responses", tool_choice="auto")),
    },
    "tools.custom": {
        "responses-chat": Says(_chat(_flat("note", _FREE, "Keeps a note.")), note=_AS_FUNCTION),
        "messages": Says(_messages(_rooted("note", _FREE, "Keeps a note.")), ("approx:tools.custom",)),
        "responses": Says(_responses(_flat("note", _FREE, "Keeps a note.")), note=_AS_FUNCTION),
        "responses@maker": Says(like("tools.custom", "responses")),
    },
    "tools.grammar": {
        "responses-chat": Says(_chat(_flat("note", _FREE)), ("approx:tools.format",)),
        "messages": Says(_messages(_rooted("note", _RULED)), ("approx:tools.custom",)),
        "responses": Says(_responses(_flat("note", _FREE)), ("approx:tools.format",)),
        "responses@maker": Says(like("tools.grammar", "responses")),
    },
    "tools.namespace": {
        "chat": Says(_chat(_flat("sky__weather", _SCHEMA, _SKY)), note=_GROUPED),
        "messages": Says(_messages(_rooted("sky__weather", _SCHEMA, _SKY)), note=_GROUPED),
        "responses": Says(_responses(_flat("sky__weather", _SCHEMA, _SKY)), note=_GROUPED),
        "responses@maker": Says(like("tools.namespace", "responses")),
    },
    "tools.legacy": {
        "chat": Says(_chat(_WEATHER, tool_choice="auto"), ("renamed:functions",)),
        "messages": Says(_messages(_M_WEATHER, tool_choice={"type": "auto"}), note="as tools"),
        "responses": Says(_responses(_WEATHER, tool_choice="auto"), note="as tools"),
    },
    "tools.examples": {
        "chat": Says(_chat(_WEATHER), ("dropped:tools.input_examples",)),
        "messages": Says(_messages(_M_WEATHER), ("dropped:tools.input_examples",)),
        "messages@maker": Says(like("tools.examples", "messages")),
        "responses": Says(_responses(_WEATHER), ("dropped:tools.input_examples",)),
    },
    "tools.hosted": {
        "messages-chat": Says(_chat(), ("dropped:web_search_20250305",)),
        "responses-chat": Says(_chat(), ("dropped:web_search",)),
        "chat-messages": Says(_messages(), ("dropped:web_search_options",)),
        "messages": Says(_messages(), ("dropped:tools.web_search_20250305",)),
        "messages-messages@maker": Says(like("tools.hosted", "messages")),
        "responses-messages": Says(_messages(), ("dropped:tools.web_search",)),
        "chat-responses": Says(_responses(), ("dropped:web_search_options",)),
        "messages-responses": Says(_responses(), ("dropped:web_search_20250305",)),
        "responses": Says(_responses(), ("dropped:web_search",)),
        "responses-responses@maker": Says(like("tools.hosted", "responses")),
    },
    "tools.vendor": {
        "messages-chat": Says(_chat(), ("dropped:bash_20250124",)),
        "responses-chat": Says(_chat(), ("dropped:apply_patch",)),
        "messages": Says(_messages(), ("dropped:tools.bash_20250124",)),
        "messages-messages@maker": Says(like("tools.vendor", "messages")),
        "responses-messages": Says(_messages(), ("dropped:tools.apply_patch",)),
        "messages-responses": Says(_responses(), ("dropped:bash_20250124",)),
        "responses": Says(_responses(), ("dropped:apply_patch",)),
        "responses-responses@maker": Says(like("tools.vendor", "responses")),
    },
    "tools.mcp": {
        "messages-chat": Refused("mcp_servers cannot be asked for in Chat", "mcp_servers"),
        "responses-chat": Says(_chat(), ("dropped:mcp",)),
        "messages": Says(_messages(), ("dropped:mcp_servers",)),
        "messages-messages@maker": Says(like("tools.mcp", "messages")),
        "responses-messages": Says(_messages(), ("dropped:tools.mcp",)),
        "messages-responses": Refused("mcp_servers cannot be asked for in Responses", "mcp_servers"),
        "responses": Says(_responses(), ("dropped:mcp",)),
        "responses-responses@maker": Says(like("tools.mcp", "responses")),
    },
    "choice.allowed": {
        "responses-chat": Says(_chat(_WEATHER, tool_choice="auto"), ("approx:tool_choice",)),
        "messages": Says(_messages(_M_WEATHER, tool_choice={"type": "auto"}), ("approx:tool_choice",)),
        "chat-responses": Says(_responses(_WEATHER, tool_choice="auto"), ("approx:tool_choice",)),
        "responses@maker": Says(like("choice.allowed", "responses")),
    },
    "choice.hosted": {
        "chat": Refused("the tool web_search is run by a provider", "tool_choice"),
        "messages": Refused("the tool that must be called cannot be offered", "tool_choice"),
        "messages-messages@maker": Says(like("choice.hosted", "messages")),
        "responses": Refused("the tool web_search is run by a provider", "tool_choice"),
        "responses-responses@maker": Says(like("choice.hosted", "responses")),
    },
    "choice.unknown": {
        "messages-chat": Refused("tool_choice names 'tide', which is none of the tools", "tool_choice"),
        "responses-chat": Refused("tool_choice names 'tide', which is none of the tools", "tool_choice"),
        "chat-messages": Refused("the tool that must be called cannot be offered", "tool_choice"),
        "responses-messages": Refused("the tool that must be called cannot be offered", "tool_choice"),
        "chat-responses": Refused("tool_choice names 'tide', which is none of the tools", "tool_choice"),
        "messages-responses": Refused("tool_choice names 'tide', which is none of the tools", "tool_choice"),
    },
    "choice.no_tools": {
        each: Says(left="the choice, which is refused where there are no tools")
        for each in ("chat", "messages", "responses")
    },
    "calls.no_arguments": {
        "chat": Says(_c_history(_c_call("{}"), _c_result()), note="as an object without fields"),
        "chat-responses": Says(_r_history(_r_call("{}"), _r_result()), note="as an object without fields"),
        "messages-responses": Says(_r_history(_r_call("{}"), _r_result()), note="as an object without fields"),
    },
    "calls.broken_arguments": {
        "chat": Says(_c_history(_c_call(_WRAPPED), _c_result()), ("repaired:tool_arguments",)),
        "messages": Says(_m_history(_m_call(input='{"city":"Os'), _m_result()), ("repaired:tool_arguments",)),
        "chat-responses": Says(_r_history(_r_call(_WRAPPED), _r_result()), ("repaired:tool_arguments",)),
    },
    "calls.odd_id": {
        "messages": Says(
            _m_history(_m_call(_NEW_ID, city="Oslo"), _m_result(call_id=_NEW_ID)),
            note="another id, the same for the call and its result",
        ),
    },
    "calls.no_result": {
        "chat": Says(_c_history(_c_call(), _c_result("No result provided."), _WELL), ("repaired:missing_results",)),
        "messages": Says(
            _m_history(_m_call(city="Oslo"), _m_result("No result provided.", _text("Well?"), is_error=True)),
            ("repaired:missing_results",),
        ),
        "responses": Says(
            _r_history(_r_call(), _r_result("No result provided."), _WELL), ("repaired:missing_results",)
        ),
    },
    "calls.no_call": {
        "chat": Says(_c_history(_ORPHAN, _WELL), ("repaired:orphan_results",)),
        "messages-chat": Says(
            _c_history({"role": "assistant", "content": "Let me see."}, _ORPHAN, _WELL), ("repaired:orphan_results",)
        ),
        "messages": Says(_m_history(_ORPHAN, _WELL), ("repaired:orphan_results",)),
        "messages-messages": Says(
            _m_history({"role": "assistant", "content": "Let me see."}, _ORPHAN, _WELL), ("repaired:orphan_results",)
        ),
        "responses": Says(_r_history(_ORPHAN, _WELL), ("repaired:orphan_results",)),
        "messages-responses": Says(
            _r_history(
                {"role": "assistant", "content": "Let me see."},
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "Result of an earlier tool call: Rain."},
                        {"type": "input_text", "text": "Well?"},
                    ],
                },
            ),
            ("repaired:orphan_results",),
        ),
    },
    "calls.custom": {
        "responses-chat": Says(
            _c_history(_c_call('{"input":"Oslo"}', "note"), _c_result(), tool=_flat("note", _FREE)), note=_AS_FUNCTION
        ),
        "messages": Says(
            _m_history(_m_call(name="note", input="Oslo"), _m_result(), tool=_rooted("note", _FREE)),
            ("approx:tools.custom",),
        ),
        "responses": Says(
            _r_history(_r_call('{"input":"Oslo"}', "note"), _r_result(), tool=_flat("note", _FREE)), note=_AS_FUNCTION
        ),
        "responses@maker": Says(like("calls.custom", "responses")),
    },
    "calls.legacy": {
        "chat": Says(_c_history(_c_call(), _c_result()), ("renamed:functions", "renamed:function_call")),
        "messages": Says(_m_history(_m_call(city="Oslo"), _m_result()), note="as tools"),
        "responses": Says(_r_history(_r_call(), _r_result()), note="as tools"),
    },
    "calls.hosted": {
        "messages-chat": Says(
            {"messages": [_ASK, {"role": "assistant", "content": f"{_SEARCH}\n\nRain."}, _WELL]},
            ("dropped:server_tool_use",),
        ),
        "responses-chat": Says({"messages": [_ASK, _RAIN, _WELL]}, ("dropped:web_search_call",)),
        "messages": Says(
            {"messages": [_ASK, {"role": "assistant", "content": [_text(_SEARCH), _text("Rain.")]}, _WELL]},
            ("dropped:messages.server_tool_use", "approx:messages.web_search_tool_result"),
        ),
        "messages-messages@maker": Says(like("calls.hosted", "messages")),
        "responses-messages": Says({"messages": [_ASK, _RAIN, _WELL]}, ("dropped:messages.web_search_call",)),
        "messages-responses": Says(
            {"input": [_ASK, {"role": "assistant", "content": _SEARCH}, _RAIN, _WELL]}, ("dropped:server_tool_use",)
        ),
    },
    "calls.cited": {
        "chat": Says({"messages": [_ASK, _RAIN, _WELL]}, left=_CITED),
        "responses-messages": Says({"messages": [_ASK, _RAIN, _WELL]}, left=_CITED),
        "messages-responses": Says({"input": [_ASK, _RAIN, _WELL]}, left=_CITED),
    },
    "results.parts": {
        "messages-chat": Says(_c_history(_c_call(), _c_result("Rain.\nWind.")), note=_JOINED),
        "responses-chat": Says(_c_history(_c_call(), _c_result("Rain.\nWind.")), note=_JOINED),
        "responses": Says(_r_history(_r_call(), _r_result("Rain.\nWind.")), note=_JOINED),
        "responses@maker": Says(like("results.parts", "responses")),
    },
    "results.error": {
        "chat": Says(_c_history(_c_call(), _c_result("Error: No such city.")), note="`Error: ` before the text"),
        "responses": Says(_r_history(_r_call(), _r_result("Error: No such city.")), note="`Error: ` before the text"),
    },
    "results.image": {
        "chat": _images("chat", f"A photo.\n{_FOLLOW}"),
        "responses": _images("responses", f"A photo.\n{_FOLLOW}"),
        "responses@maker": Says(like("results.image", "responses")),
    },
    "results.error_image": {
        "chat": _images("chat", f"Error: Fog.\n{_FOLLOW}"),
        "messages": Says(
            _m_history(_m_call(city="Oslo"), _m_result([_text("Fog.")], _M_IMAGE, is_error=True)),
            ("approx:tool_result.images",),
        ),
        "responses": _images("responses", f"Error: Fog.\n{_FOLLOW}"),
        "responses@maker": Says(
            _r_history(_r_call(), _r_result([{"type": "input_text", "text": "Error: Fog."}, _R_IMAGE])),
            note="`Error: ` before the text",
        ),
    },
    "results.file": {
        "messages-chat": Says(_c_history(_c_call(), _c_result(""), _c_file("file.pdf")), note="in a turn behind it"),
        "responses-chat": Says(_c_history(_c_call(), _c_result(""), _c_file("a.pdf")), note="in a turn behind it"),
        "responses-messages": Says(
            _m_history(
                _m_call(city="Oslo"),
                _m_result(
                    [
                        {
                            "type": "document",
                            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                            "title": "a.pdf",
                        }
                    ]
                ),
            ),
            note="as a document under its name",
        ),
        "messages-responses": Says(
            _r_history(_r_call(), _r_result(_FOLLOW), _r_file("file.pdf")), note="in a turn behind it"
        ),
        "responses": Says(_r_history(_r_call(), _r_result(_FOLLOW), _r_file("a.pdf")), note="in a turn behind it"),
        "responses-responses@maker": Says(like("results.file", "responses")),
        "messages-responses@maker": Says(
            _r_history(_r_call(), _r_result([{"type": "input_file", "file_data": _PDF_DATA, "filename": "file.pdf"}]))
        ),
    },
}
