"""Unit files as text: filled in from the templates, quoted by systemd's rules, signed so that an edit is seen.

Owns quoting, the header and what a file of ours says about itself. Pure: it must never read or write a file, nor ask
systemd.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from hermes_router import __version__

__all__ = [
    "RESTARTS",
    "Header",
    "Unquotable",
    "backs_off",
    "body_of",
    "credentials_of",
    "environment_lines",
    "environment_of",
    "exec_line",
    "fill",
    "header_of",
    "listening_of",
    "plain_path",
    "program_of",
    "sign_plist",
]

# systemd counts restarts from the last start by hand, however long it went well since: the longest pause is one that
# callers can wait out, not one that would spare the machine most of a loop.
RESTARTS: Final = ("RestartSteps=5", "RestartMaxDelaySec=10s")
_MARK: Final = "Managed by hermes-router"
_HEAD: Final = re.compile(rf"^# {_MARK} (?P<version>\S+?):.*\n(?:#.*\n)*?# sha256 (?P<digest>[0-9a-f]{{64}})\n")
_PLIST_HEAD: Final = re.compile(
    rf"^(?P<xml><\?xml .*\?>\n)<!-- {_MARK} (?P<version>\S+?):.*; sha256 (?P<digest>[0-9a-f]{{64}}) -->\n"
)
_HEADER: Final = """\
# {mark} {version}: `hr install-service` writes this file anew, `hr uninstall-service` removes it.
# Changes of your own belong into a drop-in: {edit}
# sha256 {digest}
"""
_ENV: Final = "/usr/bin/env"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:=@,+-]+")
_PLACE: Final = re.compile(r"^@([A-Z_]+)@\n|@([A-Z_]+)@", re.MULTILINE)


class Unquotable(ValueError):
    """A path that no unit file can name."""


class Header(NamedTuple):
    """What a file says of its origin: by which version it was written, and whether it is as it was written."""

    version: str
    intact: bool


def fill(template: str, values: Mapping[str, str | Sequence[str]], *, edit: str) -> str:
    """The unit file, signed. A sequence stands for lines of their own, none for none.

    `edit`: the command that makes a drop-in.
    """

    def put(found: re.Match[str]) -> str:
        value = values[found[1] or found[2]]
        if isinstance(value, str):
            return value + ("\n" if found[1] else "")
        return "".join(f"{line}\n" for line in value)

    body = _PLACE.sub(put, template)
    digest = hashlib.sha256(body.encode()).hexdigest()
    return _HEADER.format(mark=_MARK, version=__version__, edit=edit, digest=digest) + body


def sign_plist(text: str, version: str) -> str:
    """A property list with the same header, as a comment after its first line."""
    first, _, rest = text.partition("\n")
    digest = hashlib.sha256(text.encode()).hexdigest()
    said = f"<!-- {_MARK} {version}: `hr install-service` writes this file anew; sha256 {digest} -->"
    return f"{first}\n{said}\n{rest}"


def header_of(text: str) -> Header | None:
    """The header; None for a file that is not ours."""
    found = _HEAD.match(text) or _PLIST_HEAD.match(text)
    if found is None:
        return None
    return Header(found["version"], hashlib.sha256(body_of(text).encode()).hexdigest() == found["digest"])


def body_of(text: str) -> str:
    """The file without its header, which also names a version."""
    found = _HEAD.match(text) or _PLIST_HEAD.match(text)
    return text if found is None else found.groupdict().get("xml", "") + text[found.end() :]


def program_of(text: str) -> str:
    """The program of ExecStart, as a path; empty where there is none."""
    found = re.search(rf'^ExecStart=:?(?:{_ENV} )?("(?:[^"\\]|\\.)*"|\S+)', text, re.MULTILINE)
    return "" if found is None else _unquoted(found[1])


def environment_of(text: str) -> dict[str, str]:
    """The variables of the `Environment=` lines, as `environment_lines` writes them."""
    found = {}
    for line in re.findall(r"^Environment=(.+)$", text, re.MULTILINE):
        name, _, value = _unquoted(line).partition("=")
        found[name] = value
    return found


def credentials_of(text: str) -> tuple[str, ...]:
    """The names of the encrypted credentials that a .service unit loads."""
    return tuple(re.findall(r"^LoadCredentialEncrypted=([^:\n]*):", text, re.MULTILINE))


def backs_off(text: str) -> bool:
    """Whether a .service unit has the pauses before a restart grow."""
    return all(f"\n{line}\n" in text for line in RESTARTS)


def listening_of(text: str) -> tuple[str, ...]:
    """The addresses of a .socket unit."""
    return tuple(re.findall(r"^ListenStream=(.*)$", text, re.MULTILINE))


def _unquoted(word: str) -> str:
    inner = re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word
    return inner.replace("%%", "%")


# --- quoting (systemd.syntax(7), systemd.service(5) "Command lines") -----------------------------------------


def exec_line(argv: Sequence[str]) -> str:
    """A command line for `ExecStart=` that runs exactly this. Raises Unquotable.

    A `$` is left alone by the prefix `:`, since in the program's own path it cannot be escaped. Quotes and backslashes
    are refused there altogether, and taken in an argument.
    """
    if any(sign in argv[0] for sign in "\"'\\"):
        if "=" in argv[0]:
            raise Unquotable(f"a unit file cannot name {argv[0]!r}")
        argv = (_ENV, *argv)
    said = " ".join(_quoted(word) for word in argv)
    return f":{said}" if "$" in said else said


def environment_lines(variables: Mapping[str, str]) -> list[str]:
    """`Environment=` lines, sorted. Raises Unquotable."""
    return [f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(variables.items())]


def plain_path(path: str) -> str:
    """A path for a setting that takes the rest of its line as it is, such as `EnvironmentFile=`. Raises Unquotable."""
    return _checked(path).replace("%", "%%")


def _quoted(word: str) -> str:
    said = _checked(word).replace("%", "%%")
    if _PLAIN.fullmatch(word):
        return said
    return '"' + said.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _checked(word: str) -> str:
    odd = [c for c in word if ord(c) < 0x20 or 0xD800 <= ord(c) <= 0xDFFF or c == "\x7f"]
    if odd or not word:
        raise Unquotable(f"a unit file cannot name {word!r}")
    return word
