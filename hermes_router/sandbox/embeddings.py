"""What `/embeddings` is to each provider: its models, its rules, and vectors that are a function of model and text.

Literal templates after facts/providers.md 10 and OpenAI's API. Owns what an embedding request may hold and how its
answer is written down; whom it is charged to, and what goes wrong with it, is decided in `providers`. A test tells by
`vector` whose vector it was given.
"""

import array
import base64
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hermes_router.sandbox.model import count
from hermes_router.sandbox.values import Breach

_STEP = 32_768.0  # whole steps of this are the same number in 32 bits and in 64, so both encodings hold equal vectors


@dataclass(frozen=True, slots=True)
class Embedder:
    """One model for embeddings.

    Attributes:
        id: the id as callers write it.
        length: how long its vectors are where nothing else is asked for.
        sizes: what `dimensions` may be, `longest` and all below it where it is None; empty refuses the parameter.
        longest: the greatest length that can be asked for, `length` where not given.
        context: tokens that one input may have, counted as characters / 4.
        most_inputs: how many inputs one request may hold.
        most_tokens: how many tokens all of them together, None = without limit.
        token_arrays: takes inputs that are tokens already.
        floats_only: answers floats where base64 was asked for.
        listed: `/models` shows it, too.
    """

    id: str
    length: int
    sizes: tuple[int, ...] | None = None
    longest: int = 0
    context: int = 8_192
    most_inputs: int = 2_048
    most_tokens: int | None = None
    token_arrays: bool = False
    floats_only: bool = False
    listed: bool = True

    def takes(self, dimensions: Any) -> bool:
        """Whether vectors of that length can be asked for."""
        if isinstance(dimensions, bool) or not isinstance(dimensions, int):
            return False
        if self.sizes is not None:
            return dimensions in self.sizes
        return 1 <= dimensions <= (self.longest or self.length)


@dataclass(frozen=True, slots=True)
class Wording:
    """How one provider words what is wrong with an embedding request."""

    fields: frozenset[str]
    unknown: Callable[[str], Breach]
    input: Callable[[], Breach]
    inputs: Callable[[int, int], Breach]
    tokens: Callable[[int, int], Breach]
    size: Callable[[Embedder, Any], Breach]
    encoding: Callable[[Any], Breach]


def vector(model: str, text: str | Sequence[int], length: int) -> list[float]:
    """The first `length` numbers of what a model makes of a text (or of tokens): the same each time, no other's."""
    said = text if isinstance(text, str) else f"tokens {list(text)}"
    steps = array.array("h", hashlib.shake_256(f"{model}\0{said}".encode()).digest(2 * length))
    if sys.byteorder == "big":
        steps.byteswap()
    return [step / _STEP for step in steps]


def packed(numbers: Sequence[float]) -> str:
    """Base64 of the numbers in 32 bits each, the least byte first, as OpenAI writes them."""
    held = array.array("f", numbers)
    if sys.byteorder == "big":
        held.byteswap()
    return base64.b64encode(held.tobytes()).decode()


def unpacked(text: str) -> list[float]:
    """The numbers of a base64 text."""
    held = array.array("f", base64.b64decode(text))
    if sys.byteorder == "big":
        held.byteswap()
    return held.tolist()


def inputs(body: Mapping[str, Any]) -> list[Any]:
    """The inputs of a request, each a text or a list of tokens."""
    given = body.get("input")
    if not isinstance(given, list):
        return [given]
    return [given] if given and all(_is_token(each) for each in given) else given


def tokens(text: Any) -> int:
    """How many an input has."""
    return count(text) if isinstance(text, str) else len(text)


def breach(embedder: Embedder, words: Wording, body: Mapping[str, Any]) -> Breach | None:
    """The first rule that a request breaks, but for inputs that are too long."""
    for key in body:
        if key not in words.fields:
            return words.unknown(key)
    given = inputs(body)
    if not given or not _alike(given, token_arrays=embedder.token_arrays):
        return words.input()
    if len(given) > embedder.most_inputs:
        return words.inputs(embedder.most_inputs, len(given))
    size = body.get("dimensions")
    if size is not None and not embedder.takes(size):
        return words.size(embedder, size)
    if body.get("encoding_format") not in {None, "float", "base64"}:
        return words.encoding(body["encoding_format"])
    total = sum(map(tokens, given))
    if embedder.most_tokens is not None and total > embedder.most_tokens:
        return words.tokens(embedder.most_tokens, total)
    return None


def longest_input(body: Mapping[str, Any]) -> int:
    """Tokens of the longest input."""
    return max(map(tokens, inputs(body)))


def answer(style: str, embedder: Embedder, number: int, body: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The answer to a request that breaks no rule, and the tokens that it costs."""
    given = inputs(body)
    length = body.get("dimensions") or embedder.length
    as_text = body.get("encoding_format") == "base64" and not embedder.floats_only
    rows = []
    for index, text in enumerate(given):
        numbers = vector(embedder.id, text, length)
        rows.append({"object": "embedding", "index": index, "embedding": packed(numbers) if as_text else numbers})
    spent = sum(map(tokens, given))
    usage = {"prompt_tokens": spent, "total_tokens": spent}
    whole = {"object": "list", "data": rows, "model": embedder.id, "usage": usage}
    if style == "mistral":
        whole = {"id": f"embd-{number:032d}", **whole, "usage": usage | {"completion_tokens": 0}}
    return whole, spent


def listed(style: str, embedder: Embedder) -> dict[str, Any]:
    """Its entry in the list of models; only Mistral's says that it is not for chat."""
    row: dict[str, Any] = {"id": embedder.id, "object": "model", "created": 1_760_000_000, "owned_by": "sandbox"}
    if style == "gemini":
        row["id"] = f"models/{embedder.id}"
    if style == "mistral":
        row |= {"max_context_length": embedder.context, "aliases": [], "type": "base",
                "capabilities": {"completion_chat": False, "function_calling": False, "vision": False}}  # fmt: skip
    return row


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _alike(given: list[Any], *, token_arrays: bool) -> bool:
    """Whether the inputs are texts, none of them empty, or all of them lists of tokens where such are taken."""
    if all(isinstance(each, str) and each for each in given):
        return True
    return token_arrays and all(isinstance(each, list) and each and all(map(_is_token, each)) for each in given)


# --- what each provider says ------------------------------------------------------------------------------

_FIELDS = frozenset({"model", "input", "encoding_format", "dimensions", "user"})
_OPENAI_INPUT = "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."


def _openai_inputs(most: int, asked: int) -> Breach:
    return Breach(f"Invalid 'input': array too long. Expected an array with maximum length {most}, but got an array "
                  f"with length {asked} instead.", "input", "array_above_max_length")  # fmt: skip


def _openai_size(embedder: Embedder, asked: Any) -> Breach:
    if embedder.sizes == ():
        return Breach("This model does not support specifying dimensions.", "dimensions")
    most = embedder.longest or embedder.length
    return Breach(f"Invalid value for 'dimensions' = {asked}. Must be between 1 and {most}.", "dimensions")


_OPENAI = Wording(
    fields=_FIELDS,
    unknown=lambda key: Breach(f"Unrecognized request argument supplied: {key}", key),
    input=lambda: Breach(_OPENAI_INPUT),
    inputs=_openai_inputs,
    tokens=lambda most, asked: Breach(
        f"Invalid 'input': maximum request size is {most} tokens per request, but got {asked}.", "input",
        "max_tokens_per_request"),
    size=_openai_size,
    encoding=lambda asked: Breach(
        f"Invalid value for 'encoding_format' = {asked}. Supported values: ['float', 'base64'].", "encoding_format"),
)  # fmt: skip

_GEMINI = Wording(
    fields=_FIELDS,
    unknown=lambda key: Breach(f'Invalid JSON payload received. Unknown name "{key}": Cannot find field.'),
    input=lambda: Breach("* EmbedContentRequest.content: contents is not specified\n"),
    inputs=lambda most, _asked: Breach(
        f"* BatchEmbedContentsRequest.requests: at most {most} requests can be in one batch\n"),
    tokens=lambda most, _asked: Breach(f"The input token count exceeds the maximum number of tokens allowed ({most})."),
    size=lambda embedder, _asked: Breach(f"output_dimensionality must be in the range of [1, {embedder.length}]."),
    encoding=lambda asked: Breach(f"Invalid encoding_format: {asked}."),
)  # fmt: skip


def _mistral_size(embedder: Embedder, _asked: Any) -> Breach:
    if embedder.sizes == ():
        return Breach("Extra inputs are not permitted", loc=("dimensions",))
    return Breach("The output_dimension is out of the range of this model.", code="3051")


_MISTRAL = Wording(
    fields=_FIELDS - {"user"} | {"output_dtype", "metadata"},
    unknown=lambda key: Breach("Extra inputs are not permitted", loc=(key,)),
    input=lambda: Breach("Input should be a valid string", loc=("input",), kind="string_type"),
    inputs=lambda _most, _asked: Breach("Too many inputs in request, split into more batches.", code="3210"),
    tokens=lambda _most, _asked: Breach("Too many tokens overall, split into more batches.", code="3210"),
    size=_mistral_size,
    encoding=lambda _asked: Breach("Input should be 'float' or 'base64'", loc=("encoding_format",), kind="enum"),
)

_COHERE = Wording(
    fields=_FIELDS,
    unknown=lambda key: Breach(f"unknown field: parameter '{key}' is not a valid field"),
    input=lambda: Breach("texts must be a list of strings, none of them empty"),
    inputs=lambda most, asked: Breach(f"total number of texts must be at most {most} - received {asked}"),
    tokens=lambda most, asked: Breach(f"too many tokens: {asked} of at most {most}"),
    size=lambda embedder, _asked: Breach(f"output_dimension must be one of {list(embedder.sizes or ())}"),
    encoding=lambda asked: Breach(f"encoding_format '{asked}' is not supported"),
)

WORDINGS: Mapping[str, Wording] = {"gemini": _GEMINI, "mistral": _MISTRAL, "cohere": _COHERE}
"""By style; the others word it as OpenAI does."""

EMBEDDERS: Mapping[str, tuple[Embedder, ...]] = {
    "gemini": (
        Embedder("gemini-embedding-001", 3_072, context=2_048, most_inputs=100),
        Embedder("gemini-embedding-2", 3_072, most_inputs=100),
    ),
    "mistral": (
        Embedder("mistral-embed", 1_024, (), most_inputs=512, most_tokens=16_384, floats_only=True),
        Embedder("codestral-embed", 1_536, longest=3_072, most_inputs=512, most_tokens=16_384, floats_only=True),
    ),
    "cohere": (
        Embedder("embed-v4.0", 1_536, (256, 512, 1_024, 1_536), context=128_000, most_inputs=96),
        Embedder("embed-v5.0-pro", 2_048, (), context=128_000, most_inputs=96),
    ),
    "openai": (
        Embedder("text-embedding-3-small", 1_536, context=8_191, most_tokens=300_000, token_arrays=True),
        Embedder("text-embedding-3-large", 3_072, context=8_191, most_tokens=300_000, token_arrays=True),
    ),
    "generic": (Embedder("sandbox-embed", 8, listed=False),),
    "local": (Embedder("nomic-embed-text", 768, (), context=2_048, listed=False),),
}
"""Whoever is not here has no `/embeddings`."""


def wording(style: str) -> Wording:
    """The words of a style."""
    return WORDINGS.get(style, _OPENAI)
