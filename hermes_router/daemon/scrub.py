"""Takes secrets out of what providers say, before anyone reads it: the log, the status, the caller.

Owns the filter between an error body and its classification. It works on the body as it came, since an excerpt may
cut a key in two that nothing recognises afterwards. It must never touch a good answer.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from hermes_router.core.errors import UpstreamError
from hermes_router.core.ids import Secret, scrubber
from hermes_router.daemon.config import Loaded
from hermes_router.daemon.credentials import secrets_of_accounts

Classify = Callable[[str, int, Mapping[str, str], bytes, float], UpstreamError]
InBand = Callable[[str, object, float], UpstreamError]


def secrets_of(loaded: Loaded) -> tuple[Secret, ...]:
    """Everything confidential in a configuration: providers' keys, router keys, passwords inside URLs."""
    settings = loaded.settings
    urls = [settings.https_proxy, settings.http_proxy, *(said.base_url for said in settings.providers.values())]
    found = [password for url in urls if url for password in _passwords(url)]
    tokens = secrets_of_accounts(loaded.accounts)
    told = settings.notify_url.secrets if settings.notify_url is not None else ()
    return (*loaded.vault.secrets(), *tokens, *settings.proxy_api_keys, *map(Secret, found), *told)


def _passwords(url: str) -> tuple[str, ...]:
    try:
        raw = urlsplit(url if "://" in url else f"http://{url}").password
    except ValueError:
        return ()
    return (raw, unquote(raw)) if raw else ()


class Scrub:
    """Wraps the functions that read errors."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._text = scrubber(secrets)

    def classify(self, inner: Classify) -> Classify:
        """`inner`, over a body without secrets."""

        def scrubbed(family: str, status: int, headers: Mapping[str, str], body: bytes, now: float) -> UpstreamError:
            text = body.decode("utf-8", "surrogateescape")
            return inner(family, status, headers, self._text(text).encode("utf-8", "surrogateescape"), now)

        return scrubbed

    def in_band(self, inner: InBand) -> InBand:
        """`inner`, over an error object without secrets."""

        def scrubbed(family: str, error: object, now: float) -> UpstreamError:
            return inner(family, self._tree(error), now)

        return scrubbed

    def _tree(self, value: Any) -> Any:
        match value:
            case str():
                return self._text(value)
            case bytes():
                return self._text(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            case dict():
                return {key: self._tree(inner) for key, inner in value.items()}
            case list():
                return [self._tree(inner) for inner in value]
        return value
