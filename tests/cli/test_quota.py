"""hermes_router/cli/quota.py: the ledger of limits."""

import json
from collections.abc import Callable

from hermes_router.control import types as t

from .conftest import Hr, Script
from .samples import NOW

Serve = Callable[..., Script]

ROWS = [
    t.QuotaRow(
        provider="groq", whose="account work", unit="requests", window="day", model="llama", limit=1000, used=940,
        remaining=60, reset_at=NOW + 3600, source="told", binds=True,
    ),
    t.QuotaRow(
        provider="groq", whose="account work", unit="tokens", window="minute", model="llama", limit=8000,
        remaining=8000, source="learned", learned_at=NOW - 7200, binds=True,
    ),
    t.QuotaRow(
        provider="mistral", whose="key …wxyz", unit="requests", window="minute", limit=2, used=2, remaining=0,
        reset_at=NOW + 30, source="published",
    ),
    t.QuotaRow(provider="zai", whose="all", unit="concurrency", window="none", limit=4, used=1, remaining=3,
               source="owner", binds=True),
    t.QuotaRow(provider="openai", whose="all", unit="microusd", window="day", used=1_230_000, reset_at=NOW + 60),
]  # fmt: skip


def test_every_window_has_its_line(hr: Hr, serve: Serve) -> None:
    """Limit, rest, return and who says so; a name is not repeated, a count without a limit says that it is one."""
    serve({"GET /v1/quota": t.QuotaReport(at=NOW, rows=ROWS)})
    lines = hr("quota").stdout.splitlines()
    assert lines[0].split("  ")[0] == "PROVIDER"
    assert lines[1].split()[:7] == ["groq", "account", "work", "llama", "1k", "requests/day", "60"]
    assert "in 60 min" in lines[1]
    assert lines[1].endswith("told")
    assert lines[2].split()[:4] == ["llama", "8k", "tokens/minute", "8k"]
    assert lines[2].endswith("learned 2 h ago")
    assert lines[3].endswith("published, a guess")
    assert "4 at a time" in lines[4]
    assert "money/day" in lines[5]
    assert "$1.23 used" in lines[5]
    assert lines[5].endswith("no limit known")
    assert max(map(len, hr("quota", columns=60).stdout.splitlines())) <= 60
    assert len(json.loads(hr("quota", "--json").stdout)["rows"]) == 5


def test_one_provider_is_asked_for_by_name(hr: Hr, serve: Serve) -> None:
    """`hr quota groq` shows that one; an empty ledger is said in words."""
    serve({"GET /v1/quota?provider=groq": t.QuotaReport(at=NOW)})
    assert hr("quota", "groq").stdout == "No limit is known, and nothing has been counted yet.\n"
