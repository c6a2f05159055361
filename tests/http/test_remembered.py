"""`previous_response_id`, GET and DELETE of answers: the real SDK over real HTTP, at strict fakes of all three dialects."""

import json
import random
from pathlib import Path
from typing import Any

import openai
import pytest

from hermes_router.engine.remembered import KEPT_S
from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.store.responses import ResponseStore

from .test_compaction import COMPACTING
from .test_dialects import MODELS, NAMES, STREAM, UPSTREAM

TOOLS: list[Any] = [
    {"type": "function", "name": "weather", "strict": False,
     "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    {"type": "function", "name": "clock", "strict": False, "parameters": {"type": "object", "properties": {}}},
]  # fmt: skip
OTHER_KEY = "sk-another-key-2"


@pytest.fixture
def pool(house, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open a router over fakes of some dialects; with further settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    rows = tmp_path / "config/hermes-router/providers.toml"
    rows.parent.mkdir(parents=True)

    async def start(*upstreams: str, **env: str) -> Any:
        fakes = [FakeProvider(NAMES[each], style={"answers": "openai"}.get(NAMES[each], "")) for each in upstreams]
        if "responses" in upstreams:
            rows.write_text(COMPACTING)
        env |= {f"{NAMES[each].upper()}_MODEL": MODELS[each].partition("/")[2] for each in upstreams}
        return await house(*fakes, env=env)

    return start


async def ask(h: Any, said: Any, stream: bool = False, **fields: Any) -> Any:
    """One request through the SDK; `x-hermes-fallback` lets a pin be left."""
    asked = {"model": "hermes-router", "input": said, "extra_headers": {"x-hermes-fallback": "any"}, **fields}
    if not stream:
        return await h.sdk.responses.create(**asked)
    async with h.sdk.responses.stream(**asked) as events:
        return await events.get_final_response()


async def refused(h: Any, previous: str, **fields: Any) -> dict[str, Any]:
    """The error of a request that refers to what is not there."""
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(h, "say 3 words", previous_response_id=previous, **fields)
    body: Any = caught.value.body
    return body


def bodies(h: Any) -> list[Any]:
    """What the providers were asked, in order."""
    return [one.body for one in h.sandbox.requests if one.path.rpartition("/v1/")[2] in PATHS]


PATHS = ("chat/completions", "messages", "responses")


def forget_in_memory(h: Any) -> None:
    """As after another start."""
    h.engine.remembered._turns.tidy(float("inf"))
    h.engine.remembered._whole.tidy(float("inf"))


def results(response: Any) -> list[Any]:
    """Outputs for each call of an answer."""
    return [
        {"type": "function_call_output", "call_id": item.call_id, "output": f"done {item.name}"}
        for item in response.output
        if item.type == "function_call"
    ]


@STREAM
@UPSTREAM
async def test_a_turn_by_id_is_a_turn_with_all_that_was_said(pool, upstream: str, stream: bool) -> None:
    """Calls, results, texts and thoughts of random conversations: what the provider gets is the same to the letter."""
    h = await pool(upstream)
    dice = random.Random(f"{upstream} {stream}")
    for _ in range(3):
        talk: list[Any] = []
        previous = None
        fields: dict[str, Any] = {
            "model": MODELS[upstream], "tools": TOOLS, "instructions": "Be kind.", "reasoning": {"effort": "high"},
        }  # fmt: skip
        response = None
        for _ in range(dice.randint(3, 5)):
            own: Any = results(response) if response is not None else []
            text = dice.choice(["call all tools", "say 3 words", "say 7 words", 'thanks \u00e4\u20ac "quoted"\n'])
            if not own and dice.random() < 0.4:
                own = text
                talk.append({"type": "message", "role": "user", "content": text})
            else:
                own = [*own, {"role": "user", "content": [{"type": "input_text", "text": text}]}]
                talk += own
            response = await ask(h, own, stream, previous_response_id=previous, **fields)
            assert (response.previous_response_id, response.store) == (previous, True)
            one = bodies(h)[-1]
            await ask(
                h, talk if previous else own, stream, include=["reasoning.encrypted_content"], store=False, **fields
            )
            whole = bodies(h)[-1]
            assert one.pop("include", None) == whole.pop("include", None)
            assert one == whole
            assert "previous_response_id" not in one
            assert one.get("store") in (False, None)
            talk += [item.model_dump(exclude_none=True, mode="json") for item in response.output]
            previous = response.id


@STREAM
async def test_a_conversation_moves_over_providers_of_all_dialects(pool, stream: bool) -> None:
    """Each turn at another one: the texts of all earlier turns reach it, and no id of an answer."""
    h = await pool("chat", "messages", "responses")
    previous, texts = None, []
    for number, upstream in enumerate(["responses", "chat", "messages", "responses", "messages", "chat"], 3):
        text = f"say {number} words"
        response = await ask(h, text, stream, previous_response_id=previous, model=MODELS[upstream])
        texts.append(text)
        sent = json.dumps(bodies(h)[-1])
        assert all(each in sent for each in texts)
        assert "previous_response_id" not in sent
        previous = response.id


async def test_a_conversation_keeps_its_target_though_its_instructions_change(pool) -> None:
    """Instructions are each request's own; the affinity of the first turn stands."""
    h = await pool("chat", "messages", "responses")
    first = await ask(h, "say 3 words", instructions="Be kind.")
    second = await ask(h, "say 4 words", previous_response_id=first.id)
    third = await ask(h, "say 5 words", previous_response_id=second.id, instructions="Be brief.")
    assert len({one.provider for one in h.sandbox.requests if one.path.rpartition("/v1/")[2] in PATHS}) == 1
    assert "Be kind." not in json.dumps(bodies(h)[-1])
    assert "Be brief." in json.dumps(bodies(h)[-1])
    assert third.output_text


@STREAM
async def test_an_answer_that_was_finished_by_another_provider_is_remembered_as_joined(pool, stream: bool) -> None:
    """One provider breaks off in mid-answer, the other goes on: the next turn brings the answer as the caller saw it."""
    h = await pool("responses", "chat")
    h.sandbox.behave("answers", faults.cut_halfway())
    body = {"model": MODELS["responses"], "input": "say 30 words", "stream": stream}
    async with h.http.post(f"{h.url}/v1/responses", json=body, headers={"x-hermes-fallback": "any"}) as answer:
        text = await answer.text()
    assert answer.headers["x-hermes-attempts"] == "1" if stream else "2"
    told = json.loads(text if not stream else text.rstrip().rpartition("data: ")[2])
    told = told.get("response", told)
    said = "".join(part["text"] for item in told["output"] for part in item.get("content", ()))
    assert said.split() == [f"w{n}" for n in range(1, 31)]
    await ask(h, "thanks", stream, previous_response_id=told["id"], model=MODELS["chat"])
    assert said in [one.get("content") for one in bodies(h)[-1]["messages"]]
    assert (await h.sdk.responses.retrieve(told["id"])).output_text == said


async def test_what_is_not_known_is_refused_in_the_dialects_words(pool) -> None:
    """Unknown ids, ids of another key, of unkept answers: one status, one body, nothing asked upstream."""
    h = await pool("chat", PROXY_API_KEYS=f"sk-test-key-1,{OTHER_KEY}")
    kept = await ask(h, "say 3 words")
    unkept = await ask(h, "say 3 words", store=False)
    assert (kept.store, unkept.store) == (True, False)
    before = len(h.sandbox.requests)
    said = []
    for ident, client in (("resp_nothing", h.sdk), (unkept.id, h.sdk), (kept.id, h.sdk.copy(api_key=OTHER_KEY))):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(model="hermes-router", input="hi", previous_response_id=ident)
        said.append((caught.value.response.status_code, json.loads(caught.value.response.text.replace(ident, "ID"))))
        for method in ("GET", "DELETE"):
            key = client.api_key
            async with h.http.request(
                method, f"{h.url}/v1/responses/{ident}", headers={"authorization": f"Bearer {key}"}
            ) as answer:
                assert answer.status == 404
                error = (await answer.json())["error"]
                assert error == {
                    "message": f"Response with id '{ident}' not found.", "type": "invalid_request_error",
                    "param": None, "code": None,
                }  # fmt: skip
    error = {
        "message": "Previous response with id 'ID' not found.", "type": "invalid_request_error",
        "param": "previous_response_id", "code": "previous_response_not_found",
    }  # fmt: skip
    assert said == [(400, {"error": error})] * 3
    assert len(h.sandbox.requests) == before
    assert (await ask(h, "say 3 words", previous_response_id=kept.id)).output_text


@pytest.mark.parametrize("wrong", [3, ["resp_1"], {"id": "x"}])
async def test_an_id_that_is_no_text_is_named(pool, wrong: Any) -> None:
    """400 with the field."""
    h = await pool("chat")
    async with h.http.post(f"{h.url}/v1/responses", json={"input": "hi", "previous_response_id": wrong}) as answer:
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, "previous_response_id")


async def test_faults_are_counted_from_the_callers_own_items(pool) -> None:
    """A wrong field in the third item that was sent is input[2], however much lies before it."""
    h = await pool("chat")
    first = await ask(h, [{"role": "user", "content": "say 3 words"}, {"role": "user", "content": "now"}])
    own = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "user", "content": 3}]
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(h, own, previous_response_id=first.id)
    error: Any = caught.value.body
    assert (error["param"], error["message"].partition(" ")[0]) == ("input[2].content", "input[2].content")


async def test_a_turn_may_bring_nothing_of_its_own(pool) -> None:
    """OpenAI wants an input or a previous answer: with the latter the former may be missing."""
    h = await pool("chat")
    first = await ask(h, "say 3 words")
    body = {"model": "hermes-router", "previous_response_id": first.id}
    async with h.http.post(f"{h.url}/v1/responses", json=body) as answer:
        assert answer.status == 200, await answer.text()
    async with h.http.post(f"{h.url}/v1/responses", json={**body, "input": 3}) as answer:
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, "input")


async def test_answers_can_be_looked_at_and_erased(pool) -> None:
    """The object as the caller saw it, its items by pages; once erased, neither it nor what builds on it is known."""
    h = await pool("responses")
    first = await ask(h, "say 3 words")
    own = [{"role": "user", "content": "say 4 words"}, {"role": "user", "content": "now"}]
    second = await ask(h, own, previous_response_id=first.id)
    assert (await h.sdk.responses.retrieve(second.id)).model_dump() == second.model_dump()
    listed = [item async for item in h.sdk.responses.input_items.list(second.id, limit=1)]
    assert [item.content[0].text for item in listed] == ["now", "say 4 words"]
    ordered = [item async for item in h.sdk.responses.input_items.list(second.id, order="asc")]
    assert ordered == listed[::-1]
    async with h.http.get(f"{h.url}/v1/responses/{second.id}/input_items?limit=0") as answer:
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, "limit")
    async with h.http.delete(f"{h.url}/v1/responses/{first.id}") as answer:
        assert (answer.status, await answer.json()) == (200, {"id": first.id, "object": "response", "deleted": True})
    async with h.http.delete(f"{h.url}/v1/responses/{first.id}") as answer:
        assert answer.status == 404
    for ident in (first.id, second.id):
        assert (await refused(h, ident))["code"] == "previous_response_not_found"
    async with h.http.put(f"{h.url}/v1/responses/{second.id}") as answer:
        assert answer.status == 405


async def test_nothing_is_kept_where_nothing_is_to_be(pool) -> None:
    """RESPONSES_STORE=0: a previous id is refused in plain words, answers say that they are not kept, GET knows none."""
    h = await pool("chat", "responses", RESPONSES_STORE="0")
    first = await ask(h, "say 3 words", model=MODELS["chat"])
    assert first.store is False
    error = await refused(h, first.id)
    assert (error["code"], error["param"]) == ("unsupported_parameter", "previous_response_id")
    assert "send the whole conversation as input" in error["message"]
    async with h.http.get(f"{h.url}/v1/responses/{first.id}") as answer:
        assert answer.status == 404
    assert not h.engine.remembered.size_bytes


async def test_a_local_answer_is_never_kept(house) -> None:
    """`hermes-router:local`: the answer says so, and its id is unknown."""
    h = await house(FakeProvider("local"))
    await h.daemon.discover_local()
    for store in (True, None):
        first = await ask(h, "say 3 words", model="hermes-router:local", store=store)
        assert first.store is False
    assert (await refused(h, first.id))["code"] == "previous_response_not_found"
    assert not h.engine.remembered.size_bytes


async def test_an_answer_is_known_for_a_day(pool) -> None:
    """A second before a day is over it may be referred to; a day later not."""
    h = await pool("chat")
    first = await ask(h, "say 3 words")
    h.clock.advance(KEPT_S - 1)
    assert (await ask(h, "say 3 words", previous_response_id=first.id, store=False)).output_text
    h.clock.advance(2)
    assert (await refused(h, first.id))["code"] == "previous_response_not_found"


@STREAM
async def test_a_cut_answer_at_its_length_is_kept_and_a_failed_one_is_not(pool, stream: bool) -> None:
    """incomplete at max_output_tokens is an answer; a caller who left, and a stream that failed, leave nothing."""
    h = await pool("responses")
    body = {"model": MODELS["responses"], "input": "say 60 words", "max_output_tokens": 16, "stream": stream}
    async with h.http.post(f"{h.url}/v1/responses", json=body) as answer:
        text = await answer.text()
    told = json.loads(text if not stream else text.rstrip().rpartition("data: ")[2])
    told = told.get("response", told)
    assert (told["status"], told["store"]) == ("incomplete", True)
    assert (await ask(h, "say 3 words", previous_response_id=told["id"])).output_text
    held = h.engine.remembered.size_bytes
    h.sandbox.behave("answers", faults.cut_halfway(), times=None)
    del body["max_output_tokens"]
    async with h.http.post(f"{h.url}/v1/responses", json=body) as answer:
        text = await answer.text()
    assert "event: response.failed" in text if stream else answer.status == 503, text
    assert h.engine.remembered.size_bytes == held


async def test_what_is_told_in_a_stream_is_true_in_every_event(pool) -> None:
    """A provider's own frames pass; those that hold the response say what is remembered here, and nothing else changes."""
    h = await pool("responses")
    first = await ask(h, "say 3 words")
    body = {"model": MODELS["responses"], "input": "say 3 words", "stream": True, "previous_response_id": first.id}
    async with h.http.post(f"{h.url}/v1/responses", json=body) as answer:
        frames = [json.loads(line[6:]) for line in (await answer.text()).splitlines() if line.startswith("data: ")]
    told = [frame["response"] for frame in frames if "response" in frame]
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    assert len(told) >= 3
    assert {(one["previous_response_id"], one["store"]) for one in told} == {(first.id, True)}
    async with h.http.post(f"{h.url}/v1/responses", json={**body, "store": False}) as answer:
        frames = [json.loads(line[6:]) for line in (await answer.text()).splitlines() if line.startswith("data: ")]
    told = [frame["response"] for frame in frames if "response" in frame]
    assert {(one["previous_response_id"], one["store"]) for one in told} == {(first.id, False)}


async def test_counting_counts_what_is_referred_to(pool) -> None:
    """input_tokens with a previous id is more than without."""
    h = await pool("chat")
    first = await ask(h, "say 60 words")
    alone = await h.sdk.responses.input_tokens.count(model="hermes-router", input="hi")
    behind = await h.sdk.responses.input_tokens.count(model="hermes-router", input="hi", previous_response_id=first.id)
    assert behind.input_tokens > alone.input_tokens + 20


async def test_two_lives_on_one_file(pool, house, tmp_path: Path) -> None:
    """What one engine kept, the next finds on the disk, after that it was erased it is gone there, too."""
    h = await pool("chat")
    store = ResponseStore(tmp_path / "responses.db", log=h.log, now=h.clock.now)
    store.start()
    h.engine.remembered._shelf = store
    first = await ask(h, "say 3 words")
    second = await ask(h, "say 4 words", previous_response_id=first.id)
    await store.flush()
    forget_in_memory(h)
    third = await ask(h, "say 5 words", previous_response_id=second.id)
    sent = json.dumps(bodies(h)[-1])
    assert all(f"say {n} words" in sent for n in (3, 4, 5))
    assert store.close(5.0)
    store.start()
    forget_in_memory(h)
    assert (await h.sdk.responses.retrieve(third.id)).output_text == third.output_text
    assert (tmp_path / "responses.db").stat().st_mode & 0o777 == 0o600
    await h.sdk.responses.delete(second.id)
    forget_in_memory(h)
    assert (await refused(h, third.id))["code"] == "previous_response_not_found"
    assert store.close(5.0)


async def test_what_is_referred_to_can_be_compacted(pool) -> None:
    """The whole conversation goes into the item, and the item is what a later answer goes on from, by id again."""
    h = await pool("responses", "chat")
    first = await ask(h, "say 3 words")
    body = {"model": "hermes-router", "input": "hi", "previous_response_id": first.id}
    async with h.http.post(f"{h.url}/v1/responses/compact", json=body) as answer:
        items = (await answer.json())["output"]
    request = next(one for one in h.sandbox.requests if one.path.endswith("/compact"))
    assert "say 3 words" in json.dumps(request.body)
    assert "previous_response_id" not in request.body
    second = await ask(h, [*items, {"role": "user", "content": "say 4 words"}])
    third = await ask(h, "say 5 words", previous_response_id=second.id)
    assert third.output_text
    assert items[-1] in bodies(h)[-1]["input"]
