"""Layers of raw text to settings in force: precedence, derived names, and where each value came from.

Owns precedence and provenance; the names are in `core/variables.py`, the readers in `core/setting_values.py`. It must
never read a file or the environment, and never show a value in an error.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from hermes_router.core import setting_values as read
from hermes_router.core.catalog import ProviderSpec
from hermes_router.core.errors import ConfigError
from hermes_router.core.ids import ProviderName, Secret
from hermes_router.core.settings import DEFAULT_KEY, ProviderSettings, Settings
from hermes_router.core.variables import CONFIDENTIAL, DERIVED, ELSEWHERE, GLOBALS, PER_MODEL

__all__ = ["KeyFound", "Layer", "is_ours", "parse_settings"]

Layer = tuple[str, Mapping[str, tuple[str, str]]]
"""A layer's name, and its variables: raw text with where it stands (`/path/.env:12`)."""

SHARED_LAYER: Final = "environment"
"""The layer that holds everyone's variables: names that are not ours mean nothing there."""


class KeyFound(NamedTuple):
    """A provider's key, wrapped at once; `variable` is its name, `source` where it stands."""

    provider: ProviderName
    secret: Secret
    variable: str
    source: str


class _Layers:
    """All layers, the strongest first; collects what is wrong."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(reversed(layers))
        self.errors: list[ConfigError] = []
        self.sources: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def names(self) -> list[str]:
        """Every variable once."""
        return sorted({name for _, variables in self._layers for name in variables})

    def found(self, name: str) -> Iterator[tuple[str, str]]:
        """Its values with their places, the strongest first."""
        return (variables[name] for _, variables in self._layers if name in variables)

    def read(self, name: str, reader: Callable[[str], object], *, fatal: bool = False) -> tuple[object] | None:
        """The strongest value that can be read, in a tuple, since None is one; None where there is none."""
        for raw, where in self.found(name):
            try:
                value = reader(raw)
            except ValueError as error:
                what = f"{name} {error}" + ("" if fatal else "; it is skipped")
                self.errors.append(ConfigError(what, where=where, fatal=fatal))
                continue
            self.sources[name] = where
            self.texts[name] = raw
            return (value,)
        return None

    def point_out_strangers(self, known: Callable[[str], bool], near: Sequence[str]) -> None:
        """Name what looks like ours and is not, where only ours should stand."""
        for layer, variables in self._layers:
            if layer == SHARED_LAYER:
                continue
            for name, (_, where) in variables.items():
                close = difflib.get_close_matches(name, near, n=1, cutoff=0.85) if not known(name) else []
                if close:
                    said = f"{name} is not a setting; is it {close[0]}?"
                    self.errors.append(ConfigError(said, where=where, hint=True))


def _stem(spec: ProviderSpec) -> str:
    return spec.name.upper()


def _key_names(catalog: Mapping[ProviderName, ProviderSpec]) -> dict[ProviderName, tuple[str, ...]]:
    """The whole names of key variables by provider; a name derived from one row is never another's alias."""
    own = {spec.name: f"{_stem(spec)}_API_KEY" for spec in catalog.values() if spec.auth != "oauth"}
    derived = frozenset(own.values())
    return {name: (key, *(e for e in catalog[name].env if e not in derived)) for name, key in own.items()}


def _numbered(base: str, names: Sequence[str]) -> list[str]:
    """`base`, its plural, and `base_2` and on, in that order, as far as they are set."""
    found = [name for name in (base, f"{base}S") if name in names]
    prefix = f"{base}_"
    digits = [n.removeprefix(prefix) for n in names if n.startswith(prefix) and n.removeprefix(prefix).isdecimal()]
    return found + [f"{prefix}{one}" for one in sorted(digits, key=int)]


def _keys(layers: _Layers, catalog: Mapping[ProviderName, ProviderSpec]) -> list[KeyFound]:
    found: list[KeyFound] = []
    names = layers.names()
    for provider, bases in _key_names(catalog).items():
        for variable in (name for base in bases for name in _numbered(base, names)):
            raw, where = next(layers.found(variable))
            layers.sources[variable] = where
            for one in read.listed(raw):
                fault = read.key_fault(one)
                if fault is None:
                    found.append(KeyFound(provider, Secret(one), variable, where))
                else:
                    layers.errors.append(ConfigError(f"{variable}: a key {fault}; it is skipped", where=where))
    return found


def _of_provider(layers: _Layers, spec: ProviderSpec, per_model: Mapping[str, dict[str, bool]]) -> ProviderSettings:
    stem = _stem(spec)
    values: dict[str, Any] = {field: said for field, said in per_model.items() if said}
    for one in DERIVED:
        if (one.keyless and not spec.keyless) or (one.oauth and spec.auth != "oauth"):
            continue
        value = layers.read(stem + one.name, one.read)
        if value is not None:
            values[one.field] = value[0]
    limits = layers.read(f"{stem}_LIMITS", lambda text: read.limits(text, spec))
    if limits is not None:
        values["limits"] = limits[0]
    return replace(ProviderSettings(), **values)


def _per_model(
    layers: _Layers, catalog: Mapping[ProviderName, ProviderSpec]
) -> dict[ProviderName, dict[str, dict[str, bool]]]:
    """`<P>_<MODEL>_SUPPORTS_TOOLS` and `_REASONING`, by provider, field and the model's part of the name."""
    stems = sorted(((_stem(spec) + "_", name) for name, spec in catalog.items()), key=lambda s: -len(s[0]))
    said: dict[ProviderName, dict[str, dict[str, bool]]] = {}
    for variable in layers.names():
        for suffix, field in PER_MODEL:
            stem, owner = next(((s, n) for s, n in stems if variable.startswith(s)), ("", None))
            model = variable[len(stem) : -len(suffix)]
            if owner is None or not variable.endswith(suffix) or not model:
                continue
            value = layers.read(variable, read.boolean)
            if value is not None:
                said.setdefault(owner, {}).setdefault(field, {})[model] = bool(value[0])
    return said


def is_ours(catalog: Mapping[ProviderName, ProviderSpec]) -> Callable[[str], bool]:
    """Whether a name is a variable of this router, with this catalogue."""
    whole = {one.name for one in GLOBALS} | ELSEWHERE
    keys: list[str] = []
    for bases in _key_names(catalog).values():
        keys.extend(bases)
    for spec in catalog.values():
        endings = (*(one.name for one in DERIVED), "_LIMITS")
        whole.update(_stem(spec) + ending for ending in endings)
    whole.update(keys, (f"{key}S" for key in keys))
    stems = tuple(_stem(spec) + "_" for spec in catalog.values())
    numbered = re.compile("(?:" + "|".join(map(re.escape, keys)) + r")_\d+") if keys else None

    def known(name: str) -> bool:
        if name in whole or (numbered is not None and numbered.fullmatch(name)):
            return True
        return name.startswith(stems) and name.endswith(tuple(suffix for suffix, _ in PER_MODEL))

    return known


def _near_names(catalog: Mapping[ProviderName, ProviderSpec]) -> list[str]:
    keys = [name for bases in _key_names(catalog).values() for name in bases]
    derived = [f"{_stem(spec)}{one.name}" for spec in catalog.values() for one in DERIVED]
    return [*(one.name for one in GLOBALS), *keys, *derived]


def parse_settings(
    layers: Sequence[Layer], catalog: Mapping[ProviderName, ProviderSpec]
) -> tuple[Settings, tuple[KeyFound, ...], list[ConfigError]]:
    """Settings in force, the keys found, and what could not be used.

    `layers` come weakest first (config.toml, .env, environment); our own defaults lie below them. A malformed value
    is named once with its place and skipped, so that the next layer's counts; where that would leave the router deaf
    or open to strangers, its error is `fatal`. An empty value is a value: it hides the layers below. Never raises.
    """
    view = _Layers(layers)
    values: dict[str, Any] = {}
    for one in GLOBALS:
        value = view.read(one.name, one.read, fatal=one.fatal)
        if value is not None:
            values[one.field] = value[0]
    per_model = _per_model(view, catalog)
    said = {name: _of_provider(view, spec, per_model.get(name, {})) for name, spec in catalog.items()}
    keys = tuple(_keys(view, catalog))
    router_keys: tuple[Secret, ...] | None = values.get("proxy_api_keys")
    settings = replace(
        Settings(),
        **values,
        default_key=router_keys is None or Secret(DEFAULT_KEY) in router_keys,
        local_is_private=any(one.is_private for one in said.values()),
        providers={name: one for name, one in said.items() if one != ProviderSettings()},
        sources={one.name: "default" for one in GLOBALS} | view.sources,
        texts={name: text for name, text in view.texts.items() if name not in CONFIDENTIAL},
    )
    view.point_out_strangers(is_ours(catalog), _near_names(catalog))
    return settings, keys, view.errors
