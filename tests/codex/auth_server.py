"""A fake authorisation server for refresh tokens: it rotates, detects reuse, expires, and fails on demand.

`Issuer` is the server's book, without a network; `make_app` puts it behind `/oauth/token` and the plan route's path.
"""

import asyncio
import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

DAY_S = 86_400.0


def jwt(**claims: Any) -> str:
    """A token that says this of itself; nobody signed it."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part(claims)}.{secrets.token_urlsafe(12)}"


@dataclass
class Family:
    """One login: the one refresh token that works, and those that did."""

    account_id: str
    user_id: str
    email: str
    plan: str
    life_s: float
    route: str = "backend"
    current: str = ""
    spent: set[str] = field(default_factory=set)
    ended: str = ""  # the code that every refresh of it meets


class Issuer:
    """Who has logged in, and what may still be spent. `now` is the server's clock."""

    def __init__(self, now: Callable[[], float], *, harsh: bool = False) -> None:
        self.now = now
        self.harsh = harsh  # a reused refresh token ends the whole login
        self.families: list[Family] = []
        self.spends = 0  # that brought tokens
        self.refusals: list[str] = []
        self._accesses: dict[str, tuple[Family, float]] = {}

    def login(
        self,
        account_id: str = "acc-1",
        *,
        user_id: str = "user-1",
        email: str = "owner@example.com",
        plan: str = "plus",
        life_s: float = 10 * DAY_S,
        route: str = "backend",
    ) -> dict[str, Any]:
        """A new login; the answer of the token endpoint."""
        family = Family(account_id, user_id, email, plan, life_s, route)
        self.families.append(family)
        return self._issue(family)

    def _issue(self, family: Family) -> dict[str, Any]:
        now = self.now()
        auth = {
            "chatgpt_account_id": family.account_id,
            "chatgpt_user_id": family.user_id,
            "chatgpt_plan_type": family.plan,
        }
        claims = {"iat": now, "exp": now + family.life_s, "https://api.openai.com/auth": auth}
        access = jwt(**claims)
        if family.current:
            family.spent.add(family.current)
        family.current = f"rt_{secrets.token_urlsafe(24)}"
        self._accesses[access] = (family, now + family.life_s)
        return {
            "access_token": access,
            "refresh_token": family.current,
            "id_token": jwt(email=family.email, **claims),
            "token_type": "Bearer",
            "expires_in": family.life_s,
            "scope": "openid profile email offline_access",
        }

    def spend(self, token: str) -> tuple[int, dict[str, Any]]:
        """Status and body of a refresh."""
        for family in self.families:
            if token == family.current and not family.ended:
                self.spends += 1
                return 200, self._issue(family)
            if token == family.current or token in family.spent:
                code = family.ended or "refresh_token_reused"
                if self.harsh and not family.ended:
                    family.ended = "refresh_token_invalidated"
                self.refusals.append(code)
                return 401, {"error": {"message": "no", "type": "invalid_request_error", "code": code}}
        self.refusals.append("refresh_token_expired")
        return 401, {"error": {"code": "refresh_token_expired"}}

    def accepts(self, access: str) -> Family | None:
        """Whose access token that is, None where it has ended or never was."""
        family, until = self._accesses.get(access, (None, 0.0))
        return family if family is not None and self.now() < until and not family.ended else None

    def works(self, token: str | None) -> bool:
        """Whether this refresh token would be taken."""
        return any(family.current == token and not family.ended for family in self.families)


class AuthServer:
    """The issuer on the wire. `fails` is what it does instead of answering: `html`, `500`, `hang`, `hang_after`."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.fails = ""
        self.delay_s = 0.0
        self.requests: list[dict[str, Any]] = []
        self.released = asyncio.Event()

    def make_app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/oauth/token", self._token)
        app.router.add_post("/api/accounts/oauth/token", self._token)
        return app

    async def _token(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        asked = json.loads(raw) if request.content_type == "application/json" else dict(await request.post())
        self.requests.append({"path": request.path, "type": request.content_type, **asked})
        match self.fails:
            case "html":
                return web.Response(status=403, text="<html>blocked</html>", content_type="text/html")
            case "500":
                return web.json_response({"error": {"message": "oops"}}, status=500)
            case "hang":
                await self.released.wait()
        status, body = self.issuer.spend(asked.get("refresh_token", ""))
        if self.fails == "hang_after":
            await self.released.wait()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        return web.json_response(body, status=status)


def auth_json(tokens: dict[str, Any], *, last_refresh: str = "2026-09-01T00:00:00.000000Z", **more: Any) -> str:
    """The official CLI's file with these tokens, and keys that no version of ours knows."""
    held = {name: tokens[name] for name in ("id_token", "access_token", "refresh_token")}
    document = {
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": None,
        "tokens": {**held, "account_id": tokens.get("account_id", "acc-1"), "novel": {"kept": True}},
        "last_refresh": last_refresh,
        "a_later_key": [1, 2],
    }
    return json.dumps(document | more, indent=2)
