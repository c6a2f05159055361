"""The prober at work, over real HTTP: lists read again, models that come and go, questions, and nobody delayed."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from hermes_router.control import types as t
from hermes_router.core.catalog import Capability, Known
from hermes_router.daemon.probing import EVERY_S, FAILED_S, FIRST_S, POLL_S, SOON_S, Probing
from hermes_router.engine.live_models import APART_S
from hermes_router.sandbox import faults
from hermes_router.sandbox.providers import FakeProvider
from hermes_router.sandbox.values import FakeModel

from .office import Office

Open = Callable[..., Any]

KEY = "sandbox-key"
BIG, QWEN, SMALL = "openai/gpt-oss-120b", "qwen/qwen3.8-27b", "openai/gpt-oss-20b"
GROQ = {"GROQ_API_KEY": KEY}
TOOL = {"type": "function", "function": {"name": "t", "parameters": {"type": "object", "properties": {}}}}
FREE = "nvidia/nemotron-3-ultra-550b-a55b:free"


def models(*names: str, context: int = 131_072) -> tuple[FakeModel, ...]:
    return tuple(FakeModel(name, context) for name in names)


def groq(*names: str, **given: Any) -> FakeProvider:
    return FakeProvider("groq", models=models(*(names or (BIG, QWEN, SMALL)), **given))


def prober(office: Office) -> Probing:
    return office.backend.probing


def asked(office: Office, provider: str, ending: str = "/models") -> int:
    return sum(1 for r in office.sandbox.requests if r.provider == provider and r.path.endswith(ending))


def lists(office: Office, provider: str, *names: str) -> None:
    """From now on the provider lists these."""
    office.sandbox.providers[provider].models = models(*names)


async def six_hours(office: Office, provider: str) -> None:
    """The next reading of a list."""
    office.clock.advance(EVERY_S * 1.2)
    await prober(office).step(provider)


def state(office: Office, model: str) -> tuple[str, str | None]:
    [row] = [row for row in office.backend.reports.targets() if row.model == model]
    return row.state, row.reason


async def said(office: Office) -> list[str]:
    """What `hr status` says of models that vanished."""
    problems = (await office.backend.status()).problems
    ours = prober(office).problems()
    assert [one for one in problems if one in ours] == ours
    return ours


def knows(office: Office, provider: str, model: str) -> bool:
    """Whether it can be pinned."""
    return office.daemon.engine.snapshot.roster.knows(provider, model)


def events(office: Office, *names: str) -> list[str]:
    return [event for event, _ in office.log.lines if event.partition(".")[0] in (names or ("model", "models"))]


# --- lists ------------------------------------------------------------------------------------------------


async def test_a_list_is_read_and_used(office: Open) -> None:
    """Its models can be pinned and have their windows; a second turn reads nothing again for six hours."""
    home = await office(groq(BIG, QWEN, SMALL, "new-one", context=100_000), **GROQ)
    assert await prober(home).step("groq") == POLL_S
    async with home.http.get(f"{home.url}/v1/models") as answer:
        rows = {row["id"]: row for row in (await answer.json())["data"]}
    assert rows["groq/new-one"]["context_length"] == 100_000
    assert rows[f"groq/{BIG}"]["context_length"] == 100_000  # what the list says is the smaller one
    await prober(home).step("groq")
    assert asked(home, "groq") == 1
    await six_hours(home, "groq")
    assert asked(home, "groq") == 2


async def test_a_model_that_vanished_is_benched_and_returns(office: Open) -> None:
    """Two lists without it: a log line that names it and what serves instead, a word in status, and traffic goes on."""
    home = await office(groq(), **GROQ)
    await prober(home).step("groq")
    lists(home, "groq", QWEN, SMALL, "x")
    await six_hours(home, "groq")
    assert state(home, BIG) == ("ready", None)
    await six_hours(home, "groq")
    assert state(home, BIG) == ("cooling", "gone (inferred)")
    assert home.log.fields("model.vanished") == {"provider": "groq", "model": BIG, "instead": f"groq/{QWEN}"}
    [problem] = await said(home)
    assert problem == f"Groq no longer lists {BIG}; groq/{QWEN} serves instead"
    assert (await home.ask())[0] == 200
    await six_hours(home, "groq")
    assert events(home).count("model.vanished") == 1
    lists(home, "groq", BIG, QWEN, SMALL)
    await six_hours(home, "groq")
    assert state(home, BIG) == ("ready", None)
    assert home.log.fields("model.returned") == {"provider": "groq", "model": BIG}
    assert await said(home) == []


async def test_a_404_from_traffic_and_one_list_are_enough(office: Open) -> None:
    """The list is read again soon after a request was told that the model is unknown, not six hours later."""
    home = await office(groq(), **GROQ)
    await prober(home).step("groq")
    lists(home, "groq", QWEN, SMALL, "x")
    await home.ask(model=f"groq/{BIG}")
    await prober(home).step("groq")
    assert asked(home, "groq") == 1  # not twice within ten minutes, whatever comes
    home.clock.advance(SOON_S)
    await prober(home).step("groq")
    assert asked(home, "groq") == 2
    assert home.log.fields("model.vanished")["model"] == BIG


async def test_a_row_whose_models_have_all_vanished_takes_up_free_ones_and_says_so(office: Open) -> None:
    """From the live list, free and with tools and 64K; the owner reads it in the log and in status; they serve."""
    fake = FakeProvider("openrouter", models=models(FREE))
    home = await office(fake, OPENROUTER_API_KEY=KEY)
    row = [m.id for m in home.daemon.loaded.catalog["openrouter"].models]
    lists(home, "openrouter", *row)
    await prober(home).step("openrouter")
    fake.models = (
        FakeModel("acme/paid"), FakeModel("acme/tiny:free", 8_192), FakeModel("acme/good:free"),
        FakeModel("acme/also:free", 64_000),
    )  # fmt: skip
    await six_hours(home, "openrouter")
    assert {row.model for row in home.backend.reports.targets()} == set(row)
    await six_hours(home, "openrouter")
    assert [row.model for row in home.backend.reports.targets()] == ["acme/good:free", "acme/also:free"]
    assert {row.price_class for row in home.backend.reports.targets()} == {"free"}
    assert home.log.fields("model.replaced")["by"] == "acme/good:free acme/also:free"
    [problem] = await said(home)
    assert "taken up instead: acme/good:free, acme/also:free" in problem
    assert "hr model set openrouter" in problem
    assert (await home.ask(tools=[TOOL]))[0] == 200
    assert home.headers["x-hermes-target"] == "openrouter/acme/good:free"
    lists(home, "openrouter", *row)
    await six_hours(home, "openrouter")
    assert {row.model for row in home.backend.reports.targets()} == set(row)
    assert await said(home) == []


async def test_w16_a_free_model_is_never_replaced_by_a_paid_one(office: Open) -> None:
    """Nothing free is listed: the row's own models rest, and status says what to do."""
    fake = FakeProvider("openrouter", models=models("acme/a", "acme/b", "acme/c"))
    home = await office(fake, OPENROUTER_API_KEY=KEY)
    await prober(home).step("openrouter")
    await six_hours(home, "openrouter")
    assert not [row for row in home.backend.reports.targets() if row.model.startswith("acme/")]
    assert "model.replaced" not in events(home)
    [problem] = await said(home)
    assert "none of its other models is known to be free" in problem
    status, _ = await home.ask()
    assert status in {429, 503}
    assert asked(home, "openrouter", "/chat/completions") == 0


async def test_what_the_owner_named_is_asked_on(office: Open) -> None:
    """His model is not in the list: it is said once, in status too, and neither benched nor replaced."""
    home = await office(groq(BIG, QWEN, SMALL), GROQ_MODEL="secret-preview", **GROQ)
    home.sandbox.providers["groq"].models = (*models(BIG, QWEN, SMALL),)
    for _ in range(3):
        await six_hours(home, "groq")
    assert state(home, "secret-preview") == ("ready", None)
    assert events(home, "model") == ["model.unlisted"]
    [problem] = await said(home)
    assert problem == "GROQ_MODEL names secret-preview, which Groq does not list; it is asked all the same"


@pytest.mark.parametrize(
    "body", [b"", b"<html>gateway</html>", b'{"data": []}', b'{"data": [{"id": "other"}]}', b"[" * 9_000, b"{}"]
)
async def test_an_odd_list_benches_nobody(office: Open, body: bytes) -> None:
    """Empty, short, HTML, garbage, again and again: the pool stays as it was."""
    home = await office(groq(), **GROQ)
    await prober(home).step("groq")
    home.sandbox.behave("groq", _answers(body), None, route="models")
    for _ in range(4):
        await six_hours(home, "groq")
    assert {row.state for row in home.backend.reports.targets()} == {"ready"}
    assert "model.vanished" not in events(home)


def _answers(body: bytes) -> faults.Behaviour:
    return faults.html_200() if body.startswith(b"<") else faults.status(200, body)


async def test_accounts_are_asked_together_before_a_model_is_missed(office: Open) -> None:
    """Lists differ by account: what one key lacks another may have."""
    home = await office(FakeProvider("groq", keys={KEY, "second-key-01234"}), GROQ_API_KEYS=f"{KEY},second-key-01234")
    fake = home.sandbox.providers["groq"]
    fake.models = models(QWEN, SMALL, "x")
    await prober(home).step("groq")
    assert asked(home, "groq") == 2
    fake.models = models(BIG, QWEN, SMALL)
    await six_hours(home, "groq")
    assert asked(home, "groq") == 3


async def test_trouble_is_said_once_and_asked_again_later_each_time(office: Open) -> None:
    """Ten minutes, twenty, …; one line when it begins, one when it ends; nothing is believed meanwhile."""
    home = await office(groq(), **GROQ)
    home.sandbox.behave("groq", faults.status(503), 2, route="models")
    await prober(home).step("groq")
    home.clock.advance(FAILED_S - 1)
    await prober(home).step("groq")
    assert asked(home, "groq") == 1
    home.clock.advance(1)
    await prober(home).step("groq")
    home.clock.advance(FAILED_S)
    await prober(home).step("groq")
    assert asked(home, "groq") == 2
    home.clock.advance(FAILED_S)
    await prober(home).step("groq")
    assert asked(home, "groq") == 3
    assert events(home, "models") == ["models.unread", "models.read_again"]


async def test_hr_models_refresh_reads_keeps_and_uses_the_lists(office: Open) -> None:
    """What it shows is in force from then on; a list that cannot be read is a sentence, and the others stand."""
    home = await office(groq(BIG, QWEN, SMALL, "new-one"), "mistral", MISTRAL_API_KEY=KEY, **GROQ)
    home.sandbox.behave("mistral", faults.status(500), None, route="models")
    found = await home.backend.models(None, refresh=True)
    rows = {(row.provider, row.model): row for row in found.rows}
    assert rows["groq", "new-one"].live
    assert rows["groq", "new-one"].price_class == "free"
    assert rows["groq", "new-one"].context == 131_072
    [problem] = found.problems
    assert problem.startswith("mistral: ")
    assert knows(home, "groq", "new-one")
    later = await home.backend.models("groq", refresh=False)
    assert [row.model for row in later.rows] == [BIG, QWEN, SMALL]  # the whole list only where it was asked for
    assert {row.live for row in later.rows} == {True}


async def test_what_a_list_says_of_a_model_is_shown(office: Open) -> None:
    """Capabilities of a model that takes no part are those of its list, in the words of all others."""
    home = await office(FakeProvider("openrouter", models=models(FREE, "acme/x")), OPENROUTER_API_KEY=KEY)
    found = await home.backend.models("openrouter", refresh=True)
    [row] = [row for row in found.rows if row.model == "acme/x"]
    assert (row.capabilities["tools"], row.capabilities["images"], row.picked) == ("yes", "no", False)


async def test_lists_survive_a_restart(office: Open) -> None:
    """What was read is in force before the first request of the next daemon, replacements included."""
    fake = FakeProvider("openrouter", models=models("acme/good:free", "acme/b", "acme/c"))
    home = await office(fake, OPENROUTER_API_KEY=KEY)
    await prober(home).step("openrouter")
    await six_hours(home, "openrouter")
    assert home.places.models_file.stat().st_mode & 0o777 == 0o600
    assert KEY.encode() not in home.places.models_file.read_bytes()
    home.daemon.live_models = type(home.daemon.live_models)()
    home.daemon.renew()
    assert "acme/good:free" not in {row.model for row in home.backend.reports.targets()}
    heir = Probing(home.daemon, home.places.models_file)
    heir.restore()
    assert {row.model for row in home.backend.reports.targets()} == {"acme/good:free"}
    before = asked(home, "openrouter")
    await heir.step("openrouter")
    assert asked(home, "openrouter") == before  # it is not six hours old


async def test_a_damaged_file_is_one_warning_and_no_harm(office: Open) -> None:
    """The lists are read again."""
    home = await office(groq(), **GROQ)
    home.places.models_file.write_bytes(b"{nonsense")
    Probing(home.daemon, home.places.models_file).restore()
    assert events(home) == ["models.not_read"]
    await prober(home).step("groq")
    assert json.loads(home.places.models_file.read_bytes())["providers"]["groq"]


async def test_a_disk_that_is_full_stops_nothing(office: Open) -> None:
    """It is said once, and the lists are used all the same."""
    home = await office(groq(), **GROQ)
    home.places.models_file.mkdir()
    for _ in range(2):
        await six_hours(home, "groq")
    assert events(home) == ["models.not_kept"]
    assert knows(home, "groq", BIG)


# --- questions ----------------------------------------------------------------------------------------------


async def test_an_unknown_capability_is_asked_once_there_is_traffic(office: Open) -> None:
    """One tiny request of ours at the provider, its result in status with how and when it was learned."""
    fake = FakeProvider("nvidia", models=models("mystery"))
    home = await office(fake, NVIDIA_API_KEY=KEY, NVIDIA_MODEL="mystery")
    await prober(home).step("nvidia")
    for _ in range(5):
        home.clock.advance(POLL_S)
        await prober(home).step("nvidia")
    assert asked(home, "nvidia", "/chat/completions") == 0  # nobody uses it: nothing is spent
    assert (await home.ask(tools=[TOOL]))[0] == 200
    await prober(home).step("nvidia")
    assert asked(home, "nvidia", "/chat/completions") == 2
    assert home.log.fields("probe.done")["capability"] == "tools"
    assert home.log.fields("probe.done")["found"] == "yes"
    home.clock.advance(30)
    [row] = home.backend.reports.targets()
    assert row.capabilities["tools"] == "yes"
    assert row.knowledge["tools"] == {"value": "yes", "source": "probed", "age_s": 30.0}
    await prober(home).step("nvidia")
    assert asked(home, "nvidia", "/chat/completions") == 2  # one a minute


async def test_live_traffic_comes_before_a_question(office: Open) -> None:
    """The first answer with a call has said it all: no request of ours is needed."""
    fake = FakeProvider("nvidia", models=models("mystery"))
    home = await office(fake, NVIDIA_API_KEY=KEY, NVIDIA_MODEL="mystery")
    await prober(home).step("nvidia")
    assert (await home.ask("call all tools", tools=[TOOL]))[0] == 200
    [row] = home.backend.reports.targets()
    assert row.knowledge["tools"]["source"] == "seen"
    home.clock.advance(POLL_S)
    await prober(home).step("nvidia")
    assert home.log.fields("probe.done")["capability"] != "tools"


async def test_the_owners_word_ends_the_question(office: Open) -> None:
    """SUPPORTS_TOOLS=0 is neither asked about nor overruled."""
    fake = FakeProvider("nvidia", models=models("mystery"))
    home = await office(fake, NVIDIA_API_KEY=KEY, NVIDIA_MODEL="mystery", NVIDIA_SUPPORTS_TOOLS="0")
    home.daemon.engine.state.learn_capability("nvidia", "mystery", Capability.TOOLS, Known.YES)
    [row] = home.backend.reports.targets()
    assert row.capabilities["tools"] == "no"
    assert row.knowledge["tools"] == {"value": "no", "source": "override", "age_s": None}


async def test_a_long_wait_is_looked_at_where_asking_is_free(office: Open) -> None:
    """Kimi tells what is left: every ten minutes while it had told us to wait, and then one real request asks."""
    home = await office("kimi", KIMI_API_KEY=KEY)
    home.http.headers["user-agent"] = "an-agent/1"  # it looks at who calls
    model = home.backend.reports.targets()[0].model
    await prober(home).step("kimi")
    assert asked(home, "kimi", "/usages") == 0
    wait = faults.status(
        429, {"error": {"message": "reached your usage limit for this period"}}, {"retry-after": "9000"}
    )
    home.sandbox.behave("kimi", wait, model=model)
    await home.ask(model=f"kimi/{model}")
    assert state(home, model)[0] == "cooling"
    before = asked(home, "kimi", "/chat/completions")
    await prober(home).step("kimi")
    await prober(home).step("kimi")
    assert asked(home, "kimi", "/usages") == 1
    assert home.log.fields("quota.again")["provider"] == "kimi"
    assert (await home.ask(model=f"kimi/{model}"))[0] == 200
    assert asked(home, "kimi", "/chat/completions") == before + 1
    assert state(home, model) == ("ready", None)


# --- tasks ----------------------------------------------------------------------------------------------------


class Hours:
    """A sleep that the test lets go on."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._gates: list[tuple[float, asyncio.Future[None]]] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        gate = asyncio.get_running_loop().create_future()
        self._gates.append((seconds, gate))
        await gate

    async def strike(self) -> None:
        """All who sleep wake up."""
        gates, self._gates = self._gates, []
        for _, gate in gates:
            if not gate.done():
                gate.set_result(None)
        await asyncio.sleep(0)


async def test_nothing_is_asked_before_the_first_seconds_of_serving(office: Open) -> None:
    """The task sleeps first; requests are served meanwhile, and nobody waits for it."""
    home = await office(groq(), **GROQ)
    hours = Hours()
    probing = Probing(home.daemon, None, sleep=hours)
    home.daemon.supervisor.keep("models", probing.run)
    assert (await home.ask())[0] == 200
    assert hours.slept == [FIRST_S]
    assert asked(home, "groq") == 0
    await hours.strike()
    await asyncio.sleep(0)
    await hours.strike()
    await asyncio.wait_for(home.sandbox.seen(2, "groq"), 5)
    assert asked(home, "groq") == 1


async def test_one_provider_that_hangs_delays_no_other(office: Open) -> None:
    """Each has a task of its own: the silent one's list is still awaited when the other's is in use."""
    home = await office(groq(BIG, QWEN, SMALL, "new-one"), "mistral", MISTRAL_API_KEY=KEY, **GROQ)
    silent = home.sandbox.behave("mistral", faults.silent(), None, route="models")
    hours = Hours()
    probing = Probing(home.daemon, None, sleep=hours)
    home.daemon.supervisor.keep("models", probing.run)
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
        while not silent.reached.is_set() or not knows(home, "groq", "new-one"):
            await hours.strike()
            await asyncio.sleep(0.001)
    assert "mistral" not in home.daemon.live_models.lists
    assert (await home.ask(model="groq/new-one"))[0] == 200


async def test_a_provider_that_gets_a_key_is_followed_and_one_that_loses_it_is_not(office: Open) -> None:
    """A new generation starts the task of a new provider; one whose provider has no key any more ends by itself."""
    home = await office(groq(), "mistral", **GROQ)
    hours = Hours()
    probing = Probing(home.daemon, None, sleep=hours)
    home.daemon.supervisor.keep("models", probing.run)
    async with asyncio.timeout(5):
        while not asked(home, "groq"):
            await hours.strike()
            await asyncio.sleep(0.001)
        await home.backend.add_credentials(t.AddCredentials(provider="mistral", lines=[KEY], test=False))
        while not asked(home, "mistral"):
            await hours.strike()
            await asyncio.sleep(0.001)
    home.daemon.swap(replace(home.daemon.loaded, credentials=()))
    following = asyncio.ensure_future(probing.follow("groq"))
    await asyncio.sleep(0)
    await hours.strike()
    await asyncio.wait_for(following, 5)
    assert probing.problems() == []
    assert probing.listed() == {}


async def test_another_address_is_read_at_once(office: Open) -> None:
    """A base URL of the owner's leads elsewhere: what was read before is not believed there."""
    home = await office(groq(), **GROQ)
    await prober(home).step("groq")
    settings = home.daemon.loaded.settings
    moved = replace(settings.provider("groq"), base_url=home.sandbox.base_url("groq") + "/")
    assert "groq" in prober(home).listed()
    home.daemon.swap(
        replace(home.daemon.loaded, settings=replace(settings, providers={**settings.providers, "groq": moved}))
    )
    assert "groq" not in prober(home).listed()
    await prober(home).step("groq")
    assert asked(home, "groq") == 2


def test_two_lists_of_a_vanished_model_are_hours_apart() -> None:
    """The pace of the readings and the distance that evidence needs go together."""
    assert APART_S <= SOON_S <= EVERY_S
