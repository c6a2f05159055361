"""service/docker/: no engine is asked; what the image would run is run as it would be, and the rest is read."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes_router.core.settings import Settings

from ..whole.home import free_port
from .recipe import DOCKER, compose, image

UID = 8319
PATIENCE_S = 30.0
KEY = "sk-a-key-of-the-test"
# Nothing that root may is left, but to look into directories: the interpreter of the tests may lie in root's home.
AS_USER = (
    "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs", "--bounding-set=-all,+dac_read_search",
    "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
)  # fmt: skip


@pytest.fixture
def container(installed: Path) -> Iterator[dict[str, str]]:
    """The image's environment, with /data an empty directory of its user's, and a free port."""
    data = Path(tempfile.mkdtemp(prefix="hr-data-"))
    if os.geteuid() == 0:
        os.chown(data, UID, UID)
    env = {name: value.replace("/data", str(data), 1) for name, value in image().env.items()}
    env["PATH"] = f"{installed}:/usr/bin:/bin"
    yield {**env, "PORT": str(free_port())}
    shutil.rmtree(data)


def _command(installed: Path, words: list[str]) -> list[str]:
    """As the image's user, where we may become it."""
    words = [str(installed / words[0]), *words[1:]]
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return words
    return [*AS_USER, *words]


def test_it_does_not_start_with_the_well_known_key(container: dict[str, str], installed: Path) -> None:
    """All addresses and no key of one's own: it ends at once, and says what to set."""
    done = subprocess.run(
        _command(installed, image().command), env=container, cwd=container["HOME"], capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "set PROXY_API_KEYS" in done.stderr


def test_it_serves_is_healthy_and_stops(container: dict[str, str], installed: Path) -> None:
    """As an unprivileged user with one directory: the health check passes, all files are below it, SIGTERM ends it."""
    environ = {**container, "PROXY_API_KEYS": KEY}
    process = subprocess.Popen(
        _command(installed, image().command), env=environ, cwd=container["HOME"], stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _healthy(environ, installed):
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
        data = Path(container["HOME"])
        written = [one for one in data.rglob("*") if one.is_file()]
        assert {"state.db", "daemon.lock"} <= {one.name for one in written}
        assert all(one.stat().st_mode & 0o077 == 0 for one in written)
        if os.geteuid() == 0:
            assert {one.stat().st_uid for one in written} == {UID}
        ran = subprocess.run(
            _command(installed, ["hr", "status", "--json"]), env=environ, capture_output=True, timeout=PATIENCE_S,
            check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        process.send_signal(signal.Signals[image().said["STOPSIGNAL"]])
        assert process.wait(PATIENCE_S) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate()
    assert not _healthy(environ, installed)


def _healthy(environ: dict[str, str], installed: Path) -> bool:
    proxied = {**environ, "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(
        _command(installed, image().health), env=proxied, capture_output=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode == 0


def test_the_image_is_what_it_should_be() -> None:
    """Slim, in two stages, not root, one volume; what it is built from is in the tree and let into the build."""
    found = image()
    assert found.stages == 2
    assert found.base == "python:3.13-slim"
    assert found.said["USER"] == f"{UID}:{UID}"
    assert found.said["VOLUME"] == found.env["HOME"] == "/data"
    assert all(found.env[f"XDG_{one}_HOME"].startswith("/data/") for one in ("CONFIG", "DATA", "STATE", "CACHE"))
    assert "PROXY_API_KEYS" not in found.env
    let_in = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    for words in found.copied[:-1]:
        for source in words[:-1]:
            assert (DOCKER.parents[1] / source).exists(), source
            assert f"!{source}" in let_in


def test_the_compose_file_is_what_it_should_be() -> None:
    """A key is demanded, nothing is open but loopback, nothing may be written or gained, and a stop has time to drain."""
    found = compose()
    service = found["services"]["hermes-router"]
    assert service["environment"]["PROXY_API_KEYS"].startswith("${PROXY_API_KEYS:?")
    assert service["ports"] == [f"127.0.0.1:{Settings().port}:{Settings().port}"]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == ["data:/data"]
    assert found["volumes"] == {"data": {}}
    drain = int(service["environment"]["DRAIN_SECONDS"])
    assert int(service["stop_grace_period"].removesuffix("s")) > drain == Settings().drain_s
    assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
