"""Changes one variable in the text of a `.env` or a `config.toml`, and leaves everything else as the owner wrote it.

Owns the two edits, as pure functions over text. Each result is read back: what would not be understood as meant is
never written. It must never open a file.
"""

import re
import tomllib
from typing import Any, Final

from hermes_router.daemon import dotenv

__all__ = ["as_text", "edit_env", "edit_toml", "toml_variables"]

_BARE: Final = re.compile(r"[\w./:@%+,*~=!?-]+", re.ASCII)
_WHOLE: Final = re.compile(r"-?(0|[1-9]\d{0,17})")
_FRACTION: Final = re.compile(r"-?(0|[1-9]\d{0,9})\.(\d{0,3}[1-9]|0)")  # what is written again as it was read
_NAME_OF: Final = re.compile(rb"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")


def edit_env(data: bytes, name: str, value: str | None) -> bytes:
    """The `.env` with `name` set to `value`, or without it where that is None. Raises ValueError where it cannot be.

    The last line of that name is replaced, since that is the one that counts; earlier ones go. A comment behind the
    old value is kept.
    """
    newline = b"\r\n" if b"\r\n" in data else b"\n"
    lines = data.split(b"\n")
    mine = [n for n, line in enumerate(lines) if (m := _NAME_OF.match(line)) and m.group(1) == name.encode()]
    if value is not None:
        made = f"{name}={_quoted(value)}".encode()
        if mine:
            lines[mine[-1]] = _prefix(lines[mine[-1]]) + made + _trailer(lines[mine[-1]])
            mine = mine[:-1]
        else:
            if lines and not lines[-1].strip():
                lines.pop()
            lines += [made + newline.removesuffix(b"\n"), b""]
    kept = b"\n".join(line for n, line in enumerate(lines) if n not in set(mine))
    found = dotenv.parse(kept, where="")[0].get(name)
    if (None if found is None else found[0]) != value:
        raise ValueError(f"{name} cannot hold this value in a .env file")
    return kept


def _prefix(line: bytes) -> bytes:
    match = re.match(rb"(?:\xef\xbb\xbf)?\s*(?:export\s+)?", line)
    return match.group(0) if match else b""


def _trailer(line: bytes) -> bytes:
    """The comment behind the value, and the carriage return."""
    end = b"\r" if line.endswith(b"\r") else b""
    rest = line.partition(b"=")[2].rstrip()
    comment = re.fullmatch(rb"\s*(?:'[^']*'|\"(?:[^\"\\]|\\.)*\"|[^'\"\s#]\S*|)(\s+#.*)", rest)
    return (comment.group(1) if comment else b"") + end


def _quoted(value: str) -> str:
    if _BARE.fullmatch(value) or not value:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def edit_toml(text: str, name: str, value: str | None) -> str:
    """The TOML with the variable `name` set, or without it. Raises ValueError where it cannot be.

    It is found as `name`, in any case, or in a table: `groq_model` is also `[groq] model`.
    """
    import tomlkit  # noqa: PLC0415 - only when something is edited
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        document = tomlkit.parse(text)
        place, key = _find(document, name)
        if value is None:
            if key is not None:
                del place[key]
        elif key is None:
            document[name.lower()] = _typed(value, None)
        else:
            place[key] = _typed(value, place[key])
        made = tomlkit.dumps(document)
        again, key = _find(tomlkit.parse(made), name)
    except TOMLKitError as error:
        raise ValueError(f"it is not TOML ({str(error).rstrip('.')})") from None
    if (None if key is None else as_text(again[key])) != value:
        raise ValueError(f"{name} cannot hold this value in a TOML file")
    return made


def _find(document: Any, name: str) -> tuple[Any, str | None]:
    """The table that holds the variable, and its key there; the last one counts, as for the reader."""
    place, key = document, None
    for outer, value in document.items():
        if isinstance(value, dict):
            for inner in value:
                if f"{outer}_{inner}".upper() == name:
                    place, key = value, inner
        elif outer.upper() == name:
            place, key = document, outer
    return place, key


def toml_variables(text: str) -> dict[str, str]:
    """All variables of a TOML text; a broken one has none."""
    try:
        tables = tomllib.loads(text)
    except ValueError:
        return {}
    flat: dict[str, object] = {}
    for name, value in tables.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{inner}".upper(): inner_value for inner, inner_value in value.items()}
        else:
            flat[name.upper()] = value
    return {name: said for name, value in flat.items() if (said := as_text(value)) is not None}


def _typed(value: str, before: object) -> object:
    """A value of the kind that stood there; a new one is a number where it is one."""
    if isinstance(before, bool) and value in {"0", "1"}:
        return value == "1"
    if isinstance(before, list):
        return [one for one in value.split(",") if one]
    if not isinstance(before, str):
        if _WHOLE.fullmatch(value):
            return int(value)
        if _FRACTION.fullmatch(value):
            return float(value)
    return value


def as_text(value: object) -> str | None:
    """A TOML value as the text of a variable; None for one that is none."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in value):
        return ",".join(map(str, value))
    return None
