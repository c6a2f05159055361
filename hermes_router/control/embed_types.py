"""The control API's types for embeddings: which model makes the vectors of which router key.

Owns shapes and names, as `types.py`, where they are found by everyone.
"""

from hermes_router.control.account_types import Type

__all__ = ["EmbedBindingRow", "EmbedBindings"]


class EmbedBindingRow(Type, frozen=True):
    """One binding. `profile` is `main` or `local`.

    `dimensions` is a vector's length where none is asked for, 0 until a request has asked for none.
    `name` and `tail` are the router key's as `hr key list` has them, both empty where it is good no longer.
    """

    key_id: str
    profile: str
    provider: str
    model: str
    dimensions: int
    bound_at: float
    name: str = ""
    tail: str = ""


class EmbedBindings(Type, frozen=True):
    """`GET /v1/embed`."""

    rows: list[EmbedBindingRow]
