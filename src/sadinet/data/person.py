"""One annotated person, free of every quirk of the data set it came from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..geometry import Crop


@dataclass(frozen=True, eq=False)
class Person:
    """An annotated person.

    Attributes:
        id: Unique and stable, ``"lspet/im00408"`` or ``"mpii/015601864#1"``; splits are lists of it.
        image: The picture's file.
        xy: Keypoints ``(K, 2)`` [image px, 0-based, pixel centres]; NaN where not labelled.
        labelled: ``(K,)`` bool: has coordinates; counts for losses and metrics.
        visible: ``(K,)`` bool: labelled and not occluded, as far as the data set tells.
        crop: The window that the data set's protocol puts around the person [image px].
        head_size: The reference length of PCKh [image px]; NaN where the data set has none.
    """

    id: str
    image: Path
    xy: NDArray[np.float64]
    labelled: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    crop: Crop
    head_size: float = float("nan")
