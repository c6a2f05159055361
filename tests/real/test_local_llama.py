"""`local` against a real llama.cpp server with a real small model: what it tells, and what comes through us."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from hermes_router.core.catalog import Capability, Known, PriceClass
from hermes_router.core.errors import UpstreamError
from hermes_router.core.ports import Outbound
from hermes_router.upstream.http import HttpTransport
from hermes_router.upstream.local import discover

pytestmark = pytest.mark.real_model

LOCAL = "hermes-router:local"
QUESTION: list[Any] = [{"role": "user", "content": "Question: What is the capital of France? Answer:"}]
WEATHER: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
                "required": ["city"],
            },
        },
    }
]
# A base model of 270M parameters calls a tool when it has just seen itself do so; it would not stop at one.
WEATHER_TURNS: list[Any] = [
    {"role": "user", "content": "Weather in Rome?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    {"role": "user", "content": "Weather in Paris?"},
]
ONE_CALL = ["\n<tool_call>"]


class Hearing:
    """A Sink that tells when the first bytes came."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    def head(self, status: int, headers: Any) -> None: ...
    def data(self, chunk: bytes) -> None:
        self.heard.set()

    def end(self) -> None: ...
    def failed(self, error: UpstreamError) -> None: ...


def _busy(url: str) -> bool:
    with urllib.request.urlopen(url + "/slots", timeout=5) as answer:
        return any(slot["is_processing"] for slot in json.load(answer))


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)  # the server is another process and gives no sign
    return True


@pytest.fixture
def sdk(router: Any) -> Iterator[openai.OpenAI]:
    """The official SDK, pointed at the router as a caller would, without retries of its own."""
    with openai.OpenAI(base_url=router.url + "/v1", api_key="sk-router-1", max_retries=0, timeout=120) as client:
        yield client


# --- the server alone ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_real_server_tells_its_model_and_window(llama: Any, host: str) -> None:
    """Id, window, slots and abilities are what the server was started with; localhost finds its IPv4 address."""
    transport = HttpTransport(asyncio.get_running_loop())
    (spec,) = await discover(transport, llama.base_url.replace("127.0.0.1", host), timeout_s=5.0)
    await transport.close()
    assert (spec.id, spec.context, spec.price_class) == (llama.model, llama.n_ctx, PriceClass.FREE)
    what = (Capability.TOOLS, Capability.IMAGES, Capability.AUDIO, Capability.MULTIPLE, Capability.JSON_SCHEMA)
    assert [spec.capability(w).value for w in what] == [Known.YES, Known.NO, Known.NO, Known.NO, Known.YES]
    assert [rule.amount for rule in spec.quotas] == [1]


async def test_a_keyed_server_of_two_slots_without_tools(llama: Any, start_llama: Any) -> None:
    """The window is that of one slot; ChatML renders no tools; without an alias the id is a path; 401 lists nothing."""
    transport = HttpTransport(asyncio.get_running_loop())
    with start_llama("--n-ctx", "512", "--slots", "2", "--api-key", "sesame") as keyed:
        key = {"authorization": "Bearer sesame"}
        (spec,) = await discover(transport, keyed.base_url, timeout_s=5.0, headers=key)
        assert await discover(transport, keyed.base_url, timeout_s=5.0) == ()
    await transport.close()
    assert (spec.id, spec.context) == (keyed.model, 512)
    assert spec.id.startswith("/")
    assert [spec.capability(w).value for w in (Capability.TOOLS, Capability.MULTIPLE)] == [Known.NO, Known.YES]
    assert [rule.amount for rule in spec.quotas] == [2]


async def test_an_aborted_flight_stops_the_real_generation(llama: Any) -> None:
    """The server stops generating within a second of the connection's close: 1,500 tokens would take over ten."""
    transport = HttpTransport(asyncio.get_running_loop())
    body = {"messages": QUESTION, "max_tokens": 1500, "ignore_eos": True, "stream": True}
    headers = {"content-type": "application/json"}
    sink = Hearing()
    flight = transport.send(
        Outbound("POST", llama.base_url + "/chat/completions", headers, json.dumps(body).encode()), sink
    )
    await asyncio.wait_for(sink.heard.wait(), 60)
    assert await asyncio.to_thread(_busy, llama.url)
    flight.abort()
    assert await asyncio.to_thread(_within, 1.0, lambda: not _busy(llama.url))
    await transport.close()


# --- through the router ----------------------------------------------------------------------------


def test_the_real_model_answers_through_the_router(llama: Any, sdk: openai.OpenAI) -> None:
    """A plain request to hermes-router:local is answered by the model, under its own id, with its own usage."""
    raw = sdk.chat.completions.with_raw_response.create(model=LOCAL, messages=QUESTION, max_tokens=12, temperature=0)
    answer = raw.parse()
    assert raw.headers["x-hermes-target"] == f"local/{llama.model}"
    assert raw.headers["x-hermes-attempts"] == "1"
    assert answer.model == llama.model
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert 0 < answer.usage.completion_tokens <= 12


@pytest.mark.parametrize("pinned", [False, True])
def test_the_real_model_streams_through_the_router(llama: Any, sdk: openai.OpenAI, pinned: bool) -> None:
    """A stream has the model's text, one id, one model, one end and the usage; by the profile and by the pin."""
    name = f"local/{llama.model}" if pinned else LOCAL
    chunks = list(
        sdk.chat.completions.create(
            model=name, messages=QUESTION, max_tokens=12, temperature=0, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert {c.model for c in chunks} == {llama.model}
    assert len({c.id for c in chunks}) == 1
    assert len([1 for c in chunks if c.choices and c.choices[0].finish_reason]) == 1
    usages = [c.usage for c in chunks if c.usage]
    assert len(usages) == 1
    assert 0 < usages[0].completion_tokens <= 12


@pytest.mark.parametrize("stream", [False, True])
def test_the_real_model_calls_a_tool_through_the_router(sdk: openai.OpenAI, stream: bool) -> None:
    """A second turn with a tool's result is understood, and the call that comes back is whole and valid."""
    asked: dict[str, Any] = {
        "model": LOCAL, "messages": WEATHER_TURNS, "tools": WEATHER, "max_tokens": 60, "temperature": 0, "stop": ONE_CALL,
    }  # fmt: skip
    if stream:
        with sdk.chat.completions.stream(**asked) as events:
            choice: Any = events.get_final_completion().choices[0]
    else:
        choice = sdk.chat.completions.create(**asked).choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert call.id
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] in {"Paris", "Rome"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_beyond_the_real_window_is_the_callers(llama: Any, sdk: openai.OpenAI, stream: bool) -> None:
    """Too long for the only target: 400 context_length_exceeded, naming the window that /v1/models advertises."""
    long: list[Any] = [{"role": "user", "content": "hello world " * 3 * llama.n_ctx}]
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(model=LOCAL, messages=long, max_tokens=8, stream=stream)
    assert caught.value.code == "context_length_exceeded"
    advertised = sdk.models.retrieve(LOCAL).to_dict()["context_length"]
    assert f"maximum context length is {advertised} tokens" in caught.value.message


def test_the_model_list_shows_the_real_window(llama: Any, sdk: openai.OpenAI) -> None:
    """/v1/models has the server's model with the window that it was started with, and our names within it."""
    listed = {model.id: model.to_dict() for model in sdk.models.list()}
    assert listed[f"local/{llama.model}"]["context_length"] == llama.n_ctx
    for name in ("hermes-router", "hermes-router:fast", LOCAL):
        assert 0 < int(str(listed[name]["context_length"])) <= llama.n_ctx


def test_a_caller_who_leaves_stops_the_real_generation(llama: Any, sdk: openai.OpenAI) -> None:
    """Closing the caller's connection ends the upstream's work within a second, through the router too."""
    with sdk.chat.completions.create(
        model=LOCAL, messages=QUESTION, max_tokens=1500, stream=True, extra_body={"ignore_eos": True}
    ) as stream:
        next(iter(stream))
        assert _busy(llama.url)
    assert _within(1.0, lambda: not _busy(llama.url))
