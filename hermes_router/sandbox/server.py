"""The sandbox: fake providers in one process, each on a loopback port of its own, over real HTTP.

Owns listeners, routes, the record of requests, and the levers of a test (`revoke`, `kill`, `behave`). It
must never decide what a provider answers (`providers`) nor how the bytes travel (`delivery`).
"""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from aiohttp import web

from hermes_router.sandbox.delivery import Parcel, deliver, mute, plain
from hermes_router.sandbox.embeddings import listed
from hermes_router.sandbox.faults import Behaviour
from hermes_router.sandbox.frames import Written, usage_of
from hermes_router.sandbox.providers import Embedded, FakeProvider, Granted, Muted, Refused, Route
from hermes_router.sandbox.speeches import SPEECHES, Speech
from hermes_router.sandbox.styles import STYLES
from hermes_router.sandbox.values import Refusal

Outcome = Literal["open", "finished", "cut", "refused", "aborted", "killed"]
MAX_BODY_BYTES = 256 * 1024 * 1024
_REBIND_TRIES = 50


@dataclass(slots=True, eq=False)
class Recorded:
    """One request as it came. `aborted`: the caller left first; `killed`: the provider was; `cut`: on purpose."""

    provider: str
    path: str
    model: str
    key_tail: str
    headers: Mapping[str, str]
    body: Any
    raw: bytes
    at: float
    behaviour: str = ""
    status: int | None = None
    outcome: Outcome = "open"
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, eq=False)
class _Listener:
    """One provider's port. While it is killed, a bound socket that does not listen keeps the port ours."""

    provider: FakeProvider
    http: web.Server
    port: int = 0
    serving: asyncio.Server | None = None
    placeholder: socket.socket | None = None


class Sandbox:
    """Fake providers over HTTP. `async with Sandbox(...)` starts and stops it.

    `providers` are `FakeProvider`s or names of styles; none is one of each style. `clock` gives epoch seconds
    and drives all quotas.
    """

    def __init__(self, providers: Iterable[FakeProvider | str] = (), clock: Callable[[], float] = time.time) -> None:
        made = [FakeProvider(each) if isinstance(each, str) else each for each in providers or STYLES]
        self.providers = {provider.name: provider for provider in made}
        self.requests: list[Recorded] = []
        self.clock = clock
        self._listeners: dict[str, _Listener] = {}
        self._arrived = asyncio.Event()

    # --- life ------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Bind a free loopback port for each provider and serve."""
        for provider in self.providers.values():
            listener = _Listener(provider, self._http_server(provider))
            self._listeners[provider.name] = listener
            bound = _bind(0)
            listener.port = bound.getsockname()[1]
            await self._listen(listener, bound)

    async def stop(self) -> None:
        """Close everything; whatever stalls is cancelled."""
        for listener in self._listeners.values():
            if listener.serving:
                listener.serving.close()
            if listener.placeholder:
                listener.placeholder.close()
            _abort_connections(listener)
            await listener.http.shutdown(timeout=1.0)
        self._listeners.clear()

    def base_url(self, name: str) -> str:
        """What a caller would set as base URL: the provider's own path on its port, no slash at the end."""
        return f"http://127.0.0.1:{self._listeners[name].port}{self.providers[name].row.path}"

    # --- levers ------------------------------------------------------------------------------------------

    def behave(
        self,
        provider: str,
        behaviour: Behaviour,
        times: int | None = 1,
        *,
        model: str | None = None,
        key: str | None = None,
        route: Route = "chat",
    ) -> Behaviour:
        """Queue a behaviour (see `FakeProvider.behave`) and hand it back for its `gate` and `reached`."""
        return self.providers[provider].behave(behaviour, times, model=model, key=key, route=route)

    def revoke(self, provider: str, key: str) -> None:
        """The key is good no longer; answers under way go on."""
        self.providers[provider].keys.discard(key)

    async def kill(self, provider: str) -> None:
        """Cut all its connections, answers under way included, and refuse new ones."""
        listener = self._listeners[provider]
        if listener.serving is None:
            return
        listener.serving.close()
        listener.serving = None
        for record in self.requests:
            if record.provider == provider and record.outcome == "open":
                record.outcome = "killed"
        _abort_connections(listener)
        for _ in range(_REBIND_TRIES):
            await asyncio.sleep(0)  # uvloop closes a listening socket in its next round
            try:
                listener.placeholder = _bind(listener.port)
            except OSError:
                continue
            return
        msg = f"port {listener.port} is not free again"
        raise RuntimeError(msg)

    async def revive(self, provider: str) -> None:
        """Serve again on the same port."""
        listener = self._listeners[provider]
        if listener.placeholder is not None:
            bound, listener.placeholder = listener.placeholder, None
            await self._listen(listener, bound)

    async def seen(self, number: int, provider: str | None = None) -> list[Recorded]:
        """Wait until so many requests (of a provider) have come, and return them. For tests: no polling."""
        while True:
            found = [each for each in self.requests if provider in {None, each.provider}]
            if len(found) >= number:
                return found
            self._arrived.clear()
            await self._arrived.wait()

    # --- HTTP ----------------------------------------------------------------------------------------------

    async def _listen(self, listener: _Listener, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.serving = await loop.create_server(listener.http, sock=bound, backlog=1024)

    def _http_server(self, provider: FakeProvider) -> web.Server:
        loop = asyncio.get_running_loop()

        def make(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY_BYTES)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await self._handle(provider, request)

        return web.Server(handle, request_factory=make, handler_cancellation=True, access_log=None)

    async def _handle(self, provider: FakeProvider, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        record = self._record(provider, request, raw)
        try:
            response = await self._answer(provider, request, record)
        except (asyncio.CancelledError, ConnectionError):
            if record.outcome == "open":
                record.outcome = "aborted"
            raise
        finally:
            record.done.set()
        if record.outcome == "open":
            record.outcome = "finished" if response.status < web.HTTPBadRequest.status_code else "refused"
        record.status = response.status
        return response

    def _record(self, provider: FakeProvider, request: web.BaseRequest, raw: bytes) -> Recorded:
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        model = str(body.get("model", "")) if isinstance(body, dict) else ""
        headers = {name.lower(): value for name, value in request.headers.items()}
        record = Recorded(provider.name, request.path, model, _key(headers)[-4:], headers, body, raw, self.clock())
        self.requests.append(record)
        self._arrived.set()
        return record

    async def _answer(self, provider: FakeProvider, request: web.BaseRequest, record: Recorded) -> web.StreamResponse:
        path, at = provider.row.path, (request.method, record.path)
        if request.method == "POST":
            for speech in map(SPEECHES.__getitem__, provider.speaks):
                if record.path in _paths(provider, speech.path):
                    return await self._chat(provider, request, record, speech)
                compacts = speech.compact_path and provider.row.compacts
                if compacts and record.path in _paths(provider, speech.compact_path):
                    return await self._side(provider, request, record, "compact", _compacting(speech))
                if speech.count_path and record.path in _paths(provider, speech.count_path):
                    return plain(provider.count(_key(record.headers), record.headers, record.body, speech))
        if provider.embedders and at == ("POST", f"{path}/embeddings"):
            decided = provider.embed(_key(record.headers), record.headers, record.body, record.at)
            return await self._serve(provider, request, record, decided)
        if request.method == "GET" and f"{record.path}/".startswith(f"{path}/models/"):
            return await self._side(provider, request, record, "models", _models)
        extra = _EXTRAS.get((provider.style, *at))
        if extra is None:
            return plain(_no_path(record))
        refusal = None if provider.row.keyless else provider.admitted(_key(record.headers), record.headers)
        return plain(refusal or extra(provider, record))

    async def _side(
        self, provider: FakeProvider, request: web.BaseRequest, record: Recorded, route: Route,
        handler: Callable[[FakeProvider, Recorded], Refusal],
    ) -> web.StreamResponse:  # fmt: skip
        """What has a plain answer: key, script, then that."""
        key = _key(record.headers)
        public = route == "models" and provider.row.public_models
        if not public and (refusal := provider.admitted(key, record.headers)):
            return plain(refusal)
        early = provider.interrupted(key, record.body, record.at, route)
        if isinstance(early, Muted):
            return await mute(request, early.behaviour)
        return plain(early.refusal if early else handler(provider, record))

    async def _chat(
        self, provider: FakeProvider, request: web.BaseRequest, record: Recorded, speech: Speech
    ) -> web.StreamResponse:
        decided = provider.decide(_key(record.headers), record.headers, record.body, record.at, speech)
        return await self._serve(provider, request, record, decided, speech)

    async def _serve(
        self, provider: FakeProvider, request: web.BaseRequest, record: Recorded,
        decided: Granted | Embedded | Refused | Muted, speech: Speech = SPEECHES["chat"],
    ) -> web.StreamResponse:  # fmt: skip
        """Bring what was decided to the caller, and settle what it cost."""
        if isinstance(decided, Muted):
            record.behaviour, record.outcome = decided.behaviour.name, "cut"
            return await mute(request, decided.behaviour)
        if isinstance(decided, Refused):
            if decided.behaviour:
                record.behaviour = decided.behaviour.name
                decided.behaviour.reached.set()
            record.outcome = "refused"
            return plain(decided.refusal)
        record.behaviour = decided.behaviour.name
        try:
            if isinstance(decided, Embedded):
                parcel, tokens = _vectors(provider, decided)
            else:
                parcel, tokens = self._parcel(provider, decided, record, speech)
            response, outcome = await deliver(request, parcel)
        finally:
            decided.charge.release()
        decided.charge.settle(tokens)
        record.outcome = outcome
        return response

    def _parcel(self, provider: FakeProvider, granted: Granted, record: Recorded, speech: Speech) -> tuple[Parcel, int]:
        hand = provider.row.hand
        usage = usage_of(granted.reply, granted.prompt_tokens)
        number = f"{provider.number():012d}"
        written = Written(
            granted.reply, (speech.prefix or hand.id_prefix) + number, int(record.at), granted.model.id, usage,
            record.body, granted.cached, lambda text: provider.memory.seal(granted.holder, text),
        )  # fmt: skip
        streamed = bool(record.body.get("stream")) and not granted.behaviour.delivery.unary
        frames = speech.stream(hand, written) if streamed else []
        if granted.behaviour.edit:
            frames = granted.behaviour.edit(frames)
        whole = None if streamed else speech.whole(hand, written)
        parcel = Parcel(hand, granted.behaviour, frames, whole, granted.headers, provider.pace_s)
        provider.keep(speech, written)
        return parcel, usage["total_tokens"]


def _vectors(provider: FakeProvider, embedded: Embedded) -> tuple[Parcel, int]:
    hand, behaviour = provider.row.hand, embedded.behaviour
    return Parcel(hand, behaviour, [], embedded.answer, embedded.headers, provider.pace_s), embedded.tokens


def _paths(provider: FakeProvider, tail: str) -> set[str]:
    return {f"{path}{tail}" for path in (provider.row.path, *provider.row.more_paths)}


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


def _abort_connections(listener: _Listener) -> None:
    for connection in listener.http.connections:
        if connection.transport is not None:
            connection.transport.abort()


def _key(headers: Mapping[str, str]) -> str:
    """The bearer's key, or the one that is named as such; empty if there is none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


# --- what is no chat --------------------------------------------------------------------------------------


def _models(provider: FakeProvider, record: Recorded) -> Refusal:
    name = record.path.removeprefix(f"{provider.row.path}/models").lstrip("/")
    if name:
        model = provider.model(name)
        return Refusal(200, provider.row.model_row(model)) if model else provider.row.sayings.no_model(name)
    rows = [provider.row.model_row(model) for model in provider.models]
    rows += [{"id": model, "object": "model", "owned_by": "sandbox"} for model in provider.offline_models]
    rows += [listed(provider.style, embedder) for embedder in provider.embedders or () if embedder.listed]
    return Refusal(200, provider.row.model_list(rows))


def _compacting(speech: Speech) -> Callable[[FakeProvider, Recorded], Refusal]:
    def handler(provider: FakeProvider, record: Recorded) -> Refusal:
        return provider.compact(_key(record.headers), record.headers, record.body, record.at, speech)

    return handler


def _openrouter_key(_provider: FakeProvider, _record: Recorded) -> Refusal:
    return Refusal(200, {"data": {"label": "sk-or-v1-sand...box", "limit": None, "usage": 0, "is_free_tier": True}})


def _kimi_usages(_provider: FakeProvider, _record: Recorded) -> Refusal:
    detail = {"limit": "100", "remaining": "74", "resetTime": "2030-01-01T00:00:00Z"}
    window = {"window": {"duration": 300, "timeUnit": "TIME_UNIT_MINUTE"}, "detail": detail}
    return Refusal(200, {"usage": detail, "limits": [window]})


def _local_props(provider: FakeProvider, _record: Recorded) -> Refusal:
    n_ctx = provider.models[0].context
    return Refusal(200, {"default_generation_settings": {"n_ctx": n_ctx}, "total_slots": 1, "chat_template": "{{ }}",
                         "modalities": {"vision": provider.models[0].sees, "audio": False}})  # fmt: skip


def _local_kinds(provider: FakeProvider, record: Recorded) -> Refusal:
    """LM Studio's own list, which says what each model is for; only where there is one that does not chat."""
    embedders = [model for model in provider.embedders or () if model.listed]
    if not embedders:
        return _no_path(record)
    rows = [{"id": model.id, "object": "model", "type": "llm", "state": "loaded",
             "loaded_context_length": model.context, "max_context_length": model.context}
            for model in provider.models]  # fmt: skip
    rows += [{"id": model.id, "object": "model", "type": "embeddings", "state": "not-loaded",
              "max_context_length": model.context} for model in embedders]  # fmt: skip
    return Refusal(200, {"object": "list", "data": rows})


def _no_path(record: Recorded) -> Refusal:
    return Refusal(404, {"error": {"message": f"no such path: {record.path}", "code": 404}})


_EXTRAS: Mapping[tuple[str, str, str], Callable[[FakeProvider, Recorded], Refusal]] = {
    ("openrouter", "GET", "/api/v1/key"): _openrouter_key,
    ("kimi", "GET", "/coding/v1/usages"): _kimi_usages,
    ("local", "GET", "/props"): _local_props,
    ("local", "GET", "/api/v0/models"): _local_kinds,
}
