"""What a real journal must have of a daemon's lines, for whoever has a real journal to ask."""

import json
from collections.abc import Callable
from typing import Any

Journalctl = Callable[..., str]
"""Runs `journalctl` with these arguments, where the daemon logs, and returns what it printed."""


def entries(journalctl: Journalctl, *matches: str) -> list[dict[str, Any]]:
    """The entries that match, `HR_REQUEST_ID=…` say, with their fields."""
    out = journalctl("--no-pager", "-o", "json", "--all", *matches)
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def check_exchange(journalctl: Journalctl, request_id: str, provider: str) -> None:
    """The journal has one line of an answered request, is asked by its fields, and shows a sentence."""
    [done] = entries(journalctl, f"HR_REQUEST_ID={request_id}", "HR_EVENT=exchange.done")
    assert done["MESSAGE"].startswith(f"answered by {provider}/")
    assert (done["PRIORITY"], done["SYSLOG_IDENTIFIER"], done["HR_OUTCOME"]) == ("6", "hermes-router", "answered")
    assert provider in ([done["HR_PROVIDER"]] if isinstance(done["HR_PROVIDER"], str) else done["HR_PROVIDER"])
    assert done in entries(journalctl, f"HR_PROVIDER={provider}")
    assert done not in entries(journalctl, f"HR_PROVIDER={provider}", "-p", "warning")
