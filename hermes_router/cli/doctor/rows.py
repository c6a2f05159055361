"""The names of the providers that are shipped.

Owns their reading from the table, for what must be known without a daemon.
"""

import tomllib
from functools import cache
from importlib import resources

__all__ = ["shipped_names"]


@cache
def shipped_names() -> frozenset[str]:
    """All of them."""
    table = resources.files("hermes_router.data").joinpath("providers.toml")
    return frozenset(tomllib.loads(table.read_text("utf-8")))
