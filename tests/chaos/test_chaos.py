"""A small dose of chaos on every run of the tests, and the proofs that its own judges can be believed."""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from hermes_router.wire.continuation import ANCHOR_BEGINS, ANCHOR_ENDS

from . import faults, writing
from .__main__ import SEED, bars, main, run, table, tell
from .answers import answer_to, ask
from .callers import DIALECTS, question
from .case import Outcome, play
from .hand import Hand, hand_of
from .hearing import Refused, hear
from .judging import CALLS, FALSE, SEAM, THOUGHT, UNFINISHED, Sums, judge
from .model import Reply, Temper, reply
from .reading import read_stream, read_whole
from .scripts import Step
from .sdk_readers import accumulated
from .told import Told

DOSE = 120
ASKS = range(1, 7)


def said(number: int) -> Reply:
    """The whole answer to a question."""
    answer = answer_to(number)
    return Reply(answer.reasoning, answer.text, answer.calls)


def streamed(dialect: str, number: int, hand: Hand) -> bytes:
    """The bytes of a good stream."""
    pieces = writing.stream(dialect, said(number), hand, random.Random(number), f"a{number}")
    return b"".join(piece.data for piece in pieces)


# --- the dose ---------------------------------------------------------------------------------------------


def test_a_stream_survives_a_small_dose() -> None:
    """Cut, stalled or poisoned: every answer is finished, whole and true, as `make chaos` shows at length."""
    sums = run(SEED, DOSE)
    shown = "\n".join(line for out, _ in sums.failures for line in tell(SEED, out))
    assert all(holds for holds, _ in bars(sums)), shown
    assert sums.joined > DOSE / 10, "next to nothing was joined"
    assert not sums.failures, shown


async def test_a_case_is_its_seed_and_its_number() -> None:
    """What failed once fails again: the same bytes to the caller, and the same attempts."""
    for number in (3, 30):
        first, again = await play(SEED, number), await play(SEED, number)
        assert (first.heard, first.told, first.attempts) == (again.heard, again.told, again.attempts)


async def test_the_sdks_read_the_same() -> None:
    """What our readers read of a rescued stream, the official SDKs read, too."""
    left = Counter(dict.fromkeys(DIALECTS, 3))
    for number in range(200):
        out = await play(SEED, number)
        if out.streamed and out.told.finish and len(out.attempts) > 1 and left[out.dialect]:
            text, calls = accumulated(out.dialect, b"".join(data for _, data in out.heard))
            assert text == out.told.text
            assert calls == [(name, json.loads(arguments)) for _, name, arguments in out.told.calls]
            left[out.dialect] -= 1
        if not left.total():
            return
    pytest.fail(f"too few were rescued: {left}")


def test_the_command_ends_badly_where_a_bar_is_missed(capsys, monkeypatch) -> None:
    """Exit code 1, the bar, and how to see the case again."""
    monkeypatch.setattr("tests.chaos.judging.answer_to", lambda number: answer_to(number + 1))
    assert main(["--faults", "1", "--jobs", "1"]) == 1
    printed = capsys.readouterr().out
    assert "MISSED  seam errors" in printed
    assert f"python -m tests.chaos --seed {SEED} --case 0" in printed
    assert main(["--case", "0"]) == 1
    assert "told: " in capsys.readouterr().out


# --- the judges -------------------------------------------------------------------------------------------


def outcome(number: int, **changes: object) -> Outcome:
    """An outcome as it should be, with these changes to what was told; `reasons` go unchecked."""
    answer = answer_to(number)
    calls = [(f"c{n}", call.name, call.arguments) for n, call in enumerate(answer.calls)]
    told = Told(answer.text, answer.reasoning, calls, "calls" if calls else "stop")
    out = Outcome(0, number, "openai_chat", streamed=True, kind="plain")
    out.attempts = [_attempt()]
    out.told = replace(told, **changes)
    return out


def _attempt(*, whole: bool = True):
    from .case import Attempt  # noqa: PLC0415 - only here

    return Attempt("a", "openai_chat", "anew", "", whole, disobeyed=False)


CALLING = next(n for n in ASKS if answer_to(n).calls and answer_to(n).text)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"text": answer_to(CALLING).text + "x"}, SEAM),
        ({"text": answer_to(CALLING).text[1:]}, SEAM),
        ({"calls": []}, CALLS),
        ({"reasoning": "something else"}, THOUGHT),
        ({"finish": "", "error": "server_error", "calls": []}, UNFINISHED),
        ({"finish": "", "error": "server_error"}, CALLS),
    ],
)
def test_what_is_wrong_is_found(changes, kind) -> None:
    """One character, one call, one repeated thought: each is a fault of its own kind."""
    assert judge(outcome(CALLING)) == []
    assert kind in {fault.kind for fault in judge(outcome(CALLING, **changes))}


def test_a_good_end_without_an_upstreams_is_a_false_success() -> None:
    """However right the text is."""
    out = outcome(CALLING)
    out.attempts = [_attempt(whole=False)]
    assert [fault.kind for fault in judge(out)] == [FALSE]
    sums = Sums()
    sums.add(out)
    assert (False, "false successes: 1") in bars(sums)
    assert table(sums)


# --- the readers and the writers --------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_good_streams_are_read_as_they_were_said(dialect) -> None:
    """By our strict readers and by the SDKs: so the fake providers speak the dialects as they are spoken."""
    for number in ASKS:
        answer = answer_to(number)
        raw = streamed(dialect, number, Hand())
        told = read_stream(dialect, raw)
        calls = [(call.name, json.loads(call.arguments)) for call in answer.calls]
        assert told.complaints == []
        assert (told.text, told.reasoning, told.finish) == (answer.text, answer.reasoning, "calls" if calls else "stop")
        assert [(name, json.loads(arguments)) for _, name, arguments in told.calls] == calls
        assert accumulated(dialect, raw) == (answer.text, calls)
        hand = hand_of(random.Random(number))
        assert accumulated(dialect, streamed(dialect, number, hand)) == (answer.text, calls)
        whole = read_whole(dialect, 200, writing.whole(dialect, said(number), hand, "a1"))
        assert (whole.text, whole.finish, whole.complaints) == (answer.text, told.finish, [])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_reader_complains_of_every_event_that_is_missing(dialect) -> None:
    """Of all but pings, comments and pieces of text: those the judge compares."""
    pieces = writing.stream(dialect, said(CALLING), Hand(usage="none"), random.Random(1), "a1")
    for at, piece in enumerate(pieces):
        if b'"ping"' in piece.data or b"response.in_progress" in piece.data:
            continue
        told = read_stream(dialect, b"".join(one.data for n, one in enumerate(pieces) if n != at))
        lost = replace(told, complaints=[])
        assert told.complaints or judge(outcome(CALLING, **vars(lost))), piece.data


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_reader_complains_of_what_stands_behind_the_end(dialect) -> None:
    """And of an end that is said twice."""
    raw = streamed(dialect, 1, Hand())
    assert read_stream(dialect, raw + raw).complaints
    assert read_stream(dialect, raw[:-3]).complaints


# --- the model --------------------------------------------------------------------------------------------


def continued(dialect: str, partial: str, anchor: str | None = None) -> bytes:
    """A request to go on."""
    turns = [{"role": "user", "content": ask(CALLING)}, {"role": "assistant", "content": partial}]
    if anchor is not None:
        turns.append({"role": "user", "content": f"Begin with\n{ANCHOR_BEGINS}\n{anchor}\n{ANCHOR_ENDS}\n"})
    key = "input" if dialect == "openai_responses" else "messages"
    return json.dumps({"model": "m", key: turns}).encode()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_model_hears_every_caller(dialect) -> None:
    """Its question stands in the last user turn, or in a tool's result; in the other dialects, too."""
    for seed in range(6):
        inbound = question(dialect, 7, random.Random(seed), stream=True)
        body = json.dumps({key: json.loads(bytes(value)) for key, value in inbound.fields.items()}).encode()
        heard = hear(dialect, body)
        assert (heard.number, heard.partial, heard.stream) == (7, None, True)
        assert {call.name for call in answer_to(CALLING).calls} <= heard.tools


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_model_goes_on_by_prefill_and_by_anchor(dialect) -> None:
    """With exactly what is missing, or with the anchor before it; and it says where the router told it wrongly."""
    text, rng = answer_to(CALLING).text, random.Random(1)
    core = text[: len(text) // 2].rstrip()
    heard = hear(dialect, continued(dialect, core))._replace(
        tools=frozenset({"read_file", "write_file", "run", "search"})
    )
    assert reply(Temper("takes"), heard, rng, reasons=False).text == text[len(core) :]
    assert reply(Temper("echoes"), heard, rng, reasons=False).text == text
    assert reply(Temper("refuses"), heard, rng, reasons=False).refused
    asked = hear(dialect, continued(dialect, core, core[-9:]))._replace(tools=heard.tools)
    assert reply(Temper(), asked, rng, reasons=False).text == core[-9:] + text[len(core) :]
    assert "departs" in reply(Temper(), heard._replace(partial="no"), rng, reasons=False).wrong
    assert "anchor" in reply(Temper(), asked._replace(anchor="no"), rng, reasons=False).wrong
    assert "tools" in reply(Temper(), asked._replace(tools=frozenset()), rng, reasons=False).wrong


def test_the_model_refuses_what_its_provider_would() -> None:
    """White space at the end of a partial answer in Messages, and an order to go on behind nothing."""
    with pytest.raises(Refused):
        hear("anthropic_messages", continued("anthropic_messages", "half "))
    alone = {"messages": [{"role": "user", "content": f"{ANCHOR_BEGINS}\nx\n{ANCHOR_ENDS} {ask(1)}"}]}
    with pytest.raises(Refused):
        hear("openai_chat", json.dumps(alone).encode())


# --- the faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", [*faults.HEADS, *faults.IN_STREAM])
def test_every_fault_is_one(dialect, name) -> None:
    """No script of a fault is a good answer, unless the upstream had said before that all was said."""
    for seed in range(8):
        rng = random.Random(seed)
        pieces = writing.stream(dialect, said(CALLING), Hand(), rng, "a1")
        script = faults.bad(name, dialect, pieces, rng)
        raw = b"".join(step.data for step in script.steps)
        broken = any(step.error is not None or step.wait_s > 1_000 for step in script.steps)
        head = next((step.head for step in script.steps if step.head), None)
        assert script.fault == name
        good = head is not None and head[0] == 200 and not broken and not read_stream(dialect, raw).complaints
        assert script.whole or not good


def test_a_whole_answers_faults_are_faults() -> None:
    """The same of answers that are not streamed."""
    for dialect in DIALECTS:
        for name in faults.IN_BODY:
            rng = random.Random(5)
            script = faults.bad_whole(name, writing.whole(dialect, said(CALLING), Hand(), "a1"), rng)
            raw = b"".join(step.data for step in script.steps)
            broken = any(step.error is not None or step.wait_s > 1_000 for step in script.steps)
            told = read_whole(dialect, 200, raw)
            assert script.whole or broken or told.complaints or judge(outcome(CALLING, **vars(told))), (dialect, name)
    assert Step().data == b""
