"""Each provider's handwriting: where reasoning, usage and tool calls are, and how frames look."""

import dataclasses
import json

import pytest

from hermes_router.sandbox.frames import HANDS, Written, completion, encode, stream, usage_of
from hermes_router.sandbox.values import Call, Reply

CALLS = (Call("a", "weather", '{"city":"Rome"}', "sig"), Call("b", "clock", "{}"))


def written(reply):
    """A reply, ready to be written."""
    return Written(reply, "id", 1, "m", usage_of(reply, 7))


def frames(style, reply, **given):
    """A reply's chunks in a style's hand."""
    made = stream(HANDS[style], written(reply), include_usage=given.get("include_usage", False))
    return [frame.data for frame in made if frame.data]


@pytest.mark.parametrize(("style", "delta"), [
    ("groq", {"content": None, "reasoning": "hm"}), ("kimi", {"content": None, "reasoning_content": "hm"}),
    ("mistral", {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
    ("gemini", {"content": "<thought>hm</thought>"}),
])  # fmt: skip
def test_reasoning_has_its_own_place(style, delta) -> None:
    """The field of facts 7, in the stream and in the completion."""
    reply = Reply("yes", reasoning="hm")
    assert frames(style, reply)[1]["choices"][0]["delta"] == delta
    assert "hm" in json.dumps(completion(HANDS[style], written(reply))["choices"][0]["message"])


def test_several_answers_and_likelihoods_are_written_where_they_are_asked_for() -> None:
    """`n` choices, numbered; `logprobs` with every token of the text; without these words neither."""
    plain = completion(HANDS["openai"], written(Reply("yes no")))
    assert [(one["index"], "logprobs" in one) for one in plain["choices"]] == [(0, False)]
    asked = dataclasses.replace(written(Reply("yes no")), said={"n": 2, "logprobs": True})
    both = completion(HANDS["openai"], asked)["choices"]
    assert [one["index"] for one in both] == [0, 1]
    assert "".join(told["token"] for told in both[1]["logprobs"]["content"]) == "yes no"


def test_openrouter_has_its_comment_details_cost_and_native_reason() -> None:
    """A comment first, reasoning_details, usage unasked with cost."""
    raw = stream(HANDS["openrouter"], written(Reply("yes", reasoning="hm")), include_usage=False)
    assert raw[0].raw == b": OPENROUTER PROCESSING\n\n"
    chunks = [frame.data for frame in raw if frame.data]
    assert chunks[1]["choices"][0]["delta"]["reasoning_details"][0]["type"] == "reasoning.text"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["cost"] == 0
    assert chunks[-2]["choices"][0]["native_finish_reason"] == "stop"


def test_usage_comes_where_each_provider_puts_it() -> None:
    """Mistral in the finishing chunk unasked, Groq in x_groq, OpenAI only if asked."""
    assert frames("mistral", Reply("a"))[-1]["usage"]["prompt_tokens"] == 7
    groq = frames("groq", Reply("a"))
    assert groq[0]["x_groq"] == {"id": "req_sandbox"}
    assert groq[-1]["x_groq"]["usage"]["total_tokens"] == 8
    assert "usage" not in frames("openai", Reply("a"))[-1]
    assert frames("openai", Reply("a"), include_usage=True)[-1]["choices"] == []


def test_calls_are_cut_as_each_provider_cuts_them() -> None:
    """OpenAI in pieces, Groq whole with index, Gemini whole without, signed, and finishing with `stop`."""

    def deltas(style):
        chunks = frames(style, Reply("", calls=CALLS, finish="tool_calls"))
        found = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
        return found, chunks[-1]["choices"][0]["finish_reason"]

    pieces, finish = deltas("openai")
    assert "".join(d["function"]["arguments"] for d in pieces if d["index"] == 0) == CALLS[0].arguments
    assert finish == "tool_calls"
    assert [d["index"] for d in deltas("groq")[0]] == [0, 1]
    gemini, finish = deltas("gemini")
    assert not any("index" in d for d in gemini)
    assert gemini[0]["extra_content"] == {"google": {"thought_signature": "sig"}}
    assert finish == "stop"


@pytest.mark.parametrize("style", list(HANDS))
def test_every_frame_is_a_whole_event(style) -> None:
    """Whatever the style, each frame ends with an empty line and its data parses."""
    reply = Reply("a b", reasoning="hm", calls=CALLS)
    for frame in stream(HANDS[style], written(reply), include_usage=True):
        raw = encode(frame, HANDS[style])
        assert raw.endswith(b"\n\n")
        if frame.data:
            assert json.loads(raw.removeprefix(b"data: ")) == frame.data
