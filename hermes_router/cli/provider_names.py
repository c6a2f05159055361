"""A provider's name as a person writes it, found among those that the daemon knows.

Owns the reading of that one argument. Names come from the daemon, never from a table of ours.
"""

import re
from collections.abc import Sequence
from typing import Final

from hermes_router.cli.trouble import USAGE, Trouble, near
from hermes_router.control import types as t

# How keys begin at most providers; a word that begins so is a key, however short.
_PREFIXES: Final = re.compile(
    r"(sk|gsk|csk|nvapi|hf|ghp|gho|pat|xai|key|r8|glpat)[-_]\S{6,}|github_pat_\S+|AIza\S{8,}|eyJ\S{8,}"
)
_LONG: Final = 20
_VARIABLE: Final = re.compile(r"_(API_)?(KEY|TOKEN)S?$")
_ALL: Final = "`hr provider list` shows all of them"

EXPOSED: Final = "whoever is on this machine can read it in `ps`, and the shell's history keeps it"


def is_key(text: str) -> bool:
    """Whether a word begins like a key."""
    return _PREFIXES.match(text) is not None


def may_be_key(text: str) -> bool:
    """Whether a word that names nothing may well be a key, so that it must not be shown."""
    return is_key(text) or (len(text) >= _LONG and any(c.isdigit() for c in text) and " " not in text)


def find_provider(name: str, providers: Sequence[t.ProviderRow]) -> t.ProviderRow:
    """The provider of this name, any case, dashes or underscores. Raises Trouble (2) with what may have been meant."""
    wanted = name.strip().lower().replace("-", "_").replace(" ", "_")
    for row in providers:
        if row.name == wanted:
            return row
    if may_be_key(name):
        raise Trouble(
            f"this looks like a key, and it stands on the command line: {EXPOSED}",
            "name the provider only (`hr auth add groq`); the key is asked for, or read from a pipe",
            code=USAGE,
        )
    raise Trouble(
        f"no provider is called {name[:60]!r}",
        _meant(wanted, providers) or near(wanted, [row.name for row in providers]) or _ALL,
        code=USAGE,
    )


def _meant(wanted: str, providers: Sequence[t.ProviderRow]) -> str:
    """A provider that others know by this name: `google` by GOOGLE_API_KEY or its title, `moonshot` by a variable."""
    for row in providers:
        stems = {_VARIABLE.sub("", one).lower() for one in row.variables}
        if wanted in stems | {row.title.lower().replace(" ", "_"), *row.title.lower().split()}:
            return f"did you mean {row.name}?"
    return ""
