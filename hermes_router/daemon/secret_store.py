"""Opens the store of credentials as it fits this process: who runs us, and is there a session with a keyring?

Owns those two questions (facts/os.md 1.8). It must never read a secret.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from hermes_router.control.places import Places
from hermes_router.core.ports import Log
from hermes_router.store.keyring_store import PERSON_LIMIT_S, SERVICE, KeyringThread
from hermes_router.store.vault import CredentialStore

__all__ = ["is_headless", "open_store", "person_may_unlock"]

_RUN: Final = Path("/run/user")


def open_store(
    places: Places,
    environ: Mapping[str, str],
    *,
    uid: int,
    log: Log,
    now: Callable[[], float],
    platform: str = sys.platform,
    service: str = SERVICE,
) -> CredentialStore:
    """The store of this installation, with SECRET_STORE unread (`auto`): set `choice` once the settings are known.

    It is neither loaded nor has it asked a keyring: `load()` and `read_keyring()` do that. `service` is for tests.
    """
    headless = places.system or is_headless(environ, uid=uid, platform=platform)
    unlock_s = PERSON_LIMIT_S if not headless and person_may_unlock(environ, platform) else None
    keyring = KeyringThread(log=log, service=service, unlock_s=unlock_s)
    return CredentialStore(places.data_dir, choice="auto", keyring=keyring, headless=headless, log=log, now=now)


def is_headless(environ: Mapping[str, str], *, uid: int, platform: str = sys.platform, run: Path = _RUN) -> bool:
    """Whether no keyring can belong to this process: it is root's, or a service's that has no session bus."""
    if uid == 0:
        return True
    if platform == "darwin" or not environ.get("INVOCATION_ID"):
        return False
    return not environ.get("DBUS_SESSION_BUS_ADDRESS") and not (run / str(uid) / "bus").exists()


def person_may_unlock(environ: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Whether a person could be typing the password of the keyring: there is a display."""
    return platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
