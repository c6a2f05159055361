"""The memory hands artefacts back to whom they belong, and to nobody else; it is bounded and shows nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from hermes_router.core.catalog import ModelSpec, ProviderSpec, Quirk, TargetFacts
from hermes_router.core.content import Reasoning, Seal
from hermes_router.core.events import Answer, Block, BlockKind
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName, Target
from hermes_router.engine.memory import Memory
from hermes_router.wire.chat.outgoing import Recall


class Clock:
    """Time that stands until it is moved."""

    def __init__(self):
        self.at = 1_000.0

    def now(self):
        return self.at

    def mono(self):
        return self.at


def facts(provider="gemini", model="flash"):
    spec = ModelSpec(ModelId(model))
    row = ProviderSpec(ProviderName(provider), provider, {"openai_chat": "http://p"}, "bearer", (spec,))
    credential = Credential(CredentialId("abcd"), row.name, AccountId("a"), "api_key", "r", "tail", "env")
    return TargetFacts(Target(row.name, spec.id, credential.id), row, spec, credential, "http://p")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def memory(clock):
    return Memory(clock)


def keep(memory, provider="gemini", model="flash", **more):
    given = {"call_id": "c1", "name": "f", "arguments": '{"a":1,"b":2}', "signature": "sig"}
    memory.keep(provider=provider, model=model, **(given | more))


CALL = ("c1", "f", '{"a":1,"b":2}')


def test_an_artefact_is_found_by_id(memory):
    """The caller sends the call back as it was shown."""
    keep(memory, reasoning="why", details=[{"type": "x"}])
    view: Recall = memory.recall_for(facts())
    assert view.signature(*CALL) == "sig"
    assert view.reasoning(*CALL) == "why"
    assert bytes(view.details(*CALL)) == b'[{"type":"x"}]'


def test_an_artefact_is_found_by_name_and_canonical_arguments(memory):
    """Clients rewrite ids and reorder keys (providers.md 3.1)."""
    keep(memory)
    view = memory.recall_for(facts())
    assert view.signature("other", "f", '{ "b": 2, "a": 1 }') == "sig"
    assert view.signature("other", "g", '{"a":1,"b":2}') is None
    assert view.signature("other", "f", '{"a":1}') is None


def test_the_id_holds_where_arguments_were_reshaped(memory):
    """The same id and tool with other arguments is the same call, as long as the id is unambiguous."""
    keep(memory)
    view = memory.recall_for(facts())
    assert view.signature("c1", "f", "{}") == "sig"
    assert view.signature("c1", "g", "{}") is None


def test_ids_that_are_numbered_anew_do_not_mix_conversations(memory):
    """Kimi's ids (`functions.f:0`) repeat in each conversation: then only the same call counts."""
    keep(memory, call_id="functions.f:0", arguments='{"x":1}', reasoning="one")
    keep(memory, call_id="functions.f:0", arguments='{"x":2}', reasoning="two")
    view = memory.recall_for(facts())
    assert view.reasoning("functions.f:0", "f", '{"x":1}') == "one"
    assert view.reasoning("functions.f:0", "f", '{"x":2}') == "two"
    assert view.reasoning("functions.f:0", "f", '{"x":3}') is None


def test_the_id_decides_between_equal_calls(memory):
    """The same command twice: each has the reasoning that led to it, and the later one serves unknown ids."""
    keep(memory, call_id="a", reasoning="one")
    keep(memory, call_id="b", reasoning="two")
    view = memory.recall_for(facts())
    assert view.reasoning("a", *CALL[1:]) == "one"
    assert view.reasoning("b", *CALL[1:]) == "two"
    assert view.reasoning("zzz", *CALL[1:]) == "two"


def test_nothing_crosses_providers_and_blobs_do_not_cross_models(memory):
    """Signatures and details go to the very model, reasoning to the provider (providers.md 7, last line)."""
    keep(memory, reasoning="why", details=[1])
    sibling, stranger = memory.recall_for(facts(model="pro")), memory.recall_for(facts(provider="kimi"))
    assert sibling.signature(*CALL) is None
    assert sibling.details(*CALL) is None
    assert sibling.reasoning(*CALL) == "why"
    assert (stranger.signature(*CALL), stranger.reasoning(*CALL), stranger.details(*CALL)) == (None, None, None)


def test_scopes_are_apart(memory):
    """One caller's reasoning is not sent in another's name where the engine keeps them apart."""
    keep(memory, scope="alice")
    assert memory.recall_for(facts(), "alice").signature(*CALL) == "sig"
    assert memory.recall_for(facts(), "bob").signature(*CALL) is None
    assert memory.recall_for(facts()).signature(*CALL) is None


def test_details_go_back_byte_for_byte(memory):
    """Raw JSON is kept as it came (12.9: unmodified)."""
    keep(memory, details=Raw(b'[ {"type" : "reasoning.encrypted"} ]'))
    assert bytes(memory.recall_for(facts()).details(*CALL)) == b'[ {"type" : "reasoning.encrypted"} ]'


def test_nothing_is_kept_of_nothing(memory):
    """A call without artefacts takes no room."""
    keep(memory, signature=None)
    assert len(memory) == 0


def test_age_counts_from_the_last_use(memory, clock):
    """24 hours after the last use an entry is gone; a use keeps it."""
    keep(memory)
    view = memory.recall_for(facts())
    clock.at += 20 * 3600
    assert view.signature(*CALL) == "sig"
    clock.at += 20 * 3600
    assert view.signature(*CALL) == "sig"
    clock.at += 25 * 3600
    assert view.signature(*CALL) is None
    assert len(memory) == 0


def test_old_entries_leave_when_new_ones_come(memory, clock):
    """What nobody asks for does not stay until the memory is full."""
    keep(memory)
    clock.at += 25 * 3600
    keep(memory, call_id="c2", arguments="{}")
    assert len(memory) == 1


def test_the_least_recently_used_leaves_first(clock):
    """Bounded by number: what is asked for stays."""
    memory = Memory(clock, entries_max=2)
    keep(memory, call_id="a", arguments='{"n":1}')
    keep(memory, call_id="b", arguments='{"n":2}')
    assert memory.recall_for(facts()).signature("a", "f", '{"n":1}') == "sig"
    keep(memory, call_id="c", arguments='{"n":3}')
    view = memory.recall_for(facts())
    assert view.signature("b", "f", '{"n":2}') is None
    assert view.signature("a", "f", '{"n":1}') == "sig"
    assert len(memory) == 2


def test_bytes_are_bounded(clock):
    """However long the reasoning is: the bound holds, and one entry above it is not kept at all."""
    memory = Memory(clock, bytes_max=10_000)
    for number in range(50):
        keep(memory, call_id=f"c{number}", arguments=f'{{"n":{number}}}', reasoning="ü" * 1_000)
        assert memory.size_bytes <= 10_000
    assert 0 < len(memory) < 50
    keep(memory, call_id="huge", reasoning="x" * 20_000)
    assert memory.recall_for(facts()).reasoning("huge", "f", '{"a":1,"b":2}') is None


def test_keeping_again_replaces(memory):
    """The same call once more: one entry, the newer artefact."""
    keep(memory)
    size = memory.size_bytes
    keep(memory, signature="new")
    assert memory.recall_for(facts()).signature(*CALL) == "new"
    assert (len(memory), memory.size_bytes) == (1, size)


def test_a_forgotten_call_is_gone_for_all(memory):
    """On a 400 about reasoning the entry is cleared (3.13)."""
    keep(memory)
    keep(memory, provider="kimi")
    memory.forget("c1")
    memory.forget("never seen")
    assert len(memory) == 0
    assert memory.size_bytes == 0
    assert memory._by_id == {}
    assert memory._by_content == {}


def test_ll13_contents_are_never_shown(memory):
    """No repr of the memory or its entries shows what they hold (LL-13)."""
    keep(memory, reasoning="my secret plan")
    assert "secret" not in repr(memory) + repr(memory._entries)
    assert "1 entries" in repr(memory)


def test_odd_strings_are_kept_without_an_error(memory):
    """Arguments that are no JSON count as they are; surrogates do not break anything."""
    keep(memory, arguments="{cut", reasoning="a\ud800b", name="\udfff")
    assert memory.recall_for(facts()).reasoning("c1", "\udfff", "{cut") == "a?b"


def test_an_answer_is_kept_whole(memory):
    """Reasoning and details belong to the turn, so to each of its calls; signatures to the call that carried them."""
    answer = Answer(
        blocks=[
            Block(
                BlockKind.REASONING,
                "first, ",
                extras={"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "fir"}]},
            ),
            Block(
                BlockKind.REASONING,
                "then",
                extras={"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "st", "signature": "s"}]},
            ),
            Block(
                BlockKind.REASONING,
                "",
                extras={"reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "x"}, "odd"]},
            ),
            Block(BlockKind.TEXT, "text"),
            Block(BlockKind.TOOL_CALL, "{}", "a", "f", {"extra_content": {"google": {"thought_signature": "sig"}}}),
            Block(BlockKind.TOOL_CALL, "{}", "b", "g", {"extra_content": 5}),
        ]
    )
    memory.keep_answer(facts(), answer)
    view = memory.recall_for(facts())
    assert view.signature("a", "f", "{}") == "sig"
    assert view.signature("b", "g", "{}") is None
    assert view.reasoning("b", "g", "{}") == "first, then"
    assert bytes(view.details("a", "f", "{}")) == (
        b'[{"type":"reasoning.text","index":0,"text":"first","signature":"s"},{"type":"reasoning.encrypted","index":1,"data":"x"},"odd"]'
    )


def test_an_answer_without_calls_leaves_nothing(memory):
    """Replay is for turns with calls."""
    memory.keep_answer(facts(), Answer(blocks=[Block(BlockKind.REASONING, "hm")]))
    assert len(memory) == 0


NAMES = st.sampled_from(["a", "b", "c"])


@given(
    st.lists(
        st.tuples(NAMES, NAMES, st.integers(0, 2), st.sampled_from(["keep", "forget", "find", "wait"])), max_size=40
    )
)
def test_the_indexes_agree_with_the_entries(steps):
    """After any sequence of uses each index lists exactly the entries there are, and the bytes add up."""
    clock = Clock()
    memory = Memory(clock, entries_max=4, bytes_max=2_500, ttl_s=100)
    for call_id, name, number, what in steps:
        if what == "keep":
            keep(memory, call_id=call_id, name=name, arguments=str(number), reasoning="x" * number * 300)
        elif what == "forget":
            memory.forget(call_id)
        elif what == "find":
            memory.recall_for(facts()).signature(call_id, name, str(number))
        else:
            clock.at += 60
        entries = sorted(memory._entries)
        assert sorted(key for keys in memory._by_id.values() for key in keys) == entries
        assert sorted(key for keys in memory._by_content.values() for key in keys) == entries
        assert memory.size_bytes == sum(entry.size for entry in memory._entries.values()) <= 2_500
        assert len(entries) <= 4


THOUGHT = Reasoning("first this", Seal("anthropic_messages", "signature", "sig-1", "anthropic/claude"))


def test_sealed_thoughts_go_back_to_the_model_that_made_them(memory):
    """As they came, to no other model, and in front of the call that they led to (providers.md 12.9)."""
    answer = Answer(
        blocks=[
            Block(BlockKind.REASONING, "first this", seal=THOUGHT.seal),
            Block(BlockKind.TOOL_CALL, "{}", "call_1", "f"),
            Block(BlockKind.TOOL_CALL, "{}", "call_2", "g"),
        ]
    )
    memory.keep_answer(facts("anthropic", "claude"), answer, "caller")
    mine = memory.recall_for(facts("anthropic", "claude"), "caller")
    assert mine.thoughts("call_1", "f", "{}") == mine.thoughts("call_2", "g", "{}") == (THOUGHT,)
    assert memory.recall_for(facts("anthropic", "other"), "caller").thoughts("call_1", "f", "{}") == ()
    assert memory.recall_for(facts("anthropic", "claude"), "another").thoughts("call_1", "f", "{}") == ()
    assert mine.thoughts("call_3", "f", '{"a":1}') == ()


def test_who_sealed_a_thought_is_remembered_without_a_call(memory):
    """A caller brings bare signatures back: theirs, another's, or nobody knows."""
    answer = Answer(blocks=[Block(BlockKind.REASONING, "x", seal=THOUGHT.seal), Block(BlockKind.TEXT, "y")])
    memory.keep_answer(facts("anthropic", "claude"), answer, "caller")
    assert memory.recall_for(facts("anthropic", "claude"), "z").made_here("sig-1") is True
    assert memory.recall_for(facts("kimi", "k3"), "z").made_here("sig-1") is False
    assert memory.recall_for(facts("kimi", "k3"), "z").made_here("sig-2") is None


def test_remembered_makers_are_bounded(memory, monkeypatch):
    """The oldest leaves first."""
    monkeypatch.setattr("hermes_router.engine.memory.MAKERS_MAX", 2)
    for number in range(3):
        seal = Seal("anthropic_messages", "signature", f"s{number}")
        memory.keep_answer(facts("a", "m"), Answer(blocks=[Block(BlockKind.REASONING, "x", seal=seal)]), "")
    assert [memory.made_by(f"s{n}") for n in range(3)] == [None, ("a", "m"), ("a", "m")]


def test_a_thought_sealed_to_an_account_is_that_accounts(memory):
    """Where a row says so, another account of the same model is another maker (codex.md 6.2)."""
    bound = facts("codex", "m")
    own = replace(bound, quirks=frozenset({Quirk.ACCOUNT_SEALS}))
    credential = bound.credential._replace(id=CredentialId("ef01"))
    other = replace(own, credential=credential, target=Target(own.provider.name, own.model.id, credential.id))
    thought = Block(BlockKind.REASONING, seal=Seal("openai_responses", "encrypted", "blob"))
    call = Block(BlockKind.TOOL_CALL, text="{}", call_id="c", name="t")
    memory.keep_answer(own, Answer("i", "m", 1, (thought, call)))
    assert memory.recall_for(own).thoughts("c", "t", "{}")
    assert memory.recall_for(own).made_here("blob")
    assert not memory.recall_for(other).thoughts("c", "t", "{}")
    assert memory.recall_for(other).made_here("blob") is False
    assert own.maker != other.maker
    assert bound.maker == bound.target.name


def test_seals_beside_an_answer_have_a_maker_too(memory) -> None:
    """What stands for a conversation goes back to who made it; an empty one is nobody's."""
    memory.keep_seals(facts("openai", "m"), [Seal("openai_responses", "encrypted", data) for data in ("history", "")])
    assert memory.recall_for(facts("openai", "m")).made_here("history") is True
    assert memory.recall_for(facts("openai", "other")).made_here("history") is False
    assert memory.recall_for(facts("openai", "m")).made_here("") is None


def test_cp6_a_refused_seal_is_not_sent_to_that_model_again(memory):
    """By who refused it; another model may still be its maker, and what it makes later is its own (CP-6)."""
    memory.refuse(facts("anthropic", "claude"), ["sig-1"])
    told = memory.recall_for(facts("anthropic", "claude"))
    assert (told.made_here("sig-2"), told.left_out) == (None, False)
    assert (told.made_here("sig-1"), told.left_out) == (False, True)
    for other in (facts("anthropic", "other"), facts("kimi", "claude")):
        assert memory.recall_for(other).made_here("sig-1") is None
    memory.keep_seals(facts("anthropic", "claude"), [THOUGHT.seal])
    assert memory.recall_for(facts("anthropic", "claude")).made_here("sig-1") is True


def test_cp6_what_a_model_made_itself_is_believed_as_long_as_there_are_strangers(memory):
    """A refusal does not say which one it means."""
    memory.keep_seals(facts("anthropic", "claude"), [THOUGHT.seal])
    mine = memory.recall_for(facts("anthropic", "claude"))
    memory.refuse(facts("anthropic", "claude"), ["sig-1", "stranger"])
    assert (mine.made_here("sig-1"), mine.made_here("stranger")) == (True, False)
    memory.refuse(facts("anthropic", "claude"), ["sig-1"])
    assert mine.made_here("sig-1") is False


def test_remembered_refusals_are_bounded(memory, monkeypatch):
    """The oldest leaves first."""
    monkeypatch.setattr("hermes_router.engine.memory.REFUSED_MAX", 2)
    memory.refuse(facts("a", "m"), [f"s{number}" for number in range(3)])
    assert [memory.has_refused("a", "m", f"s{number}") for number in range(3)] == [False, True, True]
