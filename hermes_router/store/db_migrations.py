"""The tables of the state file, one numbered step after another.

Owns the schema. It must never know what is asked of the tables.
"""

import sqlite3
from collections.abc import Callable

__all__ = ["MIGRATIONS", "Migration"]

Migration = Callable[[sqlite3.Connection], None]
"""Takes the file from one version to the next, within a transaction."""


def _exchanges(connection: sqlite3.Connection) -> None:
    """1: exchanges, one row each with its record as JSON, and what they add up to by the day."""
    connection.execute(
        "CREATE TABLE exchanges (n INTEGER PRIMARY KEY, request_id TEXT NOT NULL, at REAL NOT NULL, "
        "failures INTEGER NOT NULL, record TEXT NOT NULL)"
    )
    connection.execute("CREATE INDEX exchanges_request_id ON exchanges (request_id)")
    connection.execute("CREATE INDEX exchanges_failed ON exchanges (n) WHERE failures > 0")
    connection.execute(
        "CREATE TABLE usage_daily (day INTEGER NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, "
        "credential TEXT NOT NULL, router_key TEXT NOT NULL, tail TEXT NOT NULL, "
        "requests INTEGER NOT NULL, failed INTEGER NOT NULL, attempts INTEGER NOT NULL, failovers INTEGER NOT NULL, "
        "input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, "
        "cost_microusd INTEGER NOT NULL, estimated_input_tokens INTEGER NOT NULL, "
        "estimated_output_tokens INTEGER NOT NULL, estimated_cost_microusd INTEGER NOT NULL, "
        "unpriced INTEGER NOT NULL, PRIMARY KEY (day, provider, model, credential, router_key)) WITHOUT ROWID"
    )


def _ledger(connection: sqlite3.Connection) -> None:
    """2: what the ledger remembers, a row each; `until` is when it means nothing any more, `mark` proves the rest."""
    connection.execute(
        "CREATE TABLE ledger (kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, at REAL NOT NULL, "
        "until REAL NOT NULL, mark INTEGER NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID"
    )


def _embed_bindings(connection: sqlite3.Connection) -> None:
    """3: where the vectors of a router key come from, a row for each of its profiles."""
    connection.execute(
        "CREATE TABLE embed_bindings (router_key TEXT NOT NULL, profile TEXT NOT NULL, provider TEXT NOT NULL, "
        "model TEXT NOT NULL, dimensions INTEGER NOT NULL, bound_at REAL NOT NULL, "
        "PRIMARY KEY (router_key, profile)) WITHOUT ROWID"
    )


MIGRATIONS: list[Migration] = [_exchanges, _ledger, _embed_bindings]
"""From version n to n + 1, in order. Never change one that was released: add the next."""
