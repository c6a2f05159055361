"""hermes_router/engine/refreshing.py: tokens are renewed in time, once, and whatever fails changes nothing that works."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hermes_router.core.accounts import BACKEND_CLIENT_ID, CodexAccount, RefreshFailed, Tokens, account_of_tokens
from hermes_router.core.errors import VaultError
from hermes_router.core.ids import CredentialId, Secret
from hermes_router.engine.refreshing import Refresher
from hermes_router.engine.tasks import Supervisor
from hermes_router.store.cli_login import CliHome, read_login
from hermes_router.store.tokens import TokenFile
from hermes_router.upstream.oauth import read_answer

from ..codex.auth_server import DAY_S, Issuer, auth_json
from ..fakes import Clock, Rng, SilentLog

HOUR_S = 3_600.0


class Yard:
    """An installation with an issuer: `start` begins a process, and what it leaves is on the disk."""

    def __init__(self, tmp_path: Path) -> None:
        self.clock = Clock()
        self.issuer = Issuer(self.clock.now)
        self.file = TokenFile(tmp_path / "data" / "codex-accounts.json", now=self.clock.now)
        self.cli = tmp_path / ".codex" / "auth.json"
        self.log = SilentLog()
        self.changes: list[tuple[frozenset[CredentialId], bool]] = []
        self.sent: list[str] = []
        self.meets: list[RefreshFailed] = []  # what the next refreshes come to, instead of an answer
        self.gate: asyncio.Event | None = None
        self.before_answer: Callable[[], None] = lambda: None
        self.refresher = self._process()

    def _process(self) -> Refresher:
        made = Refresher(
            self.file,
            CliHome(),
            self.send,
            clock=self.clock,
            rng=Rng(),
            log=self.log,
            flights=Supervisor(self.log),
            sleep=self.sleep,
        )
        made.changed = lambda idents, roster: self.changes.append((idents, roster))
        return made

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def send(self, account: CodexAccount) -> Tokens:
        on_disk = self.file.find(account.id)
        assert on_disk is not None
        assert on_disk.spending_since is not None, "the mark is on the disk before the POST"
        assert account.refresh_token is not None
        self.sent.append(account.refresh_token.reveal())
        if self.gate is not None:
            await self.gate.wait()
        self.before_answer()
        if self.meets:
            raise self.meets.pop(0)
        status, body = self.issuer.spend(account.refresh_token.reveal())
        return read_answer(status, json.dumps(body).encode())

    def own(self, **more: Any) -> CodexAccount:
        """A login of our own."""
        route = more.pop("route", "backend")
        client = BACKEND_CLIENT_ID if route == "backend" else "oaiapp_1"
        found = self.issuer.login(route=route, **more)
        account = account_of_tokens(tokens_of(found), now=self.clock.now(), route=route, client_id=client)
        self.file.put(account)
        return account

    def imported(self, *, read_only: bool = False, **more: Any) -> CodexAccount:
        """The CLI's login, brought in."""
        self.cli.parent.mkdir(exist_ok=True)
        self.cli_has(self.issuer.login(**more))
        account = read_login(self.cli).account(now=self.clock.now(), read_only=read_only)
        self.file.put(account)
        return account

    def cli_has(self, tokens: dict[str, Any]) -> None:
        self.cli.write_text(auth_json(tokens))

    def cli_refreshes(self) -> None:
        """As the official CLI does: read, POST, write."""
        held = json.loads(self.cli.read_text())
        status, body = self.issuer.spend(held["tokens"]["refresh_token"])
        assert status == 200
        self.cli_has(body)

    @property
    def cli_token(self) -> str:
        return str(json.loads(self.cli.read_text())["tokens"]["refresh_token"])

    def restart(self) -> None:
        self.refresher = self._process()

    async def settle(self) -> None:
        """One turn of the task, and the renewals that it begins."""
        await self.refresher.look()
        self.refresher.renew_due()
        await self.land()

    async def land(self) -> None:
        while self.refresher._under_way:
            await asyncio.wait(list(self.refresher._under_way.values()))

    def held(self, ident: CredentialId) -> CodexAccount:
        found = self.refresher.in_use(ident)
        assert found is not None
        return found

    def events(self) -> list[str]:
        return [event for event, _ in self.log.lines]


def tokens_of(found: dict[str, Any]) -> Tokens:
    return read_answer(200, json.dumps(found).encode())


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    made = Yard(tmp_path)
    yield made
    await made.refresher._flights.stop()


async def test_a_token_is_renewed_a_day_ahead_and_not_before(yard: Yard) -> None:
    """Eight and a half days of ten pass without a word; about a day before the end there are new tokens on the disk."""
    account = yard.own()
    yard.clock.advance(8.5 * DAY_S)
    await yard.settle()
    assert yard.issuer.spends == 0
    yard.clock.advance(0.6 * DAY_S)
    await yard.settle()
    assert yard.issuer.spends == 1
    after = yard.held(account.id)
    assert after == yard.file.find(account.id)
    assert after.access_token != account.access_token
    assert yard.issuer.works(after.refresh_token.reveal() if after.refresh_token else None)
    assert after.spending_since is None
    assert after.expires_at == pytest.approx(yard.clock.now() + 10 * DAY_S)
    assert yard.events() == ["codex.refreshed"]
    assert "rt_" not in str(yard.log.lines)


async def test_the_plan_routes_hour_is_renewed_at_four_fifths_and_not_before_it_is_allowed(yard: Yard) -> None:
    """A token of an hour is renewed when 80 % of it has passed, or at `earliest_refresh_at` where that is later."""
    account = yard.own(route="plan", life_s=HOUR_S)
    await yard.refresher.look()
    yard.file.put(replace(account, earliest_refresh_at=yard.clock.now() + 3_000))
    yard.clock.advance(2_950)
    await yard.settle()
    assert yard.issuer.spends == 0
    yard.clock.advance(60)
    await yard.settle()
    assert yard.issuer.spends == 1


async def test_a_thousand_refusals_at_once_are_one_renewal(yard: Yard) -> None:
    """CP-11: whoever meets a 401 with the old token waits for the one renewal, and hears that there are new ones."""
    account = yard.own()
    await yard.refresher.look()
    yard.gate = asyncio.Event()
    heard: list[bool] = []
    for _ in range(1_000):
        yard.refresher.renew(account.id, account, heard.append)
    await asyncio.sleep(0)
    yard.gate.set()
    await yard.land()
    await asyncio.sleep(0)
    assert heard == [True] * 1_000
    assert len(yard.sent) == 1
    yard.refresher.renew(account.id, account, heard.append)  # a straggler: there are others already
    assert heard[-1] is True
    assert len(yard.sent) == 1


async def test_new_tokens_that_are_refused_are_not_renewed_again(yard: Yard) -> None:
    """A 401 against tokens a minute old is about something else: the next account is asked at once."""
    account = yard.own()
    await yard.refresher.look()
    heard: list[bool] = []
    yard.refresher.renew(account.id, account, heard.append)
    await yard.land()
    await asyncio.sleep(0)
    yard.refresher.renew(account.id, yard.held(account.id), heard.append)
    assert heard == [True, False]
    assert yard.issuer.spends == 1


async def test_the_rotated_token_is_written_back_to_the_cli(yard: Yard) -> None:
    """CP-12: while the CLI's file holds the login, it gets what we rotated, and everything else in it stays."""
    account = yard.imported()
    before = json.loads(yard.cli.read_text())
    yard.clock.advance(9.2 * DAY_S)
    await yard.settle()
    after = json.loads(yard.cli.read_text())
    ours = yard.held(account.id)
    assert ours.refresh_token is not None
    assert yard.cli_token == ours.refresh_token.reveal()
    assert yard.issuer.works(yard.cli_token)
    assert after["a_later_key"] == before["a_later_key"]
    assert after["tokens"]["novel"] == before["tokens"]["novel"]
    assert after["last_refresh"] != before["last_refresh"]
    assert yard.cli.stat().st_mode & 0o777 == 0o600
    assert ours.owed is None
    assert yard.log.fields("codex.refreshed")["written_back"] is True


async def test_what_the_cli_renewed_is_adopted_and_not_spent(yard: Yard) -> None:
    """The CLI was quicker: its tokens are taken, also by a renewal that was about to spend the old one."""
    account = yard.imported()
    await yard.refresher.look()
    yard.clock.advance(9.2 * DAY_S)
    yard.cli_refreshes()
    yard.refresher.renew_due()
    await yard.land()
    assert yard.sent == []
    assert yard.held(account.id).refresh_token == Secret(yard.cli_token)
    assert yard.file.find(account.id) == yard.held(account.id)


async def test_a_race_that_the_cli_won_ends_with_its_tokens(yard: Yard) -> None:
    """`refresh_token_reused` while the CLI is about to write what it got: that is waited for and adopted."""
    account = yard.imported()
    await yard.refresher.look()
    yard.clock.advance(9.2 * DAY_S)
    held = json.loads(yard.cli.read_text())
    answers: list[dict[str, Any]] = []

    def the_cli_is_quicker() -> None:
        answers.append(yard.issuer.spend(held["tokens"]["refresh_token"])[1])
        asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(yard.cli_has, answers[0]))

    yard.before_answer = the_cli_is_quicker
    await yard.settle()
    assert yard.issuer.refusals == ["refresh_token_reused"]
    after = yard.held(account.id)
    assert after.dead is None
    assert after.refresh_token == Secret(answers[0]["refresh_token"])
    assert "codex.login_ended" not in yard.events()


async def test_another_login_in_the_cli_leaves_ours_alone(yard: Yard) -> None:
    """The CLI has logged into another account: ours is the only home, and its file is not touched."""
    account = yard.imported()
    yard.cli_has(yard.issuer.login("acc-2", user_id="user-2") | {"account_id": "acc-2"})
    text = yard.cli.read_text()
    yard.clock.advance(9.2 * DAY_S)
    await yard.settle()
    assert yard.issuer.spends == 1
    assert yard.held(account.id).account_id == "acc-1"
    assert yard.cli.read_text() == text


@pytest.mark.parametrize("left", ["nothing", "a directory", "half a file", "an API key"])
async def test_a_cli_file_that_is_no_login_any_more_holds_nothing_up(yard: Yard, left: str) -> None:
    """Whatever has become of the CLI's file: ours is renewed, and what stands there stays."""
    account = yard.imported()
    await yard.refresher.look()
    text = yard.cli.read_text()
    yard.cli.unlink()
    match left:
        case "a directory":
            yard.cli.mkdir()
        case "half a file":
            yard.cli.write_text(text[: len(text) // 2])
        case "an API key":
            yard.cli.write_text(json.dumps({"OPENAI_API_KEY": "sk-1"}))
    before = yard.cli.read_text() if yard.cli.is_file() else None
    yard.clock.advance(9.2 * DAY_S)
    await yard.settle()
    assert yard.issuer.spends == 1
    assert yard.held(account.id).expires_at > yard.clock.now() + 9 * DAY_S
    assert (yard.cli.read_text() if yard.cli.is_file() else None) == before


async def test_a_borrowed_login_is_never_renewed_nor_written(yard: Yard) -> None:
    """`--read-only`: the access token is used while it lives; what the CLI renews is followed."""
    account = yard.imported(read_only=True)
    yard.clock.advance(9.9 * DAY_S)
    await yard.settle()
    heard: list[bool] = []
    yard.refresher.renew(account.id, yard.held(account.id), heard.append)
    await yard.land()
    await asyncio.sleep(0)
    assert heard == [False]
    assert yard.sent == []
    yard.cli_refreshes()
    text = yard.cli.read_text()
    await yard.settle()
    assert yard.held(account.id).expires_at > yard.clock.now() + 9 * DAY_S
    assert yard.cli.read_text() == text
    with pytest.raises(RefreshFailed):
        await yard.refresher.refresh(account.id)


async def test_a_server_that_is_down_costs_nothing_while_the_token_lives(yard: Yard) -> None:
    """CP-9: tries with a growing pause, one line for all of them, the old token in use, nothing overwritten."""
    account = yard.own()
    yard.clock.advance(9.2 * DAY_S)
    down = RefreshFailed("transient", "http_500", "the authorisation server answers HTTP 500")
    yard.meets = [down] * 50
    for _ in range(100):
        await yard.settle()
        yard.clock.advance(30)
    assert 4 <= len(yard.sent) <= 9
    assert len(set(yard.sent)) == 1
    assert yard.held(account.id).access_token == account.access_token
    assert yard.events() == ["codex.not_refreshed"]
    assert yard.refresher.standing(account) == ("ready", f"it cannot be renewed now: {down.said}")
    yard.meets.clear()
    yard.clock.advance(HOUR_S)
    await yard.settle()
    assert yard.issuer.spends == 1
    assert yard.events() == ["codex.not_refreshed", "codex.refreshed"]


async def test_a_permanent_failure_stops_is_said_once_and_serves_to_its_end(yard: Yard) -> None:
    """`refresh_token_invalidated`: never tried again, one line, in use until the access token ends, then revoked."""
    account = yard.own()
    yard.clock.advance(9.2 * DAY_S)
    yard.meets = [RefreshFailed("permanent", "refresh_token_invalidated")]
    for _ in range(20):
        await yard.settle()
        yard.clock.advance(600)
    assert len(yard.sent) == 1
    assert yard.events() == ["codex.login_ended"]
    assert yard.refresher.standing(yard.held(account.id))[0] == "ending"
    assert yard.file.find(account.id).dead == "refresh_token_invalidated"  # type: ignore[union-attr]
    yard.restart()
    yard.clock.advance(DAY_S)
    await yard.settle()
    await yard.settle()
    assert len(yard.sent) == 1
    assert yard.events() == ["codex.login_ended", "codex.revoked"]
    assert yard.refresher.in_use(account.id) is None
    assert yard.refresher.ended == {account.id}
    assert "log in again" in str(yard.log.fields("codex.revoked")["next"])


async def test_a_kill_after_the_answer_serves_to_the_end_and_is_said_once(yard: Yard) -> None:
    """The server has rotated and nobody has the answer: the token in use is used up, then one plain sentence."""
    account = yard.imported()
    yard.issuer.harsh = True  # trying the spent one would end what still works
    yard.issuer.spend(account.refresh_token.reveal() if account.refresh_token else "")
    yard.file.update(account.id, lambda one: replace(one, spending_since=yard.clock.now()))
    for _ in range(220):
        await yard.settle()
        if yard.clock.now() < account.expires_at - 2 * HOUR_S:
            assert yard.issuer.accepts(yard.held(account.id).access_token.reveal()) is not None
            assert yard.sent == []
        yard.clock.advance(HOUR_S * 1.1)
    await yard.settle()
    await yard.settle()
    assert len(yard.sent) == 1
    assert yard.events() == ["codex.login_ended", "codex.revoked"]


async def test_a_timeout_after_sending_is_settled_by_the_other_home(yard: Yard) -> None:
    """No answer came: the mark stays, no second POST follows, and what the CLI has by then is adopted."""
    account = yard.imported()
    yard.clock.advance(9.2 * DAY_S)
    yard.meets = [RefreshFailed("transient", "timeout", "no answer", spent=True)]
    await yard.settle()
    yard.clock.advance(HOUR_S)
    await yard.settle()
    assert len(yard.sent) == 1
    assert yard.held(account.id).spending_since is not None
    yard.cli_refreshes()
    await yard.settle()
    assert yard.held(account.id).refresh_token == Secret(yard.cli_token)
    assert yard.held(account.id).spending_since is None
    assert len(yard.sent) == 1


async def test_a_kill_between_the_two_homes_is_made_good_at_the_next_start(yard: Yard) -> None:
    """Ours is written, the CLI's is not: it holds what was spent, and is given the new one with the next look."""
    account = yard.imported()
    yard.clock.advance(9.2 * DAY_S)
    other = yard.refresher._flight._other
    other.write_back = lambda *_: (_ for _ in ()).throw(VaultError("killed"))  # type: ignore[method-assign]
    await yard.settle()
    assert yard.file.find(account.id).owed is not None  # type: ignore[union-attr]
    assert not yard.issuer.works(yard.cli_token)
    yard.restart()
    await yard.settle()
    assert yard.issuer.works(yard.cli_token)
    assert yard.held(account.id).owed is None
    assert yard.issuer.spends == 1


async def test_a_full_disk_keeps_the_new_tokens_until_they_are_written(yard: Yard) -> None:
    """What was rotated is not used before it rests on the disk, and not lost while the disk takes nothing."""
    account = yard.own()
    await yard.refresher.look()
    put, fails = yard.file.replace, 3

    def full(fresh: CodexAccount, expected: Secret | None) -> bool:
        nonlocal fails
        assert yard.held(account.id).access_token == account.access_token
        if fails:
            fails -= 1
            raise VaultError("the disk is full")
        return put(fresh, expected)

    yard.file.replace = full  # type: ignore[method-assign]
    await yard.refresher.refresh(account.id)
    assert yard.events() == ["codex.not_written", "codex.refreshed"]
    assert yard.held(account.id) == yard.file.find(account.id)
    assert len(yard.sent) == 1


async def test_a_mark_that_cannot_be_written_sends_nothing(yard: Yard) -> None:
    """Where the disk takes no mark, no refresh token leaves."""
    account = yard.own()
    await yard.refresher.look()

    def full(*_: object) -> None:
        raise VaultError("the disk is full")

    yard.file.update = full  # type: ignore[assignment]
    with pytest.raises(RefreshFailed, match="full"):
        await yard.refresher.refresh(account.id)
    assert yard.sent == []


async def test_two_processes_spend_a_token_once(yard: Yard) -> None:
    """Another process renews the account: this one waits for it and takes what it wrote."""
    account = yard.own()
    await yard.refresher.look()
    lock = yard.file.spending(account.id)
    assert lock is not None
    waiting = asyncio.get_running_loop().create_task(yard.refresher.refresh(account.id))
    for _ in range(5):
        await asyncio.sleep(0.001)
    assert yard.sent == []
    status, body = yard.issuer.spend(account.refresh_token.reveal() if account.refresh_token else "")
    assert status == 200
    yard.file.put(account.renewed(tokens_of(body), yard.clock.now()))
    lock.release()
    after = await waiting
    assert after.refresh_token == Secret(body["refresh_token"])
    assert yard.sent == []


async def test_resting_waits_for_what_is_under_way_and_begins_nothing(yard: Yard) -> None:
    """In a handover one process renews: what it has begun comes to its end, and then it only reads."""
    account = yard.own()
    await yard.refresher.look()
    yard.gate = asyncio.Event()
    yard.refresher.renew(account.id, account, lambda _: None)
    for _ in range(200):
        await asyncio.sleep(0.001)
        if yard.sent:
            break
    resting = asyncio.get_running_loop().create_task(yard.refresher.rest(60.0))
    await asyncio.sleep(0)
    assert not resting.done()
    yard.gate.set()
    await resting
    assert yard.issuer.spends == 1
    yard.clock.advance(9.5 * DAY_S)
    await yard.settle()
    heard: list[bool] = []
    yard.refresher.renew(account.id, yard.held(account.id), heard.append)
    await yard.land()
    await asyncio.sleep(0)
    assert heard == [False]
    assert len(yard.sent) == 1
    with pytest.raises(RefreshFailed, match="handing over"):
        await yard.refresher.refresh(account.id)
    status, body = yard.issuer.spend(yard.held(account.id).refresh_token.reveal())  # type: ignore[union-attr]
    assert status == 200
    yard.file.put(yard.held(account.id).renewed(tokens_of(body), yard.clock.now()))  # the successor
    yard.refresher.renew(account.id, yard.held(account.id), heard.append)
    await yard.land()
    await asyncio.sleep(0)
    assert heard == [False, True]


async def test_accounts_come_and_go_with_the_file(yard: Yard) -> None:
    """What `hr` adds and removes is seen, the pool is told, and what is gone is gone."""
    account = yard.own()
    await yard.refresher.look()
    assert yard.changes == [({account.id}, True)]
    await yard.refresher.look()
    assert len(yard.changes) == 1
    assert await yard.refresher.drop(account.id)
    assert yard.changes[-1] == ({account.id}, True)
    assert yard.file.read() == ()
    assert yard.refresher.in_use(account.id) is None
    assert not await yard.refresher.drop(account.id)
    await yard.refresher.adopt(account)
    assert yard.held(account.id) == account
    assert yard.file.read() == (account,)


async def test_a_damaged_file_is_kept_aside_and_made_again_from_memory(yard: Yard) -> None:
    """Half a file loses nobody's login: it is kept, said, and what is in use is written anew."""
    account = yard.own()
    await yard.refresher.look()
    path = yard.file.path
    path.write_bytes(path.read_bytes()[:100])
    await yard.refresher.look()
    assert yard.held(account.id) == account
    assert yard.file.read() == (account,)
    assert len(list(path.parent.glob("*.damaged-*"))) == 1
    assert yard.events() == ["codex.file", "codex.restored"]
    path.write_bytes(b"{")
    yard.clock.advance(9.2 * DAY_S)
    with pytest.raises(RefreshFailed, match="damaged"):
        await yard.refresher.refresh(account.id)
    assert yard.sent == []
    await yard.refresher.adopt(replace(account, id=CredentialId("b" * 16), label="b"))
    assert len(yard.file.read()) == 2


@pytest.mark.parametrize("off_s", [-DAY_S, DAY_S])
async def test_a_clock_that_is_wrong_by_a_day_neither_loops_nor_loses(yard: Yard, off_s: float) -> None:
    """The machine's clock is a day off the issuer's: lives are counted from the answer, so it renews once and rests."""
    yard.issuer.now = lambda: yard.clock.now() + off_s
    account = yard.own(life_s=HOUR_S, route="plan")
    for _ in range(60):
        await yard.settle()
        yard.clock.advance(60)
    assert yard.issuer.spends == 1
    assert yard.issuer.accepts(yard.held(account.id).access_token.reveal()) is not None
