"""hermes_router/daemon/wiring.py: a configuration becomes a running router, and another one takes its place."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hermes_router.control.places import Places
from hermes_router.core.catalog import ModelSpec
from hermes_router.core.errors import ConfigError, Unauthorized
from hermes_router.core.ids import ModelId, RouterKeyId
from hermes_router.core.router_keys import RouterKey, digest_of
from hermes_router.core.settings import DEFAULT_KEY
from hermes_router.daemon.config import Loaded, load
from hermes_router.daemon.handover.estate import load_state
from hermes_router.daemon.wiring import Daemon, build, check_binding

GROQ = {"GROQ_API_KEY": "gsk_0123456789abcdef", "GROQ_MODEL": "openai/gpt-oss-20b"}


class Notes:
    """A log that keeps its events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.came = asyncio.Event()

    def __getattr__(self, level: str) -> Callable[..., None]:
        def note(event: str, **fields: Any) -> None:
            self.events.append((event, fields))
            self.came.set()

        return note

    async def until(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(5):
            while True:
                for name, fields in self.events:
                    if name == event:
                        return fields
                self.came.clear()
                await self.came.wait()


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Loaded]:
    places = Places(tmp_path, tmp_path, tmp_path, tmp_path / ".env", tmp_path / "s")
    return lambda **environ: load(places, environ)


@pytest.fixture
async def wire(loaded: Callable[..., Loaded]) -> AsyncIterator[Callable[..., Daemon]]:
    daemons: list[Daemon] = []

    def made(**environ: str) -> Daemon:
        daemons.append(build(loaded(**environ), asyncio.get_running_loop(), Notes()))
        return daemons[-1]

    yield made
    for daemon in daemons:
        await daemon.supervisor.stop()
        await daemon.transport.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "router.lan", "fd00::1"])
@pytest.mark.parametrize("keys", [None, "", DEFAULT_KEY, f"sk-own-0123456789,{DEFAULT_KEY}"])
def test_a_wide_host_with_the_default_key_is_refused(
    loaded: Callable[..., Loaded], host: str, keys: str | None
) -> None:
    """Open to the network with a key that everybody knows: never, also when it is one of several."""
    settings = loaded(HOST=host, **({} if keys is None else {"PROXY_API_KEYS": keys})).settings
    with pytest.raises(ConfigError, match="PROXY_API_KEYS") as caught:
        check_binding(settings, ())
    assert caught.value.fatal
    assert str(caught.value).startswith("environment: ")


@pytest.mark.parametrize(
    "environ",
    [
        {}, {"HOST": ""}, {"HOST": "127.0.0.1"}, {"HOST": "127.0.0.2"}, {"HOST": "::1"}, {"HOST": "localhost"},
        {"HOST": "0.0.0.0", "PROXY_API_KEYS": "sk-own-0123456789"},
    ],
)  # fmt: skip
def test_loopback_or_a_key_of_ones_own_is_let_through(loaded: Callable[..., Loaded], environ: dict[str, str]) -> None:
    """All of 127/8 and ::1 are loopback; elsewhere an own key is enough."""
    check_binding(loaded(**environ).settings, ())


@pytest.mark.parametrize("host", ["", "0.0.0.0"])
def test_an_empty_list_lets_in_those_who_are_stored(loaded: Callable[..., Loaded], host: str) -> None:
    """An empty PROXY_API_KEYS is not an unset one: no well-known key, so any HOST will do; with no key at all, none."""
    settings = loaded(HOST=host, PROXY_API_KEYS="").settings
    key = RouterKey(RouterKeyId("i"), "ci", digest_of("sk-hr-abc"))
    check_binding(settings, [key])
    assert (settings.proxy_api_keys, settings.default_key) == ((), False)
    with pytest.raises(ConfigError, match="hr key add NAME") as caught:
        check_binding(settings, ())
    assert caught.value.fatal


def test_build_refuses_too(loaded: Callable[..., Loaded]) -> None:
    """Who wires without asking first is refused all the same; what has no public socket may mend it."""
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(ConfigError):
            build(loaded(HOST="0.0.0.0"), loop, Notes())
        daemon = build(loaded(HOST="0.0.0.0"), loop, Notes(), opens=False)
        loop.run_until_complete(daemon.transport.close())
    finally:
        loop.close()


async def test_two_daemons_live_side_by_side(wire: Callable[..., Daemon]) -> None:
    """Nothing is shared: each has its own targets, state and keys."""
    one, other = wire(**GROQ, PROXY_API_KEYS="sk-one-01234"), wire()
    assert len(one.engine.snapshot.roster) == 1
    assert len(other.engine.snapshot.roster) == 0
    assert one.engine.state is not other.engine.state
    assert one.gate.access.admission.admit({"x-api-key": "sk-one-01234"})
    with pytest.raises(Unauthorized):
        other.gate.access.admission.admit({"x-api-key": "sk-one-01234"})


async def test_a_provider_that_loses_its_key_keeps_its_names(
    wire: Callable[..., Daemon], loaded: Callable[..., Loaded]
) -> None:
    """They are pins of nobody, and again of somebody with the next key; no list shows them meanwhile."""
    daemon = wire(**GROQ)
    daemon.swap(loaded())
    roster = daemon.engine.snapshot.roster
    assert roster.knows("groq", "openai/gpt-oss-20b")
    assert roster.whole("openai/gpt-oss-20b")
    assert roster.without_key("groq", "openai/gpt-oss-20b") == ["groq"]
    assert roster.pinned("groq", "openai/gpt-oss-20b") == []
    assert not roster.pinnable()
    daemon.swap(loaded(**GROQ))
    roster = daemon.engine.snapshot.roster
    assert roster.without_key("groq", "openai/gpt-oss-20b") == []
    assert roster.former == {}


async def test_names_of_an_earlier_life_are_known_before_the_first_request(wire: Callable[..., Daemon]) -> None:
    """From the file or from a predecessor; a new generation is made only where one is needed."""
    old, new = wire(**GROQ), wire()
    number = new.engine.snapshot.number
    new.recall()
    assert new.engine.snapshot.number == number
    load_state(new, json.loads(json.dumps({"past": old.engine.past.dump()})))
    new.recall()
    assert new.engine.snapshot.number == number + 1
    assert new.engine.snapshot.roster.knows("groq", "openai/gpt-oss-20b")


async def test_a_swap_puts_all_of_a_configuration_in_force(
    wire: Callable[..., Daemon], loaded: Callable[..., Loaded]
) -> None:
    """Targets, router keys, provider keys and what is scrubbed are the new ones; runtime state stays."""
    daemon = wire(**GROQ)
    state, number = daemon.engine.state, daemon.engine.snapshot.number
    daemon.swap(
        loaded(GROQ_API_KEY="gsk_another-0123456", GROQ_MODEL="openai/gpt-oss-120b", PROXY_API_KEYS="sk-new-01234")
    )
    engine = daemon.engine
    assert engine.snapshot.number == number + 1
    assert engine.state is state
    (facts,) = engine.snapshot.roster.facts
    assert facts.target.model == "openai/gpt-oss-120b"
    assert engine.authorizer.headers(facts, caller_agent="")["authorization"] == "Bearer gsk_another-0123456"
    assert daemon.gate.access.admission.admit({"x-api-key": "sk-new-01234"})
    error = engine.border.classify("generic", 400, {}, b'{"error":{"message":"gsk_another-0123456"}}', 1.0)
    assert "another" not in error.excerpt


async def test_ll13_errors_of_providers_come_in_without_secrets(wire: Callable[..., Daemon]) -> None:
    """Both ways in, error bodies and error objects in a stream, are scrubbed."""
    engine = wire(**GROQ, PROXY_API_KEYS="sk-router-canary").engine
    text = f"{GROQ['GROQ_API_KEY']} and sk-router-canary"
    body = json.dumps({"error": {"message": text}}).encode()
    for error in (engine.border.classify("groq", 500, {}, body, 1.0), engine.in_band("groq", {"message": text}, 1.0)):
        assert "*** and ***" in error.excerpt


class Llama:
    """A local server that is there, or not."""

    def __init__(self) -> None:
        self.models = [{"id": "tiny.gguf", "object": "model", "meta": {"n_ctx": 4096}}]

    async def start(self) -> str:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": self.models})

    async def stop(self) -> None:
        await self._runner.cleanup()


@pytest.fixture
async def llama() -> AsyncIterator[Llama]:
    server = Llama()
    yield server
    await server.stop()


async def test_a_local_server_is_found_and_joins_the_pool(wire: Callable[..., Daemon], llama: Llama) -> None:
    """Its models become targets of a new generation, without a restart."""
    daemon = wire(LOCAL_BASE_URL=await llama.start())
    assert daemon.has_local
    notes = daemon.engine.log
    assert isinstance(notes, Notes)
    daemon.supervisor.keep("local", daemon.look_for_local)
    assert "tiny.gguf" in (await notes.until("local.found"))["models"]
    assert [str(f.model.id) for f in daemon.engine.snapshot.roster.facts] == ["tiny.gguf"]
    assert daemon.engine.snapshot.number == 2


async def test_a_local_server_that_is_away_is_said_once(wire: Callable[..., Daemon], llama: Llama) -> None:
    """Asked again and again it is one line, and one more when it is back; the pool goes on."""
    base = await llama.start()
    await llama.stop()
    daemon = wire(LOCAL_BASE_URL=base)
    notes = daemon.engine.log
    assert isinstance(notes, Notes)
    name = next(name for name, spec in daemon.loaded.catalog.items() if spec.keyless)
    for _ in range(3):
        assert not await daemon._discover(name, base, ())
    assert [event for event, _ in notes.events] == ["local.absent"]


async def test_a_model_for_vectors_is_asked_for_beside_those_that_chat(
    wire: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a named list only those are looked at: the one that embeds belongs to them, and without a list all are."""
    asked: list[tuple[str, ...]] = []

    async def discover(
        _transport: object, _base: str, *, wanted: tuple[str, ...], headers: object
    ) -> tuple[object, ...]:
        del headers
        asked.append(wanted)
        return ()

    monkeypatch.setattr("hermes_router.daemon.wiring.discover", discover)
    await wire(LOCAL_MODEL="a,b", LOCAL_EMBED_MODEL="vec").discover_local()
    await wire(LOCAL_BASE_URL="http://127.0.0.1:1", LOCAL_EMBED_MODEL="vec").discover_local()
    assert asked == [("a", "b", "vec"), ()]


async def test_a_server_that_only_embeds_is_awaited_no_more(wire: Callable[..., Daemon]) -> None:
    """It has answered: nobody need wait for models that chat."""
    daemon = wire(LOCAL_BASE_URL="http://127.0.0.1:1")
    assert daemon.engine.snapshot.awaits_local
    daemon.live["local"] = [ModelSpec(ModelId("vec"), embeds=3)]
    daemon.renew()
    assert not daemon.engine.snapshot.awaits_local
    assert [facts.target.name for facts in daemon.engine.snapshot.embedders] == ["local/vec"]


async def test_without_a_local_server_nobody_looks(wire: Callable[..., Daemon]) -> None:
    """`local` takes no part until it is switched on."""
    assert not wire(**GROQ).has_local


async def test_the_first_providers_are_warmed_and_no_other(
    wire: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One connection each to the first three that could serve; a retired provider is left alone."""
    ports = {"GROQ": 1, "CEREBRAS": 2, "MISTRAL": 3, "COHERE": 4}
    keys = {f"{name}_API_KEY": f"key-{name}-0123456789" for name in (*ports, "GITHUB_MODELS")}
    daemon = wire(**keys, **{f"{name}_BASE_URL": f"http://127.0.0.1:{port}/v1" for name, port in ports.items()})
    warmed: list[str] = []

    async def warm(_transport: object, url: str) -> None:
        warmed.append(url)

    monkeypatch.setattr("hermes_router.upstream.http.HttpTransport.warm", warm)
    await daemon.warm()
    assert len(warmed) == 3
    assert set(warmed) <= {f"http://127.0.0.1:{port}/v1" for port in ports.values()}


async def test_a_local_server_that_has_not_answered_is_awaited(wire: Callable[..., Daemon]) -> None:
    """With an address alone its models are not known yet; with a model named, or no address, nothing is awaited."""
    here = {"LOCAL_BASE_URL": "http://127.0.0.1:1/v1"}
    assert wire(**here).engine.snapshot.awaits_local
    assert not wire(**here, LOCAL_MODEL="m").engine.snapshot.awaits_local
    assert not wire(**GROQ).engine.snapshot.awaits_local
