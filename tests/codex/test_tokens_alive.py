"""Accounts of a whole router: an access token ends in the middle of traffic, and no caller sees it."""

import asyncio
from pathlib import Path

import pytest

from .backend import Account
from .estate import Estate, requests_wanted

DAY_S = 86_400.0


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)


async def test_many_requests_across_an_expiry_are_one_renewal(tmp_path: Path) -> None:
    """CP-11: the token ends while they come: one refresh, every one of them answered, each refused at most once."""
    number = requests_wanted(150)
    estate = Estate(tmp_path)
    account = estate.own()
    async with estate:
        people, accept = estate.people, estate.backend.accept

        def accept_until_it_ends(token: str) -> Account | None:
            if "acc-1" in people and people["acc-1"].served >= number // 3:
                estate.issuer.now = lambda: account.expires_at + 5.0  # it has ended, by the server's clock
            return accept(token)

        estate.backend.accept = accept_until_it_ends

        async def one(index: int) -> int:
            status, text, _ = await estate.chat(f"say {index}", stream=index % 2 == 0)
            assert status != 200 or "choices" in text
            return status

        statuses = await asyncio.gather(*(one(index) for index in range(number)))
        assert statuses == [200] * number
        assert estate.issuer.spends == 1
        assert estate.issuer.refusals == []
        assert len(estate.auth.requests) == 1
        assert estate.people["acc-1"].served == number
        renewed = [fields for event, fields in estate.log.lines if event == "codex.refreshed"]
        assert len(renewed) == 1
        failed = [fields for event, fields in estate.log.lines if event == "attempt.failed"]
        assert failed == []
        assert estate.file.read()[0].access_token != account.access_token
        refused = len(estate.backend.refused)
        assert 0 < refused < number
        print(f"{number} requests, {refused} met a 401 and were asked again, 1 refresh, 0 failed")


async def test_a_caller_who_leaves_does_not_cut_a_renewal(tmp_path: Path) -> None:
    """The request is cancelled while the server thinks: what it rotates is on the disk all the same."""
    estate = Estate(tmp_path)
    account = estate.own()
    async with estate:
        estate.auth.fails = "hang_after"
        estate.issuer.now = lambda: account.expires_at + 5.0
        asking = asyncio.get_running_loop().create_task(estate.chat())
        for _ in range(500):
            await asyncio.sleep(0.01)
            if estate.auth.requests:
                break
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        estate.auth.released.set()
        await estate.accounts.rest()
        assert estate.issuer.spends == 1
        token = estate.file.read()[0].refresh_token
        assert token is not None
        assert estate.issuer.works(token.reveal())


async def test_a_login_that_has_ended_fails_over_and_is_shown(tmp_path: Path) -> None:
    """401, and the refresh is refused for good: the next account answers, and status says `revoked` with what to do."""
    estate = Estate(tmp_path)
    first = estate.own("acc-1", label="first")
    estate.own("acc-2", label="second")
    async with estate:
        family = estate.issuer.families[0]
        family.ended = "refresh_token_invalidated"
        statuses = [(await estate.chat(f"q{number}"))[0] for number in range(6)]
        assert statuses == [200] * 6
        assert estate.people["acc-2"].served == 6
        assert len(estate.auth.requests) == 1
        estate.clock.advance(11 * DAY_S)
        await estate.accounts.refresher.look()
        rows = {row["account"]: row["state"] for row in await estate.targets() if row["model"] == "gpt-5.5"}
        assert rows["codex:first"] == "revoked"
        assert estate.accounts.refresher.in_use(first.id) is None
        ended = [fields for event, fields in estate.log.lines if event == "codex.login_ended"]
        assert [fields["account"] for fields in ended] == ["first"]
        assert "rt_" not in str(estate.log.lines)


async def test_a_server_that_hangs_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """The authorisation server gives no answer: after half a minute the next account is asked."""
    estate = Estate(tmp_path)
    estate.own("acc-1")
    estate.own("acc-2")
    async with estate:
        estate.auth.fails = "hang"
        alive = estate.issuer.accepts
        ended = estate.file.read()[0].access_token.reveal()
        estate.issuer.accepts = lambda token: None if token == ended else alive(token)  # type: ignore[method-assign]

        async def hurry() -> None:
            while True:
                await asyncio.sleep(0.02)
                if estate.auth.requests:
                    estate.clock.advance(5.0)
                    estate.daemon.engine.sweeper.sweep()

        hurrying = asyncio.get_running_loop().create_task(hurry())
        for number in range(4):
            assert (await estate.chat(f"q{number}"))[0] == 200
        hurrying.cancel()
        estate.auth.released.set()
        assert estate.people["acc-2"].served == 4


async def test_an_account_that_comes_is_served_with_and_one_that_goes_is_not(tmp_path: Path) -> None:
    """The pool follows the file: no restart, no reload."""
    estate = Estate(tmp_path)
    account = estate.own("acc-1")
    async with estate:
        count = len(await estate.targets())
        assert count >= 1
        second = estate.own("acc-2")
        await estate.accounts.refresher.look()
        assert len(await estate.targets()) == 2 * count
        await estate.accounts.refresher.drop(account.id)
        assert len(await estate.targets()) == count
        assert (await estate.chat())[0] == 200
        assert estate.people["acc-2"].served == 1
        assert [one.id for one in estate.daemon.loaded.accounts] == [second.id]


async def test_the_task_renews_an_imported_login_ahead_and_writes_it_back(tmp_path: Path) -> None:
    """Nobody asks anything: about a day before the end both homes hold new tokens, and no log line shows one."""
    estate = Estate(tmp_path)
    account = estate.imported()
    async with estate:
        estate.clock.advance(9.2 * DAY_S)
        estate.daemon.start_tasks()
        for _ in range(500):
            await asyncio.sleep(0.01)
            if any(event == "codex.refreshed" for event, _ in estate.log.lines):
                break
        assert estate.log.fields("codex.refreshed")["written_back"] is True
        ours = estate.file.read()[0]
        assert ours.refresh_token is not None
        assert ours.refresh_token.reveal() in estate.cli.read_text()
        assert estate.issuer.works(ours.refresh_token.reveal())
        assert ours.access_token != account.access_token
        assert (await estate.chat())[0] == 200
