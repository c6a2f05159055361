"""Checks of the service: whether the router comes back by itself after a crash and a reboot.

Owns the judgement of what `hr service status` sees.
"""

from collections.abc import Sequence

from hermes_router.cli import render
from hermes_router.cli.doctor.finding import Finding, advice, fault, ok, skipped, warning
from hermes_router.cli.doctor.scene import Scene
from hermes_router.cli.service import init_system, managed, unit
from hermes_router.cli.service.unit import Unit

__all__ = ["judge_linger", "judge_unit", "linger", "service", "two_services"]

_INSTALL = "`hr install-service` keeps it running over crashes and reboots"
_LINE = 200


def service(scene: Scene) -> Finding | Sequence[Finding]:
    """Is a service installed, ours, up to date, enabled and running?"""
    absence = init_system.absence("system")
    if absence:
        return skipped(f"no service here: {absence}")
    found = unit.looks()
    if not found:
        return advice("no service is installed: after a reboot nobody starts the router", _INSTALL)
    mine = "system" if scene.is_system else "user"
    port = scene.report.port if scene.report is not None else None
    return [
        judge_unit(
            one, unit.last_lines(one) if one.active == "failed" else [], port=port if one.scope == mine else None
        )
        for one in found
    ]


def judge_unit(one: Unit, last: Sequence[str], *, port: int | None = None) -> Finding:
    """One service; `last` is what it said last, where it failed; `port` is PORT in force there, None = not known."""
    again = f"`{managed.again(one.scope)}"
    what = f"the {one.scope}'s service"
    shown = render.tilde(str(one.path))
    if one.manager_error:
        step = (
            f"`loginctl enable-linger {init_system.user_name()}`"
            if one.lingering is False
            else "see `hr service status`"
        )
        return warning(f"{what} cannot be asked about: {one.manager_error}", step, subject=one.scope)
    if one.active == "failed":
        said = f"; it said: {last[-1][:_LINE]}" if last else ""
        return fault(
            f"{what} failed ({one.result or 'no reason is known'}){said}",
            f"`{init_system.journal(one.scope)}` shows more; once that is mended, `hr start`",
            subject=one.scope,
        )
    match one.standing:
        case "foreign":
            return warning(
                f"{shown} is not ours: {one.why}",
                f"see what it runs; {again} --force` puts ours there",
                subject=one.scope,
            )
        case "edited":
            return advice(
                f"{shown} was changed by hand",
                f"changes belong into a drop-in (`systemctl edit`); {again} --force` writes ours",
                subject=one.scope,
            )
        case "stale":
            return warning(f"{shown} is out of date: {one.why}", f"{again}` writes it anew", subject=one.scope)
        case _:
            elsewhere = managed.astray(one, port) if port is not None else ""
            if elsewhere:
                return warning(elsewhere, f"{again}` mends it", subject=one.scope)
            return _running(one, what, again)


def _running(one: Unit, what: str, again: str) -> Finding:
    if not one.enabled:
        return warning(
            f"{what} is not enabled: it does not start with the machine", f"{again}` enables it", subject=one.scope
        )
    if one.active in {"activating", "reloading"}:
        return advice(f"{what} is {one.active} now", "run `hr doctor` again in a moment", subject=one.scope)
    if one.active != "active":
        return warning(f"{what} does not run ({one.active or 'unknown'})", "`hr start` starts it", subject=one.scope)
    if one.needs_reload:
        step = f"`{managed.command(one.scope, 'daemon-reload')}`"
        return advice(f"{what} was changed since its manager read it", step, subject=one.scope)
    again_said = f", restarted {one.restarts} times since" if one.restarts else ""
    return ok(f"{what} is enabled and runs{again_said}", subject=one.scope)


def linger(_scene: Scene) -> Finding:
    """Does the user's service run while nobody is logged in?"""
    if init_system.absence("system"):
        return skipped("no service here")
    mine = next((one for one in unit.looks() if one.scope == "user"), None)
    if mine is None:
        return skipped("no service of this user is installed")
    return judge_linger(mine.lingering)


def judge_linger(lingering: bool | None) -> Finding:
    """Of what is known of lingering; None = nothing, or it means nothing here."""
    if lingering is None:
        return skipped("it is of no meaning here, or not to be seen")
    if lingering:
        return ok("lingering is on: the service runs with nobody logged in")
    return warning(
        "lingering is off: the router stops when you log out, and does not start at boot",
        f"`loginctl enable-linger {init_system.user_name()}`",
    )


def two_services(_scene: Scene) -> Finding:
    """Are there a user's and the system's service, both for one port?"""
    if init_system.absence("system"):
        return skipped("no service here")
    found = unit.looks()
    if len({one.scope for one in found}) < 2:
        return ok("there is one at most")
    return warning(
        "both a user's and the system's service are installed: they want the same port",
        "`hr uninstall-service` for the one, `hr uninstall-service --system` for the other; keys stay",
    )
