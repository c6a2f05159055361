"""models.json: what was listed and what had vanished, over a restart; anything else is no list."""

import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.catalog import Capability, Known, Price
from hermes_router.core.ids import ModelId
from hermes_router.core.live_lists import Listed, LiveList
from hermes_router.daemon.model_file import from_bytes, read_models_file, to_bytes, write_models_file
from hermes_router.engine.live_models import Absence, LiveModels

from ..fakes import SilentLog

NOW = 1_790_000_000.0


def _live() -> LiveModels:
    models = (
        Listed(
            ModelId("a"), 9, 5, Price(1, 2), {Capability.TOOLS: Known.YES, Capability.IMAGES: Known.NO}, True, ("b",)
        ),
        Listed(ModelId("c"), chats=False),
        Listed(ModelId("d"), lite=False, efforts=("low", "max")),
    )
    live = LiveModels({"p": LiveList(models, NOW - 5, "http://p")})
    live.absences["p"] = {"gone": Absence(NOW - 90, vanished=True), "missing": Absence(NOW - 5)}
    return live


def test_what_was_written_is_read() -> None:
    """Lists, their age, and the absences, to the last field."""
    live, found = _live(), from_bytes(to_bytes(_live()), NOW)
    assert found.lists["p"].models == live.lists["p"].models
    assert (found.lists["p"].read_at, found.lists["p"].base_url) == (NOW - 5, "http://p")
    assert found.absences == live.absences


def test_a_clock_that_was_set_back_makes_no_list_of_the_future() -> None:
    """Else it would not be read again for a year."""
    found = from_bytes(to_bytes(_live()), 50.0)
    assert found.lists["p"].read_at == 50.0
    assert found.absences["p"]["gone"].since == 50.0


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    """0600, and one that is not there is nothing to speak of."""
    path, log = tmp_path / "models.json", SilentLog()
    assert read_models_file(path, NOW, log).lists == {}
    assert log.lines == []
    write_models_file(path, to_bytes(_live()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read_models_file(path, NOW, log).lists["p"]) == 3


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"version":2,"providers":{}}', b"\xff\xfe", b'{"version":1}'])
def test_a_damaged_file_is_ignored_with_one_warning(tmp_path: Path, data: bytes) -> None:
    """The warning names the file; the daemon starts without it."""
    path, log = tmp_path / "models.json", SilentLog()
    path.write_bytes(data)
    assert read_models_file(path, NOW, log).lists == {}
    assert [event for event, _ in log.lines] == ["models.not_read"]
    assert log.fields("models.not_read")["path"] == str(path)


def test_a_directory_in_its_place_is_ignored(tmp_path: Path) -> None:
    """Whatever lies there."""
    log = SilentLog()
    (tmp_path / "models.json").mkdir()
    assert read_models_file(tmp_path / "models.json", NOW, log).lists == {}
    assert len(log.lines) == 1


@given(st.integers(0, 700), st.integers(0, 255), st.booleans())
def test_a_file_cut_or_altered_at_any_byte_does_no_harm(at: int, byte: int, cut: bool) -> None:
    """It is read, or refused by ValueError: nothing else."""
    data = to_bytes(_live())
    at %= len(data)
    data = data[:at] if cut else data[:at] + bytes([byte]) + data[at + 1 :]
    with suppress(ValueError):
        from_bytes(data, NOW)
