"""hermes_router/cli/doctor/keys_checks.py: keys, logins, models and limits, each in order and out of it."""

from pathlib import Path
from typing import Any

import pytest

from hermes_router.cli.doctor import keys_checks as checks
from hermes_router.control import health_types as h
from hermes_router.control import types as t

from ..samples import NOW, account, credential, target
from .scenes import absent, looked, scene, states, status


def stored(store: str, reason: str = "") -> h.StoredRow:
    return h.StoredRow(provider="groq", tail="2f9a", store=store, reason=reason)


def test_a_keyring_that_does_not_answer_is_told(tmp_path: Path) -> None:
    """A fault where keys in it cannot be used, a warning where memory has them still; the keys are not told twice."""
    assert looked(checks.vault, scene(tmp_path)).state == "ok"
    shut = {"keyring": "the keyring is locked", "keyring_cure": "unlock it", "store": "keyring"}
    found = looked(checks.vault, scene(tmp_path, said=shut))
    assert (found.state, found.cure) == ("warning", "unlock it")
    lost = {**shut, "stored": [stored("keyring", "the keyring is locked")]}
    assert looked(checks.vault, scene(tmp_path, said=lost)).state == "fault"
    assert looked(checks.secrets, scene(tmp_path, said=lost)).state == "ok"


def test_a_key_without_its_secret_is_a_fault(tmp_path: Path) -> None:
    """In the file, or gone from a keyring that answers."""
    assert looked(checks.secrets, scene(tmp_path, said={"stored": [stored("file")]})).state == "ok"
    for store in ("file", "keyring"):
        found = looked(checks.secrets, scene(tmp_path, said={"stored": [stored(store, "it does not hold it")]}))
        assert (found.state, found.subject, "hr auth add groq" in found.cure) == ("fault", "groq …2f9a", True)


@pytest.mark.parametrize(
    ("state", "reason", "outcome", "cure"),
    [
        ("revoked", "rejected_key", "fault", "hr auth add groq"),
        ("paused", "rejected_key", "warning", "hr auth test groq"),
        ("paused", "no_credit", "warning", "money"),
        ("cooling", "limited", "ok", ""),
    ],
)
def test_each_state_of_a_key(tmp_path: Path, state: str, reason: str, outcome: str, cure: str) -> None:
    """Revoked, paused, without credit; one that merely rests is none."""
    rows = [credential("groq", state=state, reason=reason, until=NOW + 60), credential("mistral")]
    found = looked(checks.keys, scene(tmp_path, status=status(credentials=rows)))
    assert found.state == outcome
    assert cure in found.cure


def test_no_key_at_all_is_a_fault(tmp_path: Path) -> None:
    """With a daemon and without one; so is a pool of which nothing can answer."""
    assert looked(checks.keys, scene(tmp_path, status=status(targets=[], credentials=[]))).state == "fault"
    assert looked(checks.keys, absent(tmp_path, said={"pool": []})).state == "fault"
    assert looked(checks.keys, absent(tmp_path)).state == "ok"
    cold = [target("groq", state="cooling", until=NOW + 60)]
    found = looked(checks.keys, scene(tmp_path, status=status(targets=cold)))
    assert (found.state, "no target can answer" in found.said) == ("fault", True)


def test_one_provider_alone_is_a_single_point_of_failure(tmp_path: Path) -> None:
    """Advice, also where the files alone say so."""
    assert looked(checks.single_provider, scene(tmp_path)).state == "ok"
    alone = status(targets=[target("groq"), target("groq", "m-2")])
    assert looked(checks.single_provider, scene(tmp_path, status=alone)).state == "advice"
    pool = [h.PoolRow(provider="groq", model="m")]
    assert looked(checks.single_provider, absent(tmp_path, said={"pool": pool})).state == "advice"


@pytest.mark.parametrize(
    ("windows", "state"),
    [
        ({"groq": 131_072, "mistral": 131_072}, "ok"),
        ({"groq": 131_072, "mistral": 32_768}, "advice"),
        ({"groq": 32_768, "mistral": 8_192}, "warning"),
        ({"groq": 32_768, "mistral": None}, "ok"),
        ({"groq": None, "mistral": None}, "skipped"),
    ],
)
def test_windows_are_judged_by_what_agents_need(tmp_path: Path, windows: dict[str, Any], state: str) -> None:
    """64k at two providers is well, at one is advice, at none a warning; what is unknown is not too small."""
    rows = [target(name, context=size) for name, size in windows.items()]
    assert looked(checks.context, scene(tmp_path, status=status(targets=rows))).state == state


@pytest.mark.parametrize(
    ("able", "tools", "images"), [("yes", "ok", "ok"), ("unknown", "skipped", "skipped"), ("no", "fault", "advice")]
)
def test_what_models_can_is_judged(tmp_path: Path, able: str, tools: str, images: str) -> None:
    """Nothing that takes tools is a fault: agents need them. Images are advice."""
    rows = [target("groq", capabilities={"tools": able, "images": able})]
    at = scene(tmp_path, status=status(targets=rows))
    assert (looked(checks.tools, at).state, looked(checks.images, at).state) == (tools, images)


def test_logins_that_have_ended_need_one(tmp_path: Path) -> None:
    """Revoked, or a token that nobody renews; one that is good is well."""
    good = account()
    assert looked(checks.accounts, scene(tmp_path, status=status(accounts=[good]))).state == "ok"
    assert looked(checks.accounts, scene(tmp_path)).state == "skipped"
    dead = account(state="revoked", reason="it was logged out")
    found = looked(checks.accounts, scene(tmp_path, status=status(accounts=[dead])))
    assert (found.state, found.cure) == ("fault", "`hr auth login codex`")
    lent = account(read_only=True, expires_at=NOW + 3600)
    assert looked(checks.accounts, scene(tmp_path, status=status(accounts=[lent]))).state == "warning"
    renewed = account(expires_at=NOW + 3600)  # it renews itself
    assert looked(checks.accounts, scene(tmp_path, status=status(accounts=[renewed]))).state == "ok"
    ended = account(expires_at=NOW - 3600)
    assert looked(checks.accounts, scene(tmp_path, status=status(accounts=[ended]))).state == "warning"


def test_budgets_are_told_at_four_fifths(tmp_path: Path) -> None:
    """The day's, and those of router keys; below that, and without any, they are well."""

    def at(spent: int, key_spent: int = 0) -> list[str]:
        budget = t.Budget(limit_microusd=1_000_000, spent_microusd=spent, reset_at=NOW)
        key = t.KeyRow(id="k", name="ci", tail="1", source="stored", budget_microusd=100, spent_microusd=key_spent)
        here = scene(tmp_path, status=status(budget=budget), router_keys=t.Keys(rows=[key]))
        return states(checks.budgets, here)

    assert at(790_000) == ["ok"]
    assert at(800_000) == ["warning"]
    assert at(1_000_000, 100) == ["warning", "warning"]
    assert looked(checks.budgets, scene(tmp_path)).state == "ok"
    assert looked(checks.budgets, absent(tmp_path)).state == "skipped"


def test_long_windows_at_their_end_are_told(tmp_path: Path) -> None:
    """Of a day or more, and where the limit binds; a minute's, and a mere publication, are none."""

    def window(**changes: Any) -> t.QuotaReport:
        row: dict[str, Any] = {
            "provider": "groq", "whose": "…2f9a", "unit": "requests", "window": "day", "limit": 1000, "remaining": 50,
            "binds": True, "reset_at": NOW + 3600,
        }  # fmt: skip
        return t.QuotaReport(at=NOW, rows=[t.QuotaRow(**{**row, **changes})])

    found = looked(checks.quota, scene(tmp_path, quota=window()))
    assert (found.state, "50 of 1k left" in found.said) == ("advice", True)
    assert "nothing is left" in looked(checks.quota, scene(tmp_path, quota=window(remaining=0))).said
    for changes in ({"remaining": 500}, {"window": "minute"}, {"binds": False}, {"limit": None, "remaining": None}):
        assert looked(checks.quota, scene(tmp_path, quota=window(**changes))).state == "ok"
    assert looked(checks.quota, absent(tmp_path)).state == "skipped"


def test_what_is_no_more_is_told(tmp_path: Path) -> None:
    """A provider that was retired, a model that vanished."""
    gone = [h.RetiredRow(provider="github_models", said="the service ended")]
    found = looked(checks.retired, scene(tmp_path, said={"retired": gone}))
    assert (found.state, found.subject) == ("warning", "github_models")
    assert looked(checks.retired, scene(tmp_path)).state == "ok"
