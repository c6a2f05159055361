"""Vectors that say whose they are, and each provider's rules for asking for them; the official SDK reads them all."""

import json
import math
from typing import Any

import openai
import pytest

from hermes_router.sandbox import bad_vectors, faults
from hermes_router.sandbox.embeddings import EMBEDDERS, Embedder, packed, unpacked, vector
from hermes_router.sandbox.providers import Embedded, FakeProvider, Refused
from hermes_router.sandbox.quotas import Quotas
from hermes_router.sandbox.server import Sandbox

from .conftest import START, HandClock

STYLES = sorted(EMBEDDERS)


def sdk(sandbox: Sandbox, style: str, **options: Any) -> openai.AsyncOpenAI:
    """The official client, pointed at a provider."""
    return openai.AsyncOpenAI(base_url=sandbox.base_url(style), api_key="sandbox-key", max_retries=0, **options)


def ask(provider: FakeProvider, given: Any, **fields: Any) -> Embedded | Refused:
    """One request without HTTP, for the provider's first model."""
    body = {"model": fields.pop("model", EMBEDDERS[provider.style][0].id), "input": given, **fields}
    got = provider.embed("sandbox-key", {}, body, START)
    assert isinstance(got, Embedded | Refused)
    return got


def vectors(got: Embedded | Refused) -> list[Any]:
    assert isinstance(got, Embedded), got
    return [row["embedding"] for row in got.answer["data"]]


def refusal(got: Embedded | Refused) -> tuple[int, str]:
    assert isinstance(got, Refused), got
    return got.refusal.status, json.dumps(got.refusal.body)


@pytest.mark.parametrize("style", STYLES)
async def test_the_sdk_reads_the_same_vectors_in_both_encodings(sandbox, style) -> None:
    """Base64, which the SDK asks for by itself, and floats are equal to the last bit, and of the model's length."""
    model = EMBEDDERS[style][0]
    async with sdk(sandbox, style) as client:
        plain = await client.embeddings.create(model=model.id, input=["a", "b"])
        floats = await client.embeddings.create(model=model.id, input=["a", "b"], encoding_format="float")
    wanted = [vector(model.id, text, model.length) for text in ("a", "b")]
    assert [row.embedding for row in plain.data] == [row.embedding for row in floats.data] == wanted
    assert plain.usage.prompt_tokens == 2
    assert sandbox.requests[-2].body["encoding_format"] == "base64"


def test_a_vector_tells_its_model_and_text() -> None:
    """No two models or texts share one; a shorter one is the beginning of the whole."""
    made = {tuple(vector(model, text, 8)) for model in ("a", "b") for text in ("x", "y", [1, 2])}
    assert len(made) == 6
    assert vector("a", "x", 8) == vector("a", "x", 3_072)[:8]
    assert unpacked(packed(vector("a", "x", 8))) == vector("a", "x", 8)


def test_mistral_answers_floats_whatever_was_asked_for() -> None:
    """Base64 is ignored, not refused; the others write what was asked for."""
    assert isinstance(vectors(ask(FakeProvider("mistral"), "x", encoding_format="base64"))[0], list)
    assert isinstance(vectors(ask(FakeProvider("gemini"), "x", encoding_format="base64"))[0], str)
    assert isinstance(vectors(ask(FakeProvider("gemini"), "x"))[0], list)


@pytest.mark.parametrize(
    ("style", "good", "bad"),
    [
        ("gemini", [1, 768, 3_072], [0, 3_073, "768", True]),
        ("mistral", [], [1_024, 512]),
        ("cohere", [256, 512, 1_024, 1_536], [768, 3_072]),
        ("openai", [1, 512, 1_536], [0, 1_537]),
    ],
)
def test_each_provider_knows_its_own_dimensions(style, good, bad) -> None:
    """Gemini and OpenAI any up to their own, Cohere four, Mistral refuses the word."""
    for size in good:
        assert len(vectors(ask(FakeProvider(style), "x", dimensions=size))[0]) == size
    for size in bad:
        assert refusal(ask(FakeProvider(style), "x", dimensions=size))[0] in {400, 422}


@pytest.mark.parametrize(
    ("style", "most", "words"),
    [
        ("gemini", 100, "at most 100 requests can be in one batch"),
        ("mistral", 512, "Too many inputs in request, split into more batches."),
        ("cohere", 96, "total number of texts must be at most 96"),
        ("openai", 2_048, "maximum length 2048"),
    ],
)
def test_a_request_holds_so_many_inputs(style, most, words) -> None:
    """The most that each takes at once, and its words for one more."""
    got = vectors(ask(FakeProvider(style), [str(number) for number in range(most)]))
    assert len(got) == most
    status, said = refusal(ask(FakeProvider(style), ["x"] * (most + 1)))
    assert (status, words in said) == (400, True)


def test_all_inputs_of_a_request_together_may_be_too_much() -> None:
    """Mistral takes 16,384 tokens at once; one input by itself has a limit everywhere."""
    assert len(vectors(ask(FakeProvider("mistral"), ["x" * 4_000] * 16))) == 16
    assert "Too many tokens overall" in refusal(ask(FakeProvider("mistral"), ["x" * 4_000] * 17))[1]
    for style in ("gemini", "openai", "mistral"):
        assert refusal(ask(FakeProvider(style), "x" * 4 * 8_193))[0] == 400


@pytest.mark.parametrize("style", STYLES)
def test_only_openai_takes_tokens(style) -> None:
    """A list of tokens is one input, a list of such lists several; the rest refuse them."""
    for given, number in (([1, 2, 3], 1), ([[1, 2], [3]], 2)):
        got = ask(FakeProvider(style), given)
        if style == "openai":
            assert len(vectors(got)) == number
        else:
            assert refusal(got)[0] in {400, 422}


@pytest.mark.parametrize("given", ["", [], ["a", ""], ["a", 1], [1, "a"], [[1], "a"], [[]], [True], None, 7, {"a": 1}])
def test_inputs_that_are_none_are_refused(given) -> None:
    """Empty, mixed, and of no type that there is."""
    for style in STYLES:
        assert refusal(ask(FakeProvider(style), given))[0] in {400, 422}


def test_unknown_fields_models_and_encodings_are_refused() -> None:
    """Each provider in its own shape; Mistral does not even know `user`."""
    for style in STYLES:
        assert refusal(ask(FakeProvider(style), "x", surprise=1))[0] in {400, 422}
        assert refusal(ask(FakeProvider(style), "x", model="nothing"))[0] in {400, 404}
        assert refusal(ask(FakeProvider(style), "x", encoding_format="md5"))[0] in {400, 422}
    assert refusal(ask(FakeProvider("mistral"), "x", user="u"))[0] == 422
    assert vectors(ask(FakeProvider("openai"), "x", user="u"))
    assert refusal(ask(FakeProvider("mistral"), "x", dimensions=5))[1].count("extra_forbidden") == 1


def test_the_quotas_count() -> None:
    """Requests and tokens are charged to the key and model; a refused one costs nothing."""
    provider = FakeProvider("openai", quotas=Quotas(rpm=2, tpm=100))
    assert refusal(ask(provider, ""))[0] == 400
    first = ask(provider, "x" * 200)
    assert isinstance(first, Embedded)
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert refusal(ask(provider, "x" * 400))[0] == 429
    assert vectors(ask(provider, "x"))
    assert refusal(ask(provider, "x"))[0] == 429


async def test_whoever_has_none_answers_404(sandbox, http) -> None:
    """Groq has no such path; a list of models shows Mistral's as one that does not chat."""
    async with http.post(sandbox.base_url("groq") + "/embeddings", json={"model": "m", "input": "x"}) as response:
        assert response.status == 404
    async with http.get(sandbox.base_url("mistral") + "/models") as response:
        rows = {row["id"]: row for row in (await response.json())["data"]}
    assert rows["mistral-embed"]["capabilities"]["completion_chat"] is False


async def test_a_local_server_says_what_its_models_are_for(clock: HandClock, http) -> None:
    """As LM Studio does, where it lists a model that embeds; a server of chat models has no such list."""
    for embedders, status in ((None, 404), ((Embedder("nomic", 8),), 200)):
        async with Sandbox([FakeProvider("local", embedders=embedders)], clock) as sandbox:
            async with http.get(sandbox.base_url("local").removesuffix("/v1") + "/api/v0/models") as response:
                assert response.status == status
                told = await response.json()
            async with http.get(sandbox.base_url("local") + "/models") as response:
                listed = [row["id"] for row in (await response.json())["data"]]
    assert {row["id"]: row["type"] for row in told["data"]} == {"llama3.1": "llm", "nomic": "embeddings"}
    assert listed == ["llama3.1", "nomic"]


async def test_the_usual_faults_are_played_on_this_route(clock: HandClock) -> None:
    """Statuses, cuts and silence, in order and for this route alone; then the good answer."""
    own = Embedder("tiny", 4)
    async with Sandbox([FakeProvider("openai", embedders=(own,))], clock) as sandbox:
        for fault in (faults.rate_limited(wait_s=7), faults.bad_key(), faults.status(500), faults.reset()):
            sandbox.behave("openai", fault, route="embeddings")
        sandbox.behave("openai", faults.cut(0), route="embeddings")
        async with sdk(sandbox, "openai") as client:
            for error in (openai.RateLimitError, openai.AuthenticationError, openai.InternalServerError):
                with pytest.raises(error):
                    await client.embeddings.create(model="tiny", input="x")
            for _ in range(2):
                with pytest.raises(openai.APIConnectionError):
                    await client.embeddings.create(model="tiny", input="x")
            got = await client.embeddings.create(model="tiny", input="x")
            assert len(got.data[0].embedding) == 4
            with pytest.raises(openai.NotFoundError):
                await client.embeddings.create(model="text-embedding-3-small", input="x")
        assert [each.outcome for each in sandbox.requests] == [*["refused"] * 3, "cut", "cut", "finished", "refused"]


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_bad_vectors_are_bad_in_both_encodings(clock: HandClock, encoding, http) -> None:
    """Each of them breaks what its name says, with status 200."""
    async with Sandbox(["generic"], clock) as sandbox:

        async def got(fault: Any) -> dict[str, Any]:
            sandbox.behave("generic", fault, route="embeddings")
            body = {"model": "sandbox-embed", "input": ["a", "b", "c"], "encoding_format": encoding}
            async with http.post(sandbox.base_url("generic") + "/embeddings", json=body) as response:
                assert response.status == 200
                return dict(json.loads(await response.read()))

        def read(row: dict[str, Any]) -> list[float]:
            held = row["embedding"]
            return unpacked(held) if isinstance(held, str) else held

        async def lengths(fault: Any) -> list[int]:
            return [len(read(row)) for row in (await got(fault))["data"]]

        assert await lengths(bad_vectors.fewer_vectors()) == [8, 8]
        assert await lengths(bad_vectors.more_vectors()) == [8, 8, 8, 8]
        assert await lengths(bad_vectors.no_vectors()) == []
        assert await lengths(bad_vectors.another_length(5)) == [5, 5, 5]
        assert await lengths(bad_vectors.another_length(9)) == [9, 9, 9]
        assert await lengths(bad_vectors.uneven_lengths()) == [8, 8, 7]
        rows = (await got(bad_vectors.no_number()))["data"]
        assert [math.isnan(value) for value in read(rows[-1])].count(True) == 1
        assert (await got(bad_vectors.null_number()))["data"][-1]["embedding"][0] is None
        assert [row["index"] for row in (await got(bad_vectors.out_of_order()))["data"]] == [2, 1, 0]
        assert [row["index"] for row in (await got(bad_vectors.same_index()))["data"]] == [0, 0, 0]
        assert "index" not in (await got(bad_vectors.no_index()))["data"][0]
        assert "usage" not in await got(bad_vectors.no_usage())
        other = (await got(bad_vectors.other_encoding()))["data"][0]["embedding"]
        assert isinstance(other, list) == (encoding == "base64")
        with pytest.raises(ValueError, match="length not a multiple"):
            read((await got(bad_vectors.broken_base64()))["data"][0])
        assert (await got(faults.json_200_error()))["error"]["code"] == 500
