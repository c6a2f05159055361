"""hermes_router/cli/usage.py: what was spent."""

import json
from collections.abc import Callable

import msgspec
import pytest

from hermes_router.control import types as t

from .conftest import Hr, Script
from .samples import NOW, USAGE

Serve = Callable[..., Script]


def test_reported_and_estimated_stand_apart(hr: Hr, serve: Serve) -> None:
    """A line a provider with a bar, a total, and what has no price."""
    serve({"GET /v1/usage?by=provider&days=7": USAGE})
    done = hr("usage")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "Since 2026-11-15"
    assert "EST. IN" in lines[2]
    assert lines[3].split() == ["groq", "████████████", "900", "12", "2M", "5k", "100k", "$0", "12k"]
    assert lines[4].split() == ["openai", "█░░░░░░░░░░░", "4", "1", "20k", "3k", "$1.23", "$0.0042"]
    assert lines[5].split()[:2] == ["total", "904"]
    assert "1 attempt at paid models without a known price" in done.stdout
    assert max(map(len, hr("usage", columns=48).stdout.splitlines())) <= 48
    assert json.loads(hr("usage", "--json").stdout)["total"]["requests"] == 904


@pytest.mark.parametrize("by", ["provider", "model", "key", "day"])
def test_it_groups_as_asked(hr: Hr, serve: Serve, by: str) -> None:
    """--by and --days travel as the query; nothing spent is said in words."""
    serve({f"GET /v1/usage?by={by}&days=30": t.UsageReport(by=by, since=NOW - 86400, until=NOW)})
    assert hr("usage", "--by", by, "--days", "30").stdout == "Since 2026-11-20: nothing was spent.\n"


@pytest.mark.parametrize("arguments", [["--by", "colour"], ["--days", "0"], ["--days", "x"]])
def test_wrong_usage(hr: Hr, arguments: list[str]) -> None:
    """Exit 2 before any daemon is looked for."""
    assert hr("usage", *arguments).exit_code == 2


def test_lost_records_are_admitted(hr: Hr, serve: Serve) -> None:
    """Numbers that are too low are not shown as if they were right."""
    serve({"GET /v1/usage?by=provider&days=7": msgspec.structs.replace(USAGE, complete=False)})
    assert "records were lost" in hr("usage").stderr


def test_a_single_row_needs_no_total_and_requests_can_be_the_measure(hr: Hr, serve: Serve) -> None:
    """Where no token was counted, the bars follow the requests."""
    row = t.UsageRow(key="groq", spent=t.Spent(requests=2))
    serve({"GET /v1/usage?by=provider&days=7": t.UsageReport(by="provider", since=NOW, until=NOW, rows=[row])})
    done = hr("usage")
    assert "total" not in done.stdout
    assert "████████████" in done.stdout
