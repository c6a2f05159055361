"""When an account's tokens are to be renewed, which of two is the newer, and how an account stands. Pure.

Owns the times of a token's life (facts/codex.md 3, 4 and 10; design.md 2.7). It must never know a clock or a disk: now
is an argument, and jitter is.
"""

from typing import Final, Literal

from msgspec.structs import replace

from hermes_router.core.accounts import CodexAccount, fingerprint, read_claims

__all__ = ["Standing", "adopted", "due_at", "newer", "standing"]

Standing = Literal["ready", "ending", "expired", "revoked"]

DAY_S: Final = 86_400.0
_AHEAD_S: Final = DAY_S  # the CLI waits until five minutes before the end: it finds the work done
_AHEAD_SHARE: Final = 0.2  # of a life too short for a day ahead, such as the plan route's hour
_JITTER_SHARE: Final = 0.1  # of the time ahead
_UNREADABLE_S: Final = 7 * DAY_S  # a life that nobody tells: the CLI takes eight days
_UNSURE_S: Final = 3_600.0
_UNSURE_SHARE: Final = 0.1
NEVER: Final = float("inf")


def due_at(account: CodexAccount, jitter: float) -> float:
    """When to renew it, in epoch seconds; infinity for never. `jitter` in [0, 1) moves it to earlier.

    Where a refresh token was sent and no answer came, it may be spent, and trying it may make the server withdraw what
    still works: such an account is tried when its access token is about to end anyway.
    """
    if not account.refreshable:
        return NEVER
    if account.expires_at <= 0.0:
        return account.last_refresh_at + _UNREADABLE_S * (1.0 - _JITTER_SHARE * jitter)
    life_s = max(account.expires_at - account.last_refresh_at, 0.0) if account.last_refresh_at > 0.0 else NEVER
    if account.spending_since is not None:
        return account.expires_at - min(_UNSURE_S, _UNSURE_SHARE * life_s)
    ahead_s = min(_AHEAD_S, _AHEAD_SHARE * life_s) * (1.0 + _JITTER_SHARE * jitter)
    due = account.expires_at - ahead_s
    if account.earliest_refresh_at is not None and account.earliest_refresh_at <= account.expires_at:
        due = max(due, account.earliest_refresh_at)
    return due


def newer(theirs: CodexAccount, ours: CodexAccount) -> bool:
    """Whether the other home's tokens of this login are the later ones: by the issuer's clock, then by ours."""
    if theirs.access_token == ours.access_token and theirs.refresh_token == ours.refresh_token:
        return False
    if ours.owed is not None and fingerprint(theirs.refresh_token) == ours.owed:
        return False  # that is the one that was spent for ours
    a, b = read_claims(theirs.access_token), read_claims(ours.access_token)
    for one, other in ((a.issued_at, b.issued_at), (a.expires_at, b.expires_at)):
        if one is not None and other is not None and one != other:
            return one > other
    return theirs.last_refresh_at > ours.last_refresh_at


def adopted(theirs: CodexAccount, ours: CodexAccount) -> CodexAccount:
    """Our account with the other home's tokens: what the owner said of it stays."""
    return replace(
        theirs,
        id=ours.id,
        label=ours.label,
        route=ours.route,
        client_id=ours.client_id,
        refresh_token=theirs.refresh_token if not ours.read_only else None,
        origin=ours.origin,
        read_only=ours.read_only,
        installation_id=ours.installation_id,
        user_id=ours.user_id or theirs.user_id,
        email=theirs.email or ours.email,
        plan=theirs.plan or ours.plan,
        added_at=ours.added_at,
    )


def standing(account: CodexAccount, now: float) -> tuple[Standing, str]:
    """How it stands, and a sentence where something is to be said of it.

    `ending` = it serves until its access token ends, and then needs a login; `revoked` = it needs one now.
    """
    expired = account.expired(now)
    again = "log in again: `hr auth login codex`, or `codex login` and `hr auth import-codex`"
    if account.dead is not None:
        return ("revoked" if expired else "ending"), f"its login has ended ({account.dead}); {again}"
    if account.read_only:
        said = "borrowed from the Codex CLI, which renews it"
        return ("expired", f"{said}: use `codex` once") if expired else ("ready", said)
    if account.refresh_token is None:
        return (
            ("revoked", f"it has expired and cannot be renewed; {again}") if expired else ("ready", "cannot be renewed")
        )
    if account.spending_since is not None and not expired:
        return "ready", "a renewal was cut off; it is tried again before the access token ends"
    return ("expired", "it is renewed with the next request") if expired else ("ready", "")
