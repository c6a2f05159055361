"""hermes_router/cli/service/unit_file.py: quoting by systemd's rules, and headers that betray an edit. tests/box asks systemd."""

import plistlib

import pytest

from hermes_router.cli.service import unit_file

TEMPLATE = "[Service]\nExecStart=@EXEC@\n@ENVIRONMENT@\nRestart=always\n"


def _filled(exec_line: str = "/bin/true", *environment: str) -> str:
    return unit_file.fill(TEMPLATE, {"EXEC": exec_line, "ENVIRONMENT": environment}, edit="systemctl edit x")


def test_lines_stand_or_are_gone() -> None:
    """A list becomes a line each; an empty one leaves no empty line."""
    assert unit_file.body_of(_filled()) == "[Service]\nExecStart=/bin/true\nRestart=always\n"
    assert "\nEnvironment=A=1\nEnvironment=B=2\nRestart" in _filled("/bin/true", "Environment=A=1", "Environment=B=2")


def test_an_edit_is_seen() -> None:
    """The header knows the version and whether a single byte below it has changed."""
    text = _filled()
    header = unit_file.header_of(text)
    assert header is not None
    assert header.intact
    changed = unit_file.header_of(text.replace("always", "no"))
    assert changed is not None
    assert not changed.intact
    assert unit_file.header_of("[Service]\nExecStart=/bin/true\n") is None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/usr/bin/python", "/usr/bin/python"),
        ("/a b/python", '"/a b/python"'),
        ("/50%/python", "/50%%/python".join('""')),
        ("/$HOME/python", ':"/$HOME/python"'),
        ("/it's/python", '/usr/bin/env "/it\'s/python"'),
        ('/"q"/\\/python', '/usr/bin/env "/\\"q\\"/\\\\/python"'),
    ],
)
def test_a_program_is_quoted_and_read_back(path: str, said: str) -> None:
    """What systemd would take for a specifier, a variable or a quote is none; and the file tells the path again."""
    line = unit_file.exec_line([path, "-m", "hermes_router.daemon"])
    assert line == f"{said} -m hermes_router.daemon"
    assert unit_file.program_of(f"[Service]\nExecStart={line}\n") == path


def test_variables_are_quoted_and_read_back() -> None:
    """Blanks, quotes and per cent signs survive."""
    given = {"XDG_CONFIG_HOME": '/a b/50%/"c"', "PORT": "9000"}
    lines = unit_file.environment_lines(given)
    assert lines[0] == "Environment=PORT=9000"
    assert unit_file.environment_of("\n".join(lines)) == given


@pytest.mark.parametrize("path", ["/a\nb", "/a\udc80b", ""])
def test_what_no_unit_can_name_is_refused(path: str) -> None:
    """A line end in a path would be a directive of its own."""
    with pytest.raises(unit_file.Unquotable):
        unit_file.exec_line([path])


def test_a_property_list_carries_the_same_header() -> None:
    """It stays a property list, and an edit is seen."""
    text = unit_file.sign_plist(plistlib.dumps({"Label": "x"}).decode(), "1.2.3")
    assert plistlib.loads(text.encode()) == {"Label": "x"}
    header = unit_file.header_of(text)
    assert header == ("1.2.3", True)
    changed = unit_file.header_of(text.replace(">x<", ">y<"))
    assert changed is not None
    assert not changed.intact
