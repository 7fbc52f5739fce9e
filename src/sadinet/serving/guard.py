"""What stands before a service: whom it answers, and what browsers may do with its answers."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Answers only requests that name this service as their host and do not come from another site's page.

    A page elsewhere could otherwise point its own name at this machine (DNS rebinding), or have visitors' browsers
    send pictures here.

    Args:
        app: What answers.
        hosts: Names that requests may use, without port; ``"*"``: any.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app, self.hosts = app, {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if "*" not in self.hosts and _name(host) not in self.hosts:
            answer = f"this service is not called '{host[:80]}': start it with --allow-host, or ask it by its address"
            await JSONResponse({"error": answer}, 421)(scope, receive, with_headers)
        elif origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            await JSONResponse({"error": "asked by a page of another site"}, 403)(scope, receive, with_headers)
        else:
            await self.app(scope, receive, with_headers)


def _name(host: str) -> str:
    """The host without its port; empty if it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
