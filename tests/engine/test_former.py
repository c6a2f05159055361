"""Names whose provider has lost its last key: what is left of them, and the refusal of such a pin in three dialects."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from hermes_router.control.places import Places
from hermes_router.core.catalog import ModelSpec
from hermes_router.core.ids import ModelId
from hermes_router.core.settings import Settings
from hermes_router.daemon.config import load
from hermes_router.engine.context import Generation
from hermes_router.engine.former import former, no_key
from hermes_router.engine.snapshot import Snapshot, take_snapshot
from hermes_router.routing.names import Pin
from hermes_router.routing.past import Served
from hermes_router.routing.roster import Former, Roster
from hermes_router.wire.dialects import DIALECTS

from ..fakes import World, answers, target

NOW = 1_790_000_000.0
GROQ = Former(
    {"gpt-oss": ModelSpec(ModelId("gpt-oss"))}, frozenset({"gpt-oss"}), frozenset({"vec"}), how="hr auth add groq"
)
PIN = Pin("groq", "gpt-oss")


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """The rows of the wheel, with a key of Mistral's alone."""
    loaded = load(Places(*[tmp_path] * 3, tmp_path / ".env", tmp_path / "s"), {"MISTRAL_API_KEY": "k" * 32})
    return take_snapshot(1, loaded.settings, loaded.catalog, loaded.credentials)


def test_only_a_provider_without_a_key_is_former(snapshot) -> None:
    """What its row knows of a model is still known; one that serves now speaks for itself."""
    served = {
        "groq": Served(("openai/gpt-oss-20b",), ("other",), ("listed",), ("vec",)),
        "mistral": Served(("mistral-small-latest",)),
        "codex": Served(("m",)),
        "own": Served(("m",), open_catalogue=True),
    }
    found = former(snapshot, {}, served)
    assert list(found) == ["groq", "codex", "own"]
    groq = found["groq"]
    assert set(groq.models) == {"openai/gpt-oss-20b", "other", "listed", "vec"}
    assert groq.models["openai/gpt-oss-20b"].context == 131_072
    assert (groq.pool, groq.embeds) == ({"openai/gpt-oss-20b"}, {"vec"})
    assert [one.how for one in found.values()] == ["hr auth add groq", "hr auth login codex", ""]
    assert found["own"].open_catalogue
    assert [one.unread for one in former(snapshot, {}, served, {"groq"}).values()] == [True, False, False]


def test_a_list_that_is_not_read_yet_is_the_one_before(snapshot) -> None:
    """A key that comes back brings its names with it, not some seconds later; a list that was read wins."""
    served = {"mistral": Served(("old",), (), ("listed",))}
    found = former(snapshot, {}, served)
    assert set(found["mistral"].models) == {"listed"}
    assert former(snapshot, {"mistral": {}}, served) == {}
    roster = Roster(snapshot.facts, former=found)
    assert roster.knows("mistral", "listed")
    assert no_key(roster, Pin("mistral", "listed"), NOW) is None


@pytest.mark.parametrize(
    ("dialect", "status"), [("openai_chat", 503), ("openai_responses", 503), ("anthropic_messages", 529)]
)
def test_the_refusal_says_whose_key_is_missing_and_how_to_add_one(dialect, status) -> None:
    """A true Retry-After, and no return that nobody can foretell."""
    refusal = no_key(Roster((), former={"groq": GROQ}), PIN, NOW)
    assert refusal is not None
    rendered = DIALECTS[dialect].render_error(refusal, now=NOW, request_id="req_1")
    assert rendered.status == status
    assert rendered.headers["retry-after"] == "3600"
    assert rendered.headers["x-should-retry"] == "false"
    assert json.loads(rendered.body)["error"]["message"] == (
        "No key of groq is left here, so groq/gpt-oss cannot be served: `hr auth add groq` adds one."
    )


def test_a_key_that_cannot_be_read_yet_is_not_gone() -> None:
    """A keyring may be locked for the first seconds: nobody is sent away for an hour."""
    refusal = no_key(Roster((), former={"groq": replace(GROQ, unread=True)}), PIN, NOW)
    assert refusal is not None
    assert refusal.retry_at == NOW + 10
    assert "cannot be read now" in refusal.said
    assert "hr auth list" in refusal.said


def test_a_whole_id_waits_for_any_of_those_who_had_it() -> None:
    """While somebody else has it, it is served; a provider whose row is gone needs its row, too."""
    both = {"groq": GROQ, "own": replace(GROQ, how="")}
    refusal = no_key(Roster((), former=both), Pin(None, "gpt-oss"), NOW)
    assert refusal is not None
    assert refusal.said.startswith("No key of groq or own is left here, so gpt-oss cannot")
    assert no_key(Roster([target("other/gpt-oss")], former=both), Pin(None, "gpt-oss"), NOW) is None
    alone = no_key(Roster((), former={"own": both["own"]}), Pin("own", "gpt-oss"), NOW)
    assert alone is not None
    assert "its row in providers.toml" in alone.said
    assert no_key(Roster(()), None, NOW) is None


def without_groq(world: World) -> Generation:
    return world.engine.snapshot._replace(roster=Roster(world.facts, former={"groq": GROQ}))


async def test_nobody_else_answers_for_a_model_without_a_key_and_nobody_waits() -> None:
    """No call goes out, at once, however patient the caller is."""
    world = World("mistral/m", settings=Settings(patience_s=60.0))
    world.engine.snapshot = without_groq(world)
    run = await world.ask(stream=False, pin=PIN)
    assert (run.rendered.status, world.engine.waiters.waiting) == (503, 0)
    assert "hr auth add groq" in run.said["error"]["message"]
    assert world.transport.flights == []


async def test_the_caller_may_allow_another_model() -> None:
    """X-Hermes-Fallback: any."""
    world = World("mistral/m")
    world.engine.snapshot = without_groq(world)
    world.transport.on("mistral", answers())
    run = await world.ask(stream=False, pin=PIN, fallback_any=True)
    assert (run.rendered.status, run.rendered.headers["x-hermes-target"]) == (200, "mistral/m")
