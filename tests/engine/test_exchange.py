"""One exchange from question to answer: failover seen and unseen, what is passed back, what is settled."""

import asyncio
import re
from collections.abc import Callable

import pytest

from hermes_router.core.catalog import Quirk
from hermes_router.core.errors import NetworkDown, Truncated, Unreachable
from hermes_router.engine.report import model_rows
from hermes_router.routing.names import Pin

from ..fakes import (
    DONE,
    JSON,
    ROLE,
    STOP,
    USAGE,
    Flight,
    World,
    answers,
    chunk,
    completion,
    fails,
    muse,
    refuses,
    say,
    streams,
    target,
    turns,
)

CALL = chunk(
    {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}
)
KEY_401 = {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}
ALLOWED = frozenset({"model", "messages", "stream", "temperature", "max_tokens"})


def whole(run) -> str:
    """The text of a whole answer."""
    return run.said["choices"][0]["message"]["content"]


# --- before the commit point ----------------------------------------------------------------------------------


BAD_STREAMS: dict[str, Callable[[Flight], object]] = {
    "500": refuses(500),
    "401": refuses(401, KEY_401),
    "429": refuses(429),
    "unreachable": fails(lambda: Unreachable("refused")),
    "cut at once": lambda flight: flight.head().fail(Truncated("cut")),
    "only a role": lambda flight: flight.head().data(ROLE).fail(Truncated("cut")),
    "role and end": lambda flight: flight.stream(ROLE),
    "role and done": lambda flight: flight.stream(ROLE, DONE),
    "text and cut in one read": lambda flight: flight.head().data(ROLE + say("half")).fail(Truncated("cut")),
    "empty": lambda flight: flight.stream(ROLE, STOP, DONE),
    "only reasoning, finished": lambda flight: flight.stream(ROLE + muse("hm") + chunk({}, "length") + DONE),
    "error chunk": lambda flight: flight.stream(ROLE, b'data: {"error":{"message":"boom","code":502}}\n\n', DONE),
    "finish error": lambda flight: flight.stream(ROLE, chunk({"content": ""}, "error"), DONE),
    "not json": lambda flight: flight.stream(ROLE, b"data: {oops\n\n"),
    "html": lambda flight: flight.head(200, {"content-type": "text/html"}).data(b"<html>").end(),
    "nothing": lambda flight: flight.stream(),
    "json error": lambda flight: flight.answer(200, {"error": {"message": "boom"}}),
    "json empty": lambda flight: flight.answer(200, completion("")),
    "json no choices": lambda flight: flight.answer(200, {"choices": []}),
    "json garbage": lambda flight: flight.answer(200, b"{"),
    "json cut": lambda flight: flight.head(200, JSON).data(b'{"cho').fail(Truncated("cut", status=200)),
}


@pytest.mark.parametrize("bad", BAD_STREAMS.values(), ids=BAD_STREAMS)
async def test_failover_before_the_commit_point_is_invisible(bad) -> None:
    """The caller sees one clean stream of the second target, and one number that tells of the first."""
    world = World("a/m", "b/m")
    world.transport.on("a", bad)
    world.transport.on("b", streams("from b", model="b-model"))
    run = await world.ask()
    assert run.out.good
    assert run.out.text == "from b"
    assert run.out.reasoning == ""
    assert {event["model"] for event in run.out.events[:-1]} == {"b-model"}
    assert run.out.head == {"x-hermes-target": "b/m", "x-hermes-attempts": "2"}
    assert run.out.comments == []
    assert world.inflight == 0


BAD_WHOLES: dict[str, Callable[[Flight], object]] = {
    "500": refuses(500),
    "402": refuses(402),
    "unreachable": fails(lambda: Unreachable("refused")),
    "error inside": lambda flight: flight.answer(200, {"error": {"message": "boom"}}),
    "no choices": lambda flight: flight.answer(200, {"choices": []}),
    "no content": answers(""),
    "null content": answers(None),
    "no finish": answers("half", finish=None),
    "finish error": answers("half", finish="error"),
    "html": lambda flight: flight.head(200, {"content-type": "text/html"}).data(b"<html>").end(),
    "half": lambda flight: flight.answer(200, b'{"choices":[{"mess'),
    "nothing": lambda flight: flight.answer(200, b""),
    "a stream": lambda flight: flight.stream(ROLE, say("x"), STOP, DONE),
    "cut": lambda flight: flight.head(200, JSON).data(b'{"cho').fail(Truncated("cut", status=200)),
    "redirect": lambda flight: flight.answer(302, b"", {"location": "http://elsewhere.invalid/"}),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_WHOLES.values(), ids=BAD_WHOLES)
async def test_a_whole_answer_that_is_none_is_a_failure(bad) -> None:
    """A 200 counts only if it holds an answer; anything else goes to the next target."""
    world = World("a/m", "b/m")
    world.transport.on("a", bad)
    world.transport.on("b", answers("from b"))
    run = await world.ask(stream=False)
    assert run.rendered.status == 200
    assert whole(run) == "from b"
    assert run.rendered.headers["x-hermes-attempts"] == "2"
    assert world.inflight == 0


async def test_an_answer_in_json_to_a_stream_request_is_made_a_stream() -> None:
    """Some hosts ignore `stream`: what they say is good, and reaches the caller as chunks."""
    world = World("a/m")
    world.transport.on("a", answers("all at once"))
    run = await world.ask(stream_options={"include_usage": True})
    assert run.out.good
    assert run.out.text == "all at once"
    assert run.out.events[-2]["usage"]["prompt_tokens"] == 11
    assert len(world.transport.flights) == 1


async def test_a_request_that_cannot_be_put_into_http_fails_over() -> None:
    """A row's broken address or header value costs its own target, not the caller's request."""
    world = World("a/m", "b/m")
    world.transport.refuse = ValueError("a header value is not Latin-1")
    run = await world.ask(stream=False)
    assert run.rendered.status == 503
    assert {a["class"] for a in run.said["error"]["attempts"]} == {"unreachable"}
    assert world.inflight == 0


async def test_a_secret_that_is_gone_costs_one_credential() -> None:
    """The vault has lost one of two keys: that one is paused, the other answers, and no quota is charged."""
    world = World(target("a/m", key="k1"), target("a/m", key="k2"))
    world.authorizer.gone = {"k1-a"}
    world.transport.on("a", answers())
    run = await world.ask(stream=False)
    assert run.rendered.status == 200
    assert world.status(0) == "paused"
    assert world.inflight == 0


# --- after the commit point -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [
    lambda flight: flight.fail(Truncated("cut")),
    lambda flight: flight.end(),
    lambda flight: flight.data(DONE).end(),
    lambda flight: flight.data(b"data: {oops\n\n"),
    lambda flight: flight.data(b'data: {"choices":[],"error":{"message":"boom"}}\n\n'),
    lambda flight: flight.data(chunk({}, "error")),
], ids=["cut", "end", "done without finish", "garbage", "error object", "finish error"])  # fmt: skip
async def test_pk1_a_failure_after_text_is_an_error_event(ending) -> None:
    """Where nobody may go on with it: a typed error, no finish, no [DONE], and no second attempt."""
    world = World("a/m", "b/m")
    run = world.start(response_format={"type": "json_object"})
    await turns()
    flight = world.transport.last.head().data(ROLE, say("half"))
    await turns()
    ending(flight)
    await run.over()
    assert run.out.text == "half"
    assert run.out.error["type"] == "server_error"
    assert "boom" not in run.out.raw.decode()
    assert run.out.finishes == []
    assert "[DONE]" not in run.out.events
    assert run.out.ended
    assert len(world.transport.flights) == 1
    assert world.log.fields("exchange.done")["outcome"] != "answered"
    assert world.engine.counters.failed == 1


async def test_reasoning_shown_and_then_a_failure_goes_on_without_showing_it_twice() -> None:
    """The next attempt's reasoning is dropped, its text follows; the comment says who answered in the end."""
    world = World("a/m", "b/m")
    run = world.start()
    await turns()
    first = world.transport.last.head().data(ROLE, muse("let me "), muse("see"))
    await turns()
    assert run.out.head["x-hermes-target"] == "a/m"
    first.fail(Truncated("cut"))
    await turns()
    world.transport.last.stream(ROLE, muse("I think again"), say("four"), STOP, DONE)
    await run.over()
    assert run.out.good
    assert run.out.reasoning == "let me see"
    assert run.out.text == "four"
    assert len({event["model"] for event in run.out.events[:-1]}) == 1
    assert run.out.comments == [": hermes target=b/m attempts=2"]


async def test_a_finish_reason_and_then_a_reset_is_a_good_end() -> None:
    """All was said: a connection that breaks behind the finish reason costs nothing."""
    world = World("a/m")
    run = world.start()
    await turns()
    flight = world.transport.last.head().data(ROLE, say("done"), STOP)
    await turns()
    flight.fail(Truncated("reset"))
    await run.over()
    assert run.out.good
    assert world.status(0) == "ready"
    assert world.engine.counters.answered == 1


async def test_done_ends_the_answer_though_the_body_goes_on() -> None:
    """[DONE] is the end for the caller; the connection lingers for its own end and is closed after 5 s."""
    world = World("a/m")
    run = world.start()
    await turns()
    flight = world.transport.last.head().data(ROLE, say("x"), STOP, DONE)
    await run.over()
    assert run.out.good
    assert not flight.aborted
    flight.data(b": trailing\n\n")
    await world.later(5.5)
    assert flight.aborted


async def test_a_connection_that_ends_by_itself_is_not_closed() -> None:
    """The end came within the time for it: the connection may serve again."""
    world = World("a/m")
    run = world.start()
    await turns()
    flight = world.transport.last.head().data(ROLE, say("x"), STOP, DONE)
    await run.over()
    flight.end()
    await world.later(6.0)
    assert not flight.aborted


async def test_visible_text_ends_at_the_callers_cap() -> None:
    """A reasoning model is asked for more than the caller allowed; text beyond the caller's cap is not shown."""
    world = World(target("a/m", reasoning=True))
    world.transport.on("a", streams("x" * 100))
    run = await world.ask(max_tokens=10)
    assert world.transport.last.body["max_tokens"] == 10 + 4_096
    assert run.out.text == "x" * 40
    assert run.out.finishes == ["length"]
    assert run.out.good


# --- the caller leaves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("when", ["dialling", "head", "content"])
async def test_ll14_bf4_a_caller_who_leaves_ends_the_upstream_and_nobody_is_blamed(stream, when) -> None:
    """The flight is aborted at once, nothing is retried, the quota claim is settled, and the target stays ready."""
    world = World("a/m", "b/m")
    run = world.start(stream=stream)
    await turns()
    flight = world.transport.last
    if when != "dialling":
        flight.head()
    if when == "content":
        flight.data(ROLE, say("half"))
        await turns()
    await run.leave()
    assert flight.aborted
    assert len(world.transport.flights) == 1
    assert world.inflight == 0
    assert world.engine.state.slot(world.facts[0].target).model_breaker.consecutive == 0
    assert world.status(0) == "ready"
    assert world.engine.counters.caller_left == 1
    await world.later(6.0)
    assert world.engine.sweeper.idle


# --- the ledger -----------------------------------------------------------------------------------------------

PATHS: dict[str, tuple[bool, Callable[[Flight], object]]] = {
    **{f"stream {name}": (True, turn) for name, turn in BAD_STREAMS.items()},
    **{f"whole {name}": (False, turn) for name, turn in BAD_WHOLES.items()},
    "stream good": (True, streams()),
    "whole good": (False, answers()),
    "stream 400": (True, refuses(400, {"message": "temperature must be below 2", "type": "invalid_request_error"})),
    "whole 400": (False, refuses(400, {"message": "temperature must be below 2", "type": "invalid_request_error"})),
    "network": (True, fails(lambda: NetworkDown("no route"))),
    "never": (True, lambda _flight: None),
    "half": (True, lambda flight: flight.head().data(ROLE, say("half"))),
    "half, then cut": (
        True,
        lambda f: (f.head().data(ROLE, say("half")), asyncio.get_running_loop().call_later(0, f.fail, Truncated("cut"))),
    ),
    "half whole": (False, lambda flight: flight.head(200, JSON).data(b"{")),
}  # fmt: skip


@pytest.mark.parametrize(("stream", "turn"), PATHS.values(), ids=PATHS)
async def test_every_reservation_is_settled_exactly_once(stream, turn) -> None:
    """Whatever becomes of an attempt, its claim is given back once: also where the caller leaves in the middle."""
    world = World("a/m", "b/m")
    made, settled = [], []
    state = world.engine.state
    reserve, settle = state.reserve, state.settle

    def reserving(*given):
        made.append(reserve(*given))
        return made[-1]

    def settling(reservation, now, **given):
        settled.append(reservation)
        settle(reservation, now, **given)

    state.reserve, state.settle = reserving, settling
    for name in ("a", "b"):
        world.transport.on(name, turn)
    run = world.start(stream=stream)
    for _ in range(60):
        await asyncio.sleep(0)
    await run.leave()
    assert made
    assert len(settled) == len(made)
    assert {id(r) for r in settled} == {id(r) for r in made}
    assert world.inflight == 0


async def test_windows_told_in_the_head_count_at_once() -> None:
    """A long stream's head says what is left now; at its end that would be stale, and overwrite what is newer."""
    world = World(target("a/m", ratelimit="groq"), "b/m")
    run = world.start()
    await turns()
    told = {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "4",
        "x-ratelimit-reset-requests": "8m",
    }
    world.transport.last.head(200, {"content-type": "text/event-stream", **told}).data(ROLE, say("x"))
    await turns()
    quota = world.engine.state.status(world.facts[0], world.clock.now()).quota
    assert [(q.limit, q.remaining, q.origin) for q in quota] == [(10, 4, "told")]
    await run.leave()


async def test_usage_is_the_upstreams_and_is_given_only_where_it_was_asked_for() -> None:
    """With include_usage one usage chunk before [DONE]; without it none, though we always ask for it upstream."""
    world = World("a/m")
    world.transport.on("a", streams())
    asked = await world.ask(stream_options={"include_usage": True})
    assert asked.out.events[-2]["usage"]["total_tokens"] == 13
    assert asked.out.events[-2]["choices"] == []
    silent = await world.ask()
    assert not any(isinstance(e, dict) and e.get("usage") for e in silent.out.events)
    assert all(f.body["stream_options"] == {"include_usage": True} for f in world.transport.flights)


# --- what the provider will not take --------------------------------------------------------------------------


async def test_a_refused_parameter_is_dropped_and_asked_again_once_at_the_same_model() -> None:
    """The provider names a field that may go: it goes, with a warning, and its absence is remembered."""
    world = World("a/m", "b/m")
    refused = {"message": "Unsupported parameter: 'logit_bias' is not supported with this model.",
               "type": "invalid_request_error", "param": "logit_bias", "code": "unsupported_parameter"}  # fmt: skip
    world.transport.on("a", refuses(400, refused), answers("a"))
    world.transport.on("b", answers("b"))
    run = await world.ask(stream=False, logit_bias={"1": 5})
    assert whole(run) == "a"
    assert [flight.provider for flight in world.transport.flights] == ["a", "a"]
    assert "logit_bias" not in world.transport.last.body
    assert run.rendered.headers["x-hermes-warnings"] == "dropped:logit_bias"
    assert run.rendered.headers["x-hermes-attempts"] == "2"
    await world.ask(stream=False, logit_bias={"1": 5})  # b's turn
    again = await world.ask(stream=False, logit_bias={"1": 5})
    assert again.rendered.headers["x-hermes-attempts"] == "1"
    assert "logit_bias" not in world.transport.last.body


async def test_a_dropped_parameter_does_not_make_an_outage_the_callers_fault() -> None:
    """The field is gone, then everything is down: that is a 503, not a 400 about a field that was put right."""
    world = World("a/m", "b/m")
    refused = {"message": "Unsupported parameter: 'logit_bias'", "param": "logit_bias", "code": "unsupported_parameter"}
    world.transport.on("a", refuses(400, refused), refuses(500))
    world.transport.on("b", refuses(500))
    run = await world.ask(stream=False, logit_bias={"1": 5})
    assert run.rendered.status == 503


async def test_a_dropped_parameter_leaves_the_conversation_where_it_is() -> None:
    """Asking the same target again is no pin of the caller's: affinity holds for the next turn."""
    world = World("a/m", "b/m")
    refused = {"message": "Unsupported parameter: 'logit_bias'", "param": "logit_bias", "code": "unsupported_parameter"}
    world.transport.on("a", refuses(400, refused), answers("a"))
    world.transport.on("b", answers("b"))
    talk = [
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "a1"},
        {"role": "user", "content": "q2"},
    ]
    first = await world.ask(stream=False, messages=talk, logit_bias={"1": 5})
    assert whole(first) == "a"
    for _ in range(3):
        assert whole(await world.ask(stream=False, messages=talk)) == "a"


@pytest.mark.parametrize("stream", [True, False])
async def test_w7_an_invalid_request_is_passed_back_after_one_call(stream) -> None:
    """The body went out as it came, so the provider's word on it is the answer; nobody is blamed."""
    world = World("a/m", "b/m")
    for name in "ab":
        world.transport.on(
            name, refuses(400, {"message": "temperature must be between 0 and 2", "param": "temperature"})
        )
    run = await world.ask(stream=stream, temperature=99)
    assert run.rendered.status == 400
    assert run.said["error"]["type"] == "invalid_request_error"
    assert "temperature" in run.said["error"]["message"]
    assert run.rendered.headers["x-should-retry"] == "false"
    assert len(world.transport.flights) == 1
    assert world.status(0) == "ready"


async def test_an_altered_request_that_is_invalid_is_shown_to_one_other_provider() -> None:
    """We had changed it, so the fault may be ours: one target of another provider is asked, no third."""
    world = World(*(target(f"{name}/m", allow=ALLOWED) for name in "abc"))
    for name in "abc":
        world.transport.on(
            name, refuses(400, {"message": "temperature must be between 0 and 2", "param": "temperature"})
        )
    run = await world.ask(stream=False, temperature=99, seed=7)
    assert run.rendered.status == 400
    assert [flight.provider for flight in world.transport.flights] == ["a", "b"]


async def test_an_altered_request_that_one_provider_refuses_may_please_the_other() -> None:
    """The second provider takes it: the caller has an answer and never hears of the refusal."""
    world = World(target("a/m", allow=ALLOWED), "b/m")
    world.transport.on("a", refuses(400, {"message": "I do not like it", "type": "invalid_request_error"}))
    world.transport.on("b", answers("from b"))
    run = await world.ask(stream=False, seed=7)
    assert whole(run) == "from b"
    assert run.rendered.headers["x-hermes-target"] == "b/m"


async def test_ha6_too_long_for_all_after_the_fact_is_the_callers_to_shorten() -> None:
    """Every target says that it is too long: 400 context_length_exceeded in the one text that agents know."""
    world = World(target("a/m", context=None), target("b/m", context=None))
    text = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."
    for name in "ab":
        world.transport.on(name, refuses(400, {"message": text, "code": "context_length_exceeded"}))
    run = await world.ask("word " * 8_000, stream=False)
    assert run.rendered.status == 400
    assert run.said["error"]["code"] == "context_length_exceeded"
    assert run.said["error"]["message"].startswith("This model's maximum context length is ")
    assert world.engine.state.learned.context("a", "m") == 8_192


@pytest.mark.parametrize("words", [45_600, 90_000])
async def test_a_pin_is_told_the_window_that_the_list_shows(words: int) -> None:
    """Agents store the number: 64,000 in the list must not be 62,976 in the refusal, for every length that is refused."""
    world = World(target("a/m", context=64_000), "b/m")
    listed = {row.id: row.context_length for row in model_rows(world.engine)}["a/m"]
    run = await world.ask("word " * words, stream=False, pin=Pin("a", "m"))
    assert run.rendered.status == 400
    told = re.findall(r"\d+", run.said["error"]["message"])
    assert int(told[0]) == listed == 64_000
    assert int(told[1]) > 64_000
    assert world.transport.flights == []


async def test_a_window_learned_is_that_of_the_model_that_said_so() -> None:
    """The next target's credential is gone, so nothing is sent to it: it learns nothing of the first one's window."""
    world = World(target("a/m", context=None), "b/m")
    text = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens."
    world.transport.on("a", refuses(400, {"message": text, "code": "context_length_exceeded"}))
    world.authorizer.gone = {"k1-b"}
    await world.ask("word " * 8_000, stream=False)
    assert world.engine.state.learned.context("a", "m") == 8_192
    assert world.engine.state.learned.context("b", "m") is None


# --- odds and ends --------------------------------------------------------------------------------------------


async def test_kimi_hears_who_calls_unless_it_cannot_be_written() -> None:
    """The caller's agent is passed on; one that no header can carry is not, and the request goes out all the same."""
    world = World(target("a/m", quirks=frozenset({Quirk.CALLER_AGENT})))
    world.transport.on("a", answers())
    await world.ask(stream=False, agent="opencode/1.0")
    await world.ask(stream=False, agent="агент/1.0")
    assert world.authorizer.agents == ["opencode/1.0", ""]


async def test_the_log_line_of_an_exchange_lists_its_attempts_and_no_text() -> None:
    """One `exchange.done` with every attempt; nothing of prompt or answer."""
    world = World("a/m", "b/m")
    world.transport.on("a", refuses(500))
    world.transport.on("b", streams("the answer"))
    await world.ask("the question")
    line = world.log.fields("exchange.done")
    assert line["attempts"] == "a/m#k1-a:broken b/m#k1-b:ok"
    assert line["outcome"] == "answered"
    assert (line["input_tokens"], line["output_tokens"]) == (11, 2)
    assert "the question" not in str(world.log.lines)
    assert "the answer" not in str(world.log.lines)


async def test_tool_calls_reach_the_caller_whole() -> None:
    """Calls commit the stream, are numbered from 0, and end with `tool_calls`, whatever the upstream calls its end."""
    world = World("a/m")
    world.transport.on("a", lambda flight: flight.stream(ROLE, CALL, chunk({}, "stop"), USAGE, DONE))
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    run = await world.ask(tools=[tool])
    assert run.out.good
    assert run.out.finishes == ["tool_calls"]
    calls = [call for delta in run.out.deltas for call in delta.get("tool_calls", ())]
    assert calls[0]["index"] == 0
    assert calls[0]["function"]["name"] == "f"
    assert "".join(call["function"]["arguments"] for call in calls) == "{}"
