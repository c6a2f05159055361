"""hermes_router/core/notify_ways.py: what may stand in NOTIFY_URL and NOTIFY_COMMAND, and what of it is ever shown."""

import base64

import pytest

from hermes_router.core.ids import Secret
from hermes_router.core.notify_ways import read_address, read_command

SECRET = "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2"


@pytest.mark.parametrize(
    ("text", "shown", "url", "login"),
    [
        ("https://ntfy.sh/alerts", "https://ntfy.sh/…", "https://ntfy.sh/alerts", None),
        (" https://ntfy.sh/a?up=1#x ", "https://ntfy.sh/…", "https://ntfy.sh/a?up=1", None),
        ("https://me:p%40ss@n.example:8443/a", "https://n.example:8443/…", "https://n.example:8443/a", "me:p@ss"),
        (f"https://:{SECRET}@ntfy.sh/a", "https://ntfy.sh/…", "https://ntfy.sh/a", f":{SECRET}"),
        ("http://127.0.0.1:2586/a", "http://127.0.0.1:2586/…", "http://127.0.0.1:2586/a", None),
        ("http://[::1]:2586/a", "http://[::1]:2586/…", "http://[::1]:2586/a", None),
        ("http://192.168.1.4/a", "http://192.168.1.4/…", "http://192.168.1.4/a", None),
        ("http://100.64.0.7/a", "http://100.64.0.7/…", "http://100.64.0.7/a", None),
        ("http://ntfy/a", "http://ntfy/…", "http://ntfy/a", None),
        ("http://box.lan:80/a", "http://box.lan:80/…", "http://box.lan:80/a", None),
    ],
)
def test_an_address_is_taken_apart(text: str, shown: str, url: str, login: str | None) -> None:
    """User info becomes basic authorization, and nothing but scheme and host is shown."""
    address = read_address(text)
    assert (address.shown, address.url) == (shown, Secret(url))
    wanted = None if login is None else Secret("Basic " + base64.b64encode(login.encode()).decode())
    assert address.authorization == wanted
    assert SECRET not in repr(address)


@pytest.mark.parametrize(
    "text",
    [
        "ntfy.sh/alerts", "ftp://ntfy.sh/a", "https://", "https://h:0/a", "https://h:99999/a", "https://ntfy.sh/a b",
        "https://ntfy.sh/ä", "http://ntfy.sh/a", "http://93.184.216.34/a", "https://[::1/a", "mailto:me@x.example",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_being_shown(text: str) -> None:
    """Also plain HTTP to the internet, where anybody on the way could read the topic."""
    with pytest.raises(ValueError, match=r"^must be") as caught:
        read_address(text)
    assert text == "https://" or text not in str(caught.value)


def test_what_is_confidential_is_known_to_the_log() -> None:
    """The password, a topic or token that nobody guesses, each by itself; plain words stand in too many places."""
    address = read_address(f"https://me:hunter22x@ntfy.sh/Topic7xyz/hermes-router?auth={SECRET}&poll=yes")
    revealed = {secret.reveal() for secret in address.secrets}
    assert {"hunter22x", "Topic7xyz", SECRET} <= revealed
    assert not {"hermes-router", "yes", ""} & revealed


def test_a_command_is_split_as_a_shell_would() -> None:
    """Quotes hold arguments together; only the program's name is shown."""
    command = read_command(f"/usr/bin/curl -s --config '/etc/my secrets' -H \"x: {SECRET}\"")
    assert command.argv == ("/usr/bin/curl", "-s", "--config", "/etc/my secrets", "-H", f"x: {SECRET}")
    assert command.program == "curl"
    assert SECRET not in repr(command)


@pytest.mark.parametrize("text", ["echo 'open", "''", "  ", "a\0b"])
def test_what_is_no_command_is_refused(text: str) -> None:
    """An open quote, no program at all, a NUL."""
    with pytest.raises(ValueError, match=r"quote|program"):
        read_command(text)
