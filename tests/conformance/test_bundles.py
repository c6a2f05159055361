"""hermes_router/conformance/bundles.py: every feature is asked for once, and bundles are valid requests."""

import pytest

from hermes_router.conformance.bundles import BUNDLES, bundles, request
from hermes_router.conformance.feature import CHAT, DIALECTS, MESSAGES, RESPONSES, body
from hermes_router.conformance.features import FEATURES


def test_each_feature_that_can_be_asked_for_stands_in_one_bundle() -> None:
    """What a dialect has words for has its check; what has no words in any befalls a caller, and cannot be asked for."""
    told = [name for bundle in BUNDLES for name in bundle]
    assert sorted(told) == sorted(name for name, feature in FEATURES.items() if feature.asks)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_bundle_contradicts_itself(dialect: str) -> None:
    """Each bundle of a dialect is one request that holds every field of its features, and ends with a turn."""
    for bundle in bundles(dialect, FEATURES):
        asked = request(dialect, bundle)
        assert asked.get("input") or asked.get("messages") or bundle[0].id == "errors.missing"
        for feature in bundle:
            wanted = {name for name, value in feature.asks[dialect].items() if value is not None}
            assert wanted <= set(asked), feature.id


def test_alone_a_feature_is_asked_for_in_its_own_words() -> None:
    """A bundle of one is the table's own request."""
    for feature in FEATURES.values():
        for dialect in feature.asks:
            if not feature.id.startswith(
                ("length.cap_small", "length.stop", "answers.length", "answers.stop", "sampling.n")
            ):
                assert request(dialect, [feature]) == body(feature, dialect)


def test_histories_follow_each_other_with_ids_of_their_own() -> None:
    """Two histories are joined by a word of the assistant's; equal ids are told apart; equal questions are asked once."""
    chat = request(CHAT, [FEATURES["calls.result"], FEATURES["results.parts"]])
    ids = [turn["tool_call_id"] for turn in chat["messages"] if turn["role"] == "tool"]
    assert len(ids) == len(set(ids)) == 2
    made = [call["id"] for turn in chat["messages"] for call in turn.get("tool_calls", [])]
    assert made == ids
    assert len(chat["tools"]) == 1
    once = request(RESPONSES, [FEATURES["tools.function"], FEATURES["choice.required"]])
    assert once["input"] == FEATURES["tools.function"].asks[RESPONSES]["input"]


def test_tools_and_system_texts_are_joined() -> None:
    """One tool with the marks of both; all system texts; a contradiction is refused."""
    strict = request(CHAT, [FEATURES["tools.strict"], FEATURES["choice.required"]])
    assert [tool["function"]["strict"] for tool in strict["tools"]] == [True]
    system = request(MESSAGES, [FEATURES["system.text"], FEATURES["system.several"]])["system"]
    assert len(system) == 3
    with pytest.raises(ValueError, match="temperature"):
        request(CHAT, [FEATURES["sampling.temperature"], FEATURES["sampling.temperature_high"]])
