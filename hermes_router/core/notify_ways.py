"""The two ways in which the owner can be told: an address that takes a POST, and a program.

Owns what may stand in NOTIFY_URL and NOTIFY_COMMAND. Either may hold a password or a token, so nothing here shows more
than a host or a program's name, and no error quotes what it was given.
"""

import ipaddress
import re
import shlex
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from hermes_router.core.ids import Secret

__all__ = ["NotifyAddress", "NotifyCommand", "read_address", "read_command"]

_AT_HOME: Final = (".local", ".lan", ".internal", ".home", ".home.arpa", ".localhost", ".localdomain")
_ESCAPED: Final = re.compile(r"[!-~]+")
_PLAIN: Final = re.compile(r"[a-z._-]*")
_WANTED: Final = "must be an https address such as https://ntfy.sh/your-topic"


@dataclass(frozen=True, slots=True)
class NotifyAddress:
    """NOTIFY_URL. `url` is without user info, `authorization` the value of that header; `shown` is all to be shown.

    `parts` are those by themselves confidential: what stands as password, in the path and in the query.
    """

    shown: str
    url: Secret
    authorization: Secret | None = None
    parts: tuple[Secret, ...] = field(default=(), repr=False)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Everything that no log may hold."""
        return (self.url, *self.parts, *([self.authorization] if self.authorization is not None else []))


@dataclass(frozen=True, slots=True)
class NotifyCommand:
    """NOTIFY_COMMAND, split as a shell would; there is no shell. Its arguments are shown to nobody."""

    argv: tuple[str, ...] = field(repr=False)

    @property
    def program(self) -> str:
        """What is run, without its directory."""
        return self.argv[0].rpartition("/")[2]


def read_address(text: str) -> NotifyAddress:
    """An https URL with a host; `user:password@` and `:token@` become basic authorization, as ntfy takes it.

    Without TLS only to this machine or the local network: what is told, and a topic that is a secret, stay there.
    Raises ValueError.
    """
    url = text.strip()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(_WANTED) from None
    if parts.scheme not in {"http", "https"} or not host or port == 0 or not _ESCAPED.fullmatch(url):
        raise ValueError(_WANTED)
    if parts.scheme == "http" and not _is_near(host):
        raise ValueError("must be https: without it, only this machine and the local network are told")
    authority = f"[{host}]" if ":" in host else host
    if port is not None:
        authority += f":{port}"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    login = None
    if parts.username is not None:
        login = Secret("Basic " + b64encode(f"{user}:{password}".encode()).decode())
    bare = parts._replace(netloc=authority, fragment="")
    return NotifyAddress(f"{parts.scheme}://{authority}/…", Secret(bare.geturl()), login, _parts(parts, password))


def read_command(text: str) -> NotifyCommand:
    """A command line, quoted as for a shell. Raises ValueError."""
    try:
        argv = shlex.split(text)
    except ValueError:
        raise ValueError("has a quote that is not closed") from None
    if not argv or not argv[0] or "\0" in text:
        raise ValueError("must be a program with its arguments")
    return NotifyCommand(tuple(argv))


def _parts(parts: SplitResult, password: str) -> tuple[Secret, ...]:
    """Passwords, and what looks like a token. A topic of plain words is left: `hermes-router` stands in every path."""
    words = [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query))]
    tokens = [word for word in words if not _PLAIN.fullmatch(word)]
    return tuple(Secret(word) for word in dict.fromkeys([password, parts.password or "", *tokens]) if word)


def _is_near(host: str) -> bool:
    """Whether a name or address (no brackets) is of this machine or its network, as far as it tells by itself."""
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return "." not in host.rstrip(".") or host.rstrip(".").endswith(_AT_HOME)
