"""hermes_router/conformance/runner.py: whole runs against a peer that is right, and against one that is not."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from hermes_router.conformance.answer import Outcome
from hermes_router.conformance.endpoint import Endpoint, Heard, Sent, Unreachable
from hermes_router.conformance.feature import DIALECTS
from hermes_router.conformance.features import FEATURES
from hermes_router.conformance.runner import EXTRAS, KeyRefused, NoModel, Report, Wishes, known, run

from .good import (
    CHAT,
    CHAT_CALLS_STREAM,
    CHAT_STREAM,
    MESSAGE_CALL,
    MESSAGE_STREAM,
    RESPONSE_STREAM,
    having,
    raw,
    without,
)  # fmt: skip
from .peer import KEY, Peer, Said, Twist, error


async def report(twist: Twist | None = None, *, key: str = KEY, **wishes: Any) -> Report:
    """What a run against such a peer finds."""
    async with Peer(twist) as peer, Endpoint(peer.url, key, timeout_s=10) as endpoint:
        return await run(endpoint, Wishes(**wishes))


def outcomes(found: Report, outcome: Outcome) -> dict[tuple[str, str], str]:
    """The reasons of all checks that came out so, by dialect and id."""
    return {(one.dialect, one.id): one.why for one in found.findings if one.outcome is outcome}


async def test_a_good_peer_fails_nothing_in_few_requests() -> None:
    """Every feature has its finding for each dialect that has words for it, in the table's order, and none is a failure."""
    found = await report()
    assert outcomes(found, Outcome.FAIL) == {}
    assert found.unspoken == {}
    assert found.requests <= 200
    for dialect in DIALECTS:
        ids = [one.id for one in found.findings if one.dialect == dialect]
        wanted = [name for name, feature in FEATURES.items() if dialect in feature.asks]
        assert ids == wanted + [extra.id for extra in EXTRAS if dialect in extra.dialects]
    assert outcomes(found, Outcome.SKIP) == {
        ("chat", "audio.out"): 'HTTP 400: "modalities: this model does not speak"',
        ("responses", "sampling.logprobs"): 'HTTP 400: "top_logprobs is not supported"',
    }
    assert {one.outcome for one in found.findings if one.area == "Embeddings"} == {Outcome.PASS}


def _on(path: str, change: Callable[[dict[str, Any], Said], Said | None]) -> Twist:
    return lambda asked, body, said: change(body, said) if asked == path else None


def _always(path: str, value: Any) -> Twist:
    """Every whole answer of this path that went well is this."""
    return _on(path, lambda body, said: Said(value) if said.status == 200 and not said.stream else None)


def _streams(path: str, events: Any, *, named: bool) -> Twist:
    return _on(path, lambda body, said: Said(stream=raw(events, named=named)) if said.stream else None)


BROKEN: list[tuple[str, str, str, Twist, str]] = [
    ("chat", "answers.identity", "answers", _always("/chat/completions", without(CHAT, "id")), "id is missing"),
    ("chat", "usage.plain", "usage", _always("/chat/completions", without(CHAT, "usage")), "usage should be an object"),
    ("chat", "streams.plain", "streams", _streams("/chat/completions", CHAT_STREAM[:-1], named=False), "without data: [DONE]"),
    ("chat", "streams.plain", "streams", _on("/chat/completions", lambda body, said: Said(CHAT) if said.stream else None),
     "a stream was asked for"),
    ("chat", "streams.plain", "streams", _on("/chat/completions", lambda body, said: Said(stream=said.stream, headers={
        "content-type": "text/plain"}) if said.stream else None), "a stream was asked for"),
    ("chat", "streams.usage", "streams", _streams("/chat/completions", CHAT_STREAM, named=False), "no usage came"),
    ("chat", "streams.calls", "streams", _streams("/chat/completions", without(
        CHAT_CALLS_STREAM, 2, "choices", 0, "delta", "tool_calls", 0, "index"), named=False), "index is missing"),
    ("chat", "sampling.n", "sampling", _always("/chat/completions", CHAT), "two answers were asked for"),
    ("chat", "sampling.logprobs", "sampling", _always("/chat/completions", CHAT), "none came"),
    ("chat", "shape.schema", "shape", _always("/chat/completions", CHAT), "JSON was asked for"),
    ("chat", "length.stop", "stop", _always("/chat/completions", having(
        CHAT, "apples pears STOP plums", "choices", 0, "message", "content")), "goes on over"),
    ("chat", "length.cap_small", "length", _always("/chat/completions", having(
        having(CHAT, 200, "usage", "completion_tokens"), 207, "usage", "total_tokens")), "at most 8 tokens"),
    ("chat", "errors.missing", "errors", _on("/chat/completions", lambda body, said: Said(CHAT)), "as if nothing were wrong"),
    ("chat", "errors.wrong_type", "errors", _on("/chat/completions", lambda body, said: error("no", 400)
        if said.status == 400 else None), "does not say what is wrong"),
    ("chat", "errors.wrong_type", "errors", _on("/chat/completions", lambda body, said: Said({"detail": "temperature"}, 422)
        if said.status == 400 else None), "a shape of its own"),
    ("chat", "errors.wrong_type", "errors", _on("/chat/completions", lambda body, said: error("temperature", 500)
        if said.status == 400 else None), "HTTP 500"),
    ("chat", "errors.not_json", "errors", _on("/chat/completions", lambda body, said: Said("<html>", 400)
        if said.status == 400 else None), "not JSON"),
    ("chat", "errors.many", "errors", _on("/chat/completions", lambda body, said: Said(CHAT) if body.get("n") else None),
     "was taken"),
    ("chat", "errors.path", "errors", lambda path, body, said: Said({}) if path == "/no-such-path" else None, "should be 404"),
    ("chat", "errors.wrong_key", "errors", lambda path, body, said: error("key", 500) if said.status == 401 else None,
     "a wrong key should be 401"),
    ("chat", "tools.function", "tools", _on("/chat/completions", lambda body, said: error("no", 400)
        if "tools" in body and "tool_choice" not in body else None), "without a word about what is wrong"),
    ("chat", "images.inline", "images", _on("/chat/completions", lambda body, said: Said("oops", 500)
        if "image_url" in json.dumps(body) else None), "HTTP 500"),
    ("chat", "lists.models", "lists", lambda path, body, said: Said({"data": [{"id": "m"}]}) if path == "/models" else None,
     "object is missing"),
    ("chat", "lists.model", "lists", lambda path, body, said: Said({**said.value, "id": "x"}) if path == "/models/m"
        and "object" in said.value else None, 'and "x" came'),
    ("chat", "lists.unknown", "lists", lambda path, body, said: Said({}) if said.status == 404 else None, "should be 404"),
    ("messages", "choice.none", "choice", _always("/messages", MESSAGE_CALL), "no tool was to be called"),
    ("messages", "tools.parallel_off", "parallel_off", _always("/messages", {**MESSAGE_CALL, "content": [
        {**MESSAGE_CALL["content"][0], "id": name} for name in "ab"]}), "and 2 came"),
    ("messages", "answers.call", "answers", _always("/messages", {**MESSAGE_CALL, "content": MESSAGE_CALL["content"] * 2}),
     "two calls have one id"),
    ("messages", "tools.strict", "tools", _always("/messages", having(
        MESSAGE_CALL, {"town": "Oslo"}, "content", 0, "input")), "strict arguments do not keep"),
    ("messages", "tools.function", "tools", _always("/messages", {**MESSAGE_CALL, "stop_reason": "end_turn"}),
     "agents would not run them"),
    ("messages", "choice.named", "choice", _always("/messages", having(MESSAGE_CALL, "time", "content", 0, "name")),
     "was called"),
    ("messages", "calls.round_trip", "round", _on("/messages", lambda body, said: error("no", 400, anthropic=True)
        if "tool_result" in json.dumps(body) else None), "without a word"),
    ("messages", "streams.plain", "streams", _streams("/messages", MESSAGE_STREAM, named=False), "no `event:` line"),
    ("messages", "counts.messages", "counts", lambda path, body, said: Said({"input_tokens": 0})
        if path.endswith("count_tokens") else None, "no tokens"),
    ("responses", "streams.plain", "streams", _streams("/responses", [*RESPONSE_STREAM[:3], *RESPONSE_STREAM[4:]], named=True),
     "sequence_number"),
    ("responses", "state.previous", "state", _on("/responses", lambda body, said: Said(said.value)
        if said.status == 200 else Said({**having(json.loads(json.dumps(_GOOD)), "resp_unknown", "previous_response_id")})),
     "taken without a word"),
    ("responses", "kept.read", "kept", lambda path, body, said: Said(having(
        said.value, "Bye.", "output", 0, "content", 0, "text")) if path.startswith("/responses/resp_") and said.status == 200
        and "output" in said.value else None, "kept was"),
    ("responses", "kept.gone_on", "kept", _on("/responses", lambda body, said: Said(having(
        said.value, 7, "usage", "input_tokens")) if body.get("previous_response_id") else None), "knows nothing"),
    ("responses", "kept.deleted", "kept", lambda path, body, said: Said(_GOOD) if path.startswith("/responses/resp_")
        and said.status == 404 else None, "a deleted answer should be 404"),
    ("responses", "thinking.off", "thinking", _on("/responses", lambda body, said: error("no", 400) if body.get("reasoning")
        else None), "without a word"),
    ("embeddings", "embeddings.floats", "embeddings", _on("/embeddings", lambda body, said: Said(
        having(said.value, "x", "data", 0, "embedding")) if said.status == 200 else None), "should be a list"),
    ("embeddings", "embeddings.base64", "embeddings", _on("/embeddings", lambda body, said: Said(
        having(said.value, "AAAA", "data", 0, "embedding")) if body.get("encoding_format") == "base64" else None),
     "bytes of base64"),
    ("embeddings", "embeddings.base64", "embeddings", _on("/embeddings", lambda body, said: Said(
        having(said.value, "AAAAAAAAAAAAAAAAAAAAAA==", "data", 0, "embedding"))
        if body.get("encoding_format") == "base64" else None), "another one"),
    ("embeddings", "embeddings.batch", "embeddings", _on("/embeddings", lambda body, said: Said(
        having(said.value, 0, "data", 1, "index")) if isinstance(body.get("input"), list) and said.status == 200 else None),
     "are numbered"),
    ("embeddings", "embeddings.dimensions", "embeddings", _on("/embeddings", lambda body, said: Said(
        having(said.value, [1.0], "data", 0, "embedding")) if "dimensions" in body else None), "dimensions were asked for"),
    ("embeddings", "embeddings.wrong_type", "embeddings", _on("/embeddings", lambda body, said: Said({})
        if isinstance(body.get("input"), dict) else None), "as if nothing were wrong"),
]  # fmt: skip
_GOOD = RESPONSE_STREAM[-1]["response"]


@pytest.mark.parametrize(
    ("dialect", "name", "only", "twist", "why"), BROKEN, ids=[f"{each[0]}-{each[1]}-{each[4]}" for each in BROKEN]
)
async def test_each_fault_of_a_peer_fails_its_check(dialect: str, name: str, only: str, twist: Twist, why: str) -> None:
    """The check that looks for it fails, says why, and tells the request that shows it."""
    found = await report(twist, only=only, dialects=(dialect,))
    failed = outcomes(found, Outcome.FAIL)
    assert (dialect, name) in failed, found.findings
    assert why in failed[dialect, name]
    sent = next(one.sent for one in found.findings if one.id == name)
    assert sent is not None
    assert sent.curl().startswith("curl -sS ")
    assert KEY not in sent.curl()


async def test_what_fails_in_company_is_asked_for_alone() -> None:
    """One feature that is refused does not fail those that were asked for with it, whether the refusal names it or not."""

    def picky(message: str) -> Twist:
        return _on("/chat/completions", lambda body, said: error(message, 400) if "top_k" in body else None)

    named = await report(picky("top_k is not known here"), only="sampling", dialects=("chat",))
    assert set(outcomes(named, Outcome.SKIP)) == {("chat", "sampling.top_k")}
    assert outcomes(named, Outcome.FAIL) == {}
    nameless = await report(picky("no"), only="sampling", dialects=("chat",))
    assert set(outcomes(nameless, Outcome.FAIL)) == {("chat", "sampling.top_k")}


async def test_what_is_left_out_and_said_is_skipped() -> None:
    """A header of warnings that names the field is a plain word; what was only done otherwise passes."""

    def warned(body: dict[str, Any], said: Said) -> Said:
        said.headers["x-warnings"] = "dropped:top_k,approx:temperature"
        return said

    found = await report(_on("/chat/completions", warned), only="sampling", dialects=("chat",))
    assert outcomes(found, Outcome.SKIP) == {("chat", "sampling.top_k"): "left out, and said so: dropped:top_k"}


async def test_a_dialect_that_is_not_spoken_costs_one_request() -> None:
    """404 on its path is said once, and nothing else of it is asked."""
    async with Peer(lambda path, body, said: error("no", 404) if path.startswith("/messages") else None) as peer:
        async with Endpoint(peer.url, KEY) as endpoint:
            found = await run(endpoint, Wishes(dialects=("messages",)))
        assert [path for _, path, _ in peer.asked] == ["/models", "/messages"]
    assert found.findings == []
    assert "HTTP 404" in found.unspoken["messages"]


async def test_one_dialect_that_refuses_or_hangs_up_says_nothing_of_the_others() -> None:
    """Some gateways know the key in one header only, and lists of models may be open or closed to it."""

    def half(path: str, body: Any, said: Said) -> Said | None:
        return error("who are you?", 401) if path in {"/messages", "/models"} else None

    found = await report(half, only="turns.user", dialects=("chat", "messages"), model="m")
    assert outcomes(found, Outcome.PASS) == {("chat", "turns.user"): ""}
    assert "the key is refused" in found.unspoken["messages"]


async def test_the_list_of_models_may_want_the_key_in_the_other_header() -> None:
    """As a server of Messages alone does."""
    rows = {"data": [{"id": "talker", "object": "model"}], "object": "list"}
    asked = []

    class Closed(Endpoint):
        async def send(self, sent: Sent, secret: Mapping[str, str]) -> Heard:
            asked.append((sent.url, *secret))
            return Heard(401, {}, b"{}") if "authorization" in secret else await super().send(sent, secret)

    async with (
        Peer(lambda path, body, said: Said(rows) if path == "/models" else None) as peer,
        Closed(peer.url, KEY) as endpoint,
    ):
        found = await run(endpoint, Wishes(dialects=("messages",), only="turns.user"))
    assert found.model == "talker"
    assert [who for _, who in asked[:2]] == ["authorization", "x-api-key"]


async def test_a_model_that_does_as_it_likes_is_no_failure() -> None:
    """No call where one was demanded: the shape was right, so nobody is blamed."""
    found = await report(_always("/chat/completions", CHAT), only="choice", dialects=("chat",))
    assert outcomes(found, Outcome.FAIL) == {}
    assert ("chat", "choice.required") in outcomes(found, Outcome.UNSURE)


async def test_limits_are_waited_for_and_then_let_be() -> None:
    """A 429 is asked once more after its time; one that stays proves nothing."""
    calls = 0

    def limited(body: dict[str, Any], said: Said) -> Said | None:
        nonlocal calls
        calls += 1
        return (
            Said({"error": {"message": "slow down", "type": "x"}}, 429, headers={"retry-after": "0"})
            if calls < 3
            else None
        )

    found = await report(_on("/chat/completions", limited), only="turns.user", dialects=("chat",))
    assert outcomes(found, Outcome.PASS) == {("chat", "turns.user"): ""}
    calls = -100
    found = await report(_on("/chat/completions", limited), only="turns.user", dialects=("chat",))
    assert "slow down" in outcomes(found, Outcome.UNSURE)["chat", "turns.user"]


async def test_a_run_ends_after_so_many_requests() -> None:
    """What was not asked any more is unsure, and says how to ask it."""
    async with Peer() as peer, Endpoint(peer.url, KEY, most=10) as endpoint:
        found = await run(endpoint, Wishes(dialects=("chat",)))
        assert len(peer.asked) == 10
    left = outcomes(found, Outcome.UNSURE)
    assert "--only" in left["chat", "errors.wrong_role"]
    assert outcomes(found, Outcome.FAIL) == {}


async def test_no_run_without_a_key_or_a_model_or_a_server() -> None:
    """A refused key ends the run at once; a model is asked for where none is listed; nobody there is said."""
    with pytest.raises(KeyRefused):
        await report(key="wrong")
    with pytest.raises(NoModel):
        await report(lambda path, body, said: error("no", 404) if path == "/models" else None)
    named = await report(
        lambda path, body, said: error("no", 404) if path == "/models" else None, model="m", only="turns.user"
    )
    assert named.model == "m"
    async with Peer() as peer:
        url = peer.url
    async with Endpoint(url, KEY) as endpoint:
        with pytest.raises(Unreachable):
            await run(endpoint, Wishes())


async def test_the_model_is_the_first_that_talks() -> None:
    """Models of embeddings and the like are passed over, and taken for embeddings."""
    rows = [{"id": name, "object": "model"} for name in ("text-embedding-3", "talker")]

    def listed(path: str, body: dict[str, Any], said: Said) -> Said | None:
        return Said({"object": "list", "data": rows}) if path == "/models" else None

    async with Peer(listed) as peer, Endpoint(peer.url, KEY) as endpoint:
        found = await run(endpoint, Wishes(only="*s.*", dialects=("chat", "embeddings")))
        asked = {(path, body["model"]) for _, path, body in peer.asked if isinstance(body, dict) and "model" in body}
    assert found.model == "talker"
    assert asked == {("/chat/completions", "talker"), ("/embeddings", "text-embedding-3")}


async def test_progress_is_told() -> None:
    """Each check is told as it is done, up to all of them."""
    told: list[tuple[int, int]] = []
    async with Peer() as peer, Endpoint(peer.url, KEY) as endpoint:
        await run(endpoint, Wishes(only="sampling", dialects=("chat",)), lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1] == len(told)


def test_patterns_find_ids() -> None:
    """A part of an id or a pattern; what fits nothing is known to fit nothing."""
    assert known(["tools.*"])
    assert known(["embeddings.base64"])
    assert not known(["no.such.check"])
