"""hermes_router/cli/version.py: one line."""

from click.testing import CliRunner

from hermes_router import __version__
from hermes_router.cli.main import main


def test_version_is_one_line_either_way() -> None:
    """`hr version` and `hr --version` tell the version and exit with 0."""
    for arguments in (["version"], ["--version"]):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0
        assert __version__ in done.output
        assert done.output.count("\n") == 1
