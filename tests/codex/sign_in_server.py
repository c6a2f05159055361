"""A fake authorisation server, the half that people meet: it signs them in by browser and by device code, on both routes.

It holds implementations to the rules of facts/codex.md 5 and 10: PKCE, single codes, redirect addresses, issued clients,
scopes. Tokens are an `Issuer`'s, which rotates them. Nothing of ours is imported: a fake built on our code would prove
our own errors right.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
from aiohttp import web

from .auth_server import Issuer
from .signer import AUTH_CLAIM, jwks, sign

BACKEND_CLIENT = "app_EMoamEEZ73f0CkXaXp7hrann"
PLAN_SCOPE = "chatgpt.tokens.use.direct"
_LIFE_S = {"plan": 3600, "backend": 864_000}


@dataclass
class Person:
    """Who sits at the browser. `lends` = lets apps use the plan."""

    account_id: str = "acc-1"
    user_id: str = "user-1"
    email: str = "ada@example.test"
    plan: str = "plus"
    lends: bool = True
    error: str = ""


@dataclass
class Grant:
    """A code that was given out and not taken yet."""

    person: Person
    route: str
    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str


@dataclass
class SignInServer:
    """`asked` notes every request by path; `trouble` maps a path to (status, body) that it answers with instead."""

    now: Callable[[], float]
    person: Person = field(default_factory=Person)
    device_codes: bool = True
    root: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    trouble: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    polls_before_typed: int = 2
    claims: dict[str, Any] = field(default_factory=dict)
    any_port: bool = False
    issuer: Issuer = field(init=False)
    _grants: dict[str, Grant] = field(default_factory=dict)
    _devices: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.issuer = Issuer(self.now)

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(middlewares=[self._note()])
        self.add_to(app)
        app.router.add_post("/oauth/token", self._token_backend)
        app.router.add_post("/api/accounts/oauth/token", self._token_plan)
        return app

    def add_to(self, app: web.Application) -> None:
        """All but the token endpoints."""
        app.router.add_get("/oauth/authorize", self._authorize_backend)
        app.router.add_get("/api/accounts/authorize", self._authorize_plan)
        app.router.add_get("/.well-known/jwks.json", self._keys)
        app.router.add_post("/api/accounts/deviceauth/usercode", self._device)
        app.router.add_post("/api/accounts/deviceauth/token", self._poll)

    def _note(self) -> Any:
        @web.middleware
        async def note(request: web.Request, handler: Any) -> web.StreamResponse:
            raw = await request.read()
            if request.content_type == "application/json":
                body = json.loads(raw)
            else:
                body = {name: value for name, [value] in parse_qs(raw.decode()).items()}
            self.asked.append((request.path, {**dict(request.query), **body}))
            if request.path in self.trouble:
                status, answer = self.trouble[request.path]
                return web.Response(status=status, body=answer)
            return await handler(request)

        return note

    # -- the browser

    async def _authorize_backend(self, request: web.Request) -> web.Response:
        return self._authorize(request, "backend")

    async def _authorize_plan(self, request: web.Request) -> web.Response:
        return self._authorize(request, "plan")

    def _authorize(self, request: web.Request, route: str) -> web.Response:
        asked = request.query
        back = urlsplit(asked["redirect_uri"])
        host = "localhost" if route == "backend" else "127.0.0.1"
        fine = back.scheme == "http" and back.hostname == host and back.path == "/auth/callback"
        if route == "backend":
            fine = fine and asked["client_id"] == BACKEND_CLIENT and (self.any_port or back.port in (1455, 1457))
        else:
            fine = fine and asked["ext_agent_host_id"].startswith("urn:uuid:") and bool(asked["nonce"])
        if not fine or asked["code_challenge_method"] != "S256" or len(asked["code_challenge"]) != 43:
            return web.Response(status=400, text="<html>invalid request</html>")
        if self.person.error:
            answer = {"error": self.person.error, "error_description": "No, thanks.", "state": asked["state"]}
            return _redirect(f"{asked['redirect_uri']}?{urlencode(answer)}")
        client_id = asked["client_id"]
        if client_id == "dynamic_agent_client":
            if not asked.get("agent_name_hint"):
                return web.Response(status=400, text="no name")
            client_id = f"oaiapp_{secrets.token_hex(4)}"
        code = secrets.token_urlsafe(16)
        self._grants[code] = Grant(
            self.person, route, client_id, asked["redirect_uri"], asked["code_challenge"], asked.get("nonce", "")
        )
        answer = {"code": code, "state": asked["state"]} | ({"client_id": client_id} if route == "plan" else {})
        return _redirect(f"{asked['redirect_uri']}?{urlencode(answer)}")

    # -- device codes

    async def _device(self, request: web.Request) -> web.Response:
        if not self.device_codes:
            return web.json_response({"error": {"code": "not_found"}}, status=404)
        assert (await request.json()) == {"client_id": BACKEND_CLIENT}
        ident = secrets.token_urlsafe(8)
        self._devices[ident] = ("ABCD-EFGH", self.polls_before_typed)
        return web.json_response({"device_auth_id": ident, "user_code": "ABCD-EFGH", "interval": "1"})

    async def _poll(self, request: web.Request) -> web.Response:
        asked = await request.json()
        user_code, left = self._devices[asked["device_auth_id"]]
        if asked["user_code"] != user_code:
            return web.json_response({"error": {"code": "no"}}, status=400)
        if left > 0:
            self._devices[asked["device_auth_id"]] = (user_code, left - 1)
            return web.json_response({"error": {"code": "deviceauth_authorization_unknown"}}, status=403)
        if self.person.error:
            return web.json_response({"error": {"code": self.person.error}}, status=400)
        verifier, code = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
        challenge = _challenge(verifier)
        back = f"{self.root}/deviceauth/callback"
        self._grants[code] = Grant(self.person, "backend", BACKEND_CLIENT, back, challenge, "")
        return web.json_response({"authorization_code": code, "code_challenge": challenge, "code_verifier": verifier})

    # -- tokens

    async def _keys(self, _request: web.Request) -> web.Response:
        return web.json_response(jwks())

    async def _token_backend(self, request: web.Request) -> web.Response:
        return await self._token(request, "backend")

    async def _token_plan(self, request: web.Request) -> web.Response:
        return await self._token(request, "plan")

    async def _token(self, request: web.Request, route: str) -> web.Response:
        is_json = request.content_type == "application/json"
        asked = (
            await request.json() if is_json else {name: str(value) for name, value in (await request.post()).items()}
        )
        if asked.get("grant_type") == "refresh_token":
            status, body = self.issuer.spend(asked.get("refresh_token", ""))
            return web.json_response(body, status=status)
        return self.take_code(route, asked)

    def take_code(self, route: str, form: dict[str, str]) -> web.Response:
        """The answer to an exchange; a code serves once."""
        if form.get("grant_type") != "authorization_code":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        grant = self._grants.pop(form.get("code", ""), None)
        fine = (
            grant is not None
            and grant.route == route
            and grant.client_id == form.get("client_id")
            and grant.redirect_uri == form.get("redirect_uri")
            and grant.challenge == _challenge(form.get("code_verifier", ""))
            and (route == "backend" or form.get("resource") == "https://api.openai.com/v1")
        )
        if grant is None or not fine:
            return web.json_response({"error": "invalid_grant", "error_description": "Bad code."}, status=400)
        answer = self._issue(grant.person, route)
        if route == "plan":
            answer["id_token"] = self._id_token(grant)
        return web.json_response(answer)

    def _issue(self, person: Person, route: str) -> dict[str, Any]:
        answer = self.issuer.login(
            person.account_id, user_id=person.user_id, email=person.email, plan=person.plan, route=route,
            life_s=_LIFE_S[route],
        )  # fmt: skip
        if route == "plan":
            scope = "openid profile email offline_access resource.invoke" + (f" {PLAN_SCOPE}" if person.lends else "")
            answer |= {"scope": scope, "earliest_refresh_at": None}
        return answer

    def _id_token(self, grant: Grant) -> str:
        now = self.now()
        claims = {
            "iss": self.root, "aud": grant.client_id, "sub": grant.person.user_id, "nonce": grant.nonce, "iat": now,
            "exp": now + 3600, "email": grant.person.email,
            AUTH_CLAIM: {"chatgpt_account_id": grant.person.account_id, "chatgpt_plan_type": grant.person.plan,
                         "chatgpt_user_id": grant.person.user_id},
        }  # fmt: skip
        return sign(claims | self.claims)


def _challenge(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _redirect(to: str) -> web.Response:
    return web.Response(status=302, headers={"location": to})


async def browse(url: str, *, follow: bool = True) -> tuple[int, str, str]:
    """What a browser does with an address: status, text, and the address that it ended at."""
    async with aiohttp.ClientSession() as session:
        async with session.get(url, allow_redirects=False) as first:
            if first.status != 302:
                return first.status, await first.text(), url
            back = first.headers["location"]
        if not follow:
            return 302, "", back
        async with session.get(back) as page:
            return page.status, await page.text(), back
