"""The fakes speak OpenAI Responses: read by the official SDK, and as strict as the real one."""

import copy
import json

import openai
import pytest

from hermes_router.sandbox import bad_frames, faults
from hermes_router.sandbox.providers import FakeProvider, Granted, Refused
from hermes_router.sandbox.speeches import SPEECHES
from hermes_router.sandbox.styles import STYLES

from .conftest import START

SPEAKERS = [name for name, style in STYLES.items() if "responses" in style.speaks]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
CLOCK = {"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}, "strict": False}
PATCH = {"type": "custom", "name": "apply_patch", "description": "d", "format": {"type": "text"}}
USER = {"role": "user", "content": "hello"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "12 C"}
ENCRYPTED = ["reasoning.encrypted_content"]
THINKER = "gpt-6-luna"


def sdk(sandbox, style="openai"):
    """The official client, pointed at a provider."""
    return openai.AsyncOpenAI(base_url=sandbox.base_url(style), api_key="sandbox-key", max_retries=0)


async def final(client, *, stream, **asked):
    """The SDK's response, streamed (and checked by its accumulator) or not."""
    if not stream:
        return await client.responses.create(**asked)
    async with client.responses.stream(**asked) as events:
        return await events.get_final_response()


def take(*, to=None, **fields):
    """Ask a fake OpenAI, without HTTP."""
    body = {"model": "gpt-4o-mini", "input": "hello", **fields}
    body = {key: value for key, value in body.items() if value is not ...}
    return (to or FakeProvider("openai")).decide("sandbox-key", {}, body, START, SPEECHES["responses"])


def echoed(response):
    """The items of an answer, as agents send them back."""
    return [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("style", SPEAKERS)
async def test_the_sdk_takes_two_turns_with_parallel_tools(sandbox, style, stream) -> None:
    """Two calls at once; both outputs back; an answer that quotes the last."""
    model = sandbox.providers[style].models[0].id
    talk = [{"role": "user", "content": "call all tools"}]
    asked = {"model": model, "tools": [WEATHER, CLOCK], "store": False}
    async with sdk(sandbox, style) as client:
        first = await final(client, stream=stream, input=talk, **asked)
        calls = [item for item in first.output if item.type == "function_call"]
        assert [(call.name, json.loads(call.arguments)) for call in calls] == [
            ("weather", {"city": "some city"}), ("clock", {})]  # fmt: skip
        talk += echoed(first)
        talk += [OUTPUT | {"call_id": calls[0].call_id}, OUTPUT | {"call_id": calls[1].call_id, "output": "noon"}]
        second = await final(client, stream=stream, input=talk, **asked)
    assert (second.status, second.output_text) == ("completed", "The tool said: noon")
    assert second.usage.total_tokens == second.usage.input_tokens + second.usage.output_tokens


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_reasoning_is_encrypted_and_comes_back(sandbox, stream) -> None:
    """A summary if asked, the encrypted item if included; of another model, altered or without its follower: refused."""
    talk = [{"role": "user", "content": "use the weather tool"}]
    asked = {"model": THINKER, "tools": [WEATHER], "store": False, "include": ENCRYPTED,
             "reasoning": {"effort": "low", "summary": "auto"}}  # fmt: skip
    async with sdk(sandbox) as client:
        first = await final(client, input=talk, stream=stream, **asked)
        thought, call = echoed(first)
        assert (thought["type"], call["type"]) == ("reasoning", "function_call")
        assert thought["summary"][0]["text"].startswith("hmm")
        assert first.usage.output_tokens_details.reasoning_tokens == 40

        async def second(*items, **changes):
            given = [*talk, *items, OUTPUT | {"call_id": call["call_id"]}]
            return await final(client, input=given, stream=stream, **(asked | changes))

        assert (await second(thought, call)).output_text == "The tool said: 12 C"
        assert (await second(call)).output_text == "The tool said: 12 C"
        with pytest.raises(openai.BadRequestError, match="could not be verified") as caught:
            await second(thought | {"encrypted_content": "hr1.mark"}, call)
        assert caught.value.code == "invalid_encrypted_content"
        with pytest.raises(openai.NotFoundError, match="not found"):
            await second({key: value for key, value in thought.items() if key != "encrypted_content"}, call)
        with pytest.raises(openai.BadRequestError, match="required following item"):
            await client.responses.create(input=[*talk, thought], **asked)
        other = FakeProvider("elsewhere", style="openai")
        decided = take(to=other, model=THINKER, input=[*talk, thought, call, OUTPUT | {"call_id": call["call_id"]}])
        assert isinstance(decided, Refused)


async def test_what_is_not_asked_for_is_not_told(sandbox) -> None:
    """No summary and no encrypted item unless asked; no reasoning at all with effort none."""
    async with sdk(sandbox) as client:
        bare = await client.responses.create(model=THINKER, input="hello")
        none = await client.responses.create(model=THINKER, input="hello", reasoning={"effort": "none"})
    assert (bare.output[0].summary, bare.output[0].encrypted_content) == ([], None)
    assert [item.type for item in none.output] == ["message"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_custom_tools_and_namespaces(sandbox, stream) -> None:
    """Free text for a custom tool; a namespaced function and an additional one are called by their own names."""
    space = {"type": "namespace", "name": "files", "description": "d", "tools": [CLOCK]}
    extra = {"type": "additional_tools", "role": "developer", "tools": [WEATHER]}
    talk = [extra, {"role": "user", "content": "call all tools"}]
    async with sdk(sandbox) as client:
        first = await final(client, stream=stream, model="gpt-4o-mini", input=talk, tools=[PATCH, space])
        patch, clock, weather = echoed(first)
        assert (patch["type"], patch["input"]) == ("custom_tool_call", "some input\nfor apply_patch")
        assert (clock["name"], clock["namespace"], weather["name"]) == ("clock", "files", "weather")
        talk += [patch, clock, weather, OUTPUT | {"call_id": clock["call_id"]}, OUTPUT | {"call_id": weather["call_id"]},
                 {"type": "custom_tool_call_output", "call_id": patch["call_id"], "output": "done"}]  # fmt: skip
        second = await final(client, stream=stream, model="gpt-4o-mini", input=talk, tools=[PATCH, space])
    assert second.output_text == "The tool said: done"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_incomplete_and_refused(sandbox, stream) -> None:
    """The cap ends an answer as incomplete, a refusal is a part of its own."""
    async with sdk(sandbox) as client:
        raw = await client.responses.create(
            model="gpt-4o-mini", input="say 90 words", max_output_tokens=16, stream=stream
        )
        last = [event async for event in raw][-1].response if stream else raw
        assert (last.status, last.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        refused = await final(client, stream=stream, model="gpt-4o-mini", input="decline this")
    assert refused.output[0].content[0].type == "refusal"


async def test_an_answer_may_be_gone_on_from(sandbox) -> None:
    """previous_response_id holds the conversation, unless it was not stored."""
    async with sdk(sandbox) as client:
        first = await client.responses.create(model="gpt-4o-mini", input="use the weather tool", tools=[WEATHER])
        output = OUTPUT | {"call_id": first.output[0].call_id}
        asked = {"model": "gpt-4o-mini", "tools": [WEATHER], "input": [output]}
        assert (
            await client.responses.create(previous_response_id=first.id, **asked)
        ).output_text == "The tool said: 12 C"
        with pytest.raises(openai.BadRequestError, match="not found"):
            await client.responses.create(previous_response_id="resp_x", **asked)


async def test_the_cache_is_counted_within_the_input(sandbox) -> None:
    """A beginning that came before is cached, and still input (12.7); tokens are counted ahead."""
    async with sdk(sandbox) as client:
        head = [{"role": "developer", "content": "rules " * 2000}]
        first = await client.responses.create(model="gpt-4o-mini", input=[*head, USER])
        second = await client.responses.create(model="gpt-4o-mini", input=[*head, USER, USER])
        counted = await client.responses.input_tokens.count(model="gpt-4o-mini", input=[*head, USER])
    assert first.usage.input_tokens_details.cached_tokens == 0
    assert 2000 < second.usage.input_tokens_details.cached_tokens < second.usage.input_tokens
    assert counted.input_tokens == first.usage.input_tokens


@pytest.mark.parametrize("form", ["finish", "x_groq", "event", "bare"])
async def test_errors_in_a_stream(sandbox, http, form) -> None:
    """response.failed, or an error event, after so many pieces."""
    sandbox.behave("openai", bad_frames.error_chunk(2, form))
    body = {"model": "gpt-4o-mini", "input": "say 5 words", "stream": True}
    async with http.post(sandbox.base_url("openai") + "/responses", json=body) as response:
        raw = (await response.read()).decode()
    assert ("event: response.failed" if form in {"finish", "x_groq"} else "event: error") in raw
    assert '"w2"' not in raw.split("server_error")[1]
    assert "w3" not in raw
    assert "response.completed" not in raw


@pytest.mark.parametrize("behaviour", [
    bad_frames.empty_output(), bad_frames.no_usage(), bad_frames.odd_lines(), bad_frames.usage_repeated(),
    bad_frames.unknown_events(), bad_frames.role_repeated(), bad_frames.no_finish(), bad_frames.broken_frame(),
    bad_frames.invalid_utf8(), bad_frames.finish_reason("content_filter"), faults.cut(2, "clean"),
], ids=lambda each: each.name)  # fmt: skip
async def test_oddities(sandbox, http, behaviour) -> None:
    """Faults of Chat exist here, too; the text before them is there."""
    sandbox.behave("openai", behaviour)
    body = {"model": "gpt-4o-mini", "input": "say 5 words", "stream": True}
    async with http.post(sandbox.base_url("openai") + "/responses", json=body) as response:
        raw = await response.read()
    assert b"w1" in raw
    assert (b"response.completed" in raw) is (
        behaviour.name not in {"no finish", "cut after 2 clean", "finish content_filter"}
    )
    assert sandbox.requests[-1].behaviour == behaviour.name


BREACHES = [
    ({"foo": 1}, "foo", "unknown_parameter"),
    ({"messages": []}, "messages", "unknown_parameter"),
    ({"max_tokens": 99}, "max_tokens", "unknown_parameter"),
    ({"response_format": {}}, "response_format", "unknown_parameter"),
    ({"input": ...}, "input", "missing_required_parameter"),
    ({"input": {}}, "input", "invalid_type"),
    ({"stream": "yes"}, "stream", "invalid_type"),
    ({"input": ["hello"]}, "input[0]", "invalid_type"),
    ({"input": [{"type": "tool_use", "id": "x"}]}, "input[0].type", "invalid_value"),
    ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "invalid_value"),
    ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
    ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "input[0].content[0].type", "invalid_value"),
    ({"input": [USER, {"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
     "input[1].content[0].type", "invalid_value"),
    ({"input": [USER | {"cache_control": {}}]}, "input[0].cache_control", "unknown_parameter"),
    ({"input": [USER | {"id": "1", "type": "message"}]}, "input[0].id", "invalid_value"),
    ({"input": [USER, CALL | {"id": "call_1"}, OUTPUT]}, "input[1].id", "invalid_value"),
    ({"input": [USER, CALL | {"id": "fc_" + "x" * 64}, OUTPUT]}, "input[1].id", "string_above_max_length"),
    ({"input": [USER, CALL | {"call_id": "x" * 65}, OUTPUT]}, "input[1].call_id", "string_above_max_length"),
    ({"input": [USER, CALL | {"arguments": {}}, OUTPUT]}, "input[1].arguments", "invalid_type"),
    ({"input": [USER, OUTPUT]}, "input", None),
    ({"input": [USER, CALL]}, "input", None),
    ({"input": [USER, CALL, OUTPUT, OUTPUT]}, "input", None),
    ({"input": [USER, {"type": "reasoning", "id": "thought", "summary": []}, CALL, OUTPUT]}, "input[1].id", "invalid_value"),
    ({"input": [USER, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}, CALL, OUTPUT]},
     "input", "invalid_encrypted_content"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "cat.png"}]}]},
     "input[0].content[0].image_url", "invalid_value"),
    ({"max_output_tokens": 5}, "max_output_tokens", "integer_below_min_value"),
    ({"max_output_tokens": 99_999}, "max_output_tokens", "integer_above_max_value"),
    ({"temperature": 3}, "temperature", "decimal_above_max_value"),
    ({"temperature": 0.2, "model": THINKER}, "temperature", "unsupported_parameter"),
    ({"reasoning": {"effort": "low"}}, "reasoning.effort", "unsupported_parameter"),
    ({"reasoning": {"effort": "huge"}, "model": THINKER}, "reasoning.effort", "invalid_value"),
    ({"include": ["everything"]}, "include[0]", "invalid_value"),
    ({"stream_options": {"include_obfuscation": False}}, "stream_options", None),
    ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
    ({"background": True}, "background", "unsupported_parameter"),
    ({"text": {"format": {"type": "json_object"}}}, "input", None),
    ({"text": {"format": {"type": "json_schema", "json_schema": {}}}}, "text.format.name", "missing_required_parameter"),
    ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object", "properties": {"a": {}}}}}},
     "text.format.schema", "invalid_json_schema"),
    ({"tools": [{"type": "function", "function": {"name": "weather"}}]}, "tools[0].name", "missing_required_parameter"),
    ({"tools": [{"type": "magic"}]}, "tools[0].type", "invalid_value"),
    ({"tools": [WEATHER | {"name": "a b"}]}, "tools[0].name", "invalid_value"),
    ({"tools": [WEATHER | {"parameters": {"type": "object", "properties": {"a": {}}}}]}, "tools[0].parameters",
     "invalid_function_parameters"),
    ({"tools": [{"type": "function", "name": "x", "parameters": {"type": "object", "properties": {"a": {}}}}]},
     "tools[0].parameters", "invalid_function_parameters"),
    ({"tools": [WEATHER | {"input_schema": {}}]}, "tools[0].input_schema", "unknown_parameter"),
    ({"tools": [WEATHER, WEATHER]}, "tools[1].name", "invalid_value"),
    ({"tool_choice": "any", "tools": [WEATHER]}, "tool_choice", "invalid_value"),
    ({"tool_choice": "required"}, "tool_choice", None),
    ({"tool_choice": {"type": "function", "name": "x"}, "tools": [WEATHER]}, "tool_choice", None),
    ({"tool_choice": {"type": "function", "function": {"name": "weather"}}, "tools": [WEATHER]}, "tool_choice", None),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "code"), BREACHES)
def test_a_breach_is_refused_and_names_its_field(fields, param, code) -> None:
    """Each rule of facts 12.2 to 12.9 refuses what it should, with parameter and code."""
    decided = take(**copy.deepcopy(fields))
    assert isinstance(decided, Refused), decided
    assert decided.refusal.status == 400
    error = decided.refusal.body["error"]
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")


@pytest.mark.parametrize("fields", [
    {"input": [{"role": "developer", "content": "x"}, {"role": "system", "content": "y", "type": "message"}, USER]},
    {"input": [USER, CALL | {"id": "fc_1", "status": "completed"}, OUTPUT, USER]},
    {"input": [USER, CALL, OUTPUT | {"output": [{"type": "input_text", "text": "x"}]}]},
    {"input": [USER, {"role": "assistant", "content": "hi"}, USER], "instructions": "be brief"},
    {"input": [USER, {"type": "web_search_call", "id": "ws_1", "status": "completed"}]},
    {"input": "give me JSON", "text": {"format": {"type": "json_object"}, "verbosity": "low"}},
    {"tools": [WEATHER | {"strict": False, "parameters": {"type": "object"}}, {"type": "web_search"}],
     "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]}},
    {"temperature": 0.2, "top_p": 0.9, "prompt_cache_key": "k", "client_metadata": {"a": "b"}, "truncation": "auto"},
])  # fmt: skip
def test_what_is_right_is_taken(fields) -> None:
    """The strict fake is not stricter than that."""
    decided = take(**fields)
    assert isinstance(decided, Granted), json.dumps(decided.refusal.body)


# --- compaction -------------------------------------------------------------------------------------


async def test_a_conversation_is_compacted_and_gone_on_with(sandbox) -> None:
    """The SDK's own call: the user's messages, then an item that the next request brings back."""
    async with sdk(sandbox) as client:
        done = await client.responses.compact(model=THINKER, input=[USER, CALL, OUTPUT], instructions="x")
        assert (done.object, [item.type for item in done.output]) == ("response.compaction", ["message", "compaction"])
        item = done.output[-1].model_dump(exclude_none=True)
        answer = await client.responses.create(model=THINKER, input=[item, USER], store=False)
        assert answer.output_text
        for wrong in ({**item, "encrypted_content": "QUJD"}, {"type": "compaction"}):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.responses.create(model=THINKER, input=[wrong, USER], store=False)
            assert refused.value.code == "invalid_encrypted_content"
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(model="gpt-4o-mini", input=[item, USER], store=False)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_the_order_to_compact_is_answered_by_the_item_alone(sandbox, stream) -> None:
    """`compaction_trigger` at the end; anywhere else it is refused."""
    order = {"type": "compaction_trigger"}
    async with sdk(sandbox) as client:
        answer = await final(client, stream=stream, model=THINKER, input=[USER, order], store=False)
        assert [item.type for item in answer.output] == ["compaction"]
        with pytest.raises(openai.BadRequestError):
            await final(client, stream=stream, model=THINKER, input=[order, USER], store=False)


async def test_what_is_no_field_of_it_is_refused(sandbox) -> None:
    """It is neither streamed nor kept; who does not have it has no such address."""
    async with sdk(sandbox) as client:
        for field in ("stream", "store", "tools", "reasoning"):
            with pytest.raises(openai.BadRequestError) as refused:
                await client.responses.compact(model=THINKER, input="x", extra_body={field: None})
            assert refused.value.code == "unknown_parameter"
    async with sdk(sandbox, "groq") as client:
        with pytest.raises(openai.NotFoundError):
            await client.responses.compact(model="openai/gpt-oss-120b", input="x")
