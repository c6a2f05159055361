"""The yardstick: about the least that an aiohttp reverse proxy can do. It knows no provider, no failure, no key."""

import json
import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web

SESSION: web.AppKey[ClientSession] = web.AppKey("session", ClientSession)


def application(upstream: str) -> web.Application:
    async def session(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(total=None)) as client:
            app[SESSION] = client
            yield

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        json.loads(body)  # what any router does at least: it has to see the model's name
        headers = {"content-type": "application/json", "authorization": "Bearer upstream-key"}
        async with request.app[SESSION].post(f"{upstream}/chat/completions", data=body, headers=headers) as answer:
            response = web.StreamResponse(
                status=answer.status, headers={"content-type": answer.headers["content-type"]}
            )
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    app = web.Application(client_max_size=32 << 20)
    app.cleanup_ctx.append(session)
    app.router.add_post("/v1/chat/completions", chat)
    return app


if __name__ == "__main__":
    web.run_app(application(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
