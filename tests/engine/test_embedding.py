"""One request for vectors: bound by the first use, split, merged, and never from another model or of another length."""

import asyncio
import base64
import struct

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import Embedding as Takes
from hermes_router.core.catalog import Price, PriceClass
from hermes_router.core.errors import Unreachable
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.records import ExchangeRecord
from hermes_router.core.settings import Settings
from hermes_router.engine.admission import Caller

from ..fakes import Flight, fails, refuses, turns
from .vectors import KEY, Pool, embedder, embeds, vector

REVOKED = {"message": "Incorrect API key provided", "code": "invalid_api_key"}
MANY = [f"text {n}" for n in range(10)]


def numbers(said: dict[str, object]) -> list[list[float]]:
    rows = said["data"]
    assert isinstance(rows, list)
    assert [row["index"] for row in rows] == list(range(len(rows)))
    return [row["embedding"] for row in rows]


def two(**more: object) -> Pool:
    pool = Pool(embedder("a/vec"), embedder("b/vec", 5), **more)  # type: ignore[arg-type]
    pool.transport.on("a", embeds(3))
    pool.transport.on("b", embeds(5))
    return pool


# --- the binding ----------------------------------------------------------------------------------------------


async def test_the_first_use_binds_and_the_next_ones_follow() -> None:
    """The first of the catalogue, whatever turn it is; by router key and by profile."""
    pool = two()
    for _ in range(4):
        status, said, headers = await pool.embed(["x", "y"])
        assert (status, headers["x-hermes-target"], headers["x-hermes-attempts"]) == (200, "a/vec", "1")
        assert numbers(said) == [vector("a", "x", 3), vector("a", "y", 3)]
        assert (said["model"], said["usage"]) == ("vec", {"prompt_tokens": 2, "total_tokens": 2})
    assert pool.bound == [("a", "main", 3)]
    assert len(pool.store.kept) == 1
    assert pool.asked() == ["a"] * 4


async def test_the_binding_is_on_the_disk_before_the_answer_is_out() -> None:
    """As long as the disk has not got it, nobody gets a vector."""
    pool = two()
    pool.store.hold = asyncio.Event()
    task = pool.begin("x")
    await turns(40)
    assert not task.done()
    pool.store.hold.set()
    assert (await pool.end_of(task))[0] == 200


async def test_a_disk_that_takes_nothing_costs_no_answer() -> None:
    """The binding holds in memory, and the log says that it does no more than that."""
    pool = two()
    pool.store.works = False
    assert (await pool.embed())[0] == 200
    assert pool.bound == [("a", "main", 3)]
    assert pool.log.fields("embed.bound_in_memory")["target"] == "a/vec"


async def test_where_the_first_cannot_the_next_is_bound() -> None:
    """A first use that fails binds nothing; the first answer does, and stays when the first is back."""
    pool = two()
    pool.transport.on("a", refuses(500))
    assert (await pool.embed())[2]["x-hermes-target"] == "b/vec"
    assert pool.bound == [("b", "main", 5)]
    pool.transport.on("a", embeds(3))
    await pool.later(120)
    assert (await pool.embed())[2]["x-hermes-target"] == "b/vec"


async def test_free_is_bound_before_paid_whatever_the_order() -> None:
    """Class before the catalogue's order."""
    paid = embedder("a/vec", price=PriceClass.PAID)
    pool = Pool(paid, embedder("b/vec"))
    pool.transport.on("b", embeds())
    assert (await pool.embed())[2]["x-hermes-target"] == "b/vec"


async def test_first_uses_at_once_come_from_one_model() -> None:
    """The first of them fails at the first provider in the middle: the others wait for what comes of it."""
    pool = two()
    pool.transport.on("a", refuses(500), refuses(500), embeds(3))
    tasks = [pool.begin(f"x{n}") for n in range(20)]
    targets = {(await pool.end_of(task))[2]["x-hermes-target"] for task in tasks}
    assert len(targets) == 1
    assert len(pool.store.kept) == 1


async def test_a_first_use_that_leaves_lets_the_next_one_bind() -> None:
    """The lock goes with its holder."""
    pool = two()
    pool.transport.script.pop("a")  # it hangs
    first, second = pool.begin("x"), pool.begin("y")
    await turns(20)
    assert len(pool.transport.flights) == 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await turns(20)
    embeds(3)(pool.transport.last)
    assert (await pool.end_of(second))[0] == 200


async def test_the_deadline_counts_while_another_first_use_is_under_way() -> None:
    """Whoever waits for the binding waits as long as any request."""
    pool = two(settings=Settings(patience_s=0.0, request_deadline_s=0.01))
    async with pool.engine.embed_bindings.first_use(KEY, "main", 1.0):
        found = await asyncio.wait_for(pool.begin(), 5)
    assert found.status == 504


async def test_router_keys_are_bound_each_for_itself() -> None:
    """Within its scope; what one is bound to says nothing of another."""
    pool = two()
    assert (await pool.embed())[2]["x-hermes-target"] == "a/vec"
    other = Caller(RouterKeyId("wiki"), providers=frozenset({"b"}))
    assert (await pool.embed(caller=other))[2]["x-hermes-target"] == "b/vec"
    assert pool.bound == [("a", "main", 3), ("b", "main", 5)]


async def test_the_local_profile_has_a_binding_of_its_own() -> None:
    """And never leaves the machine."""
    mine = replace(embedder("local/nomic", 2, keyless=True), private=True)
    pool = Pool(embedder("a/vec"), mine)
    pool.transport.on("a", embeds(3))
    pool.transport.on("local", embeds(2))
    assert (await pool.embed())[2]["x-hermes-target"] == "a/vec"
    assert (await pool.embed(model="hermes-router:local"))[2]["x-hermes-target"] == "local/nomic"
    assert sorted(pool.bound) == [("a", "main", 3), ("local", "local", 2)]
    pool.transport.on("local", fails(lambda: Unreachable("refused")))
    status, said, _ = await pool.embed(model="hermes-router:local")
    assert (status, "local/nomic" in said["error"]["message"]) == (503, True)


async def test_a_pin_is_served_by_that_model_and_binds_nothing() -> None:
    """By provider and id, or by a whole id; the next unpinned request is a first use all the same."""
    pool = two()
    assert (await pool.embed(model="b/vec"))[2]["x-hermes-target"] == "b/vec"
    assert (await pool.embed(model="vec"))[2]["x-hermes-target"] == "a/vec"
    assert pool.bound == []
    pool.transport.on("b", refuses(500))
    status, said, _ = await pool.embed(model="b/vec", headers={"x-hermes-fallback": "any"})
    assert status == 503
    assert "unbind" not in said["error"]["message"]


# --- who cannot serve -----------------------------------------------------------------------------------------


async def test_the_other_key_of_the_same_model_serves() -> None:
    """Failover is over the keys of the one model."""
    pool = Pool(embedder("a/vec", key="k1"), embedder("a/vec", key="k2"), embedder("b/vec", 5))
    pool.transport.on("a", refuses(401, REVOKED), embeds(3))
    pool.transport.on("b", embeds(5))
    status, said, headers = await pool.embed()
    assert (status, headers["x-hermes-target"], headers["x-hermes-attempts"]) == (200, "a/vec", "2")
    assert numbers(said) == [vector("a", "hi", 3)]


async def test_a_bound_model_that_is_down_is_503_in_plain_words() -> None:
    """What it is bound to, why it cannot serve, what would end that, and when to come again; nobody else is asked."""
    pool = two()
    await pool.embed()
    pool.transport.on("a", refuses(401, REVOKED))
    status, said, headers = await pool.embed()
    message = said["error"]["message"]
    assert status == 503
    assert "a/vec since 2026-09-21" in message
    assert "its keys were rejected" in message
    assert "`hr embed unbind`" in message
    assert int(headers["retry-after"]) > 0
    assert [one["class"] for one in said["error"]["attempts"]] == ["rejected_key"]
    _, again, _ = await pool.embed()  # it rests, and is not asked
    assert "its keys were rejected" in again["error"]["message"]
    assert "b" not in pool.asked()


async def test_a_bound_model_that_is_limited_is_429_with_the_truth() -> None:
    """The wait is the provider's own word."""
    pool = two()
    await pool.embed()
    pool.transport.on("a", refuses(429, None, {"retry-after": "40"}))
    status, said, headers = await pool.embed()
    assert (status, headers["retry-after"]) == (429, "40")
    assert "its quota is used up for the moment" in said["error"]["message"]


async def test_it_waits_for_the_bound_model_within_its_patience() -> None:
    """As chat does; not for another."""
    pool = two(settings=Settings(patience_s=60.0))
    await pool.embed()
    pool.transport.on("a", refuses(429, None, {"retry-after": "20"}), embeds(3))
    task = pool.begin()
    await pool.later(10)
    assert not task.done()
    await pool.later(15)
    assert (await pool.end_of(task))[2]["x-hermes-target"] == "a/vec"


async def test_a_first_use_waits_only_where_nobody_can_serve_now() -> None:
    """The second is asked before the first is waited for; then the nearest return."""
    pool = two(settings=Settings(patience_s=60.0))
    pool.transport.on("a", refuses(429, None, {"retry-after": "20"}), embeds(3))
    assert (await pool.embed())[2]["x-hermes-target"] == "b/vec"
    pool = two(settings=Settings(patience_s=60.0))
    pool.transport.on("a", refuses(429, None, {"retry-after": "40"}), embeds(3))
    pool.transport.on("b", refuses(429, None, {"retry-after": "20"}), embeds(5))
    task = pool.begin()
    await pool.later(25)
    assert (await pool.end_of(task))[2]["x-hermes-target"] == "b/vec"


async def test_a_first_use_does_not_hang_on_one_while_another_could_serve() -> None:
    """Silence beyond the limit, and the next model is bound."""
    pool = two()
    pool.transport.script.pop("a")
    task = pool.begin()
    await pool.later(50)
    assert (await pool.end_of(task))[2]["x-hermes-target"] == "b/vec"


async def test_a_wait_for_anothers_first_use_counts_as_one() -> None:
    """All of them have their answer when the first one's patience is over, and not one after the other."""
    pool = two(settings=Settings(patience_s=30.0))
    pool.transport.on("a", refuses(429, None, {"retry-after": "25"}))
    pool.transport.on("b", refuses(429, None, {"retry-after": "28"}))
    tasks = [pool.begin() for _ in range(4)]
    await pool.later(62)
    assert [(await pool.end_of(task))[0] for task in tasks] == [429] * 4


async def test_nobody_at_all() -> None:
    """429 where all are limited, 503 where one is broken; nothing is bound."""
    pool = two()
    pool.transport.on("a", refuses(429, None, {"retry-after": "40"}))
    pool.transport.on("b", refuses(429, None, {"retry-after": "20"}))
    status, said, headers = await pool.embed()
    assert (status, headers["retry-after"]) == (429, "20")
    assert {one["target"] for one in said["error"]["attempts"]} == {"a/vec", "b/vec"}
    pool = two()
    pool.transport.on("a", refuses(500))
    pool.transport.on("b", refuses(429, None, {"retry-after": "20"}))
    assert (await pool.embed())[0] == 503
    assert pool.bound == []


async def test_a_binding_to_what_is_not_there_any_more() -> None:
    """Its key is gone, or its setting is empty: 503 that says which, without a wait that would help nobody."""
    pool = two()
    await pool.embed()
    pool.change(settings=Settings(patience_s=0.0, providers={"a": replace(Settings().provider("a"), embed_model="")}))
    status, said, headers = await pool.embed()
    assert (status, headers["x-should-retry"]) == (503, "false")
    assert "A_EMBED_MODEL is empty" in said["error"]["message"]
    assert "a/vec" in said["error"]["message"]
    gone = Pool(embedder("b/vec", 5))
    gone.engine.embed_bindings.restore(pool.engine.embed_bindings.bindings())
    status, said, _ = await gone.embed()
    assert (status, "no key of a is configured" in said["error"]["message"]) == (503, True)
    assert gone.transport.flights == []


async def test_a_successor_binds_and_not_who_hands_over() -> None:
    """What would be bound now, the successor would not know of."""
    pool = two()
    pool.engine.embed_bindings.resting = True
    status, said, _ = await pool.embed()
    assert (status, "restarted" in said["error"]["message"]) == (503, True)
    assert pool.bound == []


# --- lengths --------------------------------------------------------------------------------------------------


async def test_never_a_vector_of_another_length() -> None:
    """The provider has changed its model: an error that says so, and no vector."""
    pool = two()
    await pool.embed()
    pool.transport.on("a", embeds(4))
    status, said, _ = await pool.embed()
    assert status == 503
    assert "vectors of 4 numbers instead of 3" in said["error"]["message"]
    assert pool.status() == "ready"  # chat is not to blame


@pytest.mark.parametrize("model", ["hermes-router", "a/vec"])
async def test_what_the_row_says_of_a_length_holds_before_anything_is_bound(model: str) -> None:
    """Neither a first use nor a pin takes a vector of a length that the model does not have."""
    pool = Pool(embedder("a/vec"))
    pool.transport.on("a", embeds(4))
    status, said, _ = await pool.embed(model=model)
    assert (status, "data" in said, pool.bound) == (503, False, [])


async def test_the_other_key_gives_the_right_length() -> None:
    """A wrong length is a failure like others."""
    pool = Pool(embedder("a/vec", key="k1"), embedder("a/vec", key="k2"))
    pool.transport.on("a", embeds(3))
    await pool.embed()
    pool.transport.on("a", embeds(4), embeds(3))
    status, said, headers = await pool.embed()
    assert (status, headers["x-hermes-attempts"], len(numbers(said)[0])) == (200, "2", 3)


async def test_dimensions_are_asked_for_and_checked() -> None:
    """What was asked for is what comes; the own length is learned by the first request without."""
    pool = two()
    assert len(numbers((await pool.embed(dimensions=2))[1])[0]) == 2
    assert pool.bound == [("a", "main", 0)]
    assert len(numbers((await pool.embed())[1])[0]) == 3
    assert pool.bound == [("a", "main", 3)]
    assert len(numbers((await pool.embed(dimensions=3))[1])[0]) == 3
    status, said, _ = await pool.embed(dimensions=4)
    assert (status, said["error"]["param"]) == (400, "dimensions")
    assert len(pool.transport.flights) == 3


async def test_a_binding_that_was_ended_meanwhile_stays_ended() -> None:
    """An answer that was under way does not bring it back."""
    pool = two()
    await pool.embed(dimensions=2)
    pool.transport.script.pop("a")
    task = pool.begin()
    await turns(20)
    assert await pool.engine.embed_bindings.unbind(KEY)
    embeds(3)(pool.transport.last)
    assert (await pool.end_of(task))[0] == 200
    assert pool.bound == []


async def test_dimensions_that_an_unknown_model_ignores_are_the_callers() -> None:
    """Nobody knew before: 400 that names what it gives, and nothing is bound."""
    pool = Pool(embedder("a/vec", 0, Takes()))

    def stubborn(flight: Flight) -> None:
        flight.answer(200, {"data": [{"embedding": [1, 2, 3]}]})

    pool.transport.on("a", stubborn)
    status, said, _ = await pool.embed(dimensions=2)
    assert (status, said["error"]["param"], "3 numbers" in said["error"]["message"]) == (400, "dimensions", True)
    assert pool.bound == []


async def test_a_model_without_the_field_is_not_sent_it() -> None:
    """Its own length by another word: asked for without, and still checked."""
    pool = Pool(embedder("a/vec", 3, Takes(sizes=())))
    pool.transport.on("a", embeds(3))
    assert (await pool.embed(dimensions=3))[0] == 200
    assert "dimensions" not in pool.transport.last.body


# --- calls ----------------------------------------------------------------------------------------------------


async def test_a_batch_is_split_and_merged() -> None:
    """In order, usage summed, each call an attempt of one record; and one request of the caller's limits."""
    pool = Pool(embedder("a/vec", 3, Takes(sizes="any", inputs=4)))
    pool.transport.on("a", embeds(3))
    records: list[ExchangeRecord] = []
    pool.engine.recorder = type("Kept", (), {"put": staticmethod(records.append)})()
    status, said, headers = await pool.embed(MANY, caller=Caller(KEY, rpm=1))
    assert (status, headers["x-hermes-attempts"]) == (200, "3")
    assert numbers(said) == [vector("a", text, 3) for text in MANY]
    assert said["usage"] == {"prompt_tokens": 10, "total_tokens": 10}
    assert [len(flight.body["input"]) for flight in pool.transport.flights] == [4, 4, 2]
    [record] = records
    assert (record.dialect, record.outcome, record.stream) == ("openai_embeddings", "answered", False)
    assert [(one.outcome, one.input_tokens) for one in record.attempts] == [("ok", 4), ("ok", 4), ("ok", 2)]
    assert (await pool.embed(caller=Caller(KEY, rpm=1)))[0] == 429


async def test_the_failure_of_one_call_is_that_of_all() -> None:
    """No half of an answer; and at a first use, the next model makes all of it anew."""
    few = Takes(sizes="any", inputs=4)
    pool = Pool(embedder("a/vec", 3, few), embedder("b/vec", 5))
    pool.transport.on("a", embeds(3), refuses(500))
    pool.transport.on("b", embeds(5))
    status, said, headers = await pool.embed(MANY)
    assert (status, headers["x-hermes-target"]) == (200, "b/vec")
    assert numbers(said) == [vector("b", text, 5) for text in MANY]
    assert said["usage"]["prompt_tokens"] == 10
    pool = Pool(embedder("a/vec", 3, few))
    pool.transport.on("a", embeds(3), refuses(500))
    status, said, headers = await pool.embed(MANY)
    assert (status, headers["x-hermes-attempts"]) == (503, str(len(pool.transport.flights)))
    assert pool.bound == []


async def test_calls_of_one_request_have_one_length() -> None:
    """Also where nobody knows which it is."""
    pool = Pool(embedder("a/vec", 0, Takes(inputs=4)))
    pool.transport.on("a", embeds(3), embeds(4))
    assert (await pool.embed(MANY, model="a/vec"))[0] == 503


async def test_money_is_claimed_and_settled_for_each_call() -> None:
    """A paid model costs what its usage says, of the pool's budget and of the router key's."""
    paid = embedder("a/vec", 3, Takes(sizes="any", inputs=4), price=PriceClass.PAID)
    paid = replace(paid, model=replace(paid.model, price=Price(1_000_000, 0)))
    pool = Pool(paid)
    pool.transport.on("a", embeds(3))
    assert (await pool.embed(MANY))[0] == 200
    now = pool.clock.now()
    assert pool.engine.limits.spent(KEY, now) == 10
    assert pool.engine.state.budget(now)[1] == 10
    status, said, _ = await pool.embed(MANY * 20, caller=Caller(KEY, budget_microusd=20))
    assert (status, said["error"]["code"]) == (429, "budget_spent")


async def test_usage_that_nobody_tells_is_estimated() -> None:
    """The answer has a number all the same, and the quota is settled by it."""
    pool = Pool(embedder("a/vec", 3))
    pool.transport.on("a", embeds(3, usage=None))
    _, said, _ = await pool.embed("four words of text")
    assert said["usage"]["prompt_tokens"] == said["usage"]["total_tokens"] > 2
    assert pool.log.fields("exchange.done")["estimated"]


async def test_nothing_stays_claimed() -> None:
    """Whatever came of it, each reservation is settled: also where the caller left."""
    pool = two()
    await pool.embed()
    pool.transport.on("a", refuses(500), lambda flight: flight.answer(200, b"{"), embeds(4))
    await pool.embed()
    pool.transport.script.pop("a")
    task = pool.begin()
    await turns(20)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert pool.transport.last.aborted
    slot = pool.engine.state.slot(pool.vectors[0].target)
    assert slot is not None
    assert slot.inflight == 0


# --- what is refused ------------------------------------------------------------------------------------------


async def test_what_the_provider_calls_invalid_is_passed_back() -> None:
    """After one call, by the field: nobody else is asked, nothing is bound."""
    pool = two()
    pool.transport.on("a", refuses(400, {"message": "input[0] is odd", "type": "invalid_request_error"}))
    status, said, _ = await pool.embed()
    assert (status, "odd" in said["error"]["message"]) == (400, True)
    assert (pool.asked(), pool.bound) == (["a"], [])


async def test_an_input_that_is_too_long_says_nothing_of_a_call() -> None:
    """400 by `input`; the window that the provider names is that of one input, and many fit into a call as before."""
    pool = two()
    too_long = "This model's maximum context length is 8192 tokens, however you requested 9000 tokens"
    pool.transport.on("a", refuses(400, {"message": too_long, "code": "context_length_exceeded"}), embeds(3))
    status, said, _ = await pool.embed()
    assert (status, said["error"]["param"]) == (400, "input")
    assert (await pool.embed(["word " * 2_000] * 8))[0] == 200


async def test_a_field_that_is_refused_is_left_out_and_said() -> None:
    """Once, and of that model from then on."""
    pool = two()
    extra = {"message": "Unsupported parameter: 'user'", "type": "invalid_request_error", "param": "user",
             "code": "unsupported_parameter"}  # fmt: skip
    pool.transport.on("a", refuses(400, extra), embeds(3))
    status, _, headers = await pool.embed(user="u")
    assert (status, headers["x-hermes-warnings"], headers["x-hermes-attempts"]) == (200, "dropped:user", "2")
    assert "user" not in pool.transport.last.body


async def test_dimensions_that_are_refused_are_never_left_out() -> None:
    """The vector would be another."""
    pool = two()
    extra = {"message": "Unsupported parameter: 'dimensions'", "type": "invalid_request_error", "param": "dimensions",
             "code": "unsupported_parameter"}  # fmt: skip
    pool.transport.on("a", refuses(400, extra))
    status, said, _ = await pool.embed(dimensions=2)
    assert (status, said["error"]["param"]) == (400, "dimensions")
    assert len(pool.transport.flights) == 1


async def test_tokens_for_a_model_of_texts() -> None:
    """400 that says what to do, before anybody is asked; a model that takes them is bound where there is one."""
    pool = Pool(embedder("a/vec", 3, Takes(token_arrays=False)))
    status, said, _ = await pool.embed([1, 2])
    assert (status, said["error"]["param"]) == (400, "input")
    assert "check_embedding_ctx_length=False" in said["error"]["message"]
    assert pool.transport.flights == []


async def test_the_same_text_again_is_no_runaway() -> None:
    """A store is embedded again and again."""
    pool = two()
    for _ in range(50):
        assert (await pool.embed())[0] == 200


async def test_what_is_asked_is_asked_of_the_embeddings_address() -> None:
    """POST to the provider's base URL, with its own model id and its key; the encoding is the caller's wish."""
    pool = two()
    await pool.embed("x", encoding_format="base64", input_type="query")
    flight = pool.transport.last
    assert (flight.request.method, flight.request.url) == ("POST", "http://a.invalid/v1/embeddings")
    assert flight.request.headers["authorization"] == "Bearer k1-a"
    assert flight.body == {"model": "vec", "input": "x", "encoding_format": "base64", "input_type": "query"}


async def test_base64_is_made_of_floats() -> None:
    """A provider that ignores the wish."""
    pool = two()
    _, said, _ = await pool.embed("x", encoding_format="base64")
    packed = base64.b64decode(said["data"][0]["embedding"])
    assert list(struct.unpack("<3f", packed)) == vector("a", "x", 3)
