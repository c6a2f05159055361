"""An answer that another has begun: which fakes go on with it, and how; and that what they say is what they would have."""

import json

import pytest

from hermes_router.sandbox import faults
from hermes_router.sandbox.continuing import Manner, begun, reply
from hermes_router.sandbox.model import answer
from hermes_router.sandbox.providers import FakeProvider, Granted, Refused
from hermes_router.sandbox.speeches import SPEECHES
from hermes_router.sandbox.values import Asked, FakeModel

from .conftest import START

QUESTION = {"role": "user", "content": "say 40 words"}
WHOLE = " ".join(f"w{n}" for n in range(1, 41))
SHOWN = WHOLE[:57]
ORDER = "Go on. Begin with exactly this:\n<<<\n{}\n>>>\nSay nothing before it."
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def request(*messages, **fields) -> Asked:
    return Asked({"messages": list(messages), **fields}, {}, FakeModel("m"), 1, {})


def said(asked: Asked, **manner) -> str:
    return reply(asked, Manner(**manner), lambda name: f"id-{name}").text


def prefilled(shown: str = SHOWN, **fields) -> Asked:
    return request(QUESTION, {"role": "assistant", "content": shown, **fields})


def ordered(anchor: str = SHOWN[-24:], shown: str = SHOWN, **fields) -> Asked:
    turns = [{"role": "assistant", "content": shown}, {"role": "user", "content": ORDER.format(anchor)}]
    return request(QUESTION, *turns, **fields)


def test_a_prefill_is_gone_on_from_where_it_is_taken() -> None:
    """To one it is the beginning, another says it again, a third begins anew; the flag makes the difference if there is one."""
    assert SHOWN + said(prefilled(), prefill="continues") == WHOLE
    assert said(prefilled(), prefill="echoes") == WHOLE
    assert said(prefilled(), prefill="anew") == WHOLE
    assert said(prefilled(), prefill="continues", flag="prefix") == WHOLE
    assert SHOWN + said(prefilled(prefix=True), prefill="continues", flag="prefix") == WHOLE


def test_what_white_space_a_prefill_lost_is_said() -> None:
    """Senders strip the end of a prefill: the model goes on from what it was sent."""
    shown = "w1 w2 "
    assert said(prefilled(shown.rstrip()), prefill="continues").startswith(" w3 ")
    assert said(prefilled(shown), prefill="continues").startswith("w3 ")


def test_an_order_is_followed_as_the_provider_does() -> None:
    """To the letter, behind a preamble, from further back; or it begins anew, or says something else."""
    anchor = SHOWN[-24:]
    assert said(ordered()) == anchor + WHOLE[len(SHOWN) :]
    assert said(ordered(), order="chatty").partition(anchor)[0] == "Sure, continuing from there:\n\n"
    assert WHOLE.endswith(said(ordered(), order="more"))
    assert said(ordered(), order="more").index(anchor) == 30
    assert said(ordered(), order="anew") == WHOLE
    assert anchor not in said(ordered(), order="summary")


def test_an_anchor_of_several_lines_is_read() -> None:
    """Answers repeat lines on purpose, so an anchor may hold some."""
    rows = "| a |\n| b |\n| a |\n| b |"

    def compose(_asked: str) -> str:
        return f"{rows}\n| c |"

    asked = ordered("| b |\n| a |\n| b |", shown=rows + "\n")
    asked.messages[0] = {"role": "user", "content": "a table"}
    assert reply(asked, Manner(), str, compose).text == "| b |\n| a |\n| b |\n| c |"


@pytest.mark.parametrize("words", ["go on please", "no\nbegin\nlike this", "w11\nw12"])
def test_a_turn_that_quotes_no_end_is_an_ordinary_one(words: str) -> None:
    """Only the end of the assistant's turn, between other lines, is an order."""
    turns = [QUESTION, {"role": "assistant", "content": "w11"}, {"role": "user", "content": words}]
    assert begun(request(*turns)) is None
    assert said(request(*turns)) == f"You said: {words}"


def test_calls_in_the_history_are_no_beginning() -> None:
    """What comes behind a call is its result."""
    call = {"id": "x", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    turn = {"role": "assistant", "content": "Let me see", "tool_calls": [call]}
    assert begun(request(QUESTION, turn, {"role": "tool", "tool_call_id": "x", "content": "4"})) is None
    assert begun(request(QUESTION, turn)) is None
    assert begun(request()) is None


def test_a_call_comes_behind_text_that_is_whole() -> None:
    """The beginning being all of the text, the anchor is said again, and the call follows."""
    asked = {"role": "user", "content": "first say 9 words, then ask the weather"}
    whole = answer(request(asked, tools=[TOOL]), str)
    assert (whole.text, whole.calls[0].name) == ("w1 w2 w3 w4 w5 w6 w7 w8 w9", "weather")
    turns = [{"role": "assistant", "content": whole.text}, {"role": "user", "content": ORDER.format("w7 w8 w9")}]
    got = reply(request(asked, *turns, tools=[TOOL]), Manner(), str)
    assert (got.text, got.calls, got.finish) == ("w7 w8 w9", whole.calls, "tool_calls")


def test_a_cap_is_for_what_is_new() -> None:
    """A continuation has its own output cap, whatever was shown before; so has it stop strings."""
    capped = reply(ordered(max_tokens=8), Manner(), str)
    assert (len(capped.text), capped.finish) == (32, "length")
    stopped = reply(ordered(stop=["w3", "w25"]), Manner(), str)
    assert (stopped.text.split()[-1], stopped.stopped_by) == ("w24", "w25")


def test_a_beginning_of_another_answer_is_left_as_it_is() -> None:
    """The fake knows nothing to add to what it would not have said."""
    assert said(prefilled("Something else that was"), prefill="continues") == ""
    assert said(ordered("else that was", shown="Something else that was")) == "else that was"


def test_a_provider_may_refuse_a_prefill(ask) -> None:
    """A 400 for it, and for nothing else; the style's own way is kept where none is given."""
    turns = [QUESTION, {"role": "assistant", "content": SHOWN}]
    refused = ask("groq", *turns, to=FakeProvider("groq", prefill="refuses"))
    assert isinstance(refused, Refused)
    assert refused.refusal.status == 400
    order = {"role": "user", "content": ORDER.format(SHOWN[-24:])}
    assert isinstance(ask("groq", *turns, order, to=FakeProvider("groq", prefill="refuses")), Granted)
    assert ask("groq", *turns).reply.text == WHOLE
    assert ask("local", *turns, agent="").reply.text == WHOLE[len(SHOWN) :]


@pytest.mark.parametrize(("style", "flag"), [("mistral", "prefix"), ("kimi", "partial")])
def test_flags_are_kept_as_the_styles_have_them(ask, style: str, flag: str) -> None:
    """Mistral says a flagged prefill again, and Kimi does not."""
    turn = {"role": "assistant", "content": SHOWN, flag: True}
    assert ask(style, QUESTION, turn).reply.text.endswith(WHOLE if style == "mistral" else WHOLE[len(SHOWN) :])


def test_a_prefill_is_heard_in_messages() -> None:
    """Older models of Anthropic go on from a last turn of the assistant's; the newer refuse it, as they did before."""
    turns = [QUESTION, {"role": "assistant", "content": [{"type": "text", "text": SHOWN}]}]
    body = {"model": "claude-haiku-4-5", "max_tokens": 999, "messages": turns}
    headers = {"x-api-key": "sandbox-key", "anthropic-version": "2023-06-01"}

    def decide(**fields):
        return FakeProvider("anthropic").decide("sandbox-key", headers, body | fields, START, SPEECHES["messages"])

    assert SHOWN + decide().reply.text == WHOLE
    assert decide(model="claude-haiku-5-5").refusal.status == 400


def test_who_dies_on_what_is_his_own_goes_on_with_anothers(ask) -> None:
    """`fresh` is for answers from the beginning; what is queued comes first."""
    provider = FakeProvider("groq", fresh=faults.cut_halfway())
    assert ask("groq", QUESTION, to=provider).behaviour is provider.fresh
    turns = ordered().body["messages"]
    assert ask("groq", *turns, to=provider).behaviour.name == "ok"
    queued = provider.behave(faults.paced(0.1))
    assert ask("groq", QUESTION, to=provider).behaviour is queued


@pytest.mark.parametrize("text", ["first say 9 words, then ask the weather", "say 40 words"])
async def test_half_of_what_comes_last_is_sent(sandbox, http, text: str) -> None:
    """In mid-call, all text is there and half of the arguments; without calls, half of the text; and no good end."""
    sandbox.behave("cerebras", faults.cut_halfway("clean"))
    tool = {"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "day": {"type": "string"}}}}}  # fmt: skip
    model = sandbox.providers["cerebras"].models[0].id
    body = {"model": model, "stream": True, "tools": [tool], "messages": [{"role": "user", "content": text}]}
    if "first" not in text:
        del body["tools"]
    async with http.post(sandbox.base_url("cerebras") + "/chat/completions", json=body) as response:
        stream = await response.text()
    deltas = [json.loads(line[6:])["choices"][0] for line in stream.splitlines() if line.startswith("data: {")]
    shown = "".join(each["delta"].get("content") or "" for each in deltas)
    arguments = "".join(
        call["function"]["arguments"] for each in deltas for call in each["delta"].get("tool_calls", ())
    )
    assert "[DONE]" not in stream
    assert not any(each["finish_reason"] for each in deltas)
    if "first" in text:
        assert shown == "w1 w2 w3 w4 w5 w6 w7 w8 w9"
        assert 0 < len(arguments) < len('{"city": "some city", "day": "some day"}')
    else:
        assert shown == " ".join(f"w{n}" for n in range(1, 21))
