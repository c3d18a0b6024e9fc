"""The search over item type, score method, grid and threshold.

Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) by default; the original's
rBayesianOptimization where R has it. Every proposal depends on the seed and the finished trials
alone, so a search that was interrupted goes on to the same end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

from metabench_py.benchmarks import ItemType, ScoreMethod
from metabench_py.calibration.information_filter import GRID_TYPES, GridType
from metabench_py.calibration.selector import Choice
from metabench_py.errors import InputError, MissingDependencyError

OptimiserName = Literal["optuna", "rBayesianOptimization"]
OPTIMISERS: tuple[OptimiserName, ...] = get_args(OptimiserName)
# The original's: 15 random points, 40 steps, thresholds up to 5.
N_INITIAL = 15
N_STEPS = 40
HIGHEST_THRESHOLD = 5.0
MOST_PASSES = 5


@dataclass(frozen=True)
class SearchSpace:
    """What may be chosen.

    Attributes
    ----------
    highest_threshold
        Thresholds go from 0 to this; ignored with a budget.
    budget
        Items are counted, so there is no threshold but a number of passes.
    """

    item_types: tuple[ItemType, ...] = ("2PL", "3PL", "4PL")
    methods: tuple[ScoreMethod, ...] = ("MAP", "EAPsum")
    grids: tuple[GridType, ...] = GRID_TYPES
    highest_threshold: float = HIGHEST_THRESHOLD
    budget: bool = False

    def __post_init__(self) -> None:
        if not (self.item_types and self.methods and self.grids):
            raise InputError("Give the search one item type, one score method and one grid.")

    def first(self) -> Choice:
        """Give the plainest choice, which is tried before all others."""
        return Choice(self.item_types[0], self.methods[0], self.grids[0], 0.0, 1)


@dataclass(frozen=True)
class Trial:
    """One evaluated choice."""

    choice: Choice
    objective: float
    n_items: int
    rmse: float | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            **asdict(self.choice),
            "objective": self.objective,
            "n_items": self.n_items,
            "rmse": self.rmse,
        }


Evaluate = Callable[[Choice], Trial]


class Optimiser(Protocol):
    """Proposes choices, given those that were tried."""

    def trials(self) -> list[Trial]:
        """Give the finished trials, in their order."""

    def propose(self) -> Choice:
        """Give the next choice."""

    def tell(self, trial: Trial) -> None:
        """Take the result of the choice that was proposed last."""


def search(
    optimiser: Optimiser,
    evaluate: Evaluate,
    n_trials: int,
    progress: Callable[[Trial, int], None] | None = None,
) -> list[Trial]:
    """Evaluate until there are so many trials; gives all, in their order."""
    if n_trials < 1:
        raise InputError(f"{n_trials} evaluations are too few; take 1 or more.")
    while (done := len(optimiser.trials())) < n_trials:
        trial = evaluate(optimiser.propose())
        optimiser.tell(trial)
        if progress is not None:
            progress(trial, done + 1)
    return optimiser.trials()[:n_trials]


def best(trials: Sequence[Trial]) -> Trial:
    """Give the trial of the smallest objective; of equals the first."""
    return min(trials, key=lambda trial: trial.objective)


@dataclass
class OptunaOptimiser:
    """Optuna's TPE.

    Parameters
    ----------
    storage
        File of Optuna's storage (SQLite), for resuming; None: in memory.
    name
        Name of the study: another one (of other data or settings) begins anew.
    threshold
        Fixed at this; None: searched.

    Raises
    ------
    MissingDependencyError
        Optuna is absent.
    """

    space: SearchSpace
    seed: int
    storage: Path | None = None
    name: str = "select"
    n_initial: int = N_INITIAL
    threshold: float | None = None
    _study: Any = field(init=False, repr=False)
    _asked: Any = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        try:
            import optuna
        except ImportError as error:
            raise MissingDependencyError(
                "The search needs Optuna: pip install 'metabench-py[select]'. Without it, give "
                "one item type, method, grid and --threshold, or --penalty 0.",
                package="optuna",
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        url = None
        if self.storage is not None:
            self.storage.parent.mkdir(parents=True, exist_ok=True)
            url = f"sqlite:///{self.storage}"
        self._study = optuna.create_study(
            study_name=self.name, storage=url, load_if_exists=True, direction="minimize"
        )
        # What ran when the process was killed has no result.
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == optuna.trial.TrialState.RUNNING:
                self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def trials(self) -> list[Trial]:
        """Give the finished trials, in their order."""
        return [_from_json(trial.user_attrs["trial"]) for trial in self._complete()]

    def propose(self) -> Choice:
        """Give the next choice: the plainest first, then random ones, then the model's."""
        import optuna

        done = len(self._complete())
        space = self.space
        # A sampler of its own each time, or a resumed search would draw from the start again.
        self._study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=self.n_initial, seed=(self.seed * 100_003 + done) % 2**32
        )
        if done == 0:
            first = space.first()
            start: dict[str, Any] = {
                "item_type": first.item_type,
                "method": first.method,
                "grid": first.grid,
            }
            if space.budget:
                start["passes"] = first.passes
            elif self.threshold is None:
                start["threshold"] = first.threshold
            # A first trial that was cut off has failed and is asked for again.
            waiting = (optuna.trial.TrialState.WAITING,)
            if not self._study.get_trials(deepcopy=False, states=waiting):
                self._study.enqueue_trial(start)
        trial = self._asked = self._study.ask()
        return Choice(
            item_type=trial.suggest_categorical("item_type", space.item_types),
            method=trial.suggest_categorical("method", space.methods),
            grid=trial.suggest_categorical("grid", space.grids),
            threshold=self._threshold(trial),
            passes=trial.suggest_int("passes", 1, MOST_PASSES) if space.budget else 1,
        )

    def _threshold(self, trial: Any) -> float:
        if self.threshold is not None or self.space.budget:
            return self.threshold or 0.0
        return float(trial.suggest_float("threshold", 0.0, self.space.highest_threshold))

    def tell(self, trial: Trial) -> None:
        """Take the result of the choice that was proposed last."""
        self._asked.set_user_attr("trial", json.dumps(trial.to_dict()))
        self._study.tell(self._asked, trial.objective)

    def _complete(self) -> list[Any]:
        import optuna

        states = (optuna.trial.TrialState.COMPLETE,)
        return cast("list[Any]", self._study.get_trials(deepcopy=False, states=states))


def _from_json(text: str) -> Trial:
    value = json.loads(text)
    choice = Choice(**{key: value[key] for key in Choice.__dataclass_fields__})
    return Trial(choice, value["objective"], value["n_items"], value["rmse"])
