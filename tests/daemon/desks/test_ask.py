"""hermes_router/daemon/desks/ask.py: a plan without a request, and a question through the whole router."""

import json

import pytest

from hermes_router.control import types as t
from hermes_router.core.errors import ControlError
from hermes_router.daemon.config import load
from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider

ENV = {"GROQ_API_KEY": "k-groq-0123456789", "MISTRAL_API_KEY": "k-mistral-0123456789"}


def pool() -> list[FakeProvider]:
    return [FakeProvider("groq", keys={ENV["GROQ_API_KEY"]}), FakeProvider("mistral", keys={ENV["MISTRAL_API_KEY"]})]


async def test_a_plan_partitions_the_targets(office) -> None:
    """Every target has a place or a reason; nothing is sent or reserved."""
    here = await office(*pool(), **ENV)
    report = await here.backend.plan(t.PlanQuery())
    assert len(report.rows) == here.daemon.targets
    assert [row.place for row in report.rows if row.place] == list(
        range(1, 1 + sum(bool(r.place) for r in report.rows))
    )
    assert report.rows[0].target in report.verdict
    assert not here.sandbox.requests
    assert here.daemon.engine.state.in_flight() == 0


@pytest.mark.parametrize("on", ["0", "1"])
async def test_an_image_by_its_address_shows_in_a_plan(office, on: str) -> None:
    """Who needs images inline takes part where they may be fetched, and nothing is fetched for a plan."""
    fakes = [FakeProvider("gemini", keys={"k-gemini-0123456789"}), *pool()]
    here = await office(*fakes, **ENV, GEMINI_API_KEY="k-gemini-0123456789", FETCH_IMAGES=on)
    part = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}
    body = {"model": "hermes-router", "messages": [{"role": "user", "content": [part]}]}
    rows = (await here.backend.plan(t.PlanQuery(body=json.dumps(body)))).rows
    gemini = [row for row in rows if row.target.startswith("gemini/gemini")]
    assert gemini
    assert all((row.place > 0) if on == "1" else (row.why == "needs images inline") for row in gemini), gemini
    inline = (await here.backend.plan(t.PlanQuery(image=True))).rows
    assert any(row.place for row in inline if row.target.startswith("gemini/gemini"))
    assert here.daemon.engine.images._fetcher is None


async def test_the_plan_of_a_pin_without_a_key_says_which_command_adds_one(office) -> None:
    """Its name is a pin still, though its last key was taken out, and everybody else is rejected by it."""
    here = await office(*pool(), **ENV)
    left = {name: value for name, value in here.env.items() if name != "GROQ_API_KEY"}
    here.daemon.swap(load(here.places, left, stored=here.store))
    report = await here.backend.plan(t.PlanQuery(model="groq/openai/gpt-oss-20b"))
    assert report.pin == "groq/openai/gpt-oss-20b"
    assert not any(row.place for row in report.rows)
    assert "`hr auth add groq` adds one" in report.verdict


async def test_what_a_request_needs_shows_in_its_plan(office) -> None:
    """Images, tools, size and a pin each have their say."""
    here = await office(*pool(), **ENV)
    image = await here.backend.plan(t.PlanQuery(image=True, tools=True))
    assert {"images", "tools"} <= set(image.needs)
    assert any(not row.place for row in image.rows)
    huge = await here.backend.plan(t.PlanQuery(tokens=5_000_000, model="groq/openai/gpt-oss-20b"))
    assert "too long" in huge.verdict
    model = here.targets()[0].partition("#")[0]
    pinned = await here.backend.plan(t.PlanQuery(model=model))
    assert [row.target.partition("#")[0] for row in pinned.rows if row.place] == [model]
    assert pinned.pin == model
    body = json.dumps({"model": "x", "messages": [{"role": "user", "content": "why?"}]})
    assert (await here.backend.plan(t.PlanQuery(body=body))).input_tokens > 0
    with pytest.raises(ControlError) as caught:
        await here.backend.plan(t.PlanQuery(body="{"))
    assert caught.value.exit_code == 2
    assert caught.value.next_step


async def test_one_question(office) -> None:
    """The answer, who gave it, and what it took; it is in the usage like any other."""
    here = await office(*pool(), **ENV)
    answer = await here.backend.ask(t.Ask(text="say 3 words"))
    assert answer.text
    assert answer.target.split("/")[0] in {"groq", "mistral"}
    assert answer.warnings == []
    assert (await here.backend.ask(t.Ask(text="hi", model="groq/nope"))).warnings == ["ignored:model"]
    assert (await here.backend.request(answer.request_id)).outcome == "answered"


async def test_a_question_that_nobody_answers(office) -> None:
    """The router's own words, and where to look; a plan names who returns first."""
    here = await office(*pool(), **ENV, PATIENCE_SECONDS="0")
    for name in here.sandbox.providers:
        here.sandbox.behave(name, faults.status(503), times=None)
    with pytest.raises(ControlError) as caught:
        await here.backend.ask(t.Ask(text="hi"))
    assert "hr status" in caught.value.next_step
    report = await here.backend.plan(t.PlanQuery())
    assert report.verdict.startswith("nobody could serve it now; the first to return is ")


async def test_a_question_to_an_empty_pool(office) -> None:
    """Nothing is "temporarily unavailable": there is no key, and the way to one is told."""
    here = await office("groq")
    with pytest.raises(ControlError, match="no provider has a key") as caught:
        await here.backend.ask(t.Ask(text="hi"))
    assert "hr auth add" in caught.value.next_step
    assert "hr auth add" in (await here.backend.plan(t.PlanQuery())).verdict
