"""hermes_router/cli/verdict.py: will it survive the night?"""

from dataclasses import replace

import msgspec
import pytest

from hermes_router.cli.verdict import Allowance, allowance, judge, may_serve
from hermes_router.control import types as t

from .samples import NOW, ping, target, window
from .samples import credential as row

TWO = [target("groq"), target("mistral", credential="b00c")]


def status(targets: list[t.TargetRow], **more: object) -> t.Status:
    values: dict[str, object] = {"ping": ping(), "uptime_s": 1.0, "ready": True, "mode": "round-robin", **more}
    return t.Status(targets=targets, **values)  # type: ignore[arg-type]


def test_two_providers_are_a_yes() -> None:
    """Two providers that take tools: any of them may fail."""
    found = judge(status(TWO), NOW)
    assert found.word == "yes"
    assert found.because == ("2 providers can answer, on 2 keys and 2 targets: any one of them may fail",)
    assert not found.next_step


def test_a_night_of_which_nobody_would_hear() -> None:
    """All is well, and no way to tell the owner is set: one word of advice, where nothing weighs more."""
    assert judge(status(TWO, told=False), NOW).next_step.startswith("`hr notify`")
    assert "hr auth add" in judge(status(TWO[:1], told=False), NOW).next_step


def test_one_provider_is_a_single_point_of_failure() -> None:
    """One provider alone is `mostly`, names it, and says when another returns."""
    cooling = target("mistral", state="cooling", reason="limited (told)", until=NOW + 240)
    found = judge(status([TWO[0], cooling]), NOW)
    assert found.word == "mostly"
    assert found.because[0] == (
        "only groq can answer (1 key): if it fails, nothing is left; mistral returns in 4 min (14:32)"
    )
    assert "hr auth add" in found.next_step


@pytest.mark.parametrize(
    ("targets", "because", "step"),
    [
        ([], "no provider has a key", "hr auth add"),
        ([target("groq", state="cooling", until=NOW + 3600), target("x", state="open", until=NOW + 60)],
         "nothing can answer now; the first to return is x, in 60 s (14:29)", "hr auth add"),
        ([target("groq", state="disabled", reason="no tools")], "nothing can answer, and nothing comes back by itself",
         "hr auth test"),
    ],
)  # fmt: skip
def test_nothing_ready_is_a_no(targets: list[t.TargetRow], because: str, step: str) -> None:
    """Without a target that may serve the answer is no, with the first return where there is one."""
    found = judge(status(targets), NOW)
    assert (found.word, found.because) == ("no", (because,))
    assert step in found.next_step


def test_a_try_that_is_due_counts_as_ready() -> None:
    """A half-open breaker or a due try would get a request; what the owner disabled never does."""
    assert may_serve(target("groq", state="open", until=NOW), NOW)
    assert not may_serve(target("groq", state="cooling", until=NOW + 1), NOW)
    assert not may_serve(target("groq", state="disabled", until=NOW - 1), NOW)


def test_tools_count_since_agents_need_them() -> None:
    """A pool in which one provider alone takes tools, or none, is not safe."""
    no = {"tools": "no"}
    found = judge(status([TWO[0], target("mistral", capabilities=no)]), NOW)
    assert (found.word, found.because[0]) == ("mostly", "only groq takes tools, and agents need them")
    found = judge(status([target("groq", capabilities=no), target("mistral", capabilities=no)]), NOW)
    assert found.because[0].startswith("no target that is ready takes tools")
    assert judge(status([target("groq", capabilities={}), target("mistral", capabilities={})]), NOW).word == "yes"


def test_dead_keys_are_noted_and_endanger_nothing() -> None:
    """Keys out of use or unreadable are said, and the word stays."""
    keys = [
        row("groq", "dead", state="revoked"),
        row("groq", "lock", state="unavailable", reason="the keyring is locked"),
    ]
    found = judge(status(TWO, credentials=keys), NOW)
    assert found.word == "yes"
    assert found.because[1:] == ("1 key is out of use: groq …dead", "1 key cannot be read: the keyring is locked")


def test_daily_quotas_are_measured_by_the_pace_of_today() -> None:
    """Where all ready providers have a daily limit, and it ends before the night does, that is said."""
    targets = [
        target("groq", quota=[window("g", left=100, limit=1000)]),
        target("mistral", quota=[window("m", left=20, limit=50, origin="published")]),
    ]
    busy = t.Spent(requests=400)
    day = {"today": busy, "today_since": NOW - 4 * 3600}
    found = judge(status(targets, **day), NOW)
    assert found.word == "mostly"
    assert found.because[0] == "at the pace of today (100 requests an hour) the daily quotas last 72 min"
    assert judge(status([*targets, target("openai")], **day), NOW).word == "yes"  # one without a limit carries on
    assert judge(status(targets, today=busy, today_since=NOW - 60), NOW).word == "yes"  # a minute is no pace
    assert judge(status(targets, today=t.Spent(requests=3), today_since=NOW - 14400), NOW).word == "yes"


def test_token_quotas_are_measured_in_requests() -> None:
    """Tokens left are divided by what a request took today, reported and estimated."""
    targets = [target(p, quota=[window(p, left=1000, limit=9000, unit="tokens")]) for p in ("groq", "mistral")]
    spent = t.Spent(requests=400, input_tokens=30_000, estimated_output_tokens=10_000)
    found = judge(status(targets, today=spent, today_since=NOW - 4 * 3600), NOW)
    assert "last 12 min" in found.because[0]


def test_an_allowance_sums_scopes_once_and_takes_the_scarcest_unit() -> None:
    """Two targets of one account share its window; minute windows do not count; a prior makes it uncertain."""
    shared = window("a", left=10, limit=100)
    tokens = window("a", left=9000, limit=10_000, unit="tokens", origin="published")
    minute = {**window("a", left=0, limit=1), "window": "minute"}
    rows = [
        target("groq", quota=[shared, tokens, minute]),
        target("groq", "m-2", quota=[shared, window("b", left=None, limit=50)]),
    ]
    found = allowance(rows)
    assert found == Allowance("requests", 60, 150, NOW + 34200, certain=True)
    assert found is not None
    assert found.share == pytest.approx(0.4)
    assert allowance([target("groq", quota=[tokens])]) == Allowance("tokens", 9000, 10_000, NOW + 34200, certain=False)
    assert allowance([target("groq", quota=[minute])]) is None
    assert replace(found, limit=0).share == 0.0


def test_a_status_of_an_older_daemon_is_judged_too() -> None:
    """Fields that it does not know have their defaults."""
    old = msgspec.json.decode(b'{"ping":{"version":"0.0.9"},"uptime_s":1,"ready":false,"mode":"x"}', type=t.Status)
    assert judge(old, NOW).word == "no"
