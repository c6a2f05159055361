"""What speaks against installing a service, found before anything is written.

Owns the refusals, each with what to do instead. It changes nothing but lingering, without which some users have no
service manager that could be asked.
"""

import grp
import os
import pwd
import shlex
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from hermes_router.cli.link import Link, connect
from hermes_router.cli.service import init_system, reach
from hermes_router.cli.service.init_system import Scope
from hermes_router.cli.service.system import USER
from hermes_router.cli.trouble import REFUSED, Trouble, warn
from hermes_router.control import types as t

__all__ = ["check_program", "check_rights", "settle_manager", "would_lose"]

_CARRIED: Final = frozenset({"PORT", "HOST"})
_APPEAR_S: Final = 10.0
_LOOK_S: Final = 0.05
_INSTEAD: Final = (
    "`hr start` runs the router in the background without one; in a container let `hr serve` be its command"
)
_NOBODY: Final = 65_534


def check_rights(scope: Scope, command: str, *, dry_run: bool, force: bool) -> None:
    """Raises Trouble where this user may not, or surely did not mean to."""
    if scope == "system" and sys.platform == "darwin":
        raise Trouble(
            "macOS has no system service of ours: it could not reach your keychain", f"`hr {command}` makes your own",
            code=REFUSED,
        )  # fmt: skip
    if scope == "system" and os.geteuid() and not dry_run:
        ours = shlex.join([sys.argv[0] if os.path.isabs(sys.argv[0]) else "hr", command, "--system"])  # noqa: PTH117
        raise Trouble("the system service needs root", f"run `sudo {ours}`", code=REFUSED)
    if scope == "user" and not os.geteuid() and os.environ.get("SUDO_USER", "root") != "root" and not force:
        raise Trouble(
            f"this would be a service of root's own, not of {os.environ['SUDO_USER']}'s",
            f"run `hr {command}` without sudo, or with --system for the whole machine; --force goes on",
            code=REFUSED,
        )


def settle_manager(scope: Scope, *, dry_run: bool) -> None:
    """Raises Trouble where no manager could run a service. A user who never logged in gets one by lingering.

    A dry run says it, and goes on.
    """
    why = init_system.absence(scope)
    if not why:
        return
    if dry_run:
        can_be = sys.platform != "darwin" and not init_system.absence("system")
        warn(f"{why}: lingering would be switched on first" if can_be else f"no service could be installed: {why}")
        return
    if sys.platform != "darwin" and not init_system.absence("system"):
        name = init_system.user_name()
        done = init_system.run(["loginctl", "--no-ask-password", "enable-linger", name], wait_s=_APPEAR_S)
        deadline = time.monotonic() + _APPEAR_S
        while not done.code and init_system.absence(scope) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        if not init_system.absence(scope):
            return
        raise Trouble(
            f"no service can be installed: {why}",
            f"run `sudo loginctl enable-linger {name}`, then this again",
            code=REFUSED,
        )
    raise Trouble(f"no service can be installed: {why}", _INSTEAD, code=REFUSED)


def check_program(scope: Scope, *, force: bool) -> None:
    """Raises Trouble where the service's user could not run this installation, or where it will not last."""
    if force:
        return
    if reach.fleeting(Path(sys.executable)):
        raise Trouble(
            f"this hermes-router lies where things are cleared away: {sys.executable}",
            "install it for good (`pipx install hermes-router`, `uv tool install hermes-router`), then use that `hr`",
            code=REFUSED,
        )
    uid, gids = _identity(scope)
    said = reach.obstacle(reach.needed(), uid, gids, hides=scope == "system")
    if not said:
        return
    who = f"the service's user {USER}" if scope == "system" else init_system.user_name()
    raise Trouble(
        f"{who} could not run this hermes-router: {said}",
        "install it for all (`sudo pipx install --global hermes-router`, or a venv in /opt), then use that `hr`",
        code=REFUSED,
    )


def _identity(scope: Scope) -> tuple[int, list[int]]:
    """Who will run it; a user that is yet to be made is as anybody."""
    if scope == "user":
        return os.geteuid(), [os.getegid(), *os.getgroups()]
    try:
        found = pwd.getpwnam(USER)
        return found.pw_uid, [found.pw_gid, *(g.gr_gid for g in grp.getgrall() if USER in g.gr_mem)]
    except KeyError:
        return _NOBODY, [_NOBODY]


def would_lose(link: Link | None, kept: Collection[str] = ()) -> list[str]:
    """The names of what only the environment says: this shell's, or that of the daemon that runs.

    A key that is stored, too, is not lost, nor is a variable of `kept`.
    """
    if link is not None and link.ping.run in {"systemd", "launchd"}:
        return []
    asked = link or connect(needs_daemon=False)
    config = asked.get("/v1/config", t.Config)
    found = {row.name for row in config.rows if row.source == "environment"}
    held = asked.get("/v1/credentials", t.Credentials)
    variables = tuple(name for row in held.providers for name in row.variables)
    found = {name for name in found if not name.startswith(variables)}  # its keys are named one by one
    return sorted(found - _CARRIED - {*kept}) + [
        f"the key …{row.tail} of {row.provider}"
        for row in held.rows
        if row.source == "environment" and row.added_at is None
    ]
