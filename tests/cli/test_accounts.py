"""hermes_router/cli/accounts.py: accounts on a terminal, in `hr auth list` and `hr status`."""

import json
from collections.abc import Callable

from hermes_router.control import types as t

from .conftest import Hr, Script
from .samples import CREDENTIALS, NOW, STATUS, account, credential, target

Serve = Callable[..., Script]

ROWS = [
    account("1111", account="work", windows=[t.WindowRow(name="5 h", used_percent=100, reset_at=NOW + 600),
                                             t.WindowRow(name="week", used_percent=41, reset_at=NOW + 86_400)],
            state="cooling", reason="limited_day", until=NOW + 600),
    account("2222", email="grace@example.test", plan="pro", route="plan", expires_at=NOW + 1800),
    account("3333", email="", state="ready", reason="borrowed from the Codex CLI", read_only=True, expires_at=None,
            origin="/home/ada/.codex/auth.json"),
    account("4444", email="\x1b[31mx\n@y", state="revoked", reason="its login has ended", expires_at=NOW - 60),
]  # fmt: skip
HELD = t.Credentials(
    rows=[*CREDENTIALS.rows, *(credential("codex", row.tail, id=row.id) for row in ROWS)],
    providers=[*CREDENTIALS.providers, t.ProviderRow(name="codex", title="Codex", state="on")],
    accounts=ROWS,
)


def test_accounts_have_a_table_of_their_own(hr: Hr, serve: Serve) -> None:
    """Windows used, the next reset, how long the token lasts, and whose login it is; no account among the keys."""
    serve({"GET /v1/credentials": HELD})
    done = hr("auth", "list")
    assert done.exit_code == 0, done.output
    lines = {line.split()[1]: line for line in done.stdout.splitlines() if line.startswith("codex ")}
    assert set(lines) == {"work", "grace@example.test", "…3333", "x"}
    assert "100 %" in lines["work"]
    assert "41 %" in lines["work"]
    assert "in 10 min" in lines["work"]
    assert "5 h used up, back in 10 min" in lines["work"]
    assert lines["grace@example.test"].split()[2:4] == ["pro", "plan"]
    assert "the router's own" in lines["grace@example.test"]
    assert "in 30 min" in lines["grace@example.test"]
    assert "borrowed from /home/ada/.codex/auth.json" in lines["…3333"]
    assert "unknown" in lines["…3333"]
    assert "revoked (its login has ended)" in lines["x"]
    assert "\x1b" not in done.stdout


def test_the_list_of_one_provider_and_as_json(hr: Hr, serve: Serve) -> None:
    """`hr auth list codex` shows its accounts and nothing else; --json has all that the table has."""
    serve({"GET /v1/credentials": HELD})
    done = hr("auth", "list", "codex")
    assert "groq" not in done.stdout
    assert "grace@example.test" in done.stdout
    found = json.loads(hr("auth", "list", "codex", "--json").stdout)
    assert [row["tail"] for row in found["accounts"]] == ["1111", "2222", "3333", "4444"]
    assert found["accounts"][0]["windows"][1]["used_percent"] == 41


def test_a_narrow_terminal_keeps_what_matters(hr: Hr, serve: Serve) -> None:
    """Account, windows and state stay; no line is wider than the terminal."""
    serve({"GET /v1/credentials": HELD})
    done = hr("auth", "list", "codex", columns=70)
    assert all(len(line) <= 70 for line in done.stdout.splitlines())
    assert "100 %" in done.stdout
    assert "work" in done.stdout


def test_the_one_screen_has_them_too(hr: Hr, serve: Serve) -> None:
    """Apart from the keys, and only where there are any."""
    daemon = serve({"GET /v1/status": t.Status(**{**{name: getattr(STATUS, name) for name in STATUS.__struct_fields__},
           "accounts": ROWS, "credentials": HELD.rows})})  # fmt: skip
    done = hr("status")
    assert "Accounts" in done.stdout
    assert "41 %" in done.stdout
    assert done.stdout.count("grace@example.test") == 1
    daemon.answers["GET /v1/status"] = STATUS
    assert "Accounts" not in hr("status").stdout


def test_a_share_of_a_plan_is_no_number_of_tokens(hr: Hr, serve: Serve) -> None:
    """What is left of several plans is a share; no forecast is made of it."""
    quota = {"scope": "codex a", "unit": "percent", "window": "plan", "limit": 100, "remaining": 37,
             "reset_at": NOW + 3600, "origin": "told"}  # fmt: skip
    fields = {name: getattr(STATUS, name) for name in STATUS.__struct_fields__}
    serve({"GET /v1/status": t.Status(**{**fields, "targets": [target("codex", quota=[quota])], "accounts": ROWS[:1]})})
    done = hr("status")
    assert "37 % till 15:28" in done.stdout
    assert "tok" not in done.stdout.split("Accounts")[0]
