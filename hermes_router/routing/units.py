"""The units of quota by number, and who may say what a limit is.

Owns constants that windows, plans and rows share. It must never compute.
"""

from typing import Literal

from hermes_router.core.observations import Unit

Origin = Literal["published", "learned", "owner", "told"]
BINDING: frozenset[str] = frozenset({"learned", "owner", "told"})
TAUGHT: frozenset[str] = frozenset({"learned", "told"})

REQUESTS, TOKENS, INPUT, OUTPUT, MONEY, LEVEL, SHARE = range(7)
BY_SIZE = frozenset({TOKENS, INPUT, OUTPUT, MONEY})  # it depends on the request how much of these it takes
CODES = {
    Unit.REQUESTS: REQUESTS,
    Unit.TOKENS: TOKENS,
    Unit.INPUT_TOKENS: INPUT,
    Unit.OUTPUT_TOKENS: OUTPUT,
    Unit.MICROUSD: MONEY,
    Unit.CONCURRENCY: LEVEL,
    Unit.PERCENT: SHARE,
}
Amounts = tuple[int, int, int, int, int, int, int]
"""What one request takes of each unit, by the unit's code."""
