"""In which dialect a target is asked, and with what: the caller's own fields, or neutral content read once."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import Known, Quirk, TargetFacts
from hermes_router.core.content import Seal
from hermes_router.core.errors import Inexpressible
from hermes_router.core.ids import RouterKeyId
from hermes_router.engine.admission import Caller
from hermes_router.engine.asking import Asking
from hermes_router.engine.exchange import Exchange
from hermes_router.engine.question import make_question
from hermes_router.routing.demand import assess
from hermes_router.wire.chat.outgoing import NO_RECALL, Options
from hermes_router.wire.chat.request import parse_request as chat_request
from hermes_router.wire.messages.request import parse_request as messages_request
from hermes_router.wire.seals import wrap

from ..fakes import World, answers, target

CALLER = Caller(RouterKeyId("k"))
CHAT = {"model": "hermes-router", "messages": [{"role": "user", "content": "hi"}], "top_p": 0.5}
URL = "http://claude.invalid/v1"
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "up", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "hello"}], "usage": {"input_tokens": 5, "output_tokens": 2},
}  # fmt: skip


def speaks(name: str, *dialects: str) -> TargetFacts:
    """A target that may be asked in these dialects, the first its own."""
    facts = target(name, rejection="anthropic")
    return replace(facts, dialect=dialects[0], base_url=URL, endpoints=dict.fromkeys(dialects, URL))


def inbound(**more: Any) -> Any:
    return chat_request(json.dumps({**CHAT, **more}).encode(), {})


def asking_of(parsed: Any, caller: str = "k", secret: bytes = b"s" * 32) -> Asking:
    return Asking(parsed, assess(parsed.request, caller=caller), secret)


def test_the_same_dialect_passes_the_callers_fields_on() -> None:
    """And another is composed."""
    asking = asking_of(inbound())
    options = Options(stream=False)
    own = asking.of(speaks("a/m", "openai_chat", "anthropic_messages"), options, NO_RECALL)
    other = asking.of(speaks("b/m", "anthropic_messages"), options, NO_RECALL)
    assert (own.dialect, own.url, own.translated) == ("openai_chat", f"{URL}/chat/completions", False)
    assert (other.dialect, other.url, other.translated) == ("anthropic_messages", f"{URL}/messages", True)
    assert json.loads(own.rendered.body)["top_p"] == json.loads(other.rendered.body)["top_p"] == 0.5
    assert "max_tokens" in json.loads(other.rendered.body)


def test_what_a_target_cannot_be_told_is_no_fault_of_the_callers() -> None:
    """Two choices at once are Chat's alone: another target may know them."""
    with pytest.raises(Inexpressible):
        asking_of(inbound(n=2)).of(speaks("b/m", "anthropic_messages"), Options(stream=False), NO_RECALL)


async def test_what_we_cannot_read_is_passed_to_who_may() -> None:
    """A tool of a shape that is no function's: a target of the caller's own dialect gets it as it is."""
    body = {"model": "hermes-router", "messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "grammar"}]}
    world = World(speaks("a/m", "anthropic_messages"), "b/m")
    world.transport.on("b", answers("done"))
    parsed = chat_request(json.dumps(body).encode(), {})
    rendered = await Exchange(world.engine, make_question(world.engine, parsed, CALLER, {}, "req_1"), None).run()
    assert rendered is not None
    assert (rendered.status, rendered.headers["x-hermes-target"]) == (200, "b/m")
    world = World(speaks("a/m", "anthropic_messages"))
    rendered = await Exchange(world.engine, make_question(world.engine, parsed, CALLER, {}, "req_1"), None).run()
    assert rendered is not None
    assert (rendered.status, json.loads(rendered.body)["error"]["param"]) == (400, "tools[0].function")
    assert world.transport.flights == []


BROKER = replace(speaks("broker/m", "openai_chat"), quirks=frozenset({Quirk.SESSION_ID}))
SECOND = [CHAT["messages"][0], {"role": "assistant", "content": "hello"}, {"role": "user", "content": "go"}]


def session_of(
    parsed: Any,
    *,
    caller: str = "0123456789ab",
    secret: bytes = b"s" * 32,
    broker: TargetFacts = BROKER,
    going_on: bool = False,
) -> str | None:
    """The word for the conversation that goes to a broker, in its body or beside it."""
    asking, options = asking_of(parsed, caller, secret), Options(stream=False)
    if going_on:
        asked, _ = asking.going_on(broker, options, NO_RECALL, "so far", prefill=Known.NO, ended=False)
    else:
        asked = asking.of(broker, options, NO_RECALL)
    sent = json.loads(asked.rendered.body)
    found: str | None = sent.get("session_id") or dict(asked.rendered.headers).get("x-session-id")
    return found


def test_or1_a_conversation_keeps_one_word_and_shares_it_with_no_other() -> None:
    """From the second turn on, or by an id of the caller's; other conversations and other callers have others (OR-1)."""
    third = [*SECOND, {"role": "assistant", "content": "gone"}, {"role": "user", "content": "and?"}]
    other = [{"role": "user", "content": "ho"}, *SECOND[1:]]
    first = session_of(inbound(messages=SECOND))
    assert first is not None
    assert session_of(inbound(messages=third)) == session_of(inbound(messages=SECOND), going_on=True) == first
    assert session_of(inbound()) is None
    named = [session_of(chat_request(json.dumps(CHAT).encode(), {"x-session-id": name})) for name in ("a", "a", "b")]
    assert None not in named
    assert named[0] == named[1]
    words = [
        first, named[0], named[2], session_of(inbound(messages=other)),
        session_of(inbound(messages=SECOND), caller="ba9876543210"),
        session_of(inbound(messages=SECOND), secret=b"t" * 32),
    ]  # fmt: skip
    assert len(set(words)) == len(words)
    assert session_of(inbound(messages=SECOND), broker=speaks("a/m", "openai_chat")) is None


def test_or1_the_word_goes_beside_a_body_that_has_no_field_for_it() -> None:
    """In Messages it is a header, and the same for callers of both dialects' ids."""
    broker = replace(BROKER, dialect="anthropic_messages", endpoints={"anthropic_messages": URL})
    body = json.dumps({**CHAT, "max_tokens": 9, "messages": SECOND}).encode()
    passed = session_of(messages_request(body, {}), broker=broker)
    composed = session_of(inbound(messages=SECOND), broker=broker)
    assert passed is not None
    assert composed is not None


async def ask(world: World, body: dict[str, Any]) -> Any:
    parsed = messages_request(json.dumps(body).encode(), {})
    question = make_question(world.engine, parsed, CALLER, {}, "req_1")
    rendered = await Exchange(world.engine, question, None).run()
    assert rendered is not None
    return rendered


def thoughtful(signature: str) -> dict[str, Any]:
    """A second turn that brings a thought back."""
    thought = {"type": "thinking", "thinking": "hm", "signature": signature}
    said = [thought, {"type": "text", "text": "hello"}]
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "go"},
    ]
    return {"model": "m", "max_tokens": 100, "messages": turns}


async def test_a_refused_signature_is_left_out_and_asked_once_more() -> None:
    """The same target, without thoughts; of the model nothing is learned (providers.md 12.9)."""
    world = World(speaks("claude/m", "anthropic_messages"))
    message = "messages.1.content.0: Invalid `signature` in `thinking` block"
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    world.transport.on("claude", lambda flight: flight.answer(400, body), lambda flight: flight.answer(200, MESSAGE))
    answer = await ask(world, thoughtful("bare"))
    assert (answer.status, json.loads(answer.body)["content"][0]["text"]) == (200, "hello")
    first, second = (json.loads(flight.request.body) for flight in world.transport.flights)
    assert first["messages"][1]["content"][0]["type"] == "thinking"
    assert [part["type"] for part in second["messages"][1]["content"]] == ["text"]
    assert world.engine.state.refused_params("claude", "m") == frozenset()
    assert answer.headers["x-hermes-attempts"] == "2"


@pytest.mark.parametrize(
    ("seal", "goes"),
    [
        (Seal("anthropic_messages", "signature", "s", "claude/m"), True),
        (Seal("anthropic_messages", "signature", "s", "kimi/k3"), False),
        (Seal("", "none", "", "groq/gpt-oss"), False),
    ],
)
async def test_a_thought_goes_back_to_its_maker_alone(seal: Seal, *, goes: bool) -> None:
    """By the mark that it carries, also after a restart; another's is dropped without an attempt."""
    world = World(speaks("claude/m", "anthropic_messages"))
    world.transport.on("claude", lambda flight: flight.answer(200, MESSAGE))
    await ask(world, thoughtful(wrap(seal, origin=seal.origin)))
    [flight] = world.transport.flights
    parts = json.loads(flight.request.body)["messages"][1]["content"]
    assert [part["type"] for part in parts] == (["thinking", "text"] if goes else ["text"])
    if goes:
        assert parts[0]["signature"] == "s"
