"""hermes_router/cli/demo/cut.py: scenes in which a provider dies, what is shown of them, and the verdict."""

import os
import pty
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from hermes_router.cli.demo import cut as demo_cut
from hermes_router.cli.demo.callers import DIALECTS, BadEnd, Call, Caller, Question, Told
from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.sandbox import demo_cut as script

from ..conftest import Hr
from ..running_demo import Demo
from ..samples import TRAIL

STORY, ERRAND = script.uncut(script.STORY), script.uncut(script.ERRAND)
MARK = "⟨cut here⟩"
UTF8 = {"LANG": "C.UTF-8"}


def test_a_cut_answer_is_shown_whole_to_each_dialect(tmp_path: Path) -> None:
    """In a pipe, through both SDKs: the text with one mark where the provider died, the call whole, then each attempt."""
    demos = []
    for dialect in DIALECTS:
        (tmp_path / dialect).mkdir()
        demos.append(Demo(tmp_path / dialect, "cut", "--as", dialect, environ=UTF8))
    codes = [demo.end() for demo in demos]
    for dialect, demo, code in zip(DIALECTS, demos, codes, strict=True):
        assert code == 0, demo.seen
        assert "\x1b" not in demo.seen
        assert f"read by the {'anthropic' if dialect == 'messages' else 'openai'} SDK" in demo.seen
        first, second = demo.seen.split("1 of 2: ")[1].split("2 of 2: ")
        for scene, whole, calls in ((first, STORY, 0), (second, ERRAND, 1)):
            answer = scene.partition("Answer: ")[2].partition("\n\nCall: " if calls else "\n\nWhole: ")[0]
            at = script.cut_at(whole)
            assert answer == f"{whole.text[:at]} {MARK}{whole.text[at:]}"
            assert scene.count("Whole: all ") == 1
            assert scene.count("\nCall: ferry_times {") == calls
            assert re.search(
                rf"\n1  \S+ +cut +200 .* {at} chars .*\n2  \S+ +ok .*went on after {at} characters by", scene
            )
        assert demo.remains() == []


def test_a_terminal_gets_a_dim_mark_and_an_interrupt_is_no_good_end(tmp_path: Path) -> None:
    """Ctrl-C before the answer is whole ends the demo with 130, and nothing remains."""
    theirs, ours = pty.openpty()
    demo = Demo(tmp_path, "cut", "--as", "chat", stdout=ours, stderr=ours, environ=UTF8)
    try:
        demo.until(f"\x1b[2m {MARK}\x1b[0m", theirs)
        os.killpg(demo.process.pid, signal.SIGINT)
        assert demo.process.wait(20) == 130
        assert demo.remains() == []
    finally:
        demo.process.kill()
        demo.process.wait()
        os.close(ours)
        os.close(theirs)


# --- the verdict, without processes ---------------------------------------------------------------------


class FakeStage:
    """A stage on which nothing runs; `attempts` is what its trails hold, or what asking for one raises."""

    port, key = 1, "k"

    def __init__(self, attempts: list[t.AttemptRow] | ControlError) -> None:
        self._attempts = attempts

    def trail(self, _request_id: str) -> t.Trail:
        if isinstance(self._attempts, ControlError):
            raise self._attempts
        return msgspec.structs.replace(TRAIL, attempts=self._attempts)


Shown = Callable[..., tuple[int, str]]


@pytest.fixture
def shown(hr: Hr, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Run the demo with answers of the test's: what goes out as text and calls, how it ends, what the trail tells."""

    def run(
        text: Callable[[str], str] = str,
        *,
        calls: Callable[[list[Call]], list[Call]] = list,
        end: str = "stop",
        error: str = "",
        attempts: list[t.AttemptRow] | ControlError = TRAIL.attempts,
        ended: bool = True,
    ) -> tuple[int, str]:
        def ask(asked: Question, told: Told) -> Iterator[str]:
            whole = script.uncut(asked.text)
            yield from re.findall(".{1,7}", text(whole.text), re.DOTALL)
            if error:
                raise BadEnd(error)
            told.calls = calls([Call(one.name, msgspec.json.decode(one.arguments)) for one in whole.calls])
            told.end = end

        def play(show: Callable[[FakeStage], None], _port: int, _cast: str) -> bool:
            show(FakeStage(attempts))
            return ended

        monkeypatch.setattr(demo_cut, "caller", lambda *_: Caller("a test", ask))
        monkeypatch.setattr(demo_cut, "play", play)
        done = hr("demo", "cut", "--as", "messages")
        return done.exit_code, done.output

    return run


def test_a_whole_answer_is_told_with_its_size(shown: Shown) -> None:
    """The text and the call are held against what the dead provider would have said."""
    code, said = shown()
    assert code == 0
    assert f"Whole: all {len(STORY.text)} characters, none missing, none twice; it ended with `stop`." in said
    assert "1 tool call, whole and valid" in said
    assert f"{STORY.text[: script.cut_at(STORY)]} {MARK}{STORY.text[script.cut_at(STORY) :]}" in said
    assert f"{ERRAND.text} {MARK}\n" in said
    assert "mistral/large" in said


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"text": lambda text: text[:40] + text[41:]}, "from its character 41 on"),
        ({"text": lambda text: text + "!"}, "not what it should be"),
        ({"end": "length"}, "its end is no good one: length"),
        ({"end": ""}, "its end is no good one: none"),
        ({"calls": lambda calls: calls * 2}, "2 tool calls came"),
        ({"calls": lambda calls: [Call(one.name, {}) for one in calls]}, "1 tool call came"),
        ({"error": "APIError: it broke"}, "APIError: it broke"),
        ({"attempts": TRAIL.attempts[:1]}, "nobody died"),
        ({"attempts": ControlError("Nothing is kept.", code="x")}, "Nothing is kept."),
    ],
)
def test_what_is_not_whole_is_said_and_fails(shown: Shown, broken: dict[str, object], why: str) -> None:
    """A character or a call too many or too few, a bad end, an error, or nobody who died: exit 1, and why."""
    code, said = shown(**broken)
    assert code == 1
    assert why in said
    assert "Not whole: " in said
    assert re.search(r"hr: [12] answers? did not come whole\.", said)


def test_an_interrupted_show_is_no_success(shown: Shown) -> None:
    """Whoever stops it has not seen the end."""
    assert shown(ended=False)[0] == 130
