"""`POST /v1/responses/compact`, and what was compacted in later requests: with the SDK, over real HTTP, at strict fakes."""

import json
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.responses import CompactedResponse

from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider

from .test_dialects import ANSWERS, STREAM

COMPACTING = ANSWERS.replace('can = ["tools", "images"]', 'can = ["tools", "images", "compaction"]')
TALK: list[Any] = [
    {"role": "user", "content": "one"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "two", "annotations": []}]},
    {"role": "user", "content": "three"},
]
MODEL = "answers/gpt-6-luna"


@pytest.fixture
def pool(house, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open a router over providers that compact (`answers`, `others`), with `keys` of each, and one that does not."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    rows = tmp_path / "config/hermes-router/providers.toml"
    rows.parent.mkdir(parents=True)

    async def start(*names: str, keys: int = 1) -> Any:
        rows.write_text(COMPACTING + COMPACTING.replace("answers", "others"))
        fakes = [FakeProvider(name, style="groq" if name == "groq" else "openai") for name in names]
        return await house(*fakes, keys={fake.name: keys for fake in fakes})

    return start


def asked(h: Any, provider: str | None = None) -> list[Any]:
    """The requests to compact that providers got."""
    return [one for one in h.sandbox.requests if one.path.endswith("/compact") and provider in {None, one.provider}]


async def test_the_sdk_compacts_and_goes_on(pool) -> None:
    """The object is the SDK's to the letter; its output as the next input is answered by the model that made it."""
    h = await pool("answers", "groq")
    answer = await h.sdk.responses.with_raw_response.compact(model="hermes-router", input=TALK, instructions="be brief")
    told = json.loads(answer.text)
    *users, item = told["output"]
    CompactedResponse.model_validate({**told, "output": [item]}, strict=True)  # it knows no messages of the user
    assert [one["role"] for one in users] == ["user", "user"]
    assert item["type"] == "compaction"
    assert answer.headers["x-hermes-target"] == MODEL
    (request,) = asked(h)
    assert (request.provider, request.body["model"], "store" in request.body) == ("answers", "gpt-6-luna", False)
    items = [*told["output"], {"role": "user", "content": "say 5 words"}]
    for _ in range(3):
        response = await h.sdk.responses.create(model="hermes-router", input=items)
        assert response.output_text
        last = h.sandbox.requests[-1]
        assert last.provider == "answers"
        assert item in last.body["input"]


async def test_where_nobody_compacts_it_is_said(pool) -> None:
    """400 `no_capable_target`, in plain words, and nobody is asked: for the operation, its item and its order alike."""
    h = await pool("groq")
    item = {"type": "compaction", "encrypted_content": "secret"}
    with pytest.raises(openai.BadRequestError, match="does not compact conversations") as refused:
        await h.sdk.responses.compact(model="hermes-router", input=TALK)
    assert refused.value.code == "no_capable_target"
    for items in ([item, TALK[0]], [*TALK, {"type": "compaction_trigger"}]):
        with pytest.raises(openai.BadRequestError, match="does not compact conversations") as refused:
            await h.sdk.responses.create(model="hermes-router", input=items)
        assert refused.value.code == "no_capable_target"
    with pytest.raises(openai.BadRequestError):
        await h.sdk.responses.compact(model="groq/openai/gpt-oss-120b", input=TALK)
    assert h.sandbox.requests == []


async def test_a_key_that_is_limited_is_followed_by_the_next(pool) -> None:
    """Failover goes over the keys and over providers, and a pin keeps to its own."""
    h = await pool("answers", "others", keys=2)
    h.sandbox.behave("answers", faults.rate_limited(), 1, route="compact")
    done = await h.sdk.responses.compact(model=MODEL, input=TALK)
    assert done.output[-1].type == "compaction"
    assert [one.provider for one in asked(h)] == ["answers", "answers"]
    h.sandbox.behave("answers", faults.overloaded(), None, route="compact")
    done = await h.sdk.responses.compact(model="hermes-router", input=TALK)
    assert done.output[-1].type == "compaction"
    assert asked(h)[-1].provider == "others"
    with pytest.raises(openai.APIStatusError) as failed:
        await h.sdk.responses.compact(model=MODEL, input=TALK)
    assert failed.value.status_code in {429, 503}


async def test_an_address_that_is_not_there_rests_nobody(pool) -> None:
    """A 404 says that this provider has no such address: another is asked, and its model answers questions as before."""
    h = await pool("answers", "others")
    h.sandbox.behave(
        "answers", faults.status(404, {"error": {"message": "Model not found", "code": 404}}), None, route="compact"
    )
    done = await h.sdk.responses.compact(model="hermes-router", input=TALK)
    assert done.output[-1].type == "compaction"
    assert [one.provider for one in asked(h)] == ["answers", "others"]
    response = await h.sdk.responses.create(model=MODEL, input="say 5 words")
    assert response.output_text
    with pytest.raises(openai.BadRequestError):
        await h.sdk.responses.compact(model=MODEL, input=TALK)
    assert [row["state"] for row in await h.status("answers")] == ["ready"]


@STREAM
async def test_an_order_to_compact_is_answered_by_the_item(pool, stream: bool) -> None:
    """`compaction_trigger` goes to who compacts, and the item comes back as it was made, streamed and whole."""
    h = await pool("answers", "groq")
    items = [*TALK, {"type": "compaction_trigger"}]
    if stream:
        async with h.sdk.responses.stream(model="hermes-router", input=items) as events:
            response = await events.get_final_response()
    else:
        response = await h.sdk.responses.create(model="hermes-router", input=items)
    (item,) = response.output
    assert item.type == "compaction"
    response = await h.sdk.responses.create(model="hermes-router", input=[item.model_dump(), TALK[0]])
    assert response.output_text
    assert h.sandbox.requests[-1].body["input"][0]["encrypted_content"] == item.encrypted_content


async def test_what_was_compacted_goes_to_its_maker_or_nobody(pool) -> None:
    """It stands for a history: another model is not asked without it, nor with it, and the caller is told."""
    h = await pool("answers", "others")
    done = await h.sdk.responses.compact(model=MODEL, input=TALK)
    items: list[Any] = [{"type": "compaction", "encrypted_content": done.output[-1].encrypted_content}, TALK[0]]
    with pytest.raises(openai.BadRequestError, match="read by the model alone that made it"):
        await h.sdk.responses.create(model="others/gpt-6-luna", input=items)
    assert not [one for one in h.sandbox.requests if one.provider == "others"]
    h.sandbox.behave("answers", faults.overloaded(), None)
    with pytest.raises(openai.APIStatusError) as failed:
        await h.sdk.responses.create(model="hermes-router", input=items)
    assert failed.value.status_code == 503
    h.sandbox.providers["answers"].script.clear()
    h.later(60.0)
    h.sandbox.behave("answers", faults.rate_limited(wait_s=50.0))
    for _ in range(2):  # the second time nobody is asked at all
        with pytest.raises(openai.RateLimitError) as limited:
            await h.sdk.responses.create(model="hermes-router", input=items)
        assert 40 < int(limited.value.response.headers["retry-after"]) <= 50
    assert not [one for one in h.sandbox.requests if one.provider == "others"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [{"type": "compaction", "encrypted_content": 3}]}, "input[0].encrypted_content"),
        ({"input": [{"type": "compaction"}]}, "input[0].encrypted_content"),
        ({"input": [{"type": "compaction", "encrypted_content": "x", "id": 3}]}, "input[0].id"),
        ({"input": []}, "input"),
        ({"input": "x", "stream": True}, "stream"),
        ({"input": "x", "tools": 3}, "tools"),
    ],
)
async def test_bad_input_is_named(pool, fields: dict[str, Any], param: str) -> None:
    """A 400 with the path of the field, and nobody is asked."""
    h = await pool("answers")
    async with h.http.post(f"{h.url}/v1/responses/compact", json={"model": MODEL, **fields}) as response:
        assert response.status == 400
        error = (await response.json())["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert h.sandbox.requests == []


@STREAM
async def test_after_a_restart_its_maker_is_found_again(pool, stream: bool) -> None:
    """Nobody remembers who made it: who cannot read it refuses it, and the next one is asked, with all of it."""
    h = await pool("others", "answers")
    done = await h.sdk.responses.compact(model=MODEL, input=TALK)
    h.engine.memory._makers.clear()
    item = {"type": "compaction", "encrypted_content": done.output[-1].encrypted_content}
    refused = 0
    for number in range(4):
        items: list[Any] = [item, {"role": "user", "content": f"say {number + 2} words"}]
        given = {"model": "hermes-router", "input": items, "extra_headers": {"x-session-id": f"s{number}"}}
        if stream:
            async with h.sdk.responses.stream(**given) as events:
                response = await events.get_final_response()
        else:
            response = await h.sdk.responses.create(**given)
        assert response.output_text
        *earlier, last = [one for one in h.sandbox.requests if one.path.endswith("/responses")]
        assert last.provider == "answers"
        refused += bool(earlier) and earlier[-1].provider == "others"
        assert all(item in one.body["input"] for one in (*earlier, last))
        h.engine.memory._makers.clear()
    assert refused
    assert [row["state"] for row in await h.status()] == ["ready", "ready"]
