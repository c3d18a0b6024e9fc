"""Simulated LLMs of correlated abilities, and the GAMs of one of their scores.

LLMs have one ability a test, all correlated alike. The items of the first test also ask for the
other abilities, the more so the larger the *dependence*; each other test asks for its own alone.
The first test's score is reconstructed by a GAM of its own ability (separate) and by one of all
abilities (joint). Design: ``analysis/synergy.R`` of the original, where two tests are simulated.
There the splines go straight on beyond the training LLMs' abilities; one test LLM there can be
wrong by 100 points and outweigh all others, so that here the splines are flat there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metabench_py.benchmarks import FitMode
from metabench_py.calibration.recovery import ENOUGH_FOR_ADAPTIVE
from metabench_py.errors import ConvergenceError, InputError
from metabench_py.irt.engine import FitOptions
from metabench_py.irt.model import Floats
from metabench_py.responses import ResponseMatrix

GRID = tuple(round(0.1 * i, 1) for i in range(11))
# mirt's own limit of cycles.
_CYCLES = 500
_LARGEST_SLOPE = 3.0


@dataclass(frozen=True)
class SynergyOptions:
    """What is simulated.

    Attributes
    ----------
    correlations
        Of any two abilities, 0 to 1.
    dependences
        Weight of the other abilities in the first test's items, 0 to 1.
    seeds
        Each setting is simulated once with each; settings share the random numbers of a seed.
    n_llms, n_items, n_tests
        LLMs, items of a test, tests.
    seen
        Items of a test from which abilities are estimated, as a reduced benchmark has them; None:
        all, as the original.
    test_share
        LLMs that are held out.
    mode
        How item parameters are fitted, see `FitOptions`.
    """

    correlations: tuple[float, ...] = GRID
    dependences: tuple[float, ...] = GRID
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    n_llms: int = 500
    n_items: int = 100
    n_tests: int = 2
    seen: int | None = None
    test_share: float = 0.1
    mode: FitMode = "mirt-path"

    def __post_init__(self) -> None:
        for what, values in (("correlation", self.correlations), ("dependence", self.dependences)):
            if not values or any(not 0.0 <= value <= 1.0 for value in values):
                raise InputError(f"Each {what} must be between 0 and 1: {_told(values)}.")
            if len(set(values)) < len(values):
                raise InputError(f"A {what} is given twice: {_told(values)}.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise InputError(f"Give seeds of 0 or more, each once, not {_told(self.seeds)}.")
        if self.n_tests < 2:
            raise InputError(f"{self.n_tests} test has nothing to join; take 2 or more.")
        if self.n_items < 5 or not 5 <= self.n_seen <= self.n_items:
            raise InputError(
                f"Abilities from {self.n_seen} of {self.n_items} items: take 5 or more, and no "
                "more than there are."
            )
        if not 0.0 < self.test_share < 1.0:
            raise InputError(f"A share of {self.test_share} of test LLMs is not between 0 and 1.")
        least = math.ceil(ENOUGH_FOR_ADAPTIVE * self.n_tests / (1.0 - self.test_share)) + 4
        if self.n_llms < least:
            raise InputError(
                f"{self.n_llms} LLMs are too few for a GAM of {self.n_tests} abilities; take "
                f"{least} or more.",
                n_llms=self.n_llms,
            )

    @property
    def n_seen(self) -> int:
        """Items that abilities are estimated from."""
        return self.n_items if self.seen is None else self.seen


@dataclass(frozen=True)
class SynergyRun:
    """One simulation: RMSE of the first test's score, in points of 100.

    Attributes
    ----------
    separate_train, separate_test
        Of the GAM of the test's own ability.
    joint_train, joint_test
        Of the GAM of all abilities.
    n_beyond
        Test LLMs with an ability beyond those of the training LLMs.
    message
        Why there are no errors (NaN); empty: there are.
    """

    correlation: float
    dependence: float
    seed: int
    separate_train: float
    separate_test: float
    joint_train: float
    joint_test: float
    n_beyond: int = 0
    message: str = ""

    @property
    def gain(self) -> float:
        """Separate less joint error on held-out LLMs: above 0, the other abilities help."""
        return self.separate_test - self.joint_test


@dataclass(frozen=True, eq=False)
class SynergyData:
    """What one simulation hands to the GAMs.

    Attributes
    ----------
    theta
        Estimated abilities by test (``theta.1``, ...), shape (n_llms,) each.
    score
        Of the first test, 0-100, shape (n_llms,).
    test
        Bool, shape (n_llms,): LLMs on which nothing is fitted.
    """

    theta: dict[str, Floats]
    score: Floats
    test: NDArray[np.bool_]

    def within(self) -> dict[str, Floats]:
        """Abilities, those beyond the training LLMs' put to the nearest of theirs."""
        return {
            name: np.clip(theta, theta[~self.test].min(), theta[~self.test].max())
            for name, theta in self.theta.items()
        }

    @property
    def n_beyond(self) -> int:
        """LLMs with an ability beyond those of the training LLMs."""
        within = self.within()
        return int(np.any([within[name] != self.theta[name] for name in within], axis=0).sum())


def simulate(
    options: SynergyOptions, correlation: float, dependence: float, seed: int
) -> SynergyRun:
    """Run one simulation (a worker calls it)."""
    try:
        data = synergy_data(options, correlation, dependence, seed)
        errors = synergy_errors(data)
    except ConvergenceError as error:
        none = math.nan
        return SynergyRun(correlation, dependence, seed, none, none, none, none, message=str(error))
    return SynergyRun(correlation, dependence, seed, *errors, n_beyond=data.n_beyond)


def synergy_data(
    options: SynergyOptions, correlation: float, dependence: float, seed: int
) -> SynergyData:
    """Draw answers, hold out LLMs, fit items on the others, and estimate all abilities.

    Items have slopes uniform on 0 to 3 for each ability, and standard normal intercepts. Item
    parameters are those of the training LLMs alone; the original's saw the test LLMs too.
    """
    # The same draws for every setting, so that settings differ by nothing else.
    random = np.random.default_rng([seed])
    n, tests = options.n_llms, options.n_tests
    common, own = random.standard_normal(n), random.standard_normal((n, tests))
    ability = math.sqrt(correlation) * common[:, None] + math.sqrt(1.0 - correlation) * own
    answers = []
    for test in range(tests):
        slopes = random.uniform(0.0, _LARGEST_SLOPE, (options.n_items, tests))
        intercepts = random.standard_normal(options.n_items)
        chances = random.uniform(size=(n, options.n_items))
        weights = np.full(tests, dependence if test == 0 else 0.0)
        weights[test] = 1.0
        logit = ability @ (slopes * weights).T + intercepts
        answers.append((chances < 1.0 / (1.0 + np.exp(-logit))).astype(np.int8))
    score: Floats = 100.0 * answers[0].mean(axis=1)
    held = _hold_out(score, options.test_share, random)
    seen = [values[:, : options.n_seen] for values in answers]
    return SynergyData(estimate_abilities(seen, ~held, options.mode), score, held)


def estimate_abilities(
    answers: Sequence[NDArray[np.int8]], learning: NDArray[np.bool_], mode: FitMode
) -> dict[str, Floats]:
    """Fit a 2PL model to each test's answers, and estimate the abilities of all LLMs (MAP).

    Parameters
    ----------
    answers
        0 and 1, one array a test, shape (n_llms, n_items).
    learning
        LLMs that the items are fitted on, shape (n_llms,).

    Returns
    -------
    dict
        ``theta.1``, ...: shape (n_llms,).
    """
    from metabench_py.irt.native import NativeEngine

    engine = NativeEngine()
    theta: dict[str, Floats] = {}
    for number, values in enumerate(answers, start=1):
        # An item that all of them answered alike determines nothing.
        some = values[:, np.ptp(values[learning], axis=0) > 0]
        llms = tuple(map(str, range(len(some))))
        everyone = ResponseMatrix(llms, tuple(map(str, range(some.shape[1]))), some)
        fit = engine.fit(
            everyone.rows(np.array(llms)[learning].tolist()), "2PL",
            FitOptions(mode=mode, max_cycles=_CYCLES),
        )  # fmt: skip
        theta[f"theta.{number}"] = engine.score(everyone, fit.parameters, "MAP").theta
    return theta


def synergy_errors(data: SynergyData) -> tuple[float, float, float, float]:
    """Fit both GAMs on the training LLMs: RMSE separate (train, test) and joint (train, test).

    Predictions are at `SynergyData.within`: what few LLMs stand at a spline's end say nothing of
    its slope beyond.

    Raises
    ------
    ConvergenceError
        The abilities do not determine a GAM.
    """
    from metabench_py.gam.adaptive import fit_adaptive
    from metabench_py.gam.additive import fit_additive

    train, test, theta = ~data.test, data.test, data.within()
    own = theta["theta.1"]
    separate = fit_adaptive(own[train], data.score[train]).predict(own)
    learned = {name: values[train] for name, values in theta.items()}
    joint = fit_additive(learned, data.score[train]).gam.predict(theta)

    def rmse(predicted: Floats, mask: NDArray[np.bool_]) -> float:
        return float(np.sqrt(np.mean((predicted[mask] - data.score[mask]) ** 2)))

    return rmse(separate, train), rmse(separate, test), rmse(joint, train), rmse(joint, test)


def _hold_out(score: Floats, share: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """Draw the share, rounded up, of each quarter of the scores."""
    held = np.zeros(len(score), dtype=bool)
    order = np.lexsort((random.uniform(size=len(score)), score))
    for quarter in np.array_split(order, 4):
        held[random.permutation(quarter)[: math.ceil(share * len(quarter))]] = True
    return held


def _told(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "none"
