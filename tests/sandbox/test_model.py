"""The deterministic model: what it says, what it calls, how it counts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.sandbox.model import answer, count, instance, pieces, prompt_tokens
from hermes_router.sandbox.values import Asked, FakeModel

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]},
                                     "days": {"type": "integer", "minimum": 2}}}}}  # fmt: skip
OTHER = {"type": "function", "function": {"name": "clock"}}


def reply(text, model=None, **fields):
    """What the model answers to a text."""
    messages = fields.pop("messages", [{"role": "user", "content": text}])
    made = {"messages": messages, **fields}
    return answer(Asked(made, {}, model or FakeModel("m"), 1, {}), lambda name: f"id-{name}")


def test_it_echoes_and_counts_words() -> None:
    """The text is the last user message, or as many words as were asked for."""
    assert reply("hi").text == "You said: hi"
    assert reply("please say 3 words").text == "w1 w2 w3"


def test_a_call_has_arguments_from_the_schema() -> None:
    """A tool that is named is called with one value for each property."""
    got = reply("ask the weather", tools=[OTHER, TOOL])
    assert (got.calls[0].name, got.finish) == ("weather", "tool_calls")
    assert json.loads(got.calls[0].arguments) == {"city": "some city", "unit": "c", "days": 2}


def test_tool_choice_and_parallel_calls_are_obeyed() -> None:
    """None, required, named, all; and parallel_tool_calls false gives one at most."""
    tools = [TOOL, OTHER]
    assert not reply("use a tool", tools=tools, tool_choice="none").calls
    assert reply("hi", tools=tools, tool_choice="required").calls[0].name == "weather"
    named = {"type": "function", "function": {"name": "clock"}}
    assert [call.name for call in reply("hi", tools=tools, tool_choice=named).calls] == ["clock"]
    assert len(reply("call all tools", tools=tools).calls) == 2
    assert len(reply("call all tools", tools=tools, parallel_tool_calls=False).calls) == 1


def test_a_tool_result_is_quoted() -> None:
    """After a result the model answers with text that holds it, and calls no more."""
    messages = [{"role": "user", "content": "weather tool"}, {"role": "tool", "content": "12 C", "tool_call_id": "x"}]
    got = reply("", messages=messages, tools=[TOOL])
    assert "12 C" in got.text
    assert not got.calls


def test_cap_stop_and_reasoning() -> None:
    """Stop strings cut, the cap cuts with `length`, and reasoning uses the cap up first."""
    assert reply("say 4 words", stop=["w3"]).text == "w1 w2 "
    capped = reply("say 100 words", max_tokens=2)
    assert (capped.text, capped.finish) == ("w1 w2 w3", "length")
    starved = reply("say 4 words", model=FakeModel("m", thinks=40), max_completion_tokens=20)
    assert (starved.text, starved.finish, count(starved.reasoning)) == ("", "length", 20)
    hidden = reply("hi", model=FakeModel("m", thinks=40, hidden=True))
    assert (hidden.reasoning, hidden.hidden_tokens) == ("", 40)


def test_json_is_answered_with_json() -> None:
    """json_object gives an object, json_schema an instance of the schema."""
    assert json.loads(reply("x", response_format={"type": "json_object"}).text) == {"answer": "x"}
    form = {
        "type": "json_schema",
        "json_schema": {"schema": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    }
    assert json.loads(reply("x", response_format=form).text) == {"n": 1}


@pytest.mark.parametrize(("schema", "value"), [
    ({"type": ["string", "null"]}, "some value"), ({"anyOf": [{"type": "boolean"}]}, True), ({"const": 3}, 3),
    ({"type": "array", "items": {"type": "null"}}, [None]), ({}, "some value"),
])  # fmt: skip
def test_instances_fit_their_schemas(schema, value) -> None:
    """Each ordinary kind of schema has its value."""
    assert instance(schema) == value


@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    """Cutting an answer into chunks loses nothing."""
    assert "".join(pieces(text)) == text


def test_prompt_tokens_see_everything_that_costs() -> None:
    """Text, images, calls and tools all count."""
    plain = prompt_tokens({"messages": [{"role": "user", "content": "x" * 400}]})
    image = prompt_tokens({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})
    assert plain == 101
    assert image > 900
    assert prompt_tokens({"messages": [], "tools": [TOOL]}) > 20


def test_it_declines_and_thinks_in_secret() -> None:
    """The two words that need a dialect with a place for them; in Chat a secret thought is only billed."""
    declined = reply("please decline this")
    assert (declined.finish, declined.text) == ("refusal", "I cannot help with that.")
    secret = reply("think in secret")
    assert (secret.reasoning, secret.secret, secret.hidden_tokens > 0) == ("", True, True)
