"""The control API's types for accounts that are logged in, and what all types have in common.

Owns shapes and names, as `types.py`, where they are found by everyone. No type has a field for a token.
"""

import msgspec

__all__ = [
    "AccountRow", "BeginLogin", "ImportLogin", "Imported", "Login", "PasteLogin", "RefreshAccounts", "Refreshed",
    "RefreshedRow", "Type", "WindowRow",
]  # fmt: skip


class Type(msgspec.Struct, kw_only=True, frozen=True):
    """Every type of the API."""


class WindowRow(Type, frozen=True):
    """A window of an account's plan, by its length: `5 h`, `week`. `reset_at`: epoch seconds, None while unknown."""

    name: str
    used_percent: int
    reset_at: float | None = None


class AccountRow(Type, frozen=True):
    """One account that was logged in; `tail` is the end of its id at the provider, `account` the owner's label.

    `route`: `plan` (the official way for apps) or `backend`. `state` as of a target; `expires_at` is the access token's
    end, None = unknown. `origin` is the file of the official CLI that shares this login, empty = ours alone;
    `read_only` = borrowed, never refreshed here.
    """

    provider: str
    id: str
    tail: str
    account: str = ""
    email: str = ""
    plan: str = ""
    route: str = "backend"
    state: str = "ready"
    reason: str = ""
    until: float | None = None
    expires_at: float | None = None
    refreshed_at: float | None = None
    origin: str = ""
    read_only: bool = False
    models: int = 0
    windows: list[WindowRow] = []


class ImportLogin(Type, frozen=True):
    """`POST /v1/accounts/import`: the login of the official CLI, from the file at `path`."""

    provider: str
    path: str
    account: str | None = None
    read_only: bool = False


class Imported(Type, frozen=True):
    """The answer. `outcome`: `stored`, `replaced` or `known`; `notes` are shown once (the terms)."""

    row: AccountRow
    outcome: str
    said: str = ""
    notes: list[str] = []


class BeginLogin(Type, frozen=True):
    """`POST /v1/accounts/login`. `way` is `browser` or `device`."""

    provider: str
    route: str = "backend"
    way: str = "browser"
    account: str | None = None


class PasteLogin(Type, frozen=True):
    """`POST /v1/accounts/login/{id}`: the address that a browser on another machine ended at."""

    text: str


class Login(Type, frozen=True):
    """A login: `state` is `waiting`, `done` (then `row` is there) or `failed` (then `code`, `said`, `next_step`).

    `url` is where the person goes; `user_code` what to type there; `listening` whether the browser's return reaches us
    by itself; `until` (epoch seconds) when it lapses.
    """

    id: str
    state: str
    route: str
    way: str
    url: str = ""
    user_code: str = ""
    listening: bool = False
    until: float = 0.0
    code: str = ""
    said: str = ""
    next_step: str = ""
    row: AccountRow | None = None
    notes: list[str] = []


class RefreshAccounts(Type, frozen=True):
    """`POST /v1/accounts/refresh`; `which` None = all of the provider's."""

    provider: str
    which: str | None = None


class RefreshedRow(Type, frozen=True):
    """`outcome`: `refreshed`, `kept` (nothing may or need be done), `failed` (for now) or `ended` (log in again)."""

    row: AccountRow
    outcome: str
    said: str = ""


class Refreshed(Type, frozen=True):
    """The answer."""

    rows: list[RefreshedRow]
