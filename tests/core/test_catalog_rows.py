"""Rows from parsed tables: what is wrong is named, what is right is kept."""

import string
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_router.core.catalog import Capability, Embedding, Known, Price, PriceClass, Quirk, QuotaRule
from hermes_router.core.catalog_rows import Catalog, overlay, parse_rows
from hermes_router.core.errors import ConfigError
from hermes_router.core.observations import Unit, Window

GOOD = """
[acme]
endpoints = { openai_chat = "https://api.acme.test/v1/" }
cannot = ["logprobs"]
price_class = "free_credit"
[[acme.models]]
id = "acme-large"
context = 128000
can = ["tools"]
quirks = ["merge_system"]
price = { input = 0.15, output = 0.6 }
quotas = [{ unit = "requests", amount = 20, window = "day", resets = "America/Los_Angeles" }]
"""


def _parse(text: str) -> tuple[Catalog, list[ConfigError]]:
    return parse_rows(tomllib.loads(text), where="/x/providers.toml")


def _with(line: str, section: str = "acme") -> str:
    """The good row with a further line in its table, or in its model."""
    head = f"[{section}]" if section == "acme" else "[[acme.models]]"
    return GOOD.replace(head, f"{head}\n{line}", 1)


def test_a_small_row_is_enough() -> None:
    """An endpoint and a model make a row; everything else has its default, and models inherit from the row."""
    rows, errors = _parse(GOOD)
    assert errors == []
    [spec] = rows.values()
    assert (spec.name, spec.title, spec.auth, spec.allow, spec.own) == ("acme", "acme", "bearer", None, False)
    assert spec.endpoints == {"openai_chat": "https://api.acme.test/v1"}
    [model] = spec.models
    assert (model.context, model.max_output, model.tier) == (128000, None, 3)
    assert model.price_class is PriceClass.FREE_CREDIT
    assert model.price == Price(150_000, 600_000, None)
    assert model.quirks == {Quirk.MERGE_SYSTEM}
    assert model.capability(Capability.TOOLS).value is Known.YES
    assert model.capability(Capability.LOGPROBS).value is Known.NO
    assert model.capability(Capability.IMAGES).value is Known.UNKNOWN
    assert model.quotas == (QuotaRule(Unit.REQUESTS, 20, Window.DAY, "account", "America/Los_Angeles"),)


def test_how_its_keys_begin_and_what_proves_one() -> None:
    """Unless the row says so, no key is warned of, and the list of models proves it."""
    [plain] = _parse(GOOD)[0].values()
    assert (plain.key_prefixes, plain.key_check) == ((), "/models")
    said = _with('key_check = "/key"').replace("[acme]\n", '[acme]\nkey_prefixes = ["ac-", "acme_"]\n')
    [spec] = _parse(said)[0].values()
    assert (spec.key_prefixes, spec.key_check) == (("ac-", "acme_"), "/key")
    [silent] = _parse(_with('key_check = ""'))[0].values()
    assert silent.key_check == ""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (_with('colour = "red"'), "acme.colour is not a key"),
        (_with("concurrency = true"), "acme.concurrency must be"),
        (_with("concurrency = 0"), "acme.concurrency must be"),
        (_with('trains = "no"'), "acme.trains must be true or false"),
        (_with('auth = "basic"'), "acme.auth must be one of"),
        (_with('quirks = ["no_such"]'), "acme.quirks must be"),
        (_with('can = ["fly"]'), "acme.can must be"),
        (_with('can = ["logprobs"]'), "acme.cannot and can both name logprobs"),
        (_with('env = ["acme-key"]'), "acme.env must be"),
        (_with('allow = "model"'), "acme.allow must be"),
        (_with("first_token_s = nan"), "acme.first_token_s must be"),
        (_with('headers = { Authorization = "Bearer x" }'), "acme.headers must be"),
        (_with('headers = { X-A = "a\\r\\nb" }'), "acme.headers must be"),
        (_with("quotas = [3]"), "acme.quotas must be"),
        (_with('quotas = [{ unit = "requests", amount = 3 }]'), "acme.quotas[0] needs unit, amount and window"),
        (_with('quotas = [{ unit = "sheep", amount = 3, window = "day" }]'), "acme.quotas[0].unit must be"),
        (
            _with('quotas = [{ unit = "requests", amount = 3, window = "day", resets = "soon" }]'),
            "acme.quotas[0].resets must be",
        ),
        (_with('price_class = "cheap"', "model"), "acme.models[0].price_class must be"),
        (_with("tier = 6", "model"), "acme.models[0].tier must be"),
        (_with("max_output = -1", "model"), "acme.models[0].max_output must be"),
        (_with("contxt = 5", "model"), "acme.models[0].contxt is not a key"),
        (_with("embedding = 3", "model"), "acme.models[0].embedding must be a table"),
        (_with("embedding = { size = 3 }", "model"), "acme.models[0].embedding.size is not a key"),
        (_with('embedding = { sizes = "few" }', "model"), "acme.models[0].embedding.sizes must be"),
        (_with("embedding = { sizes = [1, 0] }", "model"), "acme.models[0].embedding.sizes must be"),
        (_with("embedding = { inputs = 0 }", "model"), "acme.models[0].embedding.inputs must be"),
        (_with('embedding = { token_arrays = "no" }', "model"), "acme.models[0].embedding.token_arrays must be"),
        (GOOD.replace("acme-large", "a,b"), "acme.models[0].id must be"),
        (GOOD.replace("input = 0.15", "input = -1"), "acme.models[0].price.input must be"),
        (GOOD + '[[acme.models]]\nid = "acme-large"\n', "acme.models names 'acme-large' twice"),
        (GOOD.replace("openai_chat", "telepathy"), "acme.endpoints.telepathy is not a dialect"),
        (GOOD.replace("https://", "ftp://"), "acme.endpoints.openai_chat is not an http"),
        (GOOD.replace("https://", "https://me:hunter2@"), "acme.endpoints.openai_chat holds a user name"),
        (_with('key_check = "http://acme.test/key"'), "acme.key_check must be a path after /, an https URL, or empty"),
        (_with('key_prefixes = "ac-"'), "acme.key_prefixes must be a list of texts"),
        (_with('key_prefixes = ["ac-", ""]'), "acme.key_prefixes must be a list of texts"),
        ("[acme]\n", "acme.endpoints must name at least one dialect"),
        ("[Acme]\n", "cannot be the name of a provider"),
        ("[proxy]\n", "cannot be the name of a provider"),
        ("acme = 3\n", "acme is not a row"),
    ],
)
def test_a_fault_names_row_and_key_and_leaves_the_row_out(text: str, named: str) -> None:
    """Unknown keys, wrong types and impossible values are named with file, row and key; the row is left out."""
    rows, errors = _parse(text)
    assert rows == {}
    assert any(named in str(error) for error in errors), errors
    assert all(str(error).startswith("/x/providers.toml: ") for error in errors)
    assert all("left out" in str(error) for error in errors)
    assert "hunter2" not in "".join(map(str, errors))


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ('{ sizes = "any", inputs = 100 }', Embedding("any", 100)),
        ("{ sizes = [512, 256], call_tokens = 9, token_arrays = true }", Embedding((256, 512), None, 9, True)),
        ("{ sizes = [] }", Embedding(())),
        ("{}", Embedding()),
    ],
)
def test_what_a_model_for_embeddings_takes(said: str, wanted: Embedding) -> None:
    """Each absent key is not known; an empty list is known, and means that there is no other length."""
    [row] = _parse(_with(f"embeds = 1024\nembedding = {said}", "model"))[0].values()
    assert (row.models[0].embeds, row.models[0].embedding) == (1024, wanted)


def test_a_bad_row_costs_the_others_nothing() -> None:
    """One broken row is left out, the good one beside it stays."""
    rows, errors = _parse("[broken]\ntitle = 3\n" + GOOD)
    assert list(rows) == ["acme"]
    assert {str(error).split(": ")[1].split(".")[0] for error in errors} == {"broken"}


def test_all_faults_of_a_row_are_named_at_once() -> None:
    """Nobody has to start the daemon once for each mistake."""
    _, errors = _parse(_with("concurrency = 0\nkeyless = 1\nx = 2"))
    assert len(errors) == 3


def test_the_owners_rows_lie_over_ours() -> None:
    """A row of the owner's changes the keys that it names, and a new name is a new row; both are marked as his."""
    own = {"acme": {"concurrency": 2, "env": ["ACME_TOKEN"]}, "home": {"endpoints": {"openai_chat": "http://nas:1/v1"}}}
    rows, errors = overlay(tomllib.loads(GOOD), own, shipped_where="ours", own_where="own")
    assert errors == []
    by_name = {str(name): spec for name, spec in rows.items()}
    assert (by_name["acme"].concurrency, by_name["acme"].env) == (2, ("ACME_TOKEN",))
    assert by_name["acme"].models[0].id == "acme-large"
    assert by_name["acme"].own
    assert by_name["home"].own


def test_a_bad_row_of_the_owners_leaves_ours_in_force() -> None:
    """A mistake in one's own file does not take a provider away."""
    rows, errors = overlay(tomllib.loads(GOOD), {"acme": {"models": 3}}, shipped_where="ours", own_where="own")
    [spec] = rows.values()
    assert spec.models[0].id == "acme-large"
    assert not spec.own
    assert [error.where for error in errors] == ["own"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    ["endpoints", "models", "quotas", "headers", "can", "cannot", "price", "auth", "env", "rename", "quirks", "id"]
)


@given(st.dictionaries(st.text(string.ascii_lowercase, max_size=4), _JSON | st.dictionaries(_KEYS, _JSON), max_size=3))
def test_no_table_breaks_the_parser(tables: dict[str, Any]) -> None:
    """Whatever TOML can hold, a row comes out or an error; nothing is raised."""
    rows, errors = parse_rows(tables, where="x")
    assert set(rows) <= set(tables)
    assert len(rows) == len(tables) or errors


def test_other_ways_to_a_provider() -> None:
    """A row may have ways beside its own address: each names a row, and quirks on top; a fault is named."""
    rows, errors = _parse(GOOD + '\n[acme.routes.plan]\naddress_of = "openai"\nquirks = ["grouped_tools"]\n')
    assert errors == []
    route = rows["acme"].routes["plan"]
    assert (route.address_of, route.quirks) == ("openai", {Quirk.GROUPED_TOOLS})
    for wrong in (
        '[acme.routes]\nplan = "openai"\n',
        '[acme.routes.plan]\nquirks = ["nonsense"]\n',
        "[acme.routes.p]\n",
    ):
        rows, errors = _parse(f"{GOOD}\n{wrong}")
        assert "acme" not in rows
        assert "routes" in str(errors[0])


def test_where_its_servers_usually_listen() -> None:
    """Programs and their addresses, without a closing slash; what is no base URL leaves the row out."""
    rows, errors = _parse(_with('usual = { Toy = "http://localhost:1234/v1/" }'))
    assert errors == []
    assert rows["acme"].usual == {"Toy": "http://localhost:1234/v1"}
    for wrong in ('"http://localhost:1"', '{ Toy = "localhost:1" }', "{ Toy = 1 }"):
        rows, errors = _parse(_with(f"usual = {wrong}"))
        assert "acme" not in rows
        assert "usual" in str(errors[0])


def test_quirks_by_the_beginning_of_an_id() -> None:
    """Models of one maker among many behind one address share them; what names no quirk leaves the row out."""
    rows, errors = _parse(_with('id_quirks = { "acme-l" = ["cache_marks"], "other/" = ["one_stop"] }'))
    assert errors == []
    row = rows["acme"]
    assert row.quirks_of(row.models[0]) == {Quirk.MERGE_SYSTEM, Quirk.CACHE_MARKS}
    for wrong in ('["cache_marks"]', '{ "a/" = ["nobody"] }', '{ "a/" = "cache_marks" }', '{ "" = ["cache_marks"] }'):
        rows, errors = _parse(_with(f"id_quirks = {wrong}"))
        assert "acme" not in rows
        assert "id_quirks" in str(errors[0])
