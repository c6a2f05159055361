"""Where an exchange finds nobody: pins, the truth about the pool in 429 and 503, and a pool of one."""

from hermes_router.core.errors import NetworkDown
from hermes_router.engine.exchange import Exchange
from hermes_router.routing.names import Pin

from ..fakes import World, answers, fails, refuses, target

KEY_401 = {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}


def whole(run) -> str:
    """The text of a whole answer."""
    return run.said["choices"][0]["message"]["content"]


# --- pins and the truth about the pool ------------------------------------------------------------------------


async def test_a_pinned_model_that_is_down_is_not_replaced() -> None:
    """A pin means that model and no other: 503 with its own attempts."""
    world = World("a/m", "b/m")
    world.transport.on("a", refuses(500))
    world.transport.on("b", answers("from b"))
    run = await world.ask(stream=False, pin=Pin("a", "m"))
    assert run.rendered.status == 503
    assert {a["target"] for a in run.said["error"]["attempts"]} == {"a/m"}


async def test_fallback_any_lets_others_answer_for_a_pinned_model() -> None:
    """`X-Hermes-Fallback: any`: the pin first, then whoever can."""
    world = World("a/m", "b/m")
    world.transport.on("a", refuses(500))
    world.transport.on("b", answers("from b"))
    run = await world.ask(stream=False, pin=Pin("a", "m"), fallback_any=True)
    assert whole(run) == "from b"
    assert world.transport.flights[0].provider == "a"
    good = World("a/m", "b/m")
    good.transport.on("b", answers("from b"))
    assert whole(await good.ask(stream=False, pin=Pin("b", "m"), fallback_any=True)) == "from b"


async def test_ll6_all_limited_is_a_429_with_the_earliest_return() -> None:
    """Retry-After is the nearest of the instants that the providers told; the attempts say which is which."""
    world = World("a/m", "b/m")
    world.transport.on("a", refuses(429, None, {"retry-after": "40"}))
    world.transport.on("b", refuses(429, None, {"retry-after": "25"}))
    run = await world.ask(stream=False)
    assert run.rendered.status == 429
    assert run.rendered.headers["retry-after"] == "25"
    assert "x-should-retry" not in run.rendered.headers
    error = run.said["error"]
    assert error["type"] == "rate_limit_error"
    assert error["attempts"] == [
        {"target": "a/m", "class": "limited", "retry_at": world.clock.now() + 40},
        {"target": "b/m", "class": "limited", "retry_at": world.clock.now() + 25},
    ]
    again = await world.ask(stream=False)
    assert again.rendered.status == 429
    assert len(world.transport.flights) == 2  # asked nobody


async def test_oc1_a_refusal_of_ours_extends_nothing() -> None:
    """Asking in vain again and again leaves the told instant where it was; after it the target serves."""
    world = World("a/m")
    world.transport.on("a", refuses(429, None, {"retry-after": "40"}), answers("back"))
    await world.ask(stream=False)
    for _ in range(3):
        await world.later(10.0)
        refused = await world.ask(stream=False)
        assert refused.rendered.status == 429
    assert refused.rendered.headers["retry-after"] == "10"
    await world.later(10.5)
    assert whole(await world.ask(stream=False)) == "back"


async def test_a_return_beyond_a_minute_tells_sdks_not_to_wait_for_it() -> None:
    """An SDK would sleep through Retry-After: 3600. It is told not to retry, and when to come back."""
    world = World("a/m")
    world.transport.on("a", refuses(429, None, {"retry-after": "3600"}))
    run = await world.ask(stream=False)
    assert run.rendered.headers["retry-after"] == "3600"
    assert run.rendered.headers["x-should-retry"] == "false"
    assert run.rendered.headers["x-hermes-retry-at"] == str(int(world.clock.now()) + 3600)


async def test_one_broken_target_among_limited_ones_makes_it_a_503() -> None:
    """429 promises that quota returns; where one of the targets is broken, that is not the whole truth."""
    world = World("a/m", "b/m")
    world.transport.on("a", refuses(429, None, {"retry-after": "40"}))
    world.transport.on("b", refuses(500))
    run = await world.ask(stream=False)
    assert run.rendered.status == 503
    assert {a["class"] for a in run.said["error"]["attempts"]} == {"limited", "broken"}


async def test_no_upstream_words_in_our_own_errors() -> None:
    """Neither a provider's text nor the words that make agents compress or rotate (clients.md 7.15)."""
    world = World("a/m", "b/m")
    world.transport.on("a", refuses(401, KEY_401))
    world.transport.on("b", refuses(500, {"message": "the secret sauce is quota exhausted"}))
    run = await world.ask(stream=False)
    text = run.rendered.body.decode().lower()
    assert run.rendered.status == 503
    for word in (
        "sauce",
        "api key",
        "quota",
        "context length",
        "max_tokens",
        "invalid_request_error",
        "model not found",
    ):
        assert word not in text


async def test_our_own_network_down_blames_nobody() -> None:
    """Every target fails by our own line: 503 soon to be tried again, and all of them are ready when it is back."""
    world = World("a/m", "b/m")
    for name in "ab":
        world.transport.on(name, fails(lambda: NetworkDown("no route to host")))
    for _ in range(5):
        run = await world.ask(stream=False)
        assert run.rendered.status == 503
        assert run.rendered.headers["retry-after"] == "1"
    assert [world.status(0), world.status(1)] == ["ready", "ready"]
    world.transport.on("a", answers("back"))
    world.transport.on("b", answers("back"))
    assert whole(await world.ask(stream=False)) == "back"


async def test_bf4_attempts_are_bounded() -> None:
    """A target that failed may be asked again once, after all others: two calls each, and no more."""
    world = World("a/m", "b/m", "c/m")
    for name in "abc":
        world.transport.on(name, refuses(500))
    run = await world.ask(stream=False)
    assert run.rendered.status == 503
    assert [flight.provider for flight in world.transport.flights] == ["a", "b", "c", "a", "b", "c"]


# --- a pool of one --------------------------------------------------------------------------------------------


async def test_ha8_a_pool_of_one_key_recovers_by_itself() -> None:
    """Its breaker is open, and still it is asked, since nobody else is there; the first good answer ends the trouble."""
    world = World("a/m")
    world.transport.on("a", refuses(500))
    for _ in range(4):
        assert (await world.ask(stream=False)).rendered.status == 503
    assert world.status(0) == "open"
    world.transport.on("a", answers("back"))
    assert whole(await world.ask(stream=False)) == "back"


async def test_ha8_a_pool_of_one_limited_key_answers_429_and_then_serves() -> None:
    """A 429 without a hint rests it for 5 s, not more, and its return is told."""
    world = World("a/m")
    world.transport.on("a", refuses(429), answers("back"))
    run = await world.ask(stream=False)
    assert (run.rendered.status, run.rendered.headers["retry-after"]) == (429, "5")
    await world.later(5.5)
    assert whole(await world.ask(stream=False)) == "back"
    assert world.status(0) == "ready"


async def test_a_local_server_that_is_not_up_yet_is_a_wait_and_not_a_refusal() -> None:
    """`hermes-router:local` is 400 where no local server is configured, and 503 where one is awaited (SDKs ask again)."""
    for awaited, status in ((False, 400), (True, 503)):
        world = World("a/m")
        world.engine.snapshot = world.engine.snapshot._replace(awaits_local=awaited)
        question = world.question("hi", stream=False)
        local = question.demand._replace(profile="local")
        asked = question._replace(demand=local, constraint=question.constraint._replace(local_only=True))
        rendered = await Exchange(world.engine, asked, None).run()
        assert rendered is not None
        assert rendered.status == status


async def test_what_a_model_says_it_lacks_is_remembered() -> None:
    """After one refusal of an image the next image goes straight to the other target; text still comes to both."""
    world = World("a/m", "b/m")
    picture = [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}},
    ]
    world.transport.on("a", refuses(500, {"message": "image input is not supported"}), answers())
    world.transport.on("b", answers(), answers(), answers())
    first = await world.ask(messages=[{"role": "user", "content": picture}], stream=False)
    assert first.rendered.headers["x-hermes-attempts"] == "2"
    for _ in range(2):
        again = await world.ask(messages=[{"role": "user", "content": picture}], stream=False)
        assert again.rendered.headers["x-hermes-target"] == "b/m"
        assert again.rendered.headers["x-hermes-attempts"] == "1"
    assert world.status(0) == "ready"


async def test_a_request_that_nobody_has_words_for_does_not_go_through_the_whole_pool() -> None:
    """Three providers with an empty answer: it is the request; their keys and models are not all asked."""
    pool = [target(f"{provider}/{model}", key=key) for provider in "abcde" for model in "mn" for key in ("k1", "k2")]
    world = World(*pool)
    for provider in "abcde":
        world.transport.on(provider, answers(""))
    run = world.start(stream=False)
    rendered = await run.over()
    assert rendered is not None
    assert rendered.status == 503
    assert b"3 providers gave an empty answer" in rendered.body
    asked = [flight.provider for flight in world.transport.flights]
    assert len(set(asked)) == 3
    assert len(asked) <= 8
