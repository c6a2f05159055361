"""`POST /v1/embeddings` over real HTTP: its paths, its envelope, and what the pool shows of it."""

import json

import pytest

from hermes_router.sandbox import bad_vectors

from .conftest import key_for


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings", "/v1/v1/embeddings", "/anthropic/v1/embeddings"])
@pytest.mark.parametrize("chunked", [False, True], ids=["hot", "through"])
async def test_every_path_and_both_ways_in(house, path, chunked) -> None:
    """With, without and with doubled `/v1`; on our own front and through aiohttp."""
    here = await house("mistral")
    body = json.dumps({"model": "hermes-router", "input": "a"}).encode()

    async def pieces():
        yield body

    async with here.http.post(here.url + path, data=pieces() if chunked else body) as answer:
        said = await answer.json()
        assert (answer.status, answer.headers["x-hermes-target"]) == (200, "mistral/mistral-embed")
        assert answer.headers["x-request-id"].startswith("req_")
    assert len(said["data"][0]["embedding"]) == 1_024


async def test_wrong_ways_to_ask(house) -> None:
    """No key, another method, no JSON: in OpenAI's envelope, and nobody is asked."""
    here = await house("mistral")
    async with here.http.get(f"{here.url}/v1/embeddings") as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (405, "method_not_allowed")
    async with here.http.post(f"{here.url}/v1/embeddings", json={}, headers={"authorization": "Bearer no"}) as answer:
        assert answer.status == 401
    async with here.http.post(f"{here.url}/v1/embeddings", data=b"{") as answer:
        assert (answer.status, (await answer.json())["error"]["type"]) == (400, "invalid_request_error")
    assert here.sandbox.requests == []


async def test_the_models_are_listed_and_chat_knows_nothing_of_them(house) -> None:
    """Behind those that chat, as pins; status, readiness and the advertised window are those of the chat pool."""
    here = await house("gemini", "cohere")
    ids = [model.id async for model in await here.sdk.models.list()]
    embeds = ["gemini/gemini-embedding-001", "gemini/gemini-embedding-2", "cohere/embed-v4.0"]
    assert ids[-3:] == embeds
    async with here.http.get(f"{here.url}/v1/status") as answer:
        assert not {f"{row['provider']}/{row['model']}" for row in (await answer.json())["targets"]} & set(embeds)
    async with here.http.get(f"{here.url}/v1/models", headers={"anthropic-version": "2023-06-01"}) as answer:
        assert not {row["id"] for row in (await answer.json())["data"]} & set(embeds)


async def test_bad_vectors_leave_chat_alone(house) -> None:
    """They are the model's fault, however often they come, and whatever its provider is asked else."""
    here = await house("mistral")
    here.sandbox.behave("mistral", bad_vectors.fewer_vectors(), times=None, route="embeddings")
    for _ in range(8):
        async with here.http.post(f"{here.url}/v1/embeddings", json={"input": ["a", "b"]}) as answer:
            assert answer.status == 503
        here.clock.advance(60)
    async with here.post() as answer:
        assert answer.status == 200


async def test_a_key_that_is_dead_for_vectors_is_dead_for_chat(house) -> None:
    """It is one key: what its refusal proves, it proves once."""
    here = await house("mistral", keys={"mistral": 2})
    here.sandbox.revoke("mistral", key_for("mistral", 1))
    for _ in range(3):
        async with here.http.post(f"{here.url}/v1/embeddings", json={"input": "a"}) as answer:
            assert answer.status == 200
    async with here.http.get(f"{here.url}/v1/status") as answer:
        states = {row["credential"]: row["state"] for row in (await answer.json())["targets"]}
    assert states == {key_for("mistral", 1)[-4:]: "paused", key_for("mistral", 2)[-4:]: "ready"}
