"""What Anthropic's Messages API refuses (facts/providers.md 3.15, 12.2-12.9), each rule naming the first breach.

Where the facts say that something is sometimes tolerated, the fake refuses. Owns the rules of the request as a whole:
fields, limits, thinking, tools; those of its turns are in `messages_turns`. What a refusal looks like is in `refusals`.
"""

import re
from collections.abc import Iterator
from typing import Any

from hermes_router.sandbox.messages_hear import blocks, thinks
from hermes_router.sandbox.messages_turns import TURNS
from hermes_router.sandbox.rules import Rule, schema_nodes
from hermes_router.sandbox.values import Asked, Breach

MOST_MARKS = 4
LEAST_BUDGET_TOKENS = 1_024
_LEAST_TOP_P = 0.95
EXTRA = "{at}: Extra inputs are not permitted"
_FIELDS = frozenset({
    "model", "messages", "system", "max_tokens", "stream", "stop_sequences", "temperature", "top_p", "top_k", "tools",
    "tool_choice", "thinking", "output_config", "metadata", "service_tier", "cache_control", "inference_geo",
})  # fmt: skip
BETA_FIELDS = frozenset({"container", "context_management", "mcp_servers", "speed", "diagnostics", "fallbacks"})
"""Known only to whoever sends an `anthropic-beta` header."""
_TOOL_FIELDS = frozenset({
    "name", "description", "input_schema", "type", "cache_control", "strict", "defer_loading", "eager_input_streaming",
    "input_examples", "allowed_callers",
})  # fmt: skip
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_HOSTED = re.compile(r"(web_search|web_fetch|code_execution|bash|text_editor|computer|memory|tool_search_tool\w*)_\d+")
_ROOT_UNIONS = ("oneOf", "anyOf", "allOf")


def well_formed(asked: Asked) -> Breach | None:
    """The fields are known, the required ones there, and all of their types."""
    body = asked.body
    for key in body:
        if key not in _FIELDS and not (key in BETA_FIELDS and asked.headers.get("anthropic-beta")):
            return Breach(EXTRA.format(at=key))
    turns = body.get("messages")
    if not isinstance(turns, list):
        return Breach("messages: Field required" if turns is None else "messages: Input should be a valid list")
    if not turns:
        return Breach("messages: at least one message is required")
    system = body.get("system")
    if system is not None and not isinstance(system, str | list):
        return Breach("system: Input should be a valid list")
    for key in ("tools", "stop_sequences"):
        if not isinstance(body.get(key, []), list):
            return Breach(f"{key}: Input should be a valid list")
    for key in ("thinking", "tool_choice", "output_config", "metadata"):
        if not isinstance(body.get(key, {}), dict):
            return Breach(f"{key}: Input should be a valid dictionary")
    if not isinstance(body.get("stream", False), bool):
        return Breach("stream: Input should be a valid boolean")
    for key in body.get("metadata", {}):
        if key != "user_id":
            return Breach(EXTRA.format(at=f"metadata.{key}"))
    return None


def capped(asked: Asked) -> Breach | None:
    """`max_tokens` is required, and at most what the model can."""
    value, most = asked.body.get("max_tokens"), asked.model.max_output
    if value is None:
        return Breach("max_tokens: Field required")
    if not isinstance(value, int) or isinstance(value, bool):
        return Breach("max_tokens: Input should be a valid integer")
    if value < 1:
        return Breach("max_tokens: Input should be greater than or equal to 1")
    if value > most:
        return Breach(f"max_tokens: {value} > {most}, which is the maximum allowed number of output tokens for "
                      f"{asked.model.id}")  # fmt: skip
    return None


def no_cap(asked: Asked) -> Breach | None:
    """Counting tokens knows neither a cap nor a stream."""
    for key in ("max_tokens", "stream"):
        if key in asked.body:
            return Breach(EXTRA.format(at=key))
    return None


def sampling(asked: Asked) -> Breach | None:
    """Ranges; none of it on newer models, not two at once, and next to none with thinking."""
    body = asked.body
    given = [key for key in ("temperature", "top_p", "top_k") if body.get(key) is not None]
    for key, most in (("temperature", 1), ("top_p", 1), ("top_k", float("inf"))):
        value = body.get(key, 0)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return Breach(f"{key}: Input should be a valid number")
        if not 0 <= value <= most:
            return Breach(f"{key}: range: 0..{most}")
    if given and asked.model.current:
        return Breach(f"`{given[0]}` is not supported for this model.")
    if {"temperature", "top_p"} <= set(given):
        return Breach("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if thinks(asked):
        if body.get("temperature", 1) != 1:
            return Breach("`temperature` may only be set to 1 when thinking is enabled.")
        if "top_k" in given:
            return Breach("`top_k` must be unset when thinking is enabled.")
        if body.get("top_p", 1) < _LEAST_TOP_P:
            return Breach("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")
    for at, stop in enumerate(body.get("stop_sequences", ())):
        if not isinstance(stop, str) or not stop.strip():
            return Breach(f"stop_sequences.{at}: each stop sequence must contain non-whitespace")
    return None


def thinking(asked: Asked) -> Breach | None:
    """A form that the model takes, with a budget where that form has one."""
    said = asked.body.get("thinking")
    if said is None:
        return None
    kind, forms = said.get("type"), asked.model.thinking
    if kind not in {"enabled", "adaptive", "between_tools", "disabled"}:
        return Breach("thinking.type: Input tag does not match any of the expected tags: 'disabled', 'enabled', "
                      "'adaptive'")  # fmt: skip
    if kind not in forms:
        return Breach(f"thinking.type: `{kind}` is not supported for this model; expected one of {', '.join(forms)}")
    allowed = {"enabled": {"type", "budget_tokens", "display"}, "adaptive": {"type", "display"}}.get(kind, {"type"})
    for key in said:
        if key not in allowed:
            return Breach(EXTRA.format(at=f"thinking.{kind}.{key}"))
    if kind != "enabled":
        return None
    budget = said.get("budget_tokens")
    if not isinstance(budget, int):
        return Breach("thinking.enabled.budget_tokens: Field required")
    if budget < LEAST_BUDGET_TOKENS:
        return Breach("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if budget >= asked.body.get("max_tokens", budget + 1):
        return Breach("`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation.")
    return None


def output(asked: Asked) -> Breach | None:
    """`output_config`: an effort that the model knows, a format with a closed schema."""
    said = asked.body.get("output_config", {})
    for key in said:
        if key not in {"effort", "format"}:
            return Breach(EXTRA.format(at=f"output_config.{key}"))
    effort = said.get("effort")
    if effort is not None and effort not in asked.model.efforts:
        return Breach(f"output_config.effort: `{effort}` is not supported for this model")
    form = said.get("format")
    if form is None:
        return None
    if not isinstance(form, dict) or form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        return Breach("output_config.format: Input should be a valid JSON schema format")
    if form.keys() - {"type", "schema"}:
        return Breach(EXTRA.format(at=f"output_config.format.{min(form.keys() - {'type', 'schema'})}"))
    return _open_schema(form["schema"], "output_config.format.schema")


def _open_schema(schema: Any, at: str) -> Breach | None:
    for node in schema_nodes(schema):
        if node.get("type") == "object" and node.get("additionalProperties") is not False:
            return Breach(f"{at}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    return None


def tools(asked: Asked) -> Breach | None:
    """Each tool has a name of its own and an object for a schema, or is one that Anthropic runs or knows."""
    seen: set[str] = set()
    for at, tool in enumerate(asked.body.get("tools", ())):
        if not isinstance(tool, dict):
            return Breach(f"tools.{at}: Input should be a valid dictionary")
        kind = tool.get("type", "custom")
        if kind != "custom":
            if not _HOSTED.fullmatch(str(kind)):
                return Breach(f"tools.{at}: Input tag '{kind}' found using 'type' does not match any of the expected "
                              "tags")  # fmt: skip
            continue
        if breach := _custom_tool(tool, at):
            return breach
        if tool["name"] in seen:
            return Breach("tools: Tool names must be unique.")
        seen.add(tool["name"])
    return None


def _custom_tool(tool: dict[str, Any], at: int) -> Breach | None:
    for key in tool:
        if key not in _TOOL_FIELDS:
            return Breach(EXTRA.format(at=f"tools.{at}.custom.{key}"))
    if not _TOOL_NAME.fullmatch(str(tool.get("name", ""))):
        return Breach(f"tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    if not isinstance(tool.get("description", ""), str):
        return Breach(f"tools.{at}.custom.description: Input should be a valid string")
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        return Breach(f"tools.{at}.custom.input_schema: Field required")
    if schema.get("type") != "object":
        return Breach(f"tools.{at}.custom.input_schema.type: Input should be 'object'")
    if any(union in schema for union in _ROOT_UNIONS):
        return Breach(f"tools.{at}.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the "
                      "top level")  # fmt: skip
    return _open_schema(schema, f"tools.{at}.custom.input_schema") if tool.get("strict") else None


def tool_choice(asked: Asked) -> Breach | None:
    """Tools to choose from, and no force while thinking."""
    choice = asked.body.get("tool_choice")
    if choice is None:
        return None
    kind = choice.get("type")
    if kind not in {"auto", "any", "tool", "none"}:
        return Breach("tool_choice: Input tag does not match any of the expected tags: 'auto', 'any', 'tool', 'none'")
    allowed = {"type", "name"} if kind == "tool" else {"type"}
    for key in choice.keys() - allowed - (set() if kind == "none" else {"disable_parallel_tool_use"}):
        return Breach(EXTRA.format(at=f"tool_choice.{kind}.{key}"))
    if not asked.body.get("tools"):
        return Breach("tool_choice: may only be specified while providing tools")
    if kind in {"any", "tool"} and thinks(asked):
        return Breach("Thinking may not be enabled when tool_choice forces tool use.")
    if kind == "tool" and choice.get("name") not in {tool.get("name") for tool in asked.tools}:
        return Breach(f"tool_choice: Tool '{choice.get('name')}' not found in provided tools")
    return None


def cache_marks(asked: Asked) -> Breach | None:
    """At most four marks, of the one known kind."""
    marks = list(_marks(asked.body))
    for mark in marks:
        if not isinstance(mark, dict) or mark.get("type") != "ephemeral" or mark.keys() - {"type", "ttl", "scope"}:
            return Breach("cache_control: Input should be {'type': 'ephemeral'}")
        if mark.get("ttl", "5m") not in {"5m", "1h"}:
            return Breach("cache_control.ephemeral.ttl: Input should be '5m' or '1h'")
    if len(marks) > MOST_MARKS:
        return Breach(f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}.")
    return None


def _marks(body: Any) -> Iterator[Any]:
    places = [body, *(body.get("tools") or ()), *blocks(body.get("system"))]
    for turn in body["messages"]:
        for block in blocks(turn["content"]):
            places += [block, *(blocks(block.get("content")) if block.get("type") == "tool_result" else ())]
    return (place["cache_control"] for place in places if place.get("cache_control") is not None)


_BOTH: tuple[Rule, ...] = (sampling, thinking, output, tools, tool_choice, *TURNS, cache_marks)
RULES: tuple[Rule, ...] = (well_formed, capped, *_BOTH)
COUNTING: tuple[Rule, ...] = (well_formed, no_cap, *_BOTH)
