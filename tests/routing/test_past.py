"""The memory of what was served: what goes in, what comes back, and how large it may grow."""

import json

import msgspec
import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import ModelSpec
from hermes_router.core.ids import ModelId
from hermes_router.core.records import LedgerRow
from hermes_router.routing import past
from hermes_router.routing.past import Past, Served
from hermes_router.routing.roster import Roster
from hermes_router.store.state import MOST_BYTES

NOW = 1_790_000_000.0


def row_of(one: Past) -> dict[str, dict]:
    return {row.key: row.value for row in one.rows(NOW, whole=True)}


def test_it_holds_what_could_be_named_and_outlives_the_key(make) -> None:
    """Targets, the row's others, the live list and vectors; a generation without the provider takes nothing away."""
    memory = Past()
    groq = make("groq/gpt-oss", models=[ModelSpec(ModelId("gpt-oss")), ModelSpec(ModelId("qwen"))])
    listed = {"groq": {"qwen": ModelSpec(ModelId("qwen")), "new": ModelSpec(ModelId("new"))}}
    memory.note(Roster([groq, make("groq/gpt-oss", key="k2")], live_models=listed), [make("voyage/vec")], NOW)
    memory.note(Roster([make("openrouter/free", open_catalogue=True)]), [], NOW + 1)
    assert memory.served["groq"] == Served(("gpt-oss",), ("qwen",), ("new",), at=NOW)
    assert memory.served["voyage"].embeds == ("vec",)
    assert memory.served["openrouter"].open_catalogue


def test_a_list_that_is_not_read_yet_takes_nothing_away(make) -> None:
    """A key that is added again has no list for some seconds; a list that is read replaces the old one."""
    memory, groq = Past(), make("groq/m")
    memory.note(Roster([groq], live_models={"groq": {"new": ModelSpec(ModelId("new"))}}), [], NOW)
    memory.note(Roster([groq]), [], NOW)
    assert memory.served["groq"].listed == ("new",)
    memory.note(Roster([groq], live_models={"groq": {}}), [], NOW)
    assert memory.served["groq"].listed == ()


def test_who_needs_no_key_cannot_lose_one(make) -> None:
    """A local server's models come and go with the server."""
    memory = Past()
    made = make("ollama/m")
    memory.note(Roster([replace(made, provider=replace(made.provider, keyless=True))]), [], NOW)
    assert not memory.served


def test_only_news_are_written(make) -> None:
    """The same again is no change, but once a day; a first change is told at once."""
    memory, roster = Past(), Roster([make("groq/m")])
    told: list[None] = []
    memory.on_change = lambda: told.append(None)
    memory.note(roster, [], NOW)
    assert [row.key for row in memory.rows(NOW)] == ["groq"]
    memory.note(roster, [], NOW + 3_600)
    assert memory.rows(NOW) == []
    memory.note(roster, [], NOW + 90_000)
    assert [row.key for row in memory.rows(NOW)] == ["groq"]
    assert len(told) == 2


def test_what_was_written_comes_back(make) -> None:
    """Through JSON, by rows and by a dump; it is news where the generation in force cannot know of it."""
    one = Past()
    one.note(Roster([make("groq/m")], live_models={"groq": {"new": ModelSpec(ModelId("new"))}}), [], NOW)
    for two in (Past(), Past()):
        assert not two.news
        two.load(json.loads(json.dumps(one.dump())))
        assert two.served == one.served
        assert two.news
    three = Past()
    three.restore([*one.rows(NOW, whole=True), LedgerRow("turn", "x", ["a"], NOW, NOW)])
    assert three.served == one.served
    three.note(Roster(()), [], NOW)
    assert not three.news


def test_of_a_provider_that_serves_only_the_list_is_taken_over(make) -> None:
    """Its row and its owner's list are those of today."""
    memory = Past()
    memory.note(Roster([make("groq/today")]), [], NOW)
    memory.load({"groq": {"pool": ["yesterday"], "listed": ["new"]}})
    assert (memory.served["groq"].pool, memory.served["groq"].listed) == (("today",), ("new",))


@pytest.mark.parametrize(
    "value", [None, 5, [], {"pool": "x"}, {"pool": [5]}, {"at": "x"}, {"more": 1}, {"at": float("inf")}]
)
def test_what_makes_no_sense_is_left_out(value) -> None:
    """A row may hold anything."""
    memory = Past()
    memory.load({"groq": value, "mistral": {"pool": ["m"]}, 5: {}})
    assert list(memory.served) == ["mistral"]
    memory.load(value)


def test_it_is_bounded(make) -> None:
    """A row fits where rows rest however long a list is, the pool first; of providers those that served last stay."""
    memory = Past()
    many = {f"model-{n:06}": ModelSpec(ModelId(f"model-{n:06}")) for n in range(10_000)}
    long = ModelSpec(ModelId("x" * 300))
    memory.note(Roster([make("groq/m", models=[long])], live_models={"groq": many}), [], NOW)
    (value,) = row_of(memory).values()
    assert len(msgspec.json.encode(value)) < MOST_BYTES
    assert value["pool"] == ("m",)
    assert "known" not in value
    assert 1_000 < len(value["listed"]) < 10_000
    memory.load({f"p{n}": {"pool": ["m"], "at": NOW - n} for n in range(past.MOST_PROVIDERS + 50)})
    assert len(memory.served) == past.MOST_PROVIDERS
    assert "groq" in memory.served
    assert "p0" in memory.served
    assert f"p{past.MOST_PROVIDERS + 49}" not in memory.served
    assert any(row.value is None for row in memory.rows(NOW, whole=True))


@pytest.mark.parametrize("odd", ['"', "\\", "é", "語", "\x01", "\x7f", "\u2028", "\ud800"])
def test_a_row_fits_however_its_ids_are_written(make, odd: str) -> None:
    """An id that JSON escapes counts as long as it is written; one that cannot be printed is none. Sound ones stay."""
    memory = Past()
    ids = ["sound", *(f"{odd * 190}{n}" for n in range(400))]
    memory.note(Roster([make("groq/m")], live_models={"groq": {one: ModelSpec(ModelId(one)) for one in ids}}), [], NOW)
    (value,) = row_of(memory).values()
    assert len(msgspec.json.encode(value)) < MOST_BYTES
    assert value["listed"][0] == "sound"
    assert (len(value["listed"]) > 50) is odd.isprintable()
    other = Past()
    other.load({"groq": {"listed": ids}})
    assert other.served["groq"].listed == tuple(value["listed"])


def test_a_list_that_is_taken_over_leaves_the_row_within_its_bounds(make) -> None:
    """A long row of today and a long list of yesterday are more than one row holds: what serves now is kept first."""
    memory = Past()
    memory.note(Roster([make("groq/m", models=[ModelSpec(ModelId(f"own-{n:05}")) for n in range(10_000)])]), [], NOW)
    own = memory.served["groq"].known
    memory.load({"groq": {"listed": [f"list-{n:05}" for n in range(10_000)]}})
    (value,) = row_of(memory).values()
    assert len(msgspec.json.encode(value)) < MOST_BYTES
    assert (memory.served["groq"].known, value["pool"]) == (own, ("m",))
