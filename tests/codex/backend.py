"""A fake of both backends of a ChatGPT plan, over real HTTP: strict where the true ones are, and of short memory.

Owns their rules as facts/codex.md 6 to 10 tell them: what a body may hold, the lite shape of some models, windows that
fill, thoughts that only the account reads that made them, a list of models that the client's version filters. It imports
nothing of ours. Who a token belongs to is asked of `accept`, so that a fake authorisation server can be behind it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]

BACKEND, PLAN = "/backend-api/codex", "/v1"
_TOP = {
    "model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "store", "stream",
    "include", "prompt_cache_key", "text", "service_tier", "client_metadata",
}  # fmt: skip
_COMPACT = _TOP - {"tool_choice", "store", "stream", "include", "client_metadata"}
_ITEM_IDS = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_"}
_LITE_HEADER = "x-openai-internal-codex-responses-lite"


class Refusal(Exception):
    """An answer that is none: status and body."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(status, json.dumps(body))
        self.status = status
        self.body = body


def refuse(text: str) -> Refusal:
    """A 400 in the words of the backend."""
    return Refusal(400, {"detail": text})


@dataclass
class Model:
    """One entry of the catalogue."""

    slug: str
    lite: bool = True
    first_party: bool = False  # for the maker's own clients only
    client: tuple[int, ...] = (0, 124, 0)
    window: int = 272_000
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max", "ultra")
    visibility: str = "list"

    def entry(self) -> Json:
        """As the list tells it."""
        return {
            "slug": self.slug,
            "display_name": self.slug.upper(),
            "visibility": self.visibility,
            "minimal_client_version": ".".join(map(str, self.client)),
            "use_responses_lite": self.lite,
            "context_window": self.window,
            "default_reasoning_level": "low",
            "supported_reasoning_levels": [{"effort": one, "description": ""} for one in self.efforts],
            "supports_parallel_tool_calls": True,
            "input_modalities": ["text", "image"],
            "model_messages": {"instructions": "a large prompt " * 20},
        }


MODELS = (
    Model("gpt-6.1-sol", client=(0, 153, 0)),
    Model("gpt-6-luna", client=(0, 155, 0), first_party=True, efforts=("low", "medium", "high", "max")),
    Model("gpt-5.5", lite=False, efforts=("low", "medium", "high", "xhigh")),
    Model("codex-auto-review", visibility="hide"),
)


@dataclass
class Account:
    """One account: `cost` is what a request takes of its five hours, in percent; the week fills a tenth as fast."""

    id: str
    plan: str = "plus"
    cost: float = 0.0
    used: float = 0.0
    resets_at: int = 0
    without: frozenset[str] = frozenset()  # models that it has not
    served: int = 0


@dataclass
class FakeBackend:
    """Both backends. `now` in epoch seconds; `accept` gives the account of an access token, None = 401.

    `heard` are the bodies that were let in, with their headers; `refused` what was not. `script` may turn one answer
    into another: it is given the body, and its list of events is sent instead.
    """

    accept: Callable[[str], Account | None]
    now: Callable[[], float]
    models: tuple[Model, ...] = MODELS
    etag: str = 'W/"1"'
    heard: list[tuple[Json, dict[str, str]]] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    usage_asked: int = 0
    usage_down: bool = False
    tells_windows: bool = True  # in the heads of its answers
    lists_asked: int = 0
    script: Callable[[Json], list[Json] | None] = field(default=lambda _: None)

    def app(self) -> web.Application:
        """The application: the backend under `/backend-api`, the plan's public API under `/v1`."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        for base in (BACKEND, PLAN):
            app.router.add_post(f"{base}/responses", self._responses)
            app.router.add_get(f"{base}/models", self._models)
        app.router.add_post(f"{BACKEND}/responses/compact", self._compact)
        app.router.add_get("/backend-api/wham/usage", self._usage)
        return app

    # -- doors ----------------------------------------------------------------------------------------

    def _account(self, request: web.Request) -> Account:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        account = self.accept(token)
        if account is None:
            raise Refusal(401, {"detail": "Unauthorized"})
        if not _is_plan(request) and request.headers.get("chatgpt-account-id") != account.id:
            raise Refusal(401, {"detail": "Unauthorized"})
        return account

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        try:
            account = self._account(request)
            body = await request.json()
            model = self._judge(request, body, account)
        except Refusal as refusal:
            self.refused.append(refusal)
            headers = {"x-models-etag": self.etag}
            if refusal.status == 429:
                headers |= self._windows(account)
            return web.json_response(refusal.body, status=refusal.status, headers=headers)
        self.heard.append((body, {name.lower(): value for name, value in request.headers.items()}))
        account.served += 1
        account.used = min(100.0, account.used + account.cost)
        reply = web.StreamResponse(headers={
            "content-type": "text/event-stream", "x-models-etag": self.etag, "openai-model": model.slug,
            **self._windows(account),
        })  # fmt: skip
        await reply.prepare(request)
        events = self.script(body) or list(self._answer(body, model, account))
        for number, event in enumerate(events):
            data = json.dumps({**event, "sequence_number": number})
            await reply.write(f"event: {event['type']}\ndata: {data}\n\n".encode())
        await reply.write_eof()
        return reply

    async def _compact(self, request: web.Request) -> web.Response:
        """The conversation as items that replace it: unary, and nothing of the answer but those."""
        try:
            account = self._account(request)
            body = await request.json()
            for key in body:
                if key not in _COMPACT:
                    raise refuse(f"Unsupported parameter: {key}")
            asked = {**body, "store": False, "stream": True, "include": ["reasoning.encrypted_content"]}
            self._judge(request, asked | {"tool_choice": "auto"}, account)
        except Refusal as refusal:
            self.refused.append(refusal)
            return web.json_response(refusal.body, status=refusal.status)
        self.heard.append((body, {name.lower(): value for name, value in request.headers.items()}))
        users = [item for item in body["input"] if item.get("role") == "user"]
        return web.json_response({"output": [*users, _compaction(account)]})

    async def _models(self, request: web.Request) -> web.Response:
        self.lists_asked += 1
        try:
            account = self._account(request)
        except Refusal as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        version = _version(request.query.get("client_version", "0"))
        shown = [one for one in self.models if one.client <= version and one.slug not in account.without]
        if _is_plan(request):
            shown = [one for one in self.models if one.visibility == "list"]
            keys = ("slug", "display_name", "visibility")
            return web.json_response({"models": [{key: one.entry()[key] for key in keys} for one in shown]})
        return web.json_response({"models": [one.entry() for one in shown]}, headers={"etag": self.etag})

    async def _usage(self, request: web.Request) -> web.Response:
        self.usage_asked += 1
        if self.usage_down:
            return web.json_response({"detail": "Too Many Requests"}, status=429)
        try:
            account = self._account(request)
        except Refusal as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        full = account.used >= 100
        wait_s = int(account.resets_at - self.now())
        return web.json_response({
            "plan_type": account.plan,
            "rate_limit": {
                "allowed": not full,
                "limit_reached": full,
                "primary_window": {
                    "used_percent": int(account.used), "limit_window_seconds": 18_000, "reset_after_seconds": wait_s,
                    "reset_at": account.resets_at,
                },
                "secondary_window": {
                    "used_percent": int(account.used / 10), "limit_window_seconds": 604_800,
                    "reset_after_seconds": 500_000, "reset_at": int(self.now()) + 500_000,
                },
            },
            "credits": {"has_credits": False, "unlimited": False, "balance": None},
        })  # fmt: skip

    def _windows(self, account: Account) -> dict[str, str]:
        now = int(self.now())
        if not self.tells_windows:
            return {}
        return {
            "x-codex-primary-used-percent": f"{account.used:g}",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-at": str(account.resets_at),
            "x-codex-secondary-used-percent": f"{account.used / 10:g}",
            "x-codex-secondary-window-minutes": "10080",
            "x-codex-secondary-reset-at": str(now + 500_000),
            "x-codex-active-limit": "codex",
            "x-codex-plan-type": account.plan,
            "x-codex-credits-has-credits": "False",
            "x-codex-credits-balance": "",
        }

    # -- rules ----------------------------------------------------------------------------------------

    def _judge(self, request: web.Request, body: Json, account: Account) -> Model:
        """The model, if the request may be served. Raises Refusal."""
        plan = _is_plan(request)
        if self.now() >= account.resets_at:
            account.used = account.used if account.used < 100 else 0.0
            account.resets_at = int(self.now()) + 18_000
        for key in body:
            if key not in _TOP:
                raise refuse(f"Unsupported parameter: {key}")
        if body.get("stream") is not True:
            raise refuse("Stream must be set to true")
        if body.get("store") is not False:
            raise refuse("Store must be set to false")
        model = next((one for one in self.models if one.slug == body.get("model")), None)
        if model is None or model.slug in account.without:
            raise refuse(f"The '{body.get('model')}' model is not supported when using Codex with a ChatGPT account.")
        if not plan:
            self._judge_identity(request, model)
        lite = model.lite and not plan
        if lite and request.headers.get(_LITE_HEADER) != "true":
            raise _unknown(model)
        if not lite and _LITE_HEADER in request.headers:
            raise refuse("responses lite is not available for this model")
        _judge_input(body, account, lite=lite)
        _judge_shape(body, lite=lite, plan=plan)
        effort = body.get("reasoning", {}).get("effort")
        if effort is not None and (effort == "ultra" or effort not in model.efforts):
            raise refuse(f"Unsupported value: '{effort}'")
        _judge_windows(account, self.now(), plan=plan)
        return model

    def _judge_identity(self, request: web.Request, model: Model) -> None:
        if _version(request.headers.get("version", "0")) < model.client:
            raise refuse(f"The '{model.slug}' model requires a newer version of Codex.")
        if model.first_party and not request.headers.get("originator", "").startswith("codex"):
            raise _unknown(model)

    # -- answers --------------------------------------------------------------------------------------

    def _answer(self, body: Json, model: Model, account: Account) -> Iterator[Json]:
        """A thought, then a text, or a call of the first tool where the last user turn says so."""
        number = f"{account.id}{account.served}".encode()
        ident = hashlib.sha256(number).hexdigest()[:24]
        response: Json = {"id": f"resp_{ident}", "object": "response", "model": model.slug, "status": "in_progress",
                          "created_at": int(self.now()), "output": []}  # fmt: skip
        yield {"type": "response.created", "response": response}
        yield {"type": "response.in_progress", "response": response}
        yield {"type": "codex.rate_limits", "plan_type": account.plan, "rate_limits": {
            "primary": {"used_percent": account.used, "window_minutes": 300, "reset_at": account.resets_at},
            "secondary": None,
        }}  # fmt: skip
        yield {"type": "keepalive"}
        usage = {"input_tokens": 40, "input_tokens_details": {"cached_tokens": 8}, "output_tokens": 12,
                 "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 52}  # fmt: skip
        if body["input"][-1].get("type") == "compaction_trigger":
            yield {"type": "response.output_item.done", "output_index": 0, "item": _compaction(account)}
            yield {"type": "response.completed", "response": {**response, "status": "completed", "usage": usage}}
            return
        thought: Json = {"type": "reasoning", "id": f"rs_{ident}", "summary": []}
        yield {"type": "response.output_item.added", "output_index": 0, "item": thought}
        if body.get("reasoning", {}).get("summary"):
            where = {"item_id": thought["id"], "output_index": 0, "summary_index": 0}
            yield {"type": "response.reasoning_summary_text.delta", **where, "delta": "Thinking."}
            thought = {**thought, "summary": [{"type": "summary_text", "text": "Thinking."}]}
        sealed = {**thought, "encrypted_content": f"sealed:{account.id}:{ident}"}
        yield {"type": "response.output_item.done", "output_index": 0, "item": sealed}
        tools = list(_tools(body))
        if "use a tool" in _last_words(body) and tools:
            group, tool = tools[0]
            call: Json = {"type": "function_call", "id": f"fc_{ident}", "call_id": f"call_{ident}",
                          "name": tool["name"], "arguments": "", "status": "in_progress"}  # fmt: skip
            if group:
                call["namespace"] = group
            yield {"type": "response.output_item.added", "output_index": 1, "item": call}
            for piece in ('{"a"', ":1}"):
                where = {"item_id": call["id"], "output_index": 1}
                yield {"type": "response.function_call_arguments.delta", **where, "delta": piece}
            done = {**call, "arguments": '{"a":1}', "status": "completed"}
        else:
            item: Json = {"type": "message", "id": f"msg_{ident}", "role": "assistant", "status": "in_progress",
                          "content": [], "phase": "final_answer"}  # fmt: skip
            yield {"type": "response.output_item.added", "output_index": 1, "item": item}
            where = {"item_id": item["id"], "output_index": 1, "content_index": 0}
            for piece in ("You said: ", _last_words(body)[:100]):
                yield {"type": "response.output_text.delta", **where, "delta": piece, "logprobs": []}
            text = f"You said: {_last_words(body)[:100]}"
            part = {"type": "output_text", "text": text, "annotations": []}
            yield {"type": "response.output_text.done", **where, "text": text}
            done = {**item, "status": "completed", "content": [part]}
        yield {"type": "response.output_item.done", "output_index": 1, "item": done}
        yield {"type": "response.completed", "response": {**response, "status": "completed", "usage": usage}}


# --- rules of a body ---------------------------------------------------------------------------------


def _compaction(account: Account) -> Json:
    return {"type": "compaction", "id": f"cmp_{account.served}", "encrypted_content": f"sealed:{account.id}:history"}


def _is_plan(request: web.Request) -> bool:
    return request.path.startswith(f"{PLAN}/")


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


def _unknown(model: Model) -> Refusal:
    error = {"message": f"Model not found {model.slug}", "type": "invalid_request_error", "param": "model"}
    return Refusal(404, {"error": {**error, "code": None}})


def _judge_windows(account: Account, now: float, *, plan: bool) -> None:
    if account.used < 100:
        return
    if plan:
        error = {"code": "subscription_sharing_usage_limit_exceeded", "message": "Usage limit exceeded"}
        raise Refusal(429, {"error": error})
    raise Refusal(429, {"error": {
        "type": "usage_limit_reached", "message": "The usage limit has been reached", "plan_type": account.plan,
        "resets_at": account.resets_at, "resets_in_seconds": int(account.resets_at - now), "eligible_promo": None,
    }})  # fmt: skip


def _judge_input(body: Json, account: Account, *, lite: bool) -> None:
    items = body.get("input")
    if not isinstance(items, list):
        raise refuse("Input must be a list")
    called: set[str] = set()
    for item in items:
        kind = item.get("type", "message")
        ident = item.get("id")
        if ident is not None and (len(ident) > 64 or not ident.startswith(_ITEM_IDS.get(kind, ""))):
            raise refuse("Invalid 'input[].id'")
        if kind == "message":
            if item.get("role") not in {"user", "assistant", "developer"}:
                raise refuse("System messages are not allowed")
            for part in item["content"] if isinstance(item["content"], list) else ():
                _judge_image(part, lite=lite)
        elif kind in {"reasoning", "compaction"}:
            _judge_thought(item, account)
        elif kind in {"function_call", "custom_tool_call"}:
            called.add(item["call_id"])
        elif kind.endswith("_output") and item["call_id"] not in called:
            raise refuse(f"No tool call found for function call output with call_id {item['call_id']}.")


def _judge_image(part: Json, *, lite: bool) -> None:
    if lite and part.get("type") == "input_image" and ("detail" in part or not part["image_url"].startswith("data:")):
        raise refuse("Invalid 'input[].content[].image_url'")


def _judge_thought(item: Json, account: Account) -> None:
    sealed = item.get("encrypted_content")
    if not sealed:
        raise refuse("Items are not persisted when `store` is set to false")
    if not sealed.startswith(f"sealed:{account.id}:"):
        raise Refusal(400, {"error": {
            "message": "The encrypted content could not be verified.", "type": "invalid_request_error",
            "param": None, "code": "invalid_encrypted_content",
        }})  # fmt: skip


def _judge_lite(body: Json) -> None:
    first = body["input"][0] if body["input"] else {}
    if "tools" in body or "instructions" in body:
        raise refuse("Unsupported parameter: tools")
    if body.get("parallel_tool_calls") is not False or body.get("tool_choice") != "auto":
        raise refuse("Unsupported parameter: tool_choice")
    if body.get("reasoning", {}).get("context") != "all_turns":
        raise refuse("reasoning.context")
    for item in body["input"]:
        if item.get("type") == "additional_tools" and item is not first:
            raise refuse("additional_tools must come first")
    for group in first.get("tools", ()):
        if group["type"] in {"function", "custom"}:
            raise refuse("tools must be within a namespace")


def _judge_shape(body: Json, *, lite: bool, plan: bool) -> None:
    if body.get("include") != ["reasoning.encrypted_content"]:
        raise refuse("include")
    if lite:
        _judge_lite(body)
        return
    if not plan and not body.get("instructions"):
        raise refuse("Instructions are required")
    if plan and any(tool["type"] in {"function", "custom"} for tool in body.get("tools", ())):
        error = {"code": "subscription_sharing_unsupported_capability", "param": "tools", "message": "ungrouped tools"}
        raise Refusal(400, {"error": error})
    for tool in body.get("tools", ()):
        if tool["type"] not in {"function", "custom", "namespace", "web_search"}:
            raise refuse(f"Unsupported tool type: {tool['type']}")


def _tools(body: Json) -> Iterator[tuple[str, Json]]:
    """Every tool with the name of its group."""
    listed = list(body.get("tools", ()))
    for item in body["input"]:
        if item.get("type") == "additional_tools":
            listed += item["tools"]
    for tool in listed:
        if tool["type"] == "namespace":
            yield from ((tool["name"], one) for one in tool["tools"])
        elif tool["type"] in {"function", "custom"}:
            yield "", tool


def _last_words(body: Json) -> str:
    for item in reversed(body["input"]):
        if item.get("type") == "function_call_output":
            return "a result"
        if item.get("role") == "user":
            content = item["content"]
            return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
    return ""
