"""What a model name means in a request for vectors."""

import pytest

from hermes_router.core.catalog import ModelSpec
from hermes_router.core.errors import BadRequest, UnknownModel
from hermes_router.core.ids import ModelId
from hermes_router.core.settings import Settings
from hermes_router.engine.admission import Caller
from hermes_router.engine.embed_question import make_embed_question
from hermes_router.engine.exchange import Question
from hermes_router.routing.names import Pin
from hermes_router.routing.roster import Former, Roster

from .vectors import KEY, Pool, asks, embedder

POOL = Pool(embedder("a/vec-small"), embedder("b/vec"))


def question(model: str, pool: Pool = POOL, **headers: str) -> Question:
    return make_embed_question(pool.engine, asks(model=model), Caller(KEY, min_tier=5), headers, "req_1")


@pytest.mark.parametrize(
    ("model", "pin", "profile"),
    [
        ("hermes-router", None, "main"),
        ("", None, "main"),
        ("hermes-router:fast", None, "main"),
        ("hermes-router:local", None, "local"),
        ("a/vec-small", Pin("a", "vec-small"), "main"),
        ("vec", Pin("b", "vec"), "main"),
        ("text-embedding-ada-002", None, "main"),
        ("local/x", Pin("local", "x"), "main"),
        ("chat/m", Pin("chat", "m"), "main"),
    ],
)
def test_names(model, pin, profile) -> None:
    """The router's own, a model by its whole id or with its provider; anything else is ignored."""
    asked = question(model)
    assert (asked.constraint.pin, asked.demand.profile, asked.demand.operation) == (pin, profile, "embed")
    assert asked.constraint.local_only is (profile == "local")
    assert asked.inbound.request.model == model


def test_a_name_with_its_provider_comes_before_the_same_as_an_id() -> None:
    """Some gateways' ids look like `provider/model`: who wrote that meant the provider, as in a chat."""
    pool = Pool(embedder("gate/b/vec"), embedder("b/vec"))
    asked = make_embed_question(pool.engine, asks(model="b/vec"), Caller(KEY), {}, "req_1")
    assert asked.constraint.pin == Pin("b", "vec")


def test_what_is_ignored_is_said() -> None:
    """A name that means nothing, and a header that would bring another model."""
    assert [str(one) for one in question("ada").notices] == ["ignored:model"]
    assert [str(one) for one in question("vec", **{"x-hermes-fallback": "any"}).notices] == [
        "ignored:x-hermes-fallback"
    ]
    assert question("vec").notices == ()
    assert question("vec", **{"x-hermes-max-wait": "7"}).max_wait_s == 7.0


def test_names_that_are_errors() -> None:
    """A profile that does not exist, a model that chats, and under STRICT_MODELS a name that is no pin."""
    with pytest.raises(UnknownModel):
        question("hermes-router:x")
    with pytest.raises(BadRequest) as caught:
        question("m")
    assert caught.value.param == "model"
    strict = Pool(embedder("b/vec"), settings=Settings(strict_models=True))
    with pytest.raises(UnknownModel):
        question("ada", strict)
    assert question("vec", strict).constraint.pin == Pin("b", "vec")


def test_no_model_for_vectors_is_too_weak() -> None:
    """MIN_TIER is about models that chat."""
    assert question("vec").constraint.min_tier == 1


@pytest.mark.parametrize("name", ["gone/vec-3", "vec-3"])
def test_a_model_whose_key_was_taken_out_is_still_a_pin(name: str) -> None:
    """Vectors of another model would not compare with those that are stored."""
    pool = Pool(embedder("a/vec-small"))
    gone = Former({"vec-3": ModelSpec(ModelId("vec-3"))}, embeds=frozenset({"vec-3"}), how="hr auth add gone")
    pool.engine.snapshot = pool.engine.snapshot._replace(roster=Roster((), former={"gone": gone}))
    assert question(name, pool).constraint.pin == Pin("gone", "vec-3")
