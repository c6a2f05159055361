# ruff: noqa: RUF012 - msgspec copies such defaults; ruff does not see that these are its structs
"""The control API's types for setting a router up: what the rows say of providers, and what is taken over.

Owns shapes and names, as `types.py`. No type has a field for a router key or for a token: of those, digests and paths
travel.
"""

from hermes_router.control import types as t

__all__ = [
    "AdoptKey", "AdoptLogins", "AdoptedKey", "AdoptedLogin", "AdoptedLogins", "Catalog", "CatalogRow",
    "KeepCredentials",
]  # fmt: skip


class CatalogRow(t.Type, frozen=True):
    """What a provider's row says, as far as somebody who chooses among providers asks.

    `auth` is `key`, `login` or `none` (a key is then not needed, and may be given). `price_class` is that of its
    cheapest models; `context` (tokens) and `tier` are the best among those, and `tools` = one of them is known to take
    tools. `requests_day` is the published allowance, None where nothing is published by the day. `variables` are the
    names of its key, without plurals and numbers. `base_url` is the owner's, empty where the row's own is in force.
    `usual` has addresses where its servers usually listen, by the program's name.
    """

    name: str
    title: str
    auth: str = "key"
    state: str = ""
    price_class: str = "paid"
    context: int | None = None
    tier: int = 3
    tools: bool = False
    requests_day: int | None = None
    trains: bool | None = None
    signup: str = ""
    free: str = ""
    variables: list[str] = []
    base_url: str = ""
    usual: dict[str, str] = {}


class Catalog(t.Type, frozen=True):
    """`GET /v1/catalog`: all rows, in their order."""

    rows: list[CatalogRow]


class KeepCredentials(t.AddCredentials, frozen=True):
    """`POST /v1/credentials/keep`: as adding, and a key that only stands in the daemon's environment is stored, too."""


class AdoptKey(t.Type, frozen=True):
    """`POST /v1/keys/adopt`: a router key that callers have already, by its digest (SHA-256, hex) and its end."""

    name: str
    digest: str
    tail: str
    providers: list[str] | None = None
    rpm: int | None = None
    budget_microusd: int | None = None


class AdoptedKey(t.Type, frozen=True):
    """The answer. `outcome`: `stored`, or `known`, and then it is as it was."""

    row: t.KeyRow
    outcome: str


class AdoptLogins(t.Type, frozen=True):
    """`POST /v1/accounts/adopt`: the accounts in the file `path` of the original router.

    `cli_path` is where the official CLI keeps its login: the original copied it from there, so that the two may hold
    one login.
    """

    path: str
    cli_path: str = ""


class AdoptedLogin(t.Type, frozen=True):
    """One account. `outcome`: `stored`, `replaced`, `known`, or `refused`; `row` is None where nothing came of it."""

    outcome: str
    tail: str = ""
    said: str = ""
    row: t.AccountRow | None = None


class AdoptedLogins(t.Type, frozen=True):
    """The answer, in the file's order; `notes` are shown once (the terms)."""

    rows: list[AdoptedLogin] = []
    notes: list[str] = []
