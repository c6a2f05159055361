"""Bodies of Messages requests and targets to send them to, for the tests of that dialect."""

import json
import tomllib
from pathlib import Path
from typing import Any

from hermes_router.core.catalog import ModelSpec, ProviderSpec, Quirk, TargetFacts
from hermes_router.core.catalog_rows import parse_rows
from hermes_router.core.content import Reasoning
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName, Target
from hermes_router.wire.chat.outgoing import Options
from hermes_router.wire.inbound import Inbound
from hermes_router.wire.messages.request import parse_request

FIXTURES = Path(__file__).parent / "fixtures" / "anthropic_messages_requests"
CALLERS = sorted(path.name for path in FIXTURES.iterdir())
TABLE = Path(__file__).parents[2] / "hermes_router" / "data" / "providers.toml"
ROWS, FAULTS = parse_rows(tomllib.loads(TABLE.read_text()), where="providers.toml")

STREAM = Options(stream=True)
USER = {"role": "user", "content": "hi"}
TOOL = {"name": "f", "description": "does f", "input_schema": {"type": "object", "properties": {}}}
MARK = {"type": "ephemeral"}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def caller(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A real caller's body, and what is known of it."""
    return (
        json.loads((FIXTURES / name / "request.json").read_text()),
        tomllib.loads((FIXTURES / name / "meta.toml").read_text()),
    )


def parse(headers: dict[str, str] | None = None, **fields: Any) -> Inbound:
    """The parsed request of these fields and one user message."""
    return parse_request(
        json.dumps({"model": "m", "max_tokens": 100, "messages": [USER], **fields}).encode(), headers or {}
    )


def history(*messages: dict[str, Any], **fields: Any) -> Inbound:
    """The parsed request of these messages."""
    return parse(messages=list(messages), **fields)


def call(call_id: str, name: str = "f", **arguments: Any) -> dict[str, Any]:
    """A tool_use block."""
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def result(call_id: str, content: Any = "done", **keys: Any) -> dict[str, Any]:
    """A tool_result block."""
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **keys}


def said(*blocks: dict[str, Any]) -> dict[str, Any]:
    """A turn of the assistant."""
    return {"role": "assistant", "content": list(blocks)}


def asked(*blocks: dict[str, Any]) -> dict[str, Any]:
    """A turn of the user."""
    return {"role": "user", "content": list(blocks)}


def text(what: str, **keys: Any) -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": what, **keys}


def facts(*quirks: Quirk, output_cap: int | None = None, endpoints: Any = None, **model: Any) -> TargetFacts:
    """A target of a row made of nothing but what is named."""
    row = {key: model.pop(key) for key in ("allow", "headers") if key in model}
    spec = ModelSpec(ModelId("m-1"), **model)
    provider = ProviderSpec(
        ProviderName("p"), "P", endpoints or {"anthropic_messages": "http://p"}, "bearer", (spec,), **row
    )
    return _target(provider, spec, frozenset(quirks), output_cap)


def row(provider: str, model: str) -> TargetFacts:
    """A target of our own table."""
    spec = ROWS[ProviderName(provider)]
    known = spec.model(model) or ModelSpec(ModelId(model))
    return _target(spec, known, spec.quirks | known.quirks, None)


def _target(provider: ProviderSpec, spec: ModelSpec, quirks: frozenset[Quirk], cap: int | None) -> TargetFacts:
    credential = Credential(CredentialId("abcd"), provider.name, AccountId("a"), "api_key", "ref", "tail", "env")
    return TargetFacts(
        Target(provider.name, spec.id, credential.id), provider, spec, credential, "http://p", quirks=quirks,
        output_cap=cap, dialect="anthropic_messages",
    )  # fmt: skip


class Remembers:
    """A memory that a test fills: thoughts by call id, and who made which signature."""

    holds = True

    def __init__(self, thoughts: dict[str, tuple[Reasoning, ...]] | None = None, foreign: frozenset[str] = frozenset()):
        self._thoughts = thoughts or {}
        self._foreign = foreign

    def signature(self, call_id: str, name: str, arguments: str) -> None:
        return None

    reasoning = signature
    details = signature

    def thoughts(self, call_id: str, name: str, arguments: str) -> tuple[Reasoning, ...]:
        return self._thoughts.get(call_id, ())

    def made_here(self, data: str) -> bool | None:
        return False if data in self._foreign else None
