"""hermes_router/cli/original/files.py: what the original's files mean here; examples are no keys, nothing goes silently."""

import json
from typing import Any

import pytest

from hermes_router.cli.original.files import Holdings, Unreadable, holdings, is_example, keys_of
from hermes_router.control.setup_types import CatalogRow
from hermes_router.core.router_keys import digest_of

ROWS = [
    CatalogRow(name="groq", title="Groq", variables=["GROQ_API_KEY"]),
    CatalogRow(name="zai", title="Z.ai", variables=["ZAI_API_KEY", "GLM_API_KEY"]),
    CatalogRow(name="github_models", title="GitHub", variables=["GITHUB_MODELS_API_KEY", "GITHUB_MODELS_TOKEN"]),
    CatalogRow(name="codex", title="Codex", auth="login"),
    CatalogRow(name="local", title="Local", auth="none", variables=["LOCAL_API_KEY"]),
]
KEY, OTHER = "gsk_0123456789abcdef2f9a", "gsk_0123456789abcdef77c1"


def held(env: str | None = None, auth: Any = None) -> Holdings:
    data = auth if isinstance(auth, bytes) else None if auth is None else json.dumps(auth).encode()
    return holdings(None if env is None else env.encode(), data, ROWS)


def keys(found: Holdings) -> list[tuple[str, str]]:
    return [(one.provider, one.value) for one in found.keys]


def why(found: Holdings) -> dict[str, str]:
    return {one.name: one.why for one in found.left}


@pytest.mark.parametrize(
    "text",
    ["sk-my-router-key-1", "AIzaSy_key1", "sk-or-key2", "your-sambanova-key", "ghp_or_gho_your-token", "csk-your-key",
     "gsk_your-key", "your_api_key_here", "<your key>", "sk-...", "gsk_xxxxxxxxxxxx", "changeme", "REPLACE_ME", "none"],
)  # fmt: skip
def test_what_the_example_file_holds_is_no_key(text: str) -> None:
    """Copying `.env.example` turned on eleven providers with keys of nobody; here none is taken for one."""
    assert is_example(text)


@pytest.mark.parametrize(
    "text",
    [KEY, "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY", "sk-or-v1-0123456789abcdef", "ghp_keyboardKEY0123456789abcd",
     "hf_tokenizer0123456789", "sk-ant-api03-yourname0key1"],
)  # fmt: skip
def test_what_looks_like_a_key_is_one(text: str) -> None:
    """A word within a key proves nothing."""
    assert not is_example(text)


def test_keys_of_both_files_once_the_json_first() -> None:
    """As the original read them: `auth.json` before `.env`, singular, plural and numbered names, equal ones once."""
    env = f"GROQ_API_KEYS={OTHER},{KEY}\nGROQ_API_KEY_2=gsk_third_0123456789\nGLM_API_KEY=zai0123456789abcd\n"
    found = held(env, {"providers": {"groq": [KEY, KEY, ""]}})
    assert keys(found) == [
        ("groq", KEY),
        ("groq", OTHER),
        ("groq", "gsk_third_0123456789"),
        ("zai", "zai0123456789abcd"),
    ]
    assert [one.where for one in found.keys] == ["auth.json", ".env:1", ".env:2", ".env:3"]


@pytest.mark.parametrize(
    "line",
    [f"GROQ_API_KEY={KEY}", f'GROQ_API_KEY="{KEY}"', f"export GROQ_API_KEY='{KEY}' # mine", f"GROQ_API_KEY={KEY} # mine",
     f"GROQ_API_KEY = {KEY}\r"],
)  # fmt: skip
def test_quotes_and_comments_are_no_part_of_a_value(line: str) -> None:
    """The original kept both, so that such a line never worked there; what was meant is taken."""
    assert keys(held(line)) == [("groq", KEY)]


def test_the_first_line_of_a_name_counts() -> None:
    """As there, where a name that is set already is left alone."""
    assert keys(held(f"GROQ_API_KEY={KEY}\nGROQ_API_KEY={OTHER}\n")) == [("groq", KEY)]


def test_no_key_is_ever_shown() -> None:
    """Not in what is left out, and not in any representation."""
    found = held(
        f"GROQ_API_KEY=gsk_with blank {KEY}\nGLM_API_KEY={OTHER}\n", {"proxy_keys": {f"sk-{KEY}": {"name": "a"}}}
    )
    assert KEY not in str(found)
    assert OTHER not in repr(found)
    assert why(found)[".env:1"] == "it holds spaces"


def test_providers_without_a_row_are_named() -> None:
    """With the number of their keys and a way; a key that is no text is left out, too."""
    found = held(None, {"providers": {"opencode": ["a", "b"], "groq": [None, KEY]}})
    assert "2 keys of a provider that no row here describes" in why(found)["opencode"]
    assert why(found)["auth.json"] == "it is no text"
    assert keys(found) == [("groq", KEY)]


# --- router keys ----------------------------------------------------------------------------------------


def test_router_keys_become_digests_with_their_limits() -> None:
    """A minute's requests and a day's dollars are kept, what has no counterpart is named; general limits are for others."""
    table = {"sk-agent-0002": {"name": "agent", "rpm": 10, "req_per_day": 1000, "cost_per_day": 2.5,
                               "allowed_providers": ["groq", "opencode"]}}  # fmt: skip
    env = "PROXY_API_KEYS=sk-team-key-0001,sk-agent-0002\nPROXY_LIMIT_RPM=30\nPROXY_LIMIT_COST_DAY=0\n"
    agent, team = held(env, {"proxy_keys": table}).router_keys
    assert (agent.name, agent.digest, agent.tail) == ("agent", digest_of("sk-agent-0002"), "0002")
    assert (agent.rpm, agent.budget_microusd, agent.providers) == (10, 2_500_000, ("groq",))
    assert agent.lost == ("provider opencode", "1000 requests a day")
    assert (team.digest, team.rpm, team.budget_microusd, team.providers) == (
        digest_of("sk-team-key-0001"),
        30,
        None,
        None,
    )


def test_a_scope_that_nobody_knows_never_becomes_all() -> None:
    """A key for providers that are not here is left out: it must not open the others."""
    found = held(None, {"proxy_keys": {"sk-agent-0002": {"name": "agent", "allowed_providers": ["opencode"]}}})
    assert found.router_keys == []
    assert "opencode" in why(found)["router key 'agent'"]


@pytest.mark.parametrize("key", ["sk-router-1", "sk-my-router-key-1"])
def test_router_keys_that_everybody_knows_are_not_stored(key: str) -> None:
    """What the original's documents print protects nothing."""
    found = held(f"PROXY_API_KEYS={key}")
    assert found.router_keys == []
    assert len(found.left) == 1


def test_a_router_key_that_looks_like_an_example_is_one_all_the_same() -> None:
    """Its owner chose it, and callers show it."""
    assert [one.tail for one in held("PROXY_API_KEYS=my-own-secret-key").router_keys] == ["-key"]


# --- settings -------------------------------------------------------------------------------------------


def test_settings_that_mean_the_same_are_taken_by_our_names() -> None:
    """Also per provider, per model, and under another stem (GLM for zai)."""
    env = (
        "ROTATION_MODE=sequential\nGROQ_MODEL=a/b,c # best\nGLM_MODEL=glm-5\nGROQ_GPT_OSS_120B_SUPPORTS_TOOLS=1\n"
        "GROQ_MAX_OUTPUT_TOKENS=100\nZAI_EMBED_MODEL=\nLOCAL_BASE_URL=http://localhost:1/v1\nPORT=9000\nLOG_LEVEL=\n"
    )
    assert held(env).settings == {
        "ROTATION_MODE": "sequential", "GROQ_MODEL": "a/b,c", "ZAI_MODEL": "glm-5",
        "GROQ_GPT_OSS_120B_SUPPORTS_TOOLS": "1", "GROQ_MAX_OUTPUT_TOKENS": "100", "ZAI_EMBED_MODEL": "",
        "LOCAL_BASE_URL": "http://localhost:1/v1", "PORT": "9000",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "part"),
    [("CACHE_TTL_SECONDS=300", "given twice"), ("SEMANTIC_CACHE=1", "given twice"), ("HOST=0.0.0.0", "hr config set HOST 0.0.0.0"),
     ("GROQ_AUTO_DISCOVER_MODELS=1", "by themselves"), ("UPSTREAM_TIMEOUT=600", "STALL_SECONDS"),
     ("PROXY_LIMIT_TOKENS_DAY=5", "--usd-day"), ("OPENROUTER_SITE_URL=x", "by itself"), ("FOO=bar", "no counterpart"),
     ("GROQ_SKIP_TOKENS_OVER=0", "switched"), ("PROXY_LIMIT_RPM=5", "--rpm"), ("HOST=localhost", "without being told")],
)  # fmt: skip
def test_what_has_no_counterpart_is_named_with_its_reason(line: str, part: str) -> None:
    """Nothing is dropped in silence, and nothing of it is set."""
    found = held(line)
    assert found.settings == {}
    (left,) = found.left
    assert left.name == line.partition("=")[0]
    assert part in left.why


@pytest.mark.parametrize("data", [b"{", b"[1]", b"\xff\xfe", b'"x"', b"[" * 100_000])
def test_a_damaged_auth_json_is_refused_whole(data: bytes) -> None:
    """The original took it for empty and overwrote it; here nothing is guessed."""
    with pytest.raises(Unreadable, match=r"auth\.json is damaged"):
        held(None, data)


def test_any_shape_of_json_is_survived() -> None:
    """Tables where lists should be, and the reverse, hold nothing."""
    assert held("", {"providers": [1], "codex_accounts": {"a": 1}, "proxy_keys": ["x"]}) == Holdings()
    assert held(None, {"proxy_keys": {"sk-a-key-0001": None, "": {}, "sk-é-0002": 3}}).router_keys[0].rpm is None


def test_accounts_are_counted_and_not_read() -> None:
    """What is in them is the daemon's to see."""
    assert held(None, {"codex_accounts": [{"account_id": "a"}, {}]}).logins == 2


def test_names_of_keys_are_whole_names() -> None:
    """The plural and numbers count, a longer name does not."""
    names = ["GROQ_API_KEY", "GROQ_API_KEYS", "GROQ_API_KEY_12", "GROQ_API_KEY_X", "MY_GROQ_API_KEY", "GROQ_API_KEYSS"]
    assert keys_of(["GROQ_API_KEY"], names) == ["GROQ_API_KEY", "GROQ_API_KEYS", "GROQ_API_KEY_12"]
    assert keys_of([], names) == []
