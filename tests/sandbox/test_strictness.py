"""Each provider refuses what the real one refuses, in its shape, and takes a right request."""

import json

import pytest

from hermes_router.sandbox.providers import FakeProvider, Granted, Refused
from hermes_router.sandbox.styles import STYLES

from .conftest import CHATS

USER = {"role": "user", "content": "hello"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def tool(name="weather", parameters=SCHEMA, **fields):
    """A function tool."""
    return {"type": "function", "function": {"name": name, "parameters": parameters, **fields}}


def call(id_="abcDEF123", name="weather", **fields):
    """A tool call of the history."""
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": '{"city":"Rome"}'}, **fields}


def assistant(*calls, **fields):
    """An assistant turn with calls."""
    return {"role": "assistant", "content": "", "tool_calls": list(calls or [call()]), **fields}


def result(id_="abcDEF123"):
    """A tool result."""
    return {"role": "tool", "tool_call_id": id_, "content": "12 C"}


# style, fields or messages that break one rule, status, a word of the answer
BREACHES = [
    ("mistral", {"max_completion_tokens": 5}, 422, "extra_forbidden"),
    ("mistral", {"stream_options": {}}, 422, "stream_options"),
    ("mistral", {"seed": 1}, 422, "extra_forbidden"),
    ("mistral", {"tools": []}, 422, "tools"),
    ("mistral", {"messages": [USER, assistant(reasoning_content="x"), result()]}, 422, "reasoning_content"),
    ("mistral", {"messages": [USER, assistant(call(extra_content={})), result()]}, 422, "extra_content"),
    ("mistral", {"messages": [{"role": "developer", "content": "x"}, USER]}, 422, "role"),
    ("mistral", {"messages": [USER, assistant(call("call_1")), result("call_1")]}, 400, "length of 9"),
    ("mistral", {"messages": [USER, {"role": "assistant", "content": "hi"}]}, 400, "Expected last role"),
    ("mistral", {"messages": [USER, assistant(), result(), USER]}, 400, "after role 'tool'"),
    ("mistral", {"messages": [USER, {"role": "assistant", "content": ""}, USER]}, 400, "either content or tool_calls"),
    ("mistral", {"reasoning_effort": "medium"}, 400, "reasoning_effort"),
    ("groq", {"logprobs": True}, 400, "logprobs"),
    ("groq", {"logit_bias": {}}, 400, "logit_bias"),
    ("groq", {"n": 2}, 400, "at most 1"),
    ("groq", {"store": True}, 400, "unsupported"),
    ("groq", {"stop": list("abcde")}, 400, "stop"),
    ("groq", {"messages": [USER | {"name": "me"}]}, 400, "property 'name' is unsupported"),
    ("groq", {"messages": [USER, assistant(reasoning_content="x"), result()]}, 400, "reasoning_content"),
    ("groq", {"messages": [USER | {"cache_control": {}}]}, 400, "cache_control"),
    ("groq", {"messages": [USER, assistant(call(extra_content={})), result()]}, 400, "extra_content"),
    ("groq", {"max_tokens": 65_537}, 400, "less than or equal"),
    ("groq", {"include_reasoning": True, "reasoning_format": "parsed"}, 400, "both"),
    ("groq", {"reasoning_effort": "none"}, 400, "reasoning_effort"),
    ("cerebras", {"frequency_penalty": 1}, 400, "frequency_penalty"),
    ("cerebras", {"logit_bias": {}}, 400, "logit_bias"),
    ("cerebras", {"store": False}, 400, "store"),
    ("cerebras", {"messages": [{"role": "developer", "content": "x"}, USER]}, 400, "developer"),
    ("cerebras", {"tools": [tool(strict=True), tool("other")]}, 400, "strict"),
    ("cerebras", {"messages": [USER, assistant(reasoning_content="x"), result()]}, 400, "reasoning_content"),
    ("gemini", {"logit_bias": {}}, 400, 'Unknown name \\"logit_bias\\"'),
    ("gemini", {"min_p": 0.1}, 400, "Unknown name"),
    ("gemini", {"tools": [tool(strict=True)]}, 400, "strict"),
    ("gemini", {"tools": [tool(parameters=SCHEMA | {"additionalProperties": False})]}, 400, "additionalProperties"),
    ("gemini", {"tools": [tool(parameters=SCHEMA | {"$schema": "x"})]}, 400, "$schema"),
    ("gemini", {"tools": [tool(parameters={"type": "object", "properties": {"a": {"const": 1}}})]}, 400, "const"),
    ("gemini", {"tools": [tool(parameters={"type": "object", "properties": {"a": {"type": ["string", "null"]}}})]},
     400, "Proto field is not repeating"),
    ("gemini", {"tools": [tool(parameters={"type": "object", "properties": {"a": {"enum": [1]}}})]}, 400, "enum"),
    ("gemini", {"reasoning_effort": "low", "extra_body": {"google": {"thinking_config": {}}}}, 400, "found both"),
    ("gemini", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]},
     400, "image"),
    ("gemini", {"messages": [USER, assistant(), result()], "model": "gemini-3.5-flash-lite"}, 400,
     "missing a thought_signature"),
    ("gemini", {"messages": [USER, assistant(call(extra_content={"google": {"thought_signature": "made up"}})),
                             result()], "model": "gemini-3.5-flash-lite"}, 400, "Corrupted thought signature"),
    ("kimi", {"messages": [USER, assistant(), result()]}, 400, "reasoning_content is missing"),
    ("kimi", {"temperature": 0.5}, 400, "temperature"),
    ("kimi", {"tools": [tool()], "tool_choice": "required"}, 400, "tool_choice"),
    ("kimi", {"store": True}, 400, "store"),
    ("kimi", {"tools": [tool(parameters={"type": "object", "properties": {"a": {"enum": ["x"]}}})]}, 400, "type"),
    ("kimi", {"tools": [tool(parameters={"type": "object", "properties": {"a": {"$ref": "#/x", "title": "y"}}})]},
     400, "$ref"),
    ("kimi", {"reasoning_effort": "medium"}, 400, "reasoning_effort"),
    ("nvidia", {"store": True}, 400, "Unsupported parameter"),
    ("nvidia", {"max_completion_tokens": 5}, 400, "max_completion_tokens"),
    ("nvidia", {"tools": [tool(strict=False)]}, 400, "strict"),
    ("nvidia", {"messages": [USER, assistant(call("a"), call("b")), result("a"), result("b")]}, 400, "single tool-calls"),
    ("nvidia", {"messages": [USER, assistant(), result()], "model": "deepseek-ai/deepseek-v4.1-flash"}, 400,
     "reasoning_content"),
    ("cohere", {"tools": [tool(parameters=SCHEMA | {"additionalProperties": False})]}, 400, "additionalProperties"),
    ("cohere", {"tools": [tool(parameters=SCHEMA | {"$schema": "x"})]}, 400, "$schema"),
    ("cohere", {"max_tokens": 8_193}, 400, "too many output tokens"),
    ("cohere", {"parallel_tool_calls": False, "tools": [tool()]}, 400, "parallel_tool_calls"),
    ("zai", {"tools": [tool()], "tool_choice": "required"}, 400, "1210"),
    ("zai", {"messages": [{"role": "developer", "content": "x"}, USER]}, 400, "1214"),
    ("zai", {"max_tokens": 98_305}, 400, "1210"),
    ("zai", {"temperature": 0}, 400, "1210"),
    ("zai", {"stop": ["a", "b"]}, 400, "1210"),
    ("zai", {"response_format": {"type": "json_schema"}}, 400, "1210"),
    ("openai", {"max_tokens": 5, "model": "gpt-6-luna"}, 400, "unsupported_parameter"),
    ("openai", {"temperature": 0.2, "model": "gpt-6-luna"}, 400, "unsupported_value"),
    ("openai", {"top_k": 3}, 400, "Unrecognized request argument"),
    ("openai", {"tools": [tool(strict=True)]}, 400, "invalid_function_parameters"),
    ("openai", {"tools": [tool("a b")]}, 400, "invalid_value"),
    ("openrouter", {"messages": [{"role": "developer", "content": "x"}, USER]}, 400, "developer"),
    ("openrouter", {"tools": [tool()], "provider": {"require_parameters": True}}, 404, "No endpoints found"),
]  # fmt: skip


@pytest.mark.parametrize(("style", "fields", "status", "word"), BREACHES)
def test_a_breach_is_refused_in_the_providers_words(ask, style, fields, status, word) -> None:
    """Each rule of the provider's card refuses what it should."""
    fields = dict(fields)
    decided = ask(style, *fields.pop("messages", [USER]), **fields)
    assert isinstance(decided, Refused)
    assert decided.refusal.status == status
    assert word in json.dumps(decided.refusal.body)


@pytest.mark.parametrize("style", CHATS)
def test_a_right_request_is_taken(ask, style) -> None:
    """The common core passes everywhere: system, text, a tool, and a second turn as that provider wants it."""
    provider = FakeProvider(style)
    head = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "ask the weather tool"}]
    core = {"stream": True, "tools": [tool()], "tool_choice": "auto", "to": provider}
    first = ask(style, *head, **core)
    assert isinstance(first, Granted)
    made = first.reply.calls[0]
    back = call(made.id)
    if made.signature:
        back["extra_content"] = {"google": {"thought_signature": made.signature}}
    thought = {"reasoning_content": first.reply.reasoning} if provider.models[0].replays else {}
    first.charge.release()
    second = ask(style, *head, assistant(back, **thought), result(made.id), **core)
    assert isinstance(second, Granted), second
    assert second.reply.text == "The tool said: 12 C"


@pytest.mark.parametrize(("messages", "word"), [
    ([USER, assistant()], "did not have response messages"),
    ([USER, assistant(), USER], "did not have response messages"),
    ([USER, result()], "must be a response"),
    ([], "non-empty"),
    (["hello"], "role"),
    ([{"role": "user", "content": None}], "content"),
])  # fmt: skip
def test_histories_that_no_provider_takes(ask, messages, word) -> None:
    """Calls without results, results without calls, and what is no message at all."""
    decided = FakeProvider("groq").decide(
        "sandbox-key", {}, {"model": "openai/gpt-oss-120b", "messages": messages}, 0.0
    )
    assert isinstance(decided, Refused)
    assert word in json.dumps(decided.refusal.body)


def test_tool_choice_needs_tools(ask) -> None:
    """tool_choice without tools is refused."""
    assert "tools" in json.dumps(ask("groq", tool_choice="auto").refusal.body)


def test_bf6_gemini_takes_its_own_signature_and_the_skip_markers(ask) -> None:
    """A signature comes with the first call only, passes back unchanged, and the documented marker passes too."""
    provider = FakeProvider("gemini")
    asked = {"role": "user", "content": "call all tools"}
    fields = {"to": provider, "model": "gemini-3.5-flash-lite", "tools": [tool(), tool("other")]}
    granted = ask("gemini", asked, **fields)
    assert [bool(made.signature) for made in granted.reply.calls] == [True, False]
    for signature in (granted.reply.calls[0].signature, "skip_thought_signature_validator"):
        signed = call("a", extra_content={"google": {"thought_signature": signature}})
        history = [asked, assistant(signed, call("b", "other")), result("a"), result("b")]
        assert isinstance(ask("gemini", *history, **fields), Granted)


def test_names_under_properties_are_no_keywords(ask) -> None:
    """A property may be called `const` or `default` (facts 3.1)."""
    schema = {"type": "object", "properties": {"const": {"type": "string"}, "$ref": {"type": "string"}}}
    assert isinstance(ask("gemini", tools=[tool(parameters=schema)]), Granted)


def test_kimi_is_for_agents(ask) -> None:
    """An SDK's default name hears a fake overload, a bare library that it is no agent."""
    assert ask("kimi", agent="Anthropic/Python 1").refusal.status == 429
    assert ask("kimi", agent="Python/3.11 aiohttp/3").refusal.status == 403
    assert isinstance(ask("kimi", agent="claude-cli/2"), Granted)


OVERFLOWS = {
    "openai": "context_length_exceeded", "gemini": "exceeds the maximum number of tokens", "groq": "reduce the length",
    "openrouter": "you requested about", "mistral": "too large for model with", "zai": "1261",
    "kimi": "exceeded model token limit", "local": "exceed_context_size_error", "nvidia": "maximum context length",
}  # fmt: skip


@pytest.mark.parametrize("style", CHATS)
def test_a_long_prompt_is_refused_by_the_window(ask, style) -> None:
    """Characters / 4 above the window is refused, in the wording of facts 8; Cerebras says nothing at all."""
    model = FakeProvider(style).models[0]
    long = {"role": "user", "content": "x" * (4 * model.context + 8)}
    decided = ask(style, long)
    assert decided.refusal.status == 400
    if style == "cerebras":
        assert decided.refusal.body == b""
    assert OVERFLOWS.get(style, "") in str(decided.refusal.body)


KEYS = {
    "gemini": (400, "API_KEY_INVALID"), "mistral": (401, "Unauthorized"), "cohere": (401, "invalid api token"),
    "zai": (401, "1000"), "cerebras": (401, "wrong_api_key"), "groq": (401, "invalid_api_key"),
}  # fmt: skip


@pytest.mark.parametrize("style", [name for name in CHATS if not STYLES[name].keyless])
def test_a_wrong_key_is_refused_in_the_providers_shape(style) -> None:
    """Every hosted provider refuses an unknown key; Gemini with a 400."""
    provider = FakeProvider(style)
    decided = provider.decide("other", {"user-agent": "agent"}, {"model": provider.models[0].id}, 0.0)
    status, word = KEYS.get(style, (401, ""))
    assert decided.refusal.status == status
    assert word in json.dumps(decided.refusal.body)


def test_unknown_models_are_refused(ask) -> None:
    """An id that is not listed is refused; Gemini takes its prefix."""
    assert ask("gemini", model="gemini-9").refusal.status == 404
    assert isinstance(ask("gemini", model="models/gemini-3.8-flash"), Granted)
    assert ask("zai", model="glm-9").refusal.body["error"]["code"] == "1211"
