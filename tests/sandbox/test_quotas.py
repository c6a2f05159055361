"""Counters that count: rolling, bucket and calendar windows, reservation and settlement."""

import math

from hermes_router.sandbox.quotas import Charge, Meter, Quotas, gauges, next_reset, reserved
from hermes_router.sandbox.values import Hit

T = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC


def admit(meter, now=T, prompt=10, cap=None):
    """Charge one request."""
    return meter.admit(now, "m", prompt, cap)


def test_a_rolling_minute_frees_request_by_request() -> None:
    """The third request waits for the first to leave the window, not for the clock's minute."""
    meter = Meter(Quotas(rpm=2))
    admit(meter)
    admit(meter, T + 30)
    hit = admit(meter, T + 40)
    assert isinstance(hit, Hit)
    assert (hit.window, hit.wait_s) == ("rpm", 20.0)
    assert isinstance(admit(meter, T + 60), Charge)


def test_a_refusal_costs_nothing() -> None:
    """Hammering a used-up window does not push its end away."""
    meter = Meter(Quotas(rpm=1))
    admit(meter)
    assert all(isinstance(admit(meter, T + s), Hit) for s in range(1, 60))
    assert isinstance(admit(meter, T + 60), Charge)


def test_groq_reserves_prompt_and_cap_and_settles() -> None:
    """TPM counts prompt and cap at admission and what was used afterwards; too much is never admitted."""
    meter = Meter(Quotas(tpm=8_000, reserve="prompt_cap"))
    charge = admit(meter, prompt=1_000, cap=6_000)
    assert gauges(meter, T)["tpm"].remaining == 1_000
    charge.settle(1_500)
    assert gauges(meter, T)["tpm"].remaining == 6_500
    assert math.isinf(admit(meter, prompt=9_000).wait_s)


def test_cerebras_assumes_16384_when_no_cap_is_given() -> None:
    """Admission charges the cap, at most and by default 16,384, and gives nothing back; the bucket refills."""
    quotas = Quotas(tpm=30_000, reserve="cerebras", kinds={"tpm": "bucket"})
    assert reserved(quotas, 100, None) == reserved(quotas, 100, 100_000) == 100 + 16_384
    assert reserved(quotas, 100, 2_000) == 2_100
    meter = Meter(quotas)
    admit(meter, prompt=100).settle(150)
    hit = admit(meter, prompt=100)
    assert isinstance(hit, Hit)
    assert 5.9 < hit.wait_s < 6.0
    assert isinstance(admit(meter, T + 6, prompt=100), Charge)


def test_calendar_windows_end_when_the_calendar_says() -> None:
    """Gemini's day ends at midnight in Los Angeles, daylight saving included; the month on the 1st UTC."""
    assert next_reset("pacific_day", T) == T + 16 * 3600 + 46 * 60 + 40  # 07:00 UTC in summer
    assert next_reset("utc_day", T) == T + 9 * 3600 + 46 * 60 + 40
    assert next_reset("utc_month", T) == T + 9 * 86_400 + 9 * 3600 + 46 * 60 + 40
    meter = Meter(Quotas(rpd=1, kinds={"rpd": "pacific_day"}))
    admit(meter)
    end = next_reset("pacific_day", T)
    assert isinstance(admit(meter, end - 1), Hit)
    assert isinstance(admit(meter, end), Charge)


def test_concurrency_is_given_back_once() -> None:
    """A place in flight returns at release, and only once however often that is called."""
    meter = Meter(Quotas(concurrency=1))
    charge = admit(meter)
    assert admit(meter).window == "concurrency"
    charge.release()
    charge.release()
    assert meter.in_flight == 0
    assert isinstance(admit(meter), Charge)


def test_the_longest_window_is_named() -> None:
    """With day and minute both used up, the day is what is told."""
    meter = Meter(Quotas(rpm=1, rpd=1))
    admit(meter)
    assert admit(meter).window == "rpd"
