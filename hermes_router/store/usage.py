"""What was used: one row an exchange with its attempts, and what they add up to by the day, both bounded.

Owns the rows of `exchanges` and `usage_daily` and every question about them. Days are days of UTC. What providers
reported and what we estimated are never added up. It must never know prices, or who is allowed how much.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from msgspec.structs import astuple

from hermes_router.core.errors import ControlError
from hermes_router.core.ports import Log
from hermes_router.core.records import GOOD_ENDS, AttemptRecord, ExchangeRecord, FailedAttempt, failed_attempts
from hermes_router.store.db import Database

__all__ = ["By", "Totals", "UsageStore", "day_start", "decode_record", "encode_record"]

By = Literal["provider", "model", "key", "day", "router_key"]

DAY_S = 86_400
KEEP_EXCHANGES = 100_000
KEEP_EXCHANGES_S = 30 * DAY_S
KEEP_DAYS = 400
_BITE = 500  # rows removed at once, at least
_AT_ONCE = 50  # rows in one statement: its thread gives the interpreter up for it once, not fifty times

_JSON = msgspec.json.Encoder()
_NONE: list[Any] = []
_RECORD = msgspec.json.Decoder(ExchangeRecord)


class Totals(msgspec.Struct, frozen=True):
    """What was consumed. Sums over any grouping agree, since each exchange counts once, at its last attempt's target.

    `requests` are exchanges, `failed` those that ended neither answered nor by the caller's leaving; `failovers` are
    failed attempts that another one followed. `input_tokens` holds the cached ones; these, `output_tokens` and
    `cost_microusd` are as providers reported, and estimates stand apart. `unpriced` counts attempts at paid targets
    whose price no row gives. Fields as in `control/types.Spent`.
    """

    requests: int = 0
    failed: int = 0
    attempts: int = 0
    failovers: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_microusd: int = 0
    estimated_input_tokens: int = 0
    estimated_output_tokens: int = 0
    estimated_cost_microusd: int = 0
    unpriced: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


_FIELDS = Totals.__struct_fields__
_SUMS = ", ".join(f"coalesce(sum({name}), 0)" for name in _FIELDS)
_INSERT = "INSERT INTO exchanges (request_id, at, failures, record) VALUES "
_ROW = "(?, ?, ?, ?)"
_SELECT = "SELECT record FROM exchanges "
_KEY = "day, provider, model, credential, router_key"
_ADD = " ".join(
    (
        f"INSERT INTO usage_daily ({_KEY}, tail, {', '.join(_FIELDS)})",
        f"VALUES (?, ?, ?, ?, ?, ?{', ?' * len(_FIELDS)})",
        f"ON CONFLICT ({_KEY}) DO UPDATE SET tail = excluded.tail,",
        ", ".join(f"{name} = {name} + excluded.{name}" for name in _FIELDS),
    )
)
_GROUPS: dict[By, tuple[str, str, str]] = {  # what is grouped by, what is shown of it, and what tells namesakes apart
    "provider": ("provider", "provider", "''"),
    "model": ("provider, model", "CASE provider WHEN '' THEN '' ELSE provider || '/' || model END", "''"),
    "key": (
        "provider, credential",
        "CASE provider WHEN '' THEN '' ELSE provider || '/' || max(tail) END",
        "substr(credential, 1, 4)",
    ),
    "day": ("day", "strftime('%Y-%m-%d', day * 86400, 'unixepoch')", "''"),
    "router_key": ("router_key", "router_key", "''"),
}


def day_start(at: float) -> float:
    """When the day of `at` began, in epoch seconds: the day that `today` counts."""
    return float(_day(at) * DAY_S)


def encode_record(record: ExchangeRecord) -> bytes:
    """A record as JSON: one that another process is to keep."""
    return _encoded(record)


def decode_record(data: bytes) -> ExchangeRecord:
    """The record. Raises msgspec.MsgspecError."""
    return _RECORD.decode(data)


class UsageStore:
    """A Recorder that remembers over restarts. Other tables of the same file are written through `db`.

    Where nothing can be read (it was not started, the disk is gone), answers are empty and `problems` says why.
    """

    def __init__(self, path: Path, *, log: Log, now: Callable[[], float]) -> None:
        self.db = Database(path, log=log, now=now)
        self.db.tidy.append(self._tidy)
        self._now = now

    def start(self) -> None:
        """Open the file, in its own thread. Also after `close`."""
        self.db.start()

    def put(self, record: ExchangeRecord) -> None:
        """Keep it; written within a second. Never blocks."""
        self.db.put(_write_exchanges, record)

    async def flush(self) -> None:
        """Return when all that was put before is on its way to the disk, or could not be written."""
        await self.db.flush()

    def close(self, timeout_s: float) -> bool:
        """Write what is queued and release the file, for a successor to open. False where not all could be written.

        It blocks, at most `timeout_s`. What is put after it is written only if `start` is called again.
        """
        return self.db.close(timeout_s)

    def withdraw(self) -> list[ExchangeRecord]:
        """After a `close` that could not write all: the records that are left, which are another's to keep now."""
        return self.db.withdraw(_write_exchanges)

    @property
    def lost(self) -> int:
        """Records that could not be kept since the start."""
        return self.db.lost

    @property
    def problems(self) -> list[str]:
        """What the owner should know of the file, a sentence each."""
        return self.db.problems

    async def totals(self, by: By, since: float, until: float) -> list[tuple[str, Totals]]:
        """Usage from the day of `since` to the day of `until`, both whole (epoch seconds).

        Days come in order, everything else dearest first. A key's name is `provider/TAIL`, with `#id` behind it where
        two look the same; "" stands for exchanges that no target was asked for. Raises ControlError where `by` is none.
        """
        if by not in _GROUPS:
            raise ControlError(
                f"Usage cannot be shown by {by!r}.",
                code="unknown_group",
                next_step=f"Ask for it by one of {', '.join(get_args(By))}.",
                exit_code=2,
            )
        group, shown, apart = _GROUPS[by]
        query = f"SELECT {shown}, {apart}, {_SUMS} FROM usage_daily WHERE day BETWEEN ? AND ? GROUP BY {group}"  # noqa: S608
        days = (_day(since), _day(until))
        await self.db.flush()
        rows = await self.db.read(lambda connection: connection.execute(query, days).fetchall(), _NONE)
        names = Counter(row[0] for row in rows)
        found = [(row[0] if names[row[0]] == 1 else f"{row[0]}#{row[1]}", Totals(*row[2:])) for row in rows]
        return sorted(found, key=itemgetter(0)) if by == "day" else sorted(found, key=_dearest)

    async def today(self) -> Totals:
        """Usage since `day_start(now)`."""
        now = self._now()
        found = await self.totals("day", now, now)
        return found[0][1] if found else Totals()

    async def request(self, request_id: str) -> ExchangeRecord | None:
        """The latest exchange of this id; callers may send ids of their own, so it need not be the only one."""
        await self.db.flush()
        query = f"{_SELECT} WHERE request_id = ? ORDER BY n DESC LIMIT 1"
        rows = await self.db.read(lambda connection: connection.execute(query, (request_id,)).fetchall(), _NONE)
        return next(iter(_read_back(rows)), None)

    async def last_errors(self, n: int) -> list[FailedAttempt]:
        """The last `n` failed attempts, the latest first."""
        await self.db.flush()
        query = f"{_SELECT} WHERE failures > 0 ORDER BY n DESC LIMIT ?"
        rows = await self.db.read(lambda connection: connection.execute(query, (n,)).fetchall(), _NONE)
        return [failed for record in _read_back(rows) for failed in failed_attempts(record)][:n]

    def _tidy(self, connection: sqlite3.Connection, written: int) -> None:
        """A bite off the old end: more than came in, so that it keeps up, and never so much that anybody waits."""
        now = self._now()
        last = connection.execute("SELECT max(n) FROM exchanges").fetchone()[0] or 0
        connection.execute(
            "DELETE FROM exchanges WHERE n IN (SELECT n FROM (SELECT n, at FROM exchanges ORDER BY n LIMIT ?) "
            "WHERE n <= ? OR at < ?)",
            (max(_BITE, 2 * written), last - KEEP_EXCHANGES, now - KEEP_EXCHANGES_S),
        )
        oldest = connection.execute("SELECT min(day) FROM usage_daily").fetchone()[0]
        if oldest is not None and oldest < _day(now) - KEEP_DAYS:
            connection.execute("DELETE FROM usage_daily WHERE day = ?", (oldest,))


def _day(at: float) -> int:
    return int(at // DAY_S)


def _dearest(row: tuple[str, Totals]) -> tuple[int, int, str]:
    key, spent = row
    tokens = spent.input_tokens + spent.output_tokens + spent.estimated_input_tokens + spent.estimated_output_tokens
    return -(spent.cost_microusd + spent.estimated_cost_microusd), -tokens, key


# -- rows, in the writer's thread --------------------------------------------------------------------------


def _write_exchanges(connection: sqlite3.Connection, records: Sequence[ExchangeRecord]) -> None:
    """A row each, and one addition per target and day; the loop never waits for more than some rows to be made."""
    sums: dict[tuple[Any, ...], list[int]] = {}
    for start in range(0, len(records), _AT_ONCE):
        some = records[start : start + _AT_ONCE]
        values = [value for record in some for value in _row(record, sums)]
        connection.execute(_INSERT + ", ".join([_ROW] * len(some)), values)
    connection.executemany(_ADD, [(*key, *counts) for key, counts in sums.items()])


def _row(record: ExchangeRecord, sums: dict[tuple[Any, ...], list[int]]) -> tuple[str, float, int, str]:
    """What is kept of it, and what it adds to its day."""
    failures = sum([attempt.outcome not in GOOD_ENDS for attempt in record.attempts])
    data = _encoded(record)
    _add(record if data.isascii() else _RECORD.decode(data), sums)
    return _mend(record.request_id), record.at, failures, data.decode()


def _add(record: ExchangeRecord, sums: dict[tuple[Any, ...], list[int]]) -> None:
    day = _day(record.at)
    failed = record.outcome not in {"answered", "caller_left"}
    last = len(record.attempts) - 1
    if last < 0:
        counts = sums.setdefault((day, "", "", "", record.router_key, ""), [0] * len(_FIELDS))
        counts[0] += 1
        counts[1] += failed
    for place, attempt in enumerate(record.attempts):
        key = (day, attempt.provider, attempt.model, attempt.credential, record.router_key, attempt.tail)
        counts = sums.setdefault(key, [0] * len(_FIELDS))
        if place == last:
            counts[0] += 1
            counts[1] += failed
        else:  # it failed, or there had been no other
            counts[3] += 1
        counts[2] += 1
        if attempt.estimated:
            counts[8] += attempt.input_tokens
            counts[9] += attempt.output_tokens
            counts[10] += attempt.cost_microusd
        else:
            counts[4] += attempt.input_tokens
            counts[5] += attempt.cached_tokens
            counts[6] += attempt.output_tokens
            counts[7] += attempt.cost_microusd
        counts[11] += attempt.unpriced


def _encoded(record: ExchangeRecord) -> bytes:
    """The record as JSON; half a character in a caller's words is no UTF-8, and gives way."""
    try:
        return _JSON.encode(record)
    except UnicodeEncodeError:
        attempts = tuple(AttemptRecord(*map(_mended, each)) for each in record.attempts)
        made = ExchangeRecord(*map(_mended, record))
        return _JSON.encode(made._replace(attempts=attempts, warnings=tuple(map(_mend, record.warnings))))


def _mended(value: Any) -> Any:
    return _mend(value) if isinstance(value, str) else value


def _mend(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()


def _read_back(rows: Iterable[Sequence[Any]]) -> list[ExchangeRecord]:
    """The records of these rows; one that cannot be read (a flipped bit) hides no other."""
    found = []
    for (data,) in rows:
        try:
            found.append(_RECORD.decode(data))
        except msgspec.MsgspecError:
            continue
    return found
