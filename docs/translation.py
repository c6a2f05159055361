# ruff: noqa: E501, INP001 - a row of a table is one line; a script's part, not a package
"""Writes `docs/translation.md`: what becomes of every feature between every pair of dialects, with its proof.

It must hold no verdict of its own: each row is played to the real translation by `tests/translation/proof.py`, which
`test_rows.py` runs too. A row that does not hold stops the page from being written.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import product

from hermes_router.conformance.feature import DIALECTS
from hermes_router.conformance.features import FEATURES
from tests.translation.proof import MARKS, Proof, Row, is_news, prove, rows

LETTERS = {"chat": "C", "messages": "M", "responses": "R"}
NAMES = {"chat": "Chat", "messages": "Messages", "responses": "Responses"}
PAIRS = tuple(product(DIALECTS, DIALECTS))
SUMMARY = ("Feature", *(f"{LETTERS[caller]} {LETTERS[upstream]}" for caller, upstream in PAIRS))
DETAILS = ("Caller, upstream", "", "What becomes of it", "Test")
INTRO = """\
A caller speaks one of three dialects, **C**hat Completions, Anthropic **M**essages or OpenAI **R**esponses, and so does
the upstream that answers. This page says what becomes of each thing that can be said, for all nine pairs:

{features} features, {rows} rows: {shares}.

Each row is played to the real translation by a test of its own, which compares the upstream's whole body, or the whole
answer and the whole stream that the caller gets, with what is expected here: nothing less may come out, and nothing
more. The marks are taken from what came out. A row without a test cannot stand here.

| | |
|---|---|
| `=` | **kept**: the same words in the same place |
| `~` | **mapped**: the other dialect's words for it; the details say which |
| `!` | **warned**: dropped or weakened, and said so by the code that the details name (header `x-hermes-warnings`) |
| `x` | **refused**: not sent to such an upstream, and the refusal names the field. Of an answer: not shown |
| `o` | **left out** without a word: mostly a hint that changes no answer, or what the other dialect has no place for; the details say what, and why |
| | nobody can say it: the dialect has no words for it |

Rows are of an upstream that is known for nothing but its dialect, as a local server is. Its **maker** takes more (hosted
tools, system text in mid-conversation, its own thoughts): where that makes a difference, a second mark in brackets says
so, and the test's name ends in `@maker`; where none is told, its row was played as well, and came out the same. What a provider is known to refuse comes on top: its row in
[providers.md](providers.md) says what, and whatever is taken out is warned of in the same way. What becomes of an answer
that breaks off stands in [failures.md](failures.md).

A row's test is `tests/translation/test_rows.py::test_row[ID]`, with the `ID` that stands in the details:
`python -m pytest 'tests/translation/test_rows.py::test_row[messages-chat-tools.parallel_off]'`.
The same features, asked of any endpoint from outside: `hr conformance URL`."""


@cache
def _proofs() -> dict[str, tuple[Row, Proof]]:
    proofs = {row.id: (row, prove(row)) for row in rows()}
    faults = [f"{name}: {fault}" for name, (_, proof) in proofs.items() for fault in proof.faults]
    if faults:
        raise SystemExit("\n".join(faults))
    return proofs


def _cell(proofs: dict[str, tuple[Row, Proof]], name: str) -> str:
    """The mark, and the maker's where it is another."""
    if name not in proofs:
        return ""
    mark = MARKS[proofs[name][1].mark]
    maker = proofs.get(f"{name}@maker")
    other = MARKS[maker[1].mark] if maker is not None else mark
    return f"`{mark}`" if other == mark else f"`{mark}` (`{other}`)"


def intro() -> str:
    """What stands before the tables."""
    proofs = _proofs()
    counted = Counter(proof.mark for _, proof in proofs.values())
    shares = ", ".join(f"{counted[mark]:,} {mark}" for mark in MARKS)
    return INTRO.format(features=len(FEATURES), rows=f"{len(proofs):,}", shares=shares)


def summary() -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Heading and rows of each area's summary."""
    proofs = _proofs()
    for area in dict.fromkeys(feature.area for feature in FEATURES.values()):
        yield (
            area,
            [
                (
                    f"`{feature.id}` {feature.title}",
                    *(_cell(proofs, f"{caller}-{upstream}-{feature.id}") for caller, upstream in PAIRS),
                )
                for feature in FEATURES.values()
                if feature.area == area
            ],
        )


def details() -> Iterator[tuple[str, str, list[tuple[str, ...]]]]:
    """Id, title and rows of each feature."""
    proofs = _proofs()
    for feature in FEATURES.values():
        found = [(row, proof) for row, proof in proofs.values() if row.feature.id == feature.id and is_news(row)]
        yield (
            feature.id,
            feature.title,
            [
                (
                    f"{NAMES[row.caller]}, {NAMES[row.upstream]}{' (its maker)' if row.id.endswith('@maker') else ''}",
                    f"`{MARKS[proof.mark]}`",
                    proof.said,
                    f"`{row.id}`",
                )
                for row, proof in found
            ],
        )
