"""Learned facts of models."""

from hermes_router.core.catalog import Capability, Claim, Known, ModelSpec
from hermes_router.core.ids import ModelId
from hermes_router.routing.learned import CAPABILITY_S, Learned, Learnt


def spec(value: Known, source: str = "declared") -> ModelSpec:
    """A model of which this is known about tools."""
    return ModelSpec(ModelId("m"), capabilities={Capability.TOOLS: Claim(value, source)})  # type: ignore[arg-type]


def test_what_is_learned_stands_above_the_row_for_a_week() -> None:
    """A live answer overrides what the row declares, and is forgotten after seven days."""
    memory = Learned().of("p", "m")
    memory.capabilities[Capability.TOOLS] = Learnt(Known.NO, 1.0)
    assert memory.capability(Capability.TOOLS, spec(Known.YES), 10.0) is Known.NO
    assert memory.claim(Capability.TOOLS, spec(Known.YES), 10.0).source == "seen"
    assert memory.capability(Capability.TOOLS, spec(Known.YES), CAPABILITY_S + 1) is Known.YES
    assert memory.claim(Capability.TOOLS, spec(Known.YES), CAPABILITY_S + 1).source == "declared"


def test_what_was_learned_says_how() -> None:
    """A probe's result is marked as one, also where the row says the same."""
    memory = Learned().of("p", "m")
    memory.capabilities[Capability.TOOLS] = Learnt(Known.YES, 1.0, "probed")
    assert memory.claim(Capability.TOOLS, spec(Known.YES), 2.0) == Claim(Known.YES, "probed")
    assert memory.claim(Capability.TOOLS, spec(Known.NO, "override"), 2.0) == Claim(Known.NO, "override")


def test_a_learned_window_is_forgotten_after_a_week() -> None:
    """Providers widen windows as they narrow them: the row's counts again."""
    learned = Learned()
    memory = learned.of("p", "m")
    memory.context, memory.context_at = 9_000, 1.0
    assert learned.stale(CAPABILITY_S) == []
    assert learned.stale(CAPABILITY_S + 1) == [("p", "m")]
    assert learned.context("p", "m") is None


def test_the_owners_override_stands_above_all() -> None:
    """SUPPORTS_TOOLS is not unlearned."""
    memory = Learned().of("p", "m")
    memory.capabilities[Capability.TOOLS] = Learnt(Known.NO, 1.0)
    assert memory.capability(Capability.TOOLS, spec(Known.YES, "override"), 2.0) is Known.YES


def test_the_token_factor_approaches_what_is_reported() -> None:
    """A model that counts half as much again is sized so after some answers, within bounds."""
    learned = Learned()
    for _ in range(30):
        learned.calibrate("p", "m", 1_000, 1_500)
    assert 1.45 < learned.of("p", "m").factor < 1.5
    for _ in range(60):
        learned.calibrate("p", "m", 30_000, 2_700_000)
    assert 2.9 < learned.of("p", "m").factor <= 3.0
    assert learned.largest_factor() == learned.of("p", "m").factor


def test_requests_weigh_by_their_size() -> None:
    """Many small odd prompts do not shift what one large one has shown: it is the large ones that have to fit."""
    learned = Learned()
    learned.calibrate("p", "m", 100_000, 120_000)
    for _ in range(20):
        learned.calibrate("p", "m", 250, 500)
    assert 1.15 < learned.of("p", "m").factor < 1.25


def test_small_prompts_and_missing_counts_teach_nothing() -> None:
    """A prompt of a few words is mostly frame; a report of 0 is none."""
    learned = Learned()
    assert not learned.calibrate("p", "m", 20, 90)
    assert not learned.calibrate("p", "m", 1_000, 0)
    assert learned.largest_factor() == 1.0


def test_fl3_repeated_truncation_lowers_large_requests_only() -> None:
    """The second cut marks the size from which on the model ranks lower; an hour later it starts anew."""
    memory = Learned().of("p", "m")
    assert not memory.truncated(5_000, 0.0)
    assert memory.truncated(4_000, 1.0)
    assert memory.cut_tokens == 4_000
    assert not memory.truncated(9_000, 4_000.0)
    assert memory.cut_tokens == 9_000


def test_an_unknown_model_has_no_window() -> None:
    """Asking makes no memory."""
    learned = Learned()
    assert learned.context("p", "m") is None
    assert not learned.models


def test_what_is_learned_before_the_time_is_known_ages_from_its_first_use() -> None:
    """A start-up probe comes before any request: its finding is not a week old by accident."""
    memory = Learned().of("p", "m")
    memory.capabilities[Capability.TOOLS] = Learnt(Known.NO, 0.0)
    assert memory.capability(Capability.TOOLS, spec(Known.YES), 1e9) is Known.NO
    assert memory.capability(Capability.TOOLS, spec(Known.YES), 1e9 + CAPABILITY_S) is Known.YES
