"""`hr doctor` under a real systemd: the service, lingering and the disk, each in order and out of it."""

import json
from typing import Any

from .box import Box
from .home import Person

OFFLINE = ("doctor", "--offline", "--json")


def test_the_service_is_judged_as_systemd_has_it(box: Box) -> None:
    """None, well, without lingering; by the person whose service it is."""
    if box.run("id", "ada").code:
        box.add_user("ada")
    ada = Person(box, "ada")
    ada.configure()
    env = f"{ada.home}/.config/hermes-router/.env"
    box.check("sh", "-c", f"echo PORT=8377 >> {env}")  # another's service may have the usual one

    def found() -> dict[str, dict[str, Any]]:
        rows = json.loads(ada.hr(*OFFLINE).out)
        return {row["id"]: row for row in rows}

    assert found()["service"]["state"] == "advice"
    assert ada.hr("install-service", "--no-socket").code == 0
    told = found()
    assert [told[name]["state"] for name in ("daemon", "port", "service", "linger", "two-services")] == ["ok"] * 5
    box.check("loginctl", "disable-linger", "ada")
    box.until(lambda: found()["daemon"]["state"] == "fault", what="the end of ada's services")
    told = found()
    assert {told["service"]["state"], told["linger"]["state"]} == {"warning"}
    assert told["linger"]["cure"] == "`loginctl enable-linger ada`"
