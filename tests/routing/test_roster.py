"""Roster: the indexes of one snapshot."""

from hermes_router.core.catalog import ModelSpec, PriceClass, QuotaRule
from hermes_router.core.ids import ModelId
from hermes_router.core.observations import Unit, Window
from hermes_router.routing.roster import Roster


def test_targets_are_found_by_their_identity(make) -> None:
    """`by_target` answers for each target, `len` counts them."""
    one, two = make("a/x"), make("b/y")
    roster = Roster([one, two])
    assert roster.by_target[two.target] is two
    assert len(roster) == 2


def test_pinnable_holds_row_live_and_pool_once(make) -> None:
    """Each provider/model that can be pinned appears once; models for embeddings do not."""
    row = [ModelSpec(ModelId("x")), ModelSpec(ModelId("big")), ModelSpec(ModelId("vec"), embeds=8)]
    roster = Roster(
        [make("a/x", key="k1", models=row[1:]), make("a/x", key="k2", models=row[1:]), make("b/y")],
        live_models={
            "a": {one: ModelSpec(ModelId(one)) for one in ("x", "new")} | {"w": ModelSpec(ModelId("w"), embeds=0)},
            "gone": {"z": ModelSpec(ModelId("z"))},
        },
    )
    assert [(p, s.id) for p, s in roster.pinnable()] == [("a", "x"), ("a", "big"), ("a", "new"), ("b", "y")]
    assert roster.knows("gone", "z")


def test_a_live_model_is_shown_as_it_is_listed(make) -> None:
    """Its windows and its price class are those that were read for it."""
    listed = ModelSpec(ModelId("new"), context=9_000, price_class=PriceClass.SUBSCRIPTION)
    roster = Roster([make("a/x")], live_models={"a": {"new": listed}})
    assert roster.pinnable()[1] == ("a", listed)


def test_a_pinned_model_gets_a_target_for_each_credential(make) -> None:
    """A model outside the pool is served on every key of its provider, under the row's limits or the owner's."""
    prior = QuotaRule(Unit.REQUESTS, 5, Window.MINUTE)
    owner = prior._replace(amount=9, origin="owner")
    facts = [make("a/x", key="k1", quotas=[prior]), make("a/y", key="k1"), make("a/x", key="k2", quotas=[owner])]
    made = Roster(facts).pinned("a", "other")
    assert [f.target.credential for f in made] == ["k1-a", "k2-a"]
    assert {f.target.model for f in made} == {"other"}
    assert [f.quotas for f in made] == [(), (owner,)]
    assert Roster(facts).pinned("nobody", "m") == []


def test_whoever_knows_the_settings_makes_the_pinned_targets(make) -> None:
    """With a maker of pinned targets, it alone is asked."""
    mine = make("a/other", tier=5)
    assert Roster([make("a/x")], pinned=lambda provider, model: [mine]).pinned("a", "other") == [mine]


def test_the_targets_of_a_listed_model_are_made_once(make) -> None:
    """The list of models asks for all of them, each time; of a name that a caller makes up nothing is kept."""
    asked = []

    def pinned(provider: str, model: str) -> list:
        asked.append(model)
        return [make(f"{provider}/{model}")]

    roster = Roster([make("a/x"), make("b/x")], live_models={"a": {"new": ModelSpec(ModelId("new"))}}, pinned=pinned)
    for _ in range(2):
        assert [one.model.id for one in roster.of_model("a", "new")] == ["new"]
        assert [one.model.id for one in roster.of_model("a", "any")] == ["any"]
    assert asked == ["new", "any", "any"]
    assert roster.of_model("a", "x") == [roster.facts[0]]
    assert roster.of_model(None, "x") == list(roster.facts)


def test_names_are_what_a_near_match_is_looked_for_in(make) -> None:
    """Both forms of a name are offered."""
    assert {"a/x", "x"} <= set(Roster([make("a/x")]).names())
