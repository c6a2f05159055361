"""The cases: what a provider does wrong, and what is promised for it (design.md 2.14, contract.md).

Owns their shape and their defaults; they rest in the tables beside this module, one file a chapter, and are run by
`test_bad_streams.py` and told by `docs/failures.md`. It must never look at what the program does.

A case says what the first target does (`first`) and what the others do (`second`, `third`: a well provider each, unless
told otherwise), in the words of `upstream.py`; a list of lists is one script for each time that the target is asked.
`upstream` names the dialects in which the first target misbehaves; each is a case of its own.
"""

import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hermes_router.core.catalog import DialectName

HERE = Path(__file__).resolve().parent
DIALECTS: dict[str, DialectName] = {
    "chat": "openai_chat", "messages": "anthropic_messages", "responses": "openai_responses",
}  # fmt: skip
CHAPTERS = (
    "before_the_first_word", "in_the_text", "in_thoughts", "in_calls", "continuations", "nobody_left", "whole_answers",
    "words_of_chat", "words_of_messages", "words_of_responses", "good_all_the_same",
)  # fmt: skip
_SAYS = frozenset(
    {"half", "up-to", "echoes", "say", "think", "answer", "obeys", "adds", "repeats", "call", "half-call"}
)
Gets = Literal["anew", "goes on", "error", "status", "kept"]
"""What the caller gets: one clean answer of another target; its text, gone on with; what was shown and the error event;
an HTTP error; or the first target's answer, ended well.
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault in one dialect, and what is promised.

    Attributes:
        fault: what goes wrong, in words of the page.
        upstream: the dialect in which the first target does it.
        first, second, third: their scripts, one for each time that they are asked; the last for ever.
        ids: of facts/cases.md.
        callers: the dialects of those who ask.
        asked: what is asked for: text, tools, thoughts, json, many, logprobs, audio, live (tools), or pin (text).
        whole: not streamed.
        prefill: the targets that are known to take one.
        echoes: those of them that are known to repeat it.
        gets: see Gets.
        text: what has been read in the end: ANSWER, HALF (of upstream.py), or literally.
        thoughts: whether the first target's thought has been read.
        calls: how many tool calls came.
        finish: the finish reason of a good end, in Chat's words.
        status: of an HTTP error; 503 is 529 in Messages.
        failed: the classes of the attempts that failed, in order.
        turns: who was asked, in order.
        by: how: "" = anew, else the way to go on.
        blamed: who rests or is counted against afterwards.
        billed: what is accounted for each attempt: nothing, reported, estimated; or begun = nothing was said, so that
            what Messages tells of the usage at its start is all there is (reported; in other dialects estimated).
        passed_on: what differs for a caller of the first target's own dialect, whose body went out as it came.
    """

    chapter: str
    fault: str
    upstream: str
    first: list[list[str]]
    ids: tuple[str, ...] = ()
    second: list[list[str]] = field(default_factory=lambda: [["serves"]])
    third: list[list[str]] | None = None
    callers: tuple[str, ...] = tuple(DIALECTS)
    asked: str = "text"
    whole: bool = False
    prefill: tuple[str, ...] = ()
    echoes: tuple[str, ...] = ()
    gets: Gets = "anew"
    text: str | None = None
    thoughts: bool = False
    calls: int = 0
    finish: str = "stop"
    status: int = 0
    failed: tuple[str, ...] = ("broken",)
    turns: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    blamed: tuple[str, ...] = ("first: provider",)
    billed: tuple[str, ...] = ()
    passed_on: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As the test is called."""
        marks = "".join(f"{each} " for each in self.ids)
        return f"{self.chapter.replace('_', ' ')}: {marks}{self.fault} ({self.upstream})"

    @property
    def counters(self) -> dict[str, int]:
        """What moves in `/v1/status` beside `exchanges`."""
        end = "answered" if self.gets in {"anew", "goes on", "kept"} else "failed"
        moved = {end: 1, "failovers": len(self.failed)}
        return {name: number for name, number in moved.items() if number}

    def passed(self) -> "Case":
        """The same for a caller of the upstream's own dialect, whose body went out unchanged in meaning."""
        return replace(self, **self.passed_on) if self.passed_on else self


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _scripts(value: list[Any]) -> list[list[str]]:
    return value if value and isinstance(value[0], list) else [value]


def _made(chapter: str, given: dict[str, Any], upstream: str) -> Case:
    known = {each.name for each in fields(Case)}
    assert given.keys() <= known, given.keys() - known
    scripts = {name: _scripts(given.pop(name)) for name in ("first", "second", "third") if name in given}
    rest = {name: _frozen(value) for name, value in given.items() if name != "upstream"}
    rest["passed_on"] = {name: _frozen(value) for name, value in given.get("passed_on", {}).items()}
    case = Case(chapter=chapter, upstream=upstream, **scripts, **rest)
    return _filled(replace(case, passed_on={}), rest["passed_on"])


def _filled(case: Case, passed_on: dict[str, Any]) -> Case:
    """With what follows from the rest."""
    good = case.gets in {"anew", "goes on", "kept"}
    if case.gets == "kept":
        case = replace(case, failed=(), blamed=() if case.blamed == ("first: provider",) else case.blamed)
    turns = case.turns or (("first",) if case.gets not in {"anew", "goes on"} else ("first", "second"))
    goes_on = case.gets == "goes on"
    by = case.by or tuple("anchor" if number and goes_on else "" for number in range(len(turns)))
    billed = case.billed or (*_bills(case, turns), *("reported",) * good)
    text = case.text
    if text is None:
        silent = case.gets == "status" or (case.calls and case.gets == "anew")
        text = "" if silent else "HALF" if case.gets == "error" else "ANSWER"
    case = replace(case, turns=turns, by=by, billed=billed, text=text)
    if passed_on:
        other = _filled(replace(case, **{"turns": (), "by": (), "billed": (), "text": None, **passed_on}), {})
        differs = {
            f.name: getattr(other, f.name) for f in fields(Case) if getattr(other, f.name) != getattr(case, f.name)
        }
        case = replace(case, passed_on=differs)
    return case


def _bills(case: Case, turns: tuple[str, ...]) -> list[str]:
    """What is accounted for attempts that fail: all is estimated, but what Messages tells at the start."""
    bills = []
    for number, name in enumerate(turns[: len(case.failed)]):
        scripts = getattr(case, name)
        script = scripts[min(turns[:number].count(name), len(scripts) - 1)]
        said = any(line.split(" ")[0] in _SAYS for line in script)
        bills.append("estimated" if said or "start" not in script else "begun")
    return bills


class Chapter(NamedTuple):
    """One table of cases, with its heading and a sentence on what holds for all of them."""

    title: str
    intro: str
    cases: list[Case]


def chapters() -> list[Chapter]:
    """All chapters, in order."""
    found = []
    for chapter in CHAPTERS:
        table = tomllib.loads((HERE / f"{chapter}.toml").read_text(encoding="utf-8"))
        cases = []
        for given in table["case"]:
            of = {upstream: given.pop(upstream, {}) for upstream in DIALECTS}  # what differs by dialect
            cases += [_made(chapter, {**given, **of[each]}, each) for each in given.get("upstream", DIALECTS)]
        found.append(Chapter(table["title"], table["intro"], cases))
    return found


def load() -> list[Case]:
    """All cases, chapter by chapter."""
    return [case for chapter in chapters() for case in chapter.cases]
