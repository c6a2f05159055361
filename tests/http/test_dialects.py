"""Messages and Responses where things go wrong: errors, broken streams, oddities of providers, thoughts that are refused."""

import json
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from hermes_router.sandbox import bad_frames, faults
from hermes_router.sandbox.providers import FakeProvider

from ..whole.talk import AGENTS
from ..wire.responses_grammar import check_response, check_stream
from .conftest import KEY

CALLERS = ("chat", "messages", "responses")
CALLER = pytest.mark.parametrize("caller", CALLERS)
UPSTREAM = pytest.mark.parametrize("upstream", CALLERS)
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
NAMES = {"chat": "groq", "messages": "anthropic", "responses": "answers"}
MODELS = {
    "chat": "groq/openai/gpt-oss-120b",
    "messages": "anthropic/claude-haiku-5-5",
    "responses": "answers/gpt-6-luna",
}
ANYONE = {"x-hermes-fallback": "any"}  # the pin first, then whoever can
URLS = {"chat": "/v1/chat/completions", "messages": "/v1/messages?beta=true", "responses": "/v1/responses"}
# A provider that speaks Responses and nothing else: openai speaks Chat, too, and at an address of the owner's only that.
ANSWERS = """
[answers]
endpoints = { openai_responses = "https://answers.example/v1" }
rejection = "openai"
quirks = ["native_responses"]
can = ["tools", "images"]

[[answers.models]]
id = "gpt-6-luna"
context = 272000
max_output = 128000
tier = 3
can = ["reasoning"]
"""


@pytest.fixture
def pool(house, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open a router over fakes of some dialects: `pool("chat", "messages")`; `keys` of each."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    rows = tmp_path / "config/hermes-router/providers.toml"
    rows.parent.mkdir(parents=True)

    async def start(*upstreams: str, keys: int = 1, rows_text: str = ANSWERS) -> Any:
        fakes = [FakeProvider(NAMES[each], style={"answers": "openai"}.get(NAMES[each], "")) for each in upstreams]
        if "responses" in upstreams:
            rows.write_text(rows_text)
        env = {f"{NAMES[each].upper()}_MODEL": MODELS[each].partition("/")[2] for each in upstreams}
        return await house(*fakes, keys={fake.name: keys for fake in fakes}, env=env)

    return start


def agent(h: Any, caller: str, model: str = "hermes-router", **given: Any) -> Any:
    """An SDK in a dialect."""
    return AGENTS[caller](int(h.url.rpartition(":")[2]), model, key=KEY, **given)


def question(caller: str, model: str = "hermes-router", text: str = "say 5 words", **fields: Any) -> dict[str, Any]:
    """One question in a dialect."""
    if caller == "responses":
        return {"model": model, "input": text, **fields}
    asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
    return asked | ({"max_tokens": 500} if caller == "messages" else {})


async def raw(h: Any, caller: str, body: Any, headers: dict[str, str] | None = None) -> tuple[int, Any, bytes]:
    """Status, headers and body of a raw request."""
    data = body if isinstance(body, bytes) else json.dumps(body)
    async with h.http.post(h.url + URLS[caller], data=data, headers=headers) as response:
        return response.status, response.headers, await response.read()


def envelope(caller: str, said: bytes) -> dict[str, Any]:
    """The error of a body, in the dialect's envelope."""
    body = json.loads(said)
    if caller == "messages":
        assert (body["type"], bool(body["request_id"])) == ("error", True)
    else:
        assert {"message", "type", "param", "code"} <= body["error"].keys()
    error: dict[str, Any] = body["error"]
    return error


def frames(body: bytes) -> list[str]:
    """The frames of a stream without comments."""
    return [frame for frame in body.decode().split("\n\n") if frame and not frame.startswith(":")]


def good(caller: str, body: bytes) -> bool:
    """Whether a stream ended as a good one does."""
    found = frames(body)
    if caller == "chat":
        return found[-1] == "data: [DONE]" and '"error"' not in found[-2]
    return found[-1].startswith({"messages": "event: message_stop", "responses": "event: response.completed"}[caller])


@CALLER
async def test_errors_are_those_of_the_dialect(pool, caller: str) -> None:
    """A wrong key, no JSON, a wrong type with its path, an unknown path, nobody who could serve."""
    h = await pool("chat")
    wrong: dict[str, Any] = {"messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]}
    if caller == "responses":
        wrong = {"input": [{"role": "user", "content": [{"type": "input_text", "text": 3}]}]}
    place = "input[0].content[0].text" if caller == "responses" else "messages[0].content[0].text"
    kind = "authentication_error" if caller == "messages" else "invalid_request_error"
    for body, headers, status, expected, words in (
        (question(caller), {"authorization": "Bearer wrong"}, 401, kind, ""),
        (b"{", None, 400, "invalid_request_error", ""),
        (question(caller) | wrong, None, 400, "invalid_request_error", place),
    ):
        got, _, said = await raw(h, caller, body, headers)
        error = envelope(caller, said)
        assert (got, words in said.decode()) == (status, True), said
        assert error["type"] == expected or (status == 401 and caller != "messages")
    h.sandbox.behave("groq", faults.status(500), None)
    got, headers, said = await raw(h, caller, question(caller))
    assert got == (529 if caller == "messages" else 503), said
    assert envelope(caller, said)["message"]
    assert int(headers["retry-after"]) > 0


@UPSTREAM
@CALLER
async def test_a_stream_that_breaks_is_no_good_end(pool, caller: str, upstream: str) -> None:
    """All attempts break after two words: what came ends as an error of the dialect, and its SDK raises."""
    h = await pool(upstream)
    h.sandbox.behave(NAMES[upstream], faults.cut(2), None)
    status, headers, body = await raw(h, caller, question(caller, stream=True))
    assert (status, b"w2" in body, good(caller, body)) == (200, True, False)
    last = frames(body)[-1]
    if caller == "messages":
        assert json.loads(last.partition("data: ")[2])["request_id"] == headers["request-id"]
    assert last.startswith(
        {"chat": "data: ", "messages": "event: error", "responses": "event: response.failed"}[caller]
    )
    h.later(60.0)
    async with agent(h, caller, stream=True, tools=False) as one:
        with pytest.raises((openai.OpenAIError, anthropic.AnthropicError, RuntimeError)):
            await one.say("say 5 words")


EARLY = [
    faults.reset, faults.garbage, faults.html_200, faults.json_200_error, faults.overloaded, faults.empty_answer,
    faults.no_credit, faults.model_gone, faults.rate_limited, lambda: faults.cut(0), lambda: faults.cut(0, "clean"),
    bad_frames.error_chunk, lambda: bad_frames.error_chunk(0, "bare"), lambda: bad_frames.error_chunk(0, "event"),
    lambda: bad_frames.broken_frame(0),
]  # fmt: skip


@UPSTREAM
@CALLER
async def test_what_fails_early_is_answered_by_another(pool, caller: str, upstream: str) -> None:
    """Whatever a provider does instead of answering, in its dialect: the caller gets one whole answer of another."""
    other = CALLERS[CALLERS.index(upstream) - 1]
    h = await pool(upstream, other)
    for number, make in enumerate(EARLY):
        stream = bool((number + CALLERS.index(caller)) % 2)  # over the callers, each both ways
        behaviour = h.sandbox.behave(NAMES[upstream], make(), None)
        before = len(h.sandbox.requests)
        fields = {"extra_headers": ANYONE}
        async with agent(h, caller, MODELS[upstream], stream=stream, tools=False, fields=fields) as one:
            said = await one.say("say 5 words")
        assert said.text == "w1 w2 w3 w4 w5", behaviour.name
        assert h.sandbox.requests[before].behaviour == behaviour.name
        h.sandbox.providers[NAMES[upstream]].script.clear()
        h.later(90_000.0)
    assert {record.outcome for record in h.sandbox.requests if record.status == 200} >= {"finished"}


ODD = [
    bad_frames.unknown_events, bad_frames.odd_lines, bad_frames.usage_repeated, bad_frames.no_usage, bad_frames.no_done,
    bad_frames.empty_output, bad_frames.role_repeated, faults.gzip_body, faults.unary_though_stream,
]  # fmt: skip


@UPSTREAM
@CALLER
async def test_oddities_are_borne(pool, caller: str, upstream: str) -> None:
    """Unknown events and fields, other line ends, usage everywhere or nowhere, no terminator: a whole answer at once."""
    h = await pool(upstream)
    for make in ODD:
        if upstream == "messages" and make is bad_frames.no_done:
            continue  # message_stop is the end
        behaviour = h.sandbox.behave(NAMES[upstream], make())
        async with agent(h, caller, stream=True, tools=False) as one:
            assert (await one.say("say 5 words")).text == "w1 w2 w3 w4 w5", behaviour.name
    assert {record.status for record in h.sandbox.requests if record.body and "model" in record.body} == {200}


@STREAM
@UPSTREAM
@CALLER
async def test_stops_mean_the_same_everywhere(pool, caller: str, upstream: str, stream: bool) -> None:
    """A refusal and a used-up cap, in each dialect's words."""
    h = await pool(upstream)
    caps = {"chat": {"max_tokens": 60}, "messages": {"max_tokens": 60}, "responses": {"max_output_tokens": 60}}
    stops = {"chat": ("length", "content_filter"), "messages": ("max_tokens", "refusal"),
             "responses": ("incomplete", "completed")}  # fmt: skip
    asked: list[tuple[str, dict[str, int], str]] = [
        ("say 900 words", caps[caller], stops[caller][0]),
        ("decline this", {}, stops[caller][1]),
    ]
    for text, fields, stop in asked:
        status, _, body = await raw(h, caller, question(caller, text=text, stream=stream) | fields)
        assert status == 200, body
        if stream:
            datas = [frame.split("data: ", 1)[1] for frame in frames(body) if frame != "data: [DONE]"]
            found = [ended(caller, json.loads(data)) for data in datas]
            assert [each for each in found if each] in ([stop], ["incomplete"] if stop == "completed" else [])
        else:
            assert ended(caller, json.loads(body)) in {stop, "incomplete" if stop == "completed" else stop}


@STREAM
@UPSTREAM
async def test_responses_have_their_shapes_whoever_answers(pool, upstream: str, stream: bool) -> None:
    """Texts, thoughts, parallel calls of each kind, a refusal, a cut: strict types and the grammar of 12.10 (raw, too)."""
    h = await pool(upstream)
    tools = [
        {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {"type": "custom", "name": "apply_patch", "description": "d", "format": {"type": "text"}},
    ]
    thinking = {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    asked: list[tuple[str, dict[str, Any], str]] = [
        ("say 5 words", {}, "message"),
        ("say 5 words", thinking, "message"),
        ("call all tools", {"tools": tools}, "function_call custom_tool_call"),
        ("decline this", {}, "message"),
        ("say 900 words", {"max_output_tokens": 60}, "message"),
    ]
    for text, fields, kinds in asked:
        body = question("responses", text=text, stream=stream, instructions="x", metadata={"a": "b"}) | fields
        status, _, said = await raw(h, "responses", body)
        assert status == 200, said
        whole = check_stream(said) if stream else check_response(json.loads(said))
        assert {item["type"] for item in whole["output"]} >= set(kinds.split()), whole["output"]
        assert (whole["instructions"], whole["metadata"], whole["tools"]) == ("x", {"a": "b"}, fields.get("tools", []))
        parts = [part["type"] for item in whole["output"] for part in item.get("content", ())]
        if "decline" in text and upstream == "responses":  # the other fakes say it as any text
            assert parts == ["refusal"]


@pytest.mark.parametrize("second", CALLERS)
@UPSTREAM
async def test_an_answer_of_two_providers_has_its_shapes(pool, upstream: str, second: str) -> None:
    """Wherever the first one breaks off, the second goes on within the same item, or in one of its own."""
    if second == upstream:
        return
    h = await pool(upstream, second)
    thinking = {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    joined = 0
    for after in range(1, 24, 2):
        h.clock.advance(120.0)  # what broke is forgiven
        h.sandbox.behave(NAMES[upstream], faults.cut(after))
        body = question("responses", model=MODELS[upstream], text="say 9 words", stream=True) | thinking
        status, _, said = await raw(h, "responses", body, ANYONE)
        assert status == 200, said
        whole = check_stream(said)
        assert whole["status"] == "completed", said
        joined += b"attempts=2" in said or b"attempts=3" in said
    assert joined


def ended(caller: str, data: dict[str, Any]) -> str:
    """Why an answer ended, empty where it does not say."""
    if caller == "chat":
        return "".join(choice.get("finish_reason") or "" for choice in data["choices"])
    if caller == "messages":
        return str(data.get("stop_reason") or data.get("delta", {}).get("stop_reason") or "")
    response = data.get("response", data)
    return response["status"] if response.get("status") in {"completed", "incomplete"} and "output" in response else ""


@STREAM
async def test_a_refused_signature_costs_the_thoughts_and_nothing_else(pool, stream: bool) -> None:
    """A caller's own foreign signature is tried once, then left out: the answer comes."""
    h = await pool("messages")
    async with agent(h, "messages", stream=stream, fields={"thinking": {"type": "adaptive"}}) as one:
        first = await one.say("call all tools")
        thought = one.talk[-1]["content"][0]
        assert thought["type"] == "thinking"
        thought["signature"] = "QUJD" * 20
        assert (await one.answer(first, "12 C", "noon")).text == "The tool said: noon"


@STREAM
@CALLER
async def test_two_accounts_do_not_share_thoughts(pool, caller: str, stream: bool) -> None:
    """What one account's key cannot decrypt costs at most an attempt."""
    h = await pool("responses", keys=2)
    async with agent(h, caller, stream=stream) as one:
        for number in range(4):
            first = await one.say("call all tools")
            assert len(first.calls) == 2
            if number == 1:
                h.sandbox.revoke("answers", "key-answers-000001")
            assert (await one.answer(first, "12 C", "noon")).text == "The tool said: noon"


@STREAM
@UPSTREAM
async def test_codex_tools_come_back_as_what_they_are(pool, upstream: str, stream: bool) -> None:
    """A custom tool's free text, a namespaced function, an additional one, a hosted one: there and back, two turns."""
    h = await pool(upstream)
    patch = {"type": "custom", "name": "apply_patch", "description": "d", "format": {"type": "text"}}
    inner = {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}, "strict": False}
    space = {"type": "namespace", "name": "files", "description": "d", "tools": [inner]}
    extra = {"type": "additional_tools", "role": "developer", "tools": [inner | {"name": "extra"}]}
    hosted = [] if upstream == "responses" else [{"type": "web_search"}]
    async with agent(h, "responses", MODELS[upstream], stream=stream, tools=False) as one:
        one.fields = {"tools": [patch, space, *hosted]}
        one.talk.append(extra)
        await one.say("call all tools")
        calls = {item["name"]: item for item in one.talk if item.get("type", "").endswith("_call")}
        assert calls.keys() == {"apply_patch", "clock", "extra"}
        assert calls["apply_patch"]["type"] == "custom_tool_call"
        assert calls["apply_patch"]["input"].startswith("some input")
        assert calls["clock"]["namespace"] == "files"
        for name, call in calls.items():
            kind = "custom_tool_call_output" if name == "apply_patch" else "function_call_output"
            one.talk.append({"type": kind, "call_id": call["call_id"], "output": name})
        assert (await one.ask()).text == "The tool said: extra"
    assert {record.status for record in h.sandbox.requests if record.model} == {200}


@STREAM
async def test_codex_tools_come_back_from_who_knows_only_functions(pool, stream: bool) -> None:
    """A provider that copied the dialect without its tools: flattened on the way out, restored on the way back."""
    h = await pool("responses", rows_text=ANSWERS.replace('quirks = ["native_responses"]', ""))
    patch = {"type": "custom", "name": "apply_patch", "description": "d", "format": {"type": "text"}}
    inner = {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}, "strict": False}
    space = {"type": "namespace", "name": "files", "description": "d", "tools": [inner]}
    async with agent(h, "responses", MODELS["responses"], stream=stream, tools=False) as one:
        one.fields = {"tools": [patch, space]}
        await one.say("call all tools")
        calls = {item["name"]: item for item in one.talk if item.get("type", "").endswith("_call")}
    assert calls.keys() == {"apply_patch", "clock"}
    assert calls["apply_patch"]["type"] == "custom_tool_call"
    assert calls["clock"]["namespace"] == "files"


async def test_what_claude_code_sends_reaches_anthropic_untouched(pool) -> None:
    """Betas, their fields, cache marks, system turns; and what is read from the cache is told as it was."""
    h = await pool("messages")
    mark = {"cache_control": {"type": "ephemeral"}}
    body = question("messages", MODELS["messages"], stream=True) | {
        "system": [{"type": "text", "text": "rules " * 3000, **mark}], "context_management": {"edits": []},
        "metadata": {"user_id": "u"}, "output_config": {"effort": "high"}, "thinking": {"type": "adaptive"},
        "tools": [{"name": "t", "input_schema": {"type": "object"}, "eager_input_streaming": True, **mark}],
    }  # fmt: skip
    body["messages"] += [{"role": "system", "content": "be brief"}, {"role": "user", "content": "say 2 words"}]
    headers = {"anthropic-beta": "context-management-2025-06-27,new-2031", "anthropic-version": "2023-06-01"}
    for _ in range(2):
        status, _, said = await raw(h, "messages", body, headers)
        assert (status, good("messages", said)) == (200, True)
    record = h.sandbox.requests[-1]
    assert record.body == body | {"model": "claude-haiku-5-5"}
    assert record.headers["anthropic-beta"] == headers["anthropic-beta"]
    assert json.loads(frames(said)[0].split("data: ")[1])["message"]["usage"]["cache_read_input_tokens"] > 2000


@STREAM
@CALLER
async def test_cached_tokens_are_counted_once(pool, caller: str, stream: bool) -> None:
    """At Claude, for callers who cannot mark what to cache, too: input holds the cached tokens, or is told without."""
    h = await pool("messages")
    usages = []
    for _ in range(2):
        async with agent(h, caller, MODELS["messages"], stream=stream) as one:
            if caller == "messages":
                one.fields = {"cache_control": {"type": "ephemeral"}}
            await one.say("rules " * 3000 + "say 2 words")
            usages.append(one.raw.usage)
    if caller == "messages":
        assert usages[1].cache_read_input_tokens > 4000 > usages[1].input_tokens
        return
    first, second = [u.prompt_tokens if caller == "chat" else u.input_tokens for u in usages]
    details = usages[1].prompt_tokens_details if caller == "chat" else usages[1].input_tokens_details
    assert first == second >= details.cached_tokens > 4000
