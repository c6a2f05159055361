"""hermes_router/upstream/sign_in.py: codes turned into tokens at a server that checks everything."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestServer

from hermes_router.core import sign_in as words
from hermes_router.core.accounts import Route, read_claims
from hermes_router.core.sign_in import Code, SignInFailed
from hermes_router.upstream.http import HttpTransport
from hermes_router.upstream.sign_in import AuthServer

from ..codex.sign_in_server import Person, SignInServer, browse
from ..fakes import Clock


class World:
    """The fake server, ours that asks it, and a clock."""

    def __init__(self, fake: SignInServer, auth: AuthServer, clock: Clock) -> None:
        self.fake, self.auth, self.clock = fake, auth, clock
        self.slept: list[float] = []

    async def code(self, route: Route) -> tuple[Code, str]:
        """What a browser brings back, and the nonce."""
        host = "localhost" if route == "backend" else "127.0.0.1"
        sign_in = words.begin(route, f"http://{host}:1455/auth/callback", bytes(range(128)))
        url = words.authorize_url(self.auth.root, sign_in, host_id="urn:uuid:1", originator="hermes-router")
        _, _, back = await browse(url, follow=False)
        return words.read_callback(sign_in, back.partition("?")[2]), sign_in.nonce

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)

    async def device(self) -> Code:
        """A device code, waited for."""
        device = await self.auth.start_device()
        return await self.auth.wait_for_device(device, sleep=self.sleep, mono=self.clock.mono)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """All of it on loopback."""
    clock = Clock()
    fake = SignInServer(clock.now)
    server = TestServer(fake.app())
    await server.start_server()
    fake.root = str(server.make_url("")).rstrip("/")
    transport = HttpTransport(asyncio.get_running_loop())
    yield World(fake, AuthServer(transport, fake.root, now=clock.now), clock)
    await transport.close()
    await server.close()


async def test_a_code_of_the_backend_route_becomes_tokens(world: World) -> None:
    """The server checks client, redirect and verifier; the account is named by the tokens."""
    code, _ = await world.code("backend")
    found = await world.auth.redeem("backend", code)
    assert read_claims(found.tokens.access_token).account_id == "acc-1"
    assert (found.tokens.expires_in_s, found.subject) == (864_000.0, "")
    with pytest.raises(SignInFailed, match="Bad code"):
        await world.auth.redeem("backend", code)  # a code serves once


async def test_a_code_of_the_plan_route_becomes_tokens_and_a_proved_person(world: World) -> None:
    """The issued client takes part, the id token is proved, the scope is there."""
    code, nonce = await world.code("plan")
    assert code.client_id.startswith("oaiapp_")
    found = await world.auth.redeem("plan", code, nonce=nonce)
    assert (found.subject, found.client_id) == ("user-1", code.client_id)


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": "x"}, "another program"),
        ({"nonce": "x"}, "another sign-in"),
        ({"iss": "https://evil.test"}, "issued it"),
    ],
)
async def test_an_id_token_that_proves_nothing_ends_the_sign_in(
    world: World, claims: dict[str, str], said: str
) -> None:
    """Signed or not: it must be of this server, for this client and this sign-in."""
    world.fake.claims = claims
    code, nonce = await world.code("plan")
    with pytest.raises(SignInFailed, match=said) as caught:
        await world.auth.redeem("plan", code, nonce=nonce)
    assert caught.value.code == "unproved"


async def test_a_clock_that_is_wrong_by_a_day_is_said(world: World) -> None:
    """The person is told to set the clock, and by how much it is wrong."""
    code, nonce = await world.code("plan")
    ahead = AuthServer(world.auth._transport, world.auth.root, now=lambda: world.clock.now() + 90_000)
    with pytest.raises(SignInFailed, match=r"25\.0 hours ahead|1\.0 days ahead") as caught:
        await ahead.redeem("plan", code, nonce=nonce)
    assert caught.value.code == "clock"


async def test_a_plan_that_is_not_lent_is_no_plan_sign_in(world: World) -> None:
    """Signed in, but without the scope: said as what it is."""
    world.fake.person = Person(lends=False)
    code, nonce = await world.code("plan")
    with pytest.raises(SignInFailed) as caught:
        await world.auth.redeem("plan", code, nonce=nonce)
    assert caught.value.code == "not_eligible"


async def test_keys_that_cannot_be_read_cost_no_code(world: World) -> None:
    """They are asked for first: afterwards the code can still be taken."""
    world.fake.trouble["/.well-known/jwks.json"] = (500, b"<html>")
    code, nonce = await world.code("plan")
    with pytest.raises(SignInFailed, match="keys"):
        await world.auth.redeem("plan", code, nonce=nonce)
    world.fake.trouble.clear()
    assert (await world.auth.redeem("plan", code, nonce=nonce)).subject == "user-1"


async def test_a_device_code_is_waited_for(world: World) -> None:
    """Asked in the interval that the server gave until the code was typed, then taken."""
    code = await world.device()
    assert world.slept == [1.0, 1.0, 1.0]
    assert read_claims((await world.auth.redeem("backend", code)).tokens.access_token).plan == "plus"


async def test_a_device_code_ends_after_a_quarter_of_an_hour(world: World) -> None:
    """Nobody types it."""
    world.fake.polls_before_typed = 10_000
    world.fake.trouble["/api/accounts/deviceauth/token"] = (400, b'{"error": "slow_down"}')
    with pytest.raises(SignInFailed) as caught:
        await world.device()
    assert caught.value.code == "expired"
    assert sum(world.slept) <= words.DEVICE_VALID_S
    assert world.slept[:3] == [1.0, 6.0, 11.0]


async def test_device_codes_may_be_switched_off(world: World) -> None:
    """The person is told where to switch them on, and of the other way."""
    world.fake.device_codes = False
    with pytest.raises(SignInFailed) as caught:
        await world.device()
    assert caught.value.code == "disabled"
    assert "--browser" in caught.value.next_step


async def test_a_server_that_is_not_there_is_said_plainly(world: World) -> None:
    """Nothing listens, or the address is none; a poll waits that out instead."""
    away = AuthServer(world.auth._transport, "http://127.0.0.1:9", now=world.clock.now)
    with pytest.raises(SignInFailed, match="did not answer"):
        await away.start_device()
    with pytest.raises(SignInFailed, match="cannot be asked"):
        await AuthServer(world.auth._transport, "nonsense", now=world.clock.now).start_device()
    device = await world.auth.start_device()
    with pytest.raises(SignInFailed) as caught:
        await away.wait_for_device(device, sleep=world.sleep, mono=world.clock.mono)
    assert caught.value.code == "expired"
    assert len(world.slept) > 100
