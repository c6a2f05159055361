"""Checks of keys, models and limits: what the pool is made of, and whether it will hold.

Owns their judgement, over what the daemon says of itself; where none runs, over what its files say. It asks nobody.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from hermes_router.cli import words
from hermes_router.cli.doctor.finding import Finding, advice, fault, ok, skipped, warning
from hermes_router.cli.doctor.scene import Scene
from hermes_router.cli.states import REASONS
from hermes_router.control import health_types as h
from hermes_router.control import types as t

__all__ = [
    "accounts", "budgets", "context", "images", "keys", "quota", "retired", "secrets", "single_provider", "tools",
    "vault",
]  # fmt: skip

AGENTS_WINDOW: Final = 64_000
"""Tokens: what an agent such as Hermes needs of a window before it starts."""

_SOON_S: Final = 12 * 3600.0
_MUCH: Final = 0.8
_SCARCE: Final = 0.1
_ADD: Final = "`hr auth add PROVIDER` adds a key; `hr provider list` says where they are free"
_UNASKED: Final = "no daemon runs, so nobody knows"


# --- where keys rest ----------------------------------------------------------------------------------


def vault(scene: Scene) -> Finding:
    """Does the keyring answer, where keys rest in it?"""
    report = scene.report
    if report is None:
        return skipped(scene.unread)
    if report.keyring:
        lost = sum(1 for one in report.stored if one.store == "keyring" and one.reason)
        said = report.keyring + (f"; {words.some(lost, 'key')} in it cannot be used" if lost else "")
        make = fault if lost else warning
        return make(said, report.keyring_cure or "unlock it, or `hr auth migrate --to file`")
    where = {"keyring": "the keyring answers", "file": "keys rest in a private file"}
    return ok(where.get(report.store, "no key was stored yet"))


def secrets(scene: Scene) -> Finding | Sequence[Finding]:
    """Stored keys whose secret is not where it should be."""
    report = scene.report
    if report is None:
        return skipped(scene.unread)
    lost = [one for one in report.stored if one.reason and not (one.store == "keyring" and report.keyring)]
    if not lost:
        return ok(
            f"{words.some(len(report.stored), 'stored key')}, each with its secret" if report.stored else "none stored"
        )
    return [
        fault(
            f"{one.provider} …{one.tail}: {one.reason}",
            f"`hr auth add {one.provider}` with that key again, or `hr auth remove {one.provider} {one.tail}`",
            subject=f"{one.provider} …{one.tail}",
        )
        for one in lost
    ]


# --- keys and accounts ---------------------------------------------------------------------------------


def keys(scene: Scene) -> Finding | Sequence[Finding]:
    """Keys that are revoked, paused or without credit; or none at all."""
    pool = _pool(scene)
    if scene.status is None:
        if scene.report is None:
            return skipped(scene.unread)
        if not pool:
            return fault("no provider has a key", _ADD)
        return ok(
            f"{words.some(sum(scene.report.keys.values()), 'key')}; whether they are good, a running daemon knows"
        )
    if not scene.status.targets:
        return fault("no provider has a key", _ADD)
    logins = {row.id for row in scene.status.accounts}
    found = [_key(row, scene.now) for row in scene.status.credentials if row.id not in logins]
    bad = [one for one in found if one is not None]
    if not any(row.state == "ready" for row in scene.status.targets):
        bad.insert(0, _nothing_ready(scene.status, scene.now))
    return bad or ok(f"{words.some(len(scene.status.credentials), 'key')} in use, none of them in trouble")


def _nothing_ready(status: t.Status, now: float) -> Finding:
    back = min((row.until for row in status.targets if row.until), default=None)
    when = f"; the first returns {words.when(back, now)}" if back is not None else ""
    return fault(f"no target can answer now{when}", "`hr status` shows each; " + _ADD)


def _key(row: t.CredentialRow, now: float) -> Finding | None:
    name = f"{row.provider} …{row.tail}"
    why = REASONS.get(row.reason, row.reason) or row.state
    again = f"`hr auth test {row.provider}` asks again; a new one: `hr auth add {row.provider}`"
    match row.state:
        case "revoked":
            return fault(f"{name} is revoked: {why}", again, subject=name)
        case "paused":
            credit = "credit" in why
            cure = (
                f"put money on the account at {row.provider}, then `hr auth test {row.provider}`" if credit else again
            )
            return warning(f"{name} is paused: {why}, next try {words.when(row.until, now)}", cure, subject=name)
        case _:  # what cannot be read is told by `secrets` and `vault`, what merely rests by `quota`
            return None


def single_provider(scene: Scene) -> Finding:
    """Does everything hang on one provider?"""
    providers = sorted({row.provider for row in _pool(scene)})
    if not providers:
        return skipped("there is no pool yet")
    if len(providers) > 1:
        return ok(f"{len(providers)} providers: {words.listing(providers)}")
    return advice(f"every target is {providers[0]}'s: if that fails, nothing is left", _ADD)


def accounts(scene: Scene) -> Finding | Sequence[Finding]:
    """Logins that have ended, or will soon and cannot renew themselves."""
    if scene.status is None:
        return skipped(_UNASKED)
    if not scene.status.accounts:
        return skipped("there is no login")
    found = [_account(row, scene.now) for row in scene.status.accounts]
    return [one for one in found if one is not None] or ok(f"{words.some(len(found), 'login')}, good")


def _account(row: t.AccountRow, now: float) -> Finding | None:
    name = f"{row.provider} {row.account or row.email or '…' + row.tail}"
    login = f"`hr auth login {row.provider}`"
    if row.state == "revoked" or (row.state == "paused" and "credit" not in row.reason):
        return fault(f"{name} needs a login: {row.reason or 'it has ended'}", login, subject=name)
    if row.expires_at is not None and row.expires_at < now:
        return warning(f"{name}: its token has ended {words.when(row.expires_at, now)}", login, subject=name)
    if row.read_only and row.expires_at is not None and row.expires_at < now + _SOON_S:
        said = f"{name} is borrowed and ends {words.when(row.expires_at, now)}: it is not renewed here"
        return warning(said, f"use the program that it is borrowed from once, or {login}", subject=name)
    return None


# --- models -------------------------------------------------------------------------------------------


def context(scene: Scene) -> Finding:
    """Is there a model with room for an agent's work?"""
    pool = _pool(scene)
    if not pool:
        return skipped("there is no pool yet")
    known = [row for row in pool if row.context is not None]
    if not known:
        return skipped("no window is known yet: unknown ones count as 64,000 tokens")
    largest = max(known, key=lambda row: row.context or 0)
    enough = sorted({row.provider for row in known if (row.context or 0) >= AGENTS_WINDOW})
    if not enough and len(known) == len(pool):
        return warning(
            f"the largest window is {words.count(largest.context or 0)} tokens ({largest.provider}/{largest.model}); "
            "agents such as Hermes need 64k",
            "`hr models` shows windows; add a provider or a model with a larger one (`hr model set`)",
        )
    if len(enough) == 1 and len({row.provider for row in pool}) > 1:
        return advice(
            f"only {enough[0]} is known to have a window of 64k or more",
            "a long conversation of an agent cannot move elsewhere: add another, see `hr models`",
        )
    return ok(f"up to {words.count(largest.context or 0)} tokens; 64k or more at {words.listing(enough) or 'none'}")


def tools(scene: Scene) -> Finding:
    """Is there a model that takes tools?"""
    return _able(
        scene,
        "tools",
        "takes tools, and agents need them",
        "`hr models` shows which do; `hr model set` chooses; PROVIDER_SUPPORTS_TOOLS=1 where you know better",
        fault,
    )


def images(scene: Scene) -> Finding:
    """Is there a model that takes images?"""
    return _able(
        scene, "images", "takes images: requests with one are refused", "`hr models` shows which models do", advice
    )


def _able(scene: Scene, what: str, said: str, cure: str, make: Callable[[str, str], Finding]) -> Finding:
    pool = _pool(scene)
    if not pool:
        return skipped("there is no pool yet")
    able = sorted({row.provider for row in pool if getattr(row, what) == "yes"})
    if able:
        return ok(f"at {words.listing(able)}")
    if any(getattr(row, what) == "unknown" for row in pool):
        return skipped("nobody has said so of any model yet; the router finds out")
    return make(f"no model here {said}", cure)


def retired(scene: Scene) -> Finding | Sequence[Finding]:
    """Providers and models that are no more."""
    if scene.report is None:
        return skipped(scene.unread)
    return [
        warning(
            f"{row.provider}: {row.said}",
            f"`hr auth remove {row.provider}`, or `hr model set {row.provider} MODEL` with one that is there",
            subject=row.provider,
        )
        for row in scene.report.retired
    ] or ok("every provider and model of yours is still there")


def _pool(scene: Scene) -> list[h.PoolRow]:
    """The models that take part: as the daemon knows them by now, else as rows and files have them."""
    if scene.status is not None:
        return _of_targets(one for one in scene.status.targets if one.state != "disabled")
    return scene.report.pool if scene.report is not None else []


def _of_targets(targets: Iterable[t.TargetRow]) -> list[h.PoolRow]:
    return [
        h.PoolRow(
            provider=one.provider,
            model=one.model,
            context=one.context,
            tools=one.capabilities.get("tools", "unknown"),
            images=one.capabilities.get("images", "unknown"),
        )
        for one in targets
    ]


# --- limits -------------------------------------------------------------------------------------------


def budgets(scene: Scene) -> Finding | Sequence[Finding]:
    """Budgets of money that are nearly spent."""
    if scene.status is None:
        return skipped(_UNASKED)
    rows = (
        [("BUDGET_USD_DAY", scene.status.budget.limit_microusd, scene.status.budget.spent_microusd)]
        if (scene.status.budget is not None)
        else []
    )
    if scene.router_keys is not None:
        rows += [(f"router key {row.name}", row.budget_microusd, row.spent_microusd) for row in scene.router_keys.rows]
    set_ = [(name, limit, spent) for name, limit, spent in rows if limit]
    if not set_:
        return ok("no budget is set")
    found: list[Finding] = []
    for name, limit, spent in set_:
        share = spent / limit
        if share >= _MUCH:
            left = "is spent: paid models wait for midnight UTC" if share >= 1 else f"is spent to {share:.0%}"
            found.append(
                warning(
                    f"{name}: {words.money(limit)} a day {left}",
                    "`hr usage` shows on what; raise it, or leave the rest of the day to free models",
                    subject=name,
                )
            )
    return found or ok(f"{words.some(len(set_), 'budget')}, all below 80 %")


def quota(scene: Scene) -> Finding | Sequence[Finding]:
    """Long windows of quota that are at their end."""
    if scene.quota is None:
        return skipped(_UNASKED)
    low = [row for row in scene.quota.rows if _is_low(row)]
    if not low:
        return ok("no long window is below a tenth")
    found: dict[str, Finding] = {}
    for row in low:
        of = f"{row.provider} {row.model}".strip()
        what = f"{of}: {_left(row)} of this {row.window}'s {row.unit.replace('_', ' ')}"
        back = f", renewed {words.when(row.reset_at, scene.now)}" if row.reset_at else ""
        found.setdefault(
            of,
            advice(what + back, "the others serve meanwhile; `hr auth add` with another account adds more", subject=of),
        )
    return list(found.values())


def _is_low(row: t.QuotaRow) -> bool:
    is_long = row.window in {"day", "week", "month", "plan"}
    left = row.remaining
    return bool(is_long and row.binds and row.limit and left is not None and left <= row.limit * _SCARCE)


def _left(row: t.QuotaRow) -> str:
    return (
        "nothing is left"
        if not row.remaining
        else f"{words.count(row.remaining)} of {words.count(row.limit or 0)} left"
    )
