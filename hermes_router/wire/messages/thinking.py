"""How much a Messages upstream thinks, and the output cap that must hold it.

Owns the scale between words of effort and budgets in tokens (facts: providers.md 12.8), the three ways in which models
of this dialect are asked to think, and `max_tokens`, which the dialect demands and which thoughts count against. It
must never know a provider.
"""

from typing import Final, Literal, NamedTuple

from hermes_router.core.catalog import MODEST_TOKENS, Quirk
from hermes_router.wire.chat.fields import effort_of_budget
from hermes_router.wire.chat.outgoing import Options
from hermes_router.wire.messages.rules import Notes, Rules

__all__ = ["LEAST_BUDGET", "Cap", "Thinking", "fit_cap", "fit_thinking", "nearest_effort"]

SCALE: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
LEAST_BUDGET: Final = 1_024
"""Tokens; less is refused."""
_BUDGETS: Final = {
    "minimal": LEAST_BUDGET, "low": LEAST_BUDGET, "medium": 8_192, "high": 24_576, "xhigh": 32_768, "max": 65_536,
}  # fmt: skip
_DEFAULT_CAP: Final = 32_000
_UNKNOWN_CAP: Final = 8_192
"""Tokens, where the caller gives no cap: of models whose limit is known, and of others."""


class Thinking(NamedTuple):
    """What is asked of the model. `said` = the caller gave the budget itself, and counted it into its cap."""

    mode: Literal["unsaid", "off", "adaptive", "budget"] = "unsaid"
    budget: int = 0
    effort: str | None = None
    said: bool = False

    @property
    def on(self) -> bool:
        """Whether thoughts are asked for."""
        return self.mode in ("adaptive", "budget")


class Cap(NamedTuple):
    """What goes out as `max_tokens`, and the thinking that fits into it."""

    tokens: int
    thinking: Thinking


def fit_thinking(
    effort: str | None, tokens: int | None, rules: Rules, notes: Notes, *, adaptive: bool, forced: bool
) -> Thinking:
    """Effort, budget or "as you like" in the form that this model takes. `forced` = the choice demands a tool call."""
    wished = bool(tokens) or adaptive or effort not in (None, "none")
    if tokens == 0 or (tokens is None and not adaptive and effort == "none"):
        return _switched_off(effort, rules, notes)
    if not wished:
        return Thinking()
    if rules.reasons is False:
        notes.warn("dropped", "reasoning_effort")
        return Thinking()
    if forced and not rules.always:  # "Thinking may not be enabled when tool_choice forces tool use" (12.5)
        notes.warn("dropped", "thinking")
        return Thinking("off")
    if rules.adaptive:
        if effort is None and tokens:
            effort = effort_of_budget(tokens)
            notes.warn("approx", "thinking.budget_tokens")
        return Thinking("adaptive", effort=None if effort is None else nearest_effort(effort, rules, notes))
    if tokens:
        return Thinking("budget", max(tokens, LEAST_BUDGET), said=True)
    if effort is None or effort == "none":
        if not rules.budget:
            return Thinking()  # the model's own default is what the caller left it to
        effort = "medium"
        notes.warn("approx", "thinking.adaptive")
    if effort not in _BUDGETS:
        notes.warn("dropped", "reasoning_effort")
        return Thinking()
    return Thinking("budget", _BUDGETS[effort])


def _switched_off(effort: str | None, rules: Rules, notes: Notes) -> Thinking:
    if not rules.always:
        return Thinking("off", effort=effort if rules.adaptive and effort in rules.levels else None)
    notes.warn("approx", "thinking")
    return Thinking("adaptive", effort=nearest_effort("low", rules, notes)) if rules.adaptive else Thinking()


def nearest_effort(effort: str, rules: Rules, notes: Notes) -> str | None:
    """A word that this model takes: the nearest weaker one, else its weakest; None where none is near."""
    levels = [level for level in rules.levels if level in SCALE] or ["low", "medium", "high"]
    if effort in levels:
        return effort
    if effort not in SCALE:
        notes.warn("dropped", "reasoning_effort")
        return None
    notes.warn("approx", "reasoning_effort")
    levels.sort(key=SCALE.index)
    weaker = [level for level in levels if SCALE.index(level) <= SCALE.index(effort)]
    return weaker[-1] if weaker else levels[0]


def fit_cap(asked: int | None, thinking: Thinking, rules: Rules, options: Options, notes: Notes, *, tools: bool) -> Cap:
    """`max_tokens`, raised for thoughts that the caller did not count in, within the target's limits."""
    limits = list(rules.limits)
    if rules.context and options.input_tokens is not None and (left := rules.context - options.input_tokens) > 0:
        limits.append(left)
    wanted = asked if asked is not None else _default(rules, options, tools=tools)
    limit = min(limits, default=None)
    if asked is not None and limit is not None and asked > limit:
        notes.warn("approx", "max_tokens", altered=False)
    if thinking.mode != "budget":
        # Some think unasked, within a cap that was meant for the answer.
        hidden = rules.always or thinking.mode == "adaptive" or not rules.claude
        if asked is not None and options.reasoning and hidden and thinking.mode != "off" and not thinking.said:
            wanted += options.reserve_tokens
        return Cap(wanted if limit is None else min(wanted, limit), thinking)
    if asked is not None and (not thinking.said or thinking.budget >= asked):
        wanted += thinking.budget
    cap = wanted if limit is None else min(wanted, limit)
    if thinking.budget < cap:
        return Cap(cap, thinking)
    if cap < 2 * LEAST_BUDGET:
        notes.warn("dropped", "thinking")
        return Cap(cap, Thinking("off"))
    notes.warn("approx", "thinking.budget_tokens")
    return Cap(cap, thinking._replace(budget=cap // 2))


def _default(rules: Rules, options: Options, *, tools: bool) -> int:
    if Quirk.MODEST_OUTPUT in rules.quirks:
        return MODEST_TOKENS[tools]
    if options.default_output_tokens is not None:
        return options.default_output_tokens
    return _DEFAULT_CAP if rules.limits else _UNKNOWN_CAP
