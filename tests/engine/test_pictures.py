"""Images fetched for who does not fetch them: when, how often, and what becomes of the request where one cannot be had."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from hermes_router.core.catalog import Capability, Claim, Known
from hermes_router.core.ids import RouterKeyId
from hermes_router.core.images import Fault, Picture, Unfit
from hermes_router.core.settings import Settings
from hermes_router.engine.admission import Caller
from hermes_router.engine.exchange import Question
from hermes_router.engine.question import make_question
from hermes_router.routing.roster import Roster
from hermes_router.wire.chat.request import parse_request
from hermes_router.wire.responses.request import parse_fields
from hermes_router.wire.responses.turn import Past

from ..fakes import Run, World, answers, refuses, target, turns

URL = "https://x.test/a.png"
DATA = "data:image/png;base64,AAAA"
PATH = "messages[0].content[0].image_url.url"
ON = Settings(patience_s=0.0, fetch_images=True)
Found = Mapping[str, Picture] | Unfit


class Fetch:
    """One fetch under way."""

    def __init__(self, wanted: Mapping[str, int], caller: str, done: Callable[[Found], None], max_bytes: int) -> None:
        self.wanted, self.caller, self.done, self.max_bytes = dict(wanted), caller, done, max_bytes
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


class Fetcher:
    """An ImageFetcher that the test answers."""

    def __init__(self) -> None:
        self.fetches: list[Fetch] = []

    def fetch(
        self, wanted: Mapping[str, int], caller: RouterKeyId, done: Callable[[Found], None], *, max_bytes: int
    ) -> Fetch:
        self.fetches.append(Fetch(wanted, caller, done, max_bytes))
        return self.fetches[-1]


def sees(name: str, *, inline: bool) -> Any:
    """A target that sees images, and fetches them or not."""
    made = target(name, image_urls=not inline)
    made.model.capabilities[Capability.IMAGES] = Claim(Known.YES)  # type: ignore[index]
    return made


def world(*names: str, settings: Settings = ON) -> tuple[World, Fetcher]:
    """A pool; a provider whose name begins with `in` needs images inline."""
    made = World(*(sees(name, inline=name.startswith("in")) for name in names), settings=settings)
    fetcher = Fetcher()
    made.engine.images = fetcher
    return made, fetcher


def question(w: World, *urls: str, model: str = "hermes-router", **fields: Any) -> Question:
    """A question about images."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    body = {"model": model, "messages": [{"role": "user", "content": parts}], **fields}
    return make_question(w.engine, parse_request(json.dumps(body).encode(), {}), Caller(RouterKeyId("rk")), {}, "req_1")


async def run(w: World, *urls: str, **given: Any) -> Run:
    """An exchange that has come as far as it can."""
    begun = Run(w, question(w, *urls, **given))
    await turns()
    return begun


async def test_nobody_is_asked_before_the_images_are_there() -> None:
    """All of them at once, each once, for this caller; then the target gets them in their places."""
    w, fetcher = world("in/m")
    w.transport.on("in", answers())
    begun = await run(w, URL, URL, "https://x.test/b")
    assert w.transport.flights == []
    (fetch,) = fetcher.fetches
    assert (fetch.wanted, fetch.caller) == ({URL: 2, "https://x.test/b": 1}, "rk")
    assert 0 < ON.max_request_bytes - fetch.max_bytes < 1_000  # what the request itself takes
    fetch.done({URL: Picture("image/png", "AAAA"), "https://x.test/b": Picture("image/gif", "BBBB")})
    assert (await begun.over()).status == 200
    parts = w.transport.last.body["messages"][0]["content"]
    assert [part["image_url"]["url"] for part in parts] == [DATA, DATA, "data:image/gif;base64,BBBB"]


async def test_once_in_an_exchange_however_many_are_asked() -> None:
    """Two that need it inline, and one that fetches itself, which gets what the caller sent."""
    w, fetcher = world("in1/m", "in2/m", "own/m")
    for name in ("in1", "in2"):
        w.transport.on(name, refuses(500))
    w.transport.on("own", answers())
    begun = await run(w, URL)
    fetcher.fetches[0].done({URL: Picture("image/png", "AAAA")})
    assert (await begun.over()).status == 200
    urls = {f.provider: f.body["messages"][0]["content"][0]["image_url"]["url"] for f in w.transport.flights}
    assert urls == {"in1": DATA, "in2": DATA, "own": URL}
    assert len(fetcher.fetches) == 1


async def test_a_refusal_of_what_we_altered_is_asked_elsewhere_once() -> None:
    """The caller did not send the image, so a 400 about it is not passed back at once."""
    w, fetcher = world("in1/m", "in2/m")
    w.transport.on("in1", refuses(400, {"message": "the image is too wide"}))
    w.transport.on("in2", answers())
    begun = await run(w, URL)
    fetcher.fetches[0].done({URL: Picture("image/png", "AAAA")})
    assert (await begun.over()).status == 200


async def test_an_image_that_cannot_be_had_passes_all_over_who_need_it() -> None:
    """Not one more fetch, nobody's state touched, the quota comes back; the answer says so."""
    w, fetcher = world("in1/m", "in2/m", "own/m")
    w.transport.on("own", answers())
    begun = await run(w, URL)
    fetcher.fetches[0].done(Unfit(URL, Fault.UNREACHABLE, "TimedOut"))
    rendered = await begun.over()
    assert rendered.status == 200
    assert rendered.headers["x-hermes-target"] == "own/m"
    assert rendered.headers["x-hermes-warnings"] == f"unfetched:{PATH}"
    assert [flight.provider for flight in w.transport.flights] == ["own"]
    assert len(fetcher.fetches) == 1
    assert [w.status(index) for index in range(3)] == ["ready"] * 3
    assert w.inflight == 0


async def test_with_nobody_else_the_caller_hears_which_image_and_why() -> None:
    """400, and the address is in no log."""
    w, fetcher = world("in/m")
    begun = await run(w, URL)
    fetcher.fetches[0].done(Unfit(URL, Fault.TOO_LARGE, "by its bytes"))
    rendered = await begun.over()
    assert rendered.status == 400
    error = json.loads(rendered.body)["error"]
    assert error["param"] == PATH
    assert error["message"] == f"{PATH}: the image cannot be used: it is larger than 8 MB"
    assert w.log.fields("image.unfetched") == {
        "request_id": "req_1", "path": PATH, "fault": "too_large", "said": "by its bytes",
    }  # fmt: skip
    assert "x.test" not in str(w.log.lines)
    assert w.inflight == 0


async def test_the_deadline_ends_the_fetch() -> None:
    """504, and nothing goes on."""
    w, fetcher = world("in/m", settings=Settings(patience_s=0.0, fetch_images=True, request_deadline_s=5.0))
    begun = await run(w, URL)
    await w.later(5.5)
    assert (await begun.over()).status == 504
    assert fetcher.fetches[0].aborted
    assert w.transport.flights == []


@pytest.mark.parametrize("stream", [False, True])
async def test_all_images_of_a_request_have_half_a_minute(stream: bool) -> None:
    """Also where the stream is open and no deadline of the request counts any more: a target is held all the while."""
    w, fetcher = world("in/m", "own/m")
    w.transport.on("own", answers())
    begun = await run(w, URL, stream=stream)
    await w.later(29.0)
    assert (fetcher.fetches[0].aborted, w.transport.flights, w.inflight) == (False, [], 1)
    if stream:
        assert begun.out.head is not None  # committed
    await w.later(1.5)
    assert fetcher.fetches[0].aborted
    assert [flight.provider for flight in w.transport.flights] == ["own"]
    assert w.log.fields("image.unfetched")["fault"] == "late"
    await begun.leave()


async def test_earlier_turns_leave_the_images_their_room() -> None:
    """What is remembered here was not sent now: with it the request may be larger than one may be."""
    w, fetcher = world("in/m", settings=Settings(patience_s=0.0, fetch_images=True, max_request_bytes=10_000))
    past = Past("resp_1", [b'{"role":"user","content":"%b"}' % (b"x" * 9_900)], "digest")
    item = {"role": "user", "content": [{"type": "input_image", "image_url": URL}]}
    body = msgspec.json.encode({"model": "hermes-router", "input": [item]})
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    inbound = parse_fields(fields, {}, past)
    begun = Run(w, make_question(w.engine, inbound, Caller(RouterKeyId("rk")), {}, "req_1"))
    await turns()
    assert 0 < 10_000 - fetcher.fetches[0].max_bytes < 1_000
    await begun.leave()


async def test_a_caller_who_leaves_ends_the_fetch() -> None:
    """And gives back what was reserved."""
    w, fetcher = world("in/m")
    begun = await run(w, URL)
    begun.task.cancel()
    await asyncio.gather(begun.task, return_exceptions=True)
    assert fetcher.fetches[0].aborted
    assert w.inflight == 0


@pytest.mark.parametrize("settings", [ON, Settings(patience_s=0.0)])
async def test_who_may_have_images_fetched(settings: Settings) -> None:
    """Only a request with an image by its address, where the setting is on, and never one that must stay here."""
    w, _ = world("in/m", settings=settings)
    on = settings.fetch_images
    assert question(w, URL).constraint.fetches is on
    assert question(w, DATA).constraint.fetches is False
    assert question(w, URL, model="hermes-router:local").constraint.fetches is False
    assert question(w, URL, model="hermes-router:fast").constraint.fetches is on
    assert isinstance(w.engine.snapshot.roster, Roster)
