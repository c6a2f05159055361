"""The fakes speak Anthropic Messages: read by the official SDK, and as strict as the real one."""

import base64
import copy
import json

import anthropic
import pytest

from hermes_router.sandbox import bad_frames, faults
from hermes_router.sandbox.providers import FakeProvider, Granted, Refused
from hermes_router.sandbox.quotas import Quotas
from hermes_router.sandbox.server import Sandbox
from hermes_router.sandbox.speeches import SPEECHES
from hermes_router.sandbox.styles import STYLES

from .conftest import START

SPEAKERS = [name for name, style in STYLES.items() if "messages" in style.speaks]
WEATHER = {
    "name": "weather", "description": "d",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}  # fmt: skip
CLOCK = {"name": "clock", "input_schema": {"type": "object", "properties": {}}}
AGENT = {"user-agent": "agent"}  # Kimi looks at who calls
HEADERS = {"x-api-key": "sandbox-key", "anthropic-version": "2023-06-01", "user-agent": "agent"}
USER = {"role": "user", "content": "hello"}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0000").decode()
BUDGET = {"type": "enabled", "budget_tokens": 1024}
OLD = {"model": "claude-haiku-4-5"}


def sdk(sandbox, style="anthropic"):
    """The official client, pointed at a provider."""
    root = sandbox.base_url(style).replace("/api/paas/v4", "/api/anthropic").removesuffix("/v1")
    return anthropic.AsyncAnthropic(base_url=root, api_key="sandbox-key", max_retries=0, default_headers=AGENT)


async def final(client, *, stream, **asked):
    """The SDK's message, streamed or not."""
    if not stream:
        return await client.messages.create(**asked)
    async with client.messages.stream(**asked) as events:
        return await events.get_final_message()


def result(id_, content="12 C", **fields):
    """A tool result."""
    return {"type": "tool_result", "tool_use_id": id_, "content": content, **fields}


def use(id_="toolu_1", name="weather"):
    """A call of the history."""
    return {"type": "tool_use", "id": id_, "name": name, "input": {"city": "Rome"}}


def take(*, to=None, headers=None, **fields):
    """Ask a fake Anthropic, without HTTP."""
    provider = to or FakeProvider("anthropic")
    body = {"model": "claude-haiku-5-5", "max_tokens": 100, "messages": [USER], **fields}
    body = {key: value for key, value in body.items() if value is not ...}
    return provider.decide("sandbox-key", headers or HEADERS, body, START, SPEECHES["messages"])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("style", SPEAKERS)
async def test_the_sdk_takes_two_turns_with_parallel_tools(sandbox, style, stream) -> None:
    """Two calls at once, one without arguments; both results back; an answer that quotes the last."""
    model = sandbox.providers[style].models[0].id
    talk = [{"role": "user", "content": "call all tools"}]
    asked = {"model": model, "max_tokens": 900, "tools": [WEATHER, CLOCK], "stream": stream}
    async with sdk(sandbox, style) as client:
        first = await final(client, messages=talk, **asked)
        assert first.stop_reason == "tool_use"
        calls = [block for block in first.content if block.type == "tool_use"]
        assert [(call.name, call.input) for call in calls] == [("weather", {"city": "some city"}), ("clock", {})]
        talk += [{"role": "assistant", "content": first.model_dump()["content"]},
                 {"role": "user", "content": [result(calls[0].id), result(calls[1].id, "noon")]}]  # fmt: skip
        second = await final(client, messages=talk, **asked)
    assert (second.stop_reason, second.content[-1].text) == ("end_turn", "The tool said: noon")
    assert second.usage.input_tokens > 10


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_thinking_is_signed_and_comes_back(sandbox, stream) -> None:
    """Thoughts before a call; unaltered they pass, altered, foreign, of another model or missing they do not."""
    asked = {"model": "claude-haiku-4-5", "max_tokens": 3000, "tools": [WEATHER], "thinking": BUDGET}
    talk = [{"role": "user", "content": "use the weather tool"}]
    async with sdk(sandbox) as client:
        first = (await final(client, messages=talk, stream=stream, **asked)).model_dump()["content"]
        assert [block["type"] for block in first] == ["thinking", "tool_use"]

        async def second(content, **changes):
            back = [
                *talk,
                {"role": "assistant", "content": content},
                {"role": "user", "content": [result(first[1]["id"])]},
            ]
            return await final(client, messages=back, stream=stream, **(asked | changes))

        assert (await second(first)).content[-1].text == "The tool said: 12 C"
        for field, value, words in (
            ("signature", first[0]["signature"][:-4] + "AAA=", "Invalid `signature` in `thinking` block"),
            ("signature", "hr1.mark", "Invalid `signature` in `thinking` block"),
            ("thinking", "something else", "cannot be modified"),
        ):
            with pytest.raises(anthropic.BadRequestError, match=words):
                await second([first[0] | {field: value}, first[1]])
        with pytest.raises(anthropic.BadRequestError, match="Expected `thinking` or `redacted_thinking`"):
            await second(first[1:])
        with pytest.raises(anthropic.BadRequestError, match="Invalid `signature`"):
            await second(first, model="claude-haiku-5-5", thinking={"type": "adaptive"})


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_redacted_and_omitted_thinking(sandbox, stream) -> None:
    """What is redacted has data only, what is omitted a signature only; both pass back."""
    async with sdk(sandbox) as client:
        for thinking, text, kind in (({"type": "adaptive"}, "think in secret", "redacted_thinking"),
                                     ({"type": "adaptive", "display": "omitted"}, "hi", "thinking")):  # fmt: skip
            talk = [{"role": "user", "content": text}]
            asked = {"model": "claude-opus-5-5", "max_tokens": 999, "thinking": thinking, "stream": stream}
            first = await final(client, messages=talk, **asked)
            assert [block.type for block in first.content] == [kind, "text"]
            assert not getattr(first.content[0], "thinking", "")
            assert first.usage.output_tokens_details.thinking_tokens > 0
            talk += [{"role": "assistant", "content": first.model_dump(exclude_none=True)["content"]}, USER]
            assert (await final(client, messages=talk, **asked)).content[-1].text == "You said: hello"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_every_stop_reason(sandbox, stream) -> None:
    """The cap, a stop string by name, and a refusal with its category."""
    async with sdk(sandbox) as client:

        async def ask(text, **fields):
            asked = {"model": "claude-haiku-5-5", "max_tokens": 100, **fields}
            return await final(client, stream=stream, messages=[{"role": "user", "content": text}], **asked)

        assert (await ask("say 50 words", max_tokens=3)).stop_reason == "max_tokens"
        stopped = await ask("say 5 words", stop_sequences=["w3"])
        assert (stopped.stop_reason, stopped.stop_sequence, stopped.content[0].text) == (
            "stop_sequence",
            "w3",
            "w1 w2 ",
        )
        refused = await ask("decline this")
        assert (refused.stop_reason, refused.stop_details.category) == ("refusal", "general_harms")


async def test_the_cache_is_counted_apart_from_the_input(sandbox) -> None:
    """Up to the mark it is written once and read later; input has neither (12.7)."""
    system = [{"type": "text", "text": "rules " * 2000, "cache_control": {"type": "ephemeral"}}]
    async with sdk(sandbox) as client:
        used = []
        for text in ("hello", "something else"):
            asked = {"model": "claude-haiku-5-5", "max_tokens": 100, "system": system}
            used.append((await final(client, stream=True, messages=[{"role": "user", "content": text}], **asked)).usage)
        small = await final(client, stream=False, messages=[USER], model="claude-haiku-5-5", max_tokens=9)
    first, second = used
    assert first.cache_creation_input_tokens == second.cache_read_input_tokens > 2000
    assert first.cache_read_input_tokens == second.cache_creation_input_tokens == 0
    assert max(first.input_tokens, second.input_tokens) < 100
    assert small.usage.cache_creation_input_tokens == 0


async def test_tokens_are_counted_ahead(sandbox) -> None:
    """count_tokens takes the same body without a cap and says what the answer will."""
    asked = {"model": "claude-haiku-5-5", "messages": [USER], "tools": [WEATHER]}
    async with sdk(sandbox) as client:
        counted = await client.messages.count_tokens(**asked)
        answered = await client.messages.create(max_tokens=50, **asked)
        with pytest.raises(anthropic.BadRequestError, match="messages"):
            await client.messages.count_tokens(model="claude-haiku-5-5", messages=[])
    assert counted.input_tokens == answered.usage.input_tokens


async def test_keys_versions_lists_and_paths(sandbox, http) -> None:
    """A named key and a version; Anthropic's list; Z.ai's own path; no Messages where they are not spoken."""
    async with sdk(sandbox) as client:
        assert (await client.models.list()).data[0].max_input_tokens == 1_000_000
    url = sandbox.base_url("anthropic") + "/messages"
    body = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": [USER]}
    bare = {"authorization": "Basic x"}  # the session has a bearer's key
    for headers, status in ((bare, 400), (HEADERS, 200), ({**HEADERS, **bare, "x-api-key": "x"}, 401)):
        async with http.post(url, json=body, headers=headers) as response:
            assert response.status == status
            if status != 200:
                assert (await response.json())["type"] == "error"
    zai = sandbox.base_url("zai").removesuffix("/api/paas/v4") + "/api/anthropic/v1/messages?beta=true"
    async with http.post(zai, json=body | {"model": "glm-4.7-flash"}) as response:
        assert response.status == 200
    for style in ("groq", "openai", "gemini"):
        async with http.post(sandbox.base_url(style) + "/messages", json=body) as response:
            assert response.status == 404
    async with http.post(sandbox.base_url("anthropic") + "/chat/completions", json=body, headers=HEADERS) as response:
        assert response.status == 404


async def test_quotas_are_told_in_anthropics_headers() -> None:
    """Limits, remainders and RFC 3339 resets on success; on a 429 also Retry-After."""
    fake = FakeProvider("anthropic", quotas=Quotas(rpm=1, tpm=9_000))
    async with Sandbox([fake], lambda: START) as sandbox, sdk(sandbox) as client:
        asked = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": [USER]}
        good = await client.messages.with_raw_response.create(**asked)
        assert good.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert good.headers["anthropic-ratelimit-input-tokens-limit"] == "9000"
        assert good.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
        with pytest.raises(anthropic.RateLimitError) as caught:
            await client.messages.create(**asked)
    assert caught.value.response.headers["retry-after"] == "60"
    assert caught.value.type == "rate_limit_error"


@pytest.mark.parametrize(("behaviour", "status", "kind"), [
    (faults.overloaded(), 529, "overloaded_error"), (faults.status(500), 500, "api_error"),
    (faults.rate_limited(), 429, "rate_limit_error"), (faults.bad_key(), 401, "authentication_error"),
    (faults.no_credit(), 400, "invalid_request_error"), (faults.model_gone(), 404, "not_found_error"),
    (faults.context_overflow(), 400, "invalid_request_error"), (faults.json_200_error(), 200, "api_error"),
])  # fmt: skip
async def test_whole_answers_are_in_the_dialects_envelope(sandbox, http, behaviour, status, kind) -> None:
    """Scripted refusals come as Anthropic words them."""
    sandbox.behave("anthropic", behaviour)
    body = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": [USER]}
    async with http.post(sandbox.base_url("anthropic") + "/messages", json=body, headers=HEADERS) as response:
        assert response.status == status
        said = await response.json()
    assert (said["type"], said["error"]["type"]) == ("error", kind)
    assert said["request_id"]


@pytest.mark.parametrize("behaviour", [
    bad_frames.finish_reason(None), bad_frames.no_usage(), bad_frames.odd_lines(), bad_frames.usage_repeated(),
    bad_frames.unknown_events(), bad_frames.odd_calls("object_arguments"), bad_frames.role_repeated(), faults.gzip_body(),
], ids=lambda each: each.name)  # fmt: skip
async def test_oddities_that_a_reader_must_bear(sandbox, http, behaviour) -> None:
    """They change what they say they do, and leave the text alone."""
    sandbox.behave("anthropic", behaviour)
    body = {"model": "claude-haiku-5-5", "max_tokens": 99, "stream": True, "messages": [USER]}
    async with http.post(sandbox.base_url("anthropic") + "/messages", json=body, headers=HEADERS) as response:
        assert response.status == 200
        raw = await response.read()
    assert b"hello" in raw or response.headers.get("content-encoding") == "gzip"
    assert sandbox.requests[-1].behaviour == behaviour.name


CALLED = [USER, {"role": "assistant", "content": [use()]}]
BREACHES = [
    ({"max_tokens": ...}, "max_tokens: Field required"),
    ({"max_tokens": 128_001}, "maximum allowed number of output tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "9"}, "max_tokens"),
    ({"foo": 1}, "foo: Extra inputs are not permitted"),
    ({"stream_options": {}}, "stream_options: Extra inputs"),
    ({"context_management": {}}, "context_management: Extra inputs"),
    ({"metadata": {"session": "x"}}, "metadata.session"),
    ({"messages": []}, "at least one message"),
    ({"messages": "hi"}, "messages: Input"),
    ({"messages": ["hi"]}, "messages.0"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
    ({"messages": [USER | {"name": "me"}]}, "messages.0.name: Extra inputs"),
    ({"messages": [{"role": "assistant", "content": "hi"}, USER]}, "first message must use the"),
    ({"messages": [{"role": "user", "content": ""}]}, "non-empty content"),
    ({"messages": [{"role": "user", "content": []}]}, "non-empty content"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "text content blocks must be non-empty"),
    ({"messages": [{"role": "user", "content": " \n"}]}, "non-whitespace"),
    ({"messages": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}]}, "'input_text'"),
    ({"messages": [{"role": "user", "content": [use()]}]}, "'tool_use'"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "id": "1"}]}]}, "text.id: Extra inputs"),
    ({"messages": [USER, {"role": "assistant", "content": "hi"}]}, "prefill"),
    ({"messages": [USER, {"role": "assistant", "content": "hi "}], **OLD}, "trailing whitespace"),
    ({"messages": [USER, {"role": "system", "content": "x"}, USER], **OLD}, 'Unexpected role "system"'),
    ({"messages": CALLED, **OLD}, "without `tool_result` blocks immediately after"),
    ({"messages": [*CALLED, USER]}, "without `tool_result` blocks immediately after"),
    ({"messages": [*CALLED, {"role": "user", "content": [{"type": "text", "text": "x"}, result("toolu_1")]}]},
     "without `tool_result` blocks immediately after"),
    ({"messages": [USER, {"role": "assistant", "content": [use(), use("b")]},
                   {"role": "user", "content": [result("toolu_1")]}]}, "immediately after: b"),
    ({"messages": [*CALLED, {"role": "user", "content": [result("toolu_1"), result("toolu_1")]}]}, "single result"),
    ({"messages": [{"role": "user", "content": [result("toolu_1")]}]}, "unexpected `tool_use_id`"),
    ({"messages": [USER, {"role": "assistant", "content": [use("call|1")]},
                   {"role": "user", "content": [result("call|1")]}]}, "tool_use.id"),
    ({"messages": [USER, {"role": "assistant", "content": [use("a" * 65)]},
                   {"role": "user", "content": [result("a" * 65)]}]}, "tool_use.id"),
    ({"messages": [USER, {"role": "assistant", "content": [use() | {"input": "{}"}]}, USER]}, "tool_use.input"),
    ({"messages": [*CALLED, {"role": "user", "content": [result("toolu_1")]}] * 2}, "ids must be unique"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {
        "type": "base64", "media_type": "image/jpeg", "data": PNG}}]}]}, "does not appear to be one"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {
        "type": "base64", "media_type": "image/bmp", "data": PNG}}]}]}, "media_type"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}]},
     "HTTPS"),
    ({"messages": [*CALLED, {"role": "user", "content": [result("toolu_1", [{"type": "image", "source": {
        "type": "base64", "media_type": "image/png", "data": PNG}}], is_error=True)]}]}, "is_error"),
    ({"messages": [USER, {"role": "assistant", "content": [
        {"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "hi"}]}, USER]}, "Invalid `data`"),
    ({"system": [{"type": "text", "text": ""}]}, "system.0"),
    ({"system": [{"type": "image"}]}, "system.0"),
    ({"temperature": 0.5}, "`temperature` is not supported"),
    ({"temperature": 1.5, **OLD}, "temperature: range: 0..1"),
    ({"temperature": 0.5, "top_p": 0.5, **OLD}, "cannot both be specified"),
    ({"temperature": 0.5, "thinking": BUDGET, "max_tokens": 2000, **OLD}, "`temperature` may only be set to 1"),
    ({"top_k": 5, "thinking": BUDGET, "max_tokens": 2000, **OLD}, "`top_k` must be unset"),
    ({"stop_sequences": [" "]}, "stop_sequences.0"),
    ({"thinking": BUDGET}, "thinking.type"),
    ({"thinking": {"type": "adaptive"}, **OLD}, "thinking.type"),
    ({"thinking": {"type": "disabled"}, "model": "claude-opus-5-5"}, "thinking.type"),
    ({"thinking": {"type": "enabled", "budget_tokens": 512}, **OLD}, "greater than or equal to 1024"),
    ({"thinking": BUDGET, "max_tokens": 1024, **OLD}, "greater than `thinking.budget_tokens`"),
    ({"thinking": {"type": "adaptive", "budget_tokens": 2000}}, "thinking.adaptive.budget_tokens"),
    ({"output_config": {"effort": "minimal"}}, "output_config.effort"),
    ({"output_config": {"effort": "low"}, **OLD}, "output_config.effort"),
    ({"output_config": {"format": {"type": "json_object"}}}, "output_config.format"),
    ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, "additionalProperties"),
    ({"tools": [{"name": "a", "input_schema": {}}]}, "input_schema.type"),
    ({"tools": [{"name": "a"}]}, "input_schema: Field required"),
    ({"tools": [{"name": "a", "input_schema": {"type": "object", "anyOf": []}}]}, "at the top level"),
    ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "custom.name"),
    ({"tools": [WEATHER, WEATHER]}, "unique"),
    ({"tools": [WEATHER | {"parameters": {}}]}, "custom.parameters: Extra inputs"),
    ({"tools": [WEATHER | {"strict": True}]}, "additionalProperties"),
    ({"tools": [{"type": "function", "function": {}}]}, "Input tag 'function'"),
    ({"tool_choice": {"type": "auto"}}, "while providing tools"),
    ({"tool_choice": {"type": "required"}, "tools": [WEATHER]}, "tool_choice"),
    ({"tool_choice": {"type": "tool", "name": "x"}, "tools": [WEATHER]}, "not found in provided tools"),
    ({"tool_choice": {"type": "any"}, "tools": [WEATHER], "thinking": {"type": "adaptive"}}, "forces tool use"),
    ({"tool_choice": {"type": "any"}, "tools": [WEATHER], "model": "claude-opus-5-5"}, "forces tool use"),
    ({"messages": [{"role": "user", "content": [
        {"type": "text", "text": str(n), "cache_control": {"type": "ephemeral"}} for n in range(5)]}]}, "maximum of 4"),
    ({"cache_control": {"type": "forever"}}, "cache_control"),
    ({"model": "gpt-4o"}, "model: gpt-4o"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "words"), BREACHES)
def test_a_breach_is_refused_and_names_its_field(fields, words) -> None:
    """Each rule of facts 12.2 to 12.9 refuses what it should, in Anthropic's envelope."""
    decided = take(**copy.deepcopy(fields))
    assert isinstance(decided, Refused), decided
    assert decided.refusal.status in {400, 404}
    assert words in decided.refusal.body["error"]["message"]


@pytest.mark.parametrize("fields", [
    {"messages": [USER, USER]},
    {"messages": [USER, {"role": "system", "content": "be brief"}, USER]},
    {"messages": [*CALLED, {"role": "user", "content": [result("toolu_1"), {"type": "text", "text": "and?"}]}]},
    {"messages": [*CALLED, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image", "source": {
        "type": "base64", "media_type": "image/png", "data": PNG}}]}]},
    {"system": "be brief", "metadata": {"user_id": "me"}, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    {"tools": [WEATHER, {"type": "web_search_20250305", "name": "web_search"}], "tool_choice": {"type": "any"}},
    {"output_config": {"effort": "max"}, "thinking": {"type": "adaptive"}},
    {"temperature": 1, "top_k": 5, **OLD},
    {"tools": [], "messages": [*CALLED, {"role": "user", "content": [result("toolu_1", is_error=True)]}]},
])  # fmt: skip
def test_what_is_right_is_taken(fields) -> None:
    """The strict fake is not stricter than that."""
    decided = take(**fields)
    assert isinstance(decided, Granted), json.dumps(decided.refusal.body)


def test_betas_open_fields_and_unknown_ones_do_no_harm() -> None:
    """With any beta, their fields are known."""
    headers = HEADERS | {"anthropic-beta": "context-management-2025-06-27,never-heard-of-2031-01-01"}
    assert isinstance(take(context_management={"edits": []}, headers=headers), Granted)
