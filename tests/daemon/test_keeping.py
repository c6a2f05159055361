"""hermes_router/daemon/keeping.py: what a new generation changes of the log."""

import os
from pathlib import Path

from hermes_router.control.places import Places
from hermes_router.daemon.config import load
from hermes_router.daemon.keeping import Keeping
from hermes_router.daemon.logs.outlet import Outlet


def test_a_generation_changes_level_and_form_and_says_what_changed(tmp_path: Path) -> None:
    """By name, never by value; the same generation again says nothing."""
    places = Places(tmp_path, tmp_path, tmp_path, tmp_path / ".env", tmp_path / "s")
    environ = {"HOME": str(tmp_path), "LOG_LEVEL": "warning", "SECRET_STORE": "file"}
    keeping = Keeping(places, environ)
    reader, writer = os.pipe()
    try:
        out = Outlet(writer)
        first = load(places, environ, stored=keeping.store)
        log = keeping.open_log(first, out, environ)
        log.info("a.b")
        keeping.follow(first)
        changed = load(places, environ | {"LOG_LEVEL": "info", "LOG_FORMAT": "json", "GROQ_API_KEY": "gsk_0123456789"})
        keeping.follow(changed)
        log.info("a.b", said="gsk_0123456789")
        lines = os.read(reader, 10_000).decode().splitlines()
    finally:
        os.close(reader)
        os.close(writer)
    assert [line.partition(",")[2] for line in lines] == [
        '"level":"info","event":"config.changed","changed":"GROQ_API_KEY, LOG_FORMAT, LOG_LEVEL"}',
        '"level":"info","event":"a.b","said":"***"}',
    ]


def test_secrets_that_left_are_hidden_up_to_a_bound(tmp_path: Path) -> None:
    """The last 200 that left, in the order in which they did, and every one in force however long ago it came."""
    places = Places(tmp_path, tmp_path, tmp_path, tmp_path / ".env", tmp_path / "s")
    environ = {"HOME": str(tmp_path), "SECRET_STORE": "file", "MISTRAL_API_KEY": "m-stays-0123456789"}
    keeping = Keeping(places, environ)
    for number in range(250):
        keeping.follow(load(places, environ | {"GROQ_API_KEY": f"minted-{number:06}"}, stored=keeping.store))
    hidden = [number for number in range(250) if "***" in keeping.clean(f"a minted-{number:06} b")]
    assert hidden == list(range(49, 250))  # 200 that left, and the one in force
    assert keeping.clean("m-stays-0123456789") == "***"
