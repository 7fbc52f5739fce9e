"""How long the stages of a prediction take."""

import time
from collections.abc import Mapping


class Clock:
    """Milliseconds by stage, since it was made or last stopped.

    Args:
        ms: What is known already.

    Attributes:
        ms: What each stage took [ms].
    """

    def __init__(self, ms: Mapping[str, float] | None = None) -> None:
        self.ms: dict[str, float] = dict(ms or {})
        self._last = time.perf_counter()

    def stop(self, stage: str) -> float:
        """Adds the time since the last stop to ``stage`` and returns it [ms]."""
        now = time.perf_counter()
        elapsed = 1000 * (now - self._last)
        self._last = now
        self.ms[stage] = self.ms.get(stage, 0.0) + elapsed
        return elapsed


def total(*parts: Mapping[str, float]) -> dict[str, float]:
    """The sum of several, stage by stage."""
    summed: dict[str, float] = {}
    for part in parts:
        for stage, ms in part.items():
            summed[stage] = summed.get(stage, 0.0) + ms
    return summed
