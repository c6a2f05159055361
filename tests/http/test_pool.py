"""A pool in trouble, over real HTTP: what dies is left, what is limited rests, and callers notice nothing."""

import asyncio
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import openai
import pytest

from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.quotas import Quotas

from .conftest import key_for

THREE = {
    "GROQ_MODEL": "openai/gpt-oss-20b",
    "MISTRAL_MODEL": "mistral-small-latest",
    "NVIDIA_MODEL": "z-ai/glm-5.3-flash",
}
WORDS = "w1 w2 w3 w4 w5"


def states(rows) -> dict[str, str]:
    """State by `provider/model`."""
    return {f"{row['provider']}/{row['model']}": row["state"] for row in rows}


# --- death in mid-load ----------------------------------------------------------------------------------------


async def test_a_provider_killed_in_mid_load_fails_no_request(house) -> None:
    """60 at once over three providers, streamed and not; one provider dies while it holds a third of them."""
    h = await house("groq", "mistral", "nvidia", env=THREE)
    dying = faults.slow_first_token()  # streams have their head, whole answers nothing: none has a word
    h.sandbox.behave("groq", dying, times=None)
    load = [asyncio.ensure_future(h.whole(stream=number % 2 == 0)) for number in range(60)]
    held = await h.seen(15, "groq")
    await h.sandbox.kill("groq")
    more = [asyncio.ensure_future(h.whole(stream=number % 2 == 0)) for number in range(20)]
    answers = await asyncio.gather(*load, *more)
    assert [(a.status, a.good, a.text) for a in answers] == [(200, True, WORDS)] * 80
    assert len(held) >= 15
    assert sum(a.attempts > 1 for a in answers) >= 15
    assert not any(a.target.startswith("groq/") for a in answers)
    assert states(await h.status())["groq/openai/gpt-oss-20b"] == "open"
    asked = len(h.chats("groq"))
    for _ in range(6):
        assert (await h.whole()).attempts == 1
    assert len(h.chats("groq")) == asked


async def test_a_provider_that_comes_back_is_taken_back(house) -> None:
    """When its failures are a minute old one request is the probe; with its success the provider serves again."""
    h = await house("groq", "mistral", env=THREE)
    await h.sandbox.kill("groq")
    assert all(answer.good for answer in await asyncio.gather(*(h.whole() for _ in range(12))))
    assert states(await h.status("groq"))["groq/openai/gpt-oss-20b"] == "open"
    await h.sandbox.revive("groq")
    h.later(61.0)
    answers = [await h.whole() for _ in range(10)]
    assert all(a.good and a.attempts == 1 for a in answers)
    assert {a.target for a in answers} == {"groq/openai/gpt-oss-20b", "mistral/mistral-small-latest"}
    assert set(states(await h.status()).values()) == {"ready"}


async def test_a_whole_pool_that_dies_and_comes_back_needs_nobody(house) -> None:
    """9R-12: everything is down, 503 with the next try; it is back, and so are we, within that time."""
    h = await house("groq", "mistral", env=THREE)
    for name in ("groq", "mistral"):
        await h.sandbox.kill(name)
    for _ in range(3):
        down = await h.whole()
        assert down.status == 503
        assert 1 <= int(down.headers["retry-after"]) <= 60
    for name in ("groq", "mistral"):
        await h.sandbox.revive(name)
    h.later(float(down.headers["retry-after"]))
    assert (await h.whole()).good


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("mode", ["round-robin", "sequential"])
async def test_w6_fl2_one_of_three_keys_revoked_in_mid_load_fails_no_request(house, mode, stream) -> None:
    """The bad key is paused alone; no request fails, and soon none is sent with it."""
    h = await house("groq", keys={"groq": 3}, env={"ROTATION_MODE": mode, "GROQ_MODEL": "openai/gpt-oss-20b"})
    bad = key_for("groq", 1)
    load = []
    for number in range(48):
        load.append(asyncio.ensure_future(h.whole(stream=stream)))
        if number == 16:
            await h.seen(8)
            h.sandbox.revoke("groq", bad)
    answers = await asyncio.gather(*load)
    assert [(a.good, a.text) for a in answers] == [(True, WORDS)] * 48
    rows = await h.status("groq")
    assert {row["credential"]: row["state"] for row in rows}[bad[-4:]] == "paused"
    assert sorted(row["state"] for row in rows) == ["paused", "ready", "ready"]
    before = len(h.chats())
    for _ in range(9):
        assert (await h.whole(stream=stream)).attempts == 1
    assert bad[-4:] not in {record.key_tail for record in h.chats()[before:]}


async def test_fl2_a_paused_key_is_tried_again_after_ten_minutes(house) -> None:
    """The key was good again all along: the try finds out, and nobody pays for it with a failure."""
    h = await house("groq", keys={"groq": 2}, env={"GROQ_MODEL": "openai/gpt-oss-20b"})
    h.sandbox.revoke("groq", key_for("groq", 1))
    for _ in range(2):
        assert (await h.whole()).good
    assert sorted(row["state"] for row in await h.status("groq")) == ["paused", "ready"]
    h.sandbox.providers["groq"].keys.add(key_for("groq", 1))
    h.clock.advance(601.0)
    for _ in range(4):
        assert (await h.whole()).good
    assert {row["state"] for row in await h.status("groq")} == {"ready"}


# --- limits ---------------------------------------------------------------------------------------------------


async def test_vector7_geminis_spent_day_cools_that_model_until_pacific_midnight(house) -> None:
    """PerDay with `retryDelay: 20s`: the day counts, not the delay; other models of the key go on."""
    h = await house("gemini", env={"GEMINI_MODEL": "gemini-2.5-flash-lite,gemini-3.5-flash-lite"})
    h.sandbox.behave("gemini", faults.rate_limited("rpd", 500, 20.0))
    pin = {"model": "gemini/gemini-2.5-flash-lite"}
    limited = await h.whole(**pin)
    pacific = datetime.fromtimestamp(h.clock.now(), ZoneInfo("America/Los_Angeles"))
    midnight = (pacific.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)).timestamp()
    assert limited.status == 429
    assert limited.error["attempts"][0]["class"] == "limited_day"
    assert int(limited.headers["retry-after"]) == pytest.approx(midnight - h.clock.now(), abs=2)
    assert limited.headers["x-should-retry"] == "false"
    rows = {row["model"]: row for row in await h.status("gemini")}
    assert rows["gemini-2.5-flash-lite"]["state"] == "cooling"
    assert rows["gemini-2.5-flash-lite"]["until"] == pytest.approx(midnight, abs=2)
    assert rows["gemini-3.5-flash-lite"]["state"] == "ready"
    assert (await h.whole()).target == "gemini/gemini-3.5-flash-lite"


async def test_ll7_or5_openrouters_reset_in_the_body_cools_what_it_names(house) -> None:
    """A 429 without Retry-After: `X-RateLimit-Reset` (epoch ms) from `error.metadata.headers`, to the instant."""
    free = "nvidia/nemotron-3-ultra-550b-a55b:free"
    h = await house("openrouter", "mistral", keys={"openrouter": 2}, env={"OPENROUTER_MODEL": free} | THREE)
    first, second = key_for("openrouter", 1), key_for("openrouter", 2)
    h.sandbox.behave("openrouter", faults.rate_limited("rpm", 20, 37.0), key=first)
    for _ in range(2):  # one for each key
        assert (await h.whole(model=f"openrouter/{free}")).good
    rows = {row["credential"]: row for row in await h.status("openrouter")}
    assert rows[first[-4:]]["state"] == "cooling"
    assert rows[first[-4:]]["until"] == pytest.approx(h.clock.now() + 37.0, abs=1)
    assert rows[second[-4:]]["state"] == "ready"
    h.clock.advance(38.5)
    assert {row["state"] for row in await h.status("openrouter")} == {"ready"}


async def test_groqs_retry_after_cools_one_model_of_one_account(house) -> None:
    """Groq counts by account and model: the other model of the same key is not touched."""
    h = await house("groq", env={"GROQ_MODEL": "openai/gpt-oss-120b,openai/gpt-oss-20b"})
    h.sandbox.behave("groq", faults.rate_limited("rpm", 30, 20.0), model="openai/gpt-oss-120b")
    limited = await h.whole(model="groq/openai/gpt-oss-120b")
    assert (limited.status, limited.headers["retry-after"]) == (429, "20")
    assert limited.error["attempts"] == [
        {"target": "groq/openai/gpt-oss-120b", "class": "limited", "retry_at": h.clock.now() + 20}
    ]
    assert states(await h.status()) == {"groq/openai/gpt-oss-120b": "cooling", "groq/openai/gpt-oss-20b": "ready"}
    h.later(20.5)
    assert (await h.whole(model="groq/openai/gpt-oss-120b")).good


async def test_fl1_a_minutes_limit_that_is_hit_again_and_again_stays_a_minutes_limit(house) -> None:
    """Real counters: three a minute and nobody else. Each time the wait is what is left of the minute, never more."""
    quotas = Quotas(rpm=3)
    h = await house(FakeProvider("groq", quotas=quotas), env={"GROQ_MODEL": "openai/gpt-oss-20b"})
    for _ in range(5):
        served = 0
        while (got := await h.whole()).status == 200:
            served += 1
        assert served == 3
        assert got.status == 429
        assert int(got.headers["retry-after"]) <= 61
        h.clock.advance(float(got.headers["retry-after"]) + 0.5)


async def test_vector9_groqs_413_is_too_small_here_and_not_too_long(house) -> None:
    """Another provider can take it: the caller never hears of an overflow."""
    h = await house("groq", "mistral", env=THREE)
    h.sandbox.behave("groq", faults.too_large(8_000, 9_321), times=None)
    got = await h.whole("word " * 6_000 + "say 5 words", model="groq/openai/gpt-oss-20b",
                        headers={"x-hermes-fallback": "any"})  # fmt: skip
    assert got.good
    assert got.target == "mistral/mistral-small-latest"
    assert states(await h.status("groq"))["groq/openai/gpt-oss-20b"] == "ready"


# --- models, sizes, parameters --------------------------------------------------------------------------------


async def test_ax2_a_model_that_is_gone_is_benched_and_its_key_is_not(house) -> None:
    """The provider's next model serves the same request; the gone one is not asked again."""
    h = await house("groq", env={"GROQ_MODEL": "openai/gpt-oss-20b,openai/gpt-oss-120b"})
    h.sandbox.behave("groq", faults.model_gone(), model="openai/gpt-oss-20b", times=None)
    first = await h.whole()
    assert first.target == "groq/openai/gpt-oss-120b"
    assert first.attempts == 2
    assert (await h.whole()).attempts == 1
    assert states(await h.status()) == {"groq/openai/gpt-oss-20b": "cooling", "groq/openai/gpt-oss-120b": "ready"}


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_ha6_too_long_for_all_is_said_in_the_one_text_that_agents_know(house, stream) -> None:
    """400, the code, the advertised window, and no upstream is touched."""
    h = await house("groq", "mistral", env=THREE)
    window = (await h.sdk.models.retrieve("hermes-router")).model_extra["context_length"]
    with pytest.raises(openai.BadRequestError) as caught:
        await h.sdk.chat.completions.create(
            model="hermes-router", messages=[{"role": "user", "content": "word " * 400_000}], stream=stream
        )
    error = caught.value
    assert error.code == "context_length_exceeded"
    assert error.type == "invalid_request_error"
    text = error.body["message"]
    assert text.startswith(
        f"This model's maximum context length is {window} tokens. However, your messages resulted in "
    )
    assert text.endswith(" tokens. Please reduce the length of the messages.")
    assert h.chats() == []


async def test_an_overflow_that_only_the_provider_sees_moves_to_a_larger_window(house) -> None:
    """The estimate was too low: the refusal names the length, so the next larger target is asked."""
    h = await house("groq", "mistral", env=THREE)
    h.sandbox.behave("groq", faults.context_overflow(140_000), times=None)
    got = await h.whole("word " * 60_000 + "say 5 words")
    assert got.good
    assert got.target == "mistral/mistral-small-latest"


async def test_w7_a_bad_parameter_is_passed_back_after_one_call(house) -> None:
    """Temperature 99 is the caller's own mistake: the provider's 400, at once, and nobody rests for it."""
    h = await house("openai", "mistral", env={"OPENAI_MODEL": "gpt-4o-mini"} | THREE)
    h.sandbox.behave("openai", faults.status(400, {"error": {
        "message": "Invalid 'temperature': decimal above maximum value.", "type": "invalid_request_error",
        "param": "temperature", "code": "decimal_above_max_value"}}), times=None)  # fmt: skip
    with pytest.raises(openai.BadRequestError) as caught:
        await h.sdk.chat.completions.create(
            model="openai/gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], temperature=99
        )
    assert "temperature" in caught.value.body["message"]
    assert len(h.chats()) == 1
    assert set(states(await h.status()).values()) == {"ready"}


async def test_no_capable_target_is_said_at_once(house) -> None:
    """An image and nobody who sees: 400, the code, and no retry is worth it."""
    h = await house("groq", env={"GROQ_MODEL": "openai/gpt-oss-20b"})
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(openai.BadRequestError) as caught:
        await h.sdk.chat.completions.create(
            model="hermes-router", messages=[{"role": "user", "content": [{"type": "text", "text": "?"}, image]}]
        )
    assert caught.value.code == "no_capable_target"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert h.chats() == []


# --- the SDK and our errors -----------------------------------------------------------------------------------


async def test_the_sdk_hears_429_and_503_as_what_they_are(house) -> None:
    """RateLimitError with Retry-After; InternalServerError for what is broken; the attempts are in the body."""
    h = await house("groq", env={"GROQ_MODEL": "openai/gpt-oss-20b"})
    ask = {"model": "hermes-router", "messages": [{"role": "user", "content": "hi"}]}
    h.sandbox.behave("groq", faults.rate_limited("rpm", 30, 20.0))
    with pytest.raises(openai.RateLimitError) as limited:
        await h.sdk.chat.completions.create(**ask)
    assert limited.value.response.headers["retry-after"] == "20"
    h.later(21.0)
    h.sandbox.behave("groq", faults.status(500), times=None)
    with pytest.raises(openai.InternalServerError) as broken:
        await h.sdk.chat.completions.create(**ask, stream=True)
    assert broken.value.status_code == 503
    assert {a["class"] for a in broken.value.body["attempts"]} == {"broken"}
    assert "sandbox says" not in broken.value.response.text
