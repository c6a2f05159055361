"""What a fake provider remembers: its own seals, and prompts that came before."""

import pytest

from hermes_router.sandbox.memory import LEAST_CACHED_TOKENS, Memory


def test_a_seal_opens_for_its_holder_at_its_maker_only() -> None:
    """Another holder, another provider, a changed, a cut or a made-up seal: nothing."""
    memory = Memory("anthropic")
    sealed = memory.seal("model a", "thoughts, naïve")
    assert memory.opened("model a", sealed) == "thoughts, naïve"
    assert memory.opened("model b", sealed) is None
    assert Memory("kimi").opened("model a", sealed) is None
    for wrong in ("", "x", "hr1.abc", sealed[:-8], "A" + sealed[1:], "ä" + sealed):
        assert memory.opened("model a", wrong) is None


@pytest.mark.parametrize("marked", [True, False])
def test_a_prompt_is_read_up_to_the_longest_known_beginning(marked) -> None:
    """Marks are what is cached; below a thousand tokens nothing is; another holder has nothing."""
    memory, big = Memory("p"), LEAST_CACHED_TOKENS
    first = [("tools", 10, True), ("system", big, marked), ("turn 1", 5, True)]
    assert memory.cached("a", first) == (0, big + 15)
    assert memory.cached("a", [*first, ("turn 2", 7, True)]) == (big + 15, 7)
    changed = [*first[:2], ("other", 5, True)]
    assert memory.cached("a", changed) == ((big + 10, 5) if marked else (0, big + 15))
    assert memory.cached("b", first) == (0, big + 15)
    assert memory.cached("a", [("tools", 10, True)]) == (0, 0)
