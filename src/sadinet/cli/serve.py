"""``sadinet serve``."""

import argparse
import logging
from typing import Any

from .common import add_inference, command, make_estimator

_EPILOG = """\
examples:
  sadinet serve                                            then open http://127.0.0.1:8000 in a browser
  curl -F image=@photo.jpg http://127.0.0.1:8000/predict
  curl --data-binary @photo.jpg 'http://127.0.0.1:8000/predict?format=jpg' > drawn.jpg
"""


def add(commands: Any) -> None:
    """Adds ``serve``."""
    parser = command(
        *(commands, "serve", _serve, "A web page and an HTTP service that find keypoints in pictures."),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--weights", default="lsp-t", help="embedded name, checkpoint, training folder or .onnx file (default: lsp-t)"
    )
    parser.add_argument("--detector", metavar="FILE|NAME|none", help="a YOLOX .onnx file, or a name that was fetched")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    parser.add_argument("--port", type=int, default=8000, help="0: any free one (default: 8000)")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a name it may be asked by, may be repeated"
    )
    parser.add_argument("--max-mb", type=float, default=20, help="largest request (default: 20)")
    parser.add_argument("--max-pixels", type=float, default=50, metavar="M", help="in millions (default: 50)")
    parser.add_argument("--max-persons", type=int, default=100, metavar="N", help="per picture (default: 100)")
    parser.add_argument("--max-requests", type=int, default=16, metavar="N", help="at once (default: 16)")
    add_inference(parser)


def _serve(arguments: argparse.Namespace) -> int:
    from ..backend import require
    from ..errors import ConfigError
    from ..persons.finding import choose_detector

    for module in ("starlette", "uvicorn", "python_multipart"):
        require(module, "serve")
    from ..serving.asking import Limits
    from ..serving.serve import serve
    from ..serving.service import Service

    limits = Limits(
        bytes=int(arguments.max_mb * 1e6),
        pixels=int(arguments.max_pixels * 1e6),
        persons=arguments.max_persons,
        requests=arguments.max_requests,
    )
    if min(limits.bytes, limits.pixels, limits.persons, limits.requests) < 1:
        raise ConfigError(f"limits must be positive, got {limits}")
    detector = choose_detector(arguments.detector, level=logging.INFO)
    service = Service(make_estimator(arguments), detector, weights=str(arguments.weights), limits=limits)

    def ready(address: str) -> None:
        print(f"{address}  (Ctrl-C ends it)", flush=True)

    serve(
        service,
        host=arguments.host,
        port=arguments.port,
        allow_hosts=arguments.allow_host,
        quiet=arguments.quiet,
        ready=ready,
    )
    return 0
