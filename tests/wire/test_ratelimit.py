"""Quota headers of every family, Retry-After, and what reading them costs."""

import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.wire import ratelimit
from hermes_router.wire.ratelimit import HEADER_FAMILIES, retry_after, seen

NOW = 1795262400.0  # 2026-11-21T12:00:00Z
GROQ = {
    "x-ratelimit-limit-requests": "1000",
    "x-ratelimit-remaining-requests": "998",
    "x-ratelimit-reset-requests": "2m59.56s",
    "x-ratelimit-limit-tokens": "8000",
    "x-ratelimit-remaining-tokens": "7000",
    "x-ratelimit-reset-tokens": "7.66s",
}
PLAIN = {"content-type": "application/json", "date": "Sat, 21 Nov 2026 12:00:00 GMT", "server": "x"}


def q(scope, unit, window, *numbers):
    """A quota; `numbers` are limit, remaining and the wait in seconds to its reset."""
    limit, remaining, wait_s = numbers
    return QuotaSeen(scope, unit, window, limit, remaining, None if wait_s is None else pytest.approx(NOW + wait_s))


CASES = [
    (
        "groq",
        GROQ,
        [
            q("account_model", Unit.REQUESTS, Window.DAY, 1000, 998, 179.56),
            q("account_model", Unit.TOKENS, Window.MINUTE, 8000, 7000, 7.66),
        ],
    ),
    (
        "openai",
        GROQ | {"x-ratelimit-reset-requests": "20s"},
        [
            q("account_model", Unit.REQUESTS, Window.MINUTE, 1000, 998, 20),
            q("account_model", Unit.TOKENS, Window.MINUTE, 8000, 7000, 7.66),
        ],
    ),
    (
        "openai",
        {
            "x-ratelimit-limit-requests": "200",
            "x-ratelimit-remaining-requests": "199",
            "x-ratelimit-reset-requests": "7m12s",
        },
        [q("account_model", Unit.REQUESTS, Window.DAY, 200, 199, 432)],
    ),
    (
        "cerebras",
        {
            "x-ratelimit-limit-requests-day": "14400",
            "x-ratelimit-remaining-requests-day": "14399",
            "x-ratelimit-reset-requests-day": "33011.382867097855",
            "x-ratelimit-limit-tokens-minute": "30000",
            "x-ratelimit-remaining-tokens-minute": "29000",
            "x-ratelimit-reset-tokens-minute": "11.38",
        },
        [
            q("account_model", Unit.REQUESTS, Window.DAY, 14400, 14399, 33011.38),
            q("account_model", Unit.TOKENS, Window.MINUTE, 30000, 29000, 11.38),
        ],
    ),
    (
        "mistral",
        {
            "x-ratelimit-limit-req-minute": "60",
            "x-ratelimit-remaining-req-minute": "59",
            "x-ratelimit-limit-tokens-minute": "500000",
            "x-ratelimit-remaining-tokens-minute": "499000",
            "x-ratelimit-tokens-query-cost": "1000",
            "x-ratelimit-limit-tokens-month": "1000000000",
            "x-ratelimit-remaining-tokens-month": "5",
        },
        [
            q("account_model", Unit.REQUESTS, Window.MINUTE, 60, 59, None),
            q("account_model", Unit.TOKENS, Window.MINUTE, 500000, 499000, None),
            q("account_model", Unit.TOKENS, Window.MONTH, 1000000000, 5, None),
        ],
    ),
    (
        "mistral",
        {"ratelimitbysize-limit": "500000", "ratelimitbysize-remaining": "0", "ratelimitbysize-reset": "19"},
        [q("account_model", Unit.TOKENS, Window.MINUTE, 500000, 0, 19)],
    ),
    (
        "sambanova",
        {
            "x-ratelimit-limit-requests": "20",
            "x-ratelimit-remaining-requests": "3",
            "x-ratelimit-reset-requests": "1795262430",
            "x-ratelimit-limit-requests-day": "20",
            "x-ratelimit-remaining-requests-day": "3",
            "x-ratelimit-reset-requests-day": "1795305600",
        },
        [
            q("account", Unit.REQUESTS, Window.MINUTE, 20, 3, 30),
            q("account", Unit.REQUESTS, Window.DAY, 20, 3, 43200),
        ],
    ),
    (
        "anthropic",
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "49",
            "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:20Z",
            "anthropic-ratelimit-input-tokens-limit": "50000",
            "anthropic-ratelimit-input-tokens-remaining": "40000",
            "anthropic-ratelimit-input-tokens-reset": "2026-11-21T12:00:10Z",
            "anthropic-ratelimit-output-tokens-limit": "8000",
            "anthropic-ratelimit-output-tokens-remaining": "8000",
            "anthropic-ratelimit-output-tokens-reset": "2026-11-21T12:00:00Z",
        },
        [
            q("account_model", Unit.REQUESTS, Window.MINUTE, 50, 49, 20),
            q("account_model", Unit.INPUT_TOKENS, Window.MINUTE, 50000, 40000, 10),
            q("account_model", Unit.OUTPUT_TOKENS, Window.MINUTE, 8000, 8000, 1),
        ],
    ),
    (
        "openrouter",
        {"x-ratelimit-limit": "50", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1795305600000"},
        [q("account", Unit.REQUESTS, Window.DAY, 50, 0, 43200)],
    ),
    (
        "cohere",
        {
            "x-trial-endpoint-call-limit": "20",
            "x-trial-endpoint-call-remaining": "19",
            "x-endpoint-monthly-call-limit": "1000",
        },
        [
            q("account_model", Unit.REQUESTS, Window.MINUTE, 20, 19, None),
            q("account", Unit.REQUESTS, Window.MONTH, 1000, None, None),
        ],
    ),
    (
        "generic",
        {"ratelimit-limit": "100", "ratelimit-remaining": "99", "ratelimit-reset": "50"},
        [q("account_model", Unit.REQUESTS, Window.MINUTE, 100, 99, 50)],
    ),
    ("generic", {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "99"}, []),
    ("none", GROQ, []),
    ("no such family", GROQ, []),
]


@pytest.mark.parametrize(("family", "headers", "quotas"), CASES)
def test_header_families_read_their_windows(family, headers, quotas):
    """Each family's headers give the scope, unit, window and reset of facts/providers.md 4.1."""
    assert list(seen(family, headers, NOW)) == quotas


def test_a_limit_below_zero_means_unlimited_and_a_negative_rest_says_nothing():
    """-1 as a limit is no limit to keep; a negative rest is left out and named, the limit beside it stands."""
    assert seen("groq", GROQ | {"x-ratelimit-limit-tokens": "-1"}, NOW)[0].window is Window.DAY
    assert len(seen("groq", GROQ | {"x-ratelimit-limit-tokens": "-1"}, NOW)) == 1
    odd = seen("groq", GROQ | {"x-ratelimit-remaining-tokens": "-3"}, NOW)[1]
    assert (odd.limit, odd.remaining, odd.odd) == (8000, None, "x-ratelimit-remaining-tokens: -3")


@pytest.mark.parametrize(
    "value", ["NaN", "inf", "-7", "1e999", "9" * 20, "9" * 10_000, "7 of 9", "x" * 10_000, "4102444800"]
)
def test_nonsense_is_left_out_and_named_once(value: str):
    """A count of any nonsense binds nothing, and a line of at most a few hundred characters quotes it."""
    names = ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens")
    for broken in ([names[0]], [names[1]], [names[2]], names):
        for one in seen("groq", GROQ | dict.fromkeys(broken, value), NOW):
            assert one.limit is None or 0 <= one.limit <= 10**15
            assert one.remaining is None or 0 <= one.remaining <= 10**15
            assert one.reset_at is None or NOW < one.reset_at <= NOW + 32 * 86_400
            assert len(one.odd) < 300
    if value != "4102444800":
        assert value[:40] in seen("groq", GROQ | dict.fromkeys(names, value), NOW)[1].odd
    assert "reset" in seen("groq", GROQ | {names[2]: "4294967296"}, NOW)[1].odd  # the year 2106


def test_a_count_with_a_fraction_is_read_and_nonsense_is_not_said():
    """`7000.0` is 7000; what is no number counts as not said."""
    odd = {"x-ratelimit-limit-tokens": "lots", "x-ratelimit-remaining-tokens": "7000.0"}
    said = "x-ratelimit-limit-tokens: lots"
    assert seen("groq", odd, NOW) == (QuotaSeen("account_model", Unit.TOKENS, Window.MINUTE, None, 7000, odd=said),)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "20"}, 20),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "Sat, 21 Nov 2026 12:02:00 GMT"}, 120),
        ({"retry-after-ms": "19500", "retry-after": "20"}, 19.5),
        ({"retry-after-ms": "soon", "retry-after": "20"}, 20),
    ],
)
def test_retry_after_in_all_its_forms(headers, wait_s):
    """Seconds, dates and OpenAI's milliseconds become epoch seconds, never earlier than a second ahead."""
    assert retry_after(headers, NOW) == NOW + wait_s


@pytest.mark.parametrize("headers", [{}, {"retry-after": "later"}, {"retry-after": "9999999"}, {"retry-after-ms": "x"}])
def test_retry_after_that_says_nothing(headers):
    """Absent, unreadable and absurd waits are None."""
    assert retry_after(headers, NOW) is None


@given(st.sampled_from(sorted(HEADER_FAMILIES)), st.text(max_size=30), st.text(max_size=30))
def test_header_garbage_is_never_raised_on(family, first, second):
    """Whatever the headers of a family hold, reading them gives quotas with sane counts or nothing."""
    headers = {"retry-after": first, "retry-after-ms": second}
    for number, row in enumerate(HEADER_FAMILIES[family]):
        headers |= {row.limit: first if number % 2 else second, row.remaining: second, row.reset: first}
    for quota in seen(family, headers, NOW):
        assert quota.remaining is None or quota.remaining >= 0
        assert quota.reset_at is None or quota.reset_at > NOW
    retry_after(headers, NOW)


def test_the_api_of_the_brief_is_in_one_place():
    """`parse_reset` and `next_reset` are reached through this module as well."""
    assert ratelimit.parse_reset("5", NOW) == NOW + 5
    assert ratelimit.next_reset("rolling", Window.HOUR, NOW) == NOW + 3600


def test_reading_is_cheap():
    """Without such a header a look-up a name, with Groq's six about ten microseconds: it runs on every answer.

    The bounds are five times what an idle machine shows, since test machines are shared.
    """

    def best_us(headers):
        return min(timeit.repeat(lambda: seen("groq", headers, NOW), number=2000, repeat=5)) / 2000 * 1e6

    assert best_us(PLAIN) < 5
    assert best_us(GROQ) < 50
