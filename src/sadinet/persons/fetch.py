"""Files of others that a user asks for by name, once, while online; nothing else here ever touches a network.

A file is accepted only if its sha256 is the one known beforehand, and then lies in the user's cache.
"""

import hashlib
import http.client
import ipaddress
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from .. import __version__
from ..errors import CheckpointError, ConfigError
from ..files import replacing

MAX_BYTES = 1 << 30
"""The largest file that is fetched unless the caller says otherwise."""

_CHUNK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte


def _check_url(url: str, *, only_https: bool = False) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if only_https or not _is_loopback(url):
        raise ConfigError(f"'{url}' is refused: only https is fetched from, or http on this machine")


def _is_loopback(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


@dataclass(frozen=True)
class RemoteFile:
    """A file and how to know it.

    Attributes:
        name: What it is called here, without its suffix: letters, digits, and ``. _ -`` between them.
        url: Where it is: https, or http on this machine.
        sha256: Its 64 hexadecimal digits.
        about: What it is and under which licence, in a few words.

    Raises:
        ConfigError: If one of them makes no sense.
    """

    name: str
    url: str
    sha256: str
    about: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", self.name):
            raise ConfigError(f"'{self.name}' cannot name a file to fetch: use letters, digits and . _ - between them")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ConfigError(f"{self.name}: '{self.sha256}' is no sha256: give 64 hexadecimal digits, in lower case")
        _check_url(self.url)

    @property
    def file(self) -> Path:
        """Where it lies once fetched: its name in `cache_folder`, with the suffix that its address ends in."""
        suffix = PurePosixPath(urllib.parse.urlsplit(self.url).path).suffix
        return cache_folder() / (self.name if self.name.endswith(suffix) else self.name + suffix)


# Only files whose sha256 somebody has computed from the file itself; others join when theirs is.
KNOWN = {
    known.name: known
    for known in (
        RemoteFile(
            name="yolox-nano",
            url="https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/yolox_nano.onnx",
            sha256="695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14",
            about="person detector, 3.7 MB, Apache-2.0",
        ),
    )
}
"""What can be fetched by name alone."""


def cache_folder() -> Path:
    """Where fetched files lie: ``SADINET_HOME``, or ``sadinet`` in ``XDG_CACHE_HOME`` or the platform's cache."""
    if home := os.environ.get("SADINET_HOME"):
        return Path(home).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if cache.is_absolute():  # as its specification demands, others are passed over
        return cache / "sadinet"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "sadinet" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "sadinet"
    return Path.home() / ".cache" / "sadinet"


def cached_file(name: str) -> Path | None:
    """The file of that name in the cache, whatever its suffix; None if there is none."""
    folder = cache_folder()
    found = [path for path in (folder / name, *sorted(folder.glob(f"{name}.*"))) if _is_fetched(path, name)]
    return found[0] if found else None


def _is_fetched(path: Path, name: str) -> bool:
    return path.is_file() and name in (path.name, path.stem) and path.suffix != ".sha256"


def is_whole(path: Path, sha256: str) -> bool:
    """Whether the file ``path`` is there and has that sha256."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def fetch(
    wanted: RemoteFile, *, max_bytes: int = MAX_BYTES, progress: Callable[[int, int | None], None] | None = None
) -> Path:
    """Fetches a file into the cache, unless it lies there whole, and returns where.

    The file appears under its name only when it is complete and its sha256 is right; ``NAME.sha256`` beside it keeps
    what that is.

    Args:
        wanted: Which.
        max_bytes: More than this is refused.
        progress: Called with the number of bytes so far and, where the server tells it, of all.

    Raises:
        ConfigError: If the address leads, also by a redirection, to something else than https.
        CheckpointError: If the server cannot be reached or refuses, or the file is cut short, too large or another.
    """
    target = wanted.file
    if is_whole(target, wanted.sha256):
        return target
    try:
        with replacing(target) as temporary:
            with _open(wanted.url) as answer, temporary.open("wb") as file:
                _copy(answer, file, wanted.url, max_bytes, progress)
            if not is_whole(temporary, wanted.sha256):
                raise CheckpointError(
                    f"{wanted.url}: not the file that was expected, its sha256 is not {wanted.sha256}; nothing was kept"
                )
    except (OSError, http.client.HTTPException) as error:  # URLError and HTTPError are OSErrors
        reason = getattr(error, "reason", "") or str(error) or type(error).__name__
        code = ""
        if isinstance(error, urllib.error.HTTPError):
            code = f"{error.code} "
            error.close()
        raise CheckpointError(
            f"{wanted.url}: cannot be fetched ({code}{reason}); try again, or put the file itself at {target}"
        ) from error
    with replacing(_note(target)) as note:
        note.write_text(f"{wanted.sha256}  {target.name}\n", "ascii")
    return target


def others() -> list[tuple[Path, str]]:
    """Files in the cache that are not `KNOWN`, each with the sha256 it was fetched by, in order of their names."""
    found = []
    known = {remote.file for remote in KNOWN.values()}
    for note in sorted(cache_folder().glob("*.sha256")):
        target = note.with_suffix("")
        if target not in known:
            found.append((target, note.read_text("ascii", errors="replace").partition(" ")[0]))
    return found


def _note(target: Path) -> Path:
    return target.with_name(target.name + ".sha256")


def _copy(
    answer: http.client.HTTPResponse,
    file: IO[bytes],
    url: str,
    max_bytes: int,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    length = answer.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    done = 0
    while (total is None or total <= max_bytes) and (chunk := answer.read(_CHUNK)):
        done += len(chunk)
        if done > max_bytes:
            break
        file.write(chunk)
        if progress:
            progress(done, total)
    if max(done, total or 0) > max_bytes:
        raise CheckpointError(f"{url}: more than {max_bytes} bytes; allow more (--max-mb) if you trust it")
    if total is not None and done < total:
        raise CheckpointError(f"{url}: cut short after {done} of {total} bytes; try again")


def _open(url: str) -> http.client.HTTPResponse:
    handlers: list[urllib.request.BaseHandler] = [_Redirects()]
    if _is_loopback(url):
        handlers.append(urllib.request.ProxyHandler({}))  # a proxy's idea of this machine is another machine
    request = urllib.request.Request(url, headers={"User-Agent": f"sadinet/{__version__}"})
    answer: http.client.HTTPResponse = urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT)
    return answer


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows only to where the first address might have been; never from https back to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            _check_url(newurl, only_https=req.full_url.startswith("https:"))
        except ConfigError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)
