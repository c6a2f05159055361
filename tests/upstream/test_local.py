"""Discovery of local servers, against scripted ones over loopback. A real one: tests/real."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.catalog import Capability, Known, ModelSpec, PriceClass
from hermes_router.core.errors import Unreachable, UpstreamError
from hermes_router.core.observations import Unit
from hermes_router.core.ports import Outbound, Sink
from hermes_router.upstream.http import HttpTransport
from hermes_router.upstream.local import EMBEDS_UNKNOWN, OLLAMA_WINDOW, discover

YES, NO, UNKNOWN = Known.YES, Known.NO, Known.UNKNOWN

LLAMA_ENTRY = {
    "id": "/models/gemma 3.gguf",
    "object": "model",
    "owned_by": "llamacpp",
    "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
    "meta": {"n_ctx": 2048, "n_ctx_train": 32768, "n_embd": 640},
}
LLAMA_PROPS = {
    "default_generation_settings": {"params": {}, "n_ctx": 2048},
    "total_slots": 4,
    "model_alias": "/models/gemma 3.gguf",
    "modalities": {"vision": True, "video": False, "audio": False},
    "chat_template": "{%- for message in messages -%}",
    "chat_template_caps": {"supports_tools": True, "supports_tool_calls": True},
}


class Script:
    """A server that answers each `METHOD /path` (for `/api/show` also the model's name) as told, else 404."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.headers: list[Mapping[str, str]] = []

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        key = f"{request.method} {request.path}"
        if request.path == "/api/show":
            key += " " + json.loads(await request.read())["model"]
        self.asked.append(key)
        self.headers.append(request.headers)
        answer = self.answers.get(key, 404)
        if isinstance(answer, int):
            return web.json_response({"error": {"message": "no"}}, status=answer)
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        return web.json_response(answer)


@pytest.fixture
async def ask(aiohttp_raw_server: Any) -> AsyncIterator[Any]:
    """Start a server scripted with `answers` and discover it; the script is then `ask.script`."""
    transport = HttpTransport(asyncio.get_running_loop())

    async def discovered(answers: Mapping[str, Any], *, base: str = "/v1", **kwargs: Any) -> tuple[ModelSpec, ...]:
        discovered.script = Script(answers)  # type: ignore[attr-defined]
        server = await aiohttp_raw_server(discovered.script)  # type: ignore[attr-defined]
        return await discover(transport, str(server.make_url("")).rstrip("/") + base, timeout_s=5.0, **kwargs)

    yield discovered
    await transport.close()


def _listing(*entries: Mapping[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(entries)}


def _known(spec: ModelSpec, *what: Capability) -> list[Known]:
    return [spec.capability(capability).value for capability in what]


def _ollama(models: Mapping[str, Mapping[str, Any]], *running: Mapping[str, Any]) -> dict[str, Any]:
    entries = [{"id": name, "object": "model", "owned_by": "library"} for name in models]
    shows = {f"POST /api/show {name}": show for name, show in models.items()}
    return {"GET /v1/models": _listing(*entries), "GET /api/ps": {"models": list(running)}, **shows}


def _show(*can: str, parameters: str = "", window: int = 131072, **more: Any) -> dict[str, Any]:
    info = {"general.architecture": "llama", "llama.context_length": window, "llama.embedding_length": 768}
    return {"model_info": info, "capabilities": list(can), "parameters": parameters, **more}


# --- llama.cpp -------------------------------------------------------------------------------------


async def test_llama_cpp_tells_window_slots_and_abilities(ask: Any) -> None:
    """The window is that of a slot, not the one trained for; template, modalities and slots say what it can do."""
    (spec,) = await ask({"GET /v1/models": _listing(LLAMA_ENTRY), "GET /props": LLAMA_PROPS})
    assert (spec.id, spec.context, spec.price_class) == ("/models/gemma 3.gguf", 2048, PriceClass.FREE)
    assert _known(spec, Capability.TOOLS, Capability.IMAGES, Capability.AUDIO) == [YES, YES, NO]
    assert _known(spec, Capability.JSON_SCHEMA, Capability.LOGPROBS, Capability.MULTIPLE) == [YES, YES, YES]
    assert spec.capability(Capability.TOOLS).source == "probed"
    assert [(rule.unit, rule.amount) for rule in spec.quotas] == [(Unit.CONCURRENCY, 4)]
    assert spec.embeds is None


@pytest.mark.parametrize(
    ("props", "tools"),
    [
        ({"chat_template_caps": {"supports_tools": False}, "chat_template": "tools"}, NO),
        ({"chat_template": "{%- if tools %}"}, YES),
        ({"chat_template": "{{ message.toolset }}"}, UNKNOWN),
        ({"chat_template": "plain", "chat_template_tool_use": "x"}, YES),
        ({}, UNKNOWN),
        ({"chat_template_caps": [], "chat_template": 3}, UNKNOWN),
    ],
)
async def test_llama_cpp_tools_follow_the_template(ask: Any, props: dict[str, Any], tools: Known) -> None:
    """What the build found in its template holds; an older build's template that names tools is a yes, else unknown."""
    answers = {"GET /v1/models": _listing(LLAMA_ENTRY), "GET /props": {"default_generation_settings": {}, **props}}
    (spec,) = await ask(answers)
    assert _known(spec, Capability.TOOLS) == [tools]
    assert spec.context == 2048  # from the list, as /props is silent


async def test_one_slot_takes_no_n(ask: Any) -> None:
    """llama.cpp refuses n above its slots, so a single slot cannot do n = 2."""
    (spec,) = await ask({"GET /v1/models": _listing(LLAMA_ENTRY), "GET /props": {**LLAMA_PROPS, "total_slots": 1}})
    assert _known(spec, Capability.MULTIPLE) == [NO]


async def test_llama_cpp_answers_to_every_name(ask: Any) -> None:
    """With one model loaded, a name of the owner's own gets that model's facts, under the owner's name."""
    answers = {"GET /v1/models": _listing(LLAMA_ENTRY), "GET /props": LLAMA_PROPS}
    (spec,) = await ask(answers, wanted=("my-model",))
    assert (spec.id, spec.context) == ("my-model", 2048)


async def test_props_of_several_models_speak_of_the_alias_only(ask: Any) -> None:
    """Where several are listed, `/props` describes the one that it names."""
    listing = _listing({"id": "a"}, {"id": "b", "meta": None})
    answers = {"GET /v1/models": listing, "GET /props": {**LLAMA_PROPS, "model_alias": "b"}}
    a, b = await ask(answers)
    assert (a.context, b.context) == (None, 2048)


async def test_a_model_that_is_loading_is_asked_again(ask: Any) -> None:
    """llama.cpp lists a model that it still loads, with no window, and /props is 503: later, not "unknown"."""
    with pytest.raises(Unreachable) as caught:
        await ask({"GET /v1/models": _listing({**LLAMA_ENTRY, "meta": None}), "GET /props": 503})
    assert caught.value.status == 503


# --- Ollama ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("show", "running", "context"),
    [
        (_show(), None, OLLAMA_WINDOW),
        (_show(parameters='stop    "<|eot|>"\nnum_ctx                        16384'), None, 16384),
        (_show(parameters="num_ctx 16384"), 4096, 16384),
        (_show(parameters="num_ctx 999999"), None, 131072),
        (_show(parameters="num_ctx 0"), None, OLLAMA_WINDOW),
        (_show(parameters='system "num_ctx 7"'), None, OLLAMA_WINDOW),
        (_show(), 32768, 32768),
        (_show(window=2048), None, 2048),
        (_show(remote_host="https://ollama.com"), None, 131072),
        (_show(parameters=7), None, OLLAMA_WINDOW),
    ],
)
async def test_ollama_window_is_what_it_loads_with(
    ask: Any, show: dict[str, Any], running: int | None, context: int
) -> None:
    """num_ctx, else the running model's, else 4,096 (silent truncation beyond it); never above the model's own."""
    ps = [{"name": "llama3.1:latest", "context_length": running}] if running else []
    (spec,) = await ask(_ollama({"llama3.1:latest": show}, *ps))
    assert spec.context == context


async def test_ollama_capabilities_are_yes_or_no(ask: Any) -> None:
    """The list of capabilities is complete: what it does not name is a no."""
    chat, embed = await ask(
        _ollama({"a": _show("completion", "tools", "thinking"), "b": _show("embedding", window=512)})
    )
    what = (Capability.TOOLS, Capability.REASONING, Capability.IMAGES)
    assert _known(chat, *what) == [YES, YES, NO]
    assert chat.embeds is None
    assert (embed.embeds, embed.context) == (768, 512)


async def test_an_old_ollama_tells_tools_by_its_template(ask: Any) -> None:
    """Before 0.6 there is no list; a template with .Tools is a yes, any other says nothing."""
    shows = {"a": _show(template="{{ if .Tools }}"), "b": _show(template="{{ .Prompt }}")}
    for show in shows.values():
        del show["capabilities"]
    a, b = await ask(_ollama(shows))
    assert [*_known(a, Capability.TOOLS), *_known(b, Capability.TOOLS)] == [YES, UNKNOWN]


async def test_ollama_serves_a_name_without_its_tag(ask: Any) -> None:
    """LOCAL_MODEL=llama3.1 is llama3.1:latest, and keeps the owner's spelling."""
    answers = _ollama({"llama3.1:latest": _show("tools", parameters="num_ctx 8192"), "other:7b": _show()})
    (spec,) = await ask(answers, wanted=("llama3.1",))
    assert (spec.id, spec.context) == ("llama3.1", 8192)
    assert "POST /api/show other:7b" not in ask.script.asked


async def test_ollama_without_ps_is_known_by_its_first_answer(ask: Any) -> None:
    """/api/show alone is enough; one model's failure does not cost the others."""
    answers = _ollama({f"m{i}": _show(parameters=f"num_ctx {1000 + i}") for i in range(20)})
    del answers["GET /api/ps"]
    answers["POST /api/show m7"] = 500
    specs = await ask(answers)
    assert [spec.context for spec in specs] == [None if i == 7 else 1000 + i for i in range(20)]


# --- LM Studio, vLLM, others -----------------------------------------------------------------------


async def test_lm_studio_tells_what_is_loaded(ask: Any) -> None:
    """The loaded window counts; of a model that is not loaded only a small maximum says something."""
    entries = [
        {"id": "loaded", "type": "llm", "state": "loaded", "max_context_length": 131072, "loaded_context_length": 4096},
        {"id": "seen", "type": "vlm", "state": "not-loaded", "max_context_length": 32768, "capabilities": ["tool_use"]},
        {"id": "small", "type": "llm", "state": "not-loaded", "max_context_length": 2048},
        {"id": "vectors", "type": "embeddings", "state": "not-loaded", "max_context_length": 2048},
        {"id": "unlisted", "type": "llm"},
    ]
    unexpected = {"error": "Unexpected endpoint or method."}  # LM Studio says so with a 200
    answers = {
        "GET /v1/models": _listing(*({"id": e["id"], "object": "model"} for e in entries[:4])),
        "GET /api/v0/models": _listing(*entries),
        "GET /props": unexpected,
        "GET /api/ps": unexpected,
        "POST /api/show seen": unexpected,
    }
    loaded, seen, small, vectors = await ask(answers)
    assert [s.context for s in (loaded, seen, small, vectors)] == [4096, None, 2048, 2048]
    assert _known(loaded, Capability.IMAGES, Capability.TOOLS) == [NO, UNKNOWN]
    assert _known(seen, Capability.IMAGES, Capability.TOOLS) == [YES, YES]
    assert [s.embeds for s in (loaded, vectors)] == [None, EMBEDS_UNKNOWN]


async def test_vllm_tells_max_model_len(ask: Any) -> None:
    """The window of vLLM is in its list, so nobody asks /api/show; what it can do is unknown, not no."""
    entry = {"id": "Qwen/Qwen3-8B", "owned_by": "vllm", "root": "Qwen/Qwen3-8B", "max_model_len": 40960}
    (spec,) = await ask({"GET /v1/models": _listing(entry)})
    assert (spec.id, spec.context, dict(spec.capabilities)) == ("Qwen/Qwen3-8B", 40960, {})
    assert not [key for key in ask.script.asked if key.startswith("POST")]


async def test_a_server_that_tells_nothing_is_asked_once(ask: Any) -> None:
    """Bare entries give bare specs, and one /api/show is enough to learn that this is no Ollama."""
    a, b = await ask({"GET /v1/models": _listing({"id": "a"}, {"id": "b"})})
    assert (a, b) == tuple(ModelSpec(id=name, price_class=PriceClass.FREE) for name in "ab")
    assert [key for key in ask.script.asked if key.startswith("POST")] == ["POST /api/show a"]


async def test_wanted_models_come_in_order_and_bare_where_unknown(ask: Any) -> None:
    """A model that the owner names is there even if the server does not list it (yet); no other is."""
    listing = _listing({"id": "a", "max_model_len": 100}, {"id": "b", "max_model_len": 200})
    specs = await ask({"GET /v1/models": listing}, wanted=("gone", "b"))
    assert [(spec.id, spec.context) for spec in specs] == [("gone", None), ("b", 200)]


async def test_a_base_without_v1_is_asked_at_its_root(ask: Any) -> None:
    """`{base}/models` is the list and the other questions go to the root, with and without a last slash."""
    for base in ("/", ""):
        (spec,) = await ask({"GET /models": _listing(LLAMA_ENTRY), "GET /props": LLAMA_PROPS}, base=base)
        assert spec.context == 2048


async def test_a_servers_own_key_goes_with_every_question(ask: Any) -> None:
    """llama.cpp with --api-key answers 401 even on /v1/models, so the header is on each request."""
    await ask({"GET /v1/models": _listing({"id": "a"})}, headers={"authorization": "Bearer k"})
    assert {sent.get("authorization") for sent in ask.script.headers} == {"Bearer k"}


# --- failures --------------------------------------------------------------------------------------


async def test_no_server_is_unreachable() -> None:
    """Nobody listens: Unreachable, for the caller to try again later."""
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    transport = HttpTransport(asyncio.get_running_loop())
    with pytest.raises(Unreachable):
        await discover(transport, f"http://127.0.0.1:{port}/v1")
    await transport.close()


@pytest.mark.parametrize("base_url", ["", "localhost:11434", "ftp://localhost/v1", "http://[::1/v1"])
async def test_a_base_url_that_is_none_is_unreachable(base_url: str) -> None:
    """A URL that cannot be asked is like a server that is not there."""
    transport = HttpTransport(asyncio.get_running_loop())
    with pytest.raises(Unreachable):
        await discover(transport, base_url)
    await transport.close()


async def test_a_server_that_is_starting_is_unreachable(ask: Any) -> None:
    """A 5xx on the list means: later."""
    with pytest.raises(Unreachable) as caught:
        await ask({"GET /v1/models": 503})
    assert caught.value.status == 503


@pytest.mark.parametrize("status", [401, 404, 302])
async def test_a_refused_list_leaves_what_is_wanted(ask: Any, status: int) -> None:
    """Without a list there is nothing to offer but what the owner names."""
    assert await ask({"GET /v1/models": status}) == ()
    (spec,) = await ask({"GET /v1/models": status}, wanted=("a",))
    assert (spec.id, spec.context) == ("a", None)


class Answers:
    """A transport without a network: the n-th request gets the n-th body (the last one again), or its failure."""

    def __init__(self, bodies: list[bytes | UpstreamError]) -> None:
        self.bodies = bodies

    def send(self, request: Outbound, sink: Sink) -> "Answers":
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        if isinstance(body, UpstreamError):
            sink.failed(body)
        else:
            sink.head(200, {})
            sink.data(body)
            sink.end()
        return self

    def abort(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


_leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_keys = st.sampled_from(
    ["data", "models", "id", "name", "meta", "n_ctx", "max_model_len", "default_generation_settings", "total_slots",
     "modalities", "vision", "chat_template", "chat_template_caps", "supports_tools", "model_info", "parameters",
     "capabilities", "llama.context_length", "general.architecture", "type", "loaded_context_length",
     "max_context_length", "architecture", "input_modalities", "model_alias", "context_length", "remote_host"]
)  # fmt: skip
_json = st.recursive(_leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=5))
_bodies = st.binary(max_size=30) | _json.map(lambda value: json.dumps(value).encode())
_entries = st.lists(st.dictionaries(_keys, _json, max_size=4).map(lambda more: {"id": "a", **more}), min_size=1)


@given(
    listing=_bodies | _entries.map(lambda entries: json.dumps({"data": entries}).encode()),
    others=st.lists(_bodies | st.builds(Unreachable), min_size=1, max_size=5),
    wanted=st.lists(st.text(max_size=3) | st.just("a"), max_size=3),
)
def test_garbage_gives_specs_and_never_an_error(
    listing: bytes, others: list[bytes | UpstreamError], wanted: list[str]
) -> None:
    """Whatever a server answers, discovery ends with sound specs."""
    specs = asyncio.run(discover(Answers([listing, *others]), "http://localhost/v1", wanted=wanted))
    if wanted:
        assert [spec.id for spec in specs] == list(dict.fromkeys(wanted))
    for spec in specs:
        assert spec.context is None or spec.context > 0
        assert spec.embeds is None or spec.embeds >= 0


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[" * 100_000, b'{"data":' + b"[" * 100_000, b'{"data":"\xff\xfe"}', b'{"data":[{"id":"\\ud800"}]}',
     b'{"data":[{"id":""},{"id":" "},{"id":"a\\u0000"},{"id":5},7]}', b'{"data":{"id":"a"}}', b"\xef\xbb\xbf{}"],
)  # fmt: skip
async def test_a_malformed_list_lists_nothing(body: bytes) -> None:
    """Garbage, bad UTF-8, deep nesting, and ids that cannot be shown or sent are no models."""
    assert await discover(Answers([body]), "http://localhost/v1") == ()


async def test_a_failed_list_blames_the_server() -> None:
    """Every way in which the first question fails is Unreachable, with what was said of it."""
    with pytest.raises(Unreachable, match="reset"):
        await discover(Answers([UpstreamError("reset")]), "http://localhost/v1")
