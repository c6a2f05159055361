"""An endpoint that speaks all dialects as it should, and as badly as a test wants it to."""

import base64
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestServer

from .good import (
    CHAT,
    CHAT_CALL,
    CHAT_CALLS_STREAM,
    CHAT_STREAM,
    CHAT_USAGE,
    MESSAGE,
    MESSAGE_CALL,
    MESSAGE_CALL_STREAM,
    MESSAGE_STREAM,
    RESPONSE,
    RESPONSE_CALL,
    RESPONSE_CALL_STREAM,
    RESPONSE_STREAM,
    chunk,
    having,
    raw,
    response,
)  # fmt: skip

Json = dict[str, Any]
KEY = "sk-peer"
MODEL = "m"
VECTORS = {"The harbour at night.": [0.5, -0.25, 1.0, 0.0], "A recipe for bread.": [0.0, 1.0, 0.25, -0.5]}


@dataclass
class Said:
    """One answer: a status with a JSON value, bytes of a stream, or any text."""

    value: Any = None
    status: int = 200
    stream: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Twist = Callable[[str, Json, Said], Said | None]
"""Given the path, the request's body and the good answer: another answer, or None for the good one."""


class Peer:
    """Listens on loopback; `asked` holds path and body of each request, in order. Use it in `async with`."""

    def __init__(self, twist: Twist | None = None, *, key: str = KEY) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.seen_headers: list[dict[str, str]] = []
        self._twist = twist
        self._key = key
        self._kept: dict[str, Json] = {}
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._server = TestServer(app)

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        self.url = f"http://127.0.0.1:{self._server.port}/v1"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._server.close()

    async def _handle(self, request: web.Request) -> web.Response:
        path, text = request.path.removeprefix("/v1"), await request.text()
        try:
            body = json.loads(text) if text else None
        except ValueError:
            body = text
        self.asked.append((request.method, path, body))
        self.seen_headers.append({name.lower(): value for name, value in request.headers.items()})
        said = self._answer(request, path, body)
        if self._twist is not None:
            said = self._twist(path, body if isinstance(body, dict) else {}, said) or said
        if said.stream:
            kind = said.headers.get("content-type", "text/event-stream")
            return web.Response(body=said.stream, headers={**said.headers, "content-type": kind})
        if isinstance(said.value, str):
            return web.Response(text=said.value, status=said.status, headers=said.headers)
        return web.json_response(said.value, status=said.status, headers=said.headers)

    def _answer(self, request: web.Request, path: str, body: Any) -> Said:
        shown = request.headers.get("authorization", "").removeprefix("Bearer ") or request.headers.get("x-api-key", "")
        anthropic = "anthropic-version" in request.headers
        if self._key and shown != self._key:
            return error("bad key", 401, anthropic=anthropic)
        if request.method == "GET" and path.startswith("/models"):
            return _models(path, anthropic=anthropic)
        if path.startswith("/responses/resp_") and request.method in {"GET", "DELETE"}:
            name = path.rpartition("/")[2]
            kept = self._kept.pop(name, None) if request.method == "DELETE" else self._kept.get(name)
            if kept is None:
                return error(f"response {name} not found", 404)
            return Said({"id": name, "object": "response", "deleted": True} if request.method == "DELETE" else kept)
        known = {"/chat/completions", "/messages", "/responses", "/embeddings", "/messages/count_tokens",
                 "/responses/input_tokens"}  # fmt: skip
        if request.method != "POST" or path not in known:
            return error("no such path", 404, anthropic=anthropic)
        if not isinstance(body, dict):
            return error("the body is no JSON object", 400, anthropic=anthropic)
        if path == "/embeddings":
            return _embeddings(body)
        if wrong := _mistake(body):
            return error(wrong, 400, anthropic=anthropic)
        if path == "/messages/count_tokens":
            return Said({"input_tokens": 7})
        if path == "/responses/input_tokens":
            return Said({"object": "response.input_tokens", "input_tokens": 7})
        return {"/chat/completions": _chat, "/messages": _messages, "/responses": self._respond}[path](body)

    def _respond(self, body: Json) -> Said:
        earlier = body.get("previous_response_id")
        if earlier is not None and earlier not in self._kept:
            return error(f"previous_response_id {earlier} not found", 400)
        if body.get("stream"):
            return Said(stream=raw(RESPONSE_CALL_STREAM if _calls(body) else RESPONSE_STREAM, named=True))
        answer = RESPONSE_CALL if _calls(body) else having(RESPONSE, _text(body), "output", 0, "content", 0, "text")
        name = f"resp_{len(self._kept) + 1}"
        usage = {**RESPONSE["usage"], "input_tokens": 20, "total_tokens": 22} if earlier else RESPONSE["usage"]
        answer = {**answer, "id": name, "previous_response_id": earlier, "usage": usage}
        if "top_logprobs" in body:
            return error("top_logprobs is not supported", 400)
        if body.get("max_output_tokens") == 8:
            return Said(
                response(*answer["output"], status="incomplete", incomplete_details={"reason": "max_output_tokens"})
            )
        if body.get("store"):
            self._kept[name] = answer
        return Said(answer)


def error(message: str, status: int, *, anthropic: bool = False) -> Said:
    """An error in the shape of either dialect."""
    told = {"type": "invalid_request_error", "message": message}
    return Said(
        {"type": "error", "error": told} if anthropic else {"error": {**told, "param": None, "code": None}}, status
    )


def _mistake(body: Json) -> str:
    """What is wrong with a request that every dialect refuses."""
    if "messages" not in body and "input" not in body:
        return "messages or input is missing"
    if isinstance(body.get("temperature"), str):
        return "temperature should be a number"
    turns = body.get("messages") or body.get("input")
    if any(turn.get("role") == "wizard" for turn in turns if isinstance(turns, list)):
        return "role wizard is not known"
    return "n is at most 128" if body.get("n", 1) > 128 else ""


def _calls(body: Json) -> bool:
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    weather = "weather" in json.dumps(body.get("tools", ""))
    named = (
        choice.get("name") or choice.get("function", {}).get("name", "weather")
        if isinstance(choice, dict)
        else "weather"
    )
    return weather and kind in {"required", "any", "tool", "function"} and named == "weather"


def _text(body: Json) -> str:
    if "greeting" in json.dumps(body.get("response_format", body.get("text", body.get("output_config", "")))):
        return '{"greeting": "Hello!"}'
    if "json_object" in json.dumps([body.get("response_format"), body.get("text")]):
        return "{}"
    return "apples pears" if "stop" in body or "stop_sequences" in body else "Hello!"


def _chat(body: Json) -> Said:
    if body.get("stream"):
        events = CHAT_CALLS_STREAM if _calls(body) else CHAT_STREAM
        if body.get("stream_options", {}).get("include_usage"):
            events = [*events[:-1], {**chunk({}), "choices": [], "usage": CHAT_USAGE}, events[-1]]
        return Said(stream=raw(events, named=False))
    if _calls(body):
        return Said(CHAT_CALL)
    choice = {**CHAT["choices"][0], "message": {"role": "assistant", "content": _text(body)}}
    if body.get("max_tokens") == 8:
        choice["finish_reason"] = "length"
    if "modalities" in body:
        return error("modalities: this model does not speak", 400)
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [{"token": "Hello!", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
    return Said({**CHAT, "choices": [{**choice, "index": index} for index in range(body.get("n", 1))]})


def _messages(body: Json) -> Said:
    if body.get("stream"):
        return Said(stream=raw(MESSAGE_CALL_STREAM if _calls(body) else MESSAGE_STREAM, named=True))
    if _calls(body):
        return Said(MESSAGE_CALL)
    answer = having(MESSAGE, _text(body), "content", 0, "text")
    return Said({**answer, "stop_reason": "max_tokens"} if body.get("max_tokens") == 8 else answer)


def _models(path: str, *, anthropic: bool) -> Said:
    one = (
        {"type": "model", "id": MODEL, "display_name": "M", "created_at": "2026-01-01T00:00:00Z"}
        if anthropic
        else {"id": MODEL, "object": "model", "created": 1, "owned_by": "peer"}
    )
    if path == "/models":
        more = {"has_more": False, "first_id": MODEL, "last_id": MODEL} if anthropic else {"object": "list"}
        return Said({"data": [one], **more})
    return Said(one) if path == f"/models/{MODEL}" else error("no such model", 404, anthropic=anthropic)


def _embeddings(body: Json) -> Said:
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        return error("input must be a text, or a list of them", 400)
    data = []
    for index, text in enumerate(texts):
        vector: Any = VECTORS[text][: body.get("dimensions", 4)]
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return Said({"object": "list", "data": data, "model": body.get("model"), "usage": usage})
