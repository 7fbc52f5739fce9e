"""Pictures and boxes to poses: the one inference path that prediction, evaluation and training's validation share."""

import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from .crops import CropEstimator
from .geometry import BOX_MARGIN, DETECTED_MARGIN, Crop, checked_boxes, whole_image
from .images import Source, read_image
from .media.sources import Failure, Sources
from .persons.detect import Detector
from .persons.finding import Boxes
from .persons.following import Answer, Smoothing
from .persons.streaming import stream_frames
from .poses import Poses
from .timing import Clock, total

_log = logging.getLogger(__name__)


class Estimator(CropEstimator):
    """Finds the keypoints of persons in pictures. Made by `sadinet.load`, or of a network as `CropEstimator` says."""

    def predict(
        self,
        image: Source,
        boxes: ArrayLike | None = None,
        *,
        detector: Detector | None = None,
        margin: float | None = None,
        max_persons: int | None = None,
    ) -> Poses:
        """The poses in one picture, a person per box.

        Args:
            image: A file, its bytes, a Pillow image, or an array ``(H, W, 3)`` RGB.
            boxes: ``(P, 4)`` or ``(4,)`` xyxy [image px], tight around the persons; None: those that ``detector``
                finds, or without one, a person who fills the picture.
            detector: Finds the persons where there are no boxes; see `sadinet.persons.detect.find_detector`.
            margin: Factor on the longer side of a box that gives the square shown to the network; None: 1.25, and 1.05
                for the boxes of ``detector``, which are wider.
            max_persons: At most so many of those that ``detector`` finds, the surest.

        Raises:
            ImageError: If the picture cannot be read.
            DataError: If a box is empty, not finite or outside the picture.
        """
        clock = Clock()
        pixels = read_image(image)
        height, width = pixels.shape[:2]
        clock.stop("read")
        if boxes is None and detector is not None:
            boxes = detector.detect(pixels).boxes[:max_persons]
            margin = DETECTED_MARGIN if margin is None else margin
            clock.stop("detect")
        if boxes is None:
            checked = whole_image(width, height)[None]
            margin = 1.0
        else:
            checked = checked_boxes(boxes, width, height)
            margin = BOX_MARGIN if margin is None else margin
        found = list(self.find((pixels, Crop.around(box, margin)) for box in checked))
        if not found:
            return replace(Poses.empty(self.skeleton, (width, height)), timing=clock.ms)
        return Poses(
            xy=np.stack([person.xy for person in found]),
            score=np.stack([person.score for person in found]),
            boxes=checked,
            skeleton=self.skeleton,
            image_size=(width, height),
            timing=total(clock.ms, *(person.ms for person in found)),
        )

    def stream(
        self,
        source: Sources,
        *,
        detector: Detector | str | Path | None = None,
        boxes: Boxes | None = None,
        detect_every: int | None = None,
        track: bool | None = None,
        smooth: Smoothing | None = None,
        max_persons: int | None = None,
    ) -> Iterator[Poses]:
        """The poses in every picture and frame of a source, in order, in bounded memory.

        Reading and detecting go on in threads while the network works, on persons of several frames at a time; frames
        of a camera are answered one by one, and those that come too fast are left out. What cannot be read is told as
        a warning of the log and left out. Several streams may run at once. Leave a stream early with ``break`` or
        ``close()``: no thread stays behind.

        Args:
            source: A picture, video, folder, list (.txt) or pattern, the number of a camera, an array or a stack of
                them, bytes, a Pillow image, or an iterable of all these.
            detector: Finds the persons: a `Detector`, an .onnx file, or a name that was fetched. None: what the
                variable ``SADINET_DETECTOR`` names or was fetched, else a person is taken to fill the picture;
                ``"none"``: that without looking.
            boxes: Instead of a detector: ``(P, 4)`` xyxy [image px] for all pictures, or by picture as from
                `sadinet.persons.boxes.read_boxes`.
            detect_every: Of a video, how often the detector looks; between, boxes go evenly. None: every 5th frame.
            track: Give persons ids. None: in videos.
            smooth: ``"one-euro"`` or ``"none"``. None: the former where there are ids.
            max_persons: At most so many per picture, the surest.

        Raises:
            ConfigError: If options make no sense together.
            DataError: If a source does not exist, or is an address on the network.
        """
        answers = stream_frames(
            *(self, source),
            detector=detector,
            boxes=boxes,
            detect_every=detect_every,
            track=track,
            smooth=smooth,
            max_persons=max_persons,
        )
        return _poses_of(answers)


def _poses_of(answers: Generator[Answer | Failure]) -> Generator[Poses]:
    with closing(answers):
        for answer in answers:
            if isinstance(answer, Failure):
                _log.warning("skipped: %s", answer.error)
            else:
                yield answer.poses
            del answer  # and with it the pixels
