"""The names of all variables, and what each one does: the table that settings, man page and documents are made of.

Owns names. Those of a provider are derived from its row and never listed by hand. It must never read a value.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from hermes_router.core import setting_values as read
from hermes_router.core.notify_ways import read_address, read_command
from hermes_router.core.settings import DEFAULT_KEY

__all__ = [
    "COLD", "CONFIDENTIAL", "DERIVED", "ELSEWHERE", "GLOBALS", "PER_MODEL", "Variable", "variable_part",
]  # fmt: skip

_MODES: Final = {
    "round-robin": "round-robin",
    "rr": "round-robin",
    "round_robin": "round-robin",
    "sequential": "sequential",
    "seq": "sequential",
    "drain": "sequential",
}
_LEVELS: Final = {level: level for level in ("debug", "info", "warning", "error", "critical")} | {"warn": "warning"}
_FORMATS: Final = {form: form for form in ("auto", "logfmt", "json", "console")}
_STORES: Final = {"auto": "auto", "keyring": "keyring", "file": "file"}
_TOOL_ARGS: Final = {"whole": "whole", "live": "live"}
_PACING: Final = {"off": "off", "even": "even"}
_PRIVACY: Final = {"any": "any", "no-training": "no-training"}


class Variable(NamedTuple):
    """One setting: the name of its variable (or its ending), the field that it fills, how to read it, what it does.

    `fatal` = malformed, the daemon must not start. `keyless` = for rows that need no key only, `oauth` = for rows of
    accounts only.
    """

    name: str
    field: str
    read: Callable[[str], object]
    doc: str
    fatal: bool = False
    keyless: bool = False
    oauth: bool = False


GLOBALS: Final = (
    Variable("PORT", "port", read.integer(0, 65535), "Port to listen on.", fatal=True),
    Variable(
        "HOST",
        "host",
        read.optional(read.host),
        "Address to listen on; unset = 127.0.0.1 and ::1.",
        fatal=True,
    ),
    Variable(
        "PROXY_API_KEYS",
        "proxy_api_keys",
        read.router_keys,
        f"Router keys, a comma list. Unset = {DEFAULT_KEY}, on loopback only; empty = none but those of `hr key`.",
        fatal=True,
    ),
    Variable("ALLOWED_HOSTS", "allowed_hosts", read.hosts, "Further names that the Host header may carry."),
    Variable("CORS_ORIGINS", "cors_origins", read.origins, "Origins of web pages that may call us; default none."),
    Variable(
        "ROTATION_MODE",
        "mode",
        read.word(_MODES),
        "Order of a provider's keys: round-robin (rr) or sequential (seq, drain).",
    ),
    Variable(
        "REASONING_TOKEN_RESERVE",
        "reasoning_token_reserve",
        read.integer(0),
        "Output tokens added for hidden reasoning.",
    ),
    Variable("LOG_LEVEL", "log_level", read.word(_LEVELS), "debug, info, warning, error or critical."),
    Variable(
        "LOG_FORMAT",
        "log_format",
        read.word(_FORMATS),
        "Form of the log: logfmt, json, console (for people), or auto: fields in the journal, console on a terminal, "
        "logfmt anywhere else.",
    ),
    Variable("LOG_FILE", "log_file", read.optional(str.strip), "File for the log, instead of standard error."),
    Variable(
        "MAX_REQUEST_BYTES", "max_request_bytes", read.integer(1), "Largest request body, in bytes, decompressed."
    ),
    Variable("MIN_TIER", "min_tier", read.integer(1, 5), "Weakest models that may answer, 1 (weakest) to 5."),
    Variable("PRIVACY", "privacy", read.word(_PRIVACY), "no-training = only providers known not to train on content."),
    Variable("STRICT_MODELS", "strict_models", read.boolean, "1 = a model name that is no pin is a 404."),
    Variable(
        "ADVERTISED_CONTEXT",
        "advertised_context",
        read.optional(read.integer(1)),
        "Window in tokens to advertise for the router's own names; unset = worked out.",
    ),
    Variable(
        "REQUEST_DEADLINE_SECONDS",
        "request_deadline_s",
        read.seconds(zero=False),
        "From arrival to the first content, or to the whole answer when not streamed.",
    ),
    Variable(
        "PATIENCE_SECONDS", "patience_s", read.seconds(zero=True), "How long a request may wait for quota; 0 = never."
    ),
    Variable(
        "FIRST_TOKEN_SECONDS", "first_token_s", read.seconds(zero=False), "Silence allowed before the first token."
    ),
    Variable("STALL_SECONDS", "stall_s", read.seconds(zero=False), "Silence allowed between tokens."),
    Variable(
        "STREAM_TOOL_ARGS",
        "stream_tool_args",
        read.word(_TOOL_ARGS),
        "whole: tool calls are shown once the answer has ended well; live: as they come, so that a failure behind one "
        "is an error.",
    ),
    Variable("DRAIN_SECONDS", "drain_s", read.seconds(zero=True), "How long a stop waits for answers under way."),
    Variable(
        "FETCH_IMAGES",
        "fetch_images",
        read.boolean,
        "1 = image URLs are fetched for providers that want them inline: from public addresses only, 8 MB at most.",
    ),
    Variable("HTTPS_PROXY", "https_proxy", read.optional(read.proxy_url), "Proxy for https upstreams."),
    Variable("HTTP_PROXY", "http_proxy", read.optional(read.proxy_url), "Proxy for http upstreams."),
    Variable("NO_PROXY", "no_proxy", read.listed, "Hosts that are reached without a proxy."),
    Variable(
        "SECRET_STORE",
        "secret_store",
        read.word(_STORES),
        "Where new keys rest: keyring, file, or auto (the keyring where a test of it succeeds).",
    ),
    Variable(
        "QUOTA_PACING",
        "quota_pacing",
        read.word(_PACING),
        "off, or even: a day's free quota is spread over the day, with a reserve for interactive use.",
    ),
    Variable(
        "BUDGET_USD_DAY",
        "budget_microusd_day",
        read.optional(read.dollars),
        "Most that paid models may cost in a day of UTC, in US dollars; unset = no limit, 0 = no paid model. "
        "It counts streams, retries and continuations, survives restarts, and holds back paid models only: free "
        "ones, subscriptions and free credit (`<PROVIDER>_LIMITS=usd_day=` counts that) serve on.",
    ),
    Variable(
        "RUNAWAY_GUARD",
        "runaway_guard",
        read.boolean,
        "0 = no guard against a caller that sends one and the same request again and again. With it, more than 20 in "
        "5 minutes from one router key are warned about; after 40, one in 15 seconds is served.",
    ),
    Variable(
        "RESPONSES_STORE",
        "responses_store",
        read.boolean,
        "0 = no answer of /v1/responses is kept for `previous_response_id`, and what was kept is erased. With it, each "
        "is kept for a day, unless its request says `store: false` or asks `hermes-router:local`.",
    ),
    Variable(
        "NOTIFY_URL",
        "notify_url",
        read.optional(read_address),
        "Address that is told by a POST, as ntfy takes it, when nothing can serve, a key is revoked, a login is "
        "needed, a budget is nearly spent or the disk is full, and when that is over (`hr notify`). It may hold "
        "`user:password@` or `:token@`, and is shown nowhere.",
    ),
    Variable(
        "NOTIFY_COMMAND",
        "notify_command",
        read.optional(read_command),
        "Program that is told the same, with its arguments and without a shell: the message is its standard input, "
        "and HR_NOTIFY_KIND, HR_NOTIFY_STATE, HR_NOTIFY_TITLE and HR_NOTIFY_MESSAGE stand in its environment.",
    ),
)

DERIVED: Final = (
    Variable("_ENABLED", "enabled", read.boolean, "0 = it takes no part, though it has keys (`hr provider disable`)."),
    Variable("_MODEL", "models", read.models, "Models in order, a comma list; each is a target of its own."),
    Variable(
        "_EMBED_MODEL",
        "embed_model",
        read.model,
        "Model for `/v1/embeddings`; empty = none of this provider's. What a router key is bound to stays as it is.",
    ),
    Variable(
        "_BASE_URL",
        "base_url",
        read.base_url,
        "Another endpoint of the same kind; published limits do not apply to it.",
    ),
    Variable("_SUPPORTS_TOOLS", "tools", read.boolean, "1 or 0: all its models take tools, or none does."),
    Variable(
        "_REASONING", "reasoning", read.boolean, "1 or 0: all its models reason before they answer, or none does."
    ),
    Variable(
        "_MAX_OUTPUT_TOKENS", "max_output_tokens", read.integer(1), "Largest output that is asked for, in tokens."
    ),
    Variable(
        "_SKIP_TOKENS_OVER", "skip_tokens_over", read.integer(1), "Requests estimated larger than this go elsewhere."
    ),
    Variable(
        "_IS_PRIVATE",
        "is_private",
        read.boolean,
        "1 = this server counts as this machine though its address is not loopback.",
        keyless=True,
    ),
    Variable("_AUTH_URL", "auth_url", read.base_url, "Another root of the server that logs accounts in.", oauth=True),
    Variable("_USAGE_URL", "usage_url", read.base_url, "Another address of the usage report.", oauth=True),
)

# What is never shown: router keys, and addresses and command lines that may hold a password.
CONFIDENTIAL: Final = frozenset({"PROXY_API_KEYS", "HTTPS_PROXY", "HTTP_PROXY", "NOTIFY_URL", "NOTIFY_COMMAND"})
# What a running daemon cannot take up: where it listens, where its log goes, how it reaches the network.
COLD: Final = frozenset({"PORT", "HOST", "LOG_FILE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"})
# No setting, and no typo either, so nothing is said of it: control/places.py reads it.
ELSEWHERE: Final = frozenset({"HERMES_ROUTER_SOCKET"})
PER_MODEL: Final = (("_SUPPORTS_TOOLS", "model_tools"), ("_REASONING", "model_reasoning"))


def variable_part(model_id: str) -> str:
    """A model id as it stands inside a variable's name: `gpt-oss-120b` is `GPT_OSS_120B`."""
    return re.sub(r"[^A-Z0-9]", "_", model_id.upper())
