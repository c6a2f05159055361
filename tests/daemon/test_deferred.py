"""hermes_router/daemon/deferred.py: a start does without what nothing needs yet, and nobody waits for it later."""

import subprocess
import sys

from hermes_router.daemon import deferred
from hermes_router.wire.rejection import judge

LATER = ["hermes_router.wire.rejection.judge", "hermes_router.daemon.desks.login", "hermes_router.core.sign_in"]


def _loaded(then: str) -> str:
    code = f"import sys, asyncio, hermes_router.daemon.__main__ as m\n{then}\nprint([n for n in {LATER} if n in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_start_imports_neither_the_judges_of_refusals_nor_the_logins() -> None:
    """They are a twentieth of its time."""
    assert _loaded("") == "[]"


def test_all_of_it_is_there_before_it_is_needed() -> None:
    """A moment after the start, without a request: an upgrade may put other files in their places then."""
    then = "async def soon(s): assert s == m.deferred.AFTER_S\nasyncio.run(m.deferred.bring_in(sleep=soon))"
    assert _loaded(then) == f"{LATER}"


def test_who_needs_one_sooner_gets_it() -> None:
    """Refusals are judged as ever."""
    head = {"retry-after": "7"}
    assert type(deferred.classify("generic", 429, head, b"{}", 0.0)) is type(
        judge.classify("generic", 429, head, b"{}", 0.0)
    )
    found = deferred.in_band("generic", {"code": 429, "message": "slow down"}, 0.0)
    assert type(found) is type(judge.in_band("generic", {"code": 429, "message": "slow down"}, 0.0))


IMAGES = ["hermes_router.upstream.images", "hermes_router.engine.pictures", "hermes_router.wire.inlining"]


def test_what_fetches_images_is_imported_only_where_they_may_be_fetched() -> None:
    """Neither a start nor the moment after it brings it in; a daemon that may fetch has all of it before it is needed."""
    then = "async def soon(s): pass\nasyncio.run(m.deferred.bring_in(sleep=soon))"
    code = "import sys, asyncio, hermes_router.daemon.__main__ as m\n{}\nprint([n for n in {} if n in sys.modules])"
    for more, there in (("", []), ("\nasyncio.run(m.deferred.bring_in_images())", IMAGES)):
        ran = [sys.executable, "-c", code.format(then + more, IMAGES)]
        assert subprocess.run(ran, capture_output=True, text=True, check=True).stdout.strip() == f"{there}"
