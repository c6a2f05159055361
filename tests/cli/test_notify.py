"""`hr notify`: what is shown of the ways, what a test says, and how it ends."""

import json

import pytest

from hermes_router.control import notify_types as n
from hermes_router.engine.alerts import KINDS

from .samples import NOW

WAYS = [
    n.NotifyWayRow(way="url", shown="https://ntfy.sh/…", source="/home/ada/.config/hermes-router/.env:3"),
    n.NotifyWayRow(way="command", shown="tell", source="environment", failing="it ended with status 1", unsent=2),
]
NOTHING = n.Notify(ways=[], kinds=[n.NotifyKindRow(kind=k.name, title=k.title, about=[]) for k in KINDS.values()])


def told() -> n.Notify:
    kinds = [
        n.NotifyKindRow(
            kind="pool_down", title=KINDS["pool_down"].title, about=[], told_at=NOW - 7_200, over_at=NOW - 3_600
        ),
        n.NotifyKindRow(
            kind="key_revoked", title=KINDS["key_revoked"].title, about=["The groq key …2f9a"], told_at=NOW - 600
        ),
    ]
    return n.Notify(ways=WAYS, kinds=kinds)


@pytest.mark.parametrize("command", [["notify"], ["notify", "status"]])
def test_ways_and_what_was_told(serve, hr, command: list[str]) -> None:
    """Where it goes, what fails and waits, what is not over, and when each was told."""
    serve({"GET /v1/notify": told()})
    ran = hr(*command)
    assert ran.exit_code == 0
    text = " ".join(ran.output.split())
    assert "NOTIFY_URL https://ntfy.sh/… ready" in text
    assert "NOTIFY_COMMAND tell failing: it ended with status 1; 2 messages wait environment" in text
    assert f"{KINDS['pool_down'].title} nothing told 2 h ago (12:28) 60 min ago (13:28)" in text
    assert f"{KINDS['key_revoked'].title} The groq key …2f9a 10 min ago (14:18)" in text


def test_it_fits_a_narrow_terminal(serve, hr) -> None:
    """No line is longer than the terminal; what may go goes."""
    serve({"GET /v1/notify": told()})
    lines = hr("notify", columns=60).output.splitlines()
    assert max(map(len, lines)) <= 60
    assert any("The groq key …2f9a" in line for line in lines)


def test_nobody_is_told_yet(serve, hr) -> None:
    """It says how that is changed, and every kind that there is."""
    serve({"GET /v1/notify": NOTHING})
    text = hr("notify").output
    assert "Nobody is told: `hr config set NOTIFY_URL -` asks" in text
    assert all(kind.title in text for kind in KINDS.values())


def test_json_is_the_answer_itself(serve, hr) -> None:
    """Of all three, behind the command as every other's."""
    tested = n.NotifyTested(rows=[n.NotifyTestedRow(way="url", shown="https://ntfy.sh/…", ok=True, took_s=0.2)])
    serve({"GET /v1/notify": told(), "POST /v1/notify/test": tested})
    for command in (("notify", "--json"), ("notify", "status", "--json")):
        assert json.loads(hr(*command).output)["ways"][1]["unsent"] == 2
    assert json.loads(hr("notify", "test", "--json").output)["rows"][0]["ok"] is True
    assert hr("notify", "--json", "test").exit_code == 2


def test_a_test_that_works(serve, hr) -> None:
    """Each way with its time, exit 0."""
    rows = [n.NotifyTestedRow(way="url", shown="https://ntfy.sh/…", ok=True, took_s=0.214)]
    serve({"POST /v1/notify/test": n.NotifyTested(rows=rows)})
    ran = hr("notify", "test")
    assert ran.exit_code == 0
    assert "NOTIFY_URL (https://ntfy.sh/…): told in 214 ms" in ran.output


def test_a_test_of_which_one_way_fails(serve, hr) -> None:
    """Both are said, exit 1, and what to do."""
    rows = [
        n.NotifyTestedRow(way="url", shown="https://ntfy.sh/…", ok=True, took_s=0.2),
        n.NotifyTestedRow(way="command", shown="tell", ok=False, said="it ended with status 1", took_s=0.1),
    ]
    serve({"POST /v1/notify/test": n.NotifyTested(rows=rows)})
    ran = hr("notify", "test")
    assert ran.exit_code == 1
    assert "NOTIFY_COMMAND (tell): failed: it ended with status 1" in ran.output
    assert "NOTIFY_COMMAND did not work." in ran.stderr
    assert hr("notify", "test", "--json").exit_code == 1


def test_a_test_of_nothing(serve, hr) -> None:
    """Nothing is set: exit 3, and both settings are named."""
    serve({"POST /v1/notify/test": n.NotifyTested(rows=[])})
    ran = hr("notify", "test")
    assert ran.exit_code == 3
    assert "neither NOTIFY_URL nor NOTIFY_COMMAND is set" in ran.stderr
    assert "https://ntfy.sh/your-topic" in ran.stderr
