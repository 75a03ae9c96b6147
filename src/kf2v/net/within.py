"""Asking an application in this very process, with nothing in between."""

from typing import Any

import httpx2


async def ask(app: Any, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """The status and body of the answer of ``app``, an ASGI application. Raises what it raises."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://localhost") as client:
        answer = await client.request(method, path, content=body)
        return answer.status_code, answer.content
