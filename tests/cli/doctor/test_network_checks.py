"""hermes_router/cli/doctor/network_checks.py: the judgement of ways, clocks and proxies."""

import socket
from pathlib import Path
from typing import Any

import pytest

from hermes_router.cli.doctor import network_checks as checks
from hermes_router.cli.doctor.reach import Reach, Stage
from hermes_router.control import health_types as h

from ..samples import target
from .scenes import absent, looked, scene, states, status
from .test_reach import Server, answers


def way(provider: str = "groq", **changes: Any) -> Reach:
    return Reach(h.EndpointRow(provider=provider, url="https://api.example/v1"), **changes)


@pytest.mark.parametrize(
    ("failed", "code", "cure"),
    [
        ("DNS", 0, "resolver"),
        ("TCP", 0, "HTTPS_PROXY"),
        ("proxy", 0, "NO_PROXY"),
        ("TLS", 10, "clock"),
        ("TLS", 9, "clock"),
        ("TLS", 19, "authority"),
        ("HTTP", 0, "status page"),
    ],
)
def test_each_step_that_fails_has_its_own_cure(failed: Stage, code: int, cure: str) -> None:
    """And is named."""
    found = checks.judge_reach(way(failed=failed, said="because", untrusted=code))
    assert (found.state, found.subject) == ("fault", "groq")
    assert f"{failed} fails, because" in found.said
    assert cure in found.cure


def test_a_way_that_works_shows_its_times() -> None:
    """A slow one is a warning; what only the daemon can pass is not judged."""
    found = checks.judge_reach(way(took_ms={"DNS": 3, "TCP": 20, "TLS": 40, "HTTP": 50}))
    assert (found.state, found.said) == ("ok", "groq: DNS 3 ms, TCP 20 ms, TLS 40 ms, HTTP 50 ms")
    assert checks.judge_reach(way(took_ms={"DNS": 2900, "TCP": 200})).state == "warning"
    assert checks.judge_reach(way(failed="proxy", untrusted=-1)).state == "skipped"
    assert [checks.judge_reach(way(status=status)).state for status in (200, 404, 500, 503)] == [
        "ok", "ok", "ok", "warning",
    ]  # fmt: skip


def test_nothing_reached_at_all_is_one_thing(tmp_path: Path) -> None:
    """This machine is offline: said first, then each way."""
    rows = [h.EndpointRow(provider=name, url=f"https://{name}.invalid/v1") for name in ("groq", "mistral")]
    found = checks.network(scene(tmp_path, said={"endpoints": rows}))
    assert "offline" in found[0].said  # type: ignore[index]
    assert len(found) == 3  # type: ignore[arg-type]
    assert looked(checks.network, scene(tmp_path)).state == "skipped"


def test_one_that_is_not_reached_while_another_is(tmp_path: Path) -> None:
    """A warning: the other serves meanwhile."""
    there = Server(answers("HTTP/1.1 404 Not Found\n\n"))
    rows = [
        h.EndpointRow(provider="groq", url=f"http://127.0.0.1:{there.port}/v1"),
        h.EndpointRow(provider="mistral", url="https://mistral.invalid/v1"),
    ]
    assert states(checks.network, scene(tmp_path, said={"endpoints": rows})) == ["ok", "warning"]
    there.close()


def test_a_local_server_up_down_empty_and_none(tmp_path: Path) -> None:
    """With the windows that are known of its models."""

    def at(port: int) -> Any:
        rows = [h.EndpointRow(provider="local", url=f"http://127.0.0.1:{port}/v1", keyless=True)]
        windows = status(targets=[target("local", "llama", context=32_768)])
        return scene(tmp_path, said={"endpoints": rows}, status=windows)

    up = Server(answers('HTTP/1.1 200 OK\n\n{"data": [{"id": "llama"}]}'))
    found = looked(checks.local_servers, at(up.port))
    assert (found.state, "llama 32.8k" in found.said) == ("ok", True)
    up.close()
    assert looked(checks.local_servers, at(up.port)).state == "fault"
    empty = Server(answers('HTTP/1.1 200 OK\n\n{"data": []}'))
    assert looked(checks.local_servers, at(empty.port)).state == "warning"
    empty.close()
    other = Server(answers("HTTP/1.1 404 Not Found\n\n<html>"))
    assert looked(checks.local_servers, at(other.port)).state == "warning"
    other.close()
    assert looked(checks.local_servers, scene(tmp_path)).state == "skipped"


@pytest.mark.parametrize(
    ("offsets", "state", "word"),
    [
        ([1.0, -2.0], "ok", ""),
        ([29.0], "ok", ""),
        ([45.0, 46.0], "warning", "behind"),
        ([-7200.0], "warning", "ahead"),
        ([1.0, 2.0, 9000.0], "ok", ""),  # one of them is wrong, not we
        ([], "skipped", ""),
    ],
)
def test_the_clock_is_judged_by_what_most_say(offsets: list[float], state: str, word: str) -> None:
    """More than 30 seconds off is a warning, with the way it is off."""
    found = checks.judge_clock(offsets)
    assert found.state == state
    assert word in found.said


def test_the_clock_is_read_from_a_providers_answer(tmp_path: Path) -> None:
    """A real answer with a Date of long ago."""
    there = Server(answers("HTTP/1.1 200 OK\nDate: Sat, 21 Nov 2015 13:00:00 GMT\n\n"))
    rows = [h.EndpointRow(provider="groq", url=f"http://127.0.0.1:{there.port}/v1")]
    found = looked(checks.clock, scene(tmp_path, said={"endpoints": rows}))
    assert (found.state, "ahead" in found.said) == ("warning", True)
    there.close()


def test_a_proxy_is_tried(tmp_path: Path) -> None:
    """One that listens is well; one that does not is a fault, told without a password."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert looked(checks.proxy, scene(tmp_path, said={"proxies": {"HTTPS_PROXY": address}})).state == "ok"
    found = looked(checks.proxy, scene(tmp_path, said={"proxies": {"HTTPS_PROXY": address}}))
    assert (found.state, address in found.said) == ("fault", True)
    assert looked(checks.proxy, scene(tmp_path)).state == "ok"


def test_a_proxy_of_the_shell_that_the_daemon_lacks(tmp_path: Path) -> None:
    """Advice; where no daemon runs nobody lacks it."""
    environ = {"https_proxy": "http://ada:canary@proxy:3128"}
    found = looked(checks.proxy, scene(tmp_path, environ=environ))
    assert (found.state, found.subject) == ("advice", "HTTPS_PROXY")
    assert "canary" not in found.said + found.cure
    assert states(checks.proxy, absent(tmp_path, environ=environ)) == ["ok"]


def test_callers_that_would_ask_a_proxy_for_the_router() -> None:
    """HTTP_PROXY without NO_PROXY for this machine; HTTPS_PROXY alone concerns no plain address."""
    assert checks.judge_no_proxy({}).state == "ok"
    assert checks.judge_no_proxy({"HTTPS_PROXY": "http://p:1"}).state == "ok"
    assert checks.judge_no_proxy({"HTTP_PROXY": "http://p:1"}).state == "advice"
    assert checks.judge_no_proxy({"http_proxy": "http://p:1", "NO_PROXY": "localhost, 127.0.0.1"}).state == "ok"
    assert checks.judge_no_proxy({"ALL_PROXY": "socks5://p:1", "no_proxy": "example.com"}).state == "advice"
