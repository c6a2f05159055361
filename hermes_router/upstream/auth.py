"""Puts the secret on a request: the only place of the request path that reveals one.

Owns request headers towards providers. They are computed once per target and kept until the generation changes; nothing
here is ever logged.
"""

from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

from hermes_router import __version__
from hermes_router.core.catalog import ProviderSpec, Quirk, TargetFacts
from hermes_router.core.ids import Credential, Secret
from hermes_router.core.ports import Renewals, Vault
from hermes_router.upstream.lasting import LastingHeaders

OUR_AGENT = f"hermes-router/{__version__}"


class HeaderAuthorizer:
    """An Authorizer over a vault and, for credentials of kind `oauth`, over the accounts in use."""

    def __init__(self, vault: Vault, accounts: Renewals | None = None) -> None:
        self._vault = vault
        self._accounts = accounts
        self._ready: WeakKeyDictionary[TargetFacts, LastingHeaders] = WeakKeyDictionary()
        self._tokens: WeakKeyDictionary[TargetFacts, Secret] = WeakKeyDictionary()  # what stands in those headers

    def headers(self, facts: TargetFacts, *, caller_agent: str) -> Mapping[str, str]:
        """Request headers with the secret. Raises KeyError where it is gone."""
        if facts.credential.kind == "oauth":
            return self._of_account(facts)
        ready = self._ready.get(facts)
        if ready is None:
            ready = self._ready[facts] = LastingHeaders(self._make(facts))
        if caller_agent and Quirk.CALLER_AGENT in facts.quirks:
            # Kimi's endpoint is for coding agents and looks at who calls (providers.md 3.13): we say who it is.
            return {**ready, "user-agent": caller_agent}
        return ready

    def _of_account(self, facts: TargetFacts) -> Mapping[str, str]:
        """The same headers until there are other tokens."""
        ident = facts.credential.id
        account = self._accounts.in_use(ident) if self._accounts is not None else None
        if account is None:
            raise KeyError(ident)
        ready = self._ready.get(facts)
        if ready is None or self._tokens.get(facts) is not account.access_token:
            headers = key_headers(facts.provider, account.access_token)
            if account.route == "backend":
                headers["chatgpt-account-id"] = account.account_id  # facts/codex.md 6.1
                if account.fedramp:
                    headers["x-openai-fedramp"] = "true"
            ready = self._ready[facts] = LastingHeaders(headers)
            self._tokens[facts] = account.access_token
        return ready

    def _make(self, facts: TargetFacts) -> Mapping[str, str]:
        if facts.credential.kind == "none":
            return _fixed(facts.provider)
        return key_headers(facts.provider, self._vault.reveal(facts.credential))


def _fixed(spec: ProviderSpec) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept": "*/*", "user-agent": OUR_AGENT}
    headers.update({name.lower(): value for name, value in spec.headers.items()})
    return headers


def key_headers(spec: ProviderSpec, secret: Secret) -> dict[str, str]:
    """Request headers with this key, as the row says that it travels."""
    headers = _fixed(spec)
    match spec.auth:
        case "bearer" | "oauth":
            headers["authorization"] = f"Bearer {secret.reveal()}"
        case "x-api-key":
            headers["x-api-key"] = secret.reveal()
        case "none":
            pass
    return headers


def list_headers(spec: ProviderSpec, secret: Secret, *, own_address: bool) -> dict[str, str]:
    """Request headers for the live list of models, which may lie in another API of the provider's (`list_auth`)."""
    match "" if own_address else spec.list_auth:
        case "bearer":
            return _fixed(spec) | {"authorization": f"Bearer {secret.reveal()}"}
        case "x-api-key" | "x-goog-api-key" as name:
            return _fixed(spec) | {name: secret.reveal()}
    return key_headers(spec, secret)


def begins_with(secret: Secret, prefixes: Sequence[str]) -> bool:
    """Whether a key begins with one of these, without showing it."""
    return secret.reveal().startswith(tuple(prefixes))


def bearer(vault: Vault, credential: Credential) -> Mapping[str, str]:
    """The header that asks a local server for its models with the owner's key. Raises KeyError where it is gone."""
    return {"authorization": f"Bearer {vault.reveal(credential).reveal()}"}
