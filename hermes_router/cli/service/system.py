"""What the system service needs before its first start: a user, its places, and keys that are encrypted at rest.

The user is an ordinary system user, not a dynamic one: people are put into its group to look at the daemon, which a
dynamic group does not allow, and /etc/hermes-router, where the daemon writes what `hr config set` asks for, must belong
to the same user after every start. Owns the commands that need root; it must never keep a key anywhere but encrypted.
"""

import errno
import os
import pwd
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import Final

import click

from hermes_router.cli.service import init_system
from hermes_router.cli.service.files import CREDENTIAL_PREFIX, CREDENTIALS, environment_file
from hermes_router.cli.service.init_system import Scope
from hermes_router.cli.service.writing import write
from hermes_router.cli.trouble import FAILED, REFUSED, USAGE, Trouble, warn
from hermes_router.control.places import system_places

__all__ = ["USER", "checked", "credential_files", "encrypt", "make_places", "make_user", "take_over_variables"]

USER: Final = "hermes-router"
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{2,63}")
_OWNERS_ONLY: Final = 0o700
_PRIVATE: Final = 0o600
_OTHERS_WRITE: Final = 0o022
_MOST_BYTES: Final = 1_000_000
_OLD_VARIABLES: Final = "service.env"
_SETTINGS: Final = ("config.toml", ".env", "providers.toml")
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
        place.mkdir(mode=_OWNERS_ONLY, exist_ok=True)
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchmod(folder, _OWNERS_ONLY)
            for name in _SETTINGS:
                if not _take_over(folder, name, owner):
                    warn(f"{place / name} is left as it is, being a link or no plain file; the service may not read it")
            if os.fstat(folder).st_uid == 0:
                os.fchown(folder, owner.pw_uid, owner.pw_gid)
        finally:
            os.close(folder)
    except OSError as error:
        raise Trouble(f"{place} cannot be made: {error.strerror}", "mend that, then try again", code=FAILED) from None


def take_over_variables(*, dry_run: bool) -> None:
    """Move the variables of the service from where units of earlier versions read them to where ours does.

    A file in the directory of the service's user is never followed, nor believed unless it is root's alone; it is only
    named then. Raises Trouble.
    """
    old, new = system_places({}).config_dir / _OLD_VARIABLES, environment_file("system")
    try:
        data = _of_root_alone(old)
    except FileNotFoundError:
        return
    except OSError:  # closed to us, or a link
        data = None
    if data is None or os.path.lexists(new):
        warn(f"{old} is read no longer: move what is meant for the service to {new}")
        return
    if dry_run:
        click.echo(f"{old} moves to {new}, where the unit reads it.")
        return
    try:
        new.parent.mkdir(parents=True, exist_ok=True)
        write(new, data, mode=_PRIVATE)
        old.unlink()
    except OSError as error:
        raise Trouble(f"{old} cannot be moved to {new}: {error.strerror}", "mend that, then try again") from None
    click.echo(f"{old} was moved to {new}, where the unit reads it.")


def _of_root_alone(path: Path) -> bytes | None:
    """What stands in a file that only root can change; None for another one, or one too long. Raises OSError."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        is_sound = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and not found.st_mode & _OTHERS_WRITE
        if not is_sound or found.st_uid != 0:
            return None
        data = file.read(_MOST_BYTES + 1)
        return data if len(data) <= _MOST_BYTES else None


def _take_over(folder: int, name: str, owner: pwd.struct_passwd) -> bool:
    """Give a file that root wrote to the service's user, closed to others; False where it is left as it is.

    The directory is that user's, who could swap the file for a link at any moment: what is looked at is what is
    opened, and changed by its descriptor alone. Another name of it (a hard link) may be a file of the system's.
    """
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a symbolic link, a socket
            return False
        raise
    try:
        found = os.fstat(fd)
        if found.st_uid not in {0, owner.pw_uid}:
            return True
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            return False
        os.fchmod(fd, _PRIVATE)
        if found.st_uid == 0:
            os.fchown(fd, owner.pw_uid, owner.pw_gid)
    finally:
        os.close(fd)
    return True


def encrypt(names: tuple[str, ...]) -> None:
    """Ask for each key, or read one a line from standard input, and keep it encrypted for this machine alone."""
    if not names:
        return
    keys = _asked(names)
    CREDENTIALS.mkdir(mode=_OWNERS_ONLY, parents=True, exist_ok=True)
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
        fresh.chmod(_PRIVATE)
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
