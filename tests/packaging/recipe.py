"""A Dockerfile and a compose file, read as far as ours use those languages."""

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DOCKER = Path(__file__).resolve().parents[2] / "service" / "docker"


@dataclass
class Image:
    """What the last stage of a Dockerfile says of the container."""

    base: str = ""
    stages: int = 0
    env: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    copied: list[list[str]] = field(default_factory=list)

    @property
    def command(self) -> list[str]:
        return [*json.loads(self.said["ENTRYPOINT"]), *json.loads(self.said["CMD"])]

    @property
    def health(self) -> list[str]:
        return list(json.loads(self.said["HEALTHCHECK"].partition(" CMD ")[2]))


def image() -> Image:
    """Ours."""
    found = Image()
    text = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        match word:
            case "" | "#":
                continue
            case "FROM":
                found = Image(base=rest, stages=found.stages + 1, copied=found.copied)
            case "ENV":
                name, _, value = rest.partition("=")
                found.env[name] = value
            case "COPY":
                found.copied.append(shlex.split(rest))
            case _:
                found.said[word] = rest.strip()
    return found


def compose() -> Any:
    """The compose file: mappings, lists of texts, and texts, by their indent."""
    lines = [
        (len(line) - len(line.lstrip()), line.strip())
        for line in (DOCKER / "compose.yaml").read_text().splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    value, rest = _block(lines, 0)
    assert not rest
    return value


def _block(lines: list[tuple[int, str]], indent: int) -> tuple[Any, list[tuple[int, str]]]:
    if lines[0][1].startswith("- "):
        items = []
        while lines and lines[0][0] == indent and lines[0][1].startswith("- "):
            items.append(_scalar(lines.pop(0)[1][2:]))
        return items, lines
    found: dict[str, Any] = {}
    while lines and lines[0][0] == indent:
        name, _, value = lines.pop(0)[1].partition(":")
        if value.strip():
            found[name] = _scalar(value.strip())
        else:
            found[name], lines = _block(lines, lines[0][0])
    return found, lines


def _scalar(text: str) -> Any:
    return json.loads(text) if text[0] in '"{' or text in {"true", "false"} else text
