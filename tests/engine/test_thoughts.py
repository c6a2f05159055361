"""A refused signature costs one call, once: it is said with each turn, and left out of the next one before it is sent."""

import json
from typing import Any

from hermes_router.core.content import Seal
from hermes_router.core.errors import ForeignThought, UpstreamError
from hermes_router.core.ids import RouterKeyId
from hermes_router.engine.admission import Caller
from hermes_router.engine.exchange import Exchange
from hermes_router.engine.memory import Memory
from hermes_router.engine.question import make_question
from hermes_router.engine.thoughts import Thoughts
from hermes_router.wire.messages.request import parse_request as messages_request
from hermes_router.wire.seals import wrap

from ..fakes import Clock, World, target
from .test_asking import MESSAGE, speaks

CALLER = Caller(RouterKeyId("k"))
REFUSAL = {"type": "error", "error": {"type": "invalid_request_error",
    "message": "messages.1.content.0: Invalid `signature` in `thinking` block"}}  # fmt: skip
BODY = json.dumps({"messages": [{"role": "assistant", "content": [{"type": "thinking", "signature": "s"}]}]}).encode()


async def ask(world: World, *signatures: str) -> Any:
    """A second turn whose first answer brings thoughts with these signatures back."""
    thoughts = [{"type": "thinking", "thinking": "hm", "signature": signature} for signature in signatures]
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [*thoughts, {"type": "text", "text": "hello"}]},
        {"role": "user", "content": "go"},
    ]
    body = {"model": "m", "max_tokens": 100, "messages": turns}
    question = make_question(world.engine, messages_request(json.dumps(body).encode(), {}), CALLER, {}, "req_1")
    rendered = await Exchange(world.engine, question, None).run()
    assert rendered is not None
    return rendered


def sent(world: World) -> list[list[str]]:
    """The signatures in each request that went out."""
    bodies = [json.loads(flight.request.body) for flight in world.transport.flights]
    return [[part["signature"] for part in body["messages"][1]["content"] if "signature" in part] for body in bodies]


async def test_cp6_the_next_turn_leaves_it_out_and_says_so() -> None:
    """Two calls in the first turn, one in each later one; never without a word, in the header and in the log (CP-6)."""
    world = World(speaks("claude/m", "anthropic_messages"))
    world.transport.on(
        "claude", lambda flight: flight.answer(400, REFUSAL), *[lambda flight: flight.answer(200, MESSAGE)] * 3
    )
    first, second, other = await ask(world, "alien"), await ask(world, "alien"), await ask(world, "known")
    assert sent(world) == [["alien"], [], [], ["known"]]
    assert [answer.headers["x-hermes-attempts"] for answer in (first, second, other)] == ["2", "1", "1"]
    told = [answer.headers.get("x-hermes-warnings") for answer in (first, second, other)]
    assert told == ["dropped:thinking", "dropped:thinking", None]
    logged = [fields.get("warnings") for event, fields in world.log.lines if event == "exchange.done"]
    assert logged == told


async def test_cp6_exactly_the_refused_ones_are_left_out() -> None:
    """The others of the history go on to be sent, also where a mark of ours names this target as the maker."""
    world = World(speaks("claude/m", "anthropic_messages"))
    world.transport.on(
        "claude", lambda flight: flight.answer(400, REFUSAL), *[lambda flight: flight.answer(200, MESSAGE)] * 2
    )
    mine = wrap(Seal("anthropic_messages", "signature", "altered"), origin="claude/m")
    await ask(world, "alien", mine)
    await ask(world, "alien", mine, "new")
    assert sent(world) == [["alien", "altered"], [], ["new"]]


def thoughts() -> tuple[Thoughts, Memory]:
    memory = Memory(Clock())
    return Thoughts(memory), memory


def test_nothing_is_remembered_before_the_same_target_has_answered_without_them() -> None:
    """A refusal that stays without thoughts was not about them; another target's answer proves nothing."""
    refusal, claude = ForeignThought("no", param="thoughts"), speaks("claude/m", "anthropic_messages")
    for error, answered, remembered in (
        (refusal, claude, True),
        (refusal, target("b/m"), False),
        (refusal, None, False),
        (UpstreamError("no"), claude, False),
    ):
        made, memory = thoughts()
        made.refused(claude, error, BODY)
        assert not memory.has_refused("claude", "m", "s")
        if answered is not None:
            made.answered(answered)
        assert memory.has_refused("claude", "m", "s") is remembered
