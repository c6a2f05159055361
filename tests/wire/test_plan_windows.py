"""How full a plan's windows are: three spellings of the same, and nothing that cannot be so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.wire.plan_windows import plan_headers, plan_report, plan_told
from hermes_router.wire.ratelimit import seen

NOW = 1_795_262_400.0
HEADERS = {
    "x-codex-primary-used-percent": "42.7",
    "x-codex-primary-window-minutes": "300",
    "x-codex-primary-reset-at": str(int(NOW) + 7_200),
    "x-codex-secondary-used-percent": "6",
    "x-codex-secondary-window-minutes": "10080",
    "x-codex-secondary-reset-at": "",
    "x-codex-secondary-reset-after-seconds": "500000",
    "x-codex-credits-has-credits": "False",
    "x-codex-credits-balance": "",
}
FIVE_HOURS = QuotaSeen("account", Unit.PERCENT, Window.PLAN, 100, 58, NOW + 7_200)
WEEK = QuotaSeen("account", Unit.PERCENT, Window.WEEK, 100, 94, NOW + 500_000)


def test_the_headers_of_an_answer() -> None:
    """codex.md 9.1: percents are floats, an empty instant is none, and the wait stands in for it."""
    assert plan_headers(HEADERS, NOW) == (FIVE_HOURS, WEEK)
    assert seen("codex", HEADERS, NOW) == (FIVE_HOURS, WEEK)
    assert seen("codex", {"content-type": "text/event-stream"}, NOW) == ()


@pytest.mark.parametrize(
    ("minutes", "window"),
    [("60", Window.HOUR), ("300", Window.PLAN), ("1440", Window.DAY), ("10080", Window.WEEK), ("43200", Window.MONTH)],
)
def test_a_window_is_known_by_its_length(minutes: str, window: Window) -> None:
    """A free plan's first window is a week: the slot says nothing."""
    [found] = plan_headers({"x-codex-primary-used-percent": "1", "x-codex-primary-window-minutes": minutes}, NOW)
    assert found.window is window


@pytest.mark.parametrize(("used", "left"), [("99.9", 1), ("100", 0), ("100.0", 0), ("130", 0), ("0", 100)])
def test_a_window_is_full_at_a_hundred_and_not_before(used: str, left: int) -> None:
    """What is nearly full still takes a request."""
    [found] = plan_headers({"x-codex-primary-used-percent": used}, NOW)
    assert (found.remaining, found.window, found.reset_at) == (left, Window.PLAN, None)


@pytest.mark.parametrize("word", ["True", "true", "1"])
def test_credits_go_on_where_a_window_is_full(word: str) -> None:
    """With credits a full window lets requests in: it must not hold the account back."""
    headers = {"x-codex-primary-used-percent": "100", "x-codex-credits-has-credits": word}
    assert [one.remaining for one in plan_headers(headers, NOW)] == [1]


def test_another_limit_is_the_models_own() -> None:
    """Where another limit applied, its windows are those of this model, beside the account's."""
    other = {"x-codex-active-limit": "codex_spark", "x-codex-spark-primary-used-percent": "100"}
    found = plan_headers({**HEADERS, **other}, NOW)
    assert found[:2] == (FIVE_HOURS, WEEK)
    assert [(one.scope, one.remaining) for one in found[2:]] == [("account_model", 0)]


def test_the_event_within_a_stream() -> None:
    """codex.md 8: the same numbers in `codex.rate_limits`; one of another limit says nothing of the account."""
    event = {
        "type": "codex.rate_limits",
        "plan_type": "plus",
        "rate_limits": {
            "primary": {"used_percent": 42.7, "window_minutes": 300, "reset_at": NOW + 7_200},
            "secondary": {"used_percent": 6, "window_minutes": 10_080, "reset_after_seconds": 500_000},
        },
        "credits": {"has_credits": False, "unlimited": False, "balance": None},
    }
    assert plan_told(event, NOW) == (FIVE_HOURS, WEEK)
    assert plan_told({**event, "metered_limit_name": "codex"}, NOW) == (FIVE_HOURS, WEEK)
    assert plan_told({**event, "limit_name": "premium"}, NOW) == ()


def test_the_usage_report() -> None:
    """codex.md 9.2: windows in seconds, and whether requests are let in."""
    body = {
        "plan_type": "pro",
        "rate_limit": {
            "allowed": False,
            "limit_reached": True,
            "primary_window": {"used_percent": 100, "limit_window_seconds": 18_000, "reset_at": NOW + 60},
            "secondary_window": None,
        },
        "rate_limit_reached_type": {"type": "rate_limit_reached"},
    }
    report = plan_report(body, NOW)
    assert report.reached
    assert report.windows == (QuotaSeen("account", Unit.PERCENT, Window.PLAN, 100, 0, NOW + 60),)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["rate_limits", "primary", "rate_limit", "primary_window", "used_percent", "reset_at"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_garbage_tells_nothing_and_never_raises(value: object) -> None:
    """Whatever is there, a window told is one that can be."""
    for one in (*plan_told(value, NOW), *plan_report(value, NOW).windows):
        assert one.remaining is not None
        assert 0 <= one.remaining <= 100
        assert one.reset_at is None or one.reset_at > NOW


@given(st.dictionaries(st.sampled_from([*HEADERS, "x-codex-active-limit", "x-a-primary-used-percent"]), st.text()))
def test_odd_headers_tell_nothing_and_never_raise(headers: dict[str, str]) -> None:
    """The same of headers."""
    for one in plan_headers(headers, NOW):
        assert one.remaining is not None
        assert 0 <= one.remaining <= 100
