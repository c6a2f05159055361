"""Plain values that came from outside, read without trust: numbers, texts, instants, scopes and targets.

Owns the bounds of what a dump may say. It never raises: what is not sound reads as absent. It must never know which
record a value belongs to.
"""

from collections.abc import Mapping
from typing import Any, Final

from hermes_router.core.ids import AccountId, CredentialId, ModelId, ProviderName, Target
from hermes_router.core.observations import Scope

MOST_TEXT: Final = 400
MOST_NUMBER: Final = 2**53  # what JSON carries exactly
YEAR_S: Final = 366 * 86_400.0  # nobody is told to wait longer: such an instant is no instant


def text(value: object, most: int = MOST_TEXT) -> str:
    """A text as it is, the empty one for anything else."""
    return value if isinstance(value, str) and len(value) <= most else ""


def whole(value: object, low: int = 0, high: int = MOST_NUMBER) -> int | None:
    """A whole number within its bounds, None for anything else."""
    return value if type(value) is int and low <= value <= high else None


def number(value: object, low: float = 0.0, high: float = MOST_NUMBER) -> float | None:
    """A finite number within its bounds, None for anything else."""
    if type(value) not in (int, float) or not isinstance(value, int | float) or not low <= value <= high:
        return None  # a comparison with NaN is never true
    return float(value)


def fields(value: object) -> Mapping[str, Any]:
    """A mapping as it is, an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def listed(value: object) -> list[Any]:
    """A list as it is, an empty one for anything else."""
    return value if isinstance(value, list) else []


class Instants:
    """Reads the instants of a dump made at `at` on a clock that says `now`; all in epoch seconds.

    A clock that was set back since takes them along: what was to last an hour still does, whichever clock was wrong.
    """

    def __init__(self, at: float, now: float) -> None:
        self.now = now
        self._at = at
        self._shift = min(0.0, now - at)

    def past(self, value: object) -> float:
        """An instant that has been, 0 where there was none; what lies ahead cannot be, and is now."""
        at = number(value)
        return 0.0 if not at else max(0.0, min(at + self._shift, self.now))

    def ahead(self, value: object, most_s: float = YEAR_S) -> float | None:
        """An instant, at most `most_s` seconds ahead; None for one beyond."""
        at = number(value)
        if at is None or at + self._shift > self.now + most_s:
            return None
        return max(0.0, at + self._shift)

    def told(self, value: object, most_s: float = YEAR_S) -> float | None:
        """The same of an instant that someone else named: it stays where it is, whatever became of our clock.

        Unless the clock was set back by more than was left until then: it was the old one that was wrong. So nobody
        waits more than twice as long as he was told to.
        """
        at = number(value)
        if at is None or at - self._at <= -self._shift:
            return self.ahead(value, most_s)
        return at if at <= self.now + most_s else None


def of_scope(scope: Scope) -> list[Any]:
    """Provider, account, credential, model, and whether it is our own address."""
    return [scope.provider, scope.account, scope.credential, scope.model, scope.ip]


def to_scope(row: object) -> Scope | None:
    """A scope from its row."""
    match row:
        case [
            str(provider),
            (str() | None) as account,
            (str() | None) as credential,
            (str() | None) as model,
            bool(ip),
        ]:
            if not text(provider) or not all(part is None or text(part) for part in (account, credential, model)):
                return None
            return Scope(
                ProviderName(provider),
                None if account is None else AccountId(account),
                None if credential is None else CredentialId(credential),
                None if model is None else ModelId(model),
                ip=ip,
            )
    return None


def of_target(target: Target) -> list[str]:
    """Provider, model, credential."""
    return [target.provider, target.model, target.credential]


def to_target(row: object) -> Target | None:
    """A target from its row."""
    match row:
        case [str(provider), str(model), str(credential)] if text(provider) and text(model) and text(credential):
            return Target(ProviderName(provider), ModelId(model), CredentialId(credential))
    return None
