"""`hr uninstall-service`: the service goes, and what it left is named.

Owns the order in which a service is stopped and its units are removed. It must never touch keys and settings, nor a
unit that somebody else wrote.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from hermes_router.cli import render, words
from hermes_router.cli.service import init_system, managed, unit
from hermes_router.cli.service import system as install_system
from hermes_router.cli.service import writing as install_files
from hermes_router.cli.service.checks import check_rights
from hermes_router.cli.service.files import SERVICE, SOCKET, unit_paths
from hermes_router.cli.service.init_system import Scope
from hermes_router.cli.service.unit import Unit
from hermes_router.cli.trouble import REFUSED, Trouble
from hermes_router.control.places import system_places, user_places


@click.command("uninstall-service")
@click.option("--system", is_flag=True, help="The system service; needs root.")
@click.option("--force", is_flag=True, help="Also a unit that was edited or written by somebody else.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def uninstall_service(*, system: bool, force: bool, yes: bool) -> None:
    """Remove the service; keys and settings stay."""
    scope: Scope = "system" if system else "user"
    found = unit.look(scope)
    if not found.there:
        other = unit.installed("user" if system else "system")
        hint = f"the {'user' if system else 'system'} service is: `hr uninstall-service{'' if system else ' --system'}`"
        click.echo("No service is installed" + (f"; {hint}." if other and sys.platform != "darwin" else "."))
        return
    check_rights(scope, "uninstall-service", dry_run=False, force=True)
    paths = unit_paths(scope)
    if found.path not in paths.values():
        by_hand = "systemctl --user" if scope == "user" else "sudo systemctl"
        raise Trouble(
            f"nothing was removed: {found.why}",
            f"`{by_hand} disable --now {SERVICE}` stops and disables it; remove the file with what installed it",
            code=REFUSED,
        )
    install_files.refuse_foreign(found, force=force)
    if not yes and sys.stdin.isatty() and not click.confirm("Stop and remove the service?", default=True, err=True):
        raise Trouble("nothing was removed", "", code=REFUSED)
    link = managed.daemon_of(scope)
    if not found.manager_error and found.enabled | bool(found.active):
        managed.bring_down(found, link if link and link.ping.run in {"systemd", "launchd"} else None, now=False)
    if sys.platform != "darwin" and not found.manager_error:
        for name in (SOCKET, SERVICE):
            if paths[name].exists():
                init_system.systemctl(scope, "disable", name)
    gone = [path for path in paths.values() if install_files.remove(path)]
    if sys.platform != "darwin" and not found.manager_error:
        init_system.systemctl(scope, "daemon-reload", wait_s=30)
        init_system.systemctl(scope, "reset-failed", SERVICE, SOCKET)
    _say_removed(scope, gone, found)


def _say_removed(scope: Scope, gone: Sequence[Path], found: Unit) -> None:
    click.echo(f"Removed: {words.listing([render.tilde(str(path)) for path in gone])}.")
    for drop_in in found.drop_ins:
        click.echo(f"{render.tilde(drop_in)} stays: it is yours.")
    places = system_places({}) if scope == "system" else user_places(os.environ)
    kept = dict.fromkeys(str(p) for p in (places.config_dir, places.data_dir, places.state_dir) if p.exists())
    if scope == "system":
        kept |= dict.fromkeys(str(p) for p in install_system.credential_files())
    if kept:
        click.echo(f"Keys and settings stay: {words.listing([render.tilde(one) for one in kept], 9)}.")
    if found.lingering:
        click.echo(f"Lingering stays on; `loginctl disable-linger {init_system.user_name()}` ends it.")
    if scope == "system":
        click.echo(f"The user {install_system.USER} stays; `sudo userdel {install_system.USER}` removes it.")
