"""Router keys at rest: shown once, kept as digests, and never a way in that nobody gave."""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.errors import ControlError, Unauthorized
from hermes_router.core.router_keys import RouterKey, digest_of, id_of
from hermes_router.core.settings import DEFAULT_KEY, Settings
from hermes_router.engine.admission import Admission
from hermes_router.store import router_keys
from hermes_router.store.router_keys import RouterKeyStore

NOW = 1_790_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "router-keys.json"


def store(path: Path, **more: Any) -> RouterKeyStore:
    made = RouterKeyStore(path, now=lambda: NOW, **more)
    made.load()
    return made


def names(path: Path) -> list[str]:
    return [key.name for key in store(path).keys]


# --- making and showing ---------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_kept_as_a_digest(path: Path) -> None:
    """240 random bits behind a prefix; neither the file nor the value holds the key, only its last four characters."""
    keys = store(path)
    made, text = keys.add("agent", providers=["groq", "a"], rpm=60, concurrency=2, patience_s=1.5, min_tier=3)
    assert re.fullmatch(r"sk-hr-[A-Za-z0-9_-]{40}", text)
    assert made == RouterKey(made.id, "agent", digest_of(text), text[-4:], frozenset({"groq", "a"}), 60, 2, 1.5, 3, NOW)
    assert text not in path.read_text()
    assert text[6:-4] not in path.read_text() + repr(made)
    assert store(path).keys == keys.keys == (made,)


def test_the_key_is_what_a_caller_sends(path: Path) -> None:
    """The text that was shown is let in, after a restart too; another one is not."""
    keys = store(path)
    made, text = keys.add("agent", rpm=7)
    caller = Admission(Settings(), store(path).keys).admit({"x-api-key": text})
    assert (caller.key, caller.rpm, caller.budget_microusd) == (made.id, 7, None)


@pytest.mark.parametrize("budget", [0, 1, 2_500_000])
def test_a_budget_is_kept_and_binds_whoever_shows_the_key(path: Path, budget: int) -> None:
    """Micro-US-dollars a day, nothing is a budget too; a file of before there were budgets has none."""
    made, text = store(path).add("agent", budget_microusd=budget)
    assert store(path).keys == (made,)
    assert Admission(Settings(), store(path).keys).admit({"x-api-key": text}).budget_microusd == budget
    held = json.loads(path.read_text())
    del held["keys"][0]["budget_microusd"]
    path.write_text(json.dumps(held))
    assert store(path).keys[0].budget_microusd is None


def test_the_random_part_comes_from_the_source_given(path: Path) -> None:
    """30 bytes are asked for, 40 characters of the URL's alphabet come of them."""
    asked: list[int] = []
    _, text = store(path, token=lambda n: asked.append(n) or "t" * 40).add("agent")  # type: ignore[func-returns-value]
    assert (text, asked) == ("sk-hr-" + "t" * 40, [30])


def test_the_file_is_the_owners_alone(path: Path) -> None:
    """0600 in a 0700 directory; one that others could read is closed to them, and said so."""
    store(path).add("agent")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    keys = store(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(keys.keys) == len(keys.problems) == 1


def test_no_file_is_no_key_and_no_problem(path: Path) -> None:
    """A fresh installation."""
    keys = store(path)
    assert (keys.keys, keys.problems, path.exists()) == ((), [], False)


# --- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\nb", "a\x1b[31m", "\u202e", "a\0"])
def test_a_name_is_short_and_printable(path: Path, name: str) -> None:
    """Exit 2, and nothing is written."""
    with pytest.raises(ControlError, match="1 to 64 printable") as caught:
        store(path).add(name)
    assert caught.value.exit_code == 2
    assert not path.exists()


def test_names_are_unique_and_trimmed(path: Path) -> None:
    """The same name twice, with blanks around it too, is refused; any script will do."""
    keys = store(path)
    keys.add("агент 7")
    with pytest.raises(ControlError, match="already") as caught:
        keys.add(" агент 7 ")
    assert caught.value.exit_code == 2
    assert names(path) == ["агент 7"]


@pytest.mark.parametrize(
    "limits",
    [{"rpm": 0}, {"rpm": 10**6}, {"rpm": 1.5}, {"rpm": True}, {"concurrency": -1}, {"min_tier": 6}, {"min_tier": 0},
     {"patience_s": -1}, {"patience_s": float("nan")}, {"patience_s": 1e9}, {"providers": []}, {"providers": [""]},
     {"budget_microusd": -1}, {"budget_microusd": 0.5}, {"budget_microusd": 10**16}],
)  # fmt: skip
def test_limits_that_are_none_are_refused(path: Path, limits: dict[str, Any]) -> None:
    """Out of bounds, of the wrong type, an empty scope: exit 2, one sentence, nothing written."""
    with pytest.raises(ControlError, match="router key") as caught:
        store(path).add("agent", **limits)
    assert caught.value.exit_code == 2
    assert not path.exists()


# --- removing -------------------------------------------------------------------------------------------------


def test_a_key_is_removed_by_name_id_or_last_characters(path: Path) -> None:
    """Each of the three finds it, and the file is without it."""
    for by in ("name", "id", "tail"):
        keys = store(path)
        made, _ = keys.add("agent")
        other, _ = keys.add("other")
        assert keys.remove(f" {getattr(made, by)} ") == made
        assert keys.keys == store(path).keys == (other,)
        keys.remove("other")


def test_the_last_one_stays_where_no_other_is_good(path: Path) -> None:
    """What counts is the file as it is now, not what it was when it was read: exit 3, and it is as it was."""
    keys = store(path)
    keys.add("first")
    keys.add("second")
    held = json.loads(path.read_text())
    held["keys"][0]["rpm"] = "many"
    path.write_text(damaged := json.dumps(held))
    with pytest.raises(ControlError, match="last router key") as caught:
        keys.remove("second", keep_one=True)
    assert (caught.value.exit_code, path.read_text()) == (3, damaged)
    keys.add("third")
    keys.remove("second", keep_one=True)
    assert names(path) == ["third"]
    keys.remove("third")
    assert names(path) == []


def test_an_ambiguous_end_lists_those_it_could_be(path: Path) -> None:
    """Exit 2 with the ids; nothing is removed; the id decides."""
    tokens = iter(["a" * 36 + "same", "b" * 36 + "same", "c" * 40])
    keys = store(path, token=lambda _: next(tokens))
    one, two = keys.add("one")[0], keys.add("two")[0]
    keys.add("same ")  # a name that is another one's end, trimmed
    with pytest.raises(ControlError, match="more than one") as caught:
        keys.remove("same")
    assert caught.value.exit_code == 2
    assert all(key.id in caught.value.message for key in (one, two))
    assert len(names(path)) == 3
    assert keys.remove(two.id) == two


def test_an_unknown_key_is_met_with_a_near_one(path: Path) -> None:
    """Exit 2, and the name that was probably meant."""
    keys = store(path)
    keys.add("laptop-agent")
    with pytest.raises(ControlError) as caught:
        keys.remove("laptop-agnet")
    assert (caught.value.exit_code, caught.value.next_step) == (2, "did you mean 'laptop-agent'?")
    with pytest.raises(ControlError) as caught:
        keys.remove("zzz")
    assert "hr key list" in caught.value.next_step


# --- damage ---------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(path: Path) -> tuple[RouterKey, str]:
    return store(path).add("agent", rpm=3)


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b"{}", b'{"version": 1}', b'{"version": 1, "keys": {}}',
     b'{"version": [], "keys": []}', b"[" * 100_000],
)  # fmt: skip
def test_a_damaged_file_is_set_aside_and_opens_nothing(path: Path, kept: Any, damage: bytes) -> None:
    """Kept under another name and told; its keys are unknown, the others as good as before; a new key can be made."""
    path.write_bytes(damage)
    keys = store(path)
    assert keys.keys == ()
    assert len(keys.problems) == 1
    aside = [p for p in path.parent.iterdir() if "damaged" in p.name]
    assert [p.read_bytes() for p in aside] == [damage]
    assert str(aside[0]) in keys.problems[0]
    for sent in (kept[1], "", "sk-hr-x"):
        with pytest.raises(Exception, match="router key"):
            Admission(Settings(), keys.keys).admit({"x-api-key": sent})
    keys.add("agent")
    assert [p.read_bytes() for p in aside] == [damage]
    assert names(path) == ["agent"]


@given(st.integers(0, 400))
def test_a_file_cut_at_any_byte_is_whole_or_set_aside(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """No cut raises, none loses a byte, and none lets a key in with fewer limits than it had."""
    path = tmp_path_factory.mktemp("cut") / "router-keys.json"
    made, _ = store(path).add("agent", rpm=3, providers=["groq"])
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    keys = store(path)
    assert keys.keys in ((made,), ())
    assert any(p.read_bytes() == whole[:cut] for p in path.parent.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [{"rpm": "3"}, {"rpm": 0}, {"providers": "groq"}, {"providers": []}, {"digest": "00"}, {"id": "other"}, {"name": ""},
     {"min_tier": 9}, {"created_at": None}, {"created_at": 10**400}, {"rpm": 10**400}, {"created_at": float("nan")}, {"patience_s": -1}, {"tail": 5}, {"digest": None},
     {"budget_microusd": "2"}, {"budget_microusd": -1}, {"budget_microusd": 2.5}],
)  # fmt: skip
def test_a_damaged_entry_is_unknown_never_unlimited(path: Path, kept: Any, wrong: dict[str, Any]) -> None:
    """The sound entries go on working, and before the file is written anew the damaged one is kept beside it."""
    store(path).add("second")
    held = json.loads(path.read_text())
    held["keys"][0] |= wrong
    path.write_text(damaged := json.dumps(held))
    keys = store(path)
    assert [key.name for key in keys.keys] == ["second"]
    assert "entry 1" in keys.problems[0]
    assert path.read_text() == damaged
    keys.add("third")
    assert names(path) == ["second", "third"]
    assert [p.read_text() for p in path.parent.iterdir() if "damaged" in p.name] == [damaged]


def test_an_entry_that_is_no_entry_is_passed_over(path: Path, kept: Any) -> None:
    """Any JSON in the list, and the same key twice."""
    held = json.loads(path.read_text())
    held["keys"] += [None, 3, [], "x", held["keys"][0]]
    path.write_text(json.dumps(held))
    keys = store(path)
    assert keys.keys == (kept[0],)
    assert len(keys.problems) == 5


def test_a_file_of_a_later_version_is_left_alone(path: Path, kept: Any) -> None:
    """Its keys are not known to us, it is not set aside, and not written over: exit 3."""
    later = json.dumps({"version": 2, "keys": "otherwise"}).encode()
    path.write_bytes(later)
    keys = store(path)
    assert keys.keys == ()
    assert "another version" in keys.problems[0]
    for change in (lambda: keys.add("x"), lambda: keys.remove("agent")):
        with pytest.raises(ControlError) as caught:
            change()
        assert caught.value.exit_code == 3
    assert path.read_bytes() == later


@pytest.mark.parametrize("call", ["read_private", "write_private", "set_aside"])
def test_a_disk_that_fails_changes_nothing(path: Path, kept: Any, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Full, read-only or forbidden: exit 1 with the reason, what was known stays known, on disk and in memory."""
    keys = store(path)
    before = path.read_bytes()
    if call == "set_aside":
        before = b"{"
        path.write_bytes(before)

    def fail(*_args: Any, **_more: Any) -> Any:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(router_keys, call, fail)
    with pytest.raises(ControlError, match="No space left") as caught:
        keys.add("second")
    assert caught.value.exit_code == 1
    assert keys.keys == (kept[0],)
    assert path.read_bytes() == before
    if call != "write_private":
        keys.load()
        assert (keys.keys, len(keys.problems)) == ((), 1)


def test_what_another_hand_changed_is_not_lost(path: Path, kept: Any) -> None:
    """The file is read again before it is written: a key that came in from elsewhere stays."""
    first, second = store(path), store(path)
    first.add("first")
    second.add("second")
    assert names(path) == ["agent", "first", "second"]
    assert second.remove("first").name == "first"


# --- taking over ----------------------------------------------------------------------------------------------


def of_another(name: str, text: str, **more: Any) -> RouterKey:
    """A key as another router knows it."""
    digest = digest_of(text)
    return RouterKey(id_of(digest), name, digest, text[-4:] if len(text) > 8 else "", **more)


def test_a_key_of_another_router_is_kept_by_its_digest(path: Path) -> None:
    """Its callers are let in with their limits, after a restart too; the same one is never kept twice."""
    keys = store(path)
    theirs = of_another("team", "sk-theirs-0001", providers=frozenset({"groq"}), rpm=5, budget_microusd=0)
    ((made, is_new),) = keys.bring_in([theirs])
    assert (is_new, made) == (True, theirs._replace(created_at=NOW))
    caller = Admission(Settings(), store(path).keys).admit({"x-api-key": "sk-theirs-0001"})
    assert (caller.key, caller.rpm, caller.providers, caller.budget_microusd) == (made.id, 5, frozenset({"groq"}), 0)
    assert keys.bring_in([theirs._replace(name="other", rpm=9)]) == [(made, False)]
    assert store(path).keys == (made,)


def test_a_taken_name_gets_a_number(path: Path) -> None:
    """Two keys of one name elsewhere are two here; the name keeps its bounds."""
    keys = store(path)
    long = "n" * 64
    for number, name in enumerate(("team", "team", " team ", long, long)):
        keys.bring_in([of_another(name, str(number))])
    assert names(path) == ["team", "team 2", "team 3", long, f"{'n' * 58} 2"]


@pytest.mark.parametrize(
    ("digest", "tail", "more"),
    [("0" * 63, "a", {}), ("G" * 64, "a", {}), ("0" * 64, "sk-a-whole-key", {}), ("0" * 64, "\x1b", {}),
     ("0" * 64, "a", {"id": "1" * 12}), ("0" * 64, "a", {"name": ""}), ("0" * 64, "a", {"providers": frozenset()}), ("0" * 64, "a", {"rpm": 0}), ("0" * 64, "a", {"budget_microusd": -1})],
)  # fmt: skip
def test_what_is_no_digest_or_limit_is_not_kept(path: Path, digest: str, tail: str, more: dict[str, Any]) -> None:
    """Exit 2, and the file is as it was, also where another key before it was sound."""
    wrong = RouterKey(id_of(digest), "team", digest, tail)._replace(**more)
    for replace in (False, True):
        with pytest.raises(ControlError) as caught:
            store(path).bring_in([of_another("sound", "sk-sound"), wrong], replace=replace)
        assert caught.value.exit_code == 2
    assert not path.exists()


def test_keys_of_another_installation_come_in_as_they_are(tmp_path: Path, path: Path) -> None:
    """By their rows, limits included: who showed the key there is let in here. One of the same name gives way.

    A row whose limit, digest or end is none of ours is no key.
    """
    there = store(tmp_path / "there" / "router-keys.json")
    made, text = there.add("agent", rpm=7, budget_microusd=5)
    row = json.loads(json.dumps(router_keys.row_of_key(made)))
    assert text not in str(row)
    key = router_keys.key_of_row(row)
    assert key == made
    here = store(path)
    here.add("agent")
    here.add("other")
    here.bring_in([key], replace=True)
    assert names(path) == ["other", "agent"]
    caller = Admission(Settings(), store(path).keys).admit({"x-api-key": text})
    assert (caller.key, caller.rpm, caller.budget_microusd) == (made.id, 7, 5)
    here.bring_in([key], replace=True)
    assert names(path) == ["other", "agent"]
    odd = {"rpm": "many"}, {"digest": f"{made.id}{'Z' * 52}"}, {"tail": text}, {"tail": "\x1b[2J"}
    assert [router_keys.key_of_row({**row, **wrong}) for wrong in odd] == [None] * 4


@pytest.mark.parametrize("replace", [False, True])
def test_the_default_key_is_never_a_stored_one(path: Path, kept: Any, *, replace: bool) -> None:
    """Stored, it would open a router that PROXY_API_KEYS has closed to it, to the network, too: exit 2, no change."""
    before = path.read_bytes()
    with pytest.raises(ControlError, match="everybody knows") as caught:
        store(path).bring_in([of_another("team", DEFAULT_KEY)], replace=replace)
    assert (caught.value.exit_code, path.read_bytes()) == (2, before)


def test_a_row_that_holds_the_default_key_lets_nobody_in(path: Path, kept: Any) -> None:
    """A file that another hand or an earlier version wrote: the row is damaged, the sound ones go on working."""
    row = router_keys.row_of_key(of_another("team", DEFAULT_KEY, created_at=NOW))
    assert router_keys.key_of_row(row) is None
    held = json.loads(path.read_text())
    held["keys"].insert(0, row)
    path.write_text(json.dumps(held))
    keys = store(path)
    assert keys.keys == (kept[0],)
    assert "entry 1" in keys.problems[0]
    with pytest.raises(Unauthorized):
        Admission(Settings(proxy_api_keys=()), keys.keys).admit({"x-api-key": DEFAULT_KEY})
