"""A week of an agent's life as arrivals: who asks when, how much, and in which conversation. Drawn once, then shared.

Owns the demand. It is drawn from a seed before any policy runs, so that every policy meets the same arrivals, and
it must never know providers beyond the models that some callers pin.
"""

import math
import random
from dataclasses import dataclass

from hermes_router.core.chat import ChatRequest
from hermes_router.routing.demand import affinity_key
from hermes_router.routing.names import Pin

DAY, HOUR = 86_400.0, 3_600.0
BYTES_PER_TOKEN = 3.6
TURN_S = (6.0, 40.0)  # from one request of an agent's loop to the next: the answer, then the tool


@dataclass(frozen=True, slots=True)
class Job:
    """One request as it arrives.

    `tokens` is the prompt by a tokenizer that nobody uses exactly: models count it times a factor of their own, and
    the router only sees bytes. `text_tokens` leaves the tools out. `output_tokens` is what an answer will have.
    """

    number: int
    at: float
    caller: str
    request: ChatRequest
    tokens: int
    text_tokens: int
    output_tokens: int
    pin: Pin | None = None
    patience_s: float = 60.0

    @property
    def key(self) -> str | None:
        """The conversation."""
        return affinity_key(self.request, self.caller)


@dataclass(frozen=True, slots=True)
class Habit:
    """How one caller works: conversations a day, how long, how large."""

    caller: str
    chats: float  # a day
    hours: tuple[float, float]  # of the day in which they begin, UTC
    turns: tuple[int, int]
    base: tuple[int, int]  # tokens of system prompt and tools
    tools: int
    grow: tuple[int, int]  # tokens a turn
    compress_at: int = 100_000
    parallel: tuple[int, int] = (1, 1)
    at_once: bool = False  # all of a day's at one hour
    pin: Pin | None = None
    caps: tuple[int | None, ...] = (None,)
    output: float = 250.0
    gap: tuple[float, float] = TURN_S


HABITS = (
    # HA-7: a system prompt of 9K and 64 tools of 26K tokens.
    Habit("hermes", 110, (7, 23), (3, 60), (33_000, 37_000), 64, (200, 2_500)),
    Habit("coder", 26, (8, 20), (8, 70), (9_000, 14_000), 14, (300, 3_000), 120_000, (2, 4), caps=(None, 8_192)),
    Habit("cron", 96, (0, 24), (2, 12), (9_000, 12_000), 20, (200, 1_500)),
    Habit("chat", 260, (6, 24), (1, 6), (300, 1_200), 0, (60, 500), caps=(None, None, 4_096), gap=(20.0, 90.0)),
    Habit("batch", 420, (2, 2.4), (1, 1), (1_500, 4_500), 0, (0, 1), at_once=True, caps=(1_024,), output=400.0),
    # More than one model's minute: these must wait for each other.
    Habit("classify", 7, (9, 21), (1, 1), (500, 900), 0, (0, 1), parallel=(8, 14), pin=Pin("groq", "openai/gpt-oss-20b"),
          caps=(64,), output=20.0),
    # More than the day's budget: it is the money that ends it.
    Habit("writer", 10, (8, 22), (4, 16), (12_000, 18_000), 0, (300, 1_500), parallel=(1, 2), pin=Pin("openai", "gpt-6-luna"),
          caps=(4_096,), output=900.0),
)  # fmt: skip


def _begins(habit: Habit, day: int, start: float, scale: float, rng: random.Random) -> list[float]:
    """When conversations begin: a hump over the habit's hours, on minutes past the hour for what a clock starts."""
    first, last = habit.hours
    mean = habit.chats * scale
    count = int(mean) + (rng.random() < mean - int(mean))
    found = []
    for n in range(count):
        if habit.at_once:
            share = n / max(1, count)
        elif habit.caller == "cron":
            share = (n + rng.random() * 0.05) / max(1, count)
        else:
            share = rng.betavariate(2.0, 2.0)
        found.append(start + day * DAY + (first + share * (last - first)) * HOUR)
    return found


def _chat(habit: Habit, begins: float, name: str, rng: random.Random, out: list[Job]) -> None:
    """One conversation, turn by turn, its history growing until it is compressed."""
    low, high = habit.turns
    turns = max(1, min(high, round(low + rng.expovariate(1.0) * (high - low) / 3.5)))
    base = rng.randint(*habit.base)
    tool_tokens = int(base * 0.7) if habit.tools else 0
    history, at = 0, begins
    asks = rng.choice((12, 120, 400, 1_200, 4_000))
    code = rng.random() < 0.3
    for turn in range(turns):
        tokens = base + history + asks // 4
        text = int(tokens * BYTES_PER_TOKEN * rng.uniform(0.93, 1.07))
        request = ChatRequest(
            model="hermes-router",
            stream=True,
            max_output_tokens=rng.choice(habit.caps),
            tools=habit.tools,
            messages=1 + 3 * turn,
            assistant_turns=turn,
            tool_results=turn if habit.tools else 0,
            text_bytes=text,
            last_user="```x=1;{}```" if code else "do it",
            last_user_chars=asks,
            conversation=name,
        )
        answer = max(8, int(rng.lognormvariate(math.log(habit.output), 0.9)))
        answer = min(answer, request.max_output_tokens or 12_000)
        out.append(Job(0, at, habit.caller, request, tokens, tokens - tool_tokens, answer, habit.pin))
        history += rng.randint(*habit.grow) if habit.grow[1] > 1 else 0
        if base + history > habit.compress_at:
            history = habit.compress_at // 4
        at += rng.uniform(*habit.gap)


def week(
    *, seed: int, start: float, days: float, scale: float = 1.0, asleep: tuple[float, float] | None = None
) -> list[Job]:
    """All arrivals of `days` days, in order. `asleep` = the machine, and its agents with it, did nothing then."""
    rng = random.Random(seed)
    jobs: list[Job] = []
    for day in range(math.ceil(days)):
        for habit in HABITS:
            for n, begins in enumerate(_begins(habit, day, start, scale, rng)):
                for lane in range(rng.randint(*habit.parallel)):
                    _chat(habit, begins + lane * rng.uniform(0.0, 3.0), f"{habit.caller}-{day}-{n}-{lane}", rng, jobs)
    until = start + days * DAY
    kept = [job for job in jobs if job.at < until and not (asleep and asleep[0] <= job.at < asleep[1])]
    kept.sort(key=lambda job: job.at)
    return [_numbered(job, n) for n, job in enumerate(kept)]


def flood(*, seed: int, start: float, minutes: float, per_minute: float) -> list[Job]:
    """More than the pool can serve: independent requests of all sizes that free tiers take, at a steady pace."""
    rng = random.Random(seed)
    jobs: list[Job] = []
    at, until = start, start + minutes * 60.0
    while True:
        at += rng.expovariate(per_minute / 60.0)
        if at >= until:
            return jobs
        tools = rng.random() < 0.5
        tokens = int(rng.lognormvariate(math.log(2_200), 0.9)) + 150
        request = ChatRequest(
            model="hermes-router",
            stream=True,
            max_output_tokens=rng.choice((None, 1_024)),
            tools=8 if tools else 0,
            messages=1,
            text_bytes=int(tokens * BYTES_PER_TOKEN * rng.uniform(0.93, 1.07)),
            last_user="do it",
            last_user_chars=rng.choice((12, 120, 400)),
            conversation=f"flood-{len(jobs)}",
        )
        answer = min(1_000, max(8, int(rng.lognormvariate(math.log(200), 0.8))))
        text = int(tokens * 0.4) if tools else tokens
        jobs.append(Job(len(jobs), at, "flood", request, tokens, text, answer))


def _numbered(job: Job, number: int) -> Job:
    return Job(
        number, job.at, job.caller, job.request, job.tokens, job.text_tokens, job.output_tokens, job.pin, job.patience_s
    )
