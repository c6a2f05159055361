"""hermes_router/upstream/plan_usage.py: how full a plan's windows are, asked at no cost."""

import asyncio
from typing import Any

import pytest

from hermes_router.core.errors import UpstreamError
from hermes_router.core.observations import QuotaSeen, Unit, Window
from hermes_router.upstream.plan_usage import read_usage
from hermes_router.wire.plan_windows import PlanReport

from ..fakes import START, Transport

WINDOW = {"used_percent": 12.5, "limit_window_seconds": 18_000, "reset_at": START + 600}


async def _ask(status: int, body: Any) -> PlanReport:
    transport = Transport()
    transport.on("k", lambda flight: flight.answer(status, body))
    async with asyncio.timeout(5):
        return await read_usage(transport, "http://k.invalid/usage", {}, START)


async def test_a_report_is_read() -> None:
    """Each window as the ledger takes it, and that requests are let in."""
    limit = {"allowed": True, "limit_reached": False, "primary_window": WINDOW}
    report = await _ask(200, {"plan_type": "plus", "rate_limit": limit})
    window = QuotaSeen("account", Unit.PERCENT, Window.PLAN, 100, 88, START + 600)
    assert report == PlanReport((window,), reached=False)


@pytest.mark.parametrize(
    ("status", "body"),
    [(429, {}), (401, {"detail": "Unauthorized"}), (200, b"<html>"), (200, {}), (200, []), (200, b"[" * 9_000)],
)
async def test_what_tells_no_window_is_no_report(status: int, body: Any) -> None:
    """Refused, or something else: an error, never an empty report."""
    with pytest.raises(UpstreamError):
        await _ask(status, body)


async def test_an_address_that_is_none() -> None:
    """Said like any other trouble."""
    transport = Transport()
    transport.refuse = ValueError("no scheme")
    with pytest.raises(UpstreamError, match="address"):
        await read_usage(transport, "nonsense", {}, START)
