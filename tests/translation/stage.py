"""The real translation, played: a caller's request to an upstream's body, an upstream's answer to what the caller sees.

Nothing here is known of what should come out.
"""

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hermes_router.conformance.feature import CHAT, MESSAGES, RESPONSES
from hermes_router.core.catalog import DialectName, ModelSpec, ProviderSpec, Quirk, TargetFacts
from hermes_router.core.errors import BadRequest, HermesError, Inexpressible, UpstreamError
from hermes_router.core.events import Usage, fold
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName, Target
from hermes_router.wire.broken_calls import drop_broken_calls
from hermes_router.wire.chat import request as openai_chat
from hermes_router.wire.chat.decoder import ChatDecoder
from hermes_router.wire.chat.outgoing import NO_RECALL, Options
from hermes_router.wire.chat.passthrough import ManyLane, StreamLane
from hermes_router.wire.chat.unary import read_answer, usage_of
from hermes_router.wire.dialect import Decoder
from hermes_router.wire.dialects import DIALECTS
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.lane import Lane
from hermes_router.wire.messages import request as messages_request
from hermes_router.wire.openai_errors import Rendered
from hermes_router.wire.rejection import judge
from hermes_router.wire.responses import request as responses_request
from hermes_router.wire.splice import Splice
from hermes_router.wire.translated import RawLane, TranslatedLane

NAMES: Final[Mapping[str, DialectName]] = {
    CHAT: "openai_chat",
    MESSAGES: "anthropic_messages",
    RESPONSES: "openai_responses",
}
PARSERS: Final[Mapping[str, Callable[[bytes, Mapping[str, str]], Inbound]]] = {
    CHAT: openai_chat.parse_request,
    MESSAGES: messages_request.parse_request,
    RESPONSES: responses_request.parse_request,
}
MODEL: Final = "m-1"


MAKER: Final[Mapping[str, frozenset[Quirk]]] = {
    MESSAGES: frozenset({Quirk.BETAS, Quirk.HOSTED_TOOLS, Quirk.SYSTEM_TURNS, Quirk.ADAPTIVE_THINKING}),
    RESPONSES: frozenset({Quirk.NATIVE_RESPONSES}),
}
"""What marks the maker of a dialect."""


def target(upstream: str, *, maker: bool = False) -> TargetFacts:
    """A target of a row made of nothing: no list of what it takes, no quirks but the maker's."""
    name = NAMES[upstream]
    spec = ModelSpec(ModelId(MODEL))
    provider = ProviderSpec(ProviderName("p"), "P", {name: "http://p"}, "bearer", (spec,))
    credential = Credential(CredentialId("abcd"), provider.name, AccountId("a"), "api_key", "ref", "tail", "env")
    return TargetFacts(
        Target(provider.name, spec.id, credential.id), provider, spec, credential, "http://p", dialect=name,
        quirks=MAKER[upstream] if maker else frozenset(),
    )  # fmt: skip


@dataclass(frozen=True)
class Heard:
    """What became of a request: the upstream's body and the warnings, or why it was refused."""

    body: dict[str, Any] | None
    warnings: tuple[str, ...] = ()
    refusal: str = ""
    param: str | None = None


def parse(caller: str, body: Mapping[str, Any]) -> Inbound:
    """The caller's request, read as the server reads it. Raises BadRequest."""
    return PARSERS[caller](json.dumps({"model": "hermes-router", **body}).encode(), {})


def ask(caller: str, upstream: str, body: Mapping[str, Any], *, maker: bool = False) -> Heard:
    """The request to a target that speaks `upstream`, as an attempt says it."""
    try:
        inbound = parse(caller, body)
        facts, options = target(upstream, maker=maker), Options(stream=inbound.request.stream)
        dialect = DIALECTS[NAMES[upstream]]
        if caller == upstream:
            out = dialect.pass_on(inbound, facts, options, NO_RECALL)
        else:
            out = dialect.compose(DIALECTS[NAMES[caller]].read(inbound), facts, options, NO_RECALL)
    except (BadRequest, Inexpressible) as error:
        return Heard(None, refusal=f"{type(error).__name__}: {error}", param=getattr(error, "param", None))
    return Heard(json.loads(out.body), tuple(map(str, out.warnings)))


# --- the way back -------------------------------------------------------------------------------------

NOW: Final = 1_790_000_000
ORIGIN: Final = f"p/{MODEL}"
_PROMPT: Final = Usage(9, 1, estimated=True)


def _new_ids() -> Callable[[str], str]:
    numbers = itertools.count(1)
    return lambda prefix: f"{prefix}{next(numbers):024d}"


def _in_band(error: object) -> UpstreamError:
    return judge.in_band("generic", error, NOW)


def _decoder(upstream: str) -> Decoder:
    return DIALECTS[NAMES[upstream]].decoder(_in_band, new_id=_new_ids(), now=NOW, model=MODEL, origin=ORIGIN)


def tell(caller: str, upstream: str, request: Mapping[str, Any], answer: bytes) -> dict[str, Any]:
    """A whole answer of an upstream as its caller gets it. Raises the UpstreamError that it is."""
    inbound = parse(caller, request)
    decoder = _decoder(upstream)
    if caller == upstream == CHAT:
        assert isinstance(decoder, ChatDecoder)
        whole = read_answer(answer, decoder, estimate=_PROMPT, cap_chars=None, choices=1, plain=True)
        return json.loads(whole.body)
    folded = fold(decoder.whole(answer))
    cut = drop_broken_calls(folded)
    if _passes(caller, upstream, inbound) and not cut:
        return json.loads(answer)
    usage = usage_of(decoder.usage, _PROMPT, "".join(block.text for block in folded.blocks))
    write = DIALECTS[NAMES[caller]].render_answer
    return json.loads(write(folded, usage, inbound, origin=ORIGIN, new_id=_new_ids(), now=NOW))


@dataclass(frozen=True)
class Streamed:
    """What a caller has got of a stream, whole or not; `error` is why it did not end well."""

    raw: bytes
    error: UpstreamError | None


def tell_stream(caller: str, upstream: str, request: Mapping[str, Any], stream: bytes) -> Streamed:
    """An upstream's stream as its caller gets it, frame by frame; the dialect's own error event where it fails."""
    beside = {"stream_options": {"include_usage": True}} if caller == CHAT else {}
    inbound = parse(caller, {**request, **beside, "stream": True})
    make = DIALECTS[NAMES[caller]].encoder
    encoder = make(inbound, prompt_tokens=_PROMPT.input_tokens, new_id=_new_ids(), now=NOW)
    encoder.origin = ORIGIN
    splice = Splice(encoder)
    lane = _lane(splice, caller, upstream, inbound)
    out = b""
    for frame in stream.split(b"\n\n")[:-1]:
        out += lane.feed(frame + b"\n\n")
        if lane.over or lane.error is not None:
            break
    else:
        out += lane.end(clean=True)
    if lane.error is not None:
        return Streamed(out + splice.fail(lane.error, now=NOW), lane.error)
    usage = usage_of(lane.usage, _PROMPT, " " * splice.shown_chars)
    return Streamed(out + (splice.tail if splice.tail is not None else encoder.end(usage)), None)


def _lane(splice: Splice, caller: str, upstream: str, inbound: Inbound) -> Lane:
    decoder = _decoder(upstream)
    if isinstance(decoder, ChatDecoder) and caller == CHAT:
        return ManyLane(splice, decoder, 1) if inbound.request.logprobs else StreamLane(splice, decoder)
    return (RawLane if _passes(caller, upstream, inbound) else TranslatedLane)(splice, decoder)


def _passes(caller: str, upstream: str, inbound: Inbound) -> bool:
    """Whether answers may go to the caller as they come."""
    if caller != upstream:
        return False
    options = Options(stream=inbound.request.stream)
    return DIALECTS[NAMES[upstream]].pass_on(inbound, target(upstream), options, NO_RECALL).straight


def refusal(upstream: str, status: int, body: Mapping[str, Any]) -> UpstreamError:
    """What an upstream's refusal is taken for."""
    return judge.classify("generic", status, {}, json.dumps(body).encode(), NOW)


def tell_error(caller: str, error: HermesError) -> Rendered:
    """A failure as its caller is told it."""
    return DIALECTS[NAMES[caller]].render_error(error, now=NOW, request_id="req_1")
