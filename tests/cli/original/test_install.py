"""hermes_router/cli/original/install.py: where the original router lies, and whether it runs."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_router.cli.original import install as original
from hermes_router.cli.original.install import Original, Process, at, beside, find, looks_original, processes, runs


@pytest.fixture(autouse=True)
def _nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """What else runs on this machine is none of these tests' business."""
    monkeypatch.setattr(original, "_PORT", 1)
    monkeypatch.setattr(original, "_UNITS", ())


def look(tmp_path: Path, **environ: str) -> list[Original]:
    found = find(environ, home=tmp_path / "home", ours=tmp_path / "ours/.env")
    return [one for one in found if tmp_path in one.directory.parents]


def make(directory: Path, env: str | None = "CACHE_TTL_SECONDS=1\n", auth: Any = None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    if env is not None:
        (directory / ".env").write_text(env)
    if auth is not None:
        (directory / "auth.json").write_text(auth if isinstance(auth, str) else json.dumps(auth))
    return directory


# --- where ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["home/hermes-router", "home/.hermes-router", "home/.local/share/hermes-router"])
def test_it_is_found_in_the_usual_places(tmp_path: Path, place: str) -> None:
    """The home directory's usual names, and where its installer puts it."""
    directory = make(tmp_path / place, auth={"providers": {}})
    assert look(tmp_path) == [Original(directory, directory / ".env", directory / "auth.json")]


def test_the_current_directory_is_pointed_out_and_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever filled it may be a stranger: it is no find; what was found anyway, and a project, are not pointed out."""
    here = make(tmp_path / "cloned", "CACHE_TTL_SECONDS=1\nGROQ_BASE_URL=http://evil.test/v1\n")
    monkeypatch.chdir(here)
    assert look(tmp_path) == []
    assert beside(here, [], tmp_path / "ours/.env") == here
    assert beside(here, [at(here)], tmp_path / "ours/.env") is None
    assert beside(make(tmp_path / "project", "OPENAI_API_KEY=sk-1\n"), [], tmp_path / "ours/.env") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("what", [".", ".env", "auth.json"])
def test_what_belongs_to_another_user_is_passed_over(tmp_path: Path, what: str) -> None:
    """A directory or a file of a stranger's could say where our keys go; named, it is taken all the same."""
    directory = make(tmp_path / "home/hermes-router", auth={"providers": {}})
    assert len(look(tmp_path)) == 1
    os.chown(directory / what, 1500, 1500)
    assert look(tmp_path) == []
    assert at(directory).env is not None


def test_in_a_place_of_its_name_a_key_is_enough(tmp_path: Path) -> None:
    """Whoever keeps only keys there is found; the same file anywhere else is a project's."""
    directory = make(tmp_path / "home/hermes-router", "GROQ_API_KEYS=a,b\n")
    other = make(tmp_path / "other", "GROQ_API_KEYS=a,b\n")
    assert not looks_original(other)
    assert look(tmp_path) == [Original(directory, directory / ".env", None)]


def test_variables_name_it_too(tmp_path: Path) -> None:
    """Both files of one directory are one installation; what does not exist is not found."""
    directory = make(tmp_path / "a", auth="{}")
    found = look(tmp_path, HR_ENV_FILE=str(directory / ".env"), ROUTER_AUTH_FILE=str(directory / "auth.json"))
    assert found == [Original(directory, directory / ".env", directory / "auth.json")]
    assert look(tmp_path, HR_ENV_FILE=str(tmp_path / "nowhere")) == []
    other = make(tmp_path / "b")
    assert look(tmp_path, HERMES_ROUTER_DIR=str(other)) == [Original(other, other / ".env", None)]


def test_its_unit_names_it_and_ours_does_not(tmp_path: Path) -> None:
    """Both are called hermes-router.service; only the original's starts a script."""
    directory = make(tmp_path / "srv")
    units = tmp_path / "home/.config/systemd/user"
    units.mkdir(parents=True)
    unit = units / "hermes-router.service"
    unit.write_text(f"[Service]\nWorkingDirectory={directory}\nExecStart=/usr/bin/python3 -P -m hermes_router.daemon\n")
    assert look(tmp_path) == []
    unit.write_text(f"[Service]\nWorkingDirectory={directory}\nExecStart=/srv/venv/bin/python {directory}/router.py\n")
    assert look(tmp_path) == [Original(directory, directory / ".env", None)]
    unit.rename(units / "mine.service")
    assert look(tmp_path) == []
    assert len(look(tmp_path, HERMES_ROUTER_SERVICE="mine")) == 1


@pytest.mark.parametrize("env", ["OPENAI_API_KEY=sk-1\nDATABASE_URL=x\n", "", "# CACHE_TTL_SECONDS=300\n"])
def test_a_projects_env_is_none_of_our_business(tmp_path: Path, env: str) -> None:
    """A `.env` counts only with a setting of the original's, an `auth.json` only with a table of its."""
    assert not looks_original(make(tmp_path / "p", env, auth={"tokens": {}}))


def test_a_place_that_cannot_be_looked_at_is_none(tmp_path: Path) -> None:
    """Another user's directory, or a name that the system does not take: no error."""
    assert not looks_original(tmp_path / ("x" * 300))
    assert look(tmp_path, HERMES_ROUTER_DIR=str(tmp_path / ("x" * 300)), HR_ENV_FILE="y" * 300) == []


def test_a_damaged_auth_json_is_still_its_own(tmp_path: Path) -> None:
    """So that it is named instead of being passed over."""
    assert looks_original(make(tmp_path / "p", None, auth='{"providers": {}, "proxy_keys": {"a'))


def test_our_own_env_is_no_file_of_its(tmp_path: Path) -> None:
    """Also where the configuration directory is the current one, or is named like the original's."""
    ours = make(tmp_path / "ours", "ROTATION_MODE=rr\n")
    assert look(tmp_path, HERMES_ROUTER_DIR=str(ours)) == []
    assert beside(ours, [], ours / ".env") is None


def test_a_named_file_is_taken_as_it_is(tmp_path: Path) -> None:
    """A directory with its files, a JSON file, any other file; what is not there raises."""
    directory = make(tmp_path / "p", "X=1\n", auth="{}")
    assert at(directory) == Original(directory, directory / ".env", directory / "auth.json")
    assert at(directory / "auth.json") == Original(directory, None, directory / "auth.json")
    assert at(directory / ".env") == Original(directory, directory / ".env", None)
    with pytest.raises(FileNotFoundError):
        at(tmp_path / "nowhere")


# --- whether it runs ------------------------------------------------------------------------------------


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(directory: Path, *argv: str) -> subprocess.Popen[bytes]:
        (directory / "router.py").write_text("import time\ntime.sleep(600)\n")
        running.append(subprocess.Popen([sys.executable, *argv], cwd=directory))
        deadline = time.monotonic() + 10
        while b"router.py" not in Path(f"/proc/{running[-1].pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")


@pytest.mark.parametrize("absolute", [True, False])
def test_its_process_is_seen_and_leads_to_its_files(tmp_path: Path, started: Any, absolute: bool) -> None:
    """By its script's name, and only where its files lie beside it; its directory is then a place."""
    directory = make(tmp_path / "somewhere")
    process = started(directory, str(directory / "router.py") if absolute else "router.py")
    assert runs([]) == f"process {process.pid} runs it"
    assert look(tmp_path) == [Original(directory, directory / ".env", None)]


def test_another_programs_router_is_not_it(tmp_path: Path, started: Any) -> None:
    """A `router.py` without the original's files beside it is anybody's."""
    directory = make(tmp_path / "web", "SECRET=1\n")
    process = started(directory, "router.py")
    assert process.pid in {one.pid for one in processes()}
    assert str(process.pid) not in runs([at(directory)])


def test_the_pid_that_it_noted_counts_while_it_lives(tmp_path: Path, started: Any) -> None:
    """A number that no process has, or another program's, or none at all, proves nothing."""
    directory = make(tmp_path / "p")
    noted = directory / "router.pid"
    for text in ("", "x", "0x1", "99999999999999999999", "4194304", str(os.getpid())):
        noted.write_text(text)
        assert runs([at(directory)]) == ""
    elsewhere = make(tmp_path / "web", "SECRET=1\n")
    noted.write_text(f"{started(elsewhere, 'router.py').pid}\n")
    assert "router.pid" in runs([at(directory)])


def answering(body: bytes) -> http.server.HTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


@pytest.mark.parametrize(
    ("body", "is_it"),
    [(b'{"status": "ok", "providers": ["groq"]}', True), (b'{"status": "ok"}', False), (b"<html>", False)],
)
def test_its_port_tells_it_by_what_it_says(tmp_path: Path, body: bytes, is_it: bool) -> None:
    """The original's /health lists its providers; ours does not, and a web page is neither."""
    server = answering(body)
    try:
        directory = make(tmp_path / "p", f"CACHE_TTL_SECONDS=1\nPORT={server.server_port}\n")
        said = runs([at(directory)])
    finally:
        server.shutdown()
        server.server_close()
    assert said == (f"it answers on port {server.server_port}" if is_it else "")


def test_without_proc_the_list_of_processes_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on macOS: what `ps` says of each, a script's path included."""
    listed = b"  1     0 /sbin/init\n 77   501 /usr/bin/python3 /opt/hermes-router/router.py\n  x y\n\n"

    def ps(*_args: Any, **_kwargs: Any) -> Any:
        return subprocess.CompletedProcess([], 0, listed, b"")

    monkeypatch.setattr(subprocess, "run", ps)
    (one,) = processes(tmp_path)
    assert one == Process(77, ["/usr/bin/python3", "/opt/hermes-router/router.py"], None, 501)


def test_somebody_elses_original_is_no_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root sees all processes, and is not to take what is another's; that it runs counts all the same."""
    directory = make(tmp_path / "theirs")
    one = Process(77, ["python3", "router.py"], directory, os.geteuid() + 1)
    monkeypatch.setattr(original, "processes", lambda: iter([one]))
    assert look(tmp_path) == []
    assert runs([]) == "process 77 runs it"
