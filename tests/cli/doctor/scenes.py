"""Scenes for the checks: an installation in a directory, and what a daemon would say of itself."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hermes_router.cli.doctor.finding import Finding
from hermes_router.cli.doctor.scene import Scene
from hermes_router.control import health_types as h
from hermes_router.control import types as t
from hermes_router.control.places import Places

from ..samples import NOW, credential, ping, target


def places_in(home: Path) -> Places:
    """All directories made, closed to others."""
    made = Places(home / "config", home / "data", home / "state", home / "config" / ".env", home / "state" / "s")
    for each in (made.config_dir, made.data_dir, made.state_dir):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    return made


def report(home: Path, **changes: Any) -> h.HealthReport:
    """What a daemon without trouble reports."""
    places = places_in(home)
    values: dict[str, Any] = {
        "at": NOW, "config_dir": str(places.config_dir), "data_dir": str(places.data_dir),
        "state_dir": str(places.state_dir), "env_file": str(places.env_file), "default_key": False,
        "keys": {"groq": 1, "mistral": 1}, "store": "file", "descriptors": 65_536, "descriptors_open": 20,
        "memory_bytes": 80_000_000,
        "pool": [h.PoolRow(provider=name, model="m", context=131_072, tools="yes", images="yes")
                 for name in ("groq", "mistral")],
    }  # fmt: skip
    return h.HealthReport(**{**values, **changes})


def status(**changes: Any) -> t.Status:
    """Two providers, ready."""
    able = {"tools": "yes", "images": "yes"}
    values: dict[str, Any] = {
        "ping": ping(), "uptime_s": 7200.0, "ready": True, "mode": "round-robin",
        "targets": [target("groq", capabilities=able), target("mistral", capabilities=able)],
        "credentials": [credential("groq"), credential("mistral")],
    }  # fmt: skip
    return t.Status(**{**values, **changes})


def scene(home: Path, *, said: dict[str, Any] | None = None, **changes: Any) -> Scene:
    """A scene without trouble, a daemon that runs; `said` are changes of its report."""
    values: dict[str, Any] = {
        "places": places_in(home), "environ": {"HOME": str(home), "PATH": ""}, "now": NOW, "cwd": home,
        "daemon": "runs", "socket": home / "state" / "s", "ping": ping(port=0), "status": status(),
        "report": report(home, **(said or {})), "quota": t.QuotaReport(at=NOW), "router_keys": t.Keys(rows=[]),
    }  # fmt: skip
    return Scene(**{**values, **changes})


def absent(home: Path, *, said: dict[str, Any] | None = None, **changes: Any) -> Scene:
    """The same without a daemon."""
    gone: dict[str, Any] = {"daemon": "absent", "ping": None, "status": None, "quota": None, "router_keys": None}
    return scene(home, said={"descriptors": 0, "memory_bytes": 0, **(said or {})}, **{**gone, **changes})


def looked(look: Callable[[Scene], Finding | Sequence[Finding]], at: Scene) -> Finding:
    """The one finding of a check."""
    found = look(at)
    if isinstance(found, Finding):
        return found
    (one,) = found
    return one


def states(look: Callable[[Scene], Finding | Sequence[Finding]], at: Scene) -> list[str]:
    """The states of all that it found."""
    found = look(at)
    return [one.state for one in ([found] if isinstance(found, Finding) else found)]
