"""hermes_router/cli/usage.py: what was spent."""

import json
import time
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


def test_the_budget_of_today_stands_below(hr: Hr, serve: Serve) -> None:
    """What is left of it, and till when."""
    budget = t.Budget(limit_microusd=5_000_000, spent_microusd=1_250_000, reset_at=NOW + 3600)
    serve({"GET /v1/usage?by=provider&days=7": msgspec.structs.replace(USAGE, until=NOW, budget=budget)})
    assert "Today's budget $5.00: $3.75 left till 15:28." in hr("usage").stdout


@pytest.mark.parametrize(
    ("by", "title"),
    [("provider", "PROVIDER"), ("model", "MODEL"), ("key", "KEY"), ("day", "DAY (UTC)"), ("router-key", "ROUTER KEY")],
)
def test_it_groups_as_asked(hr: Hr, serve: Serve, by: str, title: str) -> None:
    """--by and --days travel as the query; nothing spent is said in words, and so is what nobody was asked for."""
    report = t.UsageReport(by=by.replace("-", "_"), since=NOW - 86400, until=NOW)
    key = t.KeyRow(id="k1", name="agent", tail="9abc", source="stored")
    script = serve({f"GET /v1/usage?by={report.by}&days=30": report, "GET /v1/keys": t.Keys(rows=[key])})
    assert hr("usage", "--by", by, "--days", "30").stdout == "Since 2026-11-20: nothing was spent.\n"
    rows = [t.UsageRow(key=name, spent=t.Spent(requests=2)) for name in ("", "k1")]
    script.answers[f"GET /v1/usage?by={report.by}&days=30"] = msgspec.structs.replace(report, rows=rows)
    lines = hr("usage", "--by", by, "--days", "30").stdout.splitlines()
    assert lines[2].startswith(title + " ")
    assert lines[3].startswith("(none asked)")
    assert lines[4].split()[0] == ("agent" if by == "router-key" else "k1")  # usage is kept by id, and shown by name


def test_days_are_those_of_utc(hr: Hr, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """West of Greenwich, too, the first day is the one that was counted."""
    serve({"GET /v1/usage?by=day&days=1": t.UsageReport(by="day", since=1_795_219_200.0, until=NOW)})
    for zone in ("America/Los_Angeles", "Pacific/Auckland"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert hr("usage", "--by", "day", "--days", "1").stdout.startswith("Since 2026-11-21:")
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.mark.parametrize("arguments", [["--by", "colour"], ["--days", "0"], ["--days", "x"]])
def test_wrong_usage(hr: Hr, arguments: list[str]) -> None:
    """Exit 2 before any daemon is looked for."""
    assert hr("usage", *arguments).exit_code == 2


def test_lost_records_are_admitted(hr: Hr, serve: Serve) -> None:
    """Numbers that are too low are not shown as if they were right."""
    serve({"GET /v1/usage?by=provider&days=7": msgspec.structs.replace(USAGE, complete=False)})
    assert "records are missing" in hr("usage").stderr


def test_a_single_row_needs_no_total_and_requests_can_be_the_measure(hr: Hr, serve: Serve) -> None:
    """Where no token was counted, the bars follow the requests."""
    row = t.UsageRow(key="groq", spent=t.Spent(requests=2))
    serve({"GET /v1/usage?by=provider&days=7": t.UsageReport(by="provider", since=NOW, until=NOW, rows=[row])})
    done = hr("usage")
    assert "total" not in done.stdout
    assert "████████████" in done.stdout
