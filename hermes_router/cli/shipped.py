"""Files that travel with the program: unit templates, completions, man pages.

Owns where they lie: beside the package's data where it was installed from a wheel, at the top of the tree in a
checkout. It must never know what is in them.
"""

from pathlib import Path
from typing import Final

__all__ = ["shipped"]

_PACKAGE: Final = Path(__file__).resolve().parent.parent


def shipped(folder: str, name: str) -> Path:
    """The path of `name` in `service`, `completions` or `man`. Raises FileNotFoundError where one is missing."""
    for top in (_PACKAGE / "data" / folder, _PACKAGE.parent / folder):
        path = top / name
        if path.is_file():
            return path
    raise FileNotFoundError(2, "it is missing from this installation; install hermes-router again", str(path))
