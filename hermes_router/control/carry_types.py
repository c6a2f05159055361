# ruff: noqa: RUF012 - msgspec copies such defaults; ruff does not see that these are its structs
"""The control API's types for `hr export` and `hr import`: a set-up as it is carried to another machine.

Owns shapes, names and the version of the file. Only with secrets does a bundle hold any: then in clear, and `hr`
keeps it in a private file.
"""

from typing import Any, Final

from hermes_router.control.account_types import Type

__all__ = ["FORMAT", "Bundle", "Carried", "CarriedRow", "CarryIn", "CarryOut", "Given"]

FORMAT: Final = 1
"""Raised when an older `hr import` could not know what a bundle means."""


class Given(Type, frozen=True):
    """A provider's key, or the command that prints it. `account` is the owner's label, empty = none."""

    provider: str
    key: str = ""
    command: list[str] = []
    account: str = ""

    def __repr__(self) -> str:
        return f"Given(provider={self.provider!r}, account={self.account!r})"


class Bundle(Type, frozen=True):
    """A set-up. `settings` are raw texts by variable, `secret_settings` those that nobody may see.

    `providers` are the lines of the owner's providers.toml; `router_keys` are kept as digests, as router-keys.json has
    them; `embed_bindings` say which model made whose vectors; `accounts` are logins with their tokens. `left_out` says
    what was not taken along, and why.
    """

    hermes_router: str = "set-up"
    version: int = FORMAT
    made_by: str = ""
    made_at: str = ""
    with_secrets: bool = False
    settings: dict[str, str] = {}
    providers: list[str] = []
    router_keys: list[dict[str, Any]] = []
    embed_bindings: list[dict[str, Any]] = []
    secret_settings: dict[str, str] = {}
    keys: list[Given] = []
    accounts: list[dict[str, Any]] = []
    left_out: list[str] = []

    def __repr__(self) -> str:
        return f"Bundle(version={self.version}, with_secrets={self.with_secrets})"


class CarryOut(Type, frozen=True):
    """`POST /v1/export`."""

    with_secrets: bool = False


class CarryIn(Type, frozen=True):
    """`POST /v1/import`. `apply` False = only say what would change.

    Where something differs here: `conflicts` is `refuse` (then nothing is changed), `keep` (what is here) or `replace`.
    `accounts` = bring logins in, too: they must end at the old place. `test` = ask the providers about the keys.
    """

    bundle: Bundle
    apply: bool = False
    conflicts: str = "refuse"
    accounts: bool = False
    test: bool = False


class CarriedRow(Type, frozen=True):
    """One thing of a bundle. `kind`: `provider row`, `setting`, `router key`, `embedding`, `key`, `login`.

    `outcome`: `new`, `same`, `conflict`, `replaced`, `kept`, `left out` or `failed`; `said` explains. No secret is in
    it.
    """

    kind: str
    name: str
    outcome: str
    said: str = ""


class Carried(Type, frozen=True):
    """The answer: a row for each thing; `applied` False = nothing was changed. `notes` are to be shown once."""

    rows: list[CarriedRow]
    applied: bool = False
    notes: list[str] = []
