"""What a check found, in one of five states.

Owns the words of the states and their order. Pure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from hermes_router.cli.doctor.scene import Scene

__all__ = ["ORDER", "Check", "Finding", "Look", "Result", "State", "advice", "fault", "ok", "skipped", "warning"]

State = Literal["fault", "warning", "advice", "skipped", "ok"]
ORDER: Final[tuple[State, ...]] = ("fault", "warning", "advice", "skipped", "ok")
"""The worst first. Faults and warnings are what is wrong; the others are not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence on what is, one on what to do; `subject` says of which of several things."""

    state: State
    said: str
    cure: str = ""
    subject: str = ""


Look = Callable[["Scene"], Finding | Sequence[Finding]]


class Check(NamedTuple):
    """One check. `what` is for the page of documents. It may take `limit_s` seconds.

    `network` = it leaves the machine, and is skipped by --offline.
    """

    ident: str
    title: str
    group: str
    what: str
    look: Look
    limit_s: float = 5.0
    network: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A finding with its check, and how long the look took, in milliseconds."""

    check: Check
    finding: Finding
    took_ms: int


def ok(said: str, *, subject: str = "") -> Finding:
    """It is well."""
    return Finding("ok", said, subject=subject)


def advice(said: str, cure: str, *, subject: str = "") -> Finding:
    """It is well, and could be better."""
    return Finding("advice", said, cure, subject)


def warning(said: str, cure: str, *, subject: str = "") -> Finding:
    """It works, and something is wrong that will be felt."""
    return Finding("warning", said, cure, subject)


def fault(said: str, cure: str, *, subject: str = "") -> Finding:
    """It does not work, or not safely."""
    return Finding("fault", said, cure, subject)


def skipped(said: str, *, subject: str = "") -> Finding:
    """It could not be looked at, or need not be."""
    return Finding("skipped", said, subject=subject)
