"""``sadinet fetch``."""

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import ConfigError
from .common import command, print_json


def add(commands: Any) -> None:
    """Adds ``fetch``."""
    parser = command(
        commands,
        "fetch",
        _fetch,
        "Fetch a file of others, such as a person detector, into the cache. Without a name: list what can be fetched "
        "and what is there. No other command uses the network.",
    )
    parser.add_argument("known", nargs="?", metavar="name", help="one of those that the list names")
    parser.add_argument("--url", help="fetch this instead (https); needs --sha256 and --name")
    parser.add_argument("--sha256", metavar="HEX", help="what the file must have")
    parser.add_argument("--name", help="what to call it")
    parser.add_argument("--max-mb", type=int, default=1000, metavar="MB", help="refuse more (default: 1000)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _fetch(arguments: argparse.Namespace) -> int:
    from ..persons.fetch import KNOWN, RemoteFile, fetch

    by_address = (arguments.url, arguments.sha256, arguments.name)
    if arguments.known is None and not any(by_address):
        return _list(arguments)
    if arguments.known is None and all(by_address):
        wanted = RemoteFile(arguments.name, arguments.url, arguments.sha256.lower())
    elif arguments.known is None or any(by_address):
        raise ConfigError("give either a name that is known, or --url, --sha256 and --name together")
    elif arguments.known in KNOWN:
        wanted = KNOWN[arguments.known]
    else:
        raise ConfigError(
            f"'{arguments.known}' is not known here ({', '.join(KNOWN)}); others: --url URL --sha256 HEX --name NAME"
        )
    with tqdm(desc=wanted.name, unit="B", unit_scale=True, disable=arguments.quiet or None) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        file = fetch(wanted, max_bytes=arguments.max_mb * 1_000_000, progress=progress)
    if arguments.json:
        print_json(_describe(wanted.name, file, wanted.sha256, wanted.about, wanted.url))
    else:
        print(file)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from ..persons.fetch import KNOWN, others

    rows = [_describe(known.name, known.file, known.sha256, known.about, known.url) for known in KNOWN.values()]
    rows += [_describe(file.stem, file, sha256, "fetched by address", None) for file, sha256 in others()]
    for row in rows:
        if arguments.json:
            print_json(row)
        else:
            print(f"{row['name']:14} {row['state']:8} {row['file']}  ({row['about']})")
    return 1 if any(row["state"] == "DAMAGED" for row in rows) else 0


def _describe(name: str, file: Path, sha256: str, about: str, url: str | None) -> dict[str, Any]:
    from ..persons.fetch import is_whole

    state = "absent" if not file.is_file() else "whole" if is_whole(file, sha256) else "DAMAGED"
    return {"name": name, "state": state, "file": str(file), "sha256": sha256, "url": url, "about": about}
