"""`hr conformance` against the real llama.cpp server, and against a daemon of ours in front of it."""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.real_model

HR = [sys.executable, "-P", "-c", "import sys; from hermes_router.cli.main import main; sys.exit(main())"]
ANSWER_S = 1200.0
DIALECTS = ["chat", "messages", "responses"]


def conform(url: str, *options: str) -> tuple[int, Any]:
    """The exit code, and what `--json` said; the page for a person is printed beside it."""
    done = subprocess.run(
        [*HR, "conformance", url, "--json", *options], capture_output=True, text=True, timeout=ANSWER_S, check=False
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    print(f"\n{url}, model {found['model']}, {found['requests']} requests")
    for name, told in found["dialects"].items():
        print(f"  {name:10} " + ", ".join(f"{value} {word}" for word, value in told.items() if word != "spoken"))
    for one in found["checks"]:
        if one["outcome"] != "pass":
            print(f"  {one['outcome']:6} {one['dialect']:10} {one['id']}: {one['why']}")
    return done.returncode, found


def test_llama_cpp_is_told_what_it_does_not_keep(llama: Any) -> None:
    """A server of somebody else's is held to all three dialects: most of it passes, and what fails says why."""
    code, found = conform(llama.url)
    assert found["model"] == llama.model
    assert [name for name, told in found["dialects"].items() if told["spoken"]][:3] == DIALECTS
    failed = [one for one in found["checks"] if one["outcome"] == "fail"]
    assert code == (1 if failed else 0)
    assert all(one["why"] and one["curl"] for one in failed)
    passed = [one for one in found["checks"] if one["outcome"] == "pass"]
    assert len(passed) > len(found["checks"]) / 2


def test_our_daemon_in_front_of_it_fails_nothing(router: Any) -> None:
    """What the server does not keep, we keep for it, or say plainly that it is not to be had."""
    code, found = conform(router.url, "--key", "sk-router-1")
    assert [one for one in found["checks"] if one["outcome"] == "fail"] == []
    assert code == 0
    assert [name for name, told in found["dialects"].items() if told["spoken"]][:3] == DIALECTS
