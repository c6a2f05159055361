"""Discovery of a local model server: which models it has, their real windows, and what they can do.

Owns what llama.cpp, Ollama, LM Studio and vLLM say of themselves, each in its own way, and the reading of it. Which
server answers is never configured or guessed from a name: every server is asked all questions, and what is not
there answers 404. It must never know settings, credentials or when to ask again; that is the caller's.

Sources: facts/providers.md 9 and 11; the llama.cpp shapes as seen from a real server (xllamacpp 2026.10).
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hermes_router.core.catalog import Capability, Claim, Known, ModelSpec, PriceClass, QuotaRule
from hermes_router.core.errors import Unreachable, UpstreamError
from hermes_router.core.ids import ModelId
from hermes_router.core.observations import Unit, Window
from hermes_router.core.ports import Outbound, Transport
from hermes_router.upstream.fetch import Reply, fetch

OLLAMA_WINDOW: Final = 4096
"""Tokens that Ollama gives a model for which nobody set `num_ctx`; beyond it the front is cut off silently."""

UNKNOWN_WINDOW: Final = 8192
"""Tokens that an unknown local window counts as (contract.md, Advertised window)."""

EMBEDS_UNKNOWN: Final = 0
"""`ModelSpec.embeds` of a model that embeds, in a number of dimensions that its server does not tell."""

_MAX_MODELS: Final = 256
_MAX_BYTES: Final = 4_000_000  # Ollama's answer carries licence and template
_AT_ONCE: Final = 8
_MAX_TOKENS: Final = 1 << 31

_NUM_CTX = re.compile(r"^\s*num_ctx\s+(\d{1,9})\s*$", re.MULTILINE)
_TEMPLATE_TOOLS = re.compile(r"\btools\b")

_YES: Final = Claim(Known.YES, "probed")
_NO: Final = Claim(Known.NO, "probed")

_NOTHING: Final[Mapping[str, Any]] = {}


class _Facts(msgspec.Struct, frozen=True):
    """What one answer says of one model; absent = it does not say."""

    context: int | None = None
    embeds: int | None = None
    slots: int | None = None
    capabilities: Mapping[Capability, Claim] = msgspec.field(default_factory=dict)

    def over(self, lesser: "_Facts") -> "_Facts":
        """Both together; where they differ, this one holds."""
        return _Facts(
            lesser.context if self.context is None else self.context,
            lesser.embeds if self.embeds is None else self.embeds,
            lesser.slots if self.slots is None else self.slots,
            {**lesser.capabilities, **self.capabilities},
        )

    def spec(self, model_id: str) -> ModelSpec:
        """As a row of the catalogue: it runs on the owner's machine, so it is free."""
        quotas: tuple[QuotaRule, ...] = ()
        if self.slots is not None:
            quotas = (QuotaRule(Unit.CONCURRENCY, self.slots, Window.NONE, "model"),)
        return ModelSpec(
            id=ModelId(model_id),
            context=self.context,
            price_class=PriceClass.FREE,
            capabilities=self.capabilities,
            quotas=quotas,
            embeds=self.embeds,
        )


async def discover(
    transport: Transport,
    base_url: str,
    *,
    timeout_s: float = 1.0,
    wanted: Sequence[str] = (),
    headers: Mapping[str, str] = _NOTHING,
) -> tuple[ModelSpec, ...]:
    """Ask the server at `base_url` (what `/chat/completions` is appended to) what it has.

    Returns one spec for each of `wanted`, in that order, bare where the server does not know it; without
    `wanted`, one for each model that it lists. `context` is what a request may fill *now*, in tokens, None where
    the server does not tell. `timeout_s` bounds each question; at most three follow each other, and one more for
    every eight models of an Ollama. `headers` go with each request (a server's own API key).

    Raises Unreachable, and nothing else, where no server answers or it is still loading: ask again later.
    """
    ask = _Questions(transport, base_url, timeout_s, headers)
    listed = _listed(await ask.models())
    ids = list(wanted) or list(listed)
    replies = await asyncio.gather(*(ask.get(path) for path in ("/props", "/api/v0/models", "/api/ps")))
    props, studio, running = (_object_in(reply) for reply in replies)
    if replies[0] is not None and replies[0].status == 503:  # llama.cpp lists a model that it still loads
        raise Unreachable("the local server is loading its model", status=503)
    facts = {model_id: _of_list_entry(entry) for model_id, entry in listed.items()}
    _add_props(facts, props)
    for entry in _tables(studio.get("data")):
        if (model_id := _id_of(entry)) in facts:
            facts[model_id] = _of_studio(entry).over(facts[model_id])
    names = {model_id: _served_as(model_id, listed, sole=_is_llama(props)) for model_id in ids}
    shown = await ask.shows(
        [name for name in dict.fromkeys(names.values()) if facts.get(name, _Facts()).context is None],
        is_ollama=isinstance(running.get("models"), list),
    )
    windows = {str(entry.get("name")): entry.get("context_length") for entry in _tables(running.get("models"))}
    for name, answer in shown.items():
        facts[name] = _of_show(answer, _count(windows.get(name))).over(facts.get(name, _Facts()))
    return tuple(facts.get(name, _Facts()).spec(model_id) for model_id, name in names.items())


class _Questions:
    """The questions to one server. An answer that is no 200 with a JSON object is an empty one."""

    __slots__ = ("_base", "_headers", "_root", "_timeout_s", "_transport")

    def __init__(self, transport: Transport, base_url: str, timeout_s: float, headers: Mapping[str, str]) -> None:
        self._transport = transport
        self._base = base_url.rstrip("/")
        self._root = self._base.removesuffix("/v1")
        self._timeout_s = timeout_s
        self._headers = {"accept": "application/json", **headers}

    async def models(self) -> Mapping[str, Any]:
        """The model list. Raises Unreachable where nobody answers, and on a 5xx: it is starting, or broken."""
        try:
            reply = await self._send("GET", self._base + "/models")
        except UpstreamError as error:
            raise Unreachable(error.excerpt) from error
        except ValueError as error:
            raise Unreachable("the base URL cannot be asked") from error
        if reply.status >= 500:
            raise Unreachable("the local server is not ready", status=reply.status)
        return _object_in(reply)

    async def get(self, path: str) -> Reply | None:
        """Any other question without a body; None where no answer came."""
        return await self._try("GET", path)

    async def shows(self, names: Sequence[str], *, is_ollama: bool) -> dict[str, Mapping[str, Any]]:
        """What Ollama says of each of these models; the first answer tells whether the others are asked."""
        names = [name for name in names if name.isprintable()][:_MAX_MODELS]
        if names and not is_ollama and not await self._show(names[0]):
            return {}
        found: dict[str, Mapping[str, Any]] = {}
        for at in range(0, len(names), _AT_ONCE):
            batch = names[at : at + _AT_ONCE]
            answers = await asyncio.gather(*(self._show(name) for name in batch))
            found.update((name, answer) for name, answer in zip(batch, answers, strict=True) if answer)
        return found

    async def _show(self, name: str) -> Mapping[str, Any]:
        body = msgspec.json.encode({"model": name, "name": name})  # `name` is what older versions read
        found = _object_in(await self._try("POST", "/api/show", body))
        return found if isinstance(found.get("model_info"), dict) else _NOTHING

    async def _try(self, method: str, path: str, body: bytes = b"") -> Reply | None:
        try:
            return await self._send(method, self._root + path, body)
        except UpstreamError:
            return None

    async def _send(self, method: str, url: str, body: bytes = b"") -> Reply:
        headers = {**self._headers, "content-type": "application/json"} if body else self._headers
        request = Outbound(method, url, headers, body, connect_timeout_s=self._timeout_s)
        return await fetch(self._transport, request, timeout_s=self._timeout_s, max_bytes=_MAX_BYTES)


def _add_props(facts: dict[str, _Facts], props: Mapping[str, Any]) -> None:
    """Give what `/props` says to the model it speaks of: the only one listed, else the one of its alias."""
    if not _is_llama(props):
        return
    alias = props.get("model_alias")
    name = next(iter(facts)) if len(facts) == 1 else alias if isinstance(alias, str) else ""
    if name in facts:
        facts[name] = _of_props(props).over(facts[name])


def _is_llama(props: Mapping[str, Any]) -> bool:
    return "default_generation_settings" in props


def _served_as(wanted: str, listed: Mapping[str, Any], *, sole: bool) -> str:
    """The listed id behind a name: itself, or Ollama's `:latest`, or a llama.cpp's only one, whatever it is called."""
    if wanted in listed:
        return wanted
    if f"{wanted}:latest" in listed:
        return f"{wanted}:latest"
    return next(iter(listed)) if sole and len(listed) == 1 else wanted


def _listed(answer: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The entries of `/v1/models` by id, in the server's order."""
    entries = ((_id_of(entry), entry) for entry in _tables(answer.get("data"))[:_MAX_MODELS])
    return {model_id: entry for model_id, entry in entries if model_id}


def _of_list_entry(entry: Mapping[str, Any]) -> _Facts:
    """`max_model_len` is vLLM's, `meta.n_ctx` llama.cpp's, `context_length` that of several smaller servers."""
    context = (
        _count(entry.get("max_model_len"))
        or _count(_table(entry.get("meta")).get("n_ctx"))
        or _count(entry.get("context_length"))
    )
    inputs = _table(entry.get("architecture")).get("input_modalities")
    if not isinstance(inputs, list):
        return _Facts(context)
    claims = {Capability.IMAGES: "image" in inputs, Capability.AUDIO: "audio" in inputs}
    return _Facts(context, capabilities=_claims(claims))


def _of_props(props: Mapping[str, Any]) -> _Facts:
    """llama.cpp: `n_ctx` is the window of one slot, what a single request may fill; `n` is bound by the slots.

    Tools that the template does not render are ignored without a word, so they are a no, not an error.
    """
    slots = _count(props.get("total_slots"))
    claims: dict[Capability, object] = {
        Capability.JSON_OBJECT: True,  # its grammars are the server's, not the model's
        Capability.JSON_SCHEMA: True,
        Capability.LOGPROBS: True,
        Capability.TOOLS: _template_tools(props),
        Capability.IMAGES: _table(props.get("modalities")).get("vision"),
        Capability.AUDIO: _table(props.get("modalities")).get("audio"),
    }
    if slots is not None:
        claims[Capability.MULTIPLE] = slots > 1
    context = _count(_table(props.get("default_generation_settings")).get("n_ctx"))
    return _Facts(context, slots=slots, capabilities=_claims(claims))


def _template_tools(props: Mapping[str, Any]) -> bool | None:
    """New builds examine the template themselves; of an older one only a template that names tools is sure."""
    told = _table(props.get("chat_template_caps")).get("supports_tools")
    if isinstance(told, bool):
        return told
    template = props.get("chat_template")
    named = isinstance(template, str) and _TEMPLATE_TOOLS.search(template) is not None
    return True if named or "chat_template_tool_use" in props else None


def _of_studio(entry: Mapping[str, Any]) -> _Facts:
    """What `/api/v0/models` of LM Studio says of a model.

    With which window it will load one that is not loaded is not told; only a maximum below what unknown ones count
    as says something. Every model gets tools in its default format; `tool_use` is the native one.
    """
    most = _count(entry.get("max_context_length"))
    context = _count(entry.get("loaded_context_length"))
    if context is None and most is not None and most < UNKNOWN_WINDOW:
        context = most
    kind, can = entry.get("type"), entry.get("capabilities")
    claims: dict[Capability, object] = {}
    if kind in {"llm", "vlm"}:
        claims[Capability.IMAGES] = kind == "vlm"
    if isinstance(can, list) and "tool_use" in can:
        claims[Capability.TOOLS] = True
    return _Facts(context, EMBEDS_UNKNOWN if kind == "embeddings" else None, None, _claims(claims))


def _of_show(answer: Mapping[str, Any], running: int | None) -> _Facts:
    """What `/api/show` of Ollama says of a model; `running` is the window that `/api/ps` gives it.

    Its window is `num_ctx` of the Modelfile, else the running one (where the server's OLLAMA_CONTEXT_LENGTH shows),
    else the default; never more than the model was made for. Models that it passes on to its cloud (`remote_host`)
    have their whole window.
    """
    info = _table(answer.get("model_info"))
    most = _by_ending(info, ".context_length")
    parameters = answer.get("parameters")
    said = _NUM_CTX.findall(parameters) if isinstance(parameters, str) else []
    given = _count(int(said[-1])) if said else running
    context = most if answer.get("remote_host") else min(given or OLLAMA_WINDOW, most or _MAX_TOKENS)
    can = answer.get("capabilities")
    if not isinstance(can, list):  # before 0.6
        tools = True if ".Tools" in str(answer.get("template")) else None
        return _Facts(context, capabilities=_claims({Capability.TOOLS: tools}))
    claims = {
        Capability.TOOLS: "tools" in can,
        Capability.IMAGES: "vision" in can,
        Capability.REASONING: "thinking" in can,
    }
    embeds = (_by_ending(info, ".embedding_length") or EMBEDS_UNKNOWN) if "embedding" in can else None
    return _Facts(context, embeds, None, _claims(claims))


def _claims(said: Mapping[Capability, object]) -> dict[Capability, Claim]:
    """What was said with yes or no; anything else is left unknown."""
    return {what: _YES if is_so else _NO for what, is_so in said.items() if isinstance(is_so, bool)}


def _by_ending(info: Mapping[str, Any], ending: str) -> int | None:
    """`<architecture>.context_length` and the like."""
    exact = _count(info.get(f"{info.get('general.architecture')}{ending}"))
    return exact or next((n for key, value in info.items() if key.endswith(ending) and (n := _count(value))), None)


def _object_in(reply: Reply | None) -> Mapping[str, Any]:
    """The JSON object of a 200, else an empty one."""
    if reply is None or reply.status != 200:
        return _NOTHING
    try:
        return _table(msgspec.json.decode(reply.body))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _NOTHING


def _id_of(entry: Mapping[str, Any]) -> str:
    """An id that can be shown and sent, else nothing. llama.cpp without an alias uses the path of its file."""
    model_id = entry.get("id")
    return model_id if isinstance(model_id, str) and model_id.strip() and model_id.isprintable() else ""


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else _NOTHING


def _tables(value: object) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _count(value: object) -> int | None:
    """A positive whole number of sensible size."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MAX_TOKENS:
        return value
    return None
