"""Windows: what a target can take and what is advertised."""

import pytest
from msgspec.structs import replace

from hermes_router.core.catalog import QuotaRule
from hermes_router.core.observations import Unit, Window
from hermes_router.routing.learned import Learned
from hermes_router.routing.roster import Roster
from hermes_router.routing.window import (
    advertised_context,
    advertised_output,
    can_take,
    capacity,
    is_local,
    overflow,
    pin_output,
    pin_window,
)

TPM = QuotaRule(Unit.TOKENS, 8_000, Window.MINUTE)


def test_the_window_is_what_two_providers_can_take(make, world) -> None:
    """The second-best provider counts, and a provider alone counts for itself."""
    settings = world().settings
    big, mid, small = make("a/x", context=1_000_000), make("b/x", context=200_000), make("c/x", context=32_000)
    assert advertised_context(Roster([big, mid, small]), settings, Learned()) == 200_000 - 1_024
    assert advertised_context(Roster([big, make("a/y", context=900)]), settings, Learned()) == 1_000_000 - 1_024


def test_the_owners_word_overrides(make, world) -> None:
    """ADVERTISED_CONTEXT is what is shown."""
    settings = replace(world().settings, advertised_context=5)
    assert advertised_context(Roster([make("a/x")]), settings, Learned()) == 5


def test_unknown_windows_count_as_64000_and_local_as_8192_until_learned(make) -> None:
    """What nobody knows is guessed low, and replaced by what was read."""
    cloud = make("a/x", context=None)
    local = make("local/x", context=None, kind="none")
    learned = Learned()
    assert (can_take(cloud, learned), can_take(local, learned)) == (64_000, 8_192)
    learned.of("local", "x").context = 32_768
    assert can_take(local, learned) == 32_768 - 1_024


def test_an_unknown_window_binds(make) -> None:
    """A request that is larger goes elsewhere, or hears 64,000: it is not tried out with the caller's prompt."""
    assert capacity(make("a/x", context=None), None) == (64_000, 64_000)
    assert capacity(make("local/x", context=None, kind="none"), None) == (8_192, 8_192)
    assert capacity(make("a/x", context=None), 200_000).hard == 200_000 - 1_024


@pytest.mark.parametrize(
    ("window", "needed", "told"),
    [(64_000, 70_000, (64_000, 70_000)), (64_000, 60_000, (64_000, 64_001)), (130_048, 16_678, (16_677, 16_678))],
)
def test_what_is_said_of_a_request_that_is_too_long(window, needed, told) -> None:
    """The advertised window where the request may exceed it; else no more than that this one did not fit."""
    assert overflow(window, needed) == told


def test_token_windows_and_the_skip_limit_count(make) -> None:
    """The least of context, the largest request a token window admits, and `_SKIP_TOKENS_OVER`."""
    learned = Learned()
    assert can_take(make("a/x", quotas=[TPM]), learned) == 7_000
    assert can_take(make("a/x", quotas=[TPM._replace(unit=Unit.INPUT_TOKENS)]), learned) == 8_000
    assert can_take(make("a/x", skip_tokens_over=3_000), learned) == 3_000


def test_a_prior_is_soft_and_the_owners_word_is_hard(make) -> None:
    """A published token window ranks; the owner's rules out."""
    prior = capacity(make("a/x", quotas=[TPM]), None)
    assert (prior.soft, prior.hard) == (7_000, 131_072 - 1_024)
    owner = capacity(make("a/x", quotas=[TPM._replace(origin="owner")]), None)
    assert (owner.soft, owner.hard) == (7_000, 7_000)


def test_a_65536_window_still_shows_what_hermes_demands(make) -> None:
    """Hermes refuses a model below 64,000 tokens: the reserve leaves a 65,536 window above it."""
    assert can_take(make("a/x", context=65_536), Learned()) >= 64_000


def test_the_local_profile_advertises_local_models_only(make, world) -> None:
    """`hermes-router:local` shows what stays on the machine; disabled targets and embedders show nothing."""
    roster = Roster([
        make("local/x", context=16_384, private=True), make("a/x"), make("b/x"),
        make("c/x", context=9, disabled="off"), make("d/x", context=9, embeds=3),
    ])  # fmt: skip
    settings = world().settings
    assert advertised_context(roster, settings, Learned(), profile="local") == 16_384 - 1_024
    assert advertised_context(roster, settings, Learned()) == 131_072 - 1_024


def test_the_output_limit_follows_the_same_rule(make, world) -> None:
    """The second-best output cap, unknown ones low, never above the window."""
    settings = world().settings
    roster = Roster([make("a/x", output_cap=9_000, max_output=20_000), make("b/x", max_output=None)])
    assert advertised_output(roster, settings, Learned()) == 4_096
    assert advertised_output(Roster([make("a/x", output_cap=9_000, max_output=20_000)]), settings, Learned()) == 9_000
    assert advertised_output(roster, replace(settings, advertised_context=100), Learned()) == 100


def test_an_empty_pool_advertises_the_unknown(world) -> None:
    """With no target the window is the one that unknown targets count as."""
    assert advertised_context(Roster([]), world().settings, Learned()) == 64_000


def test_local_is_what_is_private_or_keyless(make) -> None:
    """A server on the LAN without a key is local for `:fast`, though not private."""
    assert is_local(make("x/m", private=True))
    assert is_local(make("x/m", kind="none"))
    assert not is_local(make("x/m"))


def test_a_pin_shows_its_whole_context_or_what_the_owner_lets_through(make) -> None:
    """Nothing is taken off for the answer, as no provider's list does; a limit of the owner's binds, a prior does not."""
    roster = Roster([
        make("a/x", context=64_000), make("b/x", context=64_000, skip_tokens_over=9_000), make("c/x", quotas=[TPM]),
        make("d/x", quotas=[TPM._replace(origin="owner")]),
    ])  # fmt: skip
    found = {name: pin_window(roster, Learned(), name, "x") for name in "abcd"}
    assert found == {"a": 64_000, "b": 9_000, "c": 131_072, "d": 7_000}
    assert pin_window(roster, Learned(), None, "x") == 131_072


def test_a_pin_of_which_nothing_is_known_shows_what_is_counted_with(make) -> None:
    """64,000, of a local one 8,192, until learned; of the output, what is assumed of it."""
    learned = Learned()
    roster = Roster([
        make("a/x", context=None, max_output=None), make("local/x", context=None, max_output=None, kind="none"),
        make("b/x", context=2_000, output_cap=3_000),
    ])  # fmt: skip
    limits = {name: (pin_window(roster, learned, name, "x"), pin_output(roster, name, "x"))
              for name in ("a", "local", "b")}  # fmt: skip
    assert limits == {"a": (64_000, 4_096), "local": (8_192, 4_096), "b": (2_000, 3_000)}
    learned.of("a", "x").context = 200_000
    assert pin_window(roster, learned, "a", "x") == 200_000
