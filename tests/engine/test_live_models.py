"""When a missing model has vanished, and what may take its place."""

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import Capability, Known, ModelSpec, Price, PriceClass, ProviderSpec
from hermes_router.core.ids import ModelId, ProviderName
from hermes_router.core.live_lists import Listed, LiveList
from hermes_router.engine.live_models import APART_S, LiveModels, News, as_spec, is_free, replacements

ROW = ProviderSpec(
    ProviderName("p"), "P", {"openai_chat": "http://p"}, "bearer", (ModelSpec(ModelId("a")), ModelSpec(ModelId("b"))),
    price_class=PriceClass.FREE,
)  # fmt: skip
WANTED = ("a", "b")


def _list(*names: str, at: float = 0.0, base: str = "http://p") -> LiveList:
    return LiveList([Listed(ModelId(name)) for name in names], at, base)


def _take(
    live: LiveModels,
    found: LiveList,
    *,
    row: ProviderSpec = ROW,
    answered: float = 0.0,
    refused: float = 0.0,
    wanted: tuple[str, ...] = WANTED,
) -> News:
    return live.take(row, wanted, found, answered_at=lambda _: answered, refused_at=lambda _: refused)


def test_one_list_proves_nothing_and_two_do() -> None:
    """A model that two good lists in a row lack has vanished, once; another one is untouched."""
    live = LiveModels()
    assert _take(live, _list("a", "x", "y", at=1.0)) == News(fresh=True)
    assert live.missing_from("p") == {"b"}
    assert live.gone_from("p") == frozenset()
    assert _take(live, _list("a", "x", "y", at=1.0 + APART_S)).vanished == ("b",)
    assert _take(live, _list("a", "x", "y", at=1.0 + 2 * APART_S)).vanished == ()
    assert live.gone_from("p") == {"b"}


def test_two_lists_of_one_minute_are_one_piece_of_evidence() -> None:
    """Whoever asks twice in a row (`hr models --refresh`) has proved nothing more."""
    live = LiveModels()
    _take(live, _list("a", "x", "y", at=1.0))
    assert _take(live, _list("a", "x", "y", at=20.0)).vanished == ()


def test_a_request_that_was_told_so_makes_one_list_enough() -> None:
    """A 404 from traffic and a list that lacks the model are two witnesses."""
    assert _take(LiveModels(), _list("a", "x", "y", at=5.0), refused=3.0).vanished == ("b",)


def test_what_answers_is_there() -> None:
    """A model that answered since the list that first lacked it has not vanished, whatever the next one says."""
    live = LiveModels()
    _take(live, _list("a", "x", "y", at=1.0))
    assert _take(live, _list("a", "x", "y", at=9_000.0), answered=4_000.0).vanished == ()
    assert _take(live, _list("a", "x", "y", at=9_100.0), answered=4_000.0, refused=3_000.0).vanished == ()


def test_a_vanished_model_that_answers_again_is_believed() -> None:
    """The hourly look found it alive: its absence from the list is no longer one."""
    live = LiveModels()
    _take(live, _list("a", "x", "y", at=1.0))
    _take(live, _list("a", "x", "y", at=2_000.0))
    _take(live, _list("a", "x", "y", at=30_000.0), answered=25_000.0)
    assert live.gone_from("p") == frozenset()


def test_it_returns_when_it_is_listed_again() -> None:
    """One list that has it is enough, and it is told once."""
    live = LiveModels()
    for at in (1.0, 2_000.0):
        _take(live, _list("a", "x", "y", at=at))
    assert _take(live, _list("a", "b", "x", at=3_000.0)).returned == ("b",)
    assert _take(live, _list("a", "b", "x", at=4_000.0)).returned == ()


@pytest.mark.parametrize("names", [(), ("x",), ("x", "y")])
def test_an_odd_list_is_not_believed(names: tuple[str, ...]) -> None:
    """An empty list, or a short one that knows none of ours, benches nothing, however often it comes."""
    live = LiveModels()
    _take(live, _list("a", "b", "x"))
    for at in (1.0, 2_000.0, 4_000.0):
        assert _take(live, _list(*names, at=at)).odd
    assert live.gone_from("p") == frozenset()
    assert live.lists["p"].find("a") is not None  # the last good one stays


def test_a_list_without_chat_models_is_odd() -> None:
    """Somebody else's list, of embedding models, says nothing of ours."""
    found = LiveList([Listed(ModelId(name), chats=False) for name in "uvwx"], 1.0, "http://p")
    assert _take(LiveModels(), found).odd


def test_a_list_that_is_known_to_be_incomplete_needs_a_witness() -> None:
    """Z.ai leaves out models that it serves: absence alone proves nothing there."""
    live, row = LiveModels(), replace(ROW, list_whole=False)
    for at in (1.0, 2_000.0, 4_000.0):
        assert _take(live, _list("a", "x", "y", at=at), row=row).vanished == ()
    assert _take(live, _list("a", "x", "y", at=5_000.0), row=row, refused=4_500.0).vanished == ("b",)


def test_all_models_of_a_row_can_vanish() -> None:
    """A whole new catalogue is believed like anything else: two lists, long enough."""
    live = LiveModels()
    _take(live, _list("x", "y", "z", at=1.0))
    assert set(_take(live, _list("x", "y", "z", at=2_000.0)).vanished) == {"a", "b"}


def test_another_address_is_another_provider() -> None:
    """What was missing elsewhere is forgotten, and a list of elsewhere is not this one's."""
    live = LiveModels()
    _take(live, _list("a", "x", "y", at=1.0))
    assert _take(live, _list("a", "x", "y", at=2_000.0, base="http://q")).vanished == ()
    assert live.view().of("p", "http://q") is not None
    assert live.view().of("p", "http://p") is None
    live.keep({"p": "http://r"})
    assert live.lists == {}


def test_fresh_is_what_differs() -> None:
    """A list that says the same makes no new generation."""
    live = LiveModels()
    assert _take(live, _list("a", "b", "x")).fresh
    assert not _take(live, _list("a", "b", "x", at=9.0)).fresh
    assert _take(live, _list("a", "b", "y", at=10.0)).fresh


def test_a_model_that_left_the_pool_is_no_longer_missed() -> None:
    """The owner took it out of his list."""
    live = LiveModels()
    _take(live, _list("a", "x", "y", at=1.0))
    _take(live, _list("a", "x", "y", at=2.0), wanted=("a",))
    assert live.missing_from("p") == frozenset()


def test_a_snapshot_sees_what_was_when_it_was_taken() -> None:
    """A view does not change with what is read later."""
    live = LiveModels()
    _take(live, _list("a", "b", "x"))
    view = live.view()
    for at in (1.0, 2_000.0):
        _take(live, _list("a", "x", "y", at=at))
    assert view.gone_from("p") == frozenset()
    assert live.view().gone_from("p") == {"b"}


# --- what takes its place ---------------------------------------------------------------------------------

ABLE = {Capability.TOOLS: Known.YES}


def _model(name: str, *, context: int | None = 128_000, price: Price | None = None, tools: Known | None = Known.YES,
           chats: bool = True) -> Listed:  # fmt: skip
    capabilities = {} if tools is None else {Capability.TOOLS: tools}
    return Listed(ModelId(name), context, price=price, capabilities=capabilities, chats=chats)


def test_w16_only_free_models_with_tools_and_64k_take_a_rows_place() -> None:
    """Declared by the list itself: a paid one, one without tools, with a small or unknown window never does."""
    row = replace(ROW, free_only=":free", price_class=PriceClass.PAID)
    found = [
        _model("paid"),
        _model("zero-but-unmarked", price=Price()),
        _model("dear:free", price=Price(1, 0)),
        _model("mute:free", tools=Known.NO),
        _model("silent:free", tools=None),
        _model("small:free", context=63_999),
        _model("boundless:free", context=None),
        _model("pictures:free", chats=False),
        _model("good:free", context=64_000, price=Price()),
        _model("better:free"),
    ]
    assert replacements(row, LiveList(found, 0.0, "")) == ("good:free", "better:free")


def test_a_list_that_says_nothing_of_tools_offers_what_is_marked_free() -> None:
    """Naga's list has ids only: the mark in the id is the declaration, what else is not said is unknown."""
    row = replace(ROW, free_only=":free", price_class=PriceClass.PAID)
    found = [
        _model("x:free", tools=None, context=None),
        _model("y", tools=None),
        _model("z:free", tools=None, context=9),
    ]
    assert replacements(row, LiveList(found, 0.0, "")) == ("x:free",)
    assert replacements(ROW, LiveList(found, 0.0, "")) == ()  # no mark, no declaration: whisper is "free", too


def test_at_most_eight_take_a_rows_place() -> None:
    """A catalogue of free models is not the pool's."""
    assert len(replacements(ROW, LiveList([_model(str(n)) for n in range(50)], 0.0, ""))) == 8


@pytest.mark.parametrize(
    ("row", "free_only", "price", "free"),
    [
        (PriceClass.FREE, None, None, True),
        (PriceClass.FREE, None, Price(1, 1), False),
        (PriceClass.PAID, None, None, False),
        (PriceClass.PAID, None, Price(), True),
        (PriceClass.FREE_CREDIT, None, None, False),
        (PriceClass.SUBSCRIPTION, None, None, False),
        (PriceClass.PAID, ":free", Price(), True),
        (PriceClass.PAID, ":free", None, False),
    ],
)
def test_nothing_is_assumed_free(row: PriceClass, free_only: str | None, price: Price | None, free: bool) -> None:
    """Free is what the row marks, or the list prices at nothing; never what is only not priced."""
    spec = replace(ROW, price_class=row, free_only=free_only)
    model = _model("m", price=price)
    assert is_free(spec, model) is free
    assert (as_spec(spec, model).price_class is PriceClass.FREE) is free


def test_a_listed_model_as_a_row_would_have_it() -> None:
    """Windows and capabilities with their provenance; a price makes a free row's model a paid one."""
    made = as_spec(ROW, _model("m", price=Price(5, 6)))
    assert (made.price_class, made.price, made.context) == (PriceClass.PAID, Price(5, 6), 128_000)
    assert made.capability(Capability.TOOLS).source == "listed"
    assert made.embeds is None
    assert as_spec(ROW, _model("m", chats=False)).embeds == 0
