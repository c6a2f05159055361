"""Which model may make vectors, why another may not, and what one call to it may hold."""

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import Embedding as Takes
from hermes_router.core.catalog import ModelSpec, PriceClass, QuotaRule, TargetFacts
from hermes_router.core.errors import BadRequest, CallerError, NoCapableTarget, NoTarget, Unbindable
from hermes_router.core.ids import ModelId
from hermes_router.core.observations import Unit, Window
from hermes_router.core.settings import ProviderSettings, Settings
from hermes_router.engine.embed_sources import calls, check, choices, own_size, source
from hermes_router.routing.demand import Constraint
from hermes_router.routing.roster import Former, Roster

from .vectors import Pool, asks, embedder

ANY = Constraint()
LOCAL = replace(embedder("local/nomic", 2, keyless=True), private=True)


def names(*facts: TargetFacts, constraint: Constraint = ANY, **fields: object) -> list[str]:
    found = choices(Pool(*facts).engine.snapshot, asks(**fields), constraint, 0.0)  # type: ignore[arg-type]
    return [one.target.name for one in found]


def test_one_target_of_each_model_the_cheapest_class_first() -> None:
    """Then the catalogue's order, which no turn and no price changes."""
    paid = embedder("a/vec", price=PriceClass.PAID)
    credit = embedder("b/vec", price=PriceClass.FREE_CREDIT)
    assert names(paid, credit, embedder("c/vec", key="k1"), embedder("c/vec", key="k2"), embedder("d/vec")) == [
        "c/vec", "d/vec", "b/vec", "a/vec",
    ]  # fmt: skip


def test_only_models_that_can_do_what_is_asked() -> None:
    """Lengths, tokens, scope, privacy, this machine, and what its owner has turned off."""
    texts = embedder("a/vec", 3, Takes(sizes=(), token_arrays=False))
    assert names(texts, embedder("b/vec"), given=[1, 2]) == ["b/vec"]
    assert names(texts, embedder("b/vec"), dimensions=2) == ["b/vec"]
    assert names(texts, embedder("b/vec"), dimensions=3) == ["a/vec", "b/vec"]
    assert names(texts, embedder("b/vec"), constraint=Constraint(providers=frozenset({"b"}))) == ["b/vec"]
    assert names(texts, LOCAL, constraint=Constraint(local_only=True)) == ["local/nomic"]
    assert names(texts, embedder("b/vec", trains=False), LOCAL, constraint=Constraint(no_training=True)) == [
        "b/vec", "local/nomic",
    ]  # fmt: skip
    off = replace(texts, disabled="disabled by the owner: `hr provider enable a`")
    assert names(off, embedder("b/vec")) == ["b/vec"]


@pytest.mark.parametrize(
    ("facts", "constraint", "fields", "error", "said"),
    [
        ((), ANY, {}, NoCapableTarget, "_EMBED_MODEL"),
        ((embedder("a/vec"),), Constraint(local_only=True), {}, NoCapableTarget, "LOCAL_EMBED_MODEL"),
        ((embedder("a/vec"),), Constraint(providers=frozenset({"b"})), {}, NoCapableTarget, "outside the router key's"),
        ((embedder("a/vec"),), ANY, {"dimensions": 9}, BadRequest, "a/vec gives vectors of 3 numbers"),
        ((embedder("a/vec", 3, Takes(token_arrays=False)),), ANY, {"given": [1]}, BadRequest, "send strings"),
    ],
)
def test_none_at_all_is_said_with_what_to_do(facts, constraint, fields, error, said) -> None:
    """The caller's mistake by its field, the owner's by its setting."""
    with pytest.raises(error) as caught:
        names(*facts, constraint=constraint, **fields)
    assert isinstance(caught.value, CallerError)
    assert said in caught.value.message


def test_a_local_server_that_is_awaited_is_a_wait() -> None:
    """It has not answered yet: 503 for a moment, and no reason to change anything."""
    pool = Pool(awaits_local=True)
    with pytest.raises(NoTarget) as caught:
        choices(pool.engine.snapshot, asks(), Constraint(local_only=True), 100.0)
    assert caught.value.retry_at == 105.0
    for bound in (False, True):
        with pytest.raises(NoTarget):
            source(pool.engine.snapshot, "local", "nomic", ANY, 100.0, bound=bound)


def test_one_that_is_named() -> None:
    """It need not be the one of its provider that would be chosen."""
    pool = Pool(embedder("a/vec"), embedder("a/other", 5))
    pool.change(embedders=pool.vectors[:1])
    for model in ("vec", "other"):
        assert source(pool.engine.snapshot, "a", model, ANY, 0.0, bound=True).target.name == f"a/{model}"


def test_any_of_its_keys_will_do() -> None:
    """One that is switched off does not speak for its siblings."""
    off, on = replace(embedder("a/vec"), disabled="disabled by the owner"), embedder("a/vec", key="k2")
    pool = Pool(off, on)
    assert source(pool.engine.snapshot, "a", "vec", ANY, 0.0, bound=True) is on


CHATS = replace(embedder("a/m"), model=replace(embedder("a/m").model, embeds=None))
OFF = Settings(providers={"a": ProviderSettings(embed_model="")})


@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize(
    ("facts", "constraint", "settings", "said"),
    [
        ((), ANY, Settings(), "no key of a is configured"),
        ((CHATS,), ANY, Settings(), "A_EMBED_MODEL would name it"),
        ((embedder("a/m"),), ANY, OFF, "A_EMBED_MODEL is empty"),
        ((embedder("a/m"),), Constraint(providers=frozenset({"b"})), Settings(), "outside the router key's scope"),
        ((embedder("a/m"),), Constraint(no_training=True), Settings(), "PRIVACY=no-training"),
    ],
)
def test_one_that_is_named_and_cannot(facts, constraint, settings, said, bound) -> None:
    """A pin is the caller's mistake; a binding cannot be served until its owner changes something, and says how."""
    pool = Pool(*facts)
    pool.change(embedders=(), settings=settings)
    with pytest.raises(Unbindable if bound else NoCapableTarget) as caught:
        source(pool.engine.snapshot, "a", "m", constraint, 0.0, bound=bound)
    assert said in caught.value.message
    assert ("`hr embed unbind`" in caught.value.message) is bound


@pytest.mark.parametrize(
    ("sizes", "wanted", "fits"),
    [("any", 1, True), ("any", 3, True), ("any", 4, False), ((), 3, True), ((), 2, False), ((1, 2), 2, True),
     ((1, 2), 4, False), (None, 9, True)],
)  # fmt: skip
def test_lengths_that_a_model_has(sizes, wanted, fits) -> None:
    """Beside its own; of one of which nothing is known anything may be asked."""
    facts = embedder("a/vec", 3, Takes(sizes=sizes))
    if fits:
        check(facts, asks(dimensions=wanted))
    else:
        with pytest.raises(BadRequest) as caught:
            check(facts, asks(dimensions=wanted))
        assert (caught.value.param, "3" in caught.value.message) == ("dimensions", True)


def test_a_length_that_is_proven_is_believed_before_the_row() -> None:
    """The binding knows better."""
    check(embedder("a/vec", 3, Takes(sizes="any")), asks(dimensions=5), 5)


def test_its_own_length_of_a_model_without_the_field() -> None:
    """Only there the field is left out."""
    assert own_size(embedder("a/vec", 3, Takes(sizes=())).model, asks(dimensions=3))
    assert not own_size(embedder("a/vec", 3, Takes(sizes=())).model, asks())
    assert not own_size(embedder("a/vec", 3, Takes(sizes="any")).model, asks(dimensions=3))


@pytest.mark.parametrize(
    ("takes", "size", "sizes"),
    [
        (Takes(inputs=4), 3, [4, 4, 2]),
        (Takes(inputs=10), 3, [10]),
        (Takes(), 3, [10]),
        (Takes(call_tokens=500), 3, [4, 4, 2]),
        (Takes(), 250_000, [4, 4, 2]),  # a million numbers are enough for one answer
        (Takes(call_tokens=1), 3, [1] * 10),
    ],
)
def test_what_one_call_holds(takes, size, sizes) -> None:
    """As many inputs, tokens and numbers as go, in order; an input that is too long for any call goes alone."""
    asked = asks(["x" * 400] * 10)
    parts = list(calls(embedder("a/vec", size, takes), asked))
    assert [len(asked.inputs[part]) for part in parts] == sizes
    assert [part.start for part in parts] == [0, *[part.stop for part in parts[:-1]]]
    assert parts[-1].stop == 10


def test_a_call_fits_what_its_owner_allows_in_a_minute() -> None:
    """`_LIMITS=tpm=` binds: a larger call could never be made."""
    rule = QuotaRule(Unit.INPUT_TOKENS, 500, Window.MINUTE, origin="owner")
    facts = replace(embedder("a/vec"), quotas=(rule,))
    assert [part.stop - part.start for part in calls(facts, asks(["x" * 400] * 10))] == [4, 4, 2]


def test_a_pin_whose_key_was_taken_out_is_a_503_and_a_binding_says_whose_key_it_misses() -> None:
    """The store stays as it is until the key is back; only a binding has an end that its owner may choose."""
    pool = Pool(embedder("a/vec"))
    gone = Former({"vec": ModelSpec(ModelId("vec"))}, embeds=frozenset({"vec"}), how="hr auth add gone")
    snapshot = pool.engine.snapshot._replace(roster=Roster((), former={"gone": gone}))
    with pytest.raises(NoTarget) as pinned:
        source(snapshot, "gone", "vec", ANY, 0.0, bound=False)
    assert "hr auth add gone" in pinned.value.said
    with pytest.raises(Unbindable, match="no key of gone is configured"):
        source(snapshot, "gone", "vec", ANY, 0.0, bound=True)
