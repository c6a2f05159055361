"""What the system service needs before its first start: a user, its places, and keys that are encrypted at rest.

The user is an ordinary system user, not a dynamic one: people are put into its group to look at the daemon, which a
dynamic group does not allow, and /etc/hermes-router, where the daemon writes what `hr config set` asks for, must belong
to the same user after every start. Owns the commands that need root; it must never keep a key anywhere but encrypted.
"""

import os
import pwd
import re
import shutil
import sys
from pathlib import Path
from typing import Final

import click

from hermes_router.cli import init_system
from hermes_router.cli.init_system import Scope
from hermes_router.cli.service_files import CREDENTIAL_PREFIX, CREDENTIALS
from hermes_router.cli.trouble import FAILED, REFUSED, USAGE, Trouble
from hermes_router.control.places import system_places

__all__ = ["USER", "checked", "credential_files", "encrypt", "make_places", "make_user"]

USER: Final = "hermes-router"
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{2,63}")
_MINE_AND_GROUPS: Final = 0o750
_ROOT_ONLY: Final = 0o700
_ENCRYPT_S: Final = 30.0


def checked(names: tuple[str, ...], scope: Scope) -> tuple[str, ...]:
    """Names of credentials as variables. Raises Trouble."""
    found = tuple(dict.fromkeys(name.strip().upper().replace("-", "_") for name in names))
    if found and scope == "user":
        raise Trouble(
            "--credential is for --system: a user's service manager cannot decrypt",
            "`hr auth add` keeps a key in the keyring or a private file",
            code=USAGE,
        )
    for name in found:
        if not _NAME.fullmatch(name) or not re.search(r"(KEY|TOKEN)S?$", name):
            raise Trouble(
                f"{name[:40]!r} is no variable that holds a key", "name one such as GROQ_API_KEY; the key is asked for",
                code=USAGE,
            )  # fmt: skip
    return found


def make_user() -> None:
    """The user and group, if there are none. Raises Trouble."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        pass
    else:
        return
    home, shell = str(system_places({}).state_dir), "/usr/sbin/nologin"
    if shutil.which("systemd-sysusers"):
        line = f'u {USER} - "hermes-router daemon" {home} {shell}'
        done = init_system.run(["systemd-sysusers", "--inline", line])
    else:
        words = ["--system", "--user-group", "--no-create-home", "--home-dir", home, "--shell", shell, USER]
        done = init_system.run(["useradd", *words])
    if done.code:
        raise Trouble(f"the user {USER} could not be made: {done.said}", "make it by hand, then try again", code=FAILED)
    click.echo(f"The user and group {USER} were made; who is in the group may look: `sudo usermod -aG {USER} NAME`.")


def make_places() -> None:
    """/etc/hermes-router is the daemon's to write: systemd never gives that one away itself. Raises Trouble."""
    place, owner = system_places({}).config_dir, pwd.getpwnam(USER)
    try:
        place.mkdir(mode=_MINE_AND_GROUPS, exist_ok=True)
        for path in (place, *(place / name for name in ("config.toml", ".env", "providers.toml"))):
            if path.exists() and not path.is_symlink() and path.stat().st_uid == 0:
                os.chown(path, owner.pw_uid, owner.pw_gid)
        place.chmod(_MINE_AND_GROUPS)
    except OSError as error:
        raise Trouble(f"{place} cannot be made: {error.strerror}", "mend that, then try again", code=FAILED) from None


def encrypt(names: tuple[str, ...]) -> None:
    """Ask for each key, or read one a line from standard input, and keep it encrypted for this machine alone."""
    if not names:
        return
    keys = _asked(names)
    CREDENTIALS.mkdir(mode=_ROOT_ONLY, parents=True, exist_ok=True)
    for name, key in zip(names, keys, strict=True):
        path = CREDENTIALS / f"{CREDENTIAL_PREFIX}{name}"
        fresh = path.with_name(f".{path.name}.new")
        argv = ["systemd-creds", "encrypt", f"--name={name}", "-", str(fresh)]
        done = init_system.run(argv, given=key, wait_s=_ENCRYPT_S)
        if done.code:
            fresh.unlink(missing_ok=True)
            raise Trouble(
                f"{name} could not be encrypted: {done.said}", "`systemd-creds` of systemd 250 is needed", code=FAILED
            )
        fresh.chmod(0o600)
        fresh.replace(path)
        click.echo(f"{name} is encrypted in {path}.")


def _asked(names: tuple[str, ...]) -> list[str]:
    if sys.stdin.isatty():
        found = [str(click.prompt(name, hide_input=True, err=True)).strip() for name in names]
    else:
        found = [line.strip() for line in sys.stdin.read().splitlines() if line.strip()]
    if len(found) != len(names):
        raise Trouble(
            f"{len(found)} keys came in for {len(names)} names",
            "give one a line, in the order of --credential",
            code=REFUSED,
        )
    odd = [name for name, key in zip(names, found, strict=True) if not key or not key.isprintable() or " " in key]
    if odd:
        raise Trouble(f"what was given for {odd[0]} is no key", "give one key a line", code=REFUSED)
    return found


def credential_files() -> list[Path]:
    """The encrypted keys of the system service."""
    return sorted(CREDENTIALS.glob(f"{CREDENTIAL_PREFIX}*"))
