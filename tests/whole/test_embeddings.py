"""Embeddings through the real daemon and the official SDK: one router key, one model, whatever fails beside it."""

import asyncio
import base64
import math
import os
import signal
import struct
from collections.abc import Callable, Sequence
from typing import Any

import openai
import pytest

from hermes_router.sandbox import bad_vectors, faults
from hermes_router.sandbox.embeddings import Embedder, vector
from hermes_router.sandbox.faults import Behaviour
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.quotas import Quotas

from .home import KEY, Home

GEMINI = ("gemini", "gemini-embedding-001", 3_072)
MISTRAL = ("mistral", "mistral-embed", 1_024)
MODELS = (
    GEMINI,
    MISTRAL,
    ("cohere", "embed-v4.0", 1_536),
    ("openai", "text-embedding-3-small", 1_536),
    ("local", "nomic-embed-text", 768),
)
KEYS = {name: f"sk-{name}-0123456789-1111" for name, *_ in MODELS}
SECOND = {name: f"sk-{name}-0123456789-2222" for name, *_ in MODELS}
BAD_INPUT: Sequence[tuple[str, dict[str, Any]]] = (
    ("input", {"input": ""}),
    ("input", {"input": []}),
    ("input", {"input": ["a", ""]}),
    ("input", {"input": ["a", 1]}),
    ("input", {"input": [1, "a"]}),
    ("input", {"input": [[1, 2], "a"]}),
    ("input", {"input": [[]]}),
    ("input", {"input": [1.5]}),
    ("input", {"input": {"text": "a"}}),
    ("input", {"input": None}),
    ("input", {"input": ["x"] * 2_049}),
    ("dimensions", {"input": "a", "dimensions": 0}),
    ("dimensions", {"input": "a", "dimensions": -1}),
    ("dimensions", {"input": "a", "dimensions": 3_073}),
    ("dimensions", {"input": "a", "dimensions": "768"}),
    ("encoding_format", {"input": "a", "encoding_format": "md5"}),
)


def provider(name: str, *, keys: int = 1, **more: Any) -> FakeProvider:
    """A fake with one key, or with two."""
    return FakeProvider(name, keys={KEYS[name], SECOND[name]} if keys > 1 else {KEYS[name]}, **more)


def environment(*names: str, keys: int = 1, **more: str) -> dict[str, str]:
    """The variables that give the router those providers. It never waits."""
    told = {f"{name.upper()}_API_KEYS": f"{KEYS[name]},{SECOND[name]}" if keys > 1 else KEYS[name] for name in names}
    return {"PATIENCE_SECONDS": "0", **told, **more}


def sdk(home: Home, key: str = KEY) -> openai.AsyncOpenAI:
    """The official client, which tries nothing twice."""
    return openai.AsyncOpenAI(base_url=f"http://localhost:{home.port}/v1", api_key=key, max_retries=0)


async def embed(client: openai.AsyncOpenAI, given: Any, model: str = "hermes-router", **more: Any) -> tuple[str, Any]:
    """The target and the answer."""
    raw = await client.embeddings.with_raw_response.create(model=model, input=given, **more)
    return raw.headers["x-hermes-target"], raw.parse()


def vectors(answer: Any) -> list[list[float]]:
    return [numbers(row.embedding) for row in answer.data]


def numbers(held: Any) -> list[float]:
    """A vector as numbers: the SDK decodes base64 only where it was not asked for by name."""
    if isinstance(held, list):
        return held
    raw = base64.b64decode(held)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


def made_by(model: tuple[str, str, int], *texts: str) -> list[list[float]]:
    """The vectors that this model, and no other, makes of these texts."""
    return [vector(model[1], text, model[2]) for text in texts]


async def kill_9(home: Home) -> None:
    for pid in home.daemons():
        os.kill(pid, signal.SIGKILL)
    while home.daemons():  # noqa: ASYNC110 - another process is awaited
        await asyncio.sleep(0.01)


async def test_one_key_of_two_is_gone_and_the_vectors_stay_the_same(home) -> None:
    """Broken, unreachable, limited, then revoked: the other key of the same provider serves, and no caller notices."""
    here = await home(provider("gemini", keys=2), provider("mistral"),
                      **environment("gemini", keys=2), MISTRAL_API_KEY=KEYS["mistral"])  # fmt: skip
    await here.hr("start", code=0)
    async with sdk(here) as client:
        for fault in (faults.status(500), faults.reset(), faults.rate_limited("rpd"), None):
            if fault is not None:
                here.sandbox.behave("gemini", fault, route="embeddings", key=KEYS["gemini"])
            else:
                here.sandbox.revoke("gemini", KEYS["gemini"])
            for _ in range(2):
                target, answer = await embed(client, ["a", "b"])
                assert (target, vectors(answer)) == ("gemini/gemini-embedding-001", made_by(GEMINI, "a", "b"))
    asked = [each for each in here.sandbox.requests if each.path.endswith("/embeddings")]
    assert {each.provider for each in asked} == {"gemini"}
    assert {each.key_tail for each in asked if each.outcome != "finished"} == {"1111"}
    assert {each.key_tail for each in asked if each.outcome == "finished"} >= {"2222"}


async def test_the_bound_provider_is_down_and_no_other_steps_in(home) -> None:
    """503 that says why and what ends it, chat goes on, and the provider's return ends it; unbinding is the owner's."""
    here = await home(provider("gemini"), provider("mistral"), **environment("gemini", "mistral"))
    await here.hr("start", code=0)
    async with sdk(here) as client:
        assert vectors((await embed(client, "a"))[1]) == made_by(GEMINI, "a")
        await here.sandbox.kill("gemini")
        for _ in range(3):
            with pytest.raises(openai.InternalServerError) as caught:
                await embed(client, "a")
            assert caught.value.status_code == 503
            said = str(caught.value)
            assert "gemini/gemini-embedding-001" in said
            assert "hr embed unbind" in said
        assert (await here.ask())[0] == 200
        assert {each.provider for each in here.sandbox.requests if each.path.endswith("/embeddings")} == {"gemini"}
        assert (await here.hr("embed", "unbind")).code == 2
        done = await here.hr("embed", "unbind", "--yes", code=0)
        assert "gemini/gemini-embedding-001" in done.out
        target, answer = await embed(client, "a")
        assert (target, vectors(answer)) == ("mistral/mistral-embed", made_by(MISTRAL, "a"))
        await here.sandbox.revive("gemini")
        assert (await embed(client, "a"))[0] == "mistral/mistral-embed"


async def test_twenty_first_uses_at_once_come_from_one_model(home) -> None:
    """The others wait for the first one, though they could have had another model's vectors long before."""
    here = await home(provider("gemini"), provider("mistral"), **environment("gemini", "mistral"))
    await here.hr("start", code=0)
    texts = [f"text {number}" for number in range(20)]
    slow = here.sandbox.behave("gemini", faults.stall(0), route="embeddings")
    async with sdk(here) as client:
        first = asyncio.create_task(embed(client, texts[0]))
        await slow.reached.wait()
        here.sandbox.behave("gemini", faults.status(500), times=None, route="embeddings")
        others = [asyncio.create_task(embed(client, text)) for text in texts[1:]]
        for _ in range(5):
            assert (await here.ask())[0] == 200  # by now they have come
        here.sandbox.providers["gemini"].script.clear()
        slow.gate.set()
        got = await asyncio.gather(first, *others)
    assert {target for target, _ in got} == {"gemini/gemini-embedding-001"}
    assert [vectors(answer)[0] for _, answer in got] == made_by(GEMINI, *texts)
    rows = (await here.hr("embed", "show", "--json", code=0)).json["rows"]
    assert [(row["provider"], row["model"], row["dimensions"]) for row in rows] == [GEMINI]


async def test_first_uses_while_the_first_provider_falters_come_from_one_model(home) -> None:
    """Some of its answers are failures: whichever provider it is in the end, it is one."""
    here = await home(provider("gemini", keys=2), provider("mistral", keys=2),
                      **environment("gemini", "mistral", keys=2))  # fmt: skip
    await here.hr("start", code=0)
    for fault in (faults.status(500), faults.reset(), faults.overloaded(), faults.status(500)):
        here.sandbox.behave("gemini", fault, route="embeddings")
    async with sdk(here) as client:
        got = await asyncio.gather(*(embed(client, f"text {number}") for number in range(20)))
    assert len({target for target, _ in got}) == 1
    bound = next(model for model in MODELS if f"{model[0]}/{model[1]}" == got[0][0])
    assert [vectors(answer)[0] for _, answer in got] == made_by(bound, *(f"text {number}" for number in range(20)))


async def test_a_binding_outlives_kill_9_stop_and_restart(home) -> None:
    """It is on the disk before the first vector leaves; `hr embed show` reads it with no daemon running."""
    here = await home(provider("gemini"), provider("mistral"), **environment("gemini", "mistral"))

    async def ask() -> tuple[str, list[list[float]]]:
        async with sdk(here) as client:
            target, answer = await embed(client, "a")
            return target, vectors(answer)

    await here.hr("start", code=0)
    await here.sandbox.kill("gemini")
    bound = ("mistral/mistral-embed", made_by(MISTRAL, "a"))
    assert await ask() == bound
    await kill_9(here)  # not a moment later
    await here.sandbox.revive("gemini")
    row = (await here.hr("embed", "show", "--json", code=0)).json["rows"][0]
    assert (row["name"], row["profile"], row["provider"]) == ("PROXY_API_KEYS 1", "main", "mistral")
    await here.hr("start", code=0)
    assert await ask() == bound
    await here.hr("restart", code=0)
    assert await ask() == bound
    await here.hr("stop", code=0)
    await here.hr("start", code=0)
    assert await ask() == bound
    await here.hr("stop", code=0)
    await here.hr("embed", "unbind", "--yes", code=0)
    assert (await here.hr("embed", "show", "--json", code=0)).json["rows"] == []


@pytest.mark.parametrize("model", MODELS, ids=[model[0] for model in MODELS])
async def test_base64_and_floats_are_the_same_vectors(home, model) -> None:
    """To the last bit, for every provider, pinned: those that ignore one of both included."""
    here = await home(provider(model[0]), **environment(model[0]), LOCAL_EMBED_MODEL="nomic-embed-text")
    await here.hr("start", code=0)
    pin = f"{model[0]}/{model[1]}"
    async with sdk(here) as client:
        for more in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
            target, answer = await embed(client, ["a", "b"], pin, **more)
            assert (target, vectors(answer)) == (pin, made_by(model, "a", "b"))
            assert answer.usage.prompt_tokens == 2
            assert answer.model == model[1]
    assert (await here.hr("embed", "show", "--json", code=0)).json["rows"] == []  # a pin needs no binding


@pytest.mark.parametrize("model", [GEMINI, MISTRAL, *MODELS[2:4]], ids=["gemini", "mistral", "cohere", "openai"])
async def test_2048_inputs_come_back_in_order(home, model) -> None:
    """Split into what the provider takes at once, merged, usage summed; one more is refused."""
    here = await home(provider(model[0]), **environment(model[0]))
    await here.hr("start", code=0)
    texts = [f"text number {number}" for number in range(2_048)]
    async with sdk(here) as client:
        target, answer = await embed(client, texts)
        assert target == f"{model[0]}/{model[1]}"
        assert [row.index for row in answer.data] == list(range(2_048))
        assert [row.embedding[:8] for row in answer.data] == [vector(model[1], text, 8) for text in texts]
        assert {len(row.embedding) for row in answer.data} == {model[2]}
        assert answer.usage.prompt_tokens == sum(math.ceil(len(text) / 4) for text in texts)
        with pytest.raises(openai.BadRequestError):
            await embed(client, [*texts, "one more"])


async def test_bad_input_is_the_callers(home) -> None:
    """Each is a 400 in OpenAI's form that names the field, before anybody is asked; nothing is bound by it."""
    here = await home(provider("gemini"), **environment("gemini"))
    await here.hr("start", code=0)
    async with sdk(here) as client:
        for field, body in BAD_INPUT:
            with pytest.raises(openai.BadRequestError) as caught:
                await client.post("/embeddings", body={"model": "hermes-router", **body}, cast_to=object)
            assert str(caught.value.param).startswith(field), (body, caught.value)
            assert caught.value.type == "invalid_request_error"
        for tokens in ([1, 2, 3], [[1, 2], [3]]):
            with pytest.raises(openai.BadRequestError) as caught:
                await embed(client, tokens)
            assert "check_embedding_ctx_length" in str(caught.value)
    assert not [each for each in here.sandbox.requests if each.path.endswith("/embeddings")]
    assert (await here.hr("embed", "show", "--json", code=0)).json["rows"] == []


async def test_dimensions_are_those_of_the_bound_model(home) -> None:
    """What the model has, it gives; what it has not is a 400 that names what it has, not another model."""
    here = await home(provider("cohere"), provider("mistral"), **environment("cohere"))
    await here.hr("start", code=0)
    async with sdk(here) as client:
        for size in (256, 1_536):
            found = vectors((await embed(client, "a", dimensions=size))[1])
            assert found == [vector("embed-v4.0", "a", size)]
        with pytest.raises(openai.BadRequestError) as caught:
            await embed(client, "a", dimensions=768)
        assert (caught.value.param, "1024" in str(caught.value)) == ("dimensions", True)


async def test_tokens_go_to_who_takes_them(home) -> None:
    """OpenAI takes tokens, one list or several, and is chosen for them."""
    here = await home(provider("gemini"), provider("openai"), **environment("gemini", "openai"))
    await here.hr("start", code=0)
    async with sdk(here) as client:
        target, answer = await embed(client, [[1, 2], [3]])
        assert target == "openai/text-embedding-3-small"
        assert vectors(answer) == [vector("text-embedding-3-small", tokens, 1_536) for tokens in ([1, 2], [3])]
        assert vectors((await embed(client, [4, 5]))[1]) == [vector("text-embedding-3-small", [4, 5], 1_536)]


NASTY: Sequence[Callable[[], Behaviour]] = (
    bad_vectors.fewer_vectors, bad_vectors.more_vectors, bad_vectors.no_vectors, lambda: bad_vectors.another_length(768),
    bad_vectors.uneven_lengths, bad_vectors.no_number, lambda: bad_vectors.no_number(math.inf), bad_vectors.null_number,
    bad_vectors.same_index, bad_vectors.broken_base64, faults.json_200_error, faults.html_200, lambda: faults.cut(0),
    faults.garbage,
)  # fmt: skip


async def test_a_call_in_the_middle_of_a_batch_fails_over(home) -> None:
    """The first hundred came from one key, the second from the other: one answer, in order, of one length."""
    here = await home(provider("gemini", keys=2), **environment("gemini", keys=2))
    await here.hr("start", code=0)
    texts = [f"text {number}" for number in range(250)]
    async with sdk(here) as client:
        for fault in (faults.status(500), bad_vectors.another_length(768), bad_vectors.fewer_vectors()):
            here.sandbox.behave("gemini", faults.ok(), route="embeddings")
            here.sandbox.behave("gemini", fault, route="embeddings")
            assert vectors((await embed(client, texts))[1]) == made_by(GEMINI, *texts), fault.name
            assert fault.reached.is_set()
        here.sandbox.behave("gemini", faults.ok(), route="embeddings")
        here.sandbox.behave("gemini", faults.bad_key(), times=None, route="embeddings")
        with pytest.raises(openai.InternalServerError):
            await embed(client, texts)


async def test_a_bound_provider_that_is_only_limited_is_a_429(home) -> None:
    """With the truth about when, and nobody else is asked."""
    here = await home(provider("gemini", quotas=Quotas(rpm=2)), provider("mistral"), **environment("gemini", "mistral"))
    await here.hr("start", code=0)
    async with sdk(here) as client:
        for _ in range(2):
            await embed(client, "a")
        for _ in range(2):
            with pytest.raises(openai.RateLimitError) as caught:
                await embed(client, "a")
            assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
            assert "gemini/gemini-embedding-001" in str(caught.value)
    assert {each.provider for each in here.sandbox.requests if each.path.endswith("/embeddings")} == {"gemini"}


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_bad_vectors_never_reach_a_caller(home, encoding) -> None:
    """The next key is asked; where all answer so, the caller gets an error, not a vector."""
    here = await home(provider("gemini", keys=2), **environment("gemini", keys=2))
    await here.hr("start", code=0)
    async with sdk(here) as client:

        async def ask() -> list[list[float]]:
            return vectors((await embed(client, ["a", "b"], encoding_format=encoding))[1])

        assert await ask() == made_by(GEMINI, "a", "b")
        for nasty in NASTY:
            behaviour = here.sandbox.behave("gemini", nasty(), route="embeddings")
            assert await ask() == made_by(GEMINI, "a", "b"), behaviour.name
            assert behaviour.reached.is_set(), behaviour.name
        for mild in (bad_vectors.out_of_order, bad_vectors.other_encoding):
            here.sandbox.behave("gemini", mild(), route="embeddings")
            assert await ask() == made_by(GEMINI, "a", "b")
        here.sandbox.behave("gemini", bad_vectors.another_length(768), times=None, route="embeddings")
        with pytest.raises(openai.InternalServerError) as caught:
            await ask()
        assert caught.value.status_code == 503


async def test_profiles_and_keys_are_bound_each_for_itself(home) -> None:
    """`hermes-router:local` stays on the machine; a router key with a scope binds within it."""
    here = await home(provider("gemini"), provider("mistral"), provider("local"), **environment("gemini", "mistral"),
                      LOCAL_EMBED_MODEL="nomic-embed-text")  # fmt: skip
    await here.hr("start", code=0)
    scoped = (await here.hr("key", "add", "wiki", "--providers", "mistral", code=0)).out.strip()
    async with sdk(here) as client, sdk(here, scoped) as wiki:
        assert (await embed(client, "a"))[0] == "gemini/gemini-embedding-001"
        assert (await embed(client, "a", "hermes-router:local"))[0] == "local/nomic-embed-text"
        assert (await embed(wiki, "a"))[0] == "mistral/mistral-embed"
        rows = (await here.hr("embed", "show", "--json", code=0)).json["rows"]
        assert {(row["name"], row["profile"], row["provider"]) for row in rows} == {
            ("PROXY_API_KEYS 1", "main", "gemini"),
            ("PROXY_API_KEYS 1", "local", "local"),
            ("wiki", "main", "mistral"),
        }
        await here.sandbox.kill("local")
        with pytest.raises(openai.InternalServerError):
            await embed(client, "a", "hermes-router:local")
        assert (await here.hr("embed", "unbind")).code == 2  # several: none is meant
        await here.hr("embed", "unbind", "wiki", "--yes", code=0)
    rows = (await here.hr("embed", "show", "--json", code=0)).json["rows"]
    assert {row["name"] for row in rows} == {"PROXY_API_KEYS 1"}


async def test_an_empty_setting_turns_a_provider_off(home) -> None:
    """GEMINI_EMBED_MODEL= leaves it out, and a name chooses another model of a provider."""
    here = await home(provider("gemini"), provider("mistral"), **environment("gemini", "mistral"),
                      GEMINI_EMBED_MODEL="", MISTRAL_EMBED_MODEL="codestral-embed")  # fmt: skip
    await here.hr("start", code=0)
    async with sdk(here) as client:
        target, answer = await embed(client, "a")
        assert (target, vectors(answer)) == ("mistral/codestral-embed", [vector("codestral-embed", "a", 1_536)])


async def test_a_first_use_during_a_restart_gives_no_second_model(home) -> None:
    """Under way in the old process while the new one binds the key to another model: its caller asks again."""
    here = await home(provider("gemini"), provider("mistral"), **environment("gemini", "mistral"))
    await here.hr("start", code=0)
    late = here.sandbox.behave("gemini", faults.stall(0), route="embeddings")
    here.sandbox.behave("gemini", faults.status(500), times=None, route="embeddings")
    async with sdk(here) as old, sdk(here) as new:
        first = asyncio.create_task(embed(old, "a"))
        await late.reached.wait()
        await here.hr("restart", code=0)
        target, answer = await embed(new, "a")
        assert (target, vectors(answer)) == ("mistral/mistral-embed", made_by(MISTRAL, "a"))
        late.gate.set()
        with pytest.raises(openai.InternalServerError) as caught:
            await first
        assert (caught.value.status_code, caught.value.response.headers["retry-after"]) == (503, "1")
        assert vectors((await embed(old, "a"))[1]) == made_by(MISTRAL, "a")


async def test_a_budget_holds_for_embeddings(home) -> None:
    """Ten thousand tokens cost two hundredths of a cent at OpenAI: the third request is more than the day has left."""
    here = await home(provider("openai"), **environment("openai", BUDGET_USD_DAY="0.0005"))
    await here.hr("start", code=0)
    texts = ["word " * 500] * 16
    async with sdk(here) as client:
        for _ in range(2):
            await embed(client, texts)
        with pytest.raises(openai.RateLimitError) as caught:
            await embed(client, texts)
    assert "BUDGET_USD_DAY" in str(caught.value)
    assert (await here.hr("status", "--json", code=0)).json["budget"]["spent_microusd"] == 400
    assert len([each for each in here.sandbox.requests if each.path.endswith("/embeddings")]) == 2


async def test_a_local_server_tells_which_of_its_models_embeds(home) -> None:
    """It is used for vectors without being named, and for no chat."""
    studio = provider("local", embedders=(Embedder("nomic-embed-text", 768, ()),))
    here = await home(studio, LOCAL_API_KEYS=KEYS["local"])
    await here.hr("start", code=0)
    async with sdk(here) as client:
        target, answer = await embed(client, "a", "hermes-router:local")
        assert (target, vectors(answer)) == ("local/nomic-embed-text", made_by(MODELS[-1], "a"))
        for _ in range(3):
            assert (await here.ask())[0] == 200
    assert {each.model for each in here.sandbox.requests if each.path.endswith("/completions")} == {"llama3.1"}
