"""What OpenAI's Responses API refuses (facts/providers.md 3.14, 12.2-12.9), each rule naming the first breach.

Owns the rules of the request as a whole: parameters, limits, tools, formats; those of its items are in
`responses_items`. What a refusal looks like is in `refusals`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hermes_router.sandbox.responses_hear import items, tools
from hermes_router.sandbox.responses_items import ITEMS, texts
from hermes_router.sandbox.rules import Rule, schema_nodes
from hermes_router.sandbox.values import Asked, Breach

LEAST_OUTPUT_TOKENS = 16
_FIELDS = frozenset({
    "model", "input", "stream", "background", "context_management", "conversation", "include", "instructions",
    "max_output_tokens", "max_tool_calls", "metadata", "moderation", "parallel_tool_calls", "previous_response_id",
    "prompt", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier",
    "service_tier", "store", "stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p",
    "truncation", "user", "client_metadata",
})  # fmt: skip
_TYPES: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "instructions": (str, "a string"), "stream": (bool, "a boolean"), "store": (bool, "a boolean"),
    "parallel_tool_calls": (bool, "a boolean"), "tools": (list, "an array"), "include": (list, "an array of strings"),
    "reasoning": (dict, "an object"), "text": (dict, "an object"), "metadata": (dict, "an object"),
    "max_output_tokens": (int, "an integer"), "tool_choice": ((str, dict), "one of a string or object"),
    "temperature": ((int, float), "a number"), "top_p": ((int, float), "a number"),
    "previous_response_id": (str, "a string"), "stream_options": (dict, "an object"),
    "input": ((str, list), "an array"),
}  # fmt: skip
_INCLUDABLE = frozenset({
    "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
    "message.input_image.image_url", "computer_call_output.output.image_url", "code_interpreter_call.outputs",
    "reasoning.encrypted_content", "message.output_text.logprobs",
})  # fmt: skip
HOSTED = frozenset({
    "web_search", "web_search_preview", "file_search", "code_interpreter", "computer", "computer_use_preview",
    "image_generation", "mcp", "local_shell", "shell", "apply_patch", "tool_search",
})  # fmt: skip
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_FUNCTION_FIELDS = frozenset({
    "type", "name", "description", "parameters", "strict", "defer_loading", "allowed_callers", "output_schema",
})  # fmt: skip
_CUSTOM_FIELDS = frozenset({"type", "name", "description", "format", "defer_loading", "allowed_callers"})


def _unsupported(key: str) -> Breach:
    return Breach(f"Unsupported parameter: '{key}' is not supported with this model.", key, "unsupported_parameter")


def _not_one_of(at: str, value: Any, known: Iterator[str] | tuple[str, ...]) -> Breach:
    return Breach(f"Invalid value: '{value}'. Supported values are: " + ", ".join(f"'{each}'" for each in known) + ".",
                  at, "invalid_value")  # fmt: skip


def well_formed(asked: Asked) -> Breach | None:
    """The parameters are known and of their types."""
    for key in asked.body:
        if key not in _FIELDS:
            return Breach(f"Unknown parameter: '{key}'.", key, "unknown_parameter")
    for key, (sort, words) in _TYPES.items():
        value = asked.body.get(key)
        if value is not None and (not isinstance(value, sort) or (isinstance(value, bool) and sort is not bool)):
            return Breach(f"Invalid type for '{key}': expected {words}, but got {type(value).__name__} instead.", key,
                          "invalid_type")  # fmt: skip
    if not asked.body.get("input") and not asked.body.get("previous_response_id"):
        return Breach("One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' must be provided.",
                      "input", "missing_required_parameter")  # fmt: skip
    return None


def stateless(asked: Asked) -> Breach | None:
    """What the fake has no machinery for is refused, and an answer to go on from must be there."""
    for key in ("background", "conversation", "prompt"):
        if asked.body.get(key):
            return _unsupported(key)
    before = asked.body.get("previous_response_id")
    if before is not None and asked.owns(before) is None:
        return Breach(f"Previous response with id '{before}' not found.", "previous_response_id",
                      "previous_response_not_found")  # fmt: skip
    return None


def limits(asked: Asked) -> Breach | None:
    """Caps and sampling within their ranges; no sampling on reasoning models."""
    body, most = asked.body, asked.model.max_output
    cap = body.get("max_output_tokens")
    if cap is not None and cap < LEAST_OUTPUT_TOKENS:
        return Breach("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got "
                      f"{cap} instead.", "max_output_tokens", "integer_below_min_value")  # fmt: skip
    if cap is not None and cap > most:
        return Breach(f"Invalid 'max_output_tokens': integer above maximum value. Expected a value <= {most}, but got "
                      f"{cap} instead.", "max_output_tokens", "integer_above_max_value")  # fmt: skip
    for key, top in (("temperature", 2), ("top_p", 1)):
        value = body.get(key)
        if value is None:
            continue
        if asked.model.reasoner and value != 1:
            return _unsupported(key)
        if not 0 <= value <= top:
            return Breach(f"Invalid '{key}': decimal above maximum value. Expected a value <= {top}.", key,
                          "decimal_above_max_value")  # fmt: skip
    for value in body.get("include") or ():
        if value not in _INCLUDABLE:
            return _not_one_of("include[0]", value, tuple(sorted(_INCLUDABLE)))
    if body.get("stream_options") and not body.get("stream"):
        return Breach("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    for key, value in (body.get("metadata") or {}).items():
        if not isinstance(value, str):
            return Breach(f"Invalid type for 'metadata.{key}': expected a string.", f"metadata.{key}", "invalid_type")
    return None


def reasoning(asked: Asked) -> Breach | None:
    """Reasoning is wished for at models that reason, in words that they know."""
    said = asked.body.get("reasoning") or {}
    for key in said:
        if key not in {"effort", "summary", "generate_summary", "context", "mode"}:
            return Breach(f"Unknown parameter: 'reasoning.{key}'.", f"reasoning.{key}", "unknown_parameter")
    effort, known = said.get("effort"), asked.model.efforts or _EFFORTS
    if effort is not None and not (asked.model.reasoner or asked.model.thinks or asked.model.efforts):
        return _unsupported("reasoning.effort")
    if effort is not None and effort not in known:
        return _not_one_of("reasoning.effort", effort, tuple(known))
    if said.get("summary") not in {None, "auto", "concise", "detailed"}:
        return _not_one_of("reasoning.summary", said["summary"], ("concise", "detailed", "auto"))
    return None


def text_format(asked: Asked) -> Breach | None:
    """The format is flat, its schema strict where it says so; JSON mode wants the word JSON."""
    said = asked.body.get("text") or {}
    for key in said:
        if key not in {"format", "verbosity"}:
            return Breach(f"Unknown parameter: 'text.{key}'.", f"text.{key}", "unknown_parameter")
    form = said.get("format")
    if form is None:
        return None
    kind = form.get("type") if isinstance(form, dict) else None
    if kind not in {"text", "json_object", "json_schema"}:
        return _not_one_of("text.format.type", kind, ("json_object", "json_schema", "text"))
    if kind == "json_schema":
        for key, sort in (("name", str), ("schema", dict)):
            if not isinstance(form.get(key), sort):
                return Breach(f"Missing required parameter: 'text.format.{key}'.", f"text.format.{key}",
                              "missing_required_parameter")  # fmt: skip
        if form.get("strict") is not False and (at := _loose(form["schema"])):
            return Breach(f"Invalid schema for response_format '{form['name']}': {at}", "text.format.schema",
                          "invalid_json_schema")  # fmt: skip
    if kind == "json_object" and not any("json" in text.lower() for text in texts(items(asked))):
        return Breach("Response input messages must contain the word 'json' in some form to use 'text.format' of type "
                      "'json_object'.", "input")  # fmt: skip
    return None


def _loose(schema: Any) -> str:
    """What keeps a schema from being strict, empty if nothing does."""
    if isinstance(schema, dict) and schema.get("type") != "object":
        return "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"None\"'."
    for node in schema_nodes(schema):
        properties = node.get("properties")
        if (node.get("type") == "object" or properties is not None) and node.get("additionalProperties") is not False:
            return "In context=(), 'additionalProperties' is required to be supplied and to be false."
        if missing := set(properties or ()) - set(node.get("required") or ()):
            return ("In context=(), 'required' is required to be supplied and to be an array including every key in "
                    f"properties. Missing '{min(missing)}'.")  # fmt: skip
    return ""


def tool_list(asked: Asked) -> Breach | None:
    """Tools are flat, named, and their schemas strict unless they say that they are not."""
    found = tools(asked)
    for at, tool in enumerate(found):
        if breach := _tool(tool, f"tools[{at}]"):
            return breach
    names = [(tool["type"], tool["name"]) for tool in found if "name" in tool]
    for at, each in enumerate(names):
        if each in names[:at]:
            return Breach(f"Duplicate tool name: '{each[1]}'.", f"tools[{at}].name", "invalid_value")
    return None


def _tool(tool: Any, at: str, *, inner: bool = False) -> Breach | None:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind in HOSTED and not inner:
        return None
    if kind not in {"function", "custom"} | (set() if inner else {"namespace"}):
        return _not_one_of(f"{at}.type", kind, ("function", "custom", "namespace", *sorted(HOSTED)))
    if "name" not in tool:
        return Breach(f"Missing required parameter: '{at}.name'.", f"{at}.name", "missing_required_parameter")
    if not _NAME.fullmatch(str(tool["name"])):
        return Breach(f"Invalid '{at}.name': string does not match pattern. Expected a string that matches the pattern "
                      "'^[a-zA-Z0-9_-]+$'.", f"{at}.name", "invalid_value")  # fmt: skip
    if kind == "namespace":
        if not isinstance(tool.get("tools"), list) or not tool["tools"]:
            return Breach(f"Missing required parameter: '{at}.tools'.", f"{at}.tools", "missing_required_parameter")
        return next((breach for number, each in enumerate(tool["tools"])
                     if (breach := _tool(each, f"{at}.tools[{number}]", inner=True))), None)  # fmt: skip
    for key in tool:
        if key not in (_FUNCTION_FIELDS if kind == "function" else _CUSTOM_FIELDS):
            return Breach(f"Unknown parameter: '{at}.{key}'.", f"{at}.{key}", "unknown_parameter")
    schema = tool.get("parameters")
    if kind == "function" and schema is not None and not isinstance(schema, dict):
        return Breach(f"Invalid type for '{at}.parameters': expected an object.", f"{at}.parameters", "invalid_type")
    if kind == "function" and tool.get("strict") is not False and schema is not None and (why := _loose(schema)):
        return Breach(f"Invalid schema for function '{tool['name']}': {why}", f"{at}.parameters",
                      "invalid_function_parameters")  # fmt: skip
    return None


def tool_choice(asked: Asked) -> Breach | None:
    """The choice is a known word or one of the tools, and there are tools to choose from."""
    choice = asked.body.get("tool_choice")
    if choice is None or choice == "auto":
        return None
    if isinstance(choice, str):
        if choice not in {"none", "required"}:
            return _not_one_of("tool_choice", choice, ("none", "auto", "required"))
        if choice == "required" and not tools(asked):
            return Breach("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
        return None
    kind = choice.get("type")
    if kind in {"function", "custom"}:
        if (kind, choice.get("name")) not in {(tool["type"], tool.get("name")) for tool in tools(asked)}:
            return Breach(f"Tool choice '{kind}' not found in 'tools' parameter.", "tool_choice")
        return None
    if kind == "allowed_tools":
        return None if isinstance(choice.get("tools"), list) else _not_one_of("tool_choice.tools", None, ("an array",))
    return None if kind in HOSTED else _not_one_of("tool_choice.type", kind, ("function", "custom", "allowed_tools"))


RULES: tuple[Rule, ...] = (
    well_formed, stateless, *ITEMS, limits, reasoning, text_format, tool_list, tool_choice,
)  # fmt: skip
