"""hermes_router/cli/pool_advice.py: what a pool lacks, and whose key would help most."""

import tomllib
from importlib import resources

import pytest

from hermes_router.cli.pool_advice import best_free, points, what_it_brings
from hermes_router.control.setup_types import CatalogRow

from .samples import target


def free(name: str, **more: object) -> CatalogRow:
    values: dict[str, object] = {"name": name, "title": name.title(), "state": "no key", "price_class": "free",
                                 "context": 131_072, "tools": True}  # fmt: skip
    return CatalogRow(**{**values, **more})  # type: ignore[arg-type]


def test_two_wide_providers_with_tools_are_good() -> None:
    """All three things that an agent needs, each by two."""
    assert [(one.style, one.said) for one in points([target("groq"), target("mistral")])] == [
        ("good", "Can answer: groq and mistral"),
        ("good", "Can take 64K tokens: groq and mistral"),
        ("good", "Can take tools: groq and mistral"),
    ]


def test_one_of_each_is_a_warning_and_none_is_bad() -> None:
    """A window is known or it is not; what is unknown of tools is not relied on."""
    small = target("mistral", context=8_192, capabilities={"tools": "unknown"})
    assert [one.style for one in points([target("groq"), small])] == ["good", "warn", "warn"]
    assert points([small])[0].said == "Only mistral can answer: if it fails, nothing is left"
    assert [one.style for one in points([])] == ["bad", "bad", "bad"]


@pytest.mark.parametrize("state", ["disabled", "revoked", "paused"])
def test_what_is_out_of_use_does_not_count(state: str) -> None:
    """A key without credit helps nobody; one that merely cools will."""
    assert points([target("groq"), target("mistral", state=state)])[0].style == "warn"
    assert points([target("groq"), target("mistral", state="cooling")])[0].style == "good"


def test_what_helps_an_agent_most_comes_first() -> None:
    """Windows and tools before anything, then free before a trial, then the day's allowance, then the tier."""
    rows = [
        free("small", context=8_192, requests_day=9_999),
        free("trial", price_class="free_credit", requests_day=9_999),
        free("few", requests_day=20),
        free("many", requests_day=1_000),
        free("strong", requests_day=1_000, tier=5),
        free("paid", price_class="paid"),
        free("mine"),
        free("gone", state="retired"),
        free("login", auth="login"),
    ]
    assert [one.name for one in best_free(rows, {"mine"})] == ["strong", "many", "few", "trial", "small"]


def test_a_provider_in_one_line() -> None:
    """What is free, how much at once, tools, and what they do with it."""
    row = free("x", free="30 a minute.", trains=True)
    assert what_it_brings(row) == "30 a minute; windows up to 131k tokens; tools; it may train on what you send"
    assert what_it_brings(free("x", context=None, tools=False)) == ""


def test_every_usual_address_of_our_rows_is_on_this_machine() -> None:
    """Looking around never leaves it."""
    tables = tomllib.loads(resources.files("hermes_router.data").joinpath("providers.toml").read_text("utf-8"))
    found = [url for row in tables.values() for url in row.get("usual", {}).values()]
    assert found
    assert all(url.startswith("http://localhost:") for url in found)
