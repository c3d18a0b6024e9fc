"""Makes a bundle of the original's released .rds files, through R but without mirt."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from metabench_py.benchmarks import (
    BENCHMARKS,
    REDUCTIONS,
    TARGETS,
    UPSTREAM_METRIC,
    Benchmark,
    Target,
    Version,
)
from metabench_py.bundle.folder import MANIFEST
from metabench_py.bundle.released import released_files
from metabench_py.bundle.schema import BenchmarkModel, BundleDraft, ErrorTable, StoredStage
from metabench_py.bundle.trust import Upstream, upstream_files, vouch_released
from metabench_py.bundle.write import write_bundle
from metabench_py.errors import BundleError, InputError, RError, StorageError
from metabench_py.gam import mgcv
from metabench_py.gam.features import feature_names
from metabench_py.gam.portable import PortableGam
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.rbridge import call, require_package

if TYPE_CHECKING:
    from metabench_py.rbridge import RObject

Progress = Callable[[str, int, int], None]

LICENCE = "CC BY-NC-SA 4.0"
_LEVELS = np.linspace(0.0, 1.0, 201)


@dataclass(frozen=True, eq=False)
class _SecondStage:
    model: RObject
    gam: PortableGam
    errors: ErrorTable
    population: Floats | None
    # Largest difference between the portable fit and the released test predictions.
    deviation: float


def import_upstream(
    source: Path,
    version: Version,
    out: Path,
    *,
    trust: bool = False,
    replace: bool = False,
    upstream: Upstream | None = None,
    progress: Progress | None = None,
) -> Path:
    """Make a bundle of the released files in ``source/analysis``.

    The numbers stay the original's: refitted item parameters, linear models, GAMs, and errors
    on its test LLMs. The metric is what the original's reconstruction reads from the logs.

    Parameters
    ----------
    source
        Folder that holds ``analysis/reduced``, ``analysis/lms`` and ``analysis/gams``.
    trust
        Vouch for files that are not the pinned ones (made again with the original's scripts).
    upstream
        The pins; the package's list if left out.
    progress
        Called with path, running number and total before each file is read.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    BundleError
        Files are missing (all are listed) or do not hold what the original's do.
    TrustError
        A file is not the pinned one and `trust` is False; R has read nothing then.
    RUnavailableError
        R or mgcv is absent.
    """
    source, out = Path(source), Path(out)
    released = released_files(version)
    _check_there(source, released.paths)
    if out.exists() and not (replace and (out / MANIFEST).is_file()):
        raise StorageError(
            f"{out} exists already; choose another folder, or --replace to renew a bundle there.",
            path=str(out),
        )
    unpinned = vouch_released(source, released.paths, trust, upstream)
    require_package("mgcv")
    steps = _Steps(source, len(released.paths), progress)
    first = {
        b: _first_stage(steps, b, version, released.reduced[b], released.lms[b]) for b in BENCHMARKS
    }
    second = {t: _second_stage(steps, t, released.gams[t]) for t in TARGETS}
    population = {t: s.population for t, s in second.items() if s.population is not None}
    scratch = Path(tempfile.mkdtemp(prefix="metabench-import-"))
    try:
        rds = {t: scratch / f"{t}.rds" for t in TARGETS}
        for target, stage in second.items():
            mgcv.save_stripped(stage.model, rds[target])
        draft = BundleDraft(
            name=f"metabench-upstream-{version}",
            version=version,
            licence=LICENCE,
            provenance=_provenance(version, upstream or upstream_files(), unpinned, second),
            benchmarks=first,
            stages={
                "gam": StoredStage(
                    fit="gam",
                    model={t: s.gam for t, s in second.items()},
                    errors={t: s.errors for t, s in second.items()},
                )
            },
            errors_kind="test-set",
            rds=rds,
            population=population,
            population_levels=_LEVELS if population else np.empty(0),
        )
        return write_bundle(draft, out, replace=replace)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Steps:
    """Reads the files one by one, says so, and names the file when R objects."""

    def __init__(self, source: Path, total: int, progress: Progress | None) -> None:
        self._source, self._total, self._progress = source, total, progress
        self._number = 0

    def read(self, path: str) -> RObject:
        self._number += 1
        if self._progress is not None:
            self._progress(path, self._number, self._total)
        file = str(self._source / path)
        return cast("RObject", self._call("upstream_read", path, path=file))

    def ask(self, function: str, path: str, fit: RObject) -> Any:
        return self._call(function, path, fit=fit)

    def _call(self, function: str, file: str, **arguments: Any) -> Any:
        try:
            with warnings.catch_warnings():
                # What R warns of here (a truncated file) is in the error too.
                warnings.simplefilter("ignore", RuntimeWarning)
                return call(function, **arguments)
        except RError as error:
            self.fail(file, f"not what the original released ({error.facts.get('r_message')})")

    def fail(self, path: str, what: str) -> NoReturn:
        file = self._source / path
        raise BundleError(f"{file}: {what}. Get the file again (bundle pull).", file=str(file))


def _check_there(source: Path, paths: tuple[str, ...]) -> None:
    if not source.is_dir():
        raise BundleError(f"{source}: no such folder.", path=str(source))
    missing = [path for path in paths if not (source / path).is_file()]
    if not missing:
        return
    hint = "Get them with: metabench-py bundle pull"
    if not (source / "analysis").is_dir():
        hint = "The folder must hold analysis/, as the original's repository does"
    listed = "".join(f"\n  {path}" for path in missing)
    raise BundleError(
        f"{source}: {len(missing)} of {len(paths)} released files are missing. {hint}.{listed}",
        path=str(source),
        missing=missing,
    )


def _first_stage(
    steps: _Steps, benchmark: Benchmark, version: Version, reduced: str, linear: str
) -> BenchmarkModel:
    about = REDUCTIONS[version][benchmark]
    irt = steps.ask("upstream_items", reduced, steps.read(reduced))
    if list(irt["item_type"]) != [about.item_type]:
        steps.fail(reduced, f"the model is {irt['item_type']}, not {about.item_type}")
    items = tuple(irt["item"])
    try:
        parameters = ItemParameters(items, *(irt[name] for name in ("a1", "d", "g", "u")))
    except InputError as error:
        steps.fail(reduced, str(error).rstrip("."))
    lm = steps.ask("upstream_linear", linear, steps.read(linear))
    weight = dict(zip(lm["item"], lm["weight"], strict=True))
    if len(weight) != len(lm["item"]) or set(weight) != set(items):
        odd = sorted(set(weight) ^ set(items))
        steps.fail(
            linear, f"its items are not those of {reduced}, for instance {odd[:1] or 'doubles'}"
        )
    return BenchmarkModel(
        benchmark=benchmark,
        item_type=about.item_type,
        score_method=about.score_method,
        metric=UPSTREAM_METRIC[benchmark],
        parameters=parameters,
        intercept=float(lm["intercept"][0]),
        weights=np.array([weight[item] for item in items], dtype=np.float64),
        fit={
            "engine": "mirt",
            "mode": "mirt-path",
            "log_likelihood": float(irt["log_likelihood"][0]),
            "iterations": int(irt["iterations"][0]),
            "converged": bool(irt["converged"][0]),
            "n_llms": int(irt["n_llms"][0]),
            "n_llms_linear": int(lm["n_llms"][0]),
        },
    )


def _second_stage(steps: _Steps, target: Target, path: str) -> _SecondStage:
    fit = steps.read(path)
    model = cast("RObject", steps.ask("upstream_gam_model", path, fit))
    tables = steps.ask("upstream_gam_errors", path, fit)
    predicted = np.array(tables["predicted"], dtype=np.float64)
    try:
        gam = mgcv.export(model, target)
    except RError as error:
        steps.fail(path, f"its GAM cannot be exported ({error})")
    features = {
        name: np.array(tables["features"][name], dtype=np.float64) for name in feature_names(target)
    }
    scores = np.array(tables["score"], dtype=np.float64)
    return _SecondStage(
        model=model,
        gam=gam,
        errors=ErrorTable(predicted, np.array(tables["error"], dtype=np.float64)),
        population=np.quantile(scores, _LEVELS) if scores.size else None,
        deviation=float(np.abs(gam.predict(features) - predicted).max()),
    )


def _provenance(
    version: Version,
    upstream: Upstream,
    unpinned: list[str],
    second: dict[Target, _SecondStage],
) -> dict[str, Any]:
    return {
        "source": f"released files of https://github.com/{upstream.repository}, version {version}",
        "commit": upstream.commit,
        "not_pinned": unpinned,
        "linear_predictor": "lm of the full score on the responses, as released",
        "sub_score": (
            "Reconstruction divides by the number of items d, as the original's script does; "
            "the released GAMs were trained on sub-scores divided by d + 1."
        ),
        "errors": "the released GAMs' errors on the original's test LLMs",
        "test_prediction_deviation": {t: s.deviation for t, s in second.items()},
    }
