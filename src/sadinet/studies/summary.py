"""What results of studies say: means and spread over seeds, differences paired by seed, and their intervals."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ..errors import ConfigError, DataError
from .tables import STUDIES, Row, Study

Result = dict[str, Any]


@dataclass(frozen=True)
class Summary:
    """A row of a table.

    Attributes:
        row: Which.
        seeds: With a score.
        diverged: How many trainings ended with a loss that is not finite.
        means: Per column, over the seeds [%]; NaN where there is none.
        spread: Standard deviation per column; NaN for one seed.
        difference: Of the mean column to the first row's, over the seeds that both have; NaN without.
        interval: Half the width of its 95 % confidence interval; NaN for fewer than two such seeds.
        pairs: How many seeds both have.
        parameters: Of the network that predicts.
        hours: Of all its trainings together.
    """

    row: Row
    seeds: tuple[int, ...]
    diverged: int
    means: dict[str, float]
    spread: dict[str, float]
    difference: float
    interval: float
    pairs: int
    parameters: int
    hours: float

    @property
    def verdict(self) -> str:
        """What the difference says."""
        if math.isnan(self.interval):
            return "one seed says nothing" if self.pairs else "no scores to compare"
        if self.difference == 0 and self.interval == 0:
            return "the same in every seed"
        if abs(self.difference) <= self.interval:
            return "not told apart"
        return "better" if self.difference > 0 else "worse"


def read_results(path: Path) -> list[Result]:
    """The lines of a ``results.jsonl``.

    Raises:
        DataError: If it cannot be read, or mixes studies, data sets or sizes.
    """
    try:
        results = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        kinds = {(r["study"], r["data"], "-".join(r["preset"].split("-")[:2])) for r in results}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"'{path}' does not hold results of a study: {error}") from error
    if len(kinds) != 1:
        raise DataError(f"'{path}' holds {len(kinds)} kinds of results, {sorted(kinds)}: one study, data and size each")
    return results


def summarize(study: Study, results: Sequence[Result]) -> list[Summary]:
    """A summary per row that has results, in the order of the study."""
    scores = {row.name: scores_by_seed(results, row.name) for row in study.rows}
    first = scores[study.rows[0].name]
    summaries = []
    for row in study.rows:
        own = [r for r in results if r["row"] == row.name]
        if not own:
            continue
        here = scores[row.name]
        columns = list(next(iter(here.values()), {"Mean": math.nan}))
        table = {c: np.array([_known(s[c]) for s in here.values()]) for c in columns}
        pairs = np.array([here[seed]["Mean"] - first[seed]["Mean"] for seed in here if seed in first])
        compared = row.name != study.rows[0].name and len(pairs) > 0
        difference = float(pairs.mean()) if compared else math.nan
        interval = half_interval(pairs) if compared else math.nan
        summaries.append(
            Summary(
                row,
                tuple(sorted(here)),
                sum(r["status"] == "diverged" for r in own),
                {c: float(v.mean()) if len(v) else math.nan for c, v in table.items()},
                {c: float(v.std(ddof=1)) if len(v) > 1 else math.nan for c, v in table.items()},
                difference,
                interval,
                len(pairs) if compared else 0,
                own[0]["parameters"],
                sum(r["hours"] for r in own if "from" not in r),
            )
        )
    return summaries


def half_interval(differences: Any) -> float:
    """Half the width of Student's 95 % confidence interval of the mean of ``differences``; NaN for fewer than two."""
    count = len(differences)
    if count < 2:
        return math.nan
    return float(stats.t.ppf(0.975, count - 1) * np.std(differences, ddof=1) / math.sqrt(count))


def scores_by_seed(results: Sequence[Result], row: str) -> dict[int, dict[str, float]]:
    """The columns of each seed of ``row`` that has a score [%]."""
    return {r["seed"]: r["scores"] for r in results if r["row"] == row and r["scores"] is not None}


def _known(value: float | None) -> float:
    return math.nan if value is None else float(value)


def study_of(results: Sequence[Result]) -> Study:
    """The study that the results are of; rows that it no longer has are appended by name.

    Raises:
        ConfigError: If there is no such study.
    """
    name = results[0]["study"]
    if name not in STUDIES:
        raise ConfigError(f"results of a study '{name}', which does not exist; there are: {', '.join(STUDIES)}")
    known = STUDIES[name]
    more = sorted({r["row"] for r in results} - {row.name for row in known.rows})
    rows = (*known.rows, *(Row(row, row) for row in more))
    return Study(known.name, known.title, known.question, rows, known.printed)
