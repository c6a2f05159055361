"""Features of tools: what may be called, and what must be.

Owns their requests, as each dialect spells them (facts: providers.md 12.4, 12.5). It must never know who answers.
"""

from collections.abc import Mapping
from typing import Any, Final

from hermes_router.conformance.feature import CHAT, MESSAGES, RESPONSES, Feature

__all__ = ["ASK", "CHOICE", "SCHEMA", "TOOLS", "WHAT", "chat_tool", "messages_tool", "responses_tool"]

ASK: Final = "What is the weather in Oslo? Call the tool."
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WHAT: Final = "The weather in a city."
_GRAMMAR: Final = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "[a-z]+"}}
_R_GRAMMAR: Final = {"type": "grammar", "syntax": "regex", "definition": "[a-z]+"}


def chat_tool(name: str = "weather", **keys: Any) -> dict[str, Any]:
    """A function as Chat spells it."""
    return {
        "type": "function",
        "function": {"name": name, "description": WHAT, "parameters": SCHEMA, **keys},
    }


def messages_tool(name: str = "weather", **keys: Any) -> dict[str, Any]:
    """A function as Messages spells it."""
    return {"name": name, "description": WHAT, "input_schema": SCHEMA, **keys}


def responses_tool(name: str = "weather", *, strict: bool = False, **keys: Any) -> dict[str, Any]:
    """A function as Responses spells it."""
    return {
        "type": "function",
        "name": name,
        "description": WHAT,
        "parameters": SCHEMA,
        "strict": strict,
        **keys,
    }


def _asked(**fields: Any) -> dict[str, Any]:
    """For Chat and Messages: the question beside these fields."""
    return {"messages": [{"role": "user", "content": ASK}], **fields}


def _input(**fields: Any) -> dict[str, Any]:
    return {"input": ASK, **fields}


def _with_tools(chat: Mapping[str, Any], messages: Mapping[str, Any], responses: Mapping[str, Any]) -> dict[str, Any]:
    """The tool `weather` beside these fields."""
    return {
        CHAT: _asked(tools=[chat_tool()], **chat),
        MESSAGES: _asked(tools=[messages_tool()], **messages),
        RESPONSES: _input(tools=[responses_tool()], **responses),
    }


TOOLS: Final = (
    Feature("tools.function", "Tools", "a function that the caller runs", _with_tools({}, {}, {})),
    Feature(
        "tools.several",
        "Tools",
        "several functions",
        {
            CHAT: _asked(tools=[chat_tool(), chat_tool("time")]),
            MESSAGES: _asked(tools=[messages_tool(), messages_tool("time")]),
            RESPONSES: _input(tools=[responses_tool(), responses_tool("time")]),
        },
    ),
    Feature(
        "tools.no_schema",
        "Tools",
        "a function without a schema",
        {
            CHAT: _asked(tools=[{"type": "function", "function": {"name": "weather"}}]),
            RESPONSES: _input(tools=[{"type": "function", "name": "weather", "parameters": None, "strict": False}]),
        },
    ),
    Feature(
        "tools.strict",
        "Tools",
        "arguments that must fit the schema",
        {
            CHAT: _asked(tools=[chat_tool(strict=True)]),
            MESSAGES: _asked(tools=[messages_tool(strict=True)]),
            RESPONSES: _input(tools=[responses_tool(strict=True)]),
        },
    ),
    Feature(
        "tools.strict_unsaid",
        "Tools",
        "strictness left to the dialect's own default",
        {
            RESPONSES: _input(
                tools=[{"type": "function", "name": "weather", "description": WHAT, "parameters": SCHEMA}]
            ),
        },
    ),
    Feature(
        "tools.parallel_off",
        "Tools",
        "one call at a time",
        _with_tools(
            {"parallel_tool_calls": False},
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            {"parallel_tool_calls": False},
        ),
    ),
    Feature(
        "tools.custom",
        "Tools",
        "a tool that takes free text",
        {
            CHAT: _asked(tools=[{"type": "custom", "custom": {"name": "note", "description": "Keeps a note."}}]),
            RESPONSES: _input(tools=[{"type": "custom", "name": "note", "description": "Keeps a note."}]),
        },
    ),
    Feature(
        "tools.grammar",
        "Tools",
        "a tool that takes text of a grammar",
        {
            CHAT: _asked(tools=[{"type": "custom", "custom": {"name": "note", "format": _GRAMMAR}}]),
            RESPONSES: _input(tools=[{"type": "custom", "name": "note", "format": _R_GRAMMAR}]),
        },
    ),
    Feature(
        "tools.namespace",
        "Tools",
        "functions in a group with a name",
        {
            RESPONSES: _input(
                tools=[
                    {
                        "type": "namespace",
                        "name": "sky",
                        "description": "What is above.",
                        "tools": [responses_tool()],
                    }
                ]
            ),
        },
    ),
    Feature(
        "tools.legacy",
        "Tools",
        "functions in the older spelling",
        {
            CHAT: _asked(
                functions=[{"name": "weather", "description": WHAT, "parameters": SCHEMA}], function_call="auto"
            ),
        },
    ),
    Feature(
        "tools.examples",
        "Tools",
        "examples of a tool's input",
        {MESSAGES: _asked(tools=[messages_tool(input_examples=[{"city": "Oslo"}])])},
    ),
    Feature(
        "tools.hosted",
        "Tools",
        "a search that the provider runs",
        {
            CHAT: _asked(web_search_options={}),
            MESSAGES: _asked(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
            RESPONSES: _input(tools=[{"type": "web_search"}]),
        },
    ),
    Feature(
        "tools.vendor",
        "Tools",
        "a tool that the caller runs and only the vendor knows",
        {
            MESSAGES: _asked(tools=[{"type": "bash_20250124", "name": "bash"}]),
            RESPONSES: _input(tools=[{"type": "apply_patch"}]),
        },
    ),
    Feature(
        "tools.mcp",
        "Tools",
        "a connector to a tool server",
        {
            MESSAGES: _asked(mcp_servers=[{"type": "url", "name": "sky", "url": "https://example.com/mcp"}]),
            RESPONSES: _input(tools=[{"type": "mcp", "server_label": "sky", "server_url": "https://example.com/mcp"}]),
        },
    ),
)

CHOICE: Final = (
    Feature(
        "choice.auto",
        "Choice of tools",
        "the model decides",
        _with_tools({"tool_choice": "auto"}, {"tool_choice": {"type": "auto"}}, {"tool_choice": "auto"}),
    ),
    Feature(
        "choice.none",
        "Choice of tools",
        "no tool may be called",
        _with_tools({"tool_choice": "none"}, {"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
    ),
    Feature(
        "choice.required",
        "Choice of tools",
        "some tool must be called",
        _with_tools({"tool_choice": "required"}, {"tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
    ),
    Feature(
        "choice.named",
        "Choice of tools",
        "this tool must be called",
        _with_tools(
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
            {"tool_choice": {"type": "tool", "name": "weather"}},
            {"tool_choice": {"type": "function", "name": "weather"}},
        ),
    ),
    Feature(
        "choice.allowed",
        "Choice of tools",
        "only some of the tools may be called",
        {
            CHAT: _asked(
                tools=[chat_tool(), chat_tool("time")],
                tool_choice={
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "weather"}}],
                    },
                },
            ),
            RESPONSES: _input(
                tools=[responses_tool(), responses_tool("time")],
                tool_choice={
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "weather"}],
                },
            ),
        },
    ),
    Feature(
        "choice.hosted",
        "Choice of tools",
        "a tool that the provider runs must be called",
        {
            MESSAGES: _asked(
                tools=[{"type": "web_search_20250305", "name": "web_search"}],
                tool_choice={"type": "tool", "name": "web_search"},
            ),
            RESPONSES: _input(tools=[{"type": "web_search"}], tool_choice={"type": "web_search"}),
        },
    ),
    Feature(
        "choice.unknown",
        "Choice of tools",
        "a tool must be called that is not there",
        _with_tools(
            {"tool_choice": {"type": "function", "function": {"name": "tide"}}},
            {"tool_choice": {"type": "tool", "name": "tide"}},
            {"tool_choice": {"type": "function", "name": "tide"}},
        ),
    ),
    Feature(
        "choice.no_tools",
        "Choice of tools",
        "a choice where there are no tools",
        {
            CHAT: {"tool_choice": "auto"},
            MESSAGES: {"tool_choice": {"type": "auto"}},
            RESPONSES: {"tool_choice": "auto"},
        },
    ),
)
