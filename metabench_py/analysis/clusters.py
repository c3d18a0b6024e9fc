"""Items by clusters: k-means of item parameters, some items of each cluster, and what they tell.

For several numbers of clusters and item types, items are clustered by their parameters, drawn one a
cluster (round after round until there are enough), and a model is refitted to them; the choice that
gives validation LLMs' scores back best is judged on LLMs that had no part in it. Design:
``analysis/clustering.R`` of the original; here clusters, choice and refit never see the
organisations that they are judged on, and as many random or information-filtered items, and all
items, are judged beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metabench_py.analysis.kmeans import kmeans
from metabench_py.analysis.study_data import TEST, StudyData
from metabench_py.benchmarks import FitMode, ItemType, ScoreMethod
from metabench_py.calibration.folds import organisation_numbers
from metabench_py.calibration.information_filter import bin_maxima, filter_items, theta_grid
from metabench_py.calibration.recovery import ScoreErrors, recover, score_errors
from metabench_py.calibration.selector import finite_theta
from metabench_py.compute import Shared, Task, run_tasks
from metabench_py.errors import InputError
from metabench_py.gam.linear import fit_linear
from metabench_py.irt.engine import Engine, FitOptions, IrtFit
from metabench_py.irt.model import Floats, ItemParameters

Scaling = Literal["standard", "raw"]
Selection = Literal["clusters", "random", "information", "all"]
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)
_USUAL_CLUSTERS = (10, 15, 20, 25, 30)
_LEAST_ITEMS = 4
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ClusterOptions:
    """What is tried.

    Attributes
    ----------
    n_items
        To choose; None: half of the matrix's.
    clusters
        Numbers of clusters; empty: the original's 10, 15, ... 30 (as many as there are items).
    item_types, methods
        Models and ability estimates.
    scaling
        ``standard``: each parameter by its standard deviation; ``raw``: as the original.
    starts
        Of k-means (1 in the original).
    draws
        Random subsets beside the clustered ones.
    validation_share
        Of the LLMs that choose, by organisation.
    mode, max_cycles
        How models are fitted.
    seed
        Of clusters, draws and validation LLMs.
    """

    n_items: int | None = None
    clusters: tuple[int, ...] = ()
    item_types: tuple[ItemType, ...] = ("2PL", "3PL", "4PL")
    methods: tuple[ScoreMethod, ...] = ("EAP", "MAP")
    scaling: Scaling = "standard"
    starts: int = 25
    draws: int = 5
    validation_share: float = 0.1
    mode: FitMode = "converged"
    max_cycles: int = 1000
    seed: int = 1

    def __post_init__(self) -> None:
        if self.scaling not in SCALINGS:
            raise InputError(f"Scaling {self.scaling!r}: choose {', '.join(SCALINGS)}.")
        if not self.item_types or not self.methods:
            raise InputError("Give one item type and one score method or more.")
        if any(k < 2 for k in self.clusters):
            raise InputError(f"{min(self.clusters)} clusters: take 2 or more.")
        if self.starts < 1 or self.draws < 1:
            raise InputError("Starts of k-means and random subsets: 1 or more of each.")
        if not 0.0 < self.validation_share < 1.0:
            raise InputError(
                f"A validation share of {self.validation_share:g} is not between 0 and 1."
            )

    def size(self, data: StudyData) -> int:
        """Give the number of items to choose of a benchmark."""
        n = len(data.items)
        wanted = self.n_items if self.n_items is not None else n // 2
        if not _LEAST_ITEMS <= wanted < n:
            raise InputError(
                f"{data.benchmark}: choosing {wanted} of {n} items; take {_LEAST_ITEMS} to "
                f"{n - 1}.",
                benchmark=data.benchmark,
            )
        return wanted

    def numbers(self, data: StudyData) -> tuple[int, ...]:
        """Give the numbers of clusters to try for a benchmark."""
        n, size = len(data.items), self.size(data)
        tried = self.clusters or tuple(k for k in _USUAL_CLUSTERS if k <= size) or (size // 2,)
        if max(tried) > size:
            raise InputError(
                f"{data.benchmark}: {max(tried)} clusters for {size} of {n} items; a cluster gives "
                "one item or more.",
                benchmark=data.benchmark,
            )
        return tuple(sorted(set(tried)))


@dataclass(frozen=True)
class ClusterTrial:
    """A choice, and how far validation LLMs' scores were off, in points of 100."""

    n_clusters: int
    item_type: ItemType
    method: ScoreMethod
    rmse: float
    mae: float
    spearman: float | None


@dataclass(frozen=True)
class Judged:
    """A way to choose items.

    Attributes
    ----------
    held_out
        Errors on the LLMs of other organisations, over all folds; of ``random``, the mean of the
        draws' (then `spread` is the standard deviation of their RMSE).
    test
        On the test LLMs, by the choice on all training LLMs; None without.
    """

    selection: Selection
    held_out: ScoreErrors
    test: ScoreErrors | None
    spread: float | None = None


@dataclass(frozen=True, eq=False)
class ClusterStudy:
    """One benchmark.

    Attributes
    ----------
    n_items
        Chosen.
    trials
        Validation errors of every choice, mean over the folds.
    folds
        What each fold chose.
    best, items, label, parameters
        The choice on all training LLMs: which, its items in the order they were drawn, the cluster
        of every item of `parameters`.
    judged
        Clusters, random, information, all.
    """

    data: StudyData
    options: ClusterOptions
    n_items: int
    trials: tuple[ClusterTrial, ...]
    folds: tuple[ClusterTrial, ...]
    best: ClusterTrial
    items: tuple[str, ...]
    label: NDArray[np.int64]
    parameters: ItemParameters
    judged: tuple[Judged, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        number = dict(zip(self.parameters.items, self.label.tolist(), strict=True))
        return {
            **self.data.about(),
            "n_chosen": self.n_items,
            "scaling": self.options.scaling,
            "best": asdict(self.best),
            "items": [{"item": item, "cluster": number[item]} for item in self.items],
            "clusters": number,
            "trials": [asdict(one) for one in self.trials],
            "folds": [asdict(one) for one in self.folds],
            "recovery": [asdict(one) for one in self.judged],
        }


@dataclass(frozen=True, eq=False)
class ClusterFold:
    """What was chosen without a fold, and what that tells of every LLM.

    Attributes
    ----------
    chosen
        Columns, in the order they were drawn.
    theta, linear, predicted
        By the chosen items, of every LLM: ability, linear predictor, and the score by a spline of
        the ability; shape (n_llms,).
    rivals
        Ability and prediction of the LLMs held out by each other selection (and draw).
    """

    trials: tuple[ClusterTrial, ...]
    best: ClusterTrial
    chosen: NDArray[np.int64]
    label: NDArray[np.int64]
    parameters: ItemParameters
    theta: Floats
    linear: Floats
    predicted: Floats
    rivals: dict[tuple[Selection, int], tuple[Floats, Floats]]


def cluster_folds(
    data: Mapping[str, StudyData],
    options: ClusterOptions,
    given: Mapping[str, tuple[ItemParameters, ItemType]] | None = None,
    *,
    executor: Executor,
    progress: Progress | None = None,
) -> dict[str, dict[int, ClusterFold]]:
    """Choose without each fold in turn, and (-1) on all training LLMs.

    Parameters
    ----------
    given
        Item parameters to cluster by, and their model; None: fitted on the LLMs that choose.
        Parameters that were fitted elsewhere may have seen the LLMs held out.
    executor
        Runs one fold of one benchmark a call.

    Raises
    ------
    InputError
        Numbers of items or clusters do not fit the data, or an item has no parameters.
    ConvergenceError
        A model gives no usable numbers.
    """
    found: dict[str, dict[int, ClusterFold]] = {name: {} for name in data}
    total = sum(one.n_folds + 1 for one in data.values())
    tasks = []
    for name, one in data.items():
        options.numbers(one)
        known = None if given is None else (given[name][0].select(one.items), given[name][1])
        shared = Shared(one)
        for held in (TEST, *range(one.n_folds)):

            def done(value: ClusterFold, key: tuple[str, int] = (name, held)) -> None:
                found[key[0]][key[1]] = value
                if progress is not None:
                    progress(sum(map(len, found.values())), total)

            call = (shared, held, options, known)
            tasks.append(Task(f"{name}, fold {held + 1}", cluster_fold, call, done))
    run_tasks(tasks, executor)
    return found


def cluster_fold(
    shared: Shared[StudyData],
    held: int,
    options: ClusterOptions,
    given: tuple[ItemParameters, ItemType] | None,
) -> ClusterFold:
    """Choose without a fold and judge on it (a worker calls it)."""
    data = shared.value
    work = _Work(data, held, options)
    trials: list[ClusterTrial] = []
    best: tuple[ClusterTrial, NDArray[np.int64], NDArray[np.int64], ItemParameters] | None = None
    types = options.item_types if given is None else (given[1],)
    for number, item_type in enumerate(types):
        at = work.candidates
        parameters = (
            work.fit(work.learning, at, item_type).parameters
            if given is None
            else given[0].select([data.items[i] for i in at])
        )
        for k in options.numbers(data):
            label = kmeans(
                parameter_points(parameters, options.scaling), k, options.seed, options.starts
            ).label
            random = np.random.default_rng([options.seed, k, number, held + 1])
            columns = at[sample_items(label, work.size, random)]
            fit = work.fit(work.learning, columns, item_type)
            for method in options.methods:
                errors = work.validated(fit, columns, method)
                trial = ClusterTrial(k, item_type, method, errors.rmse, errors.mae, errors.spearman)
                trials.append(trial)
                if best is None or trial.rmse < best[0].rmse:
                    best = (trial, columns, label, parameters)
    assert best is not None
    trial, columns, label, parameters = best
    theta, predicted = work.recovered(columns, trial.item_type, trial.method)
    everyone, train = data.answers[:, np.sort(columns)], work.train
    linear = fit_linear(everyone[train], data.score[train]).predict(everyone)
    rivals: dict[tuple[Selection, int], tuple[Floats, Floats]] = {}
    subsets: dict[tuple[Selection, int], NDArray[np.int64]] = {
        ("information", 0): work.informative(parameters, trial.method),
        ("all", 0): np.arange(len(data.items)),
    }
    for draw in range(options.draws):
        generator = np.random.default_rng([options.seed, work.size, draw])
        subsets["random", draw] = np.sort(
            generator.choice(len(data.items), work.size, replace=False)
        )
    for key, some in subsets.items():
        ability, score = work.recovered(some, trial.item_type, trial.method)
        rivals[key] = ability[work.out], score[work.out]
    return ClusterFold(
        tuple(trials), trial, columns, label, parameters, theta, linear, predicted, rivals
    )


def parameter_points(parameters: ItemParameters, scaling: Scaling) -> Floats:
    """Slope, intercept and asymptotes of each item as a point, shape (n_items, 4)."""
    points = np.column_stack([parameters.a1, parameters.d, parameters.g, parameters.u])
    if scaling == "standard":
        spread = points.std(axis=0)
        points = points / np.where(spread > 0.0, spread, 1.0)
    return points


def sample_items(
    label: NDArray[np.int64], n: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Draw an item of each cluster, and again of those that are left, until there are `n`.

    Returns
    -------
    Positions in the order they were drawn, shape (n,).
    """
    left = {int(c): np.flatnonzero(label == c).tolist() for c in dict.fromkeys(label.tolist())}
    chosen: list[int] = []
    while len(chosen) < n and any(left.values()):
        for members in left.values():
            if members:
                chosen.append(members.pop(int(random.integers(len(members)))))
    return np.array(chosen[:n], np.int64)


class _Work:
    """Fits and judges for one fold."""

    def __init__(self, data: StudyData, held: int, options: ClusterOptions) -> None:
        from metabench_py.irt.native import NativeEngine

        self.data, self.options, self.size = data, options, options.size(data)
        self.engine: Engine = NativeEngine()
        self.train, self.out = data.training(held), data.fold == held
        self.validation = _validation(data, self.train, options, held)
        self.learning = self.train & ~self.validation
        seen = data.answers[self.learning]
        self.candidates = np.flatnonzero((seen == 1).any(axis=0) & (seen == 0).any(axis=0))
        if len(self.candidates) < self.size:
            raise InputError(
                f"{data.benchmark}: {len(self.candidates)} items vary among the LLMs that choose, "
                f"but {self.size} are to be chosen.",
                benchmark=data.benchmark,
            )

    def fit(
        self, mask: NDArray[np.bool_], columns: NDArray[np.int64], item_type: ItemType
    ) -> IrtFit:
        """Fit some items on some LLMs."""
        options = FitOptions(mode=self.options.mode, max_cycles=self.options.max_cycles)
        return self.engine.fit(self.data.matrix(mask, columns.tolist()), item_type, options)

    def theta(
        self,
        mask: NDArray[np.bool_],
        columns: NDArray[np.int64],
        parameters: ItemParameters,
        method: ScoreMethod,
    ) -> Floats:
        """Abilities of some LLMs by some items."""
        matrix = self.data.matrix(mask, columns.tolist())
        return finite_theta(self.engine, matrix, parameters, method, self.data.benchmark)

    def validated(
        self, fit: IrtFit, columns: NDArray[np.int64], method: ScoreMethod
    ) -> ScoreErrors:
        """Judge a fit on the validation LLMs."""
        data = self.data
        at, held = (
            self.theta(mask, columns, fit.parameters, method)
            for mask in (self.learning, self.validation)
        )
        found = recover({"theta": at}, data.score[self.learning], [{"theta": held}], data.benchmark)
        predicted = np.clip(found.predicted[0], 0.0, 100.0)
        return score_errors(data.score[self.validation], predicted, held)

    def recovered(
        self, columns: NDArray[np.int64], item_type: ItemType, method: ScoreMethod
    ) -> tuple[Floats, Floats]:
        """Refit on all LLMs but the fold; abilities and scores of everyone."""
        data = self.data
        fit = self.fit(self.train, columns, item_type)
        everyone = np.ones(len(data.llms), bool)
        theta = self.theta(everyone, columns, fit.parameters, method)
        found = recover(
            {"theta": theta[self.train]}, data.score[self.train], [{"theta": theta}], data.benchmark
        )
        return theta, np.clip(found.predicted[0], 0.0, 100.0)

    def informative(self, parameters: ItemParameters, method: ScoreMethod) -> NDArray[np.int64]:
        """As many items by the information filter, by the same parameters."""
        theta = self.theta(self.learning, self.candidates, parameters, method)
        maxima = bin_maxima(parameters, theta_grid(theta, "quantiles", self.size), self.size)
        return np.sort(self.candidates[filter_items(maxima, budget=self.size)])


def _validation(
    data: StudyData, train: NDArray[np.bool_], options: ClusterOptions, held: int
) -> NDArray[np.bool_]:
    """Organisations at random until they hold the share."""
    groups = organisation_numbers(data.llms)
    order = np.unique(groups[train])
    np.random.default_rng([options.seed, 7, held + 1]).shuffle(order)
    size = np.array([int((groups[train] == one).sum()) for one in order])
    needed = options.validation_share * int(train.sum())
    n = int(np.searchsorted(np.cumsum(size), needed)) + 1
    chosen: NDArray[np.bool_] = train & np.isin(groups, order[:n])
    if n >= len(order) or int(chosen.sum()) < 2:
        raise InputError(
            f"{data.benchmark}: {len(order)} organisations do not part into LLMs that choose and "
            "LLMs that validate; take fewer folds, or name the LLMs organisation/model.",
            benchmark=data.benchmark,
        )
    return chosen


def judge_clusters(
    data: StudyData, options: ClusterOptions, folds: Mapping[int, ClusterFold]
) -> ClusterStudy:
    """Put a benchmark's folds together."""
    whole, train, test = folds[TEST], data.training(TEST), data.fold == TEST

    def judged(key: tuple[Selection, int] | None) -> tuple[ScoreErrors, ScoreErrors | None]:
        theta, predicted = np.full(len(data.llms), np.nan), np.full(len(data.llms), np.nan)
        for held in range(data.n_folds):
            out, one = data.fold == held, folds[held]
            pair = (one.theta[out], one.predicted[out]) if key is None else one.rivals[key]
            theta[out], predicted[out] = pair
        errors = score_errors(data.score[train], predicted[train], theta[train])
        if not data.n_test:
            return errors, None
        at, ahead = (whole.theta[test], whole.predicted[test]) if key is None else whole.rivals[key]
        return errors, score_errors(data.score[test], ahead, at)

    draws = [judged(("random", draw)) for draw in range(options.draws)]
    keys = list(dict.fromkeys((t.n_clusters, t.item_type, t.method) for t in whole.trials))
    trials = []
    for key in keys:
        same = [
            t
            for one in folds.values()
            for t in one.trials
            if (t.n_clusters, t.item_type, t.method) == key
        ]
        ranks = [t.spearman for t in same if t.spearman is not None]
        trials.append(
            ClusterTrial(
                *key,
                float(np.mean([t.rmse for t in same])),
                float(np.mean([t.mae for t in same])),
                float(np.mean(ranks)) if ranks else None,
            )
        )
    tests = [one for _, one in draws if one is not None]
    return ClusterStudy(
        data,
        options,
        len(whole.chosen),
        tuple(trials),
        tuple(folds[held].best for held in range(data.n_folds)),
        whole.best,
        tuple(data.items[i] for i in whole.chosen),
        whole.label,
        whole.parameters,
        (
            Judged("clusters", *judged(None)),
            Judged(
                "random",
                _mean([one for one, _ in draws]),
                _mean(tests) if tests else None,
                float(np.std([one.rmse for one, _ in draws])),
            ),
            Judged("information", *judged(("information", 0))),
            Judged("all", *judged(("all", 0))),
        ),
    )


def _mean(errors: list[ScoreErrors]) -> ScoreErrors:
    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    return ScoreErrors(
        mae=float(np.mean([one.mae for one in errors])),
        upper=mean([one.upper for one in errors]),
        rmse=float(np.mean([one.rmse for one in errors])),
        sse=float(np.mean([one.sse for one in errors])),
        spearman=mean([one.spearman for one in errors]),
        n=errors[0].n,
    )
