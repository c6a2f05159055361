"""Which rules each provider keeps (facts/providers.md sections 3 and 5), as one tuple of rules a style.

Where the facts say that a provider sometimes ignores and sometimes refuses, the fake refuses: whoever gets
past it gets past the real one. Rules here are those of one provider only; their parts are in `rules`.
"""

import json
import re
from collections.abc import Mapping

from hermes_router.sandbox import rules
from hermes_router.sandbox.rules import Rule
from hermes_router.sandbox.values import Asked, Breach

_CORE = ("model", "messages", "stream", "temperature", "top_p", "stop", "tools", "tool_choice")
_OPENAI = (
    *_CORE, "stream_options", "max_tokens", "max_completion_tokens", "n", "seed", "response_format",
    "parallel_tool_calls", "user", "service_tier", "frequency_penalty", "presence_penalty", "reasoning_effort",
)  # fmt: skip

# --- Mistral (3.7) ----------------------------------------------------------------------------------

_EXTRA = "Extra inputs are not permitted"
_NINE = re.compile(r"[a-zA-Z0-9]{9}")


def _mistral_ids(asked: Asked) -> Breach | None:
    found = [call.get("id") for _, call in rules.calls(asked)]
    found += [message.get("tool_call_id") for message in asked.messages if message["role"] == "tool"]
    for name in found:
        if not _NINE.fullmatch(str(name)):
            return Breach(f"Tool call id was {name} but must be a-z, A-Z, 0-9, with a length of 9.", code="3280")
    return None


def _mistral_order(asked: Asked) -> Breach | None:
    before = ""
    for message in asked.messages:
        role = message["role"]
        if role == "assistant" and not message.get("content") and not message.get("tool_calls"):
            return Breach("Assistant message must have either content or tool_calls, but not none.", code="3240")
        if role == "user" and before == "tool":
            return Breach("Unexpected role 'user' after role 'tool'")
        before = role
    if before in {"user", "tool"} or asked.messages[-1].get("prefix") is True:
        return None
    return Breach(f"Expected last role User or Tool (or Assistant with prefix True) for serving but got {before}")


def _mistral_tools(asked: Asked) -> Breach | None:
    if asked.body.get("tools") == []:
        return Breach("List should have at least 1 item", loc=("tools",), kind="too_short")
    for at, tool in enumerate(asked.tools):
        for key in tool["function"]:
            if key not in {"name", "description", "parameters", "strict"}:
                return Breach(_EXTRA, loc=("tools", at, "function", key))
    return None


_MISTRAL: tuple[Rule, ...] = (
    rules.only_keys((
        *_CORE, "max_tokens", "random_seed", "response_format", "presence_penalty", "frequency_penalty", "n",
        "prediction", "parallel_tool_calls", "prompt_mode", "safe_prompt", "reasoning_effort",
    ), _EXTRA),
    rules.only_message_keys(("role", "content", "name", "tool_calls", "tool_call_id", "prefix"), _EXTRA,
                            calls_allow=("id", "type", "function", "index")),
    rules.no_role("developer", "Input should be 'system', 'user', 'assistant' or 'tool'"),
    _mistral_tools, _mistral_ids, _mistral_order, rules.known_effort, rules.known_images,
)  # fmt: skip

# --- Groq (3.6) -------------------------------------------------------------------------------------


def _groq_formats(asked: Asked) -> Breach | None:
    body = asked.body
    if "include_reasoning" in body and "reasoning_format" in body:
        return Breach("cannot specify both `include_reasoning` and `reasoning_format`", "reasoning_format")
    if body.get("reasoning_format") == "raw" and (asked.tools or body.get("response_format")):
        return Breach("`reasoning_format` must be hidden or parsed with tools or JSON mode", "reasoning_format")
    return None


_GROQ: tuple[Rule, ...] = (
    rules.no_keys(("logprobs", "top_logprobs", "logit_bias"), "`{key}` is not supported with this model"),
    rules.only_keys((*_OPENAI, "reasoning_format", "include_reasoning"), "property '{key}' is unsupported"),
    rules.only_message_keys(
        ("role", "content", "tool_calls", "tool_call_id", "reasoning"),
        "'messages.{at}' : property '{key}' is unsupported", calls_allow=("id", "type", "function", "index"),
    ),
    rules.single_n, rules.most_stops(4), rules.capped(), rules.known_effort, rules.known_images, _groq_formats,
)  # fmt: skip

# --- Cerebras (3.5) ---------------------------------------------------------------------------------


def _uniform_strict(asked: Asked) -> Breach | None:
    if len({bool(tool["function"].get("strict")) for tool in asked.tools}) > 1:
        return Breach("Tools with mixed values for 'strict' are not allowed.", "tools")
    return None


_CEREBRAS: tuple[Rule, ...] = (
    rules.only_keys((
        *_CORE, "stream_options", "max_tokens", "max_completion_tokens", "response_format", "seed", "user",
        "reasoning_effort", "parallel_tool_calls", "logprobs", "top_logprobs", "n",
    ), "body.{key}: property is not supported"),
    rules.only_message_keys(("role", "content", "name", "tool_calls", "tool_call_id", "reasoning"),
                            "body.messages.{at}.{key}: property is not supported",
                            calls_allow=("id", "type", "function", "index")),
    rules.no_role("developer"), rules.single_n, _uniform_strict, rules.known_effort, rules.known_images,
)  # fmt: skip

# --- Gemini (3.1) -----------------------------------------------------------------------------------

_GEMINI_SCHEMA = frozenset({
    "$schema", "$id", "$comment", "$defs", "$ref", "definitions", "additionalProperties", "patternProperties",
    "unevaluatedProperties", "unevaluatedItems", "exclusiveMinimum", "exclusiveMaximum", "if", "then", "else",
    "dependentRequired", "dependentSchemas", "dependencies", "propertyNames", "prefixItems", "contains",
    "minContains", "maxContains", "not", "allOf", "oneOf", "const", "examples", "readOnly", "writeOnly",
    "uniqueItems", "multipleOf", "deprecated", "contentEncoding", "contentMediaType", "contentSchema",
})  # fmt: skip
SKIP_SIGNATURES = frozenset({"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"})
_UNKNOWN_NAME = 'Invalid JSON payload received. Unknown name "{key}": Cannot find field.'


def _gemini_types(asked: Asked) -> Breach | None:
    for at, node in rules.tool_schemas(asked):
        if isinstance(node.get("type"), list):
            return Breach(f"Invalid value at 'tools[{at}]': Proto field is not repeating, cannot start list.")
        if any(not isinstance(value, str) for value in node.get("enum", ())):
            return Breach(f"Invalid value at 'tools[{at}].parameters.enum' (TYPE_STRING)")
    return None


def _gemini_signatures(asked: Asked) -> Breach | None:
    """The first call of each step carries the signature that came with it, or a documented skip marker."""
    if not asked.model.signs:
        return None
    for at, message in enumerate(asked.messages):
        for call in (message.get("tool_calls") or ())[:1]:
            extra = call.get("extra_content") or {}
            signature = extra.get("google", {}).get("thought_signature")
            if not signature:
                return Breach(
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools "
                    f"to work correctly. Function call `default_api:{call['function']['name']}`, position {at}."
                )
            if signature not in SKIP_SIGNATURES and asked.issued.get(signature) != call["function"]["name"]:
                return Breach("Corrupted thought signature.")
    return None


def _gemini_thinking(asked: Asked) -> Breach | None:
    google = (asked.body.get("extra_body") or {}).get("google", {})
    if "reasoning_effort" in asked.body and "thinking_config" in google:
        return Breach("Expected one of either `reasoning_effort` or custom `thinking_config`; found both.")
    return None


_GEMINI: tuple[Rule, ...] = (
    rules.no_keys(("logit_bias", "logprobs", "top_logprobs", "store", "metadata", "service_tier"), _UNKNOWN_NAME),
    rules.only_keys((*_OPENAI, "extra_body", "top_k"), _UNKNOWN_NAME),
    rules.only_message_keys(("role", "content", "name", "tool_calls", "tool_call_id", "extra_content"), _UNKNOWN_NAME,
                            calls_allow=("id", "type", "function", "index", "extra_content")),
    rules.no_schema_keys(_GEMINI_SCHEMA, "Invalid JSON payload received. Unknown name \"{key}\" at 'tools[{at}]'"
                         ": Cannot find field."),
    rules.no_strict, _gemini_types, _gemini_signatures, _gemini_thinking, rules.inline_images, rules.known_effort,
)  # fmt: skip

# --- Kimi (3.13) ------------------------------------------------------------------------------------


def _kimi_reasoning(asked: Asked) -> Breach | None:
    for at, message in enumerate(asked.messages):
        if asked.model.replays and message.get("tool_calls") and not message.get("reasoning_content"):
            return Breach(
                "thinking is enabled but reasoning_content is missing in assistant tool call message at index "
                f"{at}"
            )  # fmt: skip
    return None


def _kimi_parameters(asked: Asked) -> Breach | None:
    if asked.model.replays and asked.body.get("temperature", 1) != 1:
        return Breach("invalid temperature: only 1 is allowed for this model")
    choice = asked.body.get("tool_choice")
    if asked.model.replays and (choice == "required" or isinstance(choice, dict)):
        return Breach("tool_choice 'required' is incompatible with thinking enabled")
    return None


def _kimi_schemas(asked: Asked) -> Breach | None:
    prefix = "tools.function.parameters is not a valid moonshot flavored json schema, details: "
    for _, node in rules.tool_schemas(asked):
        if "$ref" in node and len(node) > 1:
            return Breach(f"{prefix}<$ref must not have siblings>")
        if "enum" in node and "type" not in node:
            return Breach(f"{prefix}<type is not defined>")
    return None


_KIMI: tuple[Rule, ...] = (
    rules.no_keys(("store", "metadata", "service_tier")), rules.no_role("developer"), rules.no_strict,
    _kimi_reasoning, _kimi_parameters, _kimi_schemas, rules.known_effort,
)  # fmt: skip

# --- NVIDIA (3.11) ----------------------------------------------------------------------------------


def _nvidia_single_calls(asked: Asked) -> Breach | None:
    if asked.model.single_calls and any(len(message.get("tool_calls") or ()) > 1 for message in asked.messages):
        return Breach("This model only supports single tool-calls at once!")
    return None


def _replayed_reasoning(asked: Asked) -> Breach | None:
    for message in asked.messages:
        if asked.model.replays and message.get("tool_calls") and not message.get("reasoning_content"):
            return Breach("The `reasoning_content` in the thinking mode must be passed back to the API.")
    return None


_NVIDIA: tuple[Rule, ...] = (
    rules.only_keys((*_CORE, "max_tokens", "seed", "stream_options", "parallel_tool_calls", "response_format",
                     "chat_template_kwargs"), "Validation: Unsupported parameter(s): `{key}`"),
    rules.only_message_keys(("role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content"),
                            "Validation: Unsupported parameter(s): `{key}`",
                            calls_allow=("id", "type", "function", "index")),
    rules.no_role("developer"), rules.no_strict, _nvidia_single_calls, _replayed_reasoning, rules.known_images,
)  # fmt: skip

# --- Cohere (3.8) -----------------------------------------------------------------------------------

_COHERE: tuple[Rule, ...] = (
    rules.no_keys(("store", "metadata", "logit_bias", "logprobs", "top_logprobs", "modalities", "prediction", "audio",
                   "service_tier", "parallel_tool_calls", "top_k", "min_p")),
    rules.no_schema_keys(("$schema", "additionalProperties"), "tool parameters must not contain {key}"),
    rules.single_n, rules.most_stops(5), rules.known_effort,
    rules.capped(wording="too many output tokens requested: {key} must be at most {most}"),
)  # fmt: skip

# --- Z.ai (3.9) -------------------------------------------------------------------------------------


def _zai_parameters(asked: Asked) -> Breach | None:
    if asked.body.get("tool_choice", "auto") != "auto":
        return Breach("tool_choice only supports auto", code="1210")
    form = asked.body.get("response_format")
    if isinstance(form, dict) and form.get("type") not in {"text", "json_object"}:
        return Breach("response_format only supports text and json_object", code="1210")
    if asked.model.no_zero_temperature and asked.body.get("temperature") == 0:
        return Breach("temperature must be in (0, 1]", code="1210")
    return None


_ZAI: tuple[Rule, ...] = (
    rules.no_role("developer", "Incorrect role information", code="1214"),
    rules.no_keys(("store", "logit_bias", "logprobs", "top_logprobs", "parallel_tool_calls", "metadata",
                   "service_tier"), "Invalid API parameter, please check the documentation: {key}", "1210"),
    rules.capped("1210", "Invalid API parameter: {key} must be in [1, {most}]"),
    rules.single_n, rules.most_stops(1, "1210"), _zai_parameters, rules.known_effort, rules.known_images,
)  # fmt: skip

# --- OpenAI (3.14) ----------------------------------------------------------------------------------

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _openai_reasoner(asked: Asked) -> Breach | None:
    if not asked.model.reasoner:
        return None
    if asked.body.get("max_tokens") is not None:
        return Breach(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
            "instead.", "max_tokens", "unsupported_parameter",
        )  # fmt: skip
    for key in ("stop", "logit_bias", "top_k"):
        if asked.body.get(key) is not None:
            return Breach(f"Unsupported parameter: '{key}' is not supported with this model.", key,
                          "unsupported_parameter")  # fmt: skip
    if asked.body.get("reasoning_effort") == "none":
        return None
    for key, neutral in (("temperature", 1), ("top_p", 1), ("frequency_penalty", 0), ("presence_penalty", 0),
                         ("logprobs", False)):  # fmt: skip
        if asked.body.get(key, neutral) not in {neutral, None}:
            said = f"'{key}' does not support {json.dumps(asked.body[key])} with this model."
            return Breach(f"Unsupported value: {said} Only the default ({neutral}) value is supported.", key,
                          "unsupported_value")  # fmt: skip
    return None


def _openai_tools(asked: Asked) -> Breach | None:
    if asked.body.get("tools") == []:
        return Breach("Invalid 'tools': empty array. Expected an array with minimum length 1.", "tools",
                      "empty_array")  # fmt: skip
    for at, tool in enumerate(asked.tools):
        function = tool["function"]
        if not _NAME.fullmatch(function["name"]):
            return Breach(f"Invalid 'tools[{at}].function.name': string does not match pattern.",
                          f"tools[{at}].function.name", "invalid_value")  # fmt: skip
        for node in rules.schema_nodes(function.get("parameters")) if function.get("strict") else ():
            properties = node.get("properties")
            if properties is not None and (
                node.get("additionalProperties") is not False or set(node.get("required", ())) != set(properties)
            ):
                return Breach(f"Invalid schema for function '{function['name']}': 'additionalProperties' is required "
                              "to be supplied and to be false.", f"tools[{at}].function.parameters",
                              "invalid_function_parameters")  # fmt: skip
    return None


_OPENAI_RULES: tuple[Rule, ...] = (
    _openai_reasoner,
    rules.only_keys((*_OPENAI, "logprobs", "top_logprobs", "logit_bias", "store", "metadata", "modalities", "audio",
                     "prediction", "verbosity", "web_search_options", "prompt_cache_key", "safety_identifier",
                     "functions", "function_call")),
    rules.only_message_keys(("role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio",
                             "function_call"), "Unknown parameter: 'messages[{at}].{key}'.",
                            calls_allow=("id", "type", "function", "custom")),
    _openai_tools, rules.capped(wording="{key} is too large. This model supports at most {most} completion tokens."),
    rules.known_effort, rules.known_images,
)  # fmt: skip

# --- OpenRouter (3.2) -------------------------------------------------------------------------------


def _openrouter_roles(asked: Asked) -> Breach | None:
    if asked.model.id.startswith(("openai/", "anthropic/")):
        return None
    return rules.no_role("developer")(asked)


def _openrouter_providers(asked: Asked) -> Breach | None:
    routing = asked.body.get("provider") or {}
    if routing.get("require_parameters") and asked.tools and asked.model.id.endswith(":free"):
        return Breach("No endpoints found that support tool use.", status=404)
    return None


_OPENROUTER: tuple[Rule, ...] = (_openrouter_roles, _openrouter_providers, rules.known_images)

STRICTNESS: Mapping[str, tuple[Rule, ...]] = {
    "mistral": (rules.well_formed, *_MISTRAL, *rules.PAIRING),
    "groq": (rules.well_formed, *_GROQ, *rules.PAIRING),
    "cerebras": (rules.well_formed, *_CEREBRAS, *rules.PAIRING),
    "gemini": (rules.well_formed, *_GEMINI, *rules.PAIRING),
    "kimi": (rules.well_formed, *_KIMI, *rules.PAIRING),
    "nvidia": (rules.well_formed, *_NVIDIA, *rules.PAIRING),
    "cohere": (rules.well_formed, *_COHERE, *rules.PAIRING),
    "zai": (rules.well_formed, *_ZAI, *rules.PAIRING),
    "openai": (rules.well_formed, *_OPENAI_RULES, *rules.PAIRING),
    "openrouter": (rules.well_formed, *_OPENROUTER, *rules.PAIRING),
    "huggingface": (rules.well_formed, *rules.PAIRING, rules.known_images),
    "sambanova": (rules.well_formed, *rules.PAIRING, rules.known_images),
    "naga": (rules.well_formed, *rules.PAIRING, rules.known_images),
    "generic": (rules.well_formed, *rules.PAIRING, rules.known_images),
    "anthropic": (),
    "local": (rules.well_formed, rules.parsable_arguments, rules.known_images, rules.inline_images),
}
