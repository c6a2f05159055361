"""The verdict over several seeds: a bar holds where it holds everywhere."""

from .seeds import SEEDS, lines, tasks, verdict
from .truth import READINGS
from .week import POLICIES, Score


def score(seed: int, *, lost: int = 0, later: float = 0.5) -> Score:
    """A score that holds every bar but these."""
    return Score(POLICIES[0], seed, "rolling", lost=lost, later_days=later, spent=1.0)


def test_one_seed_that_misses_a_bar_decides() -> None:
    """The verdict names the worst value and where it was seen; the other bars hold."""
    found = verdict([score(1, later=0.7), score(2, lost=3), score(3, lost=1)])
    missed = [bar for bar in found if not bar.holds]
    assert [bar.value for bar in missed] == ["3 (seed 2, rolling; missed in 2 of 3)"]
    assert next(bar for bar in found if "later" in bar.name).value == "0.70 (seed 1, rolling)"


def test_every_seed_is_run_in_every_reading_and_the_others_once() -> None:
    """Five seeds of ours in both readings, and each comparison policy with the first."""
    found = tasks(SEEDS, days=7.0, minutes=5.0)
    ours = {(seed, reading) for name, seed, reading, _, _ in found if name == POLICIES[0]}
    assert ours == {(seed, reading) for seed in SEEDS for reading in READINGS}
    assert [task[0] for task in found if task[0] != POLICIES[0]] == list(POLICIES[1:])


def test_each_seed_has_a_line_of_its_own() -> None:
    """A header, then one line a score, its seed and reading first."""
    assert [line.split()[0] for line in lines([score(1), score(2)])] == ["seed", "1", "2"]
