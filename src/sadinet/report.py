"""The score of a set of predictions, with everything needed to say what it is a score of."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from .calibration import Reliability
from .data.person import Person, box_sides
from .errors import DataError
from .geometry import Floats
from .metrics import Protocol, auc, counts, distances, pck, pck_by_part, pooled, torso_sizes
from .skeleton import Skeleton

_AUC_STEP = 0.01  # of the threshold, as the benchmarks of MPII and LSP draw their curves


@dataclass(frozen=True)
class Share:
    """One cell of a score table.

    Attributes:
        title: The column, or the keypoint.
        keypoints: Names of the keypoints pooled in it.
        percent: Share of them found [%]; NaN where none counts.
        count: How many counted.
    """

    title: str
    keypoints: tuple[str, ...]
    percent: float
    count: int


@dataclass(frozen=True)
class Group:
    """A part of the persons or keypoints, scored by itself (`sadinet.breakdown`).

    Attributes:
        title: Which.
        parts: The columns.
        mean: As the report's.
        persons: How many persons are in it.
        count: How many keypoints counted.
    """

    title: str
    parts: tuple[Share, ...]
    mean: float
    persons: int
    count: int


@dataclass(frozen=True)
class Report:
    """Scores under one protocol.

    Three means are in use and differ by up to a point on MPII, so all are kept; ``protocol.mean`` says
    which of them published tables print.

    Which keypoints a column pools is up to the keypoint set. "Head" is read in two ways for MPII: its official
    test table averages upper neck and head top, published validation tables take head top alone. So every table
    says beside the numbers what its "Head" is.

    Attributes:
        protocol: What the numbers mean.
        parts: The columns, in the order of ``Skeleton.parts``; left and right are pooled.
        keypoints: The scored keypoints one by one.
        mean_pooled: All scored keypoints of all persons alike [%]: the total of MPII's benchmark.
        mean_parts: The columns alike [%]: the mean of LSP's tables.
        mean_keypoints: The scored keypoints alike [%], however often labelled.
        auc: Area under the pooled curve from 0 to the protocol's threshold, in [0, 100].
        persons: How many persons were scored.
        count: How many keypoints were counted.
        metadata: Where the numbers come from, as printed: data set, split, its hash, weights, flip, scales, boxes ...
        notes: What a reader of the numbers should be told.
        groups: The same by difficulty, where asked for.
        reliability: How far the keypoints' scores can be believed, where that is known.
    """

    protocol: Protocol
    parts: tuple[Share, ...]
    keypoints: tuple[Share, ...]
    mean_pooled: float
    mean_parts: float
    mean_keypoints: float
    auc: float
    persons: int
    count: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    reliability: Reliability | None = None

    @classmethod
    def from_distances(
        cls,
        distances: Floats,
        skeleton: Skeleton,
        protocol: Protocol,
        metadata: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
    ) -> Self:
        """The report on errors ``(N, K)`` in reference lengths, NaN where not counted.

        Raises:
            DataError: The errors are not those of this keypoint set.
        """
        if distances.ndim != 2 or distances.shape[1] != len(skeleton):
            raise DataError(f"errors {distances.shape} are not (N, {len(skeleton)}) of keypoint set '{skeleton.name}'")
        number, shares = counts(distances), pck(distances, protocol.threshold)
        columns = pck_by_part(distances, protocol.threshold, skeleton)
        scored = list(skeleton.scored)
        counted = distances[:, scored]
        return cls(
            protocol=protocol,
            parts=tuple(
                Share(title, names, float(percent), int(sum(number[skeleton.index(name)] for name in names)))
                for (title, names), percent in zip(skeleton.parts, columns, strict=True)
            ),
            keypoints=tuple(
                Share(skeleton.keypoints[k], (skeleton.keypoints[k],), float(shares[k]), int(number[k])) for k in scored
            ),
            mean_pooled=pooled(counted, protocol.threshold),
            mean_parts=_mean(columns),
            mean_keypoints=_mean(shares[scored]),
            auc=auc(counted, protocol.threshold, max(1, round(protocol.threshold / _AUC_STEP))),
            persons=len(distances),
            count=int(number[scored].sum()),
            metadata=dict(metadata or {}),
            notes=tuple(notes),
        )

    @property
    def mean(self) -> float:
        """The mean [%] that published tables of this protocol print."""
        return {"pooled": self.mean_pooled, "parts": self.mean_parts, "keypoints": self.mean_keypoints}[
            self.protocol.mean
        ]

    def table(self, markdown: bool = False) -> str:
        """The scores as a text to print: the row of the paper's tables, and below it what the row means."""
        cells = [(part.title, _number(part.percent, 1)) for part in self.parts] + [("Mean", _number(self.mean, 1))]
        below = [self.protocol.describe(), *self._remarks()]
        if markdown:
            rows = [["", *(title for title, _ in cells)], ["---", *["---:"] * len(cells)]]
            rows += [[self.protocol.label, *(value for _, value in cells)]]
            below = [f"- {line}" for line in below] + (["", *self._groups_markdown()] if self.groups else [])
            return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", *below])
        head = " " * len(self.protocol.label) + "".join(f"{title:>7}" for title, _ in cells)
        row = self.protocol.label + "".join(f"{value:>7}" for _, value in cells)
        return "\n".join([head, row, *below, *(["", *self._groups_text()] if self.groups else [])])

    def _groups_text(self) -> list[str]:
        width = max(len(group.title) for group in self.groups)
        titles = [*(part.title for part in self.parts), "Mean", "persons", "keypoints"]
        lines = [" " * width + "".join(f"{title:>{max(7, len(title) + 2)}}" for title in titles)]
        for group in self.groups:
            cells = zip(titles, _group_cells(group), strict=True)
            lines.append(f"{group.title:{width}}" + "".join(f"{v:>{max(7, len(t) + 2)}}" for t, v in cells))
        return lines

    def _groups_markdown(self) -> list[str]:
        titles = ["", *(part.title for part in self.parts), "Mean", "persons", "keypoints"]
        rows = [titles, ["---", *["---:"] * (len(titles) - 1)]]
        rows += [[group.title, *_group_cells(group)] for group in self.groups]
        return ["| " + " | ".join(row) + " |" for row in rows]

    def to_json(self) -> dict[str, Any]:
        """The report as plain dicts, lists, strings and numbers; None where a number is not known."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        plain["protocol"] |= {"label": self.protocol.label, "description": self.protocol.describe()}
        return plain | {"mean": _without_nan(self.mean)}

    def _remarks(self) -> list[str]:
        means = f"Means: pooled {_number(self.mean_pooled, 2)}, columns {_number(self.mean_parts, 2)}, "
        means += f"keypoints {_number(self.mean_keypoints, 2)}; AUC {_number(self.auc, 2)}."
        lines = [means, f"{self.persons} persons, {self.count} keypoints."]
        lines += [f"Head is {' and '.join(part.keypoints)}." for part in self.parts if part.title == "Head"]
        lines += [f"Scores as probabilities: {self.reliability}."] if self.reliability else []
        lines += ["; ".join(f"{key}: {value}" for key, value in self.metadata.items())] if self.metadata else []
        return lines + [f"Note: {note}" for note in self.notes]


def score_persons(
    predicted: ArrayLike,
    persons: Sequence[Person],
    skeleton: Skeleton,
    protocol: Protocol,
    metadata: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """The report on predictions ``(N, K, 2)`` [image px, 0-based] of ``persons``, in the same order.

    Raises:
        DataError: There are no persons, the predictions do not fit them, or no person has a reference length.
        ConfigError: The protocol needs a torso that the keypoint set does not have.
    """
    errors, unknown = person_errors(predicted, persons, skeleton, protocol)
    if unknown:
        notes = [*notes, f"{unknown} persons without a {protocol.reference} size are left out."]
    return Report.from_distances(errors, skeleton, protocol, metadata, notes)


def person_errors(
    predicted: ArrayLike, persons: Sequence[Person], skeleton: Skeleton, protocol: Protocol
) -> tuple[Floats, int]:
    """Errors ``(N, K)`` in reference lengths, NaN where not counted, and how many persons have no reference length.

    Raises:
        DataError: As `score_persons`.
        ConfigError: The same.
    """
    if not persons:
        raise DataError("there are no persons to score: the split is empty")
    xy = np.stack([person.xy for person in persons])
    labelled = np.stack([person.labelled for person in persons])
    if protocol.reference == "torso":
        reference = torso_sizes(xy, skeleton)
    elif protocol.reference == "box":
        reference = box_sides(persons)
    else:
        reference = np.array([person.head_size for person in persons])
    unknown = int((~(np.isfinite(reference) & (reference > 0))).sum())
    if unknown == len(persons):
        raise DataError(
            f"none of the {unknown} persons has a {protocol.reference} size, so {protocol.label} means nothing; "
            f"MPII's head sizes are in valid.h5 beside the annotation, read with: pip install sadinet[h5]"
        )
    return distances(predicted, xy, labelled, reference), unknown


def _group_cells(group: Group) -> list[str]:
    scores = [*(part.percent for part in group.parts), group.mean]
    return [*(_number(value, 1) for value in scores), str(group.persons), str(group.count)]


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _number(value: float, digits: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
