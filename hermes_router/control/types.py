# ruff: noqa: RUF012 - msgspec copies such defaults; ruff does not see that these are its structs
"""The control API's types: what travels over the control socket, used by both ends.

Owns shapes and names, versioned by `API`. Unknown fields are ignored on both sides, so `hr` and a daemon of another
version understand each other as far as they can; `Ping` and `Shutdown` never change (facts/os.md 4.4).
"""

from typing import Any, Final

from hermes_router.control import account_types as of_accounts
from hermes_router.control import embed_types as of_embeddings

Type = of_accounts.Type
AccountRow = of_accounts.AccountRow
WindowRow = of_accounts.WindowRow
ImportLogin = of_accounts.ImportLogin
Imported = of_accounts.Imported
BeginLogin = of_accounts.BeginLogin
PasteLogin = of_accounts.PasteLogin
Login = of_accounts.Login
RefreshAccounts = of_accounts.RefreshAccounts
Refreshed = of_accounts.Refreshed
RefreshedRow = of_accounts.RefreshedRow
EmbedBindingRow = of_embeddings.EmbedBindingRow
EmbedBindings = of_embeddings.EmbedBindings

API: Final = 1
"""Raised when a route or a field changes its meaning. Ends of different numbers can still ping, stop and restart."""

VERSION_HEADER: Final = "hermes-version"
API_HEADER: Final = "hermes-api"
HOST: Final = "hermes-router"
"""The `Host` of every request on the socket."""
FROZEN: Final = frozenset({("GET", "/v1/ping"), ("POST", "/v1/shutdown"), ("POST", "/v1/restart")})
"""What every version answers to every other (facts/os.md 4.4)."""


class Problem(Type, frozen=True):
    """The one error envelope. `next_step` says what to do; `exit_code` is what `hr` ends with (contract.md, `hr`)."""

    code: str
    message: str
    next_step: str = ""
    exit_code: int = 1


# --- the daemon itself ------------------------------------------------------------------------------


class Ping(Type, frozen=True):
    """`GET /v1/ping`.

    `run` is `foreground`, `detached`, `systemd`, `launchd` or `control-only`; `instance` differs after every restart.
    `port` 0 = no public port (control-only). `manager` whose `unit` it is: `user`, `system`, or nobody's.
    """

    version: str
    api: int = API
    pid: int = 0
    instance: str = ""
    run: str = "foreground"
    started_at: float = 0.0
    port: int = 0
    url: str = ""
    log: str = ""
    successor: str = ""
    unit: str = ""
    manager: str = ""


class Shutdown(Type, frozen=True):
    """`POST /v1/shutdown` and `POST /v1/restart`, the body; `drain_s` None = DRAIN_SECONDS."""

    drain_s: float | None = None


class Done(Type, frozen=True):
    """The plain answer of a command: one sentence each, in order."""

    said: list[str] = []


class Reloaded(Type, frozen=True):
    """`POST /v1/reload`. `changed` names settings; `needs_restart` those that a running daemon cannot take up."""

    generation: int
    changed: list[str] = []
    needs_restart: list[str] = []
    problems: list[str] = []
    targets: int = 0


class Event(Type, frozen=True):
    """`GET /v1/events`: one SSE event's data; its id is `id`, ever growing, also over restarts."""

    id: int
    at: float
    event: str
    level: str = "info"
    fields: dict[str, Any] = {}


# --- status -----------------------------------------------------------------------------------------


class TargetRow(Type, frozen=True):
    """One target, as in the public `/v1/status`, with what is known and not yet known of it."""

    target: str
    provider: str
    model: str
    credential: str
    account: str
    state: str
    reason: str | None = None
    until: float | None = None
    tier: int = 3
    price_class: str = "paid"
    context: int | None = None
    capabilities: dict[str, str] = {}
    quota: list[dict[str, Any]] = []
    knowledge: dict[str, dict[str, Any]] = {}
    """What is known, with `value`, `source` and `age_s` (None = undated), by capability, and `context` in tokens."""


class ProviderRow(Type, frozen=True):
    """One provider. `state`: `on`, `no key`, `disabled` (by the owner), `retired` or `unspoken`."""

    name: str
    title: str
    state: str
    reason: str = ""
    keys: int = 0
    targets: int = 0
    ready: int = 0
    signup: str = ""
    free: str = ""
    variables: list[str] = []
    models: list[str] = []


class ErrorRow(Type, frozen=True):
    """A failed attempt of late."""

    at: float
    target: str
    outcome: str
    said: str = ""
    request_id: str = ""


class Spent(Type, frozen=True):
    """What was consumed; reported by providers and estimated by us are kept apart. Money in micro-US-dollars."""

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
    """Attempts at paid targets whose price no row gives."""


class Budget(Type, frozen=True):
    """BUDGET_USD_DAY: what paid models may cost today, and have, in micro-US-dollars; it ends at `reset_at` (epoch).

    `spent_microusd` holds what is claimed for requests under way; models without a known price are counted at the
    dearest. A `limit_microusd` of None = no budget is set.
    """

    limit_microusd: int | None = None
    spent_microusd: int = 0
    reset_at: float = 0.0


class Status(Type, frozen=True):
    """`GET /v1/status`: the one screen. `budget` None = it knows of none; `told` = a way to tell the owner is set."""

    ping: Ping
    uptime_s: float
    ready: bool
    mode: str
    generation: int = 0
    targets: list[TargetRow] = []
    providers: list[ProviderRow] = []
    credentials: list["CredentialRow"] = []
    last_errors: list[ErrorRow] = []
    today: Spent = Spent()
    today_since: float = 0.0
    counters: dict[str, int] = {}
    store: str = ""
    problems: list[str] = []
    tasks: list[dict[str, Any]] = []
    in_flight: int = 0
    budget: Budget | None = None
    accounts: list[AccountRow] = []
    told: bool = True


class UsageRow(Type, frozen=True):
    """One line of `GET /v1/usage?by=provider|model|key|day|router_key`.

    A `key` is the provider's, by its last four characters; empty = exchanges that no target was asked for.
    """

    key: str
    spent: Spent


class UsageReport(Type, frozen=True):
    """Usage since `since` (epoch seconds), grouped by `by`. `complete` False = records were lost (a full disk)."""

    by: str
    since: float
    until: float
    rows: list[UsageRow] = []
    total: Spent = Spent()
    complete: bool = True
    budget: Budget | None = None


class QuotaRow(Type, frozen=True):
    """One window of quota. `limit`, `used` and `remaining` in units of `unit` (money: `microusd`) per `window`.

    `whose` says who shares it: an account, a key, all of the provider's. `source` of the limit: `told` by the provider,
    `learned` from a refusal at `learned_at`, `owner` (a setting), `published` (a prior: it paces, and refuses nobody),
    `counted` (no limit is known). `reset_at` in epoch seconds, None where the window has not begun or is a level.
    """

    provider: str
    whose: str
    unit: str
    window: str
    model: str = ""
    limit: int | None = None
    used: int = 0
    remaining: int | None = None
    reset_at: float | None = None
    source: str = "counted"
    learned_at: float | None = None
    binds: bool = False


class QuotaReport(Type, frozen=True):
    """`GET /v1/quota`: the whole ledger of limits at `at` (epoch seconds), by provider."""

    at: float
    rows: list[QuotaRow] = []


# --- credentials ------------------------------------------------------------------------------------


class CredentialRow(Type, frozen=True):
    """One credential.

    `source`: `keyring`, `file`, `command`, `systemd credential`, `environment`, or the file and line. `state` as of a
    target, or `unavailable` where its secret cannot be read (a locked keyring), with the reason.
    """

    provider: str
    id: str
    tail: str
    account: str
    source: str
    state: str = "ready"
    reason: str = ""
    until: float | None = None
    added_at: float | None = None
    models: int = 0


class Credentials(Type, frozen=True):
    """`GET /v1/credentials`: all credentials, and all providers with or without one.

    An account is in `accounts`, with more to say, and in `rows`, as every credential that is scheduled.
    """

    rows: list[CredentialRow]
    providers: list[ProviderRow]
    store: str = ""
    store_note: str = ""
    accounts: list[AccountRow] = []


class AddCredentials(Type, frozen=True):
    """`POST /v1/credentials`. `lines` are keys as typed, faulty ones included: each is judged by its number."""

    provider: str
    lines: list[str] = []
    account: str | None = None
    command: list[str] | None = None
    test: bool = True
    force: bool = False


class AddedRow(Type, frozen=True):
    """What became of one line. `outcome`: `stored`, `replaced`, `known`, `refused` (by the provider), `faulty`.

    `test`: `ok`, `rejected`, `inconclusive` or `skipped`; `said` explains in one sentence.
    """

    line: int
    outcome: str
    tail: str = ""
    id: str = ""
    test: str = "skipped"
    said: str = ""
    models: list[str] = []


class Added(Type, frozen=True):
    """The answer: a row a line, where they rest, and notes to be shown once (terms on pooling, a foreign prefix)."""

    provider: str
    rows: list[AddedRow]
    store: str = ""
    notes: list[str] = []
    generation: int = 0


class RemovedRow(Type, frozen=True):
    """`outcome`: `removed`, or `kept` where its place is not ours to edit (`said` names it)."""

    provider: str
    id: str
    tail: str
    source: str
    outcome: str
    said: str = ""


class Removed(Type, frozen=True):
    """`DELETE /v1/credentials/{provider}[/{which}]`; `which` is an id or the last four characters."""

    rows: list[RemovedRow]


class TestCredentials(Type, frozen=True):
    """`POST /v1/credentials/test`; None = all."""

    __test__ = False  # no test of pytest's

    provider: str | None = None
    which: str | None = None


class TestedRow(Type, frozen=True):
    """`test` as in AddedRow; `models` = what the provider lists for this key."""

    provider: str
    id: str
    tail: str
    test: str
    said: str = ""
    models: int = 0
    duration_s: float = 0.0


class Tested(Type, frozen=True):
    """The answer."""

    rows: list[TestedRow]


class Migrate(Type, frozen=True):
    """`POST /v1/credentials/migrate`: copy, verify, then delete the source. `to` is `keyring` or `file`."""

    to: str


# --- configuration ----------------------------------------------------------------------------------


class ConfigRow(Type, frozen=True):
    """One setting in force. `value` shows no secret. `hot` False = a restart takes it up."""

    name: str
    value: str
    source: str
    doc: str = ""
    hot: bool = True


class Config(Type, frozen=True):
    """`GET /v1/config`."""

    rows: list[ConfigRow]
    problems: list[str] = []
    files: list[str] = []


class ChangeConfig(Type, frozen=True):
    """`PATCH /v1/config`: all or nothing. A value of None takes the variable out of the file where it stands."""

    changes: dict[str, str | None]


class ChangedRow(Type, frozen=True):
    """One setting after the change; `file` is where it was written."""

    name: str
    before: str
    after: str
    file: str


class Changed(Type, frozen=True):
    """The answer; `needs_restart` names what the running daemon cannot take up."""

    rows: list[ChangedRow]
    needs_restart: list[str] = []
    generation: int = 0


class ModelRow(Type, frozen=True):
    """A model of `GET /v1/models`: `listed` = in the row, `live` = the provider lists it, `picked` = it takes part."""

    provider: str
    model: str
    picked: bool
    listed: bool = True
    live: bool | None = None
    tier: int = 3
    price_class: str = "paid"
    context: int | None = None
    max_output: int | None = None
    capabilities: dict[str, str] = {}
    state: str = ""


class Models(Type, frozen=True):
    """`GET /v1/models[?refresh=1&provider=P]`; `problems` says which lists could not be read."""

    rows: list[ModelRow]
    problems: list[str] = []


class SetModels(Type, frozen=True):
    """`POST /v1/models`: the models of a provider, in order; None = back to the row's own."""

    provider: str
    models: list[str] | None = None


class EnableProvider(Type, frozen=True):
    """`POST /v1/providers`."""

    provider: str
    enabled: bool


# --- router keys ------------------------------------------------------------------------------------


class KeyRow(Type, frozen=True):
    """A router key, never the key itself.

    `budget_microusd` is for a day of UTC, None = none; `spent_microusd` is today's, requests under way included.
    """

    id: str
    name: str
    tail: str
    source: str
    providers: list[str] | None = None
    rpm: int | None = None
    concurrency: int | None = None
    patience_s: float | None = None
    min_tier: int | None = None
    created_at: float | None = None
    in_flight: int = 0
    budget_microusd: int | None = None
    spent_microusd: int = 0


class Keys(Type, frozen=True):
    """`GET /v1/keys`."""

    rows: list[KeyRow]


class AddKey(Type, frozen=True):
    """`POST /v1/keys`."""

    name: str
    providers: list[str] | None = None
    rpm: int | None = None
    concurrency: int | None = None
    patience_s: float | None = None
    min_tier: int | None = None
    budget_microusd: int | None = None


class AddedKey(Type, frozen=True):
    """The answer: the only time that the key is shown."""

    row: KeyRow
    key: str
    said: list[str] = []


# --- asking -----------------------------------------------------------------------------------------


class PlanQuery(Type, frozen=True):
    """`POST /v1/plan`: a dry run of a whole request (`body`, Chat Completions JSON text) or of these numbers."""

    body: str | None = None
    model: str = "hermes-router"
    tokens: int | None = None
    tools: bool = False
    image: bool = False


class PlanRow(Type, frozen=True):
    """A target in its place, or why it is out of it. `place` counts from 1; 0 = it may not serve."""

    target: str
    place: int
    why: str
    until: float | None = None


class PlanReport(Type, frozen=True):
    """The whole partition of the targets for one request."""

    difficulty: int
    input_tokens: int
    profile: str
    pin: str = ""
    needs: list[str] = []
    rows: list[PlanRow] = []
    verdict: str = ""


class AttemptRow(Type, frozen=True):
    """One attempt of a trail; fields as in `core/records.py`."""

    target: str
    outcome: str
    why: str = ""
    status: int | None = None
    said: str = ""
    retry_at: float | None = None
    duration_s: float = 0.0
    ttft_s: float | None = None
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cost_microusd: int = 0
    shown_chars: int = 0
    by: str = ""


class Trail(Type, frozen=True):
    """`GET /v1/requests/{id}`: what happened."""

    request_id: str
    at: float
    router_key: str
    dialect: str
    model: str
    profile: str
    stream: bool
    outcome: str
    duration_s: float
    difficulty: int
    estimated_tokens: int
    attempts: list[AttemptRow] = []
    warnings: list[str] = []


class Ask(Type, frozen=True):
    """`POST /v1/ask`: one question through the whole router."""

    text: str
    model: str = "hermes-router"


class Answer(Type, frozen=True):
    """What came back; `warnings` as in the header `x-hermes-warnings`."""

    text: str
    target: str
    attempts: int
    request_id: str
    input_tokens: int = 0
    output_tokens: int = 0
    duration_s: float = 0.0
    warnings: list[str] = []
