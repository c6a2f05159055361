"""Refusals about model and request: sizes, fields, abilities, policy."""

import json

import pytest

from hermes_router.wire.rejection.body import read
from hermes_router.wire.rejection.request import filtered, gone, incapable, limit_tokens, overflow, refused_field

NOW = 1795262400.0


def said(message, *, status=400, sent=(), **members):
    """A body of OpenAI's shape with that message."""
    body = json.dumps({"error": {"message": message, **members}}).encode()
    return read("generic", status, {}, body, now=NOW, sent_fields=sent)


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("This model's maximum context length is 131072 tokens. However, you requested about 140000", 131072),
        ("maximum context length of 1,048,576 tokens", 1048576),
        ("prompt is too long: 205000 tokens > 200000 maximum", 200000),
        ("input length and `max_tokens` exceed context limit: 190000 + 21333 > 200000, decrease", 200000),
        ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 1048576),
        ("too large for model with 262144 maximum context length", 262144),
        ("exceeded model token limit: 262144 (requested: 270000)", 262144),
        ("request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it", 8192),
        ("too many tokens: total number of tokens in the prompt cannot exceed 4081", 4081),
        ("Prompt exceeds max length", None),
        ("maximum context length is 12 tokens", None),
    ],
)
def test_the_real_window_is_learned(message, limit):
    """Section 8: where the text gives the model's real maximum, `limit_tokens` carries it; nonsense is refused."""
    assert limit_tokens(said(message)) == limit


@pytest.mark.parametrize(
    "message",
    [
        "Rate limit: maximum context length",
        "Too many requests, prompt is too long",
        "throttled: reduce the length of the messages",
    ],
)
def test_quota_words_are_never_an_overflow(message):
    """Section 8: texts with rate limit, too many requests or throttling are about quota, not length."""
    assert overflow(said(message)) is None


@pytest.mark.parametrize(
    ("message", "members", "name"),
    [
        ("x", {"code": "unsupported_parameter", "param": "logit_bias"}, "logit_bias"),
        ("Unsupported parameter: 'top_k'", {}, "top_k"),
        ("Unrecognized request argument supplied: seed", {}, "seed"),
        ("Unrecognized key(s) in object: 'store'", {}, "store"),
        ("create() got an unexpected keyword argument 'min_p'", {}, "min_p"),
        ("parameter `n` is not supported", {}, "n"),
        ("metadata: Extra inputs are not permitted", {}, "metadata"),
        ("messages.0.cache_control: Extra inputs are not permitted", {}, "cache_control"),
        ("tools.0.function.strict: Extra inputs are not permitted", {}, "strict"),
        ("max_tokens must be less than or equal to 4096", {}, "max_tokens"),
        ("setting `seed` is currently unsupported", {}, "seed"),
        ("reasoning.effort: Extra inputs are not permitted", {}, "reasoning"),
        ("Unsupported parameter: 'messages'", {}, None),
        ("'temperature' must be between 0 and 2", {}, None),
        ("Unknown error provided", {}, None),
        ("x", {"code": "unknown_parameter", "param": "[0]"}, "[0]"),
        ("the `other` thing is unsupported", {}, None),
        ("Invalid type for 'messages[0].content'", {"param": "messages[0].content"}, None),
    ],
)
def test_the_refused_field_is_named(message, members, name):
    """The field that may be dropped is found in code, list or wording; the request's core is never offered."""
    assert refused_field(said(message, sent=["model", "messages", "seed", "reasoning"], **members)) == name


@pytest.mark.parametrize(
    ("message", "need"),
    [
        ("No endpoints found that support tool use", "tools"),
        ("this model does not support image input", "images"),
        ("model does not support audio", "audio"),
        ("This model does not support response format `json_schema`", "response_format"),
    ],
)
def test_a_missing_ability_blames_neither_model_nor_request(message, need):
    """What the target cannot do is RequestRejected by name, so that another target gets the request unchanged."""
    assert incapable(said(message)).param == need


@pytest.mark.parametrize(
    ("message", "status", "scope"),
    [
        ("The model `x` does not exist or you do not have access to it.", 404, "model"),
        ("model 'llama3' not found", 404, "model"),
        ("Project does not have access to model `gpt-6`", 403, "account_model"),
        ("Your organization must be verified to use the model `gpt-6`", 400, "account_model"),
    ],
)
def test_whose_model_is_gone(message, status, scope):
    """A model that is unknown is gone for all, one that is not for us only for this account."""
    assert gone(said(message, status=status)).scope == scope


@pytest.mark.parametrize(
    "message", ["`logprobs` is not supported with this model", "This model does not support tools"]
)
def test_a_model_named_in_passing_is_not_gone(message):
    """A refusal that merely mentions the model benches nothing."""
    assert gone(said(message)) is None


def test_policy_words():
    """Azure's, OpenAI's and gateways' wordings of a content filter are told from mere mentions of safety."""
    assert filtered(said("The response was filtered due to the prompt triggering our content management policy"))
    assert filtered(said("x", code="content_filter"))
    assert filtered(said("safety_settings is not supported")) is None
