"""Which reader a target's answer gets, and what is remembered of it."""

import gc
import json
import weakref

import pytest

from hermes_router.core.catalog import DialectName, Quirk
from hermes_router.core.chat import ChatRequest
from hermes_router.core.errors import EmptyReply, UpstreamError
from hermes_router.engine.reading import Reading
from hermes_router.wire.chat.encoder import ChatEncoder
from hermes_router.wire.chat.passthrough import ManyLane, StreamLane
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.splice import Splice

from ..fakes import World, chunk, completion, target

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def reading(*quirks: Quirk, **request: object) -> tuple[Reading, World]:
    facts = target("p/m", quirks=frozenset(quirks))
    world = World(facts)
    return Reading(world.engine, facts, Inbound(ChatRequest("hermes-router", **request), {}), "caller"), world


def splice() -> Splice:
    return Splice(ChatEncoder(include_usage=False))


@pytest.mark.parametrize(
    ("request_", "lane"), [({}, StreamLane), ({"choices": 2}, ManyLane), ({"logprobs": True}, ManyLane)]
)
def test_the_lane_fits_the_request(request_: dict[str, object], lane: type) -> None:
    """Several choices and log probabilities need whole frames; all else is straightened."""
    assert isinstance(reading(**request_)[0].lane(splice()), lane)


def test_log_probabilities_reach_the_caller() -> None:
    """A frame with logprobs goes through as it came."""
    lane = reading(logprobs=True)[0].lane(splice())
    probabilities = {"content": [{"token": "a", "logprob": -0.1}]}
    frame = json.loads(chunk({"content": "a"})[6:])
    frame["choices"][0]["logprobs"] = probabilities
    out = lane.feed(b"data: " + json.dumps(frame).encode() + b"\n\n")
    assert json.loads(out[6:])["choices"][0]["logprobs"] == probabilities


def test_think_tags_count_only_where_the_row_has_them() -> None:
    """The quirk makes reasoning of what another row would show as text."""
    body = json.dumps(completion("<think>hm</think>yes")).encode()
    plain = json.loads(reading()[0].whole(body, prompt_tokens=1, cap_tokens=None).body)
    tagged = json.loads(reading(Quirk.THINK_TAGS)[0].whole(body, prompt_tokens=1, cap_tokens=None).body)
    assert plain["choices"][0]["message"]["content"] == "<think>hm</think>yes"
    assert tagged["choices"][0]["message"]["content"] == "yes"
    assert tagged["choices"][0]["message"]["reasoning_content"] == "hm"


def test_only_rows_that_replay_are_remembered() -> None:
    """Reasoning beside a call is kept for the row that wants it back, within the router key."""
    body = json.dumps(completion(None, "tool_calls", tool_calls=[CALL], reasoning_content="because")).encode()
    for quirks, expected in (((Quirk.REPLAY_REASONING,), "because"), ((), None)):
        one, world = reading(*quirks)
        one.whole(body, prompt_tokens=1, cap_tokens=None)
        assert world.engine.memory.recall_for(world.facts[0], "caller").reasoning("c1", "look", "{}") == expected
        assert world.engine.memory.recall_for(world.facts[0], "other").reasoning("c1", "look", "{}") is None


def test_a_whole_answer_becomes_a_stream() -> None:
    """An upstream that answers whole where a stream was asked for is re-chunked, with its usage."""
    joint = splice()
    out, usage = reading()[0].streamed(json.dumps(completion("hello")).encode(), joint)
    assert b'"content":"hello"' in out
    assert usage is not None
    assert usage.input_tokens == 11


def test_an_empty_whole_answer_is_a_failure_before_anything_is_shown() -> None:
    """It raises what it is, and the splice has shown nothing."""
    joint = splice()
    with pytest.raises(EmptyReply):
        reading()[0].streamed(json.dumps(completion("")).encode(), joint)
    assert not joint.committed


def test_an_error_in_a_200_is_classified_by_the_rows_family() -> None:
    """The error object of a 200 goes through the same table as a status."""
    with pytest.raises(UpstreamError):
        reading()[0].whole(b'{"error":{"message":"overloaded","code":503}}', prompt_tokens=1, cap_tokens=None)


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages"])
def test_a_reading_is_gone_with_its_last_user(dialect: DialectName) -> None:
    """Nothing that it makes holds it: else the caller's body, 237 KB of it, would stay until the collector comes."""
    made, world = reading()
    other = Reading(world.engine, target("p/m"), Inbound(ChatRequest("hermes-router"), {}), "caller", dialect)
    gone = weakref.ref(other)
    gc.disable()
    try:
        made.decoder()
        other.decoder()
        del other
        assert gone() is None
    finally:
        gc.enable()
