"""Effort, sampling, stop, format and the output cap, fitted to what a row takes."""

import pytest

from hermes_router.wire.chat.outgoing import NO_RECALL
from hermes_router.wire.quirks import parameters as quirks
from hermes_router.wire.quirks.draft import Draft


def after(step, params, **more):
    draft = Draft(dict(params), NO_RECALL, frozenset(), **more)
    return draft, step(draft)


def said(draft):
    return {str(note) for note in draft.notes}


SCALE = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
TABLES = [
    (quirks.effort_none_high, ("none", "none", "none", "high", "high", "high", "high")),
    (quirks.effort_low_high_max, ("low", "low", "low", "high", "high", "max", "max")),
    (quirks.effort_low_medium_high, ("low", "low", "low", "medium", "high", "high", "high")),
    (quirks.effort_none_default, ("none", *["default"] * 6)),
]


@pytest.mark.parametrize(("step", "sent"), TABLES, ids=[step.__name__ for step, _ in TABLES])
def test_effort_follows_the_scale(step, sent):
    """The table of providers.md 12.8; what is weakened is said, what fits is not."""
    for effort, expected in zip(SCALE, sent, strict=True):
        draft, _ = after(step, {"reasoning_effort": effort})
        assert draft.params == {"reasoning_effort": expected}
        assert said(draft) == (set() if effort == expected else {"approx:reasoning_effort"})


@pytest.mark.parametrize("odd", ["ultra", 5, {}])
def test_an_unknown_effort_is_dropped(odd):
    """A word that no scale knows is left out and said."""
    draft, _ = after(quirks.effort_none_high, {"reasoning_effort": odd})
    assert draft.params == {}
    assert said(draft) == {"dropped:reasoning_effort"}


@pytest.mark.parametrize(
    ("effort", "levels", "expected"),
    [
        ("none", ("minimal", "low"), "minimal"),
        ("xhigh", ("low", "high"), "high"),
        ("medium", ("low", "high"), "low"),
        ("low", ("low",), "low"),
        ("low", (), "low"),
        ("low", ("default",), "low"),
        ("odd", ("low",), "odd"),
    ],
)
def test_effort_fits_the_models_own_levels(effort, levels, expected):
    """The nearest weaker level, else the weakest there is."""
    draft, _ = after(lambda draft: quirks.fit_effort(draft, levels), {"reasoning_effort": effort})
    assert draft.params["reasoning_effort"] == expected


def test_nested_effort_becomes_the_flat_one_where_only_that_is_taken():
    """`reasoning.effort` is OpenRouter's spelling; elsewhere it would be an unknown key."""
    allow = frozenset({"reasoning_effort"})
    assert after(quirks.unify_effort, {"reasoning": {"effort": "low"}}, allow=allow)[0].params == {
        "reasoning_effort": "low"
    }
    assert after(quirks.unify_effort, {"reasoning": {"enabled": False}}, allow=allow)[0].params == {
        "reasoning_effort": "none"
    }
    both = {"reasoning": {"effort": "low"}, "reasoning_effort": "high"}
    assert after(quirks.unify_effort, both, allow=allow)[0].params == {"reasoning_effort": "high"}
    assert after(quirks.unify_effort, {"reasoning": {"effort": "low"}})[0].params == {"reasoning": {"effort": "low"}}
    assert said(after(quirks.unify_effort, {"reasoning": {"max_tokens": 5}}, allow=allow)[0]) == {"dropped:reasoning"}


def test_effort_none_becomes_disabled_thinking_where_that_is_the_spelling():
    """GLM before 5.2 knows `thinking` only (3.9); where neither is taken the loss is said."""
    draft, off = after(quirks.settle_effort, {"reasoning_effort": "none"}, allow=frozenset({"thinking"}))
    assert (draft.params, off, said(draft)) == ({"thinking": {"type": "disabled"}}, True, set())
    draft, off = after(quirks.settle_effort, {"reasoning_effort": "low"}, allow=frozenset({"thinking"}))
    assert (draft.params, off, said(draft)) == ({}, False, {"dropped:reasoning_effort"})
    draft, off = after(quirks.settle_effort, {"reasoning_effort": "none"})
    assert (draft.params, off) == ({"reasoning_effort": "none"}, True)
    assert after(quirks.settle_effort, {})[1] is False


def test_sampling_of_one_is_the_fixed_value():
    """Dropping 1 loses nothing; dropping anything else is said."""
    draft, _ = after(quirks.fixed_sampling, {"temperature": 1, "top_p": 0.5})
    assert draft.params == {}
    assert said(draft) == {"dropped:top_p"}


def test_only_zero_is_not_taken():
    """0.0 is zero too; anything else stays."""
    assert after(quirks.no_zero_temperature, {"temperature": 0.0})[0].params == {"temperature": 0.01}
    assert after(quirks.no_zero_temperature, {"temperature": 0.2})[0].params == {"temperature": 0.2}


def test_one_stop_string_stays_as_it_is():
    """A string or a list of one is what Z.ai takes."""
    for stop in ("a", ["a"]):
        draft, _ = after(quirks.one_stop, {"stop": stop})
        assert (draft.params["stop"], draft.notes) == (stop, [])


def test_json_object_passes_where_only_that_is_taken():
    """Only a schema is turned into words; one without a schema still asks for JSON."""
    draft, _ = after(quirks.json_object_only, {"response_format": {"type": "json_object"}})
    assert (draft.instruction, draft.notes) == ("", [])
    draft, _ = after(quirks.json_object_only, {"response_format": {"type": "json_schema"}})
    assert "JSON" in draft.instruction


def test_a_modest_cap_by_what_is_asked():
    """Cerebras charges the cap: 4K for chat, 8K with tools, never more (3.5)."""
    chat, _ = after(quirks.modest_output, {})
    code, _ = after(quirks.modest_output, {}, has_tools=True)
    assert quirks.fitted_cap(chat, None, 0, (), None) == 4_096
    assert quirks.fitted_cap(code, None, 0, (), None) == 8_192
    assert quirks.fitted_cap(code, 65_536, 0, (32_768, None), None) == 8_192
    assert quirks.fitted_cap(code, 100, 4_096, (), None) == 4_196


@pytest.mark.parametrize(
    ("key", "value"), [("n", 1), ("user", "me"), ("logprobs", False), ("stop", []), ("tool_choice", "auto")]
)
def test_neutral_values_go_without_a_word(key, value):
    """Their absence means the same."""
    assert quirks.is_silent(Draft({key: value}, NO_RECALL, frozenset()), key)


@pytest.mark.parametrize(("key", "value"), [("n", 2), ("logprobs", True), ("seed", 1), ("prediction", {})])
def test_values_that_ask_for_something_are_missed(key, value):
    """And so their loss is said."""
    assert not quirks.is_silent(Draft({key: value}, NO_RECALL, frozenset()), key)
