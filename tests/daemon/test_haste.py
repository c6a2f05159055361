"""hermes_router/daemon/haste.py: a start that reads nothing in vain, and leaves nothing changed behind it."""

import gc
import os
import subprocess
import sys

import pytest

from hermes_router.daemon import life

_PROBE = """
import gc, os, sys
from hermes_router.daemon.haste import hurry
hurry()
import ssl
from aiohttp import connector
print(gc.isenabled(), os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
print(len(connector._SSL_CONTEXT_VERIFIED.get_ca_certs()), connector._SSL_CONTEXT_VERIFIED.verify_mode.name)
print([name for name in sys.modules if name.startswith("hermes_router.") and not name.startswith("hermes_router.daemon")])
"""


def _probe(**environ: str) -> list[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environ}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("said", [{}, {"SSL_CERT_FILE": "/x/own.pem"}, {"SSL_CERT_FILE": "/x", "SSL_CERT_DIR": "/y"}])
def test_the_owners_certificates_are_where_they_were(said: dict[str, str]) -> None:
    """What the environment says of certificates is as it was; what aiohttp holds of its own trusts nobody."""
    environment, own, ours = _probe(**said)
    assert environment == f"False {said.get('SSL_CERT_FILE')} {said.get('SSL_CERT_DIR')}"
    assert own == "0 CERT_REQUIRED"
    assert ours == "[]"  # it comes before all other imports


def test_the_collector_is_on_again_once_all_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or garbage in cycles would never be found."""
    before = gc.get_threshold()
    monkeypatch.setattr(gc, "freeze", lambda: None)
    gc.disable()
    try:
        life._settle_memory()
        assert gc.isenabled()
        assert gc.get_threshold()[0] == 10_000
    finally:
        gc.set_threshold(*before)
        gc.enable()
