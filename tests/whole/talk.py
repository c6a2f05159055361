"""Agents that hold a conversation through the official SDKs, one in each dialect; each keeps its history as it was told."""

import json
from dataclasses import dataclass, field
from typing import Any, Self

import anthropic
import openai

from .home import KEY

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = {"weather": SCHEMA, "clock": {"type": "object", "properties": {}}}


@dataclass
class Said:
    """One answer: its text, its calls as (id, name, arguments), the thoughts that were shown, why it ended."""

    text: str
    calls: list[tuple[str, str, Any]]
    thought: str
    stop: str


@dataclass
class Agent:
    """A conversation. `tools` are offered from the first turn; `fields` go along with every request."""

    port: int
    model: str
    stream: bool = False
    tools: bool = True
    fields: dict[str, Any] = field(default_factory=dict)
    key: str = KEY

    def __post_init__(self) -> None:
        self.talk: list[Any] = []
        self.raw: Any = None
        self.open()

    def open(self) -> None:
        """Make the client."""
        self.sdk: Any = openai.AsyncOpenAI(base_url=f"http://localhost:{self.port}/v1", api_key=self.key, max_retries=0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.sdk.close()

    async def say(self, text: str, image: str = "") -> Said:
        """The user says something, with an image or without; `image` is base64 of a PNG."""
        self.add_user(text, image)
        return await self.ask()

    async def answer(self, said: Said, *results: str) -> Said:
        """The results of the calls, in order."""
        self.add_results([(call[0], result) for call, result in zip(said.calls, results, strict=True)])
        return await self.ask()

    def add_user(self, text: str, image: str) -> None:
        raise NotImplementedError

    def add_results(self, results: list[tuple[str, str]]) -> None:
        raise NotImplementedError

    async def ask(self) -> Said:
        """Send the history, and add to it what came."""
        raise NotImplementedError


class ChatAgent(Agent):
    """openai, Chat Completions."""

    def add_user(self, text: str, image: str) -> None:
        parts = [
            {"type": "text", "text": text},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}},
        ]
        self.talk.append({"role": "user", "content": parts if image else text})

    def add_results(self, results: list[tuple[str, str]]) -> None:
        self.talk += [{"role": "tool", "tool_call_id": name, "content": text} for name, text in results]

    async def ask(self) -> Said:
        tools = [
            {"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in TOOLS.items()
        ]
        asked = {
            "model": self.model,
            "messages": [{"role": "system", "content": "Be kind."}, *self.talk],
            **self.fields,
        }
        if self.tools:
            asked["tools"] = tools
        if self.stream:
            asked["stream_options"] = {"include_usage": True}
            async with self.sdk.chat.completions.stream(**asked) as events:
                self.raw = await events.get_final_completion()
        else:
            self.raw = await self.sdk.chat.completions.create(**asked)
        choice = self.raw.choices[0]
        message = choice.message.model_dump(exclude_none=True)
        for call in message.get("tool_calls", ()):
            call["function"].pop("parsed_arguments", None)
            call.pop("index", None)
        thought = message.pop("reasoning_content", "")  # most agents do not send it back
        self.talk.append(message)
        calls = [
            (c["id"], c["function"]["name"], json.loads(c["function"]["arguments"]))
            for c in message.get("tool_calls", ())
        ]
        return Said(message.get("content") or "", calls, thought, choice.finish_reason)


class MessagesAgent(Agent):
    """anthropic, Messages."""

    def open(self) -> None:
        self.sdk = anthropic.AsyncAnthropic(base_url=f"http://localhost:{self.port}", api_key=self.key, max_retries=0)

    def add_user(self, text: str, image: str) -> None:
        source = {"type": "base64", "media_type": "image/png", "data": image}
        parts = [{"type": "text", "text": text}, {"type": "image", "source": source}]
        self.talk.append({"role": "user", "content": parts if image else text})

    def add_results(self, results: list[tuple[str, str]]) -> None:
        self.talk.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": name, "content": text} for name, text in results]})  # fmt: skip

    async def ask(self) -> Said:
        asked = {"model": self.model, "messages": self.talk, "system": "Be kind.", "max_tokens": 4000, **self.fields}
        if self.tools:
            asked["tools"] = [{"name": name, "input_schema": schema} for name, schema in TOOLS.items()]
        if self.stream:
            async with self.sdk.messages.stream(**asked) as events:
                self.raw = await events.get_final_message()
        else:
            self.raw = await self.sdk.messages.create(**asked)
        blocks = self.raw.model_dump(exclude_none=True)["content"]
        self.talk.append({"role": "assistant", "content": blocks})
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        calls = [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
        thought = "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
        return Said(text, calls, thought, self.raw.stop_reason)


class ResponsesAgent(Agent):
    """openai, Responses, without a store."""

    def add_user(self, text: str, image: str) -> None:
        parts = [
            {"type": "input_text", "text": text},
            {"type": "input_image", "image_url": f"data:image/png;base64,{image}"},
        ]
        self.talk.append({"role": "user", "content": parts if image else text})

    def add_results(self, results: list[tuple[str, str]]) -> None:
        self.talk += [{"type": "function_call_output", "call_id": name, "output": text} for name, text in results]

    async def ask(self) -> Said:
        asked = {"model": self.model, "input": self.talk, "instructions": "Be kind.", "store": False,
                 "include": ["reasoning.encrypted_content"], **self.fields}  # fmt: skip
        if self.tools:
            asked["tools"] = [{"type": "function", "name": name, "parameters": schema, "strict": False}
                              for name, schema in TOOLS.items()]  # fmt: skip
        if self.stream:
            async with self.sdk.responses.stream(**asked) as events:
                self.raw = await events.get_final_response()
        else:
            self.raw = await self.sdk.responses.create(**asked)
        items = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in self.raw.output]
        self.talk += items
        calls = [(i["call_id"], i["name"], json.loads(i["arguments"])) for i in items if i["type"] == "function_call"]
        thoughts = [part["text"] for item in items if item["type"] == "reasoning"
                    for part in item["summary"] + item.get("content", [])]  # fmt: skip
        return Said(self.raw.output_text, calls, "".join(thoughts), self.raw.status)


AGENTS: dict[str, type[Agent]] = {"chat": ChatAgent, "messages": MessagesAgent, "responses": ResponsesAgent}
