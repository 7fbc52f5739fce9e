"""The service: pictures in, poses out. Nothing is stored, and nothing but the request is read."""

import asyncio
import io
import json
import logging
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .. import __version__
from ..draw import draw_poses
from ..errors import DataError, ImageError, SadinetError
from ..estimator import Estimator
from ..images import read_image
from ..persons.detect import Detector
from .asking import DEFAULTS, Asked, Limits, Refused, read_request
from .guard import Guard

_log = logging.getLogger(__name__)

_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}


class Service:
    """Answers requests with the poses that an estimator finds.

    The network works on one request at a time, in a thread; reading goes on meanwhile.

    Args:
        estimator: Finds the keypoints.
        detector: Finds the persons of pictures that come without boxes; None: one is taken to fill the picture.
        weights: What to call the estimator's weights.
        limits: What requests may cost.
    """

    def __init__(
        self, estimator: Estimator, detector: Detector | None, *, weights: str = "", limits: Limits = DEFAULTS
    ) -> None:
        self.estimator, self.detector, self.limits = estimator, detector, limits
        self.weights = weights or estimator.reading.name
        self._busy = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sadinet-serve")

    def app(self, hosts: Collection[str] = ("*",)) -> Starlette:
        """The application, for any ASGI server; ``hosts`` as for `Guard`."""
        files = resources.files(__package__)
        routes = [
            Route("/predict", self._predict, methods=["POST"]),
            Route("/model", self._model),
            Route("/health", _health),
            Route("/openapi.json", _static(_openapi(), "application/json")),
            *(Route(at, _static((files / name).read_bytes(), kind)) for at, (name, kind) in _FILES.items()),
        ]
        handlers: dict[Any, Any] = {Refused: _refused, HTTPException: _http_error, Exception: _accident}
        return Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hosts)], exception_handlers=handlers)

    async def _predict(self, request: Request) -> Response:
        if self._busy >= self.limits.requests:
            raise Refused(503, f"{self._busy} requests are waiting already: try again in a moment")
        self._busy += 1
        try:
            asked = await read_request(request, self.limits)
            return await asyncio.get_running_loop().run_in_executor(self._pool, self.answer, asked)
        finally:
            self._busy -= 1

    def answer(self, asked: Asked) -> Response:
        """The answer to a request.

        Raises:
            Refused: If the picture cannot be read, or a box makes no sense.
        """
        try:
            pixels = read_image(asked.picture, max_pixels=self.limits.pixels)
            detector = self.detector if asked.detect else None
            poses = self.estimator.predict(pixels, asked.boxes, detector=detector, max_persons=self.limits.persons)
        except ImageError as error:
            raise Refused(400, str(error)) from None
        except DataError as error:
            raise Refused(422, str(error)) from None
        except SadinetError as error:
            raise Refused(500, str(error)) from error
        if asked.format == "json":
            return JSONResponse(poses.to_json())
        stream = io.BytesIO()
        drawn = Image.fromarray(draw_poses(pixels, poses, min_score=asked.min_score))
        if asked.format == "jpg":
            drawn.save(stream, "JPEG", quality=92)
        else:
            drawn.save(stream, "PNG", compress_level=1)
        return Response(stream.getvalue(), media_type=f"image/{'jpeg' if asked.format == 'jpg' else 'png'}")

    async def _model(self, _: Request) -> Response:
        reading, limits = self.estimator.reading, self.limits
        return JSONResponse(
            {
                "sadinet": __version__,
                "weights": self.weights,
                "skeleton": {
                    "name": reading.skeleton.name,
                    "keypoints": reading.skeleton.keypoints,
                    "edges": reading.skeleton.edges,
                    "sides": reading.skeleton.sides,
                },
                "calibrated": reading.calibration is not None,
                "detector": self.detector is not None,
                "limits": {"bytes": limits.bytes, "pixels": limits.pixels, "persons": limits.persons},
            }
        )


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _static(content: bytes, kind: str) -> Any:
    async def answer(_: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


def _openapi() -> bytes:
    tree = json.loads((resources.files(__package__) / "openapi.json").read_text("utf-8"))
    tree["info"]["version"] = __version__
    return json.dumps(tree).encode()


async def _refused(_: Request, error: Refused) -> Response:
    headers = {"retry-after": "1"} if error.status == 503 else {}
    if error.status in (408, 413):  # what is left of the request is not read
        headers["connection"] = "close"
    return JSONResponse({"error": str(error)}, error.status, headers)


async def _http_error(_: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _accident(request: Request, error: Exception) -> Response:
    _log.error("%s %s: %r", request.method, request.url.path, error)
    return JSONResponse({"error": "the service failed; its log says more"}, 500)
