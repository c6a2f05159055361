"""The table of features: what can be said in the three dialects, one row each.

Owns the order of the rows. It must never know who answers.
"""

from typing import Final

from hermes_router.conformance.features_answers import ANSWERS, ERRORS
from hermes_router.conformance.features_calls import CALLS
from hermes_router.conformance.features_tools import CHOICE, TOOLS
from hermes_router.conformance.features_turns import MEDIA, THOUGHTS, TURNS
from hermes_router.conformance.features_wishes import BOOKS, LENGTH, SAMPLING, SHAPE, STATE, STREAMS, THINKING

__all__ = ["FEATURES"]

_ROWS: Final = (
    *TURNS, *MEDIA, *THOUGHTS, *TOOLS, *CHOICE, *CALLS, *SAMPLING, *LENGTH, *SHAPE, *THINKING, *BOOKS, *STATE, *STREAMS,
    *ANSWERS, *ERRORS,
)  # fmt: skip

FEATURES: Final = {feature.id: feature for feature in _ROWS}
"""By id, in order."""
