"""hermes_router/daemon/logs/file.py: the log's file, read back into the events that were written."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.control.log_types import LogWish
from hermes_router.control.types import Event
from hermes_router.daemon.logs.file import read_back
from hermes_router.daemon.logs.form import Json, Stamp, Tidy
from hermes_router.daemon.logs.logfmt import Logfmt

START = 1_790_000_000.0


def same(text: str) -> str:
    return text


class Written:
    """A log file, written by the daemon's own renderers; each line a second later."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = START
        stamp = Stamp(lambda: self.at)
        self.logfmt, self.json = Logfmt(("timestamp", "level", "event"), same, stamp), Json(Tidy(same), stamp)

    def add(self, event: str, level: str = "info", *, as_json: bool = False, **fields: Any) -> None:
        self.at += 1
        render = self.json if as_json else self.logfmt
        with self.path.open("a") as file:
            file.write(f"{render(None, level, {'event': event, 'level': level, **fields})}\n")

    def back(self, *before: Event, clean: Any = same, **wish: Any) -> list[Event]:
        return read_back(self.path, LogWish(**wish), before=before, clean=clean)


@pytest.fixture
def file(tmp_path: Path) -> Written:
    return Written(tmp_path / "daemon.log")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_line_is_read_as_the_event_that_it_was(file: Written, as_json: bool) -> None:
    """Time, level, name and fields, with their types; what logfmt escapes comes back."""
    fields = {
        "request_id": "123",
        "n": 3,
        "s": 0.25,
        "small": 1e-05,
        "ok": True,
        "said": 'a "b" \\ c=d\nnext \x1b[0m',
        "word": "a,b",
    }
    file.add("a.b", "warning", as_json=as_json, **fields)
    [event] = file.back()
    assert event == Event(id=0, at=START + 1, event="a.b", level="warning", fields=fields)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text()))
def test_any_text_comes_back(fields: dict[str, str]) -> None:
    """Whatever it holds, but for what no file can: half a surrogate."""
    for reserved in ("event", "level", "timestamp", "password", "cookie", "secret"):
        fields.pop(reserved, None)
    with TemporaryDirectory() as folder:
        file = Written(Path(folder) / "log")
        try:
            file.add("a.b", **{name: f" {text}" for name, text in fields.items()})
        except UnicodeEncodeError:
            return
        [event] = file.back()
    printable = {
        name: f" {text}" for name, text in fields.items() if all(ord(c) < 256 or c.isprintable() for c in text)
    }
    assert {name: event.fields[name] for name in printable} == printable


def test_the_last_lines_that_fit_come_in_order(file: Written) -> None:
    """Over blocks of the file, and over the files that it was turned away from."""
    for number in range(1_000):
        file.add("a.b", "warning" if number % 100 == 0 else "info", n=number, provider="groq", pad="x" * 200)
        if number in {300, 600}:
            file.path.rename(file.path.with_name(f"daemon.log.{2 if number == 300 else 1}"))
    assert [event.fields["n"] for event in file.back(lines=3)] == [997, 998, 999]
    assert [event.fields["n"] for event in file.back(lines=1_000)] == list(range(1_000))
    assert [event.fields["n"] for event in file.back(lines=1_000, level="warning")] == list(range(0, 1_000, 100))
    assert [event.fields["n"] for event in file.back(lines=1_000, since=START + 998.5)] == [998, 999]
    assert file.back(lines=10, provider="mistral") == []
    assert file.back(lines=0) == []


def test_9r3_a_large_file_is_read_from_its_end_alone(file: Written) -> None:
    """A month of log costs no more than a day of it: so many bytes, then no further."""
    for number in range(3_000):
        file.add("a.b", n=number)
    found = read_back(file.path, LogWish(lines=10_000), before=(), clean=same, most_bytes=70_000)
    assert [event.fields["n"] for event in found] == list(range(3_000 - len(found), 3_000))
    assert 1_000 < len(found) < 2_500


def test_what_is_no_line_of_ours_is_passed_over(file: Written) -> None:
    """A line that was cut, one of another form, bytes that are no text."""
    file.path.write_bytes(
        b'hello\n\xff\xfe\n{"a": 1}\n{broken\ntimestamp=never level=info event=a.b\n2026-11-22 05:22:42 warn  x\n'
    )
    file.add("a.b")
    with file.path.open("a") as more:
        more.write("timestamp=2026-09-21T15:20:0")
    assert [event.event for event in file.back()] == ["a.b"]


def test_what_was_no_secret_when_it_was_written_is_hidden(file: Written) -> None:
    """The daemon that reads knows more than the one that wrote."""
    file.add("a.b", said="canary", canary=1, deep="x canary y")
    [event] = file.back(clean=lambda text: text.replace("canary", "***"))
    assert event.fields == {"said": "***", "***": 1, "deep": "x *** y"}
