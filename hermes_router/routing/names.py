"""What a caller's model name means: one of the router's own profiles, a pin, or nothing.

Owns the names of `contract.md`, Callers. It must never look at the state of a target: a name means the same whether
its provider is up or down, and whether or not the provider that it named once still has a key.
"""

import difflib
from typing import TYPE_CHECKING, Literal, NamedTuple

from hermes_router.core.errors import UnknownModel

if TYPE_CHECKING:
    from hermes_router.routing.roster import Roster

ROUTER = "hermes-router"
PROFILES: dict[str, Literal["main", "fast", "local"]] = {
    ROUTER: "main",
    f"{ROUTER}:fast": "fast",
    f"{ROUTER}:local": "local",
}
LOCAL_PREFIX = "local/"  # always a pin, whatever is loaded there
IGNORED = "ignored:model"


_ALIASES = {f"claude-{ROUTER}": ROUTER}  # Claude Code lists no name without `claude` in it (clients.md 7.21)


class Pin(NamedTuple):
    """One model and no other, on whatever credentials it has. `provider` None = every provider that has it."""

    provider: str | None
    model: str


class Resolved(NamedTuple):
    """What a name means; `warning` is for the response header, None where the name was honoured."""

    profile: Literal["main", "fast", "local"]
    pin: Pin | None = None
    warning: str | None = None


def resolve(name: str, roster: "Roster", *, strict: bool) -> Resolved:
    """Read a caller's model name.

    Raises UnknownModel (404) for a profile that does not exist and, where `strict`, for a name that is no pin.
    """
    name = name.strip()
    name = _ALIASES.get(name, name)
    profile = PROFILES.get(name)
    if profile is not None:
        return Resolved(profile)
    if name.startswith(f"{ROUTER}:"):
        raise UnknownModel(f"The profile {_short(name)} does not exist. Try {', '.join(PROFILES)}.", param="model")
    pin = _pin(name, roster)
    if pin is not None:
        return Resolved("main", pin)
    if strict:
        raise UnknownModel(f"The model {_short(name)} does not exist.{_near(name, roster)}", param="model")
    return Resolved("main", warning=IGNORED if name else None)


def _pin(name: str, roster: "Roster") -> Pin | None:
    provider, slash, model = name.partition("/")
    if slash and model:
        if name.startswith(LOCAL_PREFIX) or roster.knows(provider, model):
            return Pin(provider, model)
        # The whole name comes before the open catalogue: `openai/gpt-oss-120b` is Groq's own id of a model.
        if roster.whole(name):
            return Pin(None, name)
        return Pin(provider, model) if roster.open_catalogue(provider) else None
    return Pin(None, name) if roster.whole(name) else None


def _near(name: str, roster: "Roster") -> str:
    near = difflib.get_close_matches(name, [*PROFILES, *roster.names()], n=3, cutoff=0.4)
    return f" Near ones: {', '.join(near)}." if near else ""


def _short(name: str) -> str:
    return repr(name[:100])
