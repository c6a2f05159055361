"""Callers of a demonstration: the official SDKs, where this Python has them, else a plain reader of our own.

Owns one streamed request in each dialect: what is sent, which text is shown, and what the end was. It must never know
what the answer should be. The SDKs are no dependency, so they are imported by name.
"""

import http.client
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final, Literal, get_args

__all__ = ["DIALECTS", "BadEnd", "Call", "Caller", "Dialect", "Question", "Told", "caller"]

Dialect = Literal["chat", "messages", "responses"]
DIALECTS: Final = get_args(Dialect)
PATHS: Final[Mapping[Dialect, str]] = {
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}
_SDKS: Final[Mapping[Dialect, str]] = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
_MODEL: Final = "hermes-router"
_MAX_TOKENS: Final = 2_000
_TIMEOUT_S: Final = 120


class BadEnd(Exception):
    """The answer did not come, or its end was none."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the caller got it; `arguments` as JSON was read."""

    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, with a tool in Chat's words, or none. `id` is the id of the request."""

    text: str
    id: str
    tool: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Told:
    """What came, once all of it has: the calls, and the word of the dialect for the end."""

    calls: list[Call] = field(default_factory=list)
    end: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """One way to ask. `ask` gives the text as it comes, and fills in the rest; it raises BadEnd."""

    name: str
    ask: Callable[[Question, Told], Iterator[str]]


def caller(dialect: Dialect, base: str, key: str) -> Caller:
    """The SDK of the dialect, else a reader of our own. `base` is the router's address without a path."""
    sdk = _SDKS[dialect]
    if find_spec(sdk) is None:
        return Caller("a plain reader", lambda asked, told: _plainly(dialect, base, key, asked, told))
    module, errors = importlib.import_module(sdk), _errors(sdk)
    by_sdk = {"chat": _chat, "messages": _messages, "responses": _responses}[dialect]

    def ask(asked: Question, told: Told) -> Iterator[str]:
        if dialect == "messages":
            client = module.Anthropic(base_url=base, api_key=key, max_retries=0, timeout=_TIMEOUT_S)
        else:
            client = module.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0, timeout=_TIMEOUT_S)
        with client:
            try:
                yield from by_sdk(client, asked, told)
            except errors as error:
                raise BadEnd(f"{type(error).__name__}: {error}") from None

    return Caller(f"the {sdk} SDK {module.__version__}", ask)


def _errors(sdk: str) -> tuple[type[Exception], ...]:
    """What an SDK raises of a bad answer: its own, its HTTP library's, and what its readers trip over."""
    own = importlib.import_module(sdk)
    name = "OpenAIError" if hasattr(own, "OpenAIError") else "AnthropicError"
    https = [sys.modules[name].HTTPError for name in ("httpx", "httpx2") if name in sys.modules]
    return (getattr(own, name), *https, ValueError, RuntimeError)


def _body(dialect: Dialect, asked: Question) -> dict[str, Any]:
    """The request in its dialect, but for `stream`."""
    turn, tool = {"role": "user", "content": asked.text}, asked.tool
    if dialect == "messages":
        body = {"model": _MODEL, "max_tokens": _MAX_TOKENS, "messages": [turn]}
        flat = tool and {"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}
    elif dialect == "responses":
        body, flat = {"model": _MODEL, "input": [turn]}, tool and {"type": "function", "strict": False, **tool}
    else:
        body, flat = {"model": _MODEL, "messages": [turn]}, tool and {"type": "function", "function": dict(tool)}
    return body | ({"tools": [flat]} if flat else {})


# --- the official SDKs ------------------------------------------------------------------------------------


def _named(asked: Question) -> dict[str, Any]:
    return {"extra_headers": {"x-request-id": asked.id}}


def _chat(client: Any, asked: Question, told: Told) -> Iterator[str]:
    with client.chat.completions.stream(**_body("chat", asked), **_named(asked)) as events:
        for event in events:
            if event.type == "content.delta":
                yield event.delta
        [choice] = events.get_final_completion().choices
    calls = [call.function for call in choice.message.tool_calls or ()]
    told.calls = [Call(call.name, json.loads(call.arguments)) for call in calls]
    told.end = choice.finish_reason or ""


def _messages(client: Any, asked: Question, told: Told) -> Iterator[str]:
    with client.messages.stream(**_body("messages", asked), **_named(asked)) as events:
        yield from events.text_stream
        whole = events.get_final_message()
    told.calls = [Call(block.name, block.input) for block in whole.content if block.type == "tool_use"]
    told.end = whole.stop_reason or ""


def _responses(client: Any, asked: Question, told: Told) -> Iterator[str]:
    with client.responses.stream(**_body("responses", asked), **_named(asked)) as events:
        for event in events:
            if event.type == "response.output_text.delta":
                yield event.delta
        whole = events.get_final_response()
    calls = [item for item in whole.output if item.type == "function_call"]
    told.calls = [Call(item.name, json.loads(item.arguments)) for item in calls]
    told.end = whole.status or ""


# --- our own reader ---------------------------------------------------------------------------------------


def _plainly(dialect: Dialect, base: str, key: str, asked: Question, told: Told) -> Iterator[str]:
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=_TIMEOUT_S)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "x-request-id": asked.id}
    try:
        connection.request("POST", PATHS[dialect], json.dumps(_body(dialect, asked) | {"stream": True}), headers)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise BadEnd(f"HTTP {response.status}: {response.read().decode(errors='replace')}")
        parts: dict[Any, dict[str, str]] = {}
        for event in _events(response):
            if (error := event.get("error")) or event.get("type") == "error":
                raise BadEnd(str((error or event).get("message")))
            yield from _READERS[dialect](event, parts, told)
        told.calls = [Call(part["name"], json.loads(part["arguments"] or "{}")) for part in parts.values()]
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BadEnd(f"{type(error).__name__}: {error}") from None
    finally:
        connection.close()
    if not told.end:
        raise BadEnd("the stream broke off")


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    for raw in response:
        name, _, data = raw.decode().rstrip("\r\n").partition(":")
        if name == "data" and data.strip() != "[DONE]":
            event: dict[str, Any] = json.loads(data)
            yield event


def _read_chat(event: dict[str, Any], parts: dict[Any, dict[str, str]], told: Told) -> Iterator[str]:
    for choice in event.get("choices", ()):
        delta = choice["delta"]
        if delta.get("content"):
            yield delta["content"]
        for call in delta.get("tool_calls") or ():
            part = parts.setdefault(call["index"], {"name": "", "arguments": ""})
            part["name"] += call["function"].get("name") or ""
            part["arguments"] += call["function"].get("arguments") or ""
        told.end = choice.get("finish_reason") or told.end


def _read_messages(event: dict[str, Any], parts: dict[Any, dict[str, str]], told: Told) -> Iterator[str]:
    match event:
        case {"type": "content_block_start", "index": index, "content_block": {"type": "tool_use", "name": name}}:
            parts[index] = {"name": name, "arguments": ""}
        case {"type": "content_block_delta", "delta": {"text": text}}:
            yield text
        case {"type": "content_block_delta", "index": index, "delta": {"partial_json": text}}:
            parts[index]["arguments"] += text
        case {"type": "message_delta", "delta": {"stop_reason": str(reason)}}:
            told.end = reason
        case _:
            pass


def _read_responses(event: dict[str, Any], parts: dict[Any, dict[str, str]], told: Told) -> Iterator[str]:
    match event:
        case {"type": "response.output_text.delta", "delta": text}:
            yield text
        case {"type": "response.output_item.done", "output_index": index, "item": {"type": "function_call", **item}}:
            parts[index] = {name: str(item[name]) for name in ("name", "arguments")}
        case {"type": "response.completed" | "response.incomplete", "response": {"status": status}}:
            told.end = status
        case {"type": "response.failed", "response": {"error": error}}:
            raise BadEnd(str((error or {}).get("message")))
        case _:
            pass


_READERS: Final = {"chat": _read_chat, "messages": _read_messages, "responses": _read_responses}
