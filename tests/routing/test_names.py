"""Names: profiles, pins, and what is neither."""

import pytest

from hermes_router.core.catalog import ModelSpec
from hermes_router.core.errors import UnknownModel
from hermes_router.core.ids import ModelId
from hermes_router.routing.names import IGNORED, Pin, Resolved, resolve
from hermes_router.routing.roster import Former, Roster


@pytest.fixture
def roster(make):
    """Three providers, each known in another way."""
    return Roster(
        [
            make("groq/openai/gpt-oss-120b", models=[ModelSpec(ModelId("qwen"))]),
            make("openrouter/free", open_catalogue=True),
            make("openai/gpt-6-luna"),
        ],
        live_models={"openai": {"gpt-6-sol": ModelSpec(ModelId("gpt-6-sol"))}},
    )


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("hermes-router", "main"),
        ("hermes-router:fast", "fast"),
        ("hermes-router:local", "local"),
        (" hermes-router ", "main"),
    ],
)
def test_profiles(roster, name: str, profile: str) -> None:
    """The router's own names are profiles, without a warning."""
    found = resolve(name, roster, strict=True)
    assert (found.profile, found.pin, found.warning) == (profile, None, None)


def test_another_profile_is_unknown(roster) -> None:
    """Any other `hermes-router:x` is a 404 that names the ones there are."""
    with pytest.raises(UnknownModel, match="hermes-router:local") as caught:
        resolve("hermes-router:turbo", roster, strict=False)
    assert caught.value.status == 404
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("name", "pin"),
    [
        ("openai/gpt-6-luna", Pin("openai", "gpt-6-luna")),  # in the pool
        ("groq/qwen", Pin("groq", "qwen")),  # in the row only
        ("openai/gpt-6-sol", Pin("openai", "gpt-6-sol")),  # in the live list
        ("openrouter/acme/any:free", Pin("openrouter", "acme/any:free")),  # an open catalogue
        ("gpt-6-luna", Pin(None, "gpt-6-luna")),  # a whole id
        ("openai/gpt-oss-120b", Pin(None, "openai/gpt-oss-120b")),  # an id with a slash is Groq's, not OpenAI's
        ("groq/openai/gpt-oss-120b", Pin("groq", "openai/gpt-oss-120b")),
        ("local/anything", Pin("local", "anything")),  # always a pin
    ],
)
def test_pins(roster, name: str, pin: Pin) -> None:
    """A known provider's known model, a whole id of the pool, an open catalogue and local names are pins."""
    found = resolve(name, roster, strict=True)
    assert (found.pin, found.warning) == (pin, None)


@pytest.mark.parametrize("name", ["gpt-4o", "openai/gpt-2", "nobody/model", "openai/", "/gpt-6-luna"])
def test_any_other_name_is_ignored_with_a_warning(roster, name: str) -> None:
    """The router picks, and says that it did not honour the name."""
    found = resolve(name, roster, strict=False)
    assert (found.profile, found.pin, found.warning) == ("main", None, IGNORED)


def test_no_name_at_all_is_no_reason_to_warn(roster) -> None:
    """An empty model is the router's choice."""
    assert resolve("", roster, strict=False).warning is None


def test_strict_names_near_ones(roster) -> None:
    """With STRICT_MODELS an unknown name is a 404 that names near ones."""
    with pytest.raises(UnknownModel, match="gpt-6-luna"):
        resolve("openai/gpt-6-lunar", roster, strict=True)


def test_a_long_name_is_not_repeated_whole(roster) -> None:
    """An error never echoes more than a hundred characters of a name."""
    with pytest.raises(UnknownModel) as caught:
        resolve("x" * 5_000, roster, strict=True)
    assert len(caught.value.message) < 400


def test_the_name_that_claude_code_lists_is_ours() -> None:
    """It shows no model without `claude` in its id; STRICT_MODELS knows the name, too."""
    roster = Roster(())
    assert resolve("claude-hermes-router", roster, strict=True) == Resolved("main")


def before(*ids: str, pool: tuple[str, ...] = (), **more: bool) -> Former:
    """What a provider without a key served."""
    return Former({one: ModelSpec(ModelId(one)) for one in (*pool, *ids)}, frozenset(pool), **more)


FORMER = {
    "groq": before("qwen", pool=("openai/gpt-oss-20b",)),
    "openrouter": before(open_catalogue=True),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("name", "pin"),
    [
        ("groq/openai/gpt-oss-20b", Pin("groq", "openai/gpt-oss-20b")),
        ("groq/qwen", Pin("groq", "qwen")),
        ("openai/gpt-oss-20b", Pin(None, "openai/gpt-oss-20b")),
        ("openrouter/acme/any:free", Pin("openrouter", "acme/any:free")),
    ],
)
def test_a_name_means_the_same_after_its_key_was_taken_out(make, name: str, pin: Pin, strict: bool) -> None:
    """Never a 404, and never another model."""
    found = resolve(name, Roster([make("mistral/m")], former=FORMER), strict=strict)
    assert (found.pin, found.warning) == (pin, None)


@pytest.mark.parametrize("name", ["qwen", "groq/gpt-4o", "gpt-oss-20b"])
def test_what_was_no_pin_before_is_none_afterwards(make, name: str) -> None:
    """Only what could be named is remembered: a row's other models were never known without their provider."""
    assert resolve(name, Roster([make("mistral/m")], former=FORMER), strict=False).warning == IGNORED
