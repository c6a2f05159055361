"""hermes_router/upstream/quota_check.py: what is left of an account's windows."""

import asyncio
from typing import Any

import pytest

from hermes_router.core.errors import UpstreamError
from hermes_router.upstream.quota_check import has_room

from ..fakes import Transport

DETAIL = {"limit": "100", "remaining": "74", "resetTime": "2030-01-01T00:00:00Z"}
SPENT = {**DETAIL, "remaining": "0"}


async def _ask(status: int, body: Any) -> bool:
    transport = Transport()
    transport.on("k", lambda flight: flight.answer(status, body))
    async with asyncio.timeout(5):
        return await has_room(transport, "http://k.invalid/usages", {})


@pytest.mark.parametrize(
    ("usage", "window", "room"), [(DETAIL, DETAIL, True), (DETAIL, SPENT, False), (SPENT, DETAIL, False)]
)
async def test_every_window_must_have_something_left(usage: Any, window: Any, room: bool) -> None:
    """Kimi's week and its five hours: one that is spent is enough for a no; numbers come as text."""
    assert await _ask(200, {"usage": usage, "limits": [{"window": {"duration": 300}, "detail": window}]}) is room


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {}), (401, {}), (200, b"<html>"), (200, {}), (200, {"remaining": "many"}), (200, {"remaining": True}),
     (200, b"[" * 9_000)],
)  # fmt: skip
async def test_what_tells_nothing_is_no_answer(status: int, body: Any) -> None:
    """Neither yes nor no."""
    with pytest.raises(UpstreamError):
        await _ask(status, body)


async def test_an_address_that_is_none() -> None:
    """Said like any other trouble."""
    transport = Transport()
    transport.refuse = ValueError("no scheme")
    with pytest.raises(UpstreamError, match="address"):
        await has_room(transport, "nonsense", {})
