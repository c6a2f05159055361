"""The fetcher of images, made when the first is wanted, with the judge and the proxies that are in force."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from hermes_router.core.ids import RouterKeyId
from hermes_router.core.images import Fault, Unfit
from hermes_router.core.settings import Settings
from hermes_router.daemon.images import LateImages
from hermes_router.daemon.wiring import Daemon
from hermes_router.upstream import images as module

from ..fakes import Clock


async def test_the_real_judge_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is refused; the fetcher is made once, with the owner's proxies."""
    made: list[dict[str, Any]] = []
    usual = module.StrangersImages

    def make(*args: Any, **given: Any) -> Any:
        made.append(given)
        return usual(*args, **given)

    monkeypatch.setattr(module, "StrangersImages", make)
    settings = Settings(https_proxy="http://127.0.0.1:1", no_proxy=("x.test",))
    late = LateImages(asyncio.get_running_loop(), Clock(), settings)
    assert made == []
    for _ in range(2):
        heard: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        late.fetch({"http://127.0.0.1:9/a": 1}, RouterKeyId("k"), heard.set_result, max_bytes=100)
        found = await asyncio.wait_for(heard, 10)
        assert found == Unfit("http://127.0.0.1:9/a", Fault.UNREACHABLE, "an address that is not allowed")
    (given,) = made
    assert (given["https_proxy"], given["http_proxy"], given["no_proxy"]) == ("http://127.0.0.1:1", None, ("x.test",))


async def test_the_end_closes_what_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """And makes nothing for that."""
    closed: list[bool] = []
    monkeypatch.setattr(module.StrangersImages, "close", lambda _: closed.append(True))
    late = LateImages(asyncio.get_running_loop(), Clock(), Settings())
    late.close()
    assert closed == []
    late.fetch({}, RouterKeyId("k"), lambda _: None, max_bytes=100).abort()
    late.close()
    assert closed == [True]


async def test_every_daemon_has_one_and_imports_it_when_it_is_switched_on(
    office: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its start, and when a reload switches it on; not before."""
    brought: list[str] = []

    async def bring_in() -> None:
        brought.append("images")

    monkeypatch.setattr("hermes_router.daemon.deferred.bring_in_images", bring_in)
    here = await office()
    daemon: Daemon = here.daemon
    assert isinstance(daemon.engine.images, LateImages)
    daemon.start_tasks()
    daemon.swap(daemon.loaded)
    await asyncio.sleep(0)
    assert brought == []
    on = structs.replace(daemon.loaded, settings=structs.replace(daemon.loaded.settings, fetch_images=True))
    daemon.swap(on)
    await asyncio.sleep(0)
    assert brought == ["images"]
    await daemon.make_ready()
    assert brought == ["images", "images"]
