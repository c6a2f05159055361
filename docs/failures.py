# ruff: noqa: INP001 - a script's part, not a package
"""Writes `docs/failures.md`: what is promised for every bad ending, told by the cases that prove it.

It must hold no promise of its own: each row is a case of `tests/engine/bad_streams/`, which `test_bad_streams.py` runs.
"""

from collections.abc import Iterator

from tests.engine.bad_streams.corpus import DIALECTS, Case, Chapter, chapters

SPOKEN = {"chat": "Chat", "messages": "Messages", "responses": "Responses"}
COLUMNS = ("What goes wrong", "Spoken", "The caller gets", "Asked next", "Held against", "Accounted", "Counted")
INTRO = """\
An answer of ours ends well only if a provider's did. This page says what happens when one does not: the fault, what
the caller gets, who is asked next, whom it is held against, what is accounted for it, and which counter of
`/v1/status` moves. Every row is a case of `tests/engine/bad_streams/`, played to the real router for callers of Chat,
Messages and Responses alike, with helpers that speak any of the three: {cases} cases, {runs} runs. A row that does not
hold fails the tests, and so does a page that does not tell the rows as they are.

- **Spoken** is the dialect in which the provider misbehaves; *all* = Chat, Messages and Responses.
- **Gone on with** means: another model is told what its reader has seen, and goes on behind it. By *prefill* where the
  target is known to take one, else by *anchor*: it must begin with the last words shown, which proves the seam, and
  which are then cut away. A reply that joins nowhere is never shown. At most three others go on with one answer.
- **Asked next**: whoever failed is asked once more, after all others, and then no more. The cases below are of requests
  that cannot wait (`X-Hermes-Max-Wait: 0`), where that comes at once. With patience it comes when its cooldown or its
  breaker ends, where that is within the patience, else after a second; a limit is waited for as often as it takes.
- **The error event** is the last resort: the dialect's own, on which every SDK raises. There is no `[DONE]`,
  `message_stop` or `response.completed` beside it.
- **Held against** gives the class of each failed attempt, as it stands in the bodies of our 429 and 503, and who rests
  or is counted against for it. Three failures in a row open a provider's breaker; those of one model of several open
  that model's alone. A model that starts anew, where it was to go on, is not held to be ill.
- **Accounted** is what stands in `hr usage` for each attempt: what its provider *reported*, what is *estimated* of a
  prompt that went out and an answer that came in part, or *nothing* where a provider refused or never answered. The
  two are never added up. The caller's own `usage` counts its prompt once, and what it was shown.
- **Counted**: an exchange is `answered` or `failed`; `failovers` are the attempts that failed within it."""


def _gets(case: Case) -> str:
    calls = " with its calls" if case.calls else ""
    match case.gets:
        case "anew":
            seen = "; no thoughts but those it has seen" if case.thoughts else ""
            return f"one clean answer{calls}{seen}"
        case "goes on":
            said = f"its text, gone on with{', and the calls' if case.calls else ''}"
            return said + ("; `length`" if case.finish == "length" else "")
        case "error":
            return "what was shown, and the error event"
        case "status":
            return f"HTTP {case.status}" + (" (Messages: 529)" if case.status == 503 else "")
        case "kept":
            return f"this answer{calls}" + (f"; `{case.finish}`" if case.finish not in {"stop", "tool_calls"} else "")


def _next(case: Case) -> str:
    others = [f"the {name}{f', by {by}' if by else ''}" for name, by in zip(case.turns, case.by, strict=True)][1:]
    return "; ".join(others) or "nobody"


def _blamed(case: Case) -> str:
    scopes = dict(each.split(": ") for each in case.blamed)
    classes: dict[str, dict[str, None]] = {}
    for name, failed in zip(case.turns, case.failed, strict=False):
        classes.setdefault(name, {})[f"`{failed}`"] = None
    told = []
    for name, found in classes.items():
        whom = f"its {scopes[name]}" if name in scopes else "nobody"
        told.append(f"{f'the {name}: ' if len(classes) > 1 else ''}{' and '.join(found)}, {whom}")
    return "; ".join(told) or "nobody"


def _billed(case: Case) -> str:
    own = case.chapter.startswith("words_of")  # nobody else does this
    begun = {"messages": "reported"}.get(case.upstream, "estimated") if own else "estimated (Messages: reported)"
    bills = [begun if bill == "begun" else bill for bill in case.billed]
    return f"{bills[0]}, {len(bills)} times" if len(bills) > 2 and len(set(bills)) == 1 else ", ".join(bills)


def _counted(case: Case) -> str:
    return ", ".join(f"`{name}`{f' {number}' if number > 1 else ''}" for name, number in case.counters.items())


def _row(case: Case) -> tuple[str, ...]:
    """All but the dialect."""
    cells = [_gets(case), _next(case), _blamed(case), _billed(case), _counted(case)]
    if case.passed_on:
        own = case.passed()
        others = [_gets(own), _next(own), _blamed(own), _billed(own), _counted(own)]
        cells = [
            one if one == other else f"{one}; to a caller of the same dialect: {other}"
            for one, other in zip(cells, others, strict=True)
        ]
    return case.fault, *cells


def _rows(chapter: Chapter) -> Iterator[tuple[str, ...]]:
    """The cases of a chapter; those that differ in nothing but the dialect are one row."""
    merged: dict[tuple[str, ...], list[str]] = {}
    for case in chapter.cases:
        merged.setdefault(_row(case), []).append(SPOKEN[case.upstream])
    for (fault, *cells), spoken in merged.items():
        yield fault, "all" if len(spoken) == len(DIALECTS) else ", ".join(spoken), *cells


def tables() -> Iterator[tuple[str, str, list[tuple[str, ...]]]]:
    """Heading, a sentence and the rows of every chapter."""
    for chapter in chapters():
        yield chapter.title, chapter.intro, list(_rows(chapter))


def intro() -> str:
    """What stands before the tables."""
    cases = [case for chapter in chapters() for case in chapter.cases]
    return INTRO.format(cases=len(cases), runs=sum(len(case.callers) for case in cases))
