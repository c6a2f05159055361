"""A `.env` with names of ours in the current directory: it is pointed out, since it is not read.

Owns the look and its sentence, for commands that start a daemon or hand it keys. No value is ever shown.
"""

import os
import re
import tomllib
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Final

from hermes_router.cli import render
from hermes_router.cli.link import Link
from hermes_router.cli.trouble import Trouble, warn
from hermes_router.control import types as t
from hermes_router.control.places import Places, system_places, user_places

__all__ = ["assigned", "point_out"]

_NAME: Final = re.compile(rb"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")
_LARGEST: Final = 4 * 1024 * 1024
_SHOWN: Final = 3


def assigned(path: Path) -> list[str]:
    """The names that a `.env` gives values to. Raises OSError."""
    with path.open("rb") as file:
        data = file.read(_LARGEST).removeprefix(b"\xef\xbb\xbf")
    return [found.group(1).decode() for line in data.split(b"\n") if (found := _NAME.match(line))]


def point_out(*, env_file: Path | None = None, link: Link | None = None, system: bool = False) -> None:
    """Say so on standard error, in one line, where such a file lies here.

    In force is `env_file`, or what the daemon behind `link` reads, or what one of this person or the `system` does.
    """
    places = system_places(os.environ) if system else user_places(os.environ, env_file=env_file)
    try:
        path = Path.cwd() / ".env"
        names = assigned(path) if path.is_file() else []
        if not names or not (ours := _ours(names, places)):
            return
        in_force = _of_daemon(link) or places.env_file
        if in_force.exists() and path.samefile(in_force):
            return
    except OSError:
        return
    more = " and more" if len(ours) > _SHOWN else ""
    warn(
        f"{render.tilde(str(path))}: holds {', '.join(ours[:_SHOWN])}{more}, but is not read: settings lie in "
        f"{render.tilde(str(in_force))}; `hr start --env-file` names another"
    )


def _of_daemon(link: Link | None) -> Path | None:
    """The `.env` that it reads, which it may have been told by name; None where it does not say."""
    with suppress(Trouble, ValueError):
        if link is not None:
            _config, env_file, _rows = link.get("/v1/config", t.Config).files
            return Path(env_file)
    return None


def _ours(names: list[str], places: Places) -> list[str]:
    """Those that are variables of the router, with the owner's own rows."""
    from hermes_router.core.catalog_rows import overlay  # noqa: PLC0415 - parses the table
    from hermes_router.core.settings_parse import is_ours  # noqa: PLC0415

    shipped = tomllib.loads(resources.files("hermes_router.data").joinpath("providers.toml").read_text("utf-8"))
    try:
        own = tomllib.loads(places.providers_file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        own = {}
    catalog, _ = overlay(shipped, own, shipped_where="", own_where="")
    known = is_ours(catalog)
    return [name for name in dict.fromkeys(names) if known(name)]
