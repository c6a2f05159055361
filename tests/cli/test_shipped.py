"""hermes_router/cli/shipped.py: what travels with the program is found in a checkout, and missing files are named."""

import pytest

from hermes_router.cli import shipped as module
from hermes_router.cli.shipped import shipped


def test_a_checkout_has_its_files_at_the_top(tmp_path, monkeypatch) -> None:
    """The package's own data come first, as a wheel brings them."""
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "hermes_router")
    (tmp_path / "man").mkdir()
    (tmp_path / "man" / "hr.1").write_text("checkout")
    assert shipped("man", "hr.1").read_text() == "checkout"
    (tmp_path / "hermes_router" / "data" / "man").mkdir(parents=True)
    (tmp_path / "hermes_router" / "data" / "man" / "hr.1").write_text("wheel")
    assert shipped("man", "hr.1").read_text() == "wheel"


def test_a_torn_installation_is_told() -> None:
    """By the file's name, and with what to do."""
    with pytest.raises(FileNotFoundError, match="install hermes-router again") as caught:
        shipped("man", "absent.1")
    assert caught.value.filename.endswith("man/absent.1")
