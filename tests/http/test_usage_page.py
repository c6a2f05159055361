"""What the usage page promises works as it is written there, but for address and key."""

import asyncio

import anthropic
import openai
import pytest

from .conftest import KEY, House

TOOLS = [
    {
        "name": "get_weather",
        "description": "Get the current weather for a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
SAID = [{"role": "user", "content": "What's the weather in Tokyo?"}]
NAMED = "claude-3-5-sonnet-20241022"  # ignored: the router picks


@pytest.fixture
async def h(house) -> House:
    """A router over providers of the Chat dialect alone."""
    return await house("groq", "mistral")


def anthropic_client(h: House) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=KEY, base_url=h.url, max_retries=0)


async def test_the_openai_sdk(h: House) -> None:
    """`client.chat.completions.create`, plain."""

    def page() -> str | None:
        client = openai.OpenAI(base_url=f"{h.url}/v1", api_key=KEY)
        resp = client.chat.completions.create(
            model="hermes-router",
            messages=[{"role": "user", "content": "say 3 words"}],
        )
        return resp.choices[0].message.content

    assert await asyncio.to_thread(page) == "w1 w2 w3"


async def test_the_anthropic_sdk(h: House) -> None:
    """`client.messages.create` and `.stream`, with a name that is none of ours."""

    def page() -> tuple[str, str]:
        client = anthropic_client(h)
        said = [{"role": "user", "content": "say 3 words"}]
        msg = client.messages.create(model=NAMED, max_tokens=100, messages=said)
        with client.messages.stream(model=NAMED, max_tokens=100, messages=said) as stream:
            streamed = "".join(stream.text_stream)
        return msg.content[0].text, streamed

    assert await asyncio.to_thread(page) == ("w1 w2 w3", "w1 w2 w3")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_anthropic_tools_go_round(h: House, streamed: bool) -> None:
    """`msg.stop_reason == "tool_use"`, with a tool_use block ready to run; its result is answered."""

    def ask(messages: list) -> anthropic.types.Message:
        asked = {"model": NAMED, "max_tokens": 300, "tools": TOOLS, "messages": messages}
        client = anthropic_client(h)
        if not streamed:
            return client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            return stream.get_final_message()

    msg = await asyncio.to_thread(ask, [{"role": "user", "content": "What is the weather? Use the tool."}])
    assert msg.stop_reason == "tool_use"
    [use] = [block for block in msg.content if block.type == "tool_use"]
    assert use.name == "get_weather"
    assert set(use.input) == {"city"}
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}
    second = await asyncio.to_thread(
        ask,
        [
            {"role": "user", "content": "What is the weather? Use the tool."},
            {"role": "assistant", "content": msg.content},
            {"role": "user", "content": [result]},
        ],
    )
    assert second.stop_reason == "end_turn"
    assert second.content[0].text


async def test_the_headers_of_an_answer(h: House) -> None:
    """Who answered, and both ids: Anthropic's SDK reads `request-id`."""

    def page() -> dict[str, str]:
        asked = anthropic_client(h).messages.with_raw_response
        raw = asked.create(model=NAMED, max_tokens=100, messages=[{"role": "user", "content": "hi"}])
        return {name.lower(): value for name, value in raw.headers.items()}

    headers = await asyncio.to_thread(page)
    assert headers["request-id"] == headers["x-request-id"]
    assert headers["x-hermes-target"].startswith(("groq/", "mistral/"))
    assert headers["x-hermes-attempts"] == "1"
