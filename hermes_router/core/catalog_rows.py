"""Parsed TOML tables to rows of the catalogue: every key known, every type checked, every fault named.

Owns the schema of `data/providers.toml`, which is also that of the owner's own file. It must never read a file, and
never repair: a row with a fault is left out and named, and the others stand.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeVar, cast, get_args

from hermes_router.core import row_values as read
from hermes_router.core.catalog import (
    Capability,
    Claim,
    DialectName,
    Embedding,
    Known,
    ListAuth,
    ModelSpec,
    Price,
    PriceClass,
    ProviderSpec,
    Quirk,
    QuotaRule,
    Route,
    Worse,
)
from hermes_router.core.errors import ConfigError
from hermes_router.core.ids import ModelId, ProviderName
from hermes_router.core.observations import ScopeKind, Unit, Window

__all__ = ["Catalog", "overlay", "parse_rows"]

Catalog = dict[ProviderName, ProviderSpec]

_T = TypeVar("_T")
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_ZONE: Final = re.compile(r"rolling|utc|[A-Z][A-Za-z_]+(?:/[A-Za-z_+-]+)+")
# `PROXY_API_KEYS` are the router's own keys; a row of this name would claim them.
_TAKEN_NAMES: Final = frozenset({"proxy"})
_DIALECTS: Final[tuple[DialectName, ...]] = get_args(DialectName)
_AUTHS: Final = ("bearer", "x-api-key", "oauth", "none")
_LIST_AUTHS: Final[tuple[ListAuth, ...]] = get_args(ListAuth)
_LIST_WORDS: Final = "one of " + ", ".join(filter(None, _LIST_AUTHS))


class _Table:
    """One table being read: takes keys out, notes what is wrong with them, and names those left over."""

    def __init__(self, table: Mapping[str, object], path: str, faults: list[str]) -> None:
        self._left = dict(table)
        self.path = path
        self.faults = faults

    def fault(self, key: str, message: str) -> None:
        self.faults.append(f"{self.path}.{key} {message}")

    def take(self, key: str, reader: Callable[[object], _T | None], want: str, default: _T) -> _T:
        """The value of `key` by `reader`, which gives None for what is not `want`; absent = the default."""
        if key not in self._left:
            return default
        value = reader(self._left.pop(key))
        if value is None:
            self.fault(key, f"must be {want}")
            return default
        return value

    def raw(self, key: str) -> object:
        return self._left.pop(key, None)

    def done(self) -> None:
        for key in self._left:
            self.fault(key, "is not a key of a row")


# --- tables -----------------------------------------------------------------------------------------


def _capabilities(table: _Table) -> dict[Capability, Claim]:
    words = "a list of capabilities: " + ", ".join(Capability)
    can = table.take("can", read.capabilities, words, frozenset[Capability]())
    cannot = table.take("cannot", read.capabilities, words, frozenset[Capability]())
    for both in sorted(can & cannot):
        table.fault("cannot", f"and can both name {both}")
    return dict.fromkeys(can, Claim(Known.YES)) | dict.fromkeys(cannot, Claim(Known.NO))


def _quotas(table: _Table) -> tuple[QuotaRule, ...]:
    raw = table.raw("quotas")
    if raw is None:
        return ()
    if not isinstance(raw, list) or not all(isinstance(one, dict) for one in raw):
        table.fault("quotas", "must be a list of tables")
        return ()
    return tuple(_quota(_Table(one, f"{table.path}.quotas[{n}]", table.faults)) for n, one in enumerate(raw))


def _quota(table: _Table) -> QuotaRule:
    unit = table.take("unit", read.one_of(*Unit), "one of " + ", ".join(Unit), "")
    amount = table.take("amount", read.count, "a whole number above 0", 0)
    window = table.take("window", read.one_of(*Window), "one of " + ", ".join(Window), "")
    scopes: tuple[ScopeKind, ...] = get_args(ScopeKind)
    scope = table.take("scope", read.one_of(*scopes), "one of " + ", ".join(scopes), "account")
    resets = table.take("resets", read.text, "rolling, utc or a time zone", "rolling")
    if not _ZONE.fullmatch(resets):
        table.fault("resets", "must be rolling, utc or a time zone such as America/Los_Angeles")
    table.done()
    if not (unit and amount and window):
        table.faults.append(f"{table.path} needs unit, amount and window")
        return QuotaRule(Unit.REQUESTS, 1, Window.MINUTE)
    return QuotaRule(Unit(unit), amount, Window(window), cast("ScopeKind", scope), resets)


def _price(table: _Table) -> Price:
    raw = table.raw("price")
    if raw is None:
        return Price()
    if not isinstance(raw, dict):
        table.fault("price", "must be a table with input and output, in dollars per million tokens")
        return Price()
    inner = _Table(raw, f"{table.path}.price", table.faults)
    want = "dollars per million tokens"
    dollars = [inner.take(key, read.dollars, want, 0.0) for key in ("input", "output", "cached")]
    inner.done()
    micro = [round(one * 1_000_000) for one in dollars]
    return Price(micro[0], micro[1], micro[2] or None)


def _embedding(table: _Table) -> Embedding:
    raw = table.raw("embedding")
    if raw is None:
        return Embedding()
    if not isinstance(raw, dict):
        table.fault("embedding", "must be a table")
        return Embedding()
    inner = _Table(raw, f"{table.path}.embedding", table.faults)
    whole = "a whole number above 0"
    found = Embedding(
        sizes=inner.take("sizes", read.sizes, '"any", or a list of whole numbers above 0', cast("read.Sizes", None)),
        inputs=inner.take("inputs", read.count, whole, cast("int | None", None)),
        call_tokens=inner.take("call_tokens", read.count, whole, cast("int | None", None)),
        token_arrays=inner.take("token_arrays", read.yes_no, "true or false", cast("bool | None", None)),
    )
    inner.done()
    return found


def _model(table: _Table, above: Mapping[Capability, Claim], row_class: PriceClass) -> ModelSpec:
    model_id = table.take("id", read.text, "a model id", "")
    if not model_id or not model_id.isprintable() or model_id != model_id.strip() or "," in model_id:
        table.fault("id", "must be a model id, without commas or control characters")
    spec = ModelSpec(
        id=ModelId(model_id),
        context=table.take("context", read.count, "a whole number of tokens above 0", cast("int | None", None)),
        max_output=table.take("max_output", read.count, "a whole number of tokens above 0", cast("int | None", None)),
        tier=table.take("tier", read.tier, "a whole number from 1 to 5", 3),
        price_class=table.take("price_class", read.price_class, "one of " + ", ".join(read.PRICE_CLASSES), row_class),
        price=_price(table),
        capabilities=dict(above) | _capabilities(table),
        quotas=_quotas(table),
        quirks=table.take("quirks", read.quirks, "a list of known quirks", frozenset[Quirk]()),
        first_token_s=table.take("first_token_s", read.positive, "seconds above 0", cast("float | None", None)),
        embeds=table.take("embeds", read.count, "a number of dimensions", cast("int | None", None)),
        embedding=_embedding(table),
        note=table.take("note", read.text, "text", ""),
        efforts=table.take("efforts", read.texts, "a list of words", ()),
        picked=table.take("picked", read.yes_no, "true or false", default=True),
        refuse=table.take("refuse", read.names, "a list of request keys", frozenset[str]()),
    )
    table.done()
    return spec


def _models(table: _Table, above: Mapping[Capability, Claim], row_class: PriceClass) -> tuple[ModelSpec, ...]:
    raw = table.raw("models")
    if raw is None:
        return ()
    if not isinstance(raw, list) or not all(isinstance(one, dict) for one in raw):
        table.fault("models", "must be a list of tables ([[name.models]])")
        return ()
    specs = tuple(
        _model(_Table(one, f"{table.path}.models[{n}]", table.faults), above, row_class) for n, one in enumerate(raw)
    )
    ids = [spec.id for spec in specs]
    for twice in sorted({one for one in ids if ids.count(one) > 1}):
        table.fault("models", f"names {twice!r} twice")
    return specs


def _endpoints(table: _Table) -> dict[DialectName, str]:
    pairs = table.take("endpoints", read.pairs, "a table of dialect and base URL", cast("dict[str, str]", {}))
    if not pairs:
        table.fault("endpoints", "must name at least one dialect and its base URL")
    for dialect, url in pairs.items():
        fault = read.base_url_fault(url)
        if dialect not in _DIALECTS:
            table.fault(f"endpoints.{dialect}", "is not a dialect: " + ", ".join(_DIALECTS))
        elif fault is not None:
            table.fault(f"endpoints.{dialect}", fault)
    return {d: pairs[d].rstrip("/") for d in _DIALECTS if d in pairs}


def _worse(table: _Table) -> dict[DialectName, Worse]:
    pairs = table.take("worse", read.pairs, "a table of dialect and `always` or `tools`", cast("dict[str, str]", {}))
    for dialect, how in pairs.items():
        if dialect not in _DIALECTS or how not in get_args(Worse):
            table.fault(f"worse.{dialect}", "must be `always` or `tools`, of a dialect: " + ", ".join(_DIALECTS))
    return cast("dict[DialectName, Worse]", pairs)


def _id_quirks(table: _Table) -> dict[str, frozenset[Quirk]]:
    raw = table.raw("id_quirks")
    if raw is None:
        return {}
    found = {beginning: read.quirks(names) for beginning, names in raw.items()} if isinstance(raw, dict) else {"": None}
    for beginning, quirks in found.items():
        if quirks is None or not beginning:
            table.fault("id_quirks", "must be a table of the beginnings of ids, each with a list of known quirks")
            return {}
    return {beginning: quirks for beginning, quirks in found.items() if quirks is not None}


def _usual(table: _Table) -> dict[str, str]:
    pairs = table.take("usual", read.pairs, "a table of programs and base URLs", cast("dict[str, str]", {}))
    for program, url in pairs.items():
        fault = read.base_url_fault(url)
        if fault is not None:
            table.fault(f"usual.{program}", fault)
    return {program: url.rstrip("/") for program, url in pairs.items()}


def _routes(table: _Table) -> dict[str, Route]:
    raw = table.raw("routes")
    if raw is None:
        return {}
    if not isinstance(raw, dict) or not all(isinstance(one, dict) for one in raw.values()):
        table.fault("routes", "must be tables ([name.routes.way])")
        return {}
    found: dict[str, Route] = {}
    for name, one in raw.items():
        inner = _Table(one, f"{table.path}.routes.{name}", table.faults)
        address_of = inner.take("address_of", read.text, "the name of a row", "")
        if not address_of:
            inner.fault("address_of", "must be the name of a row")
        quirks = inner.take("quirks", read.quirks, "a list of known quirks", frozenset[Quirk]())
        found[name] = Route(ProviderName(address_of), quirks)
        inner.done()
    return found


def _row(name: str, table: _Table, *, own: bool) -> ProviderSpec:
    above = _capabilities(table)
    row_class = table.take("price_class", read.price_class, "one of " + ", ".join(read.PRICE_CLASSES), PriceClass.PAID)
    auth = table.take("auth", read.one_of(*_AUTHS), "one of " + ", ".join(_AUTHS), "bearer")
    spec = ProviderSpec(
        name=ProviderName(name),
        title=table.take("title", read.text, "text", name),
        endpoints=_endpoints(table),
        auth=cast('Literal["bearer", "x-api-key", "oauth", "none"]', auth),
        models=_models(table, above, row_class),
        env=table.take("env", read.variables, "a list of names of variables", ()),
        signup=table.take("signup", read.text, "text", ""),
        free=table.take("free", read.text, "text", ""),
        terms=table.take("terms", read.text, "text", ""),
        pooling=table.take("pooling", read.text, "text", ""),
        key_prefixes=table.take("key_prefixes", read.texts, "a list of texts", ()),
        key_check=table.take("key_check", read.key_check, "a path after /, an https URL, or empty", "/models"),
        list_url=table.take("list_url", read.list_url, "a path after /, or an https URL", "/models"),
        list_family=table.take("list_family", read.text, "text", "generic"),
        list_auth=cast("ListAuth", table.take("list_auth", read.one_of(*_LIST_AUTHS), _LIST_WORDS, "")),
        list_whole=table.take("list_whole", read.yes_no, "true or false", default=True),
        id_routes=table.take("id_routes", read.yes_no, "true or false", default=False),
        quota_url=table.take("quota_url", read.path, "a path after /, or empty", ""),
        auth_url=table.take("auth_url", read.url, "an http or https URL", ""),
        usage_url=table.take("usage_url", read.url, "an http or https URL", ""),
        routes=_routes(table),
        trains=table.take("trains", read.yes_no, "true or false", cast("bool | None", None)),
        retired=table.take("retired", read.text, "text", cast("str | None", None)) or None,
        open_catalogue=table.take("open_catalogue", read.yes_no, "true or false", default=False),
        allow=table.take("allow", read.names, "a list of request keys", cast("frozenset[str] | None", None)),
        rename=table.take("rename", read.pairs, "a table of request keys", cast("dict[str, str]", {})),
        usage_option=table.take("usage_option", read.yes_no, "true or false", default=True),
        quotas=_quotas(table),
        quirks=table.take("quirks", read.quirks, "a list of known quirks", frozenset[Quirk]()),
        ratelimit=table.take("ratelimit", read.text, "text", "generic"),
        rejection=table.take("rejection", read.text, "text", "generic"),
        headers=table.take("headers", read.headers, "a table of headers, without secrets", cast("dict[str, str]", {})),
        first_token_s=table.take("first_token_s", read.positive, "seconds above 0", cast("float | None", None)),
        concurrency=table.take("concurrency", read.count, "a whole number above 0", cast("int | None", None)),
        keyless=table.take("keyless", read.yes_no, "true or false", auth == "none"),
        image_urls=table.take("image_urls", read.yes_no, "true or false", default=True),
        model_prefix=table.take("model_prefix", read.text, "text", ""),
        price_class=row_class,
        checked=table.take("checked", read.text, "a date as text", ""),
        source=table.take("source", read.text, "text", ""),
        charges_cap=table.take("charges_cap", read.yes_no, "true or false", default=False),
        worse=_worse(table),
        usual=_usual(table),
        id_quirks=_id_quirks(table),
        aggregate=table.take("aggregate", read.yes_no, "true or false", default=False),
        whole_calls=table.take("whole_calls", read.yes_no, "true or false", default=False),
        free_only=table.take("free_only", read.text, "text", cast("str | None", None)) or None,
        capabilities=above,
        own=own,
    )
    table.done()
    return spec


def parse_rows(tables: Mapping[str, object], *, where: str, own: bool = False) -> tuple[Catalog, list[ConfigError]]:
    """Rows by name in the file's order, and one error for each fault; a row with a fault is not among the rows.

    `where` names the file in errors. Pure; never raises.
    """
    rows: Catalog = {}
    errors: list[ConfigError] = []
    for name, table in tables.items():
        faults: list[str] = []
        if not _NAME.fullmatch(name) or name in _TAKEN_NAMES:
            faults.append(f"{name!r:.60} cannot be the name of a provider (lower case, digits, single underscores)")
        elif not isinstance(table, Mapping):
            faults.append(f"{name} is not a row: write it as [{name}]")
        else:
            spec = _row(name, _Table(table, name, faults), own=own)
            if not faults:
                rows[spec.name] = spec
        errors.extend(ConfigError(f"{fault}; the row is left out", where=where) for fault in faults)
    return rows, errors


def overlay(
    shipped: Mapping[str, object], own: Mapping[str, object], *, shipped_where: str, own_where: str
) -> tuple[Catalog, list[ConfigError]]:
    """The catalogue of our rows with the owner's laid over them, key by key; new names are added.

    A row of the owner's that cannot be used is named, and ours of that name stays as it was.
    """
    rows, errors = parse_rows(shipped, where=shipped_where)
    merged: dict[str, object] = {}
    for name, table in own.items():
        ours = shipped.get(name)
        both = isinstance(ours, Mapping) and isinstance(table, Mapping)
        merged[name] = {**cast("Mapping[str, object]", ours), **cast("Mapping[str, object]", table)} if both else table
    own_rows, own_errors = parse_rows(merged, where=own_where, own=True)
    return {**rows, **own_rows}, [*errors, *own_errors]
