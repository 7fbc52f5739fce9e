"""What a request asks for, read with limits: nothing of it is trusted."""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from ..draw import MIN_SCORE
from ..geometry import Floats

Answer = Literal["json", "jpg", "png"]

_FIELDS = ("boxes", "detect", "format", "min_score")
_FIELD_BYTES = 100_000


@dataclass(frozen=True)
class Limits:
    """What one request, and all at once, may cost.

    Attributes:
        bytes: Of a request.
        pixels: Width times height of a picture.
        persons: In one picture; of those that a detector finds the surest.
        requests: At work or waiting; further ones are sent away.
        seconds: Until a request must have arrived whole.
    """

    bytes: int = 20_000_000
    pixels: int = 50_000_000
    persons: int = 100
    requests: int = 16
    seconds: float = 30.0


DEFAULTS = Limits()


@dataclass(frozen=True, eq=False)
class Asked:
    """A request for poses.

    Attributes:
        picture: The file.
        boxes: Where the persons are ``(P, 4)`` xyxy [image px]; None: to be found.
        detect: Let the detector look for them, if the service has one.
        format: Of the answer: the poses as JSON, or a drawn picture.
        min_score: Keypoints from this score on are drawn.
    """

    picture: bytes
    boxes: Floats | None = None
    detect: bool = True
    format: Answer = "json"
    min_score: float = MIN_SCORE


class Refused(Exception):
    """A request that is not answered with poses.

    Attributes:
        status: Of HTTP.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_request(request: Request, limits: Limits) -> Asked:
    """What ``request`` asks for: a picture as its body, or a form with the file ``image``; options beside it or in the
    address.

    Raises:
        Refused: If it is too large or too slow, of another kind, or makes no sense.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind == "application/json":
        raise Refused(
            415, f"a body of {kind}: send the picture itself, or a form (multipart/form-data) with a file 'image'"
        )
    unknown = [name for name in request.query_params if name not in _FIELDS]
    if unknown:
        raise Refused(422, f"unknown option '{unknown[0][:40]}': there are {', '.join(_FIELDS)}")
    fields: dict[str, str] = dict(request.query_params)
    body = await _body(request, limits)
    if kind == "multipart/form-data":
        body, more = await _form(request, body)
        fields |= more
    if not body:
        raise Refused(422, "no picture: send one as the body, or in a form as 'image'")
    return _asked(body, fields, limits)


async def _body(request: Request, limits: Limits) -> bytes:
    """The whole body, of which never more than the limit is in memory."""
    too_large = Refused(413, f"more than {limits.bytes} bytes: send a smaller picture")
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared[:20]) > limits.bytes:
        raise too_large
    parts, length = [], 0
    try:
        async with asyncio.timeout(limits.seconds):
            async for part in request.stream():
                length += len(part)
                if length > limits.bytes:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise Refused(408, f"the request did not arrive within {limits.seconds:g} s") from None
    except ClientDisconnect:
        raise Refused(400, "the request ended early") from None
    return b"".join(parts)


async def _form(request: Request, body: bytes) -> tuple[bytes, dict[str, str]]:
    """The file ``image`` of a form, and its other fields."""

    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    _, parameters = parse_options_header(request.headers["content-type"])
    boundary = parameters.get(b"boundary", b"")
    if not boundary or not body.rstrip().endswith(b"--" + boundary + b"--"):
        raise Refused(422, "not a form, or cut short: its boundary does not end it")
    parser = MultiPartParser(request.headers, once(), max_files=1, max_fields=len(_FIELDS), max_part_size=_FIELD_BYTES)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(
            422, f"not a form with a file 'image' and at most {', '.join(_FIELDS)}: {error.message}"
        ) from None
    except (KeyError, ValueError) as error:
        raise Refused(422, f"not a form: {error!r}") from None
    picture, fields = b"", {}
    try:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile) and name == "image":
                picture = await value.read()
            elif isinstance(value, str) and name in _FIELDS:
                fields[name] = value
            else:
                raise Refused(422, f"unknown field '{name[:40]}': there are a file 'image' and {', '.join(_FIELDS)}")
    finally:
        await form.close()
    return picture, fields


def _asked(picture: bytes, fields: Mapping[str, str], limits: Limits) -> Asked:
    answer = fields.get("format", "json")
    if answer not in ("json", "jpg", "png"):
        raise Refused(422, f"format={answer[:40]}: give json, jpg or png")
    detect = fields.get("detect", "true").lower()
    if detect not in ("true", "false"):
        raise Refused(422, f"detect={detect[:40]}: give true or false")
    try:
        min_score = float(fields.get("min_score", MIN_SCORE))
    except ValueError:
        min_score = math.nan
    if not 0 <= min_score <= 1:
        raise Refused(422, f"min_score={fields['min_score'][:40]}: give a number from 0 to 1")
    boxes = _boxes(fields["boxes"], limits) if "boxes" in fields else None
    return Asked(picture, boxes, detect == "true", cast("Answer", answer), min_score)


def _boxes(text: str, limits: Limits) -> Floats:
    """Boxes as JSON: ``[[x0, y0, x1, y1], ...]``."""
    try:
        tree: Any = json.loads(text)
        boxes = np.array(tree, dtype=np.float64).reshape(-1, 4) if tree != [] else np.zeros((0, 4))
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise Refused(422, f"boxes={text[:60]}: give [[x0, y0, x1, y1], ...] in pixels") from None
    if len(boxes) > limits.persons:
        raise Refused(422, f"{len(boxes)} boxes: give at most {limits.persons}")
    return boxes
