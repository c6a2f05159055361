"""Parameters fitted to one target by what the Chat rows know of it, spelled as Responses does."""

import pytest

from hermes_router.core.catalog import Quirk
from hermes_router.wire.chat.outgoing import Options, recipe_for
from hermes_router.wire.responses.parameters import fit, reasons, spelled

from ..responses_bodies import NATIVE, STREAM, facts


def fitted(params, where=None, options=STREAM, asked=None, has_tools=True):
    draft, cap = fit(dict(params), recipe_for(where or facts()), options, asked, has_tools=has_tools)
    return draft.params, cap, [str(note) for note in draft.notes]


@pytest.mark.parametrize(
    ("asked", "where", "options", "cap", "notes"),
    [
        (None, {}, {}, None, []),
        (None, {}, {"default_output_tokens": 4_096}, 4_096, []),
        (50, {}, {}, 50, []),
        (90_000, {"output_cap": 8_192}, {}, 8_192, ["approx:max_tokens"]),
        (90_000, {"max_output": 500}, {}, 500, ["approx:max_tokens"]),
        (3, {}, {}, 16, ["approx:max_output_tokens"]),
        (50, {}, {"reserve_tokens": 100, "reasoning": True}, 150, []),
        (90, {"context": 1_000}, {"input_tokens": 950}, 50, ["approx:max_tokens"]),
        (50, {}, {"without": frozenset({"max_output_tokens"})}, None, ["dropped:max_output_tokens"]),
    ],
)
def test_the_cap_is_what_the_target_takes(asked, where, options, cap, notes) -> None:
    """Clamped, never below 16, with room for hidden reasoning, and absent where it was refused (12.8)."""
    assert fitted({}, facts(**where), Options(stream=True, **options), asked)[1:] == (cap, notes)


def test_no_room_is_kept_where_nothing_is_thought() -> None:
    """Hidden reasoning that is switched off needs none."""
    options = Options(stream=True, reserve_tokens=100, reasoning=True)
    assert fitted({"reasoning_effort": "none"}, None, options, 50)[1] == 50


def test_effort_is_one_that_the_model_knows() -> None:
    """The nearest weaker one, else its weakest; said."""
    where = facts(levels=("low", "high"))
    assert fitted({"reasoning_effort": "medium"}, where)[0::2] == (
        {"reasoning_effort": "low"},
        ["approx:reasoning_effort"],
    )
    assert fitted({"reasoning_effort": "xhigh"}, where)[0] == {"reasoning_effort": "high"}
    assert fitted({"reasoning_effort": "minimal"}, where)[0] == {"reasoning_effort": "low"}


def test_sampling_that_a_reasoning_model_refuses_is_dropped() -> None:
    """By the quirk or by what the model's row refuses; a value that means nothing is dropped in silence."""
    params = {"temperature": 0.2, "top_p": 1}
    assert fitted(params, facts(Quirk.FIXED_SAMPLING))[0::2] == ({}, ["dropped:temperature"])
    assert fitted(params, facts(refuse=frozenset({"temperature"})))[0::2] == ({"top_p": 1}, ["dropped:temperature"])
    assert fitted(params)[0::2] == (params, [])


def test_the_rows_list_of_keys_holds_here_too() -> None:
    """By the names that Chat has for them; ids and tiers fall in silence."""
    where = facts(allow=["temperature"])
    params = {"temperature": 0.2, "top_p": 0.2, "verbosity": "low", "prompt_cache_key": "k", "service_tier": "flex"}
    assert fitted(params, where)[0::2] == ({"temperature": 0.2}, ["dropped:top_p", "dropped:verbosity"])


def test_parallel_calls_need_tools() -> None:
    """Without any the word is refused."""
    assert fitted({"parallel_tool_calls": False}, has_tools=False)[0] == {}


def test_spelling() -> None:
    """Nested where Responses nests, flat where it is flat."""
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
    assert spelled({"reasoning_effort": "low", "verbosity": "high", "response_format": wanted, "top_p": 1}) == {
        "top_p": 1,
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "high"},
    }
    assert spelled({}) == {}


def test_whose_thoughts_can_be_asked_for() -> None:
    """A model that is known to reason, at a provider whose own dialect this is."""
    assert reasons(facts(NATIVE))
    assert not reasons(facts(NATIVE, reasons=False))
    assert not reasons(facts())
