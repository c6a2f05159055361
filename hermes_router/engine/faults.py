"""What is wrong now: read off the pool, its accounts, the owner's budgets and the disk.

Owns the judgement of each fault and its sentence, which says what is so and what to do. It only reads; of a key it
names the last four characters. It must never know what was told before (`alerts.py`).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from hermes_router.core.accounts import CODEX, CodexAccount
from hermes_router.core.catalog import TargetFacts
from hermes_router.core.ids import CredentialId
from hermes_router.core.router_keys import RouterKey
from hermes_router.core.spans import span
from hermes_router.core.token_life import standing
from hermes_router.engine.alerts import Fault
from hermes_router.engine.context import Engine
from hermes_router.routing.slots import POOL_SCOPE

__all__ = ["faults"]

PASSING_S: Final = 60.0  # a pool that is merely limited, and is back within this, is no news
PASSING_HOLD_S: Final = 150.0  # unless it never is
NEARLY: Final = 0.8  # of a budget

_WHY: Final = {
    "rejected_key": "the provider rejects it",
    "no_credit": "it has no credit",
}


class _Stand(NamedTuple):
    """One target, as the ledger has it."""

    facts: TargetFacts
    state: str
    reason: str
    until: float | None


def faults(
    engine: Engine,
    now: float,
    *,
    accounts: Iterable[CodexAccount] = (),
    router_keys: Iterable[RouterKey] = (),
    troubles: Mapping[str, str] | None = None,
) -> list[Fault]:
    """All that is wrong at `now`. `troubles` maps a file that cannot be written to the reason."""
    stands = [_Stand(f, *_stands(engine, f, now)) for f in engine.snapshot.roster.facts]
    logins = [fault for account in accounts if (fault := _login(account, now)) is not None]
    down = _pool(stands, now)
    return [
        *([down] if down is not None else []),
        *_keys(stands, {fault.subject for fault in logins}),
        *logins,
        *_budgets(engine, router_keys, now),
        *(_disk(file, reason) for file, reason in (troubles or {}).items()),
    ]


def _stands(engine: Engine, facts: TargetFacts, now: float) -> tuple[str, str, float | None]:
    state, reason, until = engine.state.stance(facts, now)
    return state, reason or "", until


# --- the pool -----------------------------------------------------------------------------------------


def _pool(stands: list[_Stand], now: float) -> Fault | None:
    """Nothing is ready. Where a try is due, `/ready` says yes, and nobody knows: that neither begins it nor ends it."""
    if any(one.state == "ready" for one in stands):
        return None
    if not stands:
        text = "No provider has a key that can be used. `hr auth add PROVIDER` adds one; `hr status` shows why."
        return Fault("pool_down", "pool", "The pool", text)
    due = [one for one in stands if one.state != "disabled" and one.until is not None and one.until <= now]
    if due:
        name = due[0].facts.provider.name
        text = f"No target has answered of late. The next request asks {name} again; `hr status` shows all of them."
        return Fault("pool_down", "pool", "The pool", text, sure=False)
    back = [one for one in stands if one.until is not None and one.state != "disabled"]
    if not back:
        text = "No target can answer, and none comes back by itself. `hr status` shows why, `hr auth test` asks again."
        return Fault("pool_down", "pool", "The pool", text)
    first = min(back, key=_until)
    wait_s = _until(first) - now
    again = "returns first" if first.state == "cooling" else "is asked again first"
    text = (
        f"No target can answer. {first.facts.provider.name} {again}, in {span(wait_s)} ({_clock(_until(first))}); "
        "`hr auth add PROVIDER` adds another at once."
    )
    passing = first.state == "cooling" and wait_s <= PASSING_S
    return Fault("pool_down", "pool", "The pool", text, hold_s=PASSING_HOLD_S if passing else None)


def _until(stand: _Stand) -> float:
    return stand.until or 0.0


# --- keys and logins ----------------------------------------------------------------------------------


def _keys(stands: list[_Stand], logins: set[str]) -> list[Fault]:
    """Credentials of which no target is left that is not revoked. What needs a login is told as that."""
    mine: dict[CredentialId, list[_Stand]] = {}
    for one in stands:
        if one.facts.credential.kind != "none" and one.state != "disabled":
            mine.setdefault(one.facts.credential.id, []).append(one)
    found = []
    for ident, here in mine.items():
        if ident in logins or any(one.state != "revoked" for one in here):
            continue
        facts, reason = here[0].facts, here[0].reason
        label = f"The {facts.provider.name} key …{facts.credential.tail}"
        text = (
            f"{label} is out of use: {_WHY.get(reason, reason)}, and has for a day. It is tried once a day; "
            f"`hr auth test {facts.provider.name}` asks at once."
        )
        found.append(Fault("key_revoked", ident, label, text))
    return found


def _login(account: CodexAccount, now: float) -> Fault | None:
    """An account that nobody can renew any more; it may serve for a while yet."""
    state, said = standing(account, now)
    if state not in {"ending", "revoked"} and not (account.read_only and state == "expired"):
        return None
    label = f"The {CODEX} account {account.label or f'…{account.account_id[-4:]}'}"
    until = f" It serves until {_clock(account.expires_at)}." if state == "ending" and account.expires_at else ""
    return Fault("login_needed", account.id, label, f"{label}: {said}.{until}")


# --- money and the disk -------------------------------------------------------------------------------


def _budgets(engine: Engine, router_keys: Iterable[RouterKey], now: float) -> list[Fault]:
    found: list[Fault] = []
    for scope, limit, spent, ends_at in engine.state.budgets(now):
        whole = scope == POOL_SCOPE
        label = "The budget for all paid models" if whole else f"The budget of {scope.provider}"
        means = "paid models answer" if whole else "it answers"
        found += _budget(str(scope), label, spent, limit, f"{means} again at {_clock(ends_at)}")
    for key in router_keys:
        if key.budget_microusd:
            label = f"The budget of the router key {key.name[:30]}"
            spent = engine.limits.spent(key.id, now)
            found += _budget(f"key {key.id}", label, spent, key.budget_microusd, "the next day begins at 00:00 UTC")
    return found


def _budget(subject: str, label: str, spent: int, limit: int, returns: str) -> list[Fault]:
    """Both kinds where it is spent: whoever raises it a little is still near its end."""
    if not limit or spent < NEARLY * limit:
        return []
    over = spent >= limit
    said = f"{label} is {'spent' if over else f'at {100 * spent // limit} %'}: {_dollars(spent)} of {_dollars(limit)}"
    text = f"{said} today; {returns}." if over else f"{said} today."
    kinds = ("budget_spent", "budget") if over else ("budget",)
    return [Fault(kind, subject, label, text) for kind in kinds]


def _disk(file: str, reason: str) -> Fault:
    label = f"The file {file}"
    text = (
        f"{label} cannot be written ({reason}). Requests are served on; usage and what was learned of limits wait in "
        "memory, and are lost where the daemon ends. Make room."
    )
    return Fault("disk_full", file, label, text)


def _dollars(microusd: int) -> str:
    return f"${microusd / 1e6:,.2f}" if microusd >= 10_000 else f"${microusd / 1e6:.4f}"


def _clock(at: float) -> str:
    """`14:32 UTC`, with the day where the time alone would mislead a reader of tomorrow."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M UTC, %d %b")
