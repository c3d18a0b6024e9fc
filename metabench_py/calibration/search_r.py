"""The original's optimiser: a Gaussian process by R's rBayesianOptimization."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metabench_py import rbridge
from metabench_py.calibration.search import MOST_PASSES, N_INITIAL, SearchSpace, Trial
from metabench_py.calibration.selector import Choice
from metabench_py.irt.model import Floats

PACKAGE = "rBayesianOptimization"
# The original's upper confidence bound.
_KAPPA, _EPS = 2.576, 0.0


@dataclass
class RBayesianOptimiser:
    """rBayesianOptimization, asked for one point at a time; the settings are the original's.

    Parameters
    ----------
    n_initial
        Random points to begin with.
    threshold
        Fixed at this; None: searched.

    Raises
    ------
    RUnavailableError
        R or rBayesianOptimization is absent.
    """

    space: SearchSpace
    seed: int
    n_initial: int = N_INITIAL
    threshold: float | None = None
    _trials: list[Trial] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        rbridge.require_package(PACKAGE)
        self._begin: Floats = rbridge.call(
            "search_begin", n=self.n_initial, seed=self.seed, **self._bounds()
        )

    def trials(self) -> list[Trial]:
        """Give the finished trials, in their order."""
        return list(self._trials)

    def propose(self) -> Choice:
        """Give the next choice: random ones first, then the Gaussian process's."""
        done = len(self._trials)
        if done < self.n_initial:
            return self._choice(self._begin[done])
        point = rbridge.call(
            "search_propose",
            history=np.array([self._point(trial.choice) for trial in self._trials]),
            values=np.array([-trial.objective for trial in self._trials]),
            kappa=_KAPPA,
            eps=_EPS,
            seed=self.seed + done,
            **self._bounds(),
        )
        return self._choice(point)

    def tell(self, trial: Trial) -> None:
        """Take the result of the choice that was proposed last."""
        self._trials.append(trial)

    def _axes(self) -> list[tuple[str, float, float, bool]]:
        """Name, bounds and wholeness of what may vary; from 1, as in R."""
        space = self.space
        axes: list[tuple[str, float, float, bool]] = [
            (name, 1, len(values), True)
            for name, values in (
                ("item_type", space.item_types),
                ("method", space.methods),
                ("grid", space.grids),
            )
            if len(values) > 1
        ]
        if space.budget:
            axes.append(("passes", 1, MOST_PASSES, True))
        elif self.threshold is None:
            axes.append(("threshold", 0.0, space.highest_threshold, False))
        return axes

    def _bounds(self) -> dict[str, Any]:
        axes = self._axes()
        return {
            "lower": np.array([axis[1] for axis in axes], dtype=np.float64),
            "upper": np.array([axis[2] for axis in axes], dtype=np.float64),
            "whole": np.array([axis[3] for axis in axes], dtype=np.bool_),
        }

    def _choice(self, point: Floats) -> Choice:
        at = {axis[0]: float(value) for axis, value in zip(self._axes(), point, strict=True)}
        space = self.space
        return Choice(
            item_type=space.item_types[round(at.get("item_type", 1)) - 1],
            method=space.methods[round(at.get("method", 1)) - 1],
            grid=space.grids[round(at.get("grid", 1)) - 1],
            threshold=at.get("threshold", self.threshold or 0.0),
            passes=round(at.get("passes", 1)),
        )

    def _point(self, choice: Choice) -> list[float]:
        space = self.space
        at: dict[str, float] = {
            "item_type": space.item_types.index(choice.item_type) + 1,
            "method": space.methods.index(choice.method) + 1,
            "grid": space.grids.index(choice.grid) + 1,
            "passes": choice.passes,
            "threshold": choice.threshold,
        }
        return [at[axis[0]] for axis in self._axes()]
