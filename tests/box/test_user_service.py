"""The router as a user's own service, under a real systemd. The tests are one story, told in order."""

import json
import signal
import time

from .box import HR, Box
from .home import UNIT, Person, answers, load


def test_a_user_who_never_logged_in_gets_a_service_that_stays(box: Box, hermes: Person) -> None:
    """One command: the unit is written, enabled, running and lingering; callers are answered; a second time is harmless."""
    done = hermes.hr("install-service")
    assert done.code == 0, done
    assert "~/.config/systemd/user/hermes-router.service (new)" in done.out
    assert hermes.systemctl("is-active", UNIT).out == "active\n"
    assert box.path("/var/lib/systemd/linger/hermes").exists()
    assert answers(box)
    pid = hermes.pid()
    assert f"pid {pid}" in done.out
    assert "shown this once" not in done.out  # it has a key of its own
    again = hermes.hr("install-service")
    assert again.code == 0
    assert "stays as it is" in again.out
    assert hermes.pid() == pid
    (told,) = json.loads(hermes.hr("service", "status", "--json").out)
    assert (told["standing"], told["active"], told["enabled"], told["lingering"], told["well"]) == (
        "ours",
        "active",
        True,
        True,
        True,
    )


def test_systemd_and_the_journal_know_what_goes_on(hermes: Person) -> None:
    """`systemctl status` says how many targets are ready; each line of the journal has its priority and our name."""
    assert "targets ready" in hermes.show("StatusText")["StatusText"]
    lines = [json.loads(line) for line in hermes.journal("-o", "json").splitlines()]
    ours = [line for line in lines if line.get("_PID") == str(hermes.pid())]
    assert {line["SYSLOG_IDENTIFIER"] for line in ours} == {"hermes-router"}
    assert {line["PRIORITY"] for line in ours} <= {"6", "4"}
    assert any("ready on port" in line["MESSAGE"] for line in ours)


def test_the_unit_is_free_of_complaints(box: Box, hermes: Person) -> None:
    """systemd-analyze finds nothing to say about either unit."""
    folder = f"{hermes.home}/.config/systemd/user"
    env = {"XDG_RUNTIME_DIR": f"/run/user/{hermes.uid}"}
    for name in (UNIT, "hermes-router.socket"):
        done = box.run("systemd-analyze", "--user", "verify", f"{folder}/{name}", user="hermes", env=env)
        assert (done.code, done.all) == (0, ""), done


def test_a_reload_keeps_the_process(hermes: Person, box: Box) -> None:
    """`systemctl reload` returns when the changed file is in force, and the same process serves."""
    pid = hermes.pid()
    box.put(f"{hermes.home}/.config/hermes-router/config.toml", 'LOG_LEVEL = "debug"\n', mode=0o600, user="hermes")
    assert hermes.systemctl("reload", UNIT).code == 0
    rows = json.loads(hermes.hr("config", "list", "--changed", "--json").out)["rows"]
    assert any(row["name"] == "LOG_LEVEL" and row["value"] == "debug" for row in rows)
    assert hermes.pid() == pid
    box.path(f"{hermes.home}/.config/hermes-router/config.toml").unlink()
    assert hermes.systemctl("reload", UNIT).code == 0


def test_nobody_notices_a_restart(hermes: Person, box: Box) -> None:
    """Five by `hr restart`, each to another main process that systemd follows: nothing refused, failed or cut."""
    pids = {hermes.pid()}
    with load(box, 2, 1, 3) as tally:
        for _ in range(5):
            done = hermes.hr("restart")
            assert done.code == 0, done
            pids.add(hermes.pid())
    print(f"\n5 restarts under load: {tally.told}")
    assert len(pids) == 6
    assert (tally.refused, tally.failed, tally.cut) == (0, 0, 0), tally.told
    assert tally.answers > 20
    assert tally.streams > 4
    assert hermes.show("NRestarts", "ActiveState") == {"NRestarts": "0", "ActiveState": "active"}


def test_systemd_holds_the_port_while_it_restarts_us(hermes: Person, box: Box) -> None:
    """`systemctl restart` starts a process anew: who connects meanwhile waits, and streams end as they should."""
    with load(box, 0, 2, 3) as tally:
        box.check("sleep", "1")
        assert hermes.systemctl("restart", UNIT).code == 0
    print(f"\nsystemctl restart under load: {tally.told}")
    assert tally.refused == 0, tally.told
    assert tally.answers > 0


def test_what_dies_or_hangs_is_back_by_itself(hermes: Person, box: Box) -> None:
    """After kill -9 the socket keeps callers waiting; a process that stands still is found by the watchdog."""
    box.put(f"{hermes.home}/.config/systemd/user/{UNIT}.d/quick.conf", "[Service]\nWatchdogSec=2s\n", user="hermes")
    hermes.systemctl("daemon-reload")
    for number, kind in enumerate((signal.SIGKILL, signal.SIGSTOP), 1):
        pid = hermes.pid()
        box.check("kill", f"-{int(kind)}", str(pid))
        assert answers(box)
        box.until(lambda: hermes.show("NRestarts")["NRestarts"] == str(number), what="a restart")  # noqa: B023
        assert hermes.pid() != pid
    assert "Watchdog timeout" in hermes.journal()
    box.path(f"{hermes.home}/.config/systemd/user/{UNIT}.d/quick.conf").unlink()
    hermes.systemctl("daemon-reload")


def test_stop_and_start_mean_the_service(hermes: Person, box: Box) -> None:
    """A stopped service stays stopped, whoever calls; start and restart start the service, not a process of their own."""
    stopped = hermes.hr("stop")
    assert stopped.code == 0, stopped
    assert "Stopped the service" in stopped.out
    assert not answers(box)
    assert hermes.systemctl("is-active", UNIT, "hermes-router.socket").out.split() == ["inactive", "inactive"]
    started = hermes.hr("start")
    assert started.code == 0, started
    assert f"pid {hermes.pid()}" in started.out
    assert hermes.hr("start").code == 3
    assert hermes.hr("stop", "--now").code == 0
    assert "service is running" in hermes.hr("restart").out


def test_it_is_there_after_a_reboot_with_nobody_logged_in(hermes: Person, box: Box) -> None:
    """The machine goes down and up; the first question is answered without a login."""
    box.stop()
    box.power_on()
    while not answers(box):
        assert time.time() - box.booted_at < 30, box.journal()
        time.sleep(0.02)
    print(f"\nfrom power-on to the first answer: {time.time() - box.booted_at:.2f} s")
    assert box.run("loginctl", "list-sessions", "--no-legend").out == ""
    box.until(lambda: box.run("systemctl", "is-system-running").out.strip() in {"running", "degraded"})


def test_an_edited_or_foreign_unit_is_left_alone(hermes: Person, box: Box) -> None:
    """Exit 3 with what to do, and not a byte changed; --force keeps the old one beside the new."""
    place = box.path(f"{hermes.home}/.config/systemd/user/{UNIT}")
    ours = place.read_text()
    for text, said in (
        (ours + "# mine\n", "was changed since"),
        ("[Service]\nExecStart=/bin/true\n", "was not written by"),
    ):
        place.write_text(text)
        for command in ("install-service", "uninstall-service"):
            done = hermes.hr(command)
            assert done.code == 3
            assert said in done.err
            assert "--force" in done.err
            assert place.read_text() == text
    forced = hermes.hr("install-service", "--force")
    assert forced.code == 0, forced
    assert place.read_text() == ours
    assert place.with_name(f"{UNIT}.old").read_text() == text
    place.with_name(f"{UNIT}.old").unlink()


def test_uninstalling_leaves_keys_and_nothing_else(hermes: Person, box: Box) -> None:
    """No unit, no link, no process and no open port; settings stay and are named."""
    done = hermes.hr("uninstall-service")
    assert done.code == 0, done
    assert "~/.config/hermes-router" in done.out
    assert box.run("find", f"{hermes.home}/.config/systemd", "!", "-type", "d").out == ""
    assert ":8319" not in box.run("ss", "-ltn").out
    assert box.run("pgrep", "-f", "hermes_router.daemon").out == ""
    assert box.path(f"{hermes.home}/.config/hermes-router/.env").exists()
    assert hermes.hr("uninstall-service").code == 0
    assert hermes.hr("service", "status").code == 1


def test_a_router_that_runs_already_makes_way(hermes: Person, box: Box) -> None:
    """`hr start` before, a service after: who calls meanwhile waits, and every stream runs to its end."""
    assert hermes.hr("start").code == 0
    with load(box, 0, 0, 3) as tally:
        done = hermes.hr("install-service")
        assert done.code == 0, done
    assert "the service takes over" in done.out
    assert hermes.pid()
    assert (tally.failed, tally.cut) == (0, 0), tally.told
    print(f"\nfrom `hr start` to the service: {tally.told}")
    assert hermes.hr("uninstall-service").code == 0


def test_any_path_can_be_named(hermes: Person, box: Box) -> None:
    """An interpreter whose path holds blanks, quotes, per cent and dollar signs is started by the unit all the same."""
    odd = f'{hermes.home}/my "hr" %h $HOME \\ dir'
    box.check("mkdir", "-p", f"{odd}/bin", user="hermes")
    box.check("ln", "-s", box.python, f"{odd}/bin/python", user="hermes")
    box.check("ln", "-s", f"{HR}/lib", f"{odd}/lib", user="hermes")
    box.check("cp", f"{HR}/pyvenv.cfg", odd, user="hermes")
    main = "import sys; from hermes_router.cli.main import main; sys.exit(main())"
    done = box.run(f"{odd}/bin/python", "-P", "-c", main, "install-service", user="hermes")
    assert done.code == 0, done
    assert box.path(f"/proc/{hermes.pid()}/cmdline").read_text().split("\0")[0] == f"{odd}/bin/python"
    assert answers(box)
    assert hermes.hr("service", "status", "--json").out.count('"stale"') == 1  # to another installation's `hr`
    assert hermes.hr("uninstall-service").code == 0
