"""What is known of providers and their models: facts as frozen values, no behaviour.

Owns the shape of a row of `data/providers.toml` and its validation from parsed tables; reading files is the
daemon's. It must never hold state or know how a fact is used: an `if` for one provider is a `Quirk`.
"""

import enum
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from hermes_router.core.ids import Credential, ModelId, ProviderName, Target
from hermes_router.core.observations import ScopeKind, Unit, Window

Worse = Literal["always", "tools"]
DialectName = Literal["openai_chat", "anthropic_messages", "openai_responses"]
ListAuth = Literal["", "bearer", "x-api-key", "x-goog-api-key"]


class Capability(enum.StrEnum):
    """What a model can do, as far as a request may need it."""

    TOOLS = "tools"
    IMAGES = "images"
    REASONING = "reasoning"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    LOGPROBS = "logprobs"
    MULTIPLE = "multiple"  # n > 1
    AUDIO = "audio"
    FILES = "files"
    PARALLEL_TOOLS = "parallel_tools"  # several calls in one answer
    PREFILL = "prefill"  # it goes on where a last assistant message breaks off
    COMPACTION = "compaction"  # it puts a conversation into an item of Responses that only its maker reads


class Known(enum.Enum):
    """Yes, no or unknown: unknown is not no."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Claim(NamedTuple):
    """A capability with where it is known from.

    `declared` by a row, `listed` in the provider's live list, `seen` in live traffic, `probed` by a tiny request of
    ours or told by a local server, `override` = the owner's word.
    """

    value: Known
    source: Literal["declared", "listed", "probed", "seen", "override", "none"] = "declared"


UNKNOWN = Claim(Known.UNKNOWN, "none")


class PriceClass(enum.IntEnum):
    """Cheapest first; what a plan sorts by."""

    FREE = 0
    FREE_CREDIT = 1
    SUBSCRIPTION = 2
    PAID = 3


class Quirk(enum.StrEnum):
    """One upstream oddity each; the function of the same name is in `wire/quirks/table.py`, rows name it."""

    # What a request's messages need.
    MERGE_SYSTEM = "merge_system"  # several leading system messages become one
    SYSTEM_TO_USER = "system_to_user"  # no system role at all (Gemma 3): folded into the first user turn
    DEVELOPER_TO_SYSTEM = "developer_to_system"
    FLATTEN_TEXT = "flatten_text"  # content lists of text only become a string
    CONTENT_NEVER_NULL = "content_never_null"  # null beside tool_calls becomes ""
    DROP_MESSAGE_NAMES = "drop_message_names"
    STRICT_MESSAGE_KEYS = "strict_message_keys"  # only role, content, tool_calls, tool_call_id, name
    CALL_IDS_9 = "call_ids_9"  # Mistral: tool call ids are exactly 9 of [a-zA-Z0-9]
    USER_AFTER_TOOL_BRIDGE = "user_after_tool_bridge"  # Mistral: assistant turn between tool and user
    LAST_NOT_ASSISTANT = "last_not_assistant"  # Mistral: the last message is user or tool
    SINGLE_CALLS = "single_calls"  # NVIDIA: one tool call a turn, parallel_tool_calls false
    # What tools and parameters need.
    SESSION_ID = "session_id"  # OpenRouter: what has one session_id is asked of one host, whose cache it finds
    CLEAN_SCHEMA_GEMINI = "clean_schema_gemini"
    CLEAN_SCHEMA_BASIC = "clean_schema_basic"  # without $schema and additionalProperties (Cohere)
    CLEAN_SCHEMA_KIMI = "clean_schema_kimi"  # no siblings of $ref; enum needs type
    DROP_STRICT = "drop_strict"
    UNIFORM_STRICT = "uniform_strict"  # Cerebras: strict is the same on all tools
    TOOL_CHOICE_AUTO_ONLY = "tool_choice_auto_only"
    ALLOWED_AS_TOOLS = "allowed_as_tools"  # llama.cpp: allowed_tools is not understood, so only these are sent
    TOOL_CHOICE_ANY = "tool_choice_any"  # Mistral: required is spelled any
    JSON_OBJECT_ONLY = "json_object_only"
    ONE_STOP = "one_stop"  # Z.ai: one stop string
    FIXED_SAMPLING = "fixed_sampling"  # temperature and top_p are refused
    NO_ZERO_TEMPERATURE = "no_zero_temperature"
    EFFORT_NONE_HIGH = "effort_none_high"  # Mistral, Cohere: none or high
    EFFORT_LOW_HIGH_MAX = "effort_low_high_max"  # Kimi, GLM 5
    EFFORT_LOW_MEDIUM_HIGH = "effort_low_medium_high"  # gpt-oss
    EFFORT_NONE_DEFAULT = "effort_none_default"  # Groq qwen
    MODEST_OUTPUT = "modest_output"  # Cerebras charges max_completion_tokens: always send a modest one
    # What makes a second turn work.
    REPLAY_SIGNATURE = "replay_signature"  # Gemini thought signatures, skip marker on a miss
    REPLAY_REASONING = "replay_reasoning"  # Kimi: reasoning_content with tool calls, note on a miss
    REPLAY_REASONING_IF_KNOWN = "replay_reasoning_if_known"  # Z.ai, DeepSeek: sent where we have it
    REPLAY_DETAILS = "replay_details"  # OpenRouter: reasoning_details unmodified
    # How a last assistant message is gone on with, where it is.
    PREFILL_PREFIX = "prefill_prefix"  # Mistral: where it says "prefix": true
    PREFILL_PARTIAL = "prefill_partial"  # Kimi: where it says "partial": true
    PREFILL_ECHOED = "prefill_echoed"  # Mistral: the answer repeats it first
    BARE_END = "bare_end"  # NVIDIA: a stream of calls ends without a finish reason or mark (cases.md PI-1)
    # What Messages upstreams take (providers.md 3.15, 12).
    BETAS = "betas"  # the maker of the dialect: takes anthropic-beta, fields that need it, Claude Code's billing line
    HOSTED_TOOLS = "hosted_tools"  # runs the tools that have a type of their own, and takes their blocks back
    CACHE_MARKS = "cache_marks"  # caches prompts up to marks only: callers that cannot set them get ours
    SYSTEM_TURNS = "system_turns"  # takes instructions in the middle of the conversation
    ADAPTIVE_THINKING = "adaptive_thinking"  # thinks by effort; a budget is refused
    BUDGET_THINKING = "budget_thinking"  # thinks by budget; adaptive and effort are refused
    ALWAYS_THINKS = "always_thinks"  # thinking cannot be switched off
    # What Responses upstreams take (providers.md 12.4, 12.9).
    NATIVE_RESPONSES = "native_responses"  # its maker: custom tools, namespaces, hosted tools, sealed thoughts
    # What a ChatGPT plan's own addresses take (codex.md 6, 10).
    CODEX_BODY = "codex_body"  # streams only, keeps nothing, and refuses each parameter that it does not know
    RESPONSES_LITE = "responses_lite"  # of a model: tools and instructions stand within the input
    GROUPED_TOOLS = "grouped_tools"  # tools are taken within a namespace only
    ACCOUNT_SEALS = "account_seals"  # a sealed thought is read by the account that made it, and by no other
    # transport
    CALLER_AGENT = "caller_agent"  # Kimi: the caller's own User-Agent is passed through
    # stream and answer
    THINK_TAGS = "think_tags"  # <think>…</think> at the start of the content is reasoning
    THOUGHT_TAGS = "thought_tags"  # Gemini: <thought>…</thought>


MODEST_TOKENS = (4_096, 8_192)
"""The output cap of MODEST_OUTPUT where the caller gives none, without tools and with; the second is the most."""


class QuotaRule(NamedTuple):
    """One published (or owner-given) limit: a prior until a provider says otherwise.

    `amount` is in units of `unit` per `window`. `resets` names the clock of day and month windows:
    `rolling`, `utc`, or a time zone (`America/Los_Angeles`).
    """

    unit: Unit
    amount: int
    window: Window
    scope: ScopeKind = "account"
    resets: str = "rolling"
    origin: Literal["published", "owner"] = "published"


class Price(NamedTuple):
    """Micro-US-dollars per million tokens; integers, since it is money."""

    input_microusd: int = 0
    output_microusd: int = 0
    cached_microusd: int | None = None


NO_PRICE: Final = Price()
"""What is free, and what nobody has given a price."""

UNKNOWN_PRICE: Final = Price(15_000_000, 75_000_000, 15_000_000)
"""What a paid model is taken to cost while no row gives its price: as much as the dearest, so that budgets hold."""


class Embedding(msgspec.Struct, frozen=True):
    """What a model that embeds takes, None = not known.

    Attributes:
        sizes: lengths that may be asked for as `dimensions` beside its own: these, or `any` below it.
        inputs: how many inputs it takes in one call.
        call_tokens: how many tokens all inputs of one call may have.
        token_arrays: whether inputs may be lists of tokens.
    """

    sizes: "tuple[int, ...] | Literal['any'] | None" = None
    inputs: int | None = None
    call_tokens: int | None = None
    token_arrays: bool | None = None


class ModelSpec(msgspec.Struct, frozen=True):
    """One model of one provider, by its exact id. `context` and `max_output` are tokens, None = unknown.

    `tier` is 1 (weakest) to 5 (strongest). `first_token_s` overrides the first-token limit. `efforts` are the
    words that it takes for `reasoning_effort` (`none` among them where hidden reasoning can be switched off),
    empty = unknown. `refuse` names request keys that its row allows and this model does not take. `picked` = part
    of the default list; if not, only the owner's list or a pin brings it in.
    """

    id: ModelId
    context: int | None = None
    max_output: int | None = None
    tier: int = 3
    price_class: PriceClass = PriceClass.PAID
    price: Price = NO_PRICE
    capabilities: Mapping[Capability, Claim] = msgspec.field(default_factory=dict)
    quotas: tuple[QuotaRule, ...] = ()
    quirks: frozenset[Quirk] = frozenset()
    first_token_s: float | None = None
    embeds: int | None = None  # dimensions, for embedding models, 0 = unknown; None for chat
    embedding: Embedding = Embedding()
    note: str = ""
    efforts: tuple[str, ...] = ()
    refuse: frozenset[str] = frozenset()
    picked: bool = True

    def capability(self, what: Capability) -> Claim:
        """What is known of `what`; UNKNOWN where nothing is said."""
        return self.capabilities.get(what, UNKNOWN)


class Route(NamedTuple):
    """Another way to the same provider, for credentials that name it (`Credential.route`).

    `address_of` names the row whose address is asked. `quirks` come on top of the row's.
    """

    address_of: ProviderName
    quirks: frozenset[Quirk] = frozenset()


class ProviderSpec(msgspec.Struct, frozen=True):
    """One provider: a row. See docs/adding-a-provider.md for the meaning of every field.

    Attributes:
        endpoints: base URL by dialect; paths such as `/chat/completions` are appended.
        auth: how the secret travels: `bearer`, `x-api-key`, `oauth` or `none`.
        env: further variable stems that users already have, whole names (`GLM_API_KEY`, `HF_TOKEN`).
        allow: top-level request keys that the provider takes; None = everything passes.
        rename: caller's key to the provider's (`max_tokens` to `max_completion_tokens`, `seed` to `random_seed`).
        usage_option: whether `stream_options.include_usage` is understood.
        ratelimit: name of the header family in `wire/ratelimit.py`.
        rejection: name of the error family in `wire/rejection/judge.py`.
        headers: fixed request headers, never secrets.
        trains: whether content is used for training (PRIVACY=no-training); None = unknown.
        retired: why it gets no traffic, None while it lives; an overridden base URL revives it.
        open_catalogue: any model id may be pinned (the list is too long to carry).
        charges_cap: admission counts the output cap that is sent, not what comes of it (Groq, Cerebras).
        aggregate: whether an answer that is wanted whole is asked for as a stream, and folded here: a cut or a stall
            is then seen at once.
        whole_calls: whether tool calls come in one piece, so that silence before them is the model writing.
        free_only: only ids ending so may be picked by the router itself (`:free`), None = all.
        concurrency: requests in flight per account that are sane, None = unlimited.
        checked, source: when and where the facts were read.
        capabilities: what holds for any model of this provider, unless the model says otherwise.
        own: the row, or a part of it, is the owner's; a keyless row of the owner's needs no further switch.
        key_prefixes: what its keys begin with; another beginning is worth a warning, no more.
        key_check: what proves a key at no cost: a path after the base URL, or a whole URL; empty = its list of models
            is public and proves nothing, so a completion of one token must do (providers.md 9).
        list_url: where its live list of models lies: a path after the base URL, or a whole URL.
        list_family: who reads the list, a name in `upstream/model_lists.py`.
        list_auth: how the key travels to a whole URL of another API of the provider's, empty = as `auth` says.
        list_whole: whether a model that is not in the list is not there; if not, absence proves nothing.
        quota_url: path after the base URL that tells, at no cost, what is left of the account's windows; empty = none.
        id_routes: whether a `:word` behind an id says where the model runs, and is no part of its name.
        auth_url: root of the authorisation server that logs accounts in and refreshes them; empty = keys only.
        usage_url: whole URL that tells, at no cost, how full the account's windows are; empty = none.
        routes: other ways to it, by the name that a credential gives.
        worse: dialects of `endpoints` that serve worse than another: `always`, or for `tools` with a model that
            reasons (OpenAI's Chat: providers.md 3.14).
        id_quirks: quirks of the models whose ids begin so, where others answer behind one address.
        usual: base URLs where its servers usually listen, by the program's name: where `hr setup` looks for one.
    """

    name: ProviderName
    title: str
    endpoints: Mapping[DialectName, str]
    auth: Literal["bearer", "x-api-key", "oauth", "none"]
    models: tuple[ModelSpec, ...]
    env: tuple[str, ...] = ()
    signup: str = ""
    free: str = ""
    terms: str = ""
    pooling: str = ""
    trains: bool | None = None
    retired: str | None = None
    open_catalogue: bool = False
    allow: frozenset[str] | None = None
    rename: Mapping[str, str] = msgspec.field(default_factory=dict)
    usage_option: bool = True
    quotas: tuple[QuotaRule, ...] = ()
    quirks: frozenset[Quirk] = frozenset()
    ratelimit: str = "generic"
    rejection: str = "generic"
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    first_token_s: float | None = None
    concurrency: int | None = None
    keyless: bool = False
    image_urls: bool = True
    model_prefix: str = ""
    price_class: PriceClass = PriceClass.PAID
    checked: str = ""
    source: str = ""
    free_only: str | None = None
    capabilities: Mapping[Capability, Claim] = msgspec.field(default_factory=dict)
    own: bool = False
    key_prefixes: tuple[str, ...] = ()
    key_check: str = "/models"
    list_url: str = "/models"
    list_family: str = "generic"
    list_auth: ListAuth = ""
    list_whole: bool = True
    id_routes: bool = False
    whole_calls: bool = False
    aggregate: bool = False
    quota_url: str = ""
    auth_url: str = ""
    usage_url: str = ""
    routes: Mapping[str, Route] = msgspec.field(default_factory=dict)
    charges_cap: bool = False
    worse: Mapping[DialectName, Worse] = msgspec.field(default_factory=dict)
    usual: Mapping[str, str] = msgspec.field(default_factory=dict)
    id_quirks: Mapping[str, frozenset[Quirk]] = msgspec.field(default_factory=dict)

    def quirks_of(self, model: ModelSpec) -> frozenset[Quirk]:
        """All quirks that a model of this row has: the row's, its own, and those of ids that begin like its id."""
        found = self.quirks | model.quirks
        for beginning, quirks in self.id_quirks.items():
            if model.id.startswith(beginning):
                found |= quirks
        return found

    def model(self, model_id: str) -> ModelSpec | None:
        """The row's model of exactly this id, None where it has none."""
        return next((m for m in self.models if m.id == model_id), None)


class TargetFacts(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """A target with all that it is scheduled by, overrides of the owner applied. Built once per snapshot.

    `quotas` carry their origin. `output_cap` is the clamp in tokens. `position` is the model's place in its
    provider's list. `private` = never leaves the machine. `disabled` = why it gets no traffic, else None.
    `base_url` is where the dialect's paths are appended. `own_base_url` = overridden by the owner. `cap_reserve` are
    the tokens that are sent on top of the caller's cap, since the model reasons within it. `endpoints` are all dialects
    that the target may be asked in, with their base URLs; none = `dialect` alone.
    """

    target: Target
    provider: ProviderSpec
    model: ModelSpec
    credential: Credential
    base_url: str
    dialect: DialectName = "openai_chat"
    quotas: tuple[QuotaRule, ...] = ()
    output_cap: int | None = None
    skip_tokens_over: int | None = None
    position: int = 0
    private: bool = False
    disabled: str | None = None
    quirks: frozenset[Quirk] = frozenset()
    effort_levels: tuple[str, ...] = ()
    own_base_url: bool = False
    cap_reserve: int = 0
    endpoints: Mapping[DialectName, str] = msgspec.field(default_factory=dict)

    @property
    def maker_model(self) -> str:
        """Who a sealed thought of this target belongs to, within its provider: the model, or that of the account."""
        if Quirk.ACCOUNT_SEALS in self.quirks:
            return f"{self.model.id}@{self.credential.id[:8]}"
        return self.model.id

    @property
    def maker(self) -> str:
        """The same with the provider: what stands in a mark on a thought (`wire/seals.py`)."""
        return f"{self.provider.name}/{self.maker_model}"

    def asked_in(self, dialect: DialectName, *, tools: bool) -> DialectName:
        """The dialect that a caller of `dialect` is served in: its own where offered and not worse, else the first."""
        if dialect == self.dialect and not self.provider.worse:
            return dialect
        for one in (dialect, *self.endpoints):
            if one in self.endpoints and not self._worse(one, tools=tools):
                return one
        return self.dialect

    def speaks(self, dialect: DialectName) -> bool:
        """Whether it may be asked in this dialect at all."""
        return dialect == self.dialect or dialect in self.endpoints

    def _worse(self, dialect: DialectName, *, tools: bool) -> bool:
        how = self.provider.worse.get(dialect)
        return how == "always" or (
            how == "tools" and tools and self.model.capability(Capability.REASONING).value is Known.YES
        )

    def url_of(self, dialect: DialectName) -> str:
        """Where a dialect's paths are appended."""
        return self.endpoints.get(dialect, self.base_url)
