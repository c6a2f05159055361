"""What the fake model says: an answer that is a pure function of the number in the last user turn.

Owns the uncut answers that everything else is measured against. They are made to be hard to join: lines, table rows
and indentation repeat, white space stands at both ends, characters take one to four bytes, some answers are a word.
"""

import json
import random
import re
from functools import lru_cache
from typing import Any, NamedTuple

_ASK = re.compile(r"\[ask (\d+)\]")
TOOLS = ("read_file", "write_file", "run", "search")
_WORDS = (
    "the", "router", "keeps", "a", "stream", "alive", "while", "its", "provider", "dies", "and", "nothing", "is",
    "missing", "Straße", "naïve", "東京", "данные", "🙂", "👩‍👩‍👧", "cafe\u0301", "مرحبا", "x\u2028y", "\u00a0", "\\n", '"quoted"',
)  # fmt: skip
_ROWS = ("| name | value |\n", "| --- | --- |\n", "| total | 0 |\n", "| 東京 | 🙂 |\n")
_CODE = ("    if value is None:\n", "        return None\n", "    return value\n", "\n", "\t}\n", "    # …\n")


class Call(NamedTuple):
    """One tool call: `arguments` is the JSON text as the model writes it."""

    name: str
    arguments: str


class Answer(NamedTuple):
    """All that is said to one question, in this order."""

    reasoning: str
    text: str
    calls: tuple[Call, ...]


def ask(number: int) -> str:
    """How a question names its answer."""
    return f"[ask {number}]"


def number_in(text: str) -> int | None:
    """The number of the last question in a text, None where there is none."""
    found = _ASK.findall(text)
    return int(found[-1]) if found else None


@lru_cache(maxsize=512)
def answer_to(number: int) -> Answer:
    """The whole, uncut answer."""
    rng = random.Random(f"answer {number}")
    shape = rng.choices(
        ("text", "thought", "call", "calls", "all", "only calls", "thought and calls"), (36, 16, 10, 10, 12, 8, 8)
    )[0]
    reasoning = _words(rng, 2, 60) if shape in {"thought", "all", "thought and calls"} else ""
    text = "" if shape in {"only calls", "thought and calls"} else _text(rng)
    several = {"call": 1, "calls": rng.randint(2, 4), "all": rng.randint(1, 3)}
    number_of_calls = several.get(shape, rng.randint(1, 3) if "calls" in shape else 0)
    return Answer(reasoning, text, tuple(_call(rng) for _ in range(number_of_calls)))


def _words(rng: random.Random, least: int, most: int) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(least, most)))


def _text(rng: random.Random) -> str:
    size = rng.choices(("word", "line", "some", "long"), (5, 15, 60, 20))[0]
    if size == "word":
        return rng.choice(("Yes.", "42", "ok\n", " no", "🙂"))
    if size == "line":
        return "It says: " + _words(rng, 1, 12)
    parts = [_part(rng) for _ in range(rng.randint(1, 6) if size == "some" else rng.randint(6, 16))]
    text = "".join(parts)
    if rng.random() < 0.5:
        text = rng.choice(("Here it is.\n\n", "Sure.\n", "## Result\n\n", "\n\n", " ")) + text
    # Without any character that can be seen it is no answer.
    return text if text.strip() else text + "Done."


def _part(rng: random.Random) -> str:
    kind = rng.randrange(7)
    if kind == 0:
        return _words(rng, 5, 60) + rng.choice(("\n\n", ". ", "\n", "  \n"))
    if kind == 1:  # one line again and again
        return (_words(rng, 2, 8) + "\n") * rng.randint(2, 12)
    if kind == 2:
        return "".join(_ROWS[:2]) + "".join(rng.choice(_ROWS[2:]) for _ in range(rng.randint(2, 20))) + "\n"
    if kind == 3:
        body = "".join(rng.choice(_CODE) for _ in range(rng.randint(3, 25)))
        return f"```python\ndef f(value):\n{body}```\n\n"
    if kind == 4:
        return "".join(f"{n}. {_words(rng, 1, 6)}\n" for n in range(1, rng.randint(3, 12)))
    if kind == 5:
        return rng.choice(("-", "=", "ab", "0, ", "\n", "    ")) * rng.randint(4, 120) + "\n"
    line = _words(rng, 6, 14) + ".\n"
    return line + _words(rng, 1, 4) + "\n" + line + line  # a line that comes back


def _value(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(8 if depth else 5)
    if kind == 0:
        return rng.randint(-5, 10**9)
    if kind == 1:
        return rng.choice((None, True, False, 0.5, -1e-9, ""))
    if kind < 5:
        return _words(rng, 1, 10) if rng.random() < 0.7 else "\n".join([_words(rng, 1, 5)] * 4)
    if kind < 7:
        return {f"k{n} {rng.choice(_WORDS)}": _value(rng, depth - 1) for n in range(rng.randint(0, 4))}
    return [_value(rng, depth - 1) for _ in range(rng.randint(0, 4))]


def _call(rng: random.Random) -> Call:
    if rng.random() < 0.1:
        return Call(rng.choice(TOOLS), "{}")
    value = {f"arg{n}": _value(rng, 3) for n in range(rng.randint(1, 4))}
    spaced = rng.random() < 0.5
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, separators=None if spaced else (",", ":"))
    return Call(rng.choice(TOOLS), text)
