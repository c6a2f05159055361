"""hermes_router/conformance/checks_*.py, reply.py and terms.py: how answers, refusals and warnings are judged."""

import json
from typing import Any

import pytest

from hermes_router.conformance.answer import Answer, Call, Ended, Outcome, Unsure, Usage, Wrong
from hermes_router.conformance.chat import Chat
from hermes_router.conformance.checks_answers import JUDGES, judge
from hermes_router.conformance.checks_refused import MISTAKES
from hermes_router.conformance.endpoint import Heard
from hermes_router.conformance.feature import CHAT
from hermes_router.conformance.features import FEATURES
from hermes_router.conformance.reply import Refused, Reply, refusal
from hermes_router.conformance.runner import EXTRAS
from hermes_router.conformance.terms import fields, terms


def verdict(
    name: str, answer: Answer, asked: dict[str, Any] | None = None, raw: bytes = b"", headers: Any = None
) -> str:
    """How an answer comes out for a feature."""
    try:
        judge(FEATURES[name], Reply(asked or {}, Heard(200, headers or {}, raw), answer))
    except Ended as error:
        return str(error.outcome)
    return "pass"


def said(text: str = "Hello!", finish: str = "stop", **more: Any) -> Answer:
    return Answer(text=text, finish=finish, model="m", **more)


def call(name: str = "weather", arguments: str = '{"city": "Oslo"}', **more: Any) -> Answer:
    return said("", "calls", calls=(Call("a", name, arguments, **more),))


THOUGHT = {"output": [{"type": "reasoning", "encrypted_content": "x"}]}
STOPS = {"stop": ["END", "STOP"]}
CASES: list[tuple[str, Answer, dict[str, Any], str]] = [
    ("answers.text", said(), {}, "pass"),
    ("answers.text", said(""), {}, "unsure"),
    ("usage.plain", said(usage=Usage(7, 2)), {}, "pass"),
    ("usage.plain", said(usage=Usage(0, 2)), {}, "fail"),
    ("usage.plain", said(), {}, "fail"),
    ("length.cap", said(usage=Usage(7, 9)), {"max_tokens": 8}, "fail"),
    ("length.cap", said(usage=Usage(7, 90, 85)), {"max_tokens": 8}, "pass"),
    ("answers.length", said(finish="length", usage=Usage(7, 8)), {"max_tokens": 8}, "pass"),
    ("answers.length", said("x" * 65, finish="length", usage=Usage(7, 20)), {"max_tokens": 8}, "fail"),
    ("answers.length", said(usage=Usage(7, 2)), {"max_tokens": 8}, "unsure"),
    ("length.stop", said("apples pears "), STOPS, "pass"),
    ("length.stop", said("apples pears STOP"), STOPS, "fail"),
    ("length.stop", said("Of course!"), STOPS, "unsure"),
    ("answers.stop_word", said("apples", body={"stop_reason": "stop_sequence", "stop_sequence": None}), STOPS, "fail"),
    ("shape.json", said("{}"), {}, "pass"),
    ("shape.json", said("[]"), {}, "fail"),
    ("shape.json", said("Sure: {}"), {}, "fail"),
    ("shape.json", said('{"a', "length"), {}, "unsure"),
    ("shape.schema", said('{"greeting": "hi"}'), {}, "pass"),
    ("shape.schema", said('{"greeting": "hi", "more": 1}'), {}, "fail"),
    ("shape.schema_loose", said('{"greeting": 1}'), {}, "unsure"),
    ("tools.function", call(), {}, "pass"),
    ("tools.function", said(), {}, "unsure"),
    ("tools.function", said("", "length"), {}, "unsure"),
    ("choice.required", said("", "stop", calls=call().calls), {}, "pass"),
    ("choice.required", said("", "refusal", calls=call().calls), {}, "fail"),
    ("choice.named", call("time"), {}, "fail"),
    ("choice.allowed", call("time"), {}, "fail"),
    ("choice.allowed", said(), {}, "pass"),
    ("choice.unknown", call("tide"), {}, "fail"),
    ("choice.none", call(), {}, "fail"),
    ("tools.strict", call(arguments="{}"), {}, "fail"),
    ("tools.custom", call(custom=True, arguments="a note"), {}, "pass"),
    ("tools.custom", call(), {}, "fail"),
    ("tools.grammar", call(custom=True, arguments="a note"), {}, "unsure"),
    ("answers.calls", call(), {}, "unsure"),
    ("thinking.off", said(thoughts="hm"), {}, "unsure"),
    ("answers.thought", said(thoughts="hm"), {}, "pass"),
    ("answers.thought", said(), {}, "unsure"),
    ("sampling.logprobs", said(body={"choices": [{"logprobs": {"content": [{"token": "a"}]}}]}), {}, "fail"),
    ("streams.plain", said(body={"choices": []}, usage=Usage(1, 1)), {}, "fail"),
    ("audio.out", said(body={"choices": [{"message": {"audio": None}}]}), {}, "fail"),
    ("turns.history", said(""), {}, "pass"),
]


@pytest.mark.parametrize(("name", "answer", "asked", "outcome"), CASES)
def test_an_answer_is_judged_by_what_was_asked(name: str, answer: Answer, asked: dict[str, Any], outcome: str) -> None:
    """What the endpoint broke fails, what the model alone did not do is unsure."""
    assert verdict(name, answer, asked) == outcome


def test_thoughts_are_judged_in_their_own_dialects() -> None:
    """Encrypted thoughts are looked for in items; hidden ones must not be seen; padding must not be there."""
    assert verdict("thinking.encrypted", said(body=THOUGHT)) == "pass"
    assert verdict("thinking.encrypted", said(body={"output": [{"type": "reasoning"}]})) == "unsure"
    assert verdict("thinking.hidden", said(thoughts="hm")) == "fail"
    assert verdict("streams.no_obfuscation", said(), raw=b'{"obfuscation":"x"}') == "fail"


def test_what_is_done_otherwise_and_said_so_is_no_failure() -> None:
    """A warning in whichever dialect's words: left out is skipped, approximated and missed is unsure; silence is not."""
    prose = said("Good morning!")
    assert verdict("shape.json", prose, headers={"x-warnings": "approx:response_format"}) == "unsure"
    assert verdict("shape.json", said("{}"), headers={"x-warnings": "approx:response_format"}) == "pass"
    assert verdict("shape.json", prose, headers={"x-warnings": "dropped:seed"}) == "fail"
    assert (
        verdict("length.stop", said("apples STOP"), STOPS, headers={"x-warnings": "approx:x, dropped:stop"}) == "skip"
    )


def test_judges_belong_to_features() -> None:
    """No judge and no mistake is of a row that the table has lost, and extra checks have ids of their own."""
    extras = {extra.id for extra in EXTRAS}
    assert set(JUDGES) <= set(FEATURES)
    assert set(MISTAKES) <= set(FEATURES) | extras
    assert not extras & set(FEATURES)


def refused(status: int, message: str, body: Any = None) -> Refused:
    told = {"error": {"message": message, "type": "invalid_request_error"}} if body is None else body
    error = refusal(Chat(), Heard(status, {}, json.dumps(told).encode()))
    assert isinstance(error, Refused)
    return error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (refused(400, "seed is not supported"), Outcome.SKIP),
        (refused(400, "reseeded"), Outcome.FAIL),
        (refused(501, "not here"), Outcome.SKIP),
        (refused(422, "seed", {"detail": "seed"}), Outcome.FAIL),
        (refused(400, "bad request"), Outcome.FAIL),
    ],
)
def test_a_refusal_counts_for_skipped_where_it_names_what_it_is_about(error: Refused, outcome: Outcome) -> None:
    """In the dialect's shape and with the field's name, or 501; anything else says nothing to a caller."""
    assert error.verdict(terms(FEATURES["sampling.seed"], CHAT)).outcome is outcome


def test_short_names_are_whole_words() -> None:
    """`n` is not found in every message."""
    assert not refused(400, "not now").names(["n"])
    assert refused(400, "n must be 1").names(["n"])


@pytest.mark.parametrize(("status", "kind"), [(401, Unsure), (429, Unsure), (500, Wrong), (503, Wrong)])
def test_other_statuses_are_no_refusals(status: int, kind: type[Ended]) -> None:
    """A limit proves nothing, a server's failure is one."""
    assert type(refusal(Chat(), Heard(status, {}, b'{"error": "no"}'))) is kind


def test_terms_are_the_dialects_own_words() -> None:
    """Fields, kinds of parts and tools; not the words that stand in every request."""
    assert fields(FEATURES["sampling.seed"], CHAT) == {"seed"}
    assert "image_url" in fields(FEATURES["images.inline"], CHAT)
    assert "mcp_servers" in fields(FEATURES["tools.mcp"], "messages")
    assert not {"role", "content", "type"} & fields(FEATURES["turns.history"], CHAT)
