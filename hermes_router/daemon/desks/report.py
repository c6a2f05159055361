"""What `hr status`, `hr usage`, `hr request`, `hr explain` and `hr models` show.

Owns the gathering: from the ledger, the configuration in force and the usage store into the control API's types. It
only reads; it must never show a secret beyond its last four characters.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import asdict

from hermes_router.control import types as t
from hermes_router.core.catalog import Capability, ModelSpec, ProviderSpec
from hermes_router.core.errors import ControlError
from hermes_router.core.ids import Credential
from hermes_router.core.live_lists import LiveList
from hermes_router.core.records import AttemptRecord, ExchangeRecord
from hermes_router.daemon.config import Loaded
from hermes_router.daemon.generations import Generations
from hermes_router.daemon.probing import Probing
from hermes_router.engine.accounting import Recent
from hermes_router.engine.context import Engine
from hermes_router.engine.live_models import as_spec
from hermes_router.engine.snapshot import is_on, picked
from hermes_router.engine.tasks import Supervisor
from hermes_router.routing.knowledge import knowledge
from hermes_router.routing.standing import TargetStatus
from hermes_router.store.usage import Totals, UsageStore, day_start

__all__ = ["ReportDesk"]

_DAY_S: Final = 86_400
_LAST_ERRORS: Final = 5
_WORST: Final = ("ready", "cooling", "open", "paused", "revoked", "disabled")
_GROUPS: Final = ("provider", "model", "key", "day", "router_key")


class ReportDesk:
    """The reports of one daemon."""

    def __init__(
        self,
        engine: Engine,
        generations: Generations,
        *,
        usage: UsageStore,
        recent: Recent,
        supervisor: Supervisor,
        ping: Callable[[], t.Ping],
        problems: Callable[[], Sequence[str]] = tuple,
        lists: Callable[[], Mapping[str, LiveList]] = dict,
    ) -> None:
        self._engine = engine
        self._generations = generations
        self._usage = usage
        self._recent = recent
        self._supervisor = supervisor
        self._ping = ping
        self._problems = problems
        self._lists = lists

    # -- status ----------------------------------------------------------------------------------------

    async def status(self) -> t.Status:
        """The one screen."""
        engine = self._engine
        now = engine.clock.now()
        loaded = self._generations.loaded
        targets = self.targets()
        today = await self._usage.today()
        problems = [str(problem) for problem in loaded.problems]
        problems += [*self._generations.store.problems, *self._usage.problems, *self._problems()]
        return t.Status(
            ping=self._ping(),
            uptime_s=round(engine.clock.mono() - engine.started_mono, 1),
            ready=any(row.state == "ready" for row in targets),
            mode=loaded.settings.mode,
            generation=self._generations.number,
            targets=targets,
            providers=self.providers(targets),
            credentials=self.credentials(targets),
            last_errors=await self._last_errors(),
            today=_spent(today),
            today_since=day_start(now),
            counters=asdict(engine.counters),
            store=self._generations.store.store,
            problems=list(dict.fromkeys(problems)),
            tasks=[{"name": name, "failures": count} for name, count in sorted(self._supervisor.failures.items())],
            in_flight=engine.state.in_flight(),
            budget=self._budget(now),
            told=loaded.settings.notify_url is not None or loaded.settings.notify_command is not None,
        )

    def _budget(self, now: float) -> t.Budget:
        limit, spent, ends_at = self._engine.state.budget(now)
        return t.Budget(limit_microusd=limit, spent_microusd=spent, reset_at=ends_at)

    def targets(self) -> list[t.TargetRow]:
        """Every target as it stands now."""
        now = self._engine.clock.now()
        learned, lists = self._engine.state.learned, self._lists()
        rows: list[t.TargetRow] = []
        for facts in self._engine.snapshot.roster.facts:
            status = self._engine.state.status(facts, now)
            rows.append(
                t.TargetRow(
                    target=str(facts.target),
                    provider=facts.provider.name,
                    model=facts.model.id,
                    credential=facts.credential.tail,
                    account=facts.credential.account,
                    state=status.state,
                    reason=status.reason,
                    until=status.until,
                    tier=facts.model.tier,
                    price_class=facts.model.price_class.name.lower(),
                    context=learned.context(facts.provider.name, facts.model.id) or facts.model.context,
                    capabilities=_capabilities(status),
                    quota=[window._asdict() for window in status.quota],
                    knowledge={
                        what: fact._asdict()
                        for what, fact in knowledge(facts, learned, lists.get(facts.provider.name), now).items()
                    },
                )
            )
        return rows

    async def _last_errors(self) -> list[t.ErrorRow]:
        found = self._recent.last_errors(_LAST_ERRORS) or await self._usage.last_errors(_LAST_ERRORS)
        return [
            t.ErrorRow(at=one.at, target=one.target, outcome=one.outcome, said=one.said, request_id=one.request_id)
            for one in found
        ]

    # -- providers and credentials ---------------------------------------------------------------------

    def providers(self, targets: Sequence[t.TargetRow] | None = None) -> list[t.ProviderRow]:
        """Every row of the catalogue, with what it has here."""
        loaded = self._generations.loaded
        rows = self.targets() if targets is None else targets
        return [self._provider(loaded, spec, [row for row in rows if row.provider == spec.name]) for spec in
                loaded.catalog.values()]  # fmt: skip

    def _provider(self, loaded: Loaded, spec: ProviderSpec, rows: Sequence[t.TargetRow]) -> t.ProviderRow:
        keys = [c for c in loaded.credentials if c.provider == spec.name and c.kind != "none"]
        state, reason = _provider_state(loaded, spec, keys, rows)
        stem = spec.name.upper()
        return t.ProviderRow(
            name=spec.name,
            title=spec.title,
            state=state,
            reason=reason,
            keys=len(keys),
            targets=len(rows),
            ready=sum(row.state == "ready" for row in rows),
            signup=spec.signup,
            free=spec.free,
            variables=[*([] if spec.auth == "oauth" else [f"{stem}_API_KEY"]), *spec.env],
            models=list(dict.fromkeys(row.model for row in rows)) or list(picked(spec)),
        )

    def credentials(self, targets: Sequence[t.TargetRow] | None = None) -> list[t.CredentialRow]:
        """Every credential in use, and those whose secret cannot be read now."""
        loaded = self._generations.loaded
        store = self._generations.store
        status = {row.target: row for row in (self.targets() if targets is None else targets)}
        entries = {entry.id: entry for entry in store.entries}
        rows: list[t.CredentialRow] = []
        for credential in loaded.credentials:
            if credential.kind == "none":
                continue
            entry = entries.pop(credential.id, None)
            mine = [
                status[str(f.target)] for f in self._engine.snapshot.roster.facts if f.credential.id == credential.id
            ]
            rows.append(_credential(credential, mine, entry.added_at if entry is not None else None))
        for entry in entries.values():
            reason = store.unavailable.get(entry.id)
            if reason is not None:
                rows.append(
                    t.CredentialRow(
                        provider=entry.provider,
                        id=entry.id,
                        tail=entry.tail,
                        account=entry.account or entry.id,
                        source="command" if entry.kind == "command" else entry.store,
                        state="unavailable",
                        reason=reason,
                        added_at=entry.added_at,
                    )
                )
        return sorted(rows, key=lambda row: row.provider)

    # -- usage and trails ------------------------------------------------------------------------------

    async def usage(self, by: str, days: int) -> t.UsageReport:
        """What was spent in the last `days` days, today included. Raises ControlError (2) for an unknown grouping."""
        if by not in _GROUPS:
            raise ControlError(
                f"usage cannot be grouped by {by[:40]!r}", next_step=f"by one of {', '.join(_GROUPS)}", exit_code=2
            )
        now = self._engine.clock.now()
        since = day_start(now) - (max(days, 1) - 1) * _DAY_S
        found = await self._usage.totals(by, since, now)  # type: ignore[arg-type] # checked above
        return t.UsageReport(
            by=by,
            since=since,
            until=now,
            rows=[t.UsageRow(key=key, spent=_spent(totals)) for key, totals in found],
            total=_spent(sum((totals for _, totals in found), Totals())),
            complete=not (self._usage.lost or self._usage.problems),
            budget=self._budget(now),
        )

    async def request(self, request_id: str) -> t.Trail:
        """What happened to one exchange. Raises ControlError where it is not known (any more)."""
        record = self._recent.request(request_id) or await self._usage.request(request_id)
        if record is None:
            raise ControlError(
                f"no request {request_id[:80]!r} is known",
                code="unknown_request",
                next_step="the id is in the answer's x-request-id header and in the log; it is kept for 30 days",
            )
        return _trail(record)

    # -- models ----------------------------------------------------------------------------------------

    async def models(self, probing: Probing, provider: str | None, *, refresh: bool) -> t.Models:
        """The models of each provider: those that take part, those of the row, and, asked for, the live lists."""
        problems = await probing.refresh(provider) if refresh else []
        loaded, live = self._generations.loaded, self._lists()
        states = {(row.provider, row.model): row for row in self.targets()}
        rows: list[t.ModelRow] = []
        for spec in loaded.catalog.values():
            if provider not in {None, spec.name}:
                continue
            has_key = any(c.provider == spec.name for c in loaded.credentials) and is_on(
                spec, loaded.settings.provider(spec.name)
            )
            if provider is None and not has_key:
                continue
            rows += _models(spec, states, live.get(spec.name), whole=refresh)
        return t.Models(rows=rows, problems=problems)


# --- one row each -------------------------------------------------------------------------------------


def _capabilities(status: TargetStatus) -> dict[str, str]:
    """What is known, and `unknown` for what requests most often need and nobody has said."""
    wanted = {str(one): "unknown" for one in (Capability.TOOLS, Capability.IMAGES, Capability.REASONING)}
    return wanted | dict(status.capabilities)


def _provider_state(
    loaded: Loaded, spec: ProviderSpec, keys: Sequence[Credential], rows: Sequence[t.TargetRow]
) -> tuple[str, str]:
    said = loaded.settings.provider(spec.name)
    if not said.enabled:
        return "disabled", f"`hr provider enable {spec.name}`"
    if spec.retired is not None and not said.base_url:
        return "retired", spec.retired
    if rows and all(row.state == "disabled" for row in rows):
        return "unspoken", rows[0].reason or ""
    if not keys and not spec.keyless:
        return "no key", f"`hr auth {'login' if spec.auth == 'oauth' else 'add'} {spec.name}`"
    if spec.keyless and not is_on(spec, said):
        return "off", f"set {spec.name.upper()}_BASE_URL or {spec.name.upper()}_MODEL"
    return "on", "" if rows else "no model of it is known yet"


def _credential(credential: Credential, rows: Sequence[t.TargetRow], added_at: float | None) -> t.CredentialRow:
    """A credential is as ready as its readiest target."""
    best = min(rows, key=lambda row: (_WORST.index(row.state), row.until or 0.0), default=None)
    return t.CredentialRow(
        provider=credential.provider,
        id=credential.id,
        tail=credential.tail,
        account=credential.account,
        source=credential.source,
        state=best.state if best is not None else "disabled",
        reason=(best.reason or "") if best is not None else "no model uses it",
        until=best.until if best is not None else None,
        added_at=added_at,
        models=len(rows),
    )


def _models(
    spec: ProviderSpec, states: dict[tuple[str, str], t.TargetRow], live: LiveList | None, *, whole: bool
) -> list[t.ModelRow]:
    """The rows of one provider; all that it lists only where the `whole` was asked for."""
    known = {str(model.id): model for model in spec.models if model.embeds is None}
    mine = [model for provider, model in states if provider == spec.name]
    listed = {str(one.id): one for one in live.models if one.chats} if live is not None and whole else {}
    rows: list[t.ModelRow] = []
    for model_id in dict.fromkeys([*mine, *known, *listed]):
        row = states.get((spec.name, model_id))
        model = known.get(model_id)
        found = live.find(model_id, id_routes=spec.id_routes) if live is not None else None
        rows.append(
            t.ModelRow(
                provider=spec.name,
                model=model_id,
                picked=row is not None,
                listed=model is not None,
                live=None if live is None else found is not None,
                state="" if row is None else row.state,
                **_facts(model or (as_spec(spec, found) if found is not None else None), row),
            )
        )
    return rows


def _facts(model: ModelSpec | None, row: t.TargetRow | None) -> dict[str, Any]:
    """What is known of a model: as it takes part, else as its row has it."""
    if row is not None:
        known: dict[str, Any] = {
            "tier": row.tier,
            "price_class": row.price_class,
            "context": row.context,
            "capabilities": row.capabilities,
        }
    elif model is not None:
        known = {
            "tier": model.tier,
            "price_class": model.price_class.name.lower(),
            "context": model.context,
            "capabilities": {str(what): claim.value.value for what, claim in model.capabilities.items()},
        }
    else:
        known = {"price_class": "unknown"}
    return known | ({"max_output": model.max_output} if model is not None else {})


def _spent(totals: Totals) -> t.Spent:
    return t.Spent(**asdict(totals))


def _trail(record: ExchangeRecord) -> t.Trail:
    return t.Trail(
        request_id=record.request_id,
        at=record.at,
        router_key=record.router_key,
        dialect=record.dialect,
        model=record.model,
        profile=record.profile,
        stream=record.stream,
        outcome=record.outcome,
        duration_s=record.duration_s,
        difficulty=record.difficulty,
        estimated_tokens=record.estimated_tokens,
        attempts=[_attempt(one) for one in record.attempts],
        warnings=list(record.warnings),
    )


def _attempt(one: AttemptRecord) -> t.AttemptRow:
    return t.AttemptRow(
        target=one.target,
        outcome=one.outcome,
        why=one.why,
        status=one.status,
        said=one.said,
        retry_at=one.retry_at,
        duration_s=one.duration_s,
        ttft_s=one.ttft_s,
        input_tokens=one.input_tokens,
        cached_tokens=one.cached_tokens,
        output_tokens=one.output_tokens,
        estimated=one.estimated,
        cost_microusd=one.cost_microusd,
        shown_chars=one.shown_chars,
        by=one.by,
    )
