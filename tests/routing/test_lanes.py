"""Lanes: the static half of the order."""

import pytest

from hermes_router.core.catalog import Capability, Known, PriceClass
from hermes_router.routing.demand import Constraint
from hermes_router.routing.names import Pin
from hermes_router.routing.scheduler import Rejection


def order(w, demand=None, **limits):
    """The candidates of a plan, in order."""
    return [f.target.name for f in w.plan(demand, **limits).candidates]


def reasons(w, demand=None, **limits):
    """Why the others are none."""
    return {r.facts.target.name: r.reason for r in w.plan(demand, **limits).explain() if isinstance(r, Rejection)}


def test_w5_free_comes_before_credit_subscription_and_paid(world, make) -> None:
    """Price class orders what fits, and among paid ones the cheaper price."""
    w = world(
        make("dear/m", price=PriceClass.PAID, usd=9), make("cheap/m", price=PriceClass.PAID, usd=2),
        make("plan/m", price=PriceClass.SUBSCRIPTION), make("credit/m", price=PriceClass.FREE_CREDIT), make("free/m"),
    )  # fmt: skip
    assert order(w) == ["free/m", "credit/m", "plan/m", "cheap/m", "dear/m"]


def test_w1_an_easy_turn_takes_the_small_model_a_hard_one_the_large(world, make, want) -> None:
    """GEMINI_MODEL=lite,flash,pro: inside a provider the smallest fitting tier is taken."""
    w = world(
        make("g/lite", tier=2, position=0), make("g/flash", tier=3, position=1), make("g/pro", tier=5, position=2)
    )
    assert order(w, want("hi"))[0] == "g/lite"
    assert order(w, want("hi", effort="high"))[0] == "g/pro"


def test_equal_tiers_go_by_the_owners_list(world, make) -> None:
    """The list's order is kept among models of one tier."""
    w = world(make("g/b", position=0), make("g/a", position=1))
    assert order(w) == ["g/b", "g/a"]


def test_fit_comes_before_price_and_the_strongest_of_the_unfit_is_next(world, make, want) -> None:
    """A paid model that fits beats a free one that does not; then strength decides."""
    w = world(make("weak/m", tier=1), make("mid/m", tier=3), make("paid/m", tier=5, price=PriceClass.PAID))
    assert order(w, want("hi", effort="max")) == ["paid/m", "mid/m", "weak/m"]


def test_unknown_tools_rank_after_known_ones_and_no_is_out(world, make, want) -> None:
    """A target not known to take tools serves only when no known one can."""
    w = world(make("dunno/m", caps=""), make("yes/m", price=PriceClass.PAID), make("no/m", caps="tools=no"))
    assert order(w, want(tools=1)) == ["yes/m", "dunno/m"]
    assert reasons(w, want(tools=1)) == {"no/m": "no tools"}
    assert "no/m" in order(w, want())


def test_a_lack_is_told_in_a_callers_words(world, make, want) -> None:
    """Who asks for several answers has said `n`, and reads of that."""
    w = world(make("no/m", caps="multiple=no"))
    assert reasons(w, want(choices=2)) == {"no/m": "no n above 1"}


def test_images_go_only_where_they_are_seen(world, make, want) -> None:
    """Unknown is out as soon as any configured target is known to see, and tried where none is."""
    blind, dunno, sees = make("a/m", caps="images=no"), make("b/m", caps=""), make("c/m", caps="images=yes")
    assert order(world(blind, dunno, sees), want(images=1)) == ["c/m"]
    assert reasons(world(blind, dunno, sees), want(images=1))["b/m"] == "not known to see images"
    assert order(world(blind, dunno), want(images=1)) == ["b/m"]


def test_image_links_need_a_target_that_fetches_them(world, make, want) -> None:
    """Rows that want images inline are filtered where the image is a link."""
    w = world(make("inline/m", caps="images=yes", image_urls=False), make("links/m", caps="images=yes"))
    assert order(w, want(images=1, image_urls=1)) == ["links/m"]
    assert len(order(w, want(images=1))) == 2


def test_images_that_are_fetched_stand_in_nobodys_way(world, make, want) -> None:
    """As long as the request may have its images fetched, who needs them inline is an equal; not longer."""
    w = world(make("inline/m", caps="images=yes", image_urls=False), make("links/m", caps="images=yes"))
    asked = want(images=1, image_urls=1)
    assert set(order(w, asked, fetches=True)) == {"inline/m", "links/m"}
    assert order(w, asked) == ["links/m"]


def test_a_json_schema_is_a_wish(world, make, want) -> None:
    """A model without json_schema ranks last, since the wire can approximate it."""
    w = world(make("no/m", caps="json_schema=no"), make("dunno/m", caps=""), make("yes/m", caps="json_schema=yes"))
    assert order(w, want(json_format="json_schema")) == ["yes/m", "dunno/m", "no/m"]


def test_what_is_learned_changes_the_lanes_at_once(world, make, want) -> None:
    """A refused tools request takes the model out of the next plan; the owner's override does not move."""
    w = world(make("a/m"), make("b/m", caps="tools=yes!"))
    assert order(w, want(tools=1)) == ["a/m", "b/m"]
    for provider in "ab":
        w.state.learn_capability(provider, "m", Capability.TOOLS, Known.NO)
    assert order(w, want(tools=1)) == ["b/m"]


def test_lanes_are_looked_at_anew_each_hour(world, make, want) -> None:
    """What was learned is forgotten after a week though nothing else changes."""
    w = world(make("a/m"))
    w.who()
    w.state.learn_capability("a", "m", Capability.TOOLS, Known.NO)
    assert order(w, want(tools=1)) == []
    w.later(8 * 86_400)
    assert order(w, want(tools=1)) == ["a/m"]


def test_fast_prefers_local_for_light_turns_with_cloud_as_fallback(world, make, want) -> None:
    """`:fast`: light turns go to the local model first, others by the ordinary order."""
    w = world(make("cloud/m", tier=5), make("local/m", tier=1, kind="none", caps=""))
    assert order(w, want("hi", profile="fast")) == ["local/m", "cloud/m"]
    assert order(w, want("hi", profile="fast", effort="high")) == ["cloud/m", "local/m"]
    assert order(w, want("hi", profile="fast", text_bytes=9_000))[0] == "cloud/m"


def test_fast_sends_tools_to_local_only_where_it_is_known_to_take_them(world, make, want) -> None:
    """A light turn with tools is local's only with known tools."""
    knows = world(make("cloud/m"), make("local/m", kind="none"))
    assert order(knows, want(profile="fast", tools=1))[0] == "local/m"
    dunno = world(make("cloud/m"), make("local/m", kind="none", caps=""))
    assert order(dunno, want(profile="fast", tools=1))[0] == "cloud/m"


def test_local_never_leaves_the_machine(world, make, want) -> None:
    """`:local` admits private targets only: a keyless server on the LAN is not one unless the owner says so."""
    w = world(make("cloud/m"), make("lan/m", kind="none"), make("local/m", kind="none", private=True))
    assert order(w, want(profile="local")) == ["local/m"]
    assert order(w, want(), local_only=True) == ["local/m"]


def test_privacy_excludes_who_trains_and_who_does_not_say(world, make) -> None:
    """PRIVACY=no-training admits rows that say no, and what is private."""
    w = world(make("yes/m", trains=True), make("dunno/m"), make("no/m", trains=False), make("local/m", private=True))
    assert sorted(order(w, no_training=True)) == ["local/m", "no/m"]


def test_the_least_tier_binds(world, make) -> None:
    """Below MIN_TIER nothing serves, however easy the turn is."""
    w = world(make("a/m", tier=2), make("b/m", tier=4))
    assert order(w, min_tier=3) == ["b/m"]
    assert reasons(w, min_tier=3) == {"a/m": "below tier 3"}


def test_scope_and_exclusion_of_providers(world, make) -> None:
    """A router key's scope is a hard limit; a provider that refused the request is out."""
    w = world(make("a/m"), make("b/m"), make("c/m"))
    assert order(w, providers=frozenset({"a", "b"}), exclude_providers=frozenset({"a"})) == ["b/m"]


def test_a_model_for_embeddings_gets_no_chat(world, make) -> None:
    """Chat goes to chat models."""
    assert order(world(make("a/vec", embeds=8), make("a/m"))) == ["a/m"]


@pytest.mark.parametrize(
    ("pin", "served"), [(Pin("a", "m"), {"a/m"}), (Pin(None, "m"), {"a/m", "b/m"}), (Pin("a", "x"), set())]
)
def test_a_pin_is_that_model_and_no_other(world, make, pin: Pin, served: set[str]) -> None:
    """All of its credentials and nothing else; a whole id means every provider that has it."""
    w = world(make("a/m", key="k1"), make("a/m", key="k2"), make("b/m"), make("b/n"))
    found = set(order(w, pin=pin))
    assert found == (served or {"a/x"})  # a pin outside the pool is made from its provider's keys


def test_the_lanes_of_equal_requests_are_built_once(world, make, want) -> None:
    """Two requests of one kind share their lanes; another kind has its own."""
    w = world(make("a/m"))
    none = Constraint()
    one = w.state.lanes(w.roster, want("hi", tools=1), none, w.now)
    assert w.state.lanes(w.roster, want("ho", tools=3), none, w.now) is one
    assert w.state.lanes(w.roster, want("hi"), none, w.now) is not one


def test_the_kinds_of_request_that_are_kept_are_bounded(world, make) -> None:
    """Scopes of router keys are many: what is kept of their lanes is not."""
    w = world(make("a/m"))
    for i in range(1_200):
        assert order(w, providers=frozenset({"a", f"p{i}"})) == ["a/m"]
    assert len(w.state._book.view(w.roster).lanes) <= 512


def test_what_is_compacted_goes_only_where_that_is_known(world, make, want) -> None:
    """Unknown is no, and so is a target that is asked in another dialect: its maker's address may be the owner's own."""
    both = {"openai_responses": "http://r", "openai_chat": "http://c"}
    w = world(
        make("yes/m", caps="compaction=yes", endpoints=both),
        make("chat/m", caps="compaction=yes"),
        make("dunno/m", endpoints=both),
    )
    assert order(w, want(compaction=True)) == ["yes/m"]
    assert reasons(w, want(compaction=True)) == dict.fromkeys(("chat/m", "dunno/m"), "does not compact conversations")
    assert len(order(w, want())) == 3
