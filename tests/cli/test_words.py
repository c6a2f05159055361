"""hermes_router/cli/words.py: numbers as people say them, and text that cannot steer a terminal."""

import time

import pytest

from hermes_router.cli import words

NOW = time.mktime((2026, 11, 21, 14, 28, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (0.4, "0 s"), (40, "40 s"), (240, "4 min"), (3600, "60 min"), (7800, "2 h 10 min"), (7200, "2 h"),
     (90_000, "1 d 1 h"), (86400 * 3 - 1, "3 d"), (86400 * 40, "40 d")],
)  # fmt: skip
def test_spans_take_two_units_at_most(seconds: float, said: str) -> None:
    """A length of time is said in units that fit it, rounded once."""
    assert words.span(seconds) == said


@pytest.mark.parametrize(("seconds", "said"), [(0.0, "0 ms"), (0.32, "320 ms"), (1.44, "1.4 s"), (99.99, "2 min")])
def test_lapses_are_finer(seconds: float, said: str) -> None:
    """How long something took is said to the tenth of a second."""
    assert words.lapse(seconds) == said


def test_a_moment_is_said_both_ways() -> None:
    """Relative and absolute; the absolute part grows with the distance; unknown is empty."""
    assert words.when(NOW + 240, NOW) == "in 4 min (14:32)"
    assert words.when(NOW - 120, NOW) == "2 min ago (14:26)"
    assert words.when(NOW + 0.4, NOW) == "now"
    assert words.when(NOW + 86400, NOW) == "in 24 h (Sun 14:28)".replace("24 h", "1 d")
    assert words.when(NOW + 12 * 86400, NOW) == "in 12 d (3 Dec)"
    assert words.when(NOW + 60 * 86400, NOW) == "in 60 d (20 Jan 2027)"
    assert words.when(None, NOW) == ""
    assert words.day(NOW) == "2026-11-21"


@pytest.mark.parametrize(
    ("microusd", "said"),
    [(0, "$0"), (40, "<$0.0001"), (4200, "$0.0042"), (10_000, "$0.01"), (90_000, "$0.09"), (1_230_000, "$1.23"),
     (1_234_500_000, "$1,234")],
)  # fmt: skip
def test_money_keeps_its_small_sums(microusd: int, said: str) -> None:
    """A tenth of a cent is seen, a thousand dollars need no cents."""
    assert words.money(microusd) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0"), (950, "950"), (1000, "1k"), (12_345, "12.3k"), (999_600, "1M"), (1_254_000, "1.25M"), (131072, "131k"),
     (2_500_000_000, "2.5G")],
)  # fmt: skip
def test_large_numbers_have_three_digits(number: int, said: str) -> None:
    """Tokens are said in three digits and a letter."""
    assert words.count(number) == said


def test_some_and_listing() -> None:
    """Plurals, thousands and long lists."""
    assert words.some(1, "key") == "1 key"
    assert words.some(1204, "key") == "1,204 keys"
    assert words.some(2, "key is", "keys are") == "2 keys are"
    assert words.listing([]) == ""
    assert words.listing(["a"]) == "a"
    assert words.listing(["a", "b", "c"]) == "a, b and c"
    assert words.listing(list("abcdefgh"), 4) == "a, b, c and 5 more"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\nb\tc", "a b c"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("a\x07b", "a?b"),
        ("\x9b31m", "?31m"),
        ("a\u202eb\u2028c", "ab c"),
        ("\ud800", "?"),
        ("漢字 é", "漢字 é"),
    ],
)
def test_foreign_text_cannot_steer_the_terminal(text: str, shown: str) -> None:
    """Sequences, controls and direction marks of what a provider said go; letters stay."""
    assert words.clean(text) == shown


@pytest.mark.parametrize(
    ("text", "said"),
    [("no daemon is running", "No daemon is running."), ("did you mean groq?", "Did you mean groq?"), ("", ""),
     ("`hr start` starts it", "`hr start` starts it."), ("hr is old", "hr is old."), ("PORT is taken.", "PORT is taken."),
     ("/x is no socket", "/x is no socket.")],
)  # fmt: skip
def test_a_message_becomes_a_sentence(text: str, said: str) -> None:
    """A capital and a stop, but names and code stay as they are."""
    assert words.sentence(text) == said
