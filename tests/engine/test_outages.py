"""hermes_router/engine/outages.py: a failing target is said once, and once when it serves again."""

from hermes_router.core.errors import Invalid, RateLimited, ServerFailed
from hermes_router.engine.outages import Outages
from hermes_router.engine.settlement import Spoken

from ..fakes import World, answers
from .test_settlement import Under


def test_a_failure_is_news_once_and_again_of_another_kind() -> None:
    """Until it has served; then what it was is told."""
    outages = Outages()
    assert not outages
    assert outages.failed("a/m#1", "limited", 10.0)
    assert not outages.failed("a/m#1", "limited", 20.0)
    assert outages.failed("b/m#1", "limited", 25.0)
    assert outages.failed("a/m#1", "broken", 30.0)
    over = outages.over("a/m#1")
    assert over == ("broken", 10.0, 3)
    assert outages.over("a/m#1") is None
    assert outages.failed("a/m#1", "broken", 40.0)


def test_what_is_remembered_is_bounded() -> None:
    """Targets come and go with the configuration."""
    outages = Outages()
    for number in range(5_000):
        outages.failed(f"a/{number}", "limited", 1.0)
    assert len(outages._known) <= 1_024
    assert not outages.failed("a/4999", "limited", 2.0)


class Levels:
    """A log that keeps the level of each line."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(("warning", event, fields))


async def test_only_the_news_of_a_failing_target_is_a_warning() -> None:
    """Each failed attempt stands in the log, with how the target stands now; what a request did wrong warns nobody."""
    made = Under()
    log = made.world.engine.log = Levels()
    facts = made.candidate.facts
    made.settlement.failed(facts, RateLimited("slow", status=429), None, Spoken())
    made.settlement.failed(facts, RateLimited("slow", status=429), None, Spoken())
    made.settlement.failed(facts, ServerFailed("oh", status=500), None, Spoken())
    made.settlement.failed(facts, Invalid("no", status=400), None, Spoken())
    assert [(level, fields["class"], fields["status"]) for level, _, fields in log.lines] == [
        ("warning", "limited", 429), ("info", "limited", 429), ("warning", "broken", 500), ("info", "refused", 400),
    ]  # fmt: skip
    first = log.lines[0][2]
    assert (first["request_id"], first["target"], first["state"], first["said"]) == (
        "req_1",
        "a/m#k1-a",
        "cooling",
        "slow",
    )
    assert isinstance(first["rests_s"], float)


async def test_a_target_that_serves_again_is_said_so_once() -> None:
    """With how long it was away; the exchange itself is as ordinary as before."""
    world = World("a/m")
    log = world.engine.log = Levels()
    world.engine.outages.failed("a/m#k1-a", "broken", world.engine.clock.now() - 90.0)
    world.transport.on("a", answers())
    await world.ask(stream=False)
    await world.ask(stream=False)
    assert [(level, event) for level, event, _ in log.lines] == [
        ("info", "target.back"), ("info", "exchange.done"), ("info", "exchange.done"),
    ]  # fmt: skip
    assert (log.lines[0][2]["after_s"], log.lines[0][2]["failures"]) == (90.0, 1)


async def test_an_exchange_without_an_answer_is_a_warning_with_the_next_chance() -> None:
    """`-p warning` shows what callers suffered, and when that may end."""
    world = World("a/m")
    log = world.engine.log = Levels()
    facts = world.facts[0]
    world.engine.state.failed(facts.target, RateLimited("x", status=429, retry_at=world.engine.clock.now() + 500, told=True), world.engine.clock.now(), demand=world.question().demand)  # fmt: skip
    await world.ask(stream=False)
    level, event, fields = log.lines[-1]
    assert (level, event, fields["outcome"]) == ("warning", "exchange.done", "NoTarget")
    assert fields["again_in_s"] == 500
