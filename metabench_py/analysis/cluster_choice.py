"""Items drawn from clusters of their parameters without a fold, and what they tell of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metabench_py.analysis.kmeans import kmeans
from metabench_py.analysis.study_data import StudyData
from metabench_py.benchmarks import FitMode, ItemType, ScoreMethod
from metabench_py.calibration.folds import organisation_numbers
from metabench_py.calibration.information_filter import bin_maxima, filter_items, theta_grid
from metabench_py.calibration.recovery import ScoreErrors, recover, score_errors
from metabench_py.calibration.selector import finite_theta
from metabench_py.compute import Shared
from metabench_py.errors import InputError
from metabench_py.gam.linear import fit_linear
from metabench_py.irt.engine import Engine, FitOptions, IrtFit
from metabench_py.irt.model import Floats, ItemParameters

Scaling = Literal["standard", "raw"]
Selection = Literal["clusters", "random", "information", "all"]
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)
_USUAL_CLUSTERS = (10, 15, 20, 25, 30)
_LEAST_ITEMS = 4


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
                "one item or more, so take fewer clusters or more items.",
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
                f"but {self.size} are to be chosen; take fewer.",
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
