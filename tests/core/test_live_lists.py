"""A provider's list as a value: found by id, by alias, and by what stands before a route."""

from hermes_router.core.catalog import Capability, Known
from hermes_router.core.ids import ModelId
from hermes_router.core.live_lists import Listed, LiveList


def _list(*models: Listed) -> LiveList:
    return LiveList(models, 1.0, "http://x")


def test_a_model_is_found_by_its_exact_id_or_alias() -> None:
    """Nothing is guessed from a part of an id."""
    one = Listed(ModelId("mistral-small-2603"), aliases=("mistral-small-latest",))
    found = _list(one)
    assert found.find("mistral-small-2603") is one
    assert found.find("mistral-small-latest") is one
    assert found.find("mistral-small") is None


def test_a_route_is_no_part_of_a_name_only_where_the_row_says_so() -> None:
    """`:cheapest` says where it runs; `:free` is another model, and a paid one never stands in for it."""
    found = _list(Listed(ModelId("openai/gpt-oss-120b")))
    assert found.find("openai/gpt-oss-120b:cheapest", id_routes=True) is not None
    assert found.find("openai/gpt-oss-120b:free") is None


def test_an_id_that_comes_twice_is_one_model() -> None:
    """Some lists repeat themselves."""
    assert len(_list(Listed(ModelId("a")), Listed(ModelId("a"), context=5))) == 1


def test_silence_on_tools_is_told_from_a_no() -> None:
    """A list that says of no model whether it takes tools says nothing by leaving it out."""
    assert not _list(Listed(ModelId("a"))).tells_tools
    assert _list(Listed(ModelId("a")), Listed(ModelId("b"), capabilities={Capability.TOOLS: Known.NO})).tells_tools
