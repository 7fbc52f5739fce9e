"""The answer for one picture: where every keypoint of every person is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError, DataError, SadinetError
from .skeleton import SKELETONS, Skeleton

VERSION = 2
"""Of the JSON that is written; version 1, which had no ids, frames, times and timing, is read too."""

_COCO_PERSON = 1


@dataclass(frozen=True, eq=False)
class Poses:
    """The keypoints of the P persons on one picture.

    Attributes:
        xy: ``(P, K, 2)`` [image px, 0-based, pixel centres]; NaN where a keypoint has no position.
        score: ``(P, K)`` in [0, 1], higher is surer; 0 where ``xy`` is NaN.
        boxes: ``(P, 4)`` xyxy [image px]: where each person was looked for.
        skeleton: Names and order of the K keypoints.
        image_size: Width and height of the picture [px].
        source: What the picture, or the video that it is a frame of, is called, if it has a name.
        ids: ``(P,)`` int64: the same number is the same person throughout a video; None: persons were not followed.
        frame: The frame's number in the video or stack, from 0; None: a picture for itself.
        time: The frame's time since the first one [s]; None: not of a video.
        timing: What each stage took [ms]: read, detect, crop, network, decode, track; None: not measured.
    """

    xy: NDArray[np.float64]
    score: NDArray[np.float64]
    boxes: NDArray[np.float64]
    skeleton: Skeleton
    image_size: tuple[int, int]
    source: str | None = None
    ids: NDArray[np.int64] | None = None
    frame: int | None = None
    time: float | None = None
    timing: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for name in ("xy", "score", "boxes"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        persons, keypoints = len(self.xy) if self.xy.ndim else 0, len(self.skeleton)
        _check_shape("xy", self.xy, (persons, keypoints, 2))
        _check_shape("score", self.score, (persons, keypoints))
        _check_shape("boxes", self.boxes, (persons, 4))
        if self.ids is not None:
            object.__setattr__(self, "ids", np.asarray(self.ids, dtype=np.int64))
            _check_shape("ids", self.ids, (persons,))
            if len(np.unique(self.ids)) < persons:
                raise DataError(f"two persons of one picture have the same id: {self.ids.tolist()}")
        if not ((self.score >= 0) & (self.score <= 1)).all():
            raise DataError("a score of a pose is not in [0, 1]")
        if not (np.isfinite(self.xy).all(2) | (np.isnan(self.xy).all(2) & (self.score == 0))).all():
            raise DataError("a keypoint is not finite: give finite x and y, or NaN for both and the score 0")
        if not (np.isfinite(self.boxes).all() and (self.boxes[:, :2] <= self.boxes[:, 2:]).all()):
            raise DataError("a box is not x0 <= x1 and y0 <= y1, in finite pixels")
        if min(self.image_size) <= 0:
            raise DataError(f"the picture of a pose cannot be {self.image_size[0]} x {self.image_size[1]}")
        if not (self.time is None or math.isfinite(self.time)):
            raise DataError(f"the time of a pose is {self.time}, not a number of seconds")

    def __len__(self) -> int:
        return len(self.xy)

    @classmethod
    def empty(cls, skeleton: Skeleton, image_size: tuple[int, int], source: str | None = None) -> "Poses":
        """The answer for a picture without persons."""
        k = len(skeleton)
        return cls(np.zeros((0, k, 2)), np.zeros((0, k)), np.zeros((0, 4)), skeleton, image_size, source)

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``json.dump``, pixels rounded to 2 decimals and scores to 4.

        ::

            {"version": 2,
             "source": "clip.mp4",                       or null
             "image": {"width": 640, "height": 480},
             "frame": 12, "time": 0.48,                  null for a picture
             "skeleton": {"name": "lsp", "keypoints": ["right_ankle", ...], "edges": [["head_top", "neck"], ...]},
             "people": [{"id": 3,                        null where persons were not followed
                         "box": [x0, y0, x1, y1],
                         "keypoints": {"right_ankle": {"x": 12.25, "y": 201.0, "score": 0.9134}, ...}}, ...],
             "timing": {"read": 1.93, ...}}              milliseconds, or null

        Coordinates are 0-based and an integer is the centre of a pixel; x and y are null where a keypoint has no
        position. Left and right are the person's own.
        """
        return {
            "version": VERSION,
            "source": self.source,
            "image": {"width": self.image_size[0], "height": self.image_size[1]},
            "frame": self.frame,
            "time": None if self.time is None else round(self.time, 6),
            "skeleton": {
                "name": self.skeleton.name,
                "keypoints": list(self.skeleton.keypoints),
                "edges": [list(edge) for edge in self.skeleton.edges],
            },
            "people": [
                {"id": number, "box": [_px(v) for v in box], "keypoints": self._named(xy, score)}
                for number, xy, score, box in zip(self._numbers(), self.xy, self.score, self.boxes, strict=True)
            ],
            "timing": None if self.timing is None else {k: round(float(v), 3) for k, v in self.timing.items()},
        }

    def _numbers(self) -> list[int | None]:
        """The ids as plain numbers."""
        return [None] * len(self) if self.ids is None else [int(number) for number in self.ids]

    def _named(self, xy: NDArray[np.float64], score: NDArray[np.float64]) -> dict[str, dict[str, float | None]]:
        return {
            name: {"x": _px(x), "y": _px(y), "score": round(float(s), 4)}
            for name, (x, y), s in zip(self.skeleton.keypoints, xy, score, strict=True)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Poses":
        """The poses that :meth:`to_json` wrote, in this version or before it.

        Raises:
            DataError: It is of another version, incomplete, or contradicts itself.
        """
        if not isinstance(data, Mapping) or data.get("version") not in range(1, VERSION + 1):
            found = data.get("version") if isinstance(data, Mapping) else type(data).__name__
            raise DataError(f"not poses of version {VERSION} or older but {found!r}: write them with Poses.to_json")
        try:
            skeleton = _skeleton(data["skeleton"])
            people = data["people"]
            named = [[person["keypoints"][name] for name in skeleton.keypoints] for person in people]
            values = np.array(
                [[[_number(point[key]) for key in ("x", "y", "score")] for point in points] for points in named]
            ).reshape(len(people), len(skeleton), 3)
            boxes = np.array([[_number(v) for v in person["box"]] for person in people]).reshape(len(people), 4)
            size = (int(data["image"]["width"]), int(data["image"]["height"]))
            source, frame, time, timing = (data.get(key) for key in ("source", "frame", "time", "timing"))
            if not (source is None or isinstance(source, str)):
                raise TypeError(f"the source {source!r} is not a name")
            return cls(
                *(values[..., :2], values[..., 2], boxes, skeleton, size, source),
                ids=_ids([person.get("id") for person in people]),
                frame=None if frame is None else _whole(frame),
                time=None if time is None else _number(time),
                timing=None if timing is None else {str(stage): _number(ms) for stage, ms in timing.items()},
            )
        except KeyError as error:
            raise DataError(f"poses without {error}: write them with Poses.to_json") from error
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"poses that are not as Poses.to_json writes them: {error}") from error
        except SadinetError as error:
            raise DataError(f"poses that contradict themselves: {error}") from error

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """The persons in COCO's result format: keypoints (x, y, score), box xywh, score = mean of the keypoints'.

        COCO's keypoints are 0-based pixels, the same as here. Its boxes count from the corner of the first pixel,
        so their corner is this package's plus 0.5. A keypoint without position is (0, 0, 0).
        """
        return [
            {
                "image_id": image_id,
                "category_id": _COCO_PERSON,
                "keypoints": [v for (x, y), s in zip(xy, score, strict=True) for v in _triplet(x, y, s)],
                "bbox": [_px(box[0] + 0.5), _px(box[1] + 0.5), _px(box[2] - box[0]), _px(box[3] - box[1])],
                "score": round(float(score.mean()), 4),
            }
            for xy, score, box in zip(self.xy, self.score, self.boxes, strict=True)
        ]

    def to_dataframe(self) -> Any:
        """A pandas ``DataFrame``, a row per person: see `table_columns` and `to_rows`.

        Join those of many pictures with ``pandas.concat``.

        Raises:
            ConfigError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ConfigError("to_dataframe: needs pandas: pip install pandas") from None
        table = pandas.DataFrame(self.to_rows(), columns=table_columns(self.skeleton))
        numbers = [name for name in table.columns if name not in ("source", "frame", "person", "id")]
        kinds = {**dict.fromkeys(numbers, "float64"), "frame": "Int64", "person": "int64", "id": "Int64"}
        return table.astype(kinds)

    def to_rows(self) -> list[list[Any]]:
        """A row per person with the values that `table_columns` names; None where there is none."""
        time = None if self.time is None else round(self.time, 6)
        rows = []
        for person, (number, points) in enumerate(zip(self._numbers(), self._triplets(), strict=True)):
            box = [_px(v) for v in self.boxes[person]]
            mean = round(float(self.score[person].mean()), 4)
            rows.append([self.source, self.frame, time, person, number, *box, mean, *points])
        return rows

    def _triplets(self) -> list[list[float | None]]:
        """For each person x, y and score of all keypoints in one list."""
        return [
            [v for (x, y), s in zip(xy, score, strict=True) for v in (_px(x), _px(y), round(float(s), 4))]
            for xy, score in zip(self.xy, self.score, strict=True)
        ]

    def to_supervision(self) -> Any:
        """A ``supervision.KeyPoints`` with the persons' boxes and ids in ``data``.

        A keypoint without position is (0, 0) and not visible.

        Raises:
            ConfigError: If supervision is not installed.
        """
        try:
            import supervision
        except ImportError:
            raise ConfigError("to_supervision: needs supervision: pip install supervision") from None
        data: dict[str, Any] = {"box": self.boxes} | ({} if self.ids is None else {"id": self.ids})
        return supervision.KeyPoints(
            xy=np.nan_to_num(self.xy).astype(np.float32),
            class_id=np.zeros(len(self), dtype=int),
            keypoint_confidence=self.score.astype(np.float32),
            visible=np.asarray(np.isfinite(self.xy).all(2)),
            data=data,
        )


def table_columns(skeleton: Skeleton) -> list[str]:
    """The columns of tables of poses.

    source, frame, time [s], person (number within the picture), id; x0, y0, x1, y1 of the box; score, the mean of the
    keypoints'; then NAME_x, NAME_y, NAME_score of every keypoint [image px].
    """
    points = [f"{name}_{value}" for name in skeleton.keypoints for value in ("x", "y", "score")]
    return ["source", "frame", "time", "person", "id", "x0", "y0", "x1", "y1", "score", *points]


def _check_shape(name: str, values: NDArray[Any], shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise DataError(f"poses: {name} has shape {values.shape}, not {shape}")


def _px(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 2)


def _number(value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _ids(values: list[object]) -> NDArray[np.int64] | None:
    """Ids as an array; None where there are none."""
    if all(value is None for value in values):
        return None
    return np.array([_whole(value) for value in values], dtype=np.int64)


def _triplet(x: float, y: float, score: float) -> tuple[float, float, float]:
    if math.isnan(x):
        return (0.0, 0.0, 0.0)
    return (round(float(x), 2), round(float(y), 2), round(float(score), 4))


def _skeleton(data: Mapping[str, Any]) -> Skeleton:
    """The package's own skeleton if it is that, else one of the names and limbs given."""
    name, keypoints = str(data["name"]), tuple(data["keypoints"])
    known = SKELETONS.get(name)
    if known is not None and known.keypoints == keypoints:
        return known
    return Skeleton(name, keypoints, tuple((a, b) for a, b in data["edges"]))
