"""What can be wrong with vectors that came with status 200, each as a named behaviour.

A good embedding model has one length and one place in the order for each of its vectors; these lack one or the other,
or are no numbers at all. Owns the edits of a finished answer; the rest of what can go wrong is in `faults`.
"""

import base64
import copy
import math
from collections.abc import Callable
from typing import Any

from hermes_router.sandbox.embeddings import packed, unpacked
from hermes_router.sandbox.faults import Behaviour

Numbers = list[float]


def _edited(name: str, edit: Callable[[dict[str, Any]], None]) -> Behaviour:
    def whole(answer: dict[str, Any]) -> dict[str, Any]:
        changed = copy.deepcopy(answer)
        edit(changed)
        return changed

    return Behaviour(name, whole=whole)


def _rows(name: str, edit: Callable[[list[dict[str, Any]]], None]) -> Behaviour:
    return _edited(name, lambda answer: edit(answer["data"]))


def _change(row: dict[str, Any], change: Callable[[Numbers], Numbers]) -> None:
    """Change a vector in the encoding that it has."""
    held = row["embedding"]
    row["embedding"] = packed(change(unpacked(held))) if isinstance(held, str) else change(held)


def fewer_vectors(missing: int = 1) -> Behaviour:
    """The last inputs get no vector."""

    def edit(rows: list[dict[str, Any]]) -> None:
        del rows[-missing:]

    return _rows("fewer vectors", edit)


def more_vectors() -> Behaviour:
    """One vector that nobody asked for, with an index behind the last."""
    return _rows("more vectors", lambda rows: rows.append({**rows[-1], "index": len(rows)}))


def no_vectors() -> Behaviour:
    """An empty list."""
    return _rows("no vectors", list.clear)


def another_length(length: int) -> Behaviour:
    """All vectors have another length than the model's: cut off, or filled up with noughts."""

    def edit(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            _change(row, lambda numbers: (numbers + [0.0] * length)[:length])

    return _rows("another length", edit)


def uneven_lengths() -> Behaviour:
    """The last vector is one number shorter than the others."""
    return _rows("uneven lengths", lambda rows: _change(rows[-1], lambda numbers: numbers[:-1]))


def no_number(value: float = math.nan) -> Behaviour:
    """Something that is no number, or none that is finite, in the middle of the last vector."""

    def change(numbers: Numbers) -> Numbers:
        return [*numbers[: len(numbers) // 2], value, *numbers[len(numbers) // 2 + 1 :]]

    return _rows("no number", lambda rows: _change(rows[-1], change))


def null_number() -> Behaviour:
    """`null` in a list of floats."""

    def edit(rows: list[dict[str, Any]]) -> None:
        held = rows[-1]["embedding"]
        rows[-1]["embedding"] = [None, *(unpacked(held) if isinstance(held, str) else held)[1:]]

    return _rows("null number", edit)


def out_of_order() -> Behaviour:
    """The last first, each with its true index."""
    return _rows("out of order", list.reverse)


def same_index() -> Behaviour:
    """All say that they are the first."""

    def edit(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["index"] = 0

    return _rows("same index", edit)


def no_index() -> Behaviour:
    """Vectors in their order, and nothing that says which is which."""

    def edit(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            del row["index"]

    return _rows("no index", edit)


def no_usage() -> Behaviour:
    """Nothing is said of tokens."""

    def edit(answer: dict[str, Any]) -> None:
        del answer["usage"]

    return _edited("no usage", edit)


def other_encoding() -> Behaviour:
    """Floats where base64 was asked for, and base64 where floats were."""

    def edit(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            held = row["embedding"]
            row["embedding"] = unpacked(held) if isinstance(held, str) else packed(held)

    return _rows("other encoding", edit)


def broken_base64() -> Behaviour:
    """A vector in base64 that ends within a number."""

    def edit(rows: list[dict[str, Any]]) -> None:
        held = rows[0]["embedding"]
        text = held if isinstance(held, str) else packed(held)
        rows[0]["embedding"] = base64.b64encode(base64.b64decode(text)[:-1]).decode()

    return _rows("broken base64", edit)
