"""A `.env` file's bytes to its variables, each with the line where it stands.

Owns the file's syntax: comments also after values, quotes, `export`, CRLF, a byte order mark. It must never touch the
environment, expand a `$`, or know which names are ours; a line that it cannot read is named by its number and skipped.
"""

import re
from typing import Final

from hermes_router.core.errors import ConfigError

__all__ = ["parse"]

_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)
_SINGLE: Final = re.compile(r"'([^']*)'\s*(?:#.*)?", re.DOTALL)
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}
_COMMENT: Final = re.compile(r"(?<=\s)#.*", re.DOTALL)


def parse(data: bytes, *, where: str) -> tuple[dict[str, tuple[str, str]], list[ConfigError]]:
    """Variables as name to (raw value, `where:line`), and an error for each line that is none.

    Of a name that stands twice the later line counts, as in a shell. Never raises; errors do not quote the line,
    which may hold a key.
    """
    found: dict[str, tuple[str, str]] = {}
    errors: list[ConfigError] = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n"), 1):
        place = f"{where}:{number}"
        try:
            line = raw.decode("utf-8").strip()
            if line and not line.startswith("#"):
                name, value = _assignment(line)
                found[name] = (value, place)
        except UnicodeDecodeError:
            errors.append(ConfigError("the line is not UTF-8; it is skipped", where=place))
        except ValueError as error:
            errors.append(ConfigError(f"{error}; it is skipped", where=place))
    return found, errors


def _assignment(line: str) -> tuple[str, str]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("the line is not NAME=value")
    name, rest = match.groups()
    # `A= # note` is empty with a note, `A=#b` is the value `#b`: as a shell reads it.
    value = rest.strip()
    for quote, pattern in (("'", _SINGLE), ('"', _DOUBLE)):
        if value.startswith(quote):
            quoted = pattern.fullmatch(value)
            if quoted is None:
                raise ValueError(f"the value of {name} does not end with its quotation mark")
            inner = quoted.group(1)
            return name, _ESCAPE.sub(_unescape, inner) if quote == '"' else inner
    return name, _COMMENT.sub("", rest).strip()


def _unescape(match: re.Match[str]) -> str:
    char = match.group(1)
    # An unknown escape stays as it stands: a Windows path keeps its backslashes.
    return _ESCAPES.get(char, char if char in '"\\$`' else f"\\{char}")
