"""What the official SDKs make of a stream: the oracle for our own readers, and for the fake providers' writers.

Owns one accumulator for each dialect. They are slow, and are asked about a sample.
"""

import json
from typing import Any

from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from ..wire.messages_streams import client as messages_client
from ..wire.responses_streams import answered as responses_client

Said = tuple[str, list[tuple[str, Any]]]
"""The text, and the calls as (name, arguments)."""


def accumulated(dialect: str, raw: bytes) -> Said:
    """Text and calls of a good stream. Raises as the SDK does."""
    return _READERS[dialect](raw)


def _chat(raw: bytes) -> Said:
    state: Any = ChatCompletionStreamState()
    for block in raw.decode().replace("\r\n", "\n").split("\n\n"):
        for line in block.split("\n"):
            if line.startswith("data: ") and line != "data: [DONE]":
                state.handle_chunk(ChatCompletionChunk.model_validate_json(line.removeprefix("data: ")))
    message = state.get_final_completion().choices[0].message
    return message.content or "", [
        (one.function.name, json.loads(one.function.arguments)) for one in message.tool_calls or ()
    ]


def _messages(raw: bytes) -> Said:
    with messages_client(raw) as one, one.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
        content = stream.get_final_message().content
    text = "".join(block.text for block in content if block.type == "text")
    return text, [(block.name, block.input) for block in content if block.type == "tool_use"]


def _responses(raw: bytes) -> Said:
    with responses_client(raw).responses.stream(model="m", input="x") as stream:
        final = stream.get_final_response()
    return final.output_text, [
        (one.name, json.loads(one.arguments)) for one in final.output if one.type == "function_call"
    ]


_READERS = {"openai_chat": _chat, "anthropic_messages": _messages, "openai_responses": _responses}
