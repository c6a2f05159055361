"""The endpoint under test, over HTTP: what is sent, what comes back, and how many requests that may take.

Owns the connection, the clock of each request and the record from which a request can be made again. The key goes into
headers only, and into no record. It must never know a check.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp

from hermes_router.conformance.answer import Skipped, Unsure, Wrong
from hermes_router.conformance.shapes import shown

MOST_REQUESTS: Final = 250
"""In one run. An endpoint that refuses much is asked more, since what was refused together is asked apart."""
_MOST_BYTES: Final = 16 * 2**20
_LEAST_SECRET: Final = 8  # characters: a shorter key would be found in any text
_KEPT: Final = "surrogateescape"
_LONGEST_REST_S: Final = 20.0


def base_of(url: str) -> str:
    """The base that paths are appended to; one without a path gets `/v1`. Raises ValueError."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("this is no URL of a server: http://localhost:8319/v1 would be one")
    if parts.username or parts.password:
        raise ValueError("a key stands in no URL: give it with --key")
    if parts.query or parts.fragment:
        raise ValueError("the URL should end with its path, such as /v1")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


class Unreachable(Exception):
    """Nobody answers at the address."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it went out, without the key; `keyed` names the header that held it."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str = ""
    keyed: str = ""

    def curl(self) -> str:
        """The same as a command for a shell, the key in its variable."""
        parts = ["curl -sS"]
        if self.method != "POST" or not self.body:
            parts.append(f"-X {self.method}")
        parts.append(_quoted(self.url))
        parts += [f"-H {_quoted(f'{name}: {value}')}" for name, value in self.headers.items()]
        if self.keyed:
            parts.append(f'-H "{self.keyed}: {"Bearer " if self.keyed == "authorization" else ""}$HERMES_ROUTER_KEY"')
        if self.body:
            parts.append(f"-d {_quoted(self.body)}")
        return " ".join(parts)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer as it came in; names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def is_stream(self) -> bool:
        """Whether it calls itself a stream of events."""
        return self.headers.get("content-type", "").lower().startswith("text/event-stream")

    @property
    def json(self) -> Any:
        """The body's value. Raises Wrong where it is no JSON."""
        try:
            return json.loads(self.raw)
        except ValueError:
            raise Wrong(f"HTTP {self.status}, and the body is not JSON: {shown(self.text)}") from None

    @property
    def text(self) -> str:
        """The body for a person's eyes."""
        return self.raw[:4096].decode(errors="replace")

    def warnings(self) -> str:
        """What the endpoint says in its headers that it did not, or not quite, do."""
        return ",".join(value for name, value in self.headers.items() if "warning" in name)


@dataclass(slots=True)
class Endpoint:
    """One base URL, such as `http://localhost:8319/v1`. Use it in `async with`."""

    base: str
    key: str = field(default="", repr=False)
    timeout_s: float = 60.0
    most: int = MOST_REQUESTS
    asked: int = 0
    _http: aiohttp.ClientSession | None = field(default=None, repr=False)

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            # A connection that the server closes as it is used again would look like a failure of the server's.
            connector=aiohttp.TCPConnector(force_close=True),
            timeout=aiohttp.ClientTimeout(total=self.timeout_s),
            headers={"user-agent": "hr-conformance"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def send(self, sent: Sent, secret: Mapping[str, str]) -> Heard:
        """One request; a limit that ends soon is waited for, once.

        Raises Unreachable, and Unsure where the answer takes too long, or where the run has no requests left.
        """
        heard = await self._once(sent, secret)
        if heard.status == 429 and 0 <= (rest := _seconds(heard.headers.get("retry-after"))) <= _LONGEST_REST_S:
            await asyncio.sleep(rest)
            heard = await self._once(sent, secret)
        return heard

    async def _once(self, sent: Sent, secret: Mapping[str, str]) -> Heard:
        if self.asked >= self.most:
            raise Unsure(f"not asked: {self.most} requests are enough for one run; ask for it alone with --only")
        self.asked += 1
        assert self._http is not None
        try:
            async with self._http.request(
                sent.method,
                sent.url,
                headers={**sent.headers, **secret},
                data=sent.body.encode() or None,
                allow_redirects=False,
            ) as response:
                raw = await response.content.read(_MOST_BYTES)
                while not response.content.at_eof() and len(raw) < _MOST_BYTES:
                    raw += await response.content.read(_MOST_BYTES - len(raw))
                headers = {name.lower(): self._without_key(value) for name, value in response.headers.items()}
                return Heard(
                    response.status, headers, self._without_key(raw.decode("utf-8", _KEPT)).encode("utf-8", _KEPT)
                )
        except TimeoutError:
            raise Unsure(f"no whole answer within {self.timeout_s:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(str(error)) from None
        except aiohttp.ClientPayloadError:
            raise Wrong("the connection was cut in the middle of the answer") from None
        except aiohttp.ClientError as error:
            raise Unreachable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__) from None

    def _without_key(self, text: str) -> str:
        """What is heard is shown, and some repeat the key that they refuse."""
        return text.replace(self.key, "***") if len(self.key) >= _LEAST_SECRET else text


def _seconds(text: str | None) -> float:
    try:
        return float(text or "-1")
    except ValueError:
        return -1.0


class Asker:
    """The endpoint as one check sees it: remembers the last request, so that a failure can be made again."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.last: Sent | None = None

    async def post(self, path: str, body: Any, headers: Mapping[str, str], *, key: str | None = None) -> Heard:
        """A request with a JSON body (or with text, which goes out as it is)."""
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        return await self.send("POST", path, headers, text, key=key)

    async def get(self, path: str, headers: Mapping[str, str]) -> Heard:
        """A request without a body."""
        return await self.send("GET", path, headers)

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], text: str = "", *, key: str | None = None
    ) -> Heard:
        """Any request below the base; `headers` may hold the key, which is kept out of the record.

        `key` is sent instead of the endpoint's own, and is no secret.
        """
        secret = {name: value for name, value in headers.items() if name in {"authorization", "x-api-key"}}
        if key is not None:
            secret = (
                {"authorization": f"Bearer {key}"} if "authorization" in secret or not secret else {"x-api-key": key}
            )
        open_ones = {name: value for name, value in headers.items() if name not in secret}
        if key is not None:
            open_ones |= secret
            secret = {}
        if text:
            open_ones["content-type"] = "application/json"
        self.last = Sent(method, self._endpoint.base + path, open_ones, text, "".join(secret))
        return await self._endpoint.send(self.last, secret)

    @property
    def key(self) -> str:
        """The endpoint's key; empty where it has none."""
        return self._endpoint.key


def offered(heard: Heard, what: str) -> None:
    """Raise Skipped where a path, or what stands behind it, is not there."""
    if heard.status in {404, 405, 501}:
        raise Skipped(f"{what} is not offered: HTTP {heard.status}")
