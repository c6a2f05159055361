"""What the openai SDK does, against fakes that enforce the rules of every provider."""

import pytest

from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.styles import STYLES as SANDBOX
from hermes_router.sandbox.values import FakeModel

STYLES = (
    "gemini", "openrouter", "sambanova", "cerebras", "groq", "mistral", "cohere", "zai", "naga", "nvidia",
    "huggingface", "kimi", "openai",
)  # fmt: skip
# As agents send it: strict, `$schema` and `additionalProperties` are what several providers refuse.
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather", "description": "d", "strict": True,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
                       "additionalProperties": False, "$schema": "http://json-schema.org/draft-07/schema#"},
    },
}  # fmt: skip
TALK = [{"role": "system", "content": "be nice"}, {"role": "user", "content": "What is the weather? Use the tool."}]


async def models_of(h, name) -> list[str]:
    """Two of a provider's models, as they are listed."""
    listed = [row.id for row in (await h.sdk.models.list()).data]
    found = [each for each in listed if each.startswith(f"{name}/")][:2]
    assert found
    return found


async def answer_of(h, model, messages, *, stream, **fields):
    """The SDK's own reading of an answer."""
    asked = {"model": model, "messages": messages, "max_tokens": 500, **fields}
    if not stream:
        return (await h.sdk.chat.completions.create(**asked)).choices[0]
    async with h.sdk.chat.completions.stream(**asked) as events:
        return (await events.get_final_completion()).choices[0]


@pytest.mark.parametrize("name", STYLES)
async def test_plain_and_streamed(house, name) -> None:
    """One question each way, with the parameters that agents set; the whole text arrives, and who gave it."""
    h = await house(name)
    for model in await models_of(h, name):
        for stream in (False, True):
            said = [{"role": "system", "content": "be nice"}, {"role": "user", "content": "say 5 words"}]
            choice = await answer_of(h, model, said, stream=stream, temperature=0, top_p=0.9, stop=["STOP"])
            assert (choice.finish_reason, choice.message.content) == ("stop", "w1 w2 w3 w4 w5")
        agent = {"user-agent": "opencode/1.0"}  # Kimi looks at who calls, and hears it
        got = await h.whole(model=model, stream=True, stream_options={"include_usage": True}, headers=agent)
        assert got.good
        assert got.target == model
        assert got.events[-2]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", STYLES)
async def test_two_turns_with_tools(house, name, stream) -> None:
    """A call, its result, an answer: what the second turn must carry (ids, signatures, reasoning) is all there."""
    h = await house(name)
    for model in await models_of(h, name):
        talk = list(TALK)
        first = await answer_of(h, model, talk, stream=stream, tools=[WEATHER])
        assert first.finish_reason == "tool_calls"
        call = first.message.tool_calls[0]
        assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "some city"}')
        talk += [first.message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "sunny 21C"}]
        second = await answer_of(h, model, talk, stream=stream, tools=[WEATHER])
        assert (second.finish_reason, second.message.content) == ("stop", "The tool said: sunny 21C")
        talk += [second.message.model_dump(), {"role": "user", "content": "say 2 words"}]
        third = await answer_of(h, model, talk, stream=stream, tools=[WEATHER])
        assert third.message.content == "w1 w2"
    assert {record.status for record in h.chats()} == {200}, "an upstream had to refuse something"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_ll11_a_conversation_moves_through_all_providers(house, stream) -> None:
    """Each turn is answered by another provider: the others' ids, signatures and reasoning are no obstacle."""
    h = await house(*STYLES)
    talk = list(TALK)
    for name in (*STYLES, *STYLES[:3]):
        model = (await models_of(h, name))[0]
        choice = await answer_of(h, model, talk, stream=stream, tools=[WEATHER])
        assert choice.finish_reason == "tool_calls", name
        call = choice.message.tool_calls[0]
        talk += [
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": f"{name}: sunny"},
            {"role": "user", "content": "And tomorrow? Use the tool again."},
        ]
    assert {record.status for record in h.chats()} == {200}


async def test_pool_of_all_providers_serves_without_a_refusal(house) -> None:
    """Forty requests by the router's own choice over all thirteen: no provider has cause to refuse any."""
    h = await house(*STYLES)
    for number in range(40):
        got = await h.whole(f"say {number + 1} words", stream=number % 2 == 0)
        assert got.good
        assert got.attempts == 1
    assert len({record.provider for record in h.chats()}) >= 8


async def test_or1_bf10_a_conversation_through_a_broker_finds_its_cache(house) -> None:
    """Its turns have one `session_id`; Claude is told what to cache, in a shape that is taken; others are left alone."""
    claude = FakeModel("anthropic/claude-any", 1_000_000, 128_000)
    h = await house(FakeProvider("openrouter", models=(claude, *SANDBOX["openrouter"].models)))
    talk = [*TALK, {"role": "assistant", "content": "sunny"}, {"role": "user", "content": "and tomorrow?"}]
    longer = [*talk, {"role": "assistant", "content": "rain"}, {"role": "user", "content": "say 5 words"}]
    for messages in (talk, longer):
        await answer_of(h, "openrouter/anthropic/claude-any", messages, stream=False)
    await answer_of(h, "openrouter/openrouter/free", talk, stream=False)
    first, second, free = (asked.body for asked in h.chats("openrouter"))
    assert first["session_id"] == second["session_id"] == free["session_id"]
    marked = [
        [n for n, said in enumerate(body["messages"]) if "cache_control" in str(said)] for body in (first, second)
    ]
    assert marked == [[0, 1, 3], [0, 3, 5]]
    assert free["messages"] == talk
    own = [{"type": "text", "text": "be nice", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    messages = [{"role": "system", "content": own}, *talk[1:]]
    asked = {"messages": messages, "extra_body": {"session_id": "mine", "prompt_cache_key": "too"}}
    await answer_of(h, "openrouter/anthropic/claude-any", stream=False, **asked)
    sent = h.chats("openrouter")[-1].body
    assert sent["messages"] == messages
    assert (sent["session_id"], sent["prompt_cache_key"]) == ("mine", "too")
