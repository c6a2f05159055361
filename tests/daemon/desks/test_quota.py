"""hermes_router/daemon/desks/quota.py: the ledger in its owner's words."""

import pytest

from hermes_router.core.errors import ControlError
from hermes_router.core.observations import QuotaSeen, Unit, Window

ENV = {"GROQ_API_KEY": "sk-canary-groq-0123456789", "GROQ_MODEL": "openai/gpt-oss-20b"}


async def test_every_window_names_whose_it_is(office) -> None:
    """A told window shows the key by its last four characters, what is left, when it returns and who says so."""
    here = await office("groq", **ENV)
    engine = here.daemon.engine
    facts = engine.snapshot.roster.facts[0]
    now = engine.clock.now()
    engine.state.seen(facts.target, [QuotaSeen("account", Unit.REQUESTS, Window.MINUTE, 30, 4, now + 20)], now)
    rows = (await here.backend.quota("groq")).rows
    told = next(row for row in rows if row.source == "told")
    assert (told.limit, told.remaining, told.used, told.binds) == (30, 4, 26, True)
    assert told.whose == "key …6789"
    assert told.reset_at is not None
    assert {row.provider for row in rows} == {"groq"}
    assert "canary" not in str(rows)


async def test_an_unknown_provider_is_named_with_near_ones(office) -> None:
    """`hr quota grok` is a usage error that suggests groq."""
    here = await office("groq", **ENV)
    with pytest.raises(ControlError, match="grok") as caught:
        await here.backend.quota("grok")
    assert caught.value.exit_code == 2
    assert "groq" in str(caught.value.next_step)
