"""Checks of what the owner wrote: problems of the files, settings that do not count, files that others can read.

Owns those looks and their judgement. No value of a setting is ever in a finding.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from hermes_router.cli import render, words
from hermes_router.cli.doctor.finding import Finding, advice, fault, ok, skipped, warning
from hermes_router.cli.doctor.scene import Scene
from hermes_router.cli.service.files import environment_file
from hermes_router.cli.stray import assigned
from hermes_router.control import health_types as h
from hermes_router.core.variables import DERIVED, GLOBALS

__all__ = ["permissions", "settings", "shadowed", "stray_env"]


def settings(scene: Scene) -> Finding | Sequence[Finding]:
    """What is wrong in config.toml, `.env`, providers.toml and the stored files, each with its place."""
    report = scene.report
    if report is None and scene.is_closed:
        return skipped(scene.unread)
    if report is None:
        return warning(scene.unread or "the files could not be read", "see that this user can read them")
    found = _not_in_force(scene, report)
    for each in report.faults:
        where = render.tilde(each.where)
        said, _, step = each.said.partition("; ")
        if each.fatal:
            found.append(
                fault(said, f"mend {where}, then `hr start`: with it the daemon does not start", subject=where)
            )
        elif each.hint:
            found.append(advice(said, step or f"see {where or '`hr config list`'}", subject=where))
        else:
            # A fault says what becomes of it (`it is skipped`): that is no cure.
            found.append(
                warning(f"{said}{f'; {step}' if step else ''}", f"mend {where}, then `hr reload`", subject=where)
            )
    return found or ok("nothing in the files is in doubt")


def _not_in_force(scene: Scene, report: h.HealthReport) -> list[Finding]:
    """What the files say, and the daemon does not do yet."""
    found: list[Finding] = []
    if report.changed:
        names = words.listing(report.changed, 4)
        found.append(advice(f"{names} changed in the files since the daemon read them", "`hr reload` puts it in force"))
    if scene.ping is not None and scene.ping.port and report.port not in {0, scene.ping.port}:
        said = f"PORT is {report.port}, and the daemon still listens on {scene.ping.port}"
        found.append(advice(said, "`hr restart` takes it up without losing a request"))
    return found


def shadowed(scene: Scene) -> Finding:
    """Settings of a file that a stronger place hides."""
    report = scene.report
    if report is None:
        return skipped(scene.unread)
    if not report.shadowed:
        return ok("every setting that stands in a file counts")
    first = report.shadowed[0]
    names = words.listing([one.name for one in report.shadowed], 4)
    return advice(
        f"{names} in {render.tilde(first.weaker)} {'does' if len(report.shadowed) == 1 else 'do'} not count: "
        f"{render.tilde(first.stronger)} is stronger",
        f"take it out of one of the two; `hr config get {first.name}` shows what counts",
    )


def stray_env(scene: Scene) -> Finding:
    """A `.env` in the current directory that looks like ours, and is not read."""
    path = scene.cwd / ".env"
    try:
        if not path.is_file() or _is_in_force(path, scene):
            return ok("no .env lies here that could be taken for ours")
        names = assigned(path)
    except OSError as error:
        return skipped(f"{path} cannot be read: {error.strerror}")
    ours = [name for name in names if _is_ours(name, scene)]
    if not ours:
        return ok("the .env here has none of our names")
    return advice(
        f"{path} has {words.listing(ours, 3)}, and is not read",
        f"move what is meant for the router to {render.tilde(str(scene.places.env_file))}",
    )


def _is_in_force(path: Path, scene: Scene) -> bool:
    """Whether it is the `.env` that is read; one whose directory is closed to us is another."""
    with suppress(OSError):
        return path.samefile(scene.places.env_file)
    return False


def _is_ours(name: str, scene: Scene) -> bool:
    if name in {one.name for one in GLOBALS}:
        return True
    providers = {row.name for row in scene.status.providers} if scene.status is not None else set()
    if scene.report is not None:
        providers |= {*scene.report.keys, *(row.provider for row in scene.report.pool)}
    stem = re.sub(r"_API_KEYS?(_\d+)?$", "", name)
    if stem != name:
        return stem.lower() in providers or not providers or _is_shipped(stem)
    endings = (*(one.name for one in DERIVED), "_LIMITS")
    return any(name == f"{one.upper()}{ending}" for one in providers for ending in endings)


def _is_shipped(stem: str) -> bool:
    from hermes_router.cli.doctor.rows import shipped_names  # noqa: PLC0415 - parses the table

    return stem.lower() in shipped_names()


# --- who may read ---------------------------------------------------------------------------------------


def permissions(scene: Scene) -> Finding | Sequence[Finding]:
    """Private files and directories that others can read, or that are another user's."""
    places = scene.places
    uid = os.geteuid()
    if scene.is_system and uid != 0:
        return skipped("they are the system service's: root may look")
    found: list[Finding] = []
    seen = 0
    for path in _private(scene):
        try:
            this = path.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            found.append(
                warning(f"it cannot be seen: {error.strerror}", "run `hr doctor` as its owner", subject=str(path))
            )
            continue
        seen += 1
        mode = stat.S_IMODE(this.st_mode)
        shown = render.tilde(str(path))
        is_directory = stat.S_ISDIR(this.st_mode)
        if uid not in {this.st_uid, 0}:
            found.append(
                fault(
                    f"it belongs to user {this.st_uid}",
                    f"`sudo chown {uid} {shown}`: the daemon does not use what is another's",
                    subject=shown,
                )
            )
        elif mode & 0o077 and not (is_directory and path == places.config_dir and mode & 0o022 == 0):
            others = "changed" if mode & 0o022 else "read"
            wanted = "700" if is_directory else "600"
            found.append(
                warning(f"others can have it {others} (mode {mode:04o})", f"`chmod {wanted} {shown}`", subject=shown)
            )
    return found or ok(f"{words.some(seen, 'place')}, all closed to others")


def _private(scene: Scene) -> Iterator[Path]:
    places = scene.places
    yield from dict.fromkeys((places.config_dir, places.data_dir, places.state_dir))
    yield places.env_file
    yield environment_file("system") if scene.is_system else places.config_dir / "service.env"
    for folder in dict.fromkeys((places.data_dir, places.state_dir)):
        with suppress(OSError):
            yield from sorted(one for one in folder.iterdir() if one.is_file() and not one.name.startswith("."))
