"""hermes_router/control/log_filter.py: which events somebody wants."""

from typing import Any

import pytest

from hermes_router.control.log_filter import fits, subject
from hermes_router.control.log_types import LogWish

DONE = {"request_id": "req_12", "attempts": "groq/openai/gpt-oss-20b#c187:limited mistral/small#ea05:ok"}
FAILED = {"request_id": "req_12", "target": "groq/openai/gpt-oss-20b#c187"}


def test_an_event_is_about_all_that_it_names() -> None:
    """Providers and models of the target and of every attempt, each once; a model may hold slashes."""
    assert subject(DONE) == (
        ("groq", "mistral"), ("openai/gpt-oss-20b", "small"), ("groq/openai/gpt-oss-20b#c187", "mistral/small#ea05"),
    )  # fmt: skip
    assert subject({"provider": "groq", "model": "m"}) == (("groq",), ("m",), ())
    assert subject({"target": "odd", "attempts": "", "provider": 3}) == ((), (), ("odd",))


@pytest.mark.parametrize(
    ("wish", "level", "fields", "wanted"),
    [
        ({}, "debug", {}, True),
        ({"level": "warning"}, "info", {}, False), ({"level": "warning"}, "warning", {}, True),
        ({"level": "warning"}, "critical", {}, True),
        ({"provider": "groq"}, "info", DONE, True), ({"provider": "gro"}, "info", DONE, False),
        ({"provider": "mistral"}, "info", FAILED, False),
        ({"request": "req_1"}, "info", DONE, True), ({"request": "req_2"}, "info", DONE, False),
        ({"request": "req_1"}, "info", {}, False),
        ({"since": 100.0}, "info", {}, True), ({"since": 101.0}, "info", {}, False),
    ],
)  # fmt: skip
def test_filters_are_exact(wish: dict[str, Any], level: str, fields: dict[str, Any], wanted: bool) -> None:
    """A level and what is worse, a provider by its whole name, a request by its beginning, a time."""
    assert fits(LogWish(**wish), 100.0, level, fields) is wanted
