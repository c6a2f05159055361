"""hermes_router/daemon/status_line.py: the line of `systemctl status`."""

import re

from hermes_router.daemon.status_line import Standing, describe, local_time

NOW = 1_000_000.0


def _said(*rows: tuple[str, str, str | None, float | None]) -> str:
    return describe([Standing(*row) for row in rows], NOW, lambda at, day: f"{'day ' if day else ''}+{at - NOW:g}")


def test_all_well_is_a_count() -> None:
    """What the owner turned off is not counted."""
    assert _said(("groq", "ready", None, None), ("local", "disabled", "off", None)) == "1 of 1 target ready"
    assert _said() == "no targets: add a key with `hr auth add groq`"


def test_what_is_out_is_named_with_its_reason_and_its_return() -> None:
    """By provider: how many of its targets where not all are out, the first to come back, a day where it is far."""
    assert _said(
        ("groq", "cooling", "limited (told)", NOW + 60),
        ("groq", "cooling", "limited (told)", NOW + 30),
        ("groq", "ready", None, None),
        ("gemini", "paused", "rejected_key", NOW + 600),
        ("mistral", "cooling", "limited_day (learned)", NOW + 90_000),
        ("cerebras", "open", "broken (half-open)", NOW),
    ) == (
        "1 of 6 targets ready; groq limited (2 of 3) until +30, gemini: key rejected, "
        "mistral day quota used up until day +90000, cerebras failing"
    )


def test_a_long_list_is_cut() -> None:
    """A line has its limits."""
    line = _said(*((f"p{number}", "cooling", "overloaded (told)", NOW + 9) for number in range(6)))
    assert line.endswith("p3 overloaded until +9 and 2 more")


def test_the_local_time() -> None:
    """Hours and minutes; with the day, where it is another."""
    assert re.fullmatch(r"\d\d:\d\d", local_time(NOW, False))
    assert re.fullmatch(r"\d\d \w+ \d\d:\d\d", local_time(NOW, True))
