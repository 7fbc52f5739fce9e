"""Running the service."""

import socket
from collections.abc import Callable, Collection

import uvicorn

from ..errors import ConfigError
from .service import Service

_LOCAL = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0", "::")


def serve(
    service: Service,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    allow_hosts: Collection[str] = (),
    quiet: bool = False,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Answers requests until it is interrupted; those under way are finished.

    Args:
        service: What answers.
        host: Address to listen at.
        port: 0: any that is free.
        allow_hosts: Names by which the service may be asked, beside this machine's own ones and ``host``. Listening
            everywhere without such names, it answers to any.
        quiet: Do not log requests.
        ready: Called with the address once it listens.

    Raises:
        ConfigError: If it cannot listen there.
    """
    if not 0 <= port < 65536:
        raise ConfigError(f"there is no port {port}: give one from 1 to 65535, or 0 for any that is free")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(f"cannot listen at {host}, port {port} ({error}): give another --port or --host") from None
    hosts = {*_LOCAL, host, *allow_hosts} if allow_hosts or host not in _EVERYWHERE else {"*"}
    config = uvicorn.Config(
        service.app(hosts),
        log_level="warning" if quiet else "info",
        access_log=not quiet,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        timeout_keep_alive=10,
        limit_concurrency=8 * service.limits.requests,
    )
    shown = f"[{host}]" if ":" in host else host
    with listening:
        ready(f"http://{shown}:{listening.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[listening])
