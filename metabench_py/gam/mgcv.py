"""GAMs by R's mgcv: fit, predict, strip, save, load, export."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.errors import BundleError, InputError, RError, StorageError
from metabench_py.gam.portable import PortableGam, SplineTerm, feature_columns
from metabench_py.irt.model import Floats
from metabench_py.storage import atomic_path

RESPONSE = "score"
# mgcv parses the names as R code.
_R_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._]*")
Basis = Literal["ad", "ps"]
# Basis size of a term of the fast GAM.
FAST_BASIS = 30
# How far predict.gam and the exported splines may differ, relative to the largest value.
EXPORT_TOLERANCE = 1e-9


def term_order(target: str) -> tuple[str, ...]:
    """Predictors of a target's GAM in the original's order (it moves predictions by < 5e-7)."""
    own = () if target == "grand" else ("this.l", "this.s")
    return ("grand.l", "grand.s", *own, *BENCHMARKS)


@dataclass(frozen=True, eq=False)
class GamOptions:
    """How mgcv is to fit.

    Attributes
    ----------
    basis
        ``ad``, an adaptive P-spline, as the original; ``ps``, one penalty a term: faster.
    k
        Basis size of each term; None: mgcv's own (40 for ``ad``, 10 for ``ps``).
    sp
        Smoothing parameters, fixed (`GamFit.sp` of another fit); None: estimated.
    method
        mgcv's criterion; None: its own default, GCV.Cp for gam and fREML for bam.
    bam
        Use ``mgcv::bam``, for many LLMs.
    discrete
        With bam: fit on features rounded to a grid, much faster; predictions are not rounded.
    """

    basis: Basis = "ad"
    k: int | None = None
    sp: Floats | None = None
    method: str | None = None
    bam: bool = False
    discrete: bool = False

    @classmethod
    def fast(cls, k: int | None = None) -> GamOptions:
        """``bam(discrete = TRUE)`` with one penalty a term: seconds where ``ad`` takes minutes."""
        return cls(basis="ps", k=k or FAST_BASIS, bam=True, discrete=True)


@dataclass(frozen=True, eq=False)
class GamFit:
    """What is known of a fit.

    Attributes
    ----------
    target, predictors, n
        What was fitted on what, and the number of LLMs.
    edf
        Effective degrees of freedom, all terms and the intercept.
    gcv
        Value of the criterion at its minimum, and which one it was.
    deviance_explained
        Share, 0 to 1.
    scale
        Residual variance, in squared score points.
    sp
        Smoothing parameters, five a term for ``ad``.
    converged, iterations
        Of the search for smoothing parameters.
    seconds
        Time of the fit.
    mgcv
        Version.
    messages
        R's warnings.
    """

    target: str
    predictors: tuple[str, ...]
    n: int
    edf: float
    gcv: float
    criterion: str
    deviance_explained: float
    scale: float
    sp: Floats
    converged: bool
    iterations: int
    seconds: float
    mgcv: str
    messages: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, for a bundle's provenance (without the smoothing parameters)."""
        return {
            "engine": f"mgcv {self.mgcv}",
            "n_llms": self.n,
            "edf": self.edf,
            "criterion": self.criterion,
            "criterion_value": self.gcv,
            "deviance_explained": self.deviance_explained,
            "residual_variance": self.scale,
            "converged": self.converged,
            "iterations": self.iterations,
            "messages": list(self.messages),
        }


@dataclass(frozen=True, eq=False)
class MgcvPredictor:
    """A fit that stays in R, predicted by ``mgcv::predict.gam``; as `PortableGam` to callers.

    Attributes
    ----------
    handle
        The `metabench_py.rbridge.RObject` of the fit, in this process.
    features
        Names of the predictors.
    """

    target: str
    handle: Any
    features: tuple[str, ...]

    def predict(self, features: Mapping[str, ArrayLike]) -> Floats:
        """Predict scores, unclipped, shape (n,); see `PortableGam.predict`."""
        from metabench_py import rbridge

        columns = feature_columns(features, self.features, self.target)
        n = len(columns[0])
        if n == 0:
            return np.empty(0)
        finite = np.logical_and.reduce([np.isfinite(column) for column in columns])
        score = np.full(n, np.nan)
        if finite.any():
            data = {
                name: column[finite] for name, column in zip(self.features, columns, strict=True)
            }
            score[finite] = rbridge.call("gam_predict", fit=self.handle, data=data)
        return score


def fit_gam(
    features: Mapping[str, ArrayLike],
    score: ArrayLike,
    target: str,
    *,
    predictors: Sequence[str] | None = None,
    options: GamOptions | None = None,
) -> tuple[MgcvPredictor, GamFit]:
    """Fit score ~ s(feature) + ... in this process's R.

    Parameters
    ----------
    features
        One value an LLM, shape (n,) each; finite.
    score
        True scores (0-100), shape (n,); finite.
    predictors
        Which features, in which order; None: `term_order` of the target.

    Raises
    ------
    InputError
        A feature is absent, not finite or of another length.
    RUnavailableError, RError
        R or mgcv is absent; mgcv stops, for instance at fewer LLMs than coefficients.
    """
    from metabench_py import rbridge

    options = options or GamOptions()
    names = term_order(target) if predictors is None else tuple(predictors)
    data = _training_data(features, score, names, target)
    rbridge.require_package("mgcv")
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        handle = rbridge.call(
            "gam_fit",
            data=data,
            response=RESPONSE,
            predictors=list(names),
            basis=options.basis,
            k=options.k,
            sp=None if options.sp is None else np.asarray(options.sp, dtype=np.float64),
            method=options.method,
            bam=options.bam,
            discrete=options.discrete,
        )
    seconds = time.perf_counter() - start
    messages = tuple(str(warning.message) for warning in caught)
    known = rbridge.call("gam_describe", fit=handle)
    fit = GamFit(
        target=target,
        predictors=names,
        n=int(known["n"][0]),
        edf=float(known["edf"][0]),
        gcv=float(known["gcv"][0]),
        criterion=known["criterion"][0],
        deviance_explained=float(known["deviance_explained"][0]),
        scale=float(known["scale"][0]),
        sp=known["sp"],
        converged=bool(known["converged"][0]),
        iterations=int(known["iterations"][0]),
        seconds=seconds,
        mgcv=known["version"][0],
        messages=messages,
    )
    return MgcvPredictor(target, handle, names), fit


def _training_data(
    features: Mapping[str, ArrayLike], score: ArrayLike, names: tuple[str, ...], target: str
) -> dict[str, Floats]:
    odd = [name for name in names if not _R_NAME.fullmatch(name)]
    if RESPONSE in names or len(set(names)) != len(names) or not names or odd:
        raise InputError(
            f"The GAM of {target!r} needs distinct predictors with names of letters, digits, dots "
            f"and underscores, none called {RESPONSE!r}; it got {', '.join(map(repr, names))}.",
            target=target,
        )
    columns = feature_columns({**features, RESPONSE: score}, (RESPONSE, *names), target)
    data = dict(zip((RESPONSE, *names), columns, strict=True))
    for name, column in data.items():
        if not np.isfinite(column).all():
            row = int(np.argmin(np.isfinite(column)))
            raise InputError(
                f"The GAM of {target!r}: row {row + 1} of {name!r} is {column[row]}; "
                "leave out LLMs without finite features and scores.",
                target=target,
                feature=name,
                row=row,
            )
    return data


def export(handle: Any, target: str) -> PortableGam:
    """Turn a fit in R into portable splines, checked against ``predict.gam`` at 64 points.

    Parameters
    ----------
    handle
        `RObject` of a fit whose terms are cubic P-splines (``bs = "ad"`` or ``"ps"``) of one
        variable; a stripped one will do.

    Raises
    ------
    RError
        The fit has other terms, or a link.
    """
    from metabench_py import rbridge

    parts = rbridge.call("gam_export", fit=handle)
    terms = tuple(
        SplineTerm(term["feature"][0], term["knots"], term["coefficients"])
        for term in parts["terms"]
    )
    gam = PortableGam(target, float(parts["intercept"][0]), terms)
    expected = parts["predicted"]
    worst = float(np.abs(gam.predict(parts["probe"]) - expected).max())
    if not worst <= EXPORT_TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise RError(
            f"The exported splines of {target!r} differ from predict.gam by {worst:.2g}; this "
            "mgcv predicts P-splines in a way that is not known here. Please report its version.",
            function="gam_export",
            r_class=None,
            r_message=None,
        )
    return gam


def strip(handle: Any) -> Any:
    """Give a copy of the fit that predicts alike and holds nothing with a row an LLM."""
    from metabench_py import rbridge

    return rbridge.call("gam_strip", fit=handle)


def save_stripped(handle: Any, path: Path) -> None:
    """Strip a fit and save it as .rds (about 16 KB for the grand score), atomically."""
    from metabench_py import rbridge

    small = strip(handle)
    with atomic_path(path) as temporary:
        try:
            rbridge.call("gam_save", fit=small, path=str(temporary))
        except RError as error:
            raise StorageError(
                f"R cannot write {path}: {error}. Nothing was changed there.", path=str(path)
            ) from error


def load_rds(path: Path, target: str) -> MgcvPredictor:
    """Read a fit from .rds, stripped or in the original's list.

    R before 4.4 can run code that a crafted .rds carries; the caller has checked the hash.

    Raises
    ------
    BundleError
        The file is absent, unreadable, or holds no GAM.
    """
    from metabench_py import rbridge

    rbridge.require_package("mgcv")
    if not path.is_file():
        raise BundleError(f"{path} does not exist.", path=str(path.parent), file=path.name)
    try:
        with warnings.catch_warnings():
            # What R warns of here (a truncated file) is in the error too.
            warnings.simplefilter("ignore", RuntimeWarning)
            handle = rbridge.call("gam_load", path=str(path))
        features = tuple(rbridge.call("gam_features", fit=handle))
    except RError as error:
        raise BundleError(
            f"{path} is not a GAM that R can read: {error}. Get the bundle again.",
            path=str(path.parent),
            file=path.name,
        ) from error
    return MgcvPredictor(target, handle, features)
