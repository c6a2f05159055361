"""A sign-in over the network: codes turned into tokens, and a device code waited for (facts/codex.md 5, 10).

Owns the order of the questions to the authorisation server, and that an id token is proved where the route wants that.
It must never log or keep what it sends or receives, nor decide what becomes of an account.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from hermes_router.core import sign_in as words
from hermes_router.core.accounts import Route, Tokens
from hermes_router.core.errors import UpstreamError
from hermes_router.core.id_token import Faulty, PublicKey, check_id_token, read_keys
from hermes_router.core.ports import Outbound, Transport
from hermes_router.core.sign_in import Code, Device, Errand, SignInFailed
from hermes_router.upstream.auth import OUR_AGENT
from hermes_router.upstream.fetch import Reply, fetch

__all__ = ["AuthServer", "Redeemed"]

_TIMEOUT_S: Final = 30.0
_LARGEST: Final = 1_000_000
_DAY_S: Final = 86_400.0


class Redeemed(NamedTuple):
    """What a code brought. `subject` is whom the proved id token names; empty on the backend route, where none is."""

    tokens: Tokens
    client_id: str
    subject: str = ""


class AuthServer:
    """The authorisation server at `root`. `now` gives epoch seconds. Every method raises SignInFailed."""

    def __init__(self, transport: Transport, root: str, *, now: Callable[[], float]) -> None:
        self._transport = transport
        self.root = root
        self._now = now

    async def redeem(self, route: Route, code: Code, *, nonce: str = "") -> Redeemed:
        """Tokens for a code. On the plan route the id token must be the server's, and of the sign-in with `nonce`."""
        keys = await self._keys() if route == "plan" else ()
        reply = await self._post(words.exchange(self.root, route, code))
        tokens = words.read_tokens(route, reply.status, reply.body)
        subject = self._proved(tokens, keys, code.client_id, nonce) if route == "plan" else ""
        return Redeemed(tokens, code.client_id, subject)

    async def start_device(self) -> Device:
        """A device code."""
        reply = await self._post(words.device_start(self.root))
        return words.read_device(reply.status, reply.body)

    async def wait_for_device(
        self, device: Device, *, sleep: Callable[[float], Awaitable[object]], mono: Callable[[], float]
    ) -> Code:
        """Ask until the device code was typed, as often as we may; a network that fails meanwhile is waited out."""
        until, pause_s = mono() + words.DEVICE_VALID_S, device.interval_s
        while mono() + pause_s < until:
            await sleep(pause_s)
            try:
                reply = await self._post(words.device_poll(self.root, device))
            except _Unreached:
                continue
            found = words.read_poll(self.root, reply.status, reply.body)
            if isinstance(found, Code):
                return found
            pause_s += found.slower_s
        raise SignInFailed("nobody typed the device code in time", code="expired", next_step="sign in again")

    async def _keys(self) -> tuple[PublicKey, ...]:
        reply = await self._send("GET", words.keys_url(self.root), {"accept": "application/json"}, b"")
        keys = read_keys(reply.body) if reply.status == 200 else ()
        if not keys:
            raise SignInFailed(
                f"the authorisation server's keys cannot be read (HTTP {reply.status})",
                code="unproved",
                next_step="try again; nothing was changed",
            )
        return keys

    def _proved(self, tokens: Tokens, keys: tuple[PublicKey, ...], client_id: str, nonce: str) -> str:
        if tokens.id_token is None:
            raise SignInFailed("the answer proves nobody's identity", code="unproved", next_step="sign in again")
        try:
            return check_id_token(
                tokens.id_token, keys, issuer=self.root, audience=client_id, nonce=nonce, now=self._now()
            )
        except Faulty as error:
            raise _unproved(error) from None

    async def _post(self, errand: Errand) -> Reply:
        headers = {"content-type": errand.content_type, "accept": "application/json", "originator": words.AGENT_NAME}
        return await self._send("POST", errand.url, headers, errand.body)

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        request = Outbound(method, url, {**headers, "user-agent": OUR_AGENT}, body)
        try:
            return await fetch(self._transport, request, timeout_s=_TIMEOUT_S, max_bytes=_LARGEST)
        except UpstreamError as error:
            raise _Unreached(
                f"the authorisation server at {self.root} did not answer: {error.excerpt or type(error).__name__}",
                next_step="look at the network and HTTPS_PROXY, then try again",
            ) from None
        except ValueError as error:
            raise SignInFailed(
                f"{self.root} cannot be asked: {error}", next_step="mend the setting that ends in _AUTH_URL"
            ) from None


class _Unreached(SignInFailed):
    """Nothing of an answer came."""


def _unproved(fault: Faulty) -> SignInFailed:
    off_s = fault.clock_off_s
    if off_s is None:
        return SignInFailed(f"the id token is not to be trusted: {fault}", code="unproved", next_step="sign in again")
    hours = abs(off_s) / 3600
    by = f"{hours / 24:.1f} days" if abs(off_s) > _DAY_S else f"{hours:.1f} hours"
    return SignInFailed(
        f"this machine's clock is {by} {'ahead of' if off_s > 0 else 'behind'} the authorisation server's",
        code="clock",
        next_step="set the clock, then sign in again",
    )
