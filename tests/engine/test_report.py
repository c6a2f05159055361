"""What the pool says of itself: `GET /v1/status`, readiness, the models that can be named."""

import json

from msgspec.structs import replace

from hermes_router.core.catalog import ModelSpec
from hermes_router.core.ids import ModelId
from hermes_router.core.settings import Settings
from hermes_router.engine.report import former_row, is_ready, model_rows, status_report
from hermes_router.routing.roster import Former, Roster

from ..fakes import World, answers, refuses, target

KEYS = {"target", "provider", "model", "credential", "account", "state", "reason", "until", "capabilities", "quota"}
REVOKED = {"message": "Incorrect API key provided", "code": "invalid_api_key"}


async def test_status_has_the_shape_of_the_contract() -> None:
    """Every field of contract.md, Status and control; of a credential nothing but its last four characters."""
    world = World("a/m", target("b/m", key="k2"))
    world.transport.on("a", answers())
    await world.ask(stream=False)
    world.clock.advance(12.34)
    report = json.loads(json.dumps(status_report(world.engine, "1.2")))
    assert set(report) == {"version", "uptime_s", "ready", "mode", "targets", "counters"}
    assert (report["version"], report["uptime_s"], report["mode"], report["ready"]) == (
        "1.2",
        12.3,
        "round-robin",
        True,
    )
    assert [set(each) for each in report["targets"]] == [KEYS, KEYS]
    first = report["targets"][0]
    assert first["target"] == "a/m#k1-a"
    assert first["credential"] == "abcd"
    assert (first["state"], first["reason"], first["until"]) == ("ready", None, None)
    assert first["capabilities"]["tools"] == "yes"
    assert report["counters"] == {"exchanges": 1, "answered": 1, "failed": 0, "caller_left": 0, "failovers": 0}


async def test_status_says_what_is_wrong_and_until_when() -> None:
    """cooling with the told instant, paused with the next try, open with now where a request would go there at once."""
    world = World("a/m", "b/m", "c/m")
    world.transport.on("a", refuses(429, None, {"retry-after": "90"}))
    world.transport.on("b", refuses(401, REVOKED))
    world.transport.on("c", refuses(500))
    for _ in range(2):
        await world.ask(stream=False)
    now = world.clock.now()
    states = {each["provider"]: each for each in status_report(world.engine, "1")["targets"]}
    assert (states["a"]["state"], states["a"]["reason"], states["a"]["until"]) == (
        "cooling",
        "limited (told)",
        now + 90,
    )
    assert (states["b"]["state"], states["b"]["reason"], states["b"]["until"]) == ("paused", "rejected_key", now + 600)
    assert (states["c"]["state"], states["c"]["until"]) == ("open", now)
    world.engine.state.succeeded(world.facts[0].target, now, ttft_s=None, demand=world.question().demand)
    states = {each["provider"]: each for each in status_report(world.engine, "1")["targets"]}
    assert (states["a"]["state"], states["c"]["until"]) == ("ready", now + 15)


async def test_a_scoped_key_sees_its_scope() -> None:
    """Other providers are not shown, and do not count towards ready."""
    world = World("a/m", "b/m")
    world.transport.on("a", refuses(401, REVOKED))
    world.transport.on("b", answers())
    await world.ask(stream=False)
    report = status_report(world.engine, "1", providers=frozenset({"a"}))
    assert [each["provider"] for each in report["targets"]] == ["a"]
    assert report["ready"] is False
    assert is_ready(world.engine)


async def test_ready_means_that_a_request_would_be_sent() -> None:
    """An open breaker is not ready; half-open it is, for whoever waits for `ready` before asking would wait for ever."""
    world = World("a/m")
    world.transport.on("a", refuses(500))
    for _ in range(2):
        await world.ask(stream=False)
    assert world.status() == "open"
    assert not is_ready(world.engine)
    await world.later(31.0)
    assert is_ready(world.engine)
    assert status_report(world.engine, "1")["ready"] is True


async def test_a_paused_key_is_ready_when_its_next_try_is_due() -> None:
    """After ten minutes the next request is the try."""
    world = World("a/m")
    world.transport.on("a", refuses(401, REVOKED), answers())
    await world.ask(stream=False)
    assert not is_ready(world.engine)
    world.clock.advance(600.0)
    assert is_ready(world.engine)
    run = await world.ask(stream=False)
    assert run.rendered.status == 200


def test_an_empty_pool_is_not_ready() -> None:
    """Without a target nothing could serve."""
    assert not is_ready(World().engine)


def test_model_rows_begin_with_our_own_names_and_go_on_with_every_pin() -> None:
    """Ours advertise what two providers can take; a pin has its own window and output cap."""
    world = World(target("a/m", context=131_072), target("a/m", key="k2"), target("b/x", context=65_536))
    rows = model_rows(world.engine)
    assert [row.id for row in rows] == ["hermes-router", "hermes-router:fast", "hermes-router:local", "a/m", "b/x"]
    assert rows[0].context_length == 65_536 - 1_024
    assert (rows[3].context_length, rows[3].max_output_tokens) == (131_072, 8_192)
    assert [row.id for row in model_rows(world.engine, frozenset({"b"}))][3:] == ["b/x"]


def test_a_pin_of_which_nothing_is_known_has_both_fields_too() -> None:
    """An agent that finds no window takes its own guess: every row that chats says what it counts with."""
    unknown = target("a/m", context=None)
    world = World(replace(unknown, model=replace(unknown.model, max_output=None)))
    assert [(row.context_length, row.max_output_tokens) for row in model_rows(world.engine)[3:]] == [(64_000, 4_096)]
    world.engine.state.learn_context("a", "m", 2_000)
    assert [(row.context_length, row.max_output_tokens) for row in model_rows(world.engine)[3:]] == [(2_000, 2_000)]


def test_a_learned_window_is_shown_instead_of_the_rows() -> None:
    """Truth beats the table."""
    world = World("a/m")
    world.engine.state.learn_context("a", "m", 32_000)
    assert model_rows(world.engine)[3].context_length == 32_000


def test_the_owner_may_advertise_a_window() -> None:
    """ADVERTISED_CONTEXT overrides what was worked out, for our own names only."""
    world = World("a/m", settings=Settings(advertised_context=100_000))
    rows = model_rows(world.engine)
    assert rows[0].context_length == 100_000
    assert rows[3].context_length == 131_072


def test_models_for_vectors_are_listed_behind_those_that_chat() -> None:
    """With the window of one input; the one of each provider, then others of its row, within the key's scope."""
    first, other = ModelSpec(ModelId("v"), context=512, embeds=3), ModelSpec(ModelId("w"), embeds=3)
    facts = target("b/v")
    spec = replace(facts.provider, models=(first, other))
    world = World("a/m")
    made = (replace(facts, provider=spec, model=replace(first, context=None)),)
    world.engine.snapshot = world.engine.snapshot._replace(embedders=made)
    rows = model_rows(world.engine)
    assert [(row.id, row.context_length, row.embeds) for row in rows[3:]] == [
        ("a/m", 131_072, False), ("b/v", 512, True), ("b/w", None, True),
    ]  # fmt: skip
    assert [row.id for row in model_rows(world.engine, frozenset({"a"}))][3:] == ["a/m"]


def test_a_model_whose_key_was_taken_out_is_shown_by_its_name_alone() -> None:
    """Whoever has the name may look it up, with windows; whoever picks from the list wants an answer. Scope holds."""
    world = World("a/m")
    known = ModelSpec(ModelId("known"), context=9_000, max_output=500)
    others = {one: ModelSpec(ModelId(one)) for one in ("bare", "vec")}
    gone = Former({"known": known, **others}, embeds=frozenset({"vec"}))
    world.engine.snapshot = world.engine.snapshot._replace(roster=Roster(world.facts, former={"groq": gone}))
    assert not any(row.owned_by == "groq" for row in model_rows(world.engine))
    row = former_row(world.engine, "groq/known")
    assert row is not None
    assert (row.id, row.owned_by, row.context_length, row.max_output_tokens) == ("groq/known", "groq", 9_000, 500)
    bare = former_row(world.engine, "groq/bare")
    assert bare is not None
    assert (bare.context_length, bare.max_output_tokens) == (64_000, 4_096)
    vectors = former_row(world.engine, "groq/vec", frozenset({"groq"}))
    assert vectors is not None
    assert vectors.embeds
    assert former_row(world.engine, "groq/known", frozenset({"a"})) is None
    assert [former_row(world.engine, name) for name in ("groq/other", "known", "a/m", "groq")] == [None] * 4
