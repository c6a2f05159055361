"""hermes_router/upstream/auth.py: the secret on a request, and nowhere else."""

import pytest
from msgspec.structs import replace

from hermes_router import __version__
from hermes_router.core.accounts import BACKEND_CLIENT_ID, CodexAccount, Route, Tokens, account_of_tokens
from hermes_router.core.catalog import ModelSpec, ProviderSpec, Quirk, TargetFacts
from hermes_router.core.ids import AccountId, Credential, CredentialId, ModelId, ProviderName, Secret, Target
from hermes_router.upstream.auth import HeaderAuthorizer, bearer

KEY = "sk-the-secret-itself"


class Vault:
    """Counts how often a secret is taken out."""

    def __init__(self) -> None:
        self.asked = 0

    def reveal(self, credential: Credential) -> Secret:
        self.asked += 1
        if credential.secret_ref == "gone":
            raise KeyError(credential.id)
        return Secret(KEY)


def _facts(auth="bearer", kind="api_key", ref="X_API_KEY", headers=None, quirks=frozenset()) -> TargetFacts:
    name, model = ProviderName("x"), ModelSpec(ModelId("m"))
    provider = ProviderSpec(name, "X", {"openai_chat": "https://x.test/v1"}, auth, (model,), headers=headers or {})
    ident = CredentialId("0123456789abcdef")
    credential = Credential(ident, name, AccountId("a"), kind, ref, "self", "environment")
    return TargetFacts(Target(name, model.id, ident), provider, model, credential, "https://x.test/v1", quirks=quirks)


@pytest.mark.parametrize("auth", ["bearer", "oauth"])
def test_a_bearer_secret_is_in_authorization_only(auth):
    """The secret is in the one header that the row names."""
    headers = HeaderAuthorizer(Vault()).headers(_facts(auth), caller_agent="")
    assert headers["authorization"] == f"Bearer {KEY}"
    assert [name for name, value in headers.items() if KEY in value] == ["authorization"]


class Accounts:
    """The account in use, as the test sets it."""

    def __init__(self, account: CodexAccount | None) -> None:
        self.account = account

    def in_use(self, ident: CredentialId) -> CodexAccount | None:
        return self.account

    def renew(self, ident: CredentialId, used: CodexAccount | None, done: object) -> None:
        raise AssertionError("nobody is asked to renew for a header")


def _account(token: str, route: Route = "backend", **more: bool) -> CodexAccount:
    tokens = Tokens(Secret(token))
    found = account_of_tokens(tokens, now=1.0, route=route, client_id=BACKEND_CLIENT_ID, account_id="acc-1")
    return replace(found, **more)


def test_an_account_sends_the_tokens_of_the_moment():
    """Headers last until there are other tokens; the account is named on the backend and not on the plan route."""
    vault, accounts, facts = Vault(), Accounts(_account("tok-1")), _facts("oauth", kind="oauth")
    authorizer = HeaderAuthorizer(vault, accounts)
    first = authorizer.headers(facts, caller_agent="")
    assert (first["authorization"], first["chatgpt-account-id"]) == ("Bearer tok-1", "acc-1")
    assert "x-openai-fedramp" not in first
    assert authorizer.headers(facts, caller_agent="") is first
    accounts.account = _account("tok-2", fedramp=True)
    second = authorizer.headers(facts, caller_agent="")
    assert (second["authorization"], second["x-openai-fedramp"]) == ("Bearer tok-2", "true")
    accounts.account = _account("tok-3", "plan")
    assert "chatgpt-account-id" not in authorizer.headers(facts, caller_agent="")
    assert vault.asked == 0


def test_an_account_without_anything_to_send_raises():
    """Its login has ended, or nobody keeps accounts here: nothing is sent."""
    for accounts in (Accounts(None), None):
        with pytest.raises(KeyError):
            HeaderAuthorizer(Vault(), accounts).headers(_facts("oauth", kind="oauth"), caller_agent="")


def test_an_x_api_key_secret_is_in_x_api_key_only():
    """As above, for Anthropic's way."""
    headers = HeaderAuthorizer(Vault()).headers(_facts("x-api-key"), caller_agent="")
    assert [(name, value) for name, value in headers.items() if KEY in value] == [("x-api-key", KEY)]


@pytest.mark.parametrize("facts", [_facts(kind="none"), _facts("none")])
def test_without_a_secret_none_is_sent(facts):
    """A keyless server gets no Authorization, not an empty one."""
    headers = HeaderAuthorizer(Vault()).headers(facts, caller_agent="")
    assert not {"authorization", "x-api-key"} & set(headers)


def test_a_rows_own_headers_come_along_in_lower_case():
    """Fixed headers of a row are sent, and may replace ours."""
    headers = HeaderAuthorizer(Vault()).headers(_facts(headers={"X-Title": "t", "Accept": "text/x"}), caller_agent="")
    assert (headers["x-title"], headers["accept"], headers["content-type"]) == ("t", "text/x", "application/json")


def test_a_secret_that_is_gone_is_a_key_error():
    """The engine takes a KeyError for a rejected key; it is not remembered."""
    authorizer = HeaderAuthorizer(Vault())
    for _ in range(2):
        with pytest.raises(KeyError):
            authorizer.headers(_facts(ref="gone"), caller_agent="")


def test_headers_are_made_once_for_a_target():
    """The hot path takes the secret out once; another target has headers of its own."""
    vault = Vault()
    authorizer, facts = HeaderAuthorizer(vault), _facts()
    first = authorizer.headers(facts, caller_agent="a")
    assert authorizer.headers(facts, caller_agent="b") is first
    assert vault.asked == 1
    assert authorizer.headers(replace(facts), caller_agent="") is not first


def test_the_callers_agent_is_shown_where_the_row_asks_for_it():
    """Kimi sees the caller's agent, and ours where the caller names none; others always see ours."""
    authorizer, kimi = HeaderAuthorizer(Vault()), _facts(quirks=frozenset({Quirk.CALLER_AGENT}))
    ours = f"hermes-router/{__version__}"
    assert authorizer.headers(kimi, caller_agent="claude-cli/2")["user-agent"] == "claude-cli/2"
    assert authorizer.headers(kimi, caller_agent="")["user-agent"] == ours
    assert authorizer.headers(_facts(), caller_agent="claude-cli/2")["user-agent"] == ours


def test_a_bearer_header_can_be_had_without_a_target():
    """Discovery of a local server with a key sends it before there is a target."""
    assert bearer(Vault(), _facts().credential) == {"authorization": f"Bearer {KEY}"}


def test_the_vault_is_not_shown_by_the_authorizer():
    """No repr of the authorizer holds a secret, also after use."""
    authorizer = HeaderAuthorizer(Vault())
    authorizer.headers(_facts(), caller_agent="")
    assert KEY not in repr(authorizer)
