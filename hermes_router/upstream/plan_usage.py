"""Asks how full the windows of a subscription are, where its provider reports that at no cost.

Owns the question (facts/codex.md 9.2); the report is read by `wire/plan_windows.py`. It has a limit of its own, so it
is asked seldom. It must never decide what follows from it.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from hermes_router.core.errors import Malformed, UpstreamError
from hermes_router.core.ports import Outbound, Transport
from hermes_router.upstream.fetch import fetch
from hermes_router.wire.plan_windows import PlanReport, plan_report

__all__ = ["read_usage"]

_TIMEOUT_S: Final = 15.0
_MAX_BYTES: Final = 1_000_000


async def read_usage(transport: Transport, url: str, headers: Mapping[str, str], now: float) -> PlanReport:
    """The report of the account that `headers` belong to; `now` in epoch seconds.

    Raises UpstreamError where it is refused, and Malformed where it tells no window.
    """
    try:
        reply = await fetch(transport, Outbound("GET", url, headers), timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
    except ValueError as error:
        raise UpstreamError(f"the address cannot be asked: {error}") from None
    if reply.status != 200:
        raise UpstreamError(f"the usage report was refused with HTTP {reply.status}", status=reply.status)
    try:
        said = msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Malformed("the usage report cannot be read") from None
    report = plan_report(said, now)
    if not report.windows and not report.reached:
        raise Malformed("the usage report tells no window")
    return report
