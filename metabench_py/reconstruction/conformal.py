"""Prediction intervals from held-out errors: conformal, with a fitted scale and a local width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabench_py.bundle.schema import ErrorTable
from metabench_py.errors import InputError
from metabench_py.irt.model import Floats

DEFAULT_LEVEL = 0.9
# LLMs with near predictions that share a local width: at most, and at least where there are.
WINDOW_MOST = 200
WINDOW_LEAST = 30
# A window is at most this share of the LLMs, so that few LLMs still tell regions apart.
WINDOW_SHARE = 1 / 12
ANCHORS = 65
# Errors beyond this quantile do not widen the intervals around them any further.
CAP = 0.99
# Score points between anchors at least.
LEAST_GAP = 1e-6


@dataclass(frozen=True, eq=False)
class ConformalInterval:
    """Intervals prediction ± q(level) * width(prediction) * scale.

    Normalised cross-conformal prediction (Papadopoulos, Gammerman & Vovk 2008; Lei et al.
    2018; Vovk 2015): each held-out error is divided by the scale that the second stage told for
    this LLM beforehand (1 for one that tells none) and by a local width, and q is the
    finite-sample quantile of these ratios. The width is the mean ratio of absolute error to
    scale of the LLMs with the nearest predictions, where an LLM's own error is left out of its
    own width.

    The errors must come from organisation-grouped folds. LLMs of one organisation resemble
    each other, and with their siblings in the fit errors would be too small for the LLM of
    a newcomer. Every LLM counts alike: the coverage is that of a random LLM, not of a
    random organisation.

    Attributes
    ----------
    anchors
        Predictions at which the width is known, ascending, shape (n_anchors,), score points.
    widths
        Mean absolute error by scale there, shape (n_anchors,); score points where the scale
        is 1.
    ratios
        Absolute error by local width and scale, ascending, shape (n_llms,).
    """

    anchors: Floats
    widths: Floats
    ratios: Floats

    @classmethod
    def from_errors(cls, errors: ErrorTable) -> ConformalInterval:
        """Calibrate on held-out errors; about a millisecond for 4,000 LLMs.

        Raises
        ------
        InputError
            There are no errors, or some are not finite.
        """
        predicted = np.asarray(errors.predicted, dtype=np.float64)
        absolute = np.abs(np.asarray(errors.error, dtype=np.float64))
        n = predicted.size
        if n == 0 or predicted.shape != absolute.shape or predicted.ndim != 1:
            raise InputError("Conformal intervals need held-out errors, one for each prediction.")
        if not (np.isfinite(predicted).all() and np.isfinite(absolute).all()):
            raise InputError("Conformal intervals need finite predictions and errors.")
        if errors.scale is not None:
            scale = np.asarray(errors.scale, dtype=np.float64)
            if scale.shape != (n,) or not (np.isfinite(scale) & (scale > 0.0)).all():
                raise InputError("Conformal intervals need a scale above 0, one an error.")
            absolute = absolute / scale
        # Ties in the prediction are ordered by error, so that the rows' order does not matter.
        order = np.lexsort((absolute, predicted))
        predicted, absolute = predicted[order], absolute[order]
        capped = np.minimum(absolute, np.quantile(absolute, CAP))
        window = min(n, max(WINDOW_LEAST, min(WINDOW_MOST, int(n * WINDOW_SHARE))))
        centre = np.unique(np.linspace(0, n - 1, ANCHORS).round().astype(np.intp))
        first = np.unique(np.clip(centre - window // 2, 0, n - window))
        anchors = _window_means(predicted, first, window)
        widths = _window_means(capped, first, window)
        # Windows of equal predictions have one width only.
        apart = np.append(True, np.diff(anchors) > LEAST_GAP)
        anchors, widths = anchors[apart], widths[apart]
        # Where errors vanish the width must not.
        floor = 1e-3 * float(absolute.mean()) or 1.0
        widths = np.maximum(widths, floor)
        own = np.interp(predicted, anchors, widths)
        if window > 1:
            own = np.maximum((window * own - capped) / (window - 1), floor)
        return cls(anchors, widths, np.sort(absolute / own))

    def interval(
        self, predicted: ArrayLike, level: float = DEFAULT_LEVEL, scale: ArrayLike = 1.0
    ) -> tuple[Floats, Floats]:
        """Give lower and upper bounds, each of the shape of `predicted`, not clipped to 0-100.

        Parameters
        ----------
        predicted
            Predicted scores; beyond the calibrated range the width is that of its end.
        level
            Share of LLMs whose true score is to lie inside, between 0 and 1. Where the
            errors are too few for it (fewer than level / (1 - level)), the widest ratio seen
            is taken.
        scale
            What the second stage tells for these LLMs.

        Raises
        ------
        InputError
            `level` is not between 0 and 1.
        """
        centre = np.asarray(predicted, dtype=np.float64)
        half = self.quantile(level) * self.width(centre) * np.asarray(scale, dtype=np.float64)
        return centre - half, centre + half

    def width(self, predicted: ArrayLike) -> Floats:
        """Local width at these predictions, of their shape."""
        width: Floats = np.interp(
            np.asarray(predicted, dtype=np.float64), self.anchors, self.widths
        )
        return width

    def quantile(self, level: float) -> float:
        """Ratio of error to local width that a share `level` of new LLMs stays within."""
        if not 0.0 < level < 1.0:
            raise InputError(
                f"The level of an interval lies between 0 and 1 (90 % is 0.9), not {level:g}.",
                level=level,
            )
        n = self.ratios.size
        # The tolerance keeps 0.9 * 10 at rank 9 although the product rounds up.
        rank = int(np.ceil((n + 1) * level - 1e-9))
        return float(self.ratios[min(max(rank, 1), n) - 1])


def _window_means(values: Floats, first: NDArray[np.intp], window: int) -> Floats:
    """Mean of `window` successive values from each index of `first`."""
    windows = np.lib.stride_tricks.sliding_window_view(values, window)
    means: Floats = windows[first].mean(axis=1)
    return means
