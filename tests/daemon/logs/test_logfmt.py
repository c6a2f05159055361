"""One line an event: readable, one line whatever is in it, and without a secret also where it was rendered before."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.daemon.logs.logfmt import Logfmt


def line(event: dict[str, Any], *, hide: str = "\0") -> str:
    return Logfmt(("level", "event"), lambda text: text.replace(hide, "***"))(None, "info", event)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"), ("groq/a#91ff:ok", "groq/a#91ff:ok"), ("two words", '"two words"'), ("", '""'),
        ('say "hi"', '"say \\"hi\\""'), ("a=b", '"a=b"'), ("back\\slash", '"back\\\\slash"'), ("line\nfeed", '"line\\nfeed"'),
        ("\x1b[31m", '"\\x1b[31m"'), (3, "3"), (0.25, "0.25"), (None, ""), (True, "true"), (False, "false"),
        (("a", 1), '"(\'a\', 1)"'),
    ],
)  # fmt: skip
def test_values_are_quoted_only_where_they_must_be(value: Any, shown: str) -> None:
    """And never break the line."""
    assert line({"event": "x.y", "said": value, "level": "info"}) == f"level=info event=x.y said={shown}"


def test_the_event_is_left_as_it_is() -> None:
    """Whoever follows the daemon live is shown the same mapping."""
    event = {"event": "x.y", "level": "info", "n": 1}
    line(event)
    assert event == {"event": "x.y", "level": "info", "n": 1}


def test_what_was_rendered_before_is_rendered_anew_once_it_is_a_secret() -> None:
    """Values that come again and again are kept, until a secret is learned."""
    hidden: list[str] = []

    def clean(text: str) -> str:
        for secret in hidden:
            text = text.replace(secret, "***")
        return text

    render = Logfmt(("event",), clean)
    event = {"event": "x.y", "target": "canary", "canary": 1}
    assert render(None, "info", event) == "event=x.y target=canary canary=1"
    hidden.append("canary")
    render.forget()
    assert render(None, "info", event) == "event=x.y target=*** ***=1"


def test_what_is_kept_is_bounded() -> None:
    """Callers' paths and targets come without an end."""
    render = Logfmt(("event",), lambda text: text)
    for number in range(5_000):
        render(None, "info", {"event": "x.y", "path": f"/{number}", f"name{number}": 1})
    assert len(render._known) <= 1_024
    assert len(render._plans) <= 1_024


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.none() | st.booleans()))
def test_it_is_always_one_line_without_the_secret(fields: dict[str, Any]) -> None:
    """Whatever the values are."""
    fields = {key: f"{value}canary" if isinstance(value, str) else value for key, value in fields.items()}
    shown = line({"event": "x.y", **fields}, hide="canary")
    assert "canary" not in shown
    assert "\n" not in shown
