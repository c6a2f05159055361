"""What the tiny questions are, and what their answers prove."""

import json

import pytest

from hermes_router.core.catalog import Capability, Known
from hermes_router.core.errors import Invalid, RequestRejected, Unsupported
from hermes_router.core.events import Answer, Block, BlockKind, Finish, Usage
from hermes_router.engine.probes import MOST_TOKENS, PROBES, has_object

TEXT, CALL, THOUGHT = BlockKind.TEXT, BlockKind.TOOL_CALL, BlockKind.REASONING


def _answer(*blocks: Block, finish: Finish = Finish.STOP, usage: Usage | None = None) -> Answer:
    return Answer(blocks=list(blocks), finish=finish, usage=usage)


def _said(text: str, **more: object) -> Answer:
    return _answer(Block(TEXT, text), **more)  # type: ignore[arg-type]


def _call(name: str, arguments: object) -> Block:
    return Block(CALL, arguments if isinstance(arguments, str) else json.dumps(arguments), "id", name)


def judged(what: Capability, answer: Answer) -> Known | None:
    return PROBES[what].judge(answer)


def test_the_questions_are_tiny_and_the_most_useful_comes_first() -> None:
    """Tools first; each is a request like any caller's, of a few hundred bytes and a small cap."""
    assert next(iter(PROBES)) is Capability.TOOLS
    assert set(PROBES) == {
        Capability.TOOLS, Capability.PARALLEL_TOOLS, Capability.IMAGES, Capability.REASONING,
        Capability.JSON_SCHEMA, Capability.PREFILL,
    }  # fmt: skip
    for probe in PROBES.values():
        request = probe.inbound.request
        assert request.text_bytes < 600
        assert request.max_output_tokens == MOST_TOKENS
        assert not request.stream


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (_answer(_call("colour", {"word": "violet"}), finish=Finish.TOOL_CALLS), Known.YES),
        (_answer(_call("colour", {"tint": "violet"}), finish=Finish.TOOL_CALLS), None),
        (_answer(_call("colour", "{wor"), finish=Finish.TOOL_CALLS), None),
        (_answer(_call("weather", {"word": "x"}), finish=Finish.TOOL_CALLS), None),
        (_said('{"name": "colour", "arguments": {"word": "violet"}}'), Known.NO),
        (_said("I would", finish=Finish.LENGTH), None),
        (_answer(), None),
    ],
)
def test_tools_are_proved_by_a_real_call(answer: Answer, known: Known | None) -> None:
    """A call of our tool with its argument; a call written as text is none, one that was cut proves nothing."""
    assert judged(Capability.TOOLS, answer) is known


def test_parallel_calls_are_two_in_one_answer() -> None:
    """Of two that were asked for; one is a no, none proves nothing."""
    one, two = _call("colour", {"word": "violet"}), _call("shape", {"word": "circle"})
    assert judged(Capability.PARALLEL_TOOLS, _answer(one, two)) is Known.YES
    assert judged(Capability.PARALLEL_TOOLS, _answer(one, one)) is Known.NO
    assert judged(Capability.PARALLEL_TOOLS, _answer(one)) is Known.NO
    assert judged(Capability.PARALLEL_TOOLS, _said("no")) is None


def test_a_picture_is_seen_by_naming_what_is_in_it() -> None:
    """Both colours in their order; who guesses, refuses in words or sees badly has proved nothing."""
    assert judged(Capability.IMAGES, _said("Yellow on top, blue below.")) is Known.YES
    for text in ("Blue and yellow", "I cannot see images", "red", ""):
        assert judged(Capability.IMAGES, _said(text)) is None


def test_a_schema_is_kept_to_or_not() -> None:
    """The question names no JSON: an object with the schema's keys can only come from the schema."""
    assert "json" not in str(PROBES[Capability.JSON_SCHEMA].body["messages"]).lower()
    assert judged(Capability.JSON_SCHEMA, _said('{"word": "violet", "count": 3}')) is Known.YES
    assert judged(Capability.JSON_SCHEMA, _said("Blue and 7.")) is Known.NO
    assert judged(Capability.JSON_SCHEMA, _said('{"colour": "blue"}')) is Known.NO
    assert judged(Capability.JSON_SCHEMA, _said('{"word": "vio', finish=Finish.LENGTH)) is None


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (_answer(Block(THOUGHT, "hm"), Block(TEXT, "ready")), Known.YES),
        (_said("ready", usage=Usage(9, 80, reasoning_tokens=70)), Known.YES),
        (_said("ready", usage=Usage(9, 90)), Known.YES),  # billed, and never shown
        (_said("ready", usage=Usage(9, 2)), Known.NO),
        (_said("ready"), None),
        (_said("ready", usage=Usage(9, 2), finish=Finish.LENGTH), None),
    ],
)
def test_reasoning_shows_or_is_billed(answer: Answer, known: Known | None) -> None:
    """Visible, reported, or far more tokens than one word takes; without a count nothing is sure."""
    assert judged(Capability.REASONING, answer) is known


def test_prefill_goes_on_where_it_broke_off() -> None:
    """The next letter is a yes, the first one again a no; whatever else, nothing."""
    assert judged(Capability.PREFILL, _said(" E F G H")) is Known.YES
    assert judged(Capability.PREFILL, _said("A B C D E F G H")) is Known.NO
    assert judged(Capability.PREFILL, _said("Sure! Here you go")) is None


def test_only_a_refusal_that_names_it_is_a_no() -> None:
    """A 400 for another reason says nothing of tools; a last assistant message is refused in many words."""
    assert PROBES[Capability.TOOLS].refusal(RequestRejected("x", param="tools")) is Known.NO
    assert PROBES[Capability.TOOLS].refusal(Invalid("bad request")) is None
    assert PROBES[Capability.TOOLS].refusal(Unsupported("x", param="tool_choice")) is None
    assert PROBES[Capability.JSON_SCHEMA].refusal(Unsupported("x", param="response_format.type")) is Known.NO
    assert PROBES[Capability.IMAGES].refusal(RequestRejected("x", param="images")) is Known.NO
    assert PROBES[Capability.PREFILL].refusal(Invalid("last message must be user")) is Known.NO


@pytest.mark.parametrize("text", ["", "[]", "{", "nul", "[" * 9_000, '"x"'])
def test_what_is_no_object(text: str) -> None:
    """Text that only looks like JSON is none."""
    assert not has_object(text, ())
