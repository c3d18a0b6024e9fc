"""When many statistics of simulated clean LLMs make one alarm, at a known rate."""

from __future__ import annotations

import math

import numpy as np

from metabench_py.irt.model import Floats


class AlarmRule:
    """Statistics of clean LLMs, shape (n, n_statistics), and what of them is an alarm."""

    def __init__(self, statistics: Floats, alarm_rate: float) -> None:
        self._sorted = np.sort(statistics, axis=0)
        self._n = len(statistics)
        self._least = np.sort(self.p_values(statistics, inside=True).min(axis=1))
        # The largest least p that at most so many clean LLMs reach.
        most = math.floor(alarm_rate * (self._n + 1)) - 1
        ties = np.searchsorted(self._least, np.unique(self._least), side="right")
        allowed = np.unique(self._least)[ties <= most]
        self.threshold = float(allowed[-1]) if allowed.size else 0.0

    def p_values(self, statistics: Floats, inside: bool = False) -> Floats:
        """One-sided p of each statistic, shape (m, n_statistics)."""
        above = np.empty(statistics.shape)
        for s in range(statistics.shape[1]):
            above[:, s] = self._n - np.searchsorted(
                self._sorted[:, s], statistics[:, s], side="left"
            )
        # One of the clean LLMs counts itself; any other is one more of n + 1.
        return (above + (0 if inside else 1)) / (self._n + 1)

    def overall(self, least: Floats) -> Floats:
        """Share of clean LLMs whose least p is as small."""
        reached = np.searchsorted(self._least, least, side="right")
        return np.asarray((reached + 1) / (self._n + 1), np.float64)

    def alarms(self, statistics: Floats) -> np.ndarray:
        """Tell which LLMs raise an alarm, shape (m,)."""
        return np.asarray(self.p_values(statistics).min(axis=1) <= self.threshold)


def wilson(n_hits: int, n: int) -> tuple[float, float, float]:
    """Give a share with its 95 % interval (Wilson 1927)."""
    z = 1.959964
    share = n_hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return share, max(0.0, centre - half), min(1.0, centre + half)
