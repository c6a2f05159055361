"""The table of translations holds, row by row: what `docs/translation.md` says is what happens here."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_router.conformance.feature import DIALECTS, PLAIN, body
from hermes_router.conformance.features import FEATURES

from . import stage
from .answers import ANSWERS, core_of, whole_of
from .backward import BACK, back_rows
from .errors import BREAKS, REFUSALS, WRONG
from .expectation import Says, out_rows
from .proof import OUT, Row, expected_out, is_news, missing, prove, rows
from .spelling import one_form
from .streams import read_stream, write_stream

ROWS = {row.id: row for row in rows()}
PAGE = Path(__file__).parents[2] / "docs" / "translation.md"


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_row(row: Row) -> None:
    """What becomes of this feature between this pair is exactly what is expected, and the page says it by its mark."""
    assert prove(row).faults == []


def test_every_feature_has_its_rows_for_every_pair() -> None:
    """100 %: each feature that a caller has words for, to each upstream; each answer, to each caller."""
    assert list(missing()) == []
    assert len(ROWS) == sum(1 for _ in rows()), "two rows of one name"
    for feature in FEATURES.values():
        if feature.area in ("Answers", "Usage"):
            assert feature.id in ANSWERS, f"{feature.id} has no answer"
            wanted = {(caller, upstream) for caller in DIALECTS for upstream in ANSWERS[feature.id]}
        elif feature.area == "Errors":
            wanted = {(caller, upstream) for caller in DIALECTS for upstream in DIALECTS}
        else:
            assert feature.asks, f"{feature.id} is in nobody's words"
            wanted = {(caller, upstream) for caller in feature.asks for upstream in DIALECTS}
        for caller, upstream in wanted:
            assert f"{caller}-{upstream}-{feature.id}" in ROWS


def test_no_expectation_is_idle() -> None:
    """Each is the most exact one of at least one row, and of a feature that there is."""
    assert set(OUT) | set(BACK) | set(ANSWERS) | set(WRONG) | set(REFUSALS) | set(BREAKS) <= set(FEATURES)
    used = set()
    for row in out_rows():
        used.update(
            {(row.feature.id, key) for key in [k for k in row.places() if k in OUT.get(row.feature.id, {})][:1]}
        )
    for back in back_rows():
        keys = [k for k in (f"{back.caller}-{back.upstream}", back.caller) if k in BACK.get(back.feature.id, {})]
        used.update({(back.feature.id, key) for key in keys[:1]})
    said = {(name, key) for table in (OUT, BACK) for name, keys in table.items() for key in keys}
    assert said - used == set()


@pytest.mark.parametrize("feature", FEATURES.values(), ids=FEATURES)
def test_every_request_of_the_table_is_one_of_its_dialect(feature) -> None:
    """Its own parser takes it: a feature that is misspelled proves nothing. Those of the callers' faults are refused."""
    for dialect in feature.asks:
        heard = stage.ask(dialect, dialect, body(feature, dialect), maker=dialect != "chat")
        wrong = feature.area == "Errors" or feature.id in ("state.previous", "state.conversation")
        wrong = wrong or feature.id in ("state.prompt", "state.background")
        assert (heard.body is None) == wrong, heard.refusal


@pytest.mark.parametrize("dialect", DIALECTS)
def test_streams_are_read_as_they_are_written(dialect: str) -> None:
    """Our own writer and reader of streams agree on every answer: none of them hides what the other says."""
    for told in ANSWERS.values():
        if dialect in told and told[dialect].get("usage", 0) is not None:
            whole = whole_of(dialect, told[dialect])
            assert core_of(dialect, read_stream(dialect, write_stream(dialect, whole))) == core_of(dialect, whole)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_form_changes_no_meaning(dialect: str) -> None:
    """It is the same for a body that is in it, and differs between features that differ."""
    forms = {}
    for feature in FEATURES.values():
        if dialect in feature.asks and feature.area not in ("Answers", "Usage", "Errors"):
            form = one_form(dialect, body(feature, dialect))
            assert one_form(dialect, form) == form
            forms[feature.id] = form
    assert one_form(dialect, PLAIN[dialect]) == forms["turns.user"]
    same = {(a, b) for a in forms for b in forms if a < b and forms[a] == forms[b]}
    assert same == set()


def test_every_row_is_on_the_page() -> None:
    """Each row's test id stands on the page, and no other does; a maker's only where something else is expected."""
    named = set(re.findall(r"`((?:chat|messages|responses)-(?:chat|messages|responses)-[\w.@]+)`", PAGE.read_text()))
    assert named == {name for name, row in ROWS.items() if is_news(row)}


def test_words_that_are_not_heard_are_accounted_for() -> None:
    """Whatever a caller's words hold that the upstream's body does not is warned of, or its row says what became of it.

    Where the upstream hears what its own callers say for the feature, the table of features says that it is the same.
    """
    for row in out_rows():
        expected = expected_out(row) if row.feature.area not in ("Answers", "Usage", "Errors") else None
        if not isinstance(expected, Says) or expected.warns or expected.left or expected.note:
            continue
        if row.upstream in row.feature.asks and expected.fields == row.feature.asks[row.upstream]:
            continue
        heard = json.dumps(stage.ask(row.caller, row.upstream, body(row.feature, row.caller), maker=row.maker).body)
        for word in _words(row.feature.asks[row.caller]):
            assert word in heard, f"{row.id}: {word} is heard by nobody"


def _words(value: Any) -> Iterator[str]:
    """What is said in a body: its strings and numbers, but for the names of the dialect's own things."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("type", "role"):
                yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)
    elif isinstance(value, str) and value.startswith("{"):
        yield from _words(json.loads(value))
    elif not isinstance(value, bool) and value is not None:
        yield json.dumps(value).strip('"')
