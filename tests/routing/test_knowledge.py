"""What is known of a model, whence, and how old it is."""

from msgspec.structs import replace

from hermes_router.core.catalog import Capability, Claim, Known
from hermes_router.core.live_lists import LiveList
from hermes_router.routing.knowledge import Fact, knowledge
from hermes_router.routing.learned import CAPABILITY_S, Learned, Learnt

NOW = 1_000_000.0


def test_every_fact_has_its_source_and_its_age(make) -> None:
    """Declared ones are undated, listed ones as old as the list, learned ones as old as the lesson; unknown is none."""
    facts = make("a/m", caps="tools=yes images=no! reasoning=unknown")
    facts.model.capabilities[Capability.AUDIO] = Claim(Known.NO, "listed")
    learned = Learned()
    memory = learned.of("a", "m")
    memory.capabilities[Capability.TOOLS] = Learnt(Known.NO, NOW - 60, "probed")
    memory.capabilities[Capability.IMAGES] = Learnt(Known.YES, NOW - 60)
    memory.capabilities[Capability.FILES] = Learnt(Known.YES, NOW - 5)
    memory.capabilities[Capability.LOGPROBS] = Learnt(Known.YES, NOW - CAPABILITY_S)
    memory.context, memory.context_at = 9_000, NOW - 7
    assert knowledge(facts, learned, LiveList((), NOW - 500, ""), NOW) == {
        "tools": Fact("no", "probed", 60.0),
        "images": Fact("no", "override"),
        "audio": Fact("no", "listed", 500.0),
        "files": Fact("yes", "seen", 5.0),
        "context": Fact(9_000, "seen", 7.0),
    }


def test_where_a_window_is_from(make) -> None:
    """The row's own, the list's where it differs, a local server's where there is no list; unknown is not shown."""
    found, whole = LiveList((), NOW - 5, ""), make("a/m", context=131_072)
    narrow = replace(whole, model=replace(whole.model, context=9))
    assert knowledge(whole, Learned(), found, NOW)["context"] == Fact(131_072, "declared")
    assert knowledge(narrow, Learned(), found, NOW)["context"] == Fact(9, "listed", 5.0)
    assert knowledge(narrow, Learned(), None, NOW)["context"] == Fact(9, "probed")
    assert "context" not in knowledge(make("a/m", context=None), Learned(), None, NOW)
