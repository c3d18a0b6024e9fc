"""Accuracy of the second stages: the original's GAM against the stack, from the reference data.

Three tables: (1) the 464 published test LLMs, (2) grouped cross-validation on the LLMs that have
all six response matrices, (3) calibrations of few LLMs. The test LLMs are for a last look, not for
choosing: nothing may be tuned on what this prints, and whoever looks adds to TEST_LOOKS. Parts are
named on the command line (`test`, `groups`, `few`; all by default); about 25 minutes on two cores.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metabench_py.benchmarks import BENCHMARKS, TARGETS, Benchmark, Target
from metabench_py.bundle import load_bundle
from metabench_py.calibration.folds import organisation_folds, organisation_numbers
from metabench_py.compute import LocalPool, Task, run_tasks
from metabench_py.gam.features import join_features, target_features
from metabench_py.gam.jobs import GamJob, GamResult, run_job
from metabench_py.gam.linear import fit_linear, out_of_fold, subscore
from metabench_py.gam.mgcv import GamOptions, load_rds
from metabench_py.irt.engine import get_engine
from metabench_py.irt.model import Floats
from metabench_py.reconstruction.stages import first_stage
from metabench_py.stack.fit import StackFit, StackOptions, fit_stack
from metabench_py.stack.inputs import StackInputs

SHARED = Path(os.environ.get("METABENCH_SHARED", Path(__file__).parents[3] / "shared")) / "data"
# How often predictions of the stack for the 464 test LLMs were compared with their scores while it
# was developed, this script's run for the README included.
TEST_LOOKS = 6
FOLDS = 10
FEW = (100, 300, 1000)
REPEATS = 5
LEVEL = 0.9

Scores = dict[Target, Floats]


def main(parts: list[str]) -> None:
    """Print the tables that are asked for."""
    for name, part in (("test", on_test), ("groups", by_groups), ("few", of_few)):
        if not parts or name in parts:
            began = time.perf_counter()
            part()
            print(f"\n({name}: {time.perf_counter() - began:.0f} s)\n", flush=True)


def on_test() -> None:
    """Original and stack on the 464 published test LLMs."""
    published = pd.read_parquet(SHARED / "published" / "B" / "features.parquet")
    published = published.reset_index() if "name" not in published else published
    names = [str(name) for name in published["name"]]
    table = pd.read_parquet(SHARED / "llm-scores.parquet").set_index("name").loc[names]
    score: Scores = {t: table[t].to_numpy(np.float64) for t in TARGETS}
    train = (published["split"] == "train").to_numpy()
    theta, own, given = (
        {b: published[f"{b}{suffix}"].to_numpy(np.float64) for b in BENCHMARKS}
        for suffix in ("", ".s", ".l")
    )
    original = join_features(theta, given, own)
    linear = {
        b: np.where(train, left_out(b, names, train, given[b], score[b]), given[b])
        for b in BENCHMARKS
    }
    inputs = StackInputs(join_features(theta, linear, own), {})
    groups = organisation_numbers(names)
    known = {t: score[t][train] for t in TARGETS}
    with LocalPool(2) as pool:
        fit = fit_stack(inputs.rows(train), known, groups[train], executor=pool)
    stack = fit.stack.predict(inputs.rows(~train))
    gams = SHARED / "upstream" / "analysis" / "gams"
    gam = {
        t: load_rds(gams / f"gam-{t}-seed=1.rds", t).predict(
            {k: v[~train] for k, v in target_features(original, t).items()}
        )
        for t in TARGETS
    }
    truth = {t: score[t][~train] for t in TARGETS}
    print(f"RMSE on the {int((~train).sum())} test LLMs (their published features alone)\n")
    header()
    row("original GAM", gam, truth)
    row("stack", stack, truth)
    covered(stack, fit.stack.scale(inputs.rows(~train)), truth, quantiles(fit, known))
    print(f"\nThe stack's test errors were looked at {TEST_LOOKS} times in all.")


def left_out(
    benchmark: Benchmark, names: list[str], train: NDArray[np.bool_], given: Floats, score: Floats
) -> Floats:
    """Turn training LLMs' published linear predictors, in-sample, into leave-one-out ones.

    y - (y - l) / (1 - h), h being the LLM's leverage. A tenth of the LLMs have no published
    responses to a benchmark: they get the mean leverage, and the others' are estimated without
    them.
    """
    frame = pd.read_parquet(SHARED / "llm-responses" / "B" / f"{benchmark}.parquet").dropna()
    here = np.flatnonzero(train & pd.Index(names).isin(frame.index))
    responses = frame.loc[[names[i] for i in here]].to_numpy(np.float64)
    design = np.column_stack([np.ones(len(here)), responses])
    leverage = np.full(len(names), design.shape[1] / train.sum())
    # The published regression is on all training LLMs, so each one's leverage in it is less.
    share = len(here) / train.sum()
    leverage[here] = share * (np.linalg.qr(design)[0] ** 2).sum(axis=1)
    return score - (score - given) / (1.0 - leverage)


def quantiles(fit: StackFit, known: Mapping[Target, Floats]) -> dict[Target, float]:
    """Ratio of held-out error to held-out scale that 90 % of LLMs stay within."""
    found = {}
    for t in TARGETS:
        ratio = np.sort(np.abs(fit.held_out[t] - known[t]) / fit.held_out_scale[t])
        found[t] = float(ratio[min(int(np.ceil((len(ratio) + 1) * LEVEL)), len(ratio)) - 1])
    return found


def covered(
    predicted: Mapping[Target, Floats],
    scale: Mapping[Target, Floats],
    truth: Mapping[Target, Floats],
    ratio: Mapping[Target, float],
) -> None:
    """Print how many true scores normalised conformal intervals cover, and how wide they are."""
    inside = {t: np.abs(predicted[t] - truth[t]) <= ratio[t] * scale[t] for t in TARGETS}
    print(
        "| covered by 90 % | " + " | ".join(f"{100 * inside[t].mean():.1f} %" for t in TARGETS[1:]),
        end="",
    )
    print(f" | {100 * inside['grand'].mean():.1f} % |")
    print(
        "| mean width | "
        + " | ".join(f"{2 * np.mean(ratio[t] * scale[t]):.2f}" for t in TARGETS[1:]),
        end="",
    )
    print(f" | {2 * np.mean(ratio['grand'] * scale['grand']):.2f} |")


def by_groups() -> None:
    """Cross-validation with organisations held out: the original's recipe, ours, the stack."""
    llms = Calibration.load()
    n = len(llms.names)
    fold = organisation_folds(llms.names, FOLDS, 1)
    with LocalPool(2) as pool:
        original = original_recipe(llms, fold, pool)
        stack, widths = cross_validated_stack(llms, fold, pool)
    print(f"RMSE by {FOLDS}-fold cross-validation on {n} LLMs, organisations held out\n")
    header()
    row("original recipe (in-sample .l, GAM)", original, llms.scores)
    embedded_row()
    row("stack, with item responses", stack, llms.scores)
    covered(stack, widths, llms.scores, dict.fromkeys(TARGETS, 1.0))
    before, now = (
        float(np.sqrt(np.mean((predicted["grand"] - llms.scores["grand"]) ** 2)))
        for predicted in (original, stack)
    )
    print(f"\nGrand RMSE: {100 * (1 - now / before):.1f} % below the original recipe's.")


def original_recipe(llms: Calibration, fold: NDArray[np.int64], pool: Executor) -> Scores:
    """Predict each fold as the original does: training LLMs' linear predictors are in-sample.

    The folds keep the smoothing parameters of the fit on all LLMs.
    """
    every = np.ones(len(fold), dtype=bool)
    table = llms.table(every, llms.new_linear(every, every))
    sp: dict[Target, Floats] = {}

    def take_sp(result: GamResult, target: Target) -> None:
        sp[target] = np.asarray(result.fit.sp, np.float64)

    jobs = {t: GamJob(t, target_features(table, t), llms.scores[t]) for t in TARGETS}
    whole = [
        Task(t, run_job, (job,), functools.partial(take_sp, target=t)) for t, job in jobs.items()
    ]
    run_tasks(whole, pool)
    predicted = {t: np.zeros(len(fold)) for t in TARGETS}

    def take(result: GamResult, target: Target, out: NDArray[np.bool_]) -> None:
        predicted[target][out] = result.predicted

    tasks = []
    for k in range(FOLDS):
        out, rest = fold == k, fold != k
        train = llms.table(rest, llms.new_linear(rest, rest))
        test = llms.table(out, llms.new_linear(rest, out))
        for t in TARGETS:
            job = GamJob(
                t,
                target_features(train, t),
                llms.scores[t][rest],
                options=GamOptions(sp=sp[t]),
                predict=target_features(test, t),
            )
            tasks.append(
                Task(f"{t} {k}", run_job, (job,), functools.partial(take, target=t, out=out))
            )
    run_tasks(tasks, pool)
    return predicted


def cross_validated_stack(
    llms: Calibration, fold: NDArray[np.int64], pool: Executor
) -> tuple[Scores, Scores]:
    """Predict each fold by a stack that has seen nothing of it; also half widths of intervals."""
    predicted, widths = ({t: np.zeros(len(fold)) for t in TARGETS} for _ in range(2))
    for k in range(FOLDS):
        out, rest = fold == k, fold != k
        linear = {
            b: out_of_fold(llms.responses[b][rest], llms.scores[b][rest], fold[rest])
            for b in BENCHMARKS
        }
        known = llms.known(rest)
        fit = fit_stack(llms.inputs(rest, linear), known, llms.groups[rest], executor=pool)
        new = llms.inputs(out, llms.new_linear(rest, out))
        ratio, scale, found = quantiles(fit, known), fit.stack.scale(new), fit.stack.predict(new)
        for t in TARGETS:
            predicted[t][out], widths[t][out] = found[t], ratio[t] * scale[t]
        print(f"fold {k + 1}: {fit.report['seconds']} s", file=sys.stderr, flush=True)
    return predicted, widths


def embedded_row() -> None:
    """Print the errors that the embedded bundle holds of its GAMs, measured in the same way."""
    errors = pd.read_parquet(Path(load_bundle().path) / "errors.parquet")
    if "second_stage" in errors:
        errors = errors[errors["second_stage"] == "gam"]
    zero = {t: np.zeros(int((errors["target"] == t).sum())) for t in TARGETS}
    by = {t: errors.loc[errors["target"] == t, "error"].to_numpy(np.float64) for t in TARGETS}
    row("GAM of the embedded bundle (out-of-fold .l)", by, zero)


def of_few() -> None:
    """Calibrations of few LLMs, judged on the other LLMs."""
    llms = Calibration.load()
    print(f"Grand RMSE of the stack on other LLMs, mean (worst) of {REPEATS} random calibrations\n")
    print("| calibration LLMs | all other LLMs | those of other organisations |\n|---:|---:|---:|")
    with LocalPool(2) as pool:
        for n in FEW:
            found = np.array([few_llms(llms, n, repeat, pool) for repeat in range(REPEATS)])
            means, worst = found.mean(axis=0), found.max(axis=0)
            cells = (f"{mean:.3f} ({most:.3f})" for mean, most in zip(means, worst, strict=True))
            print(f"| {n} | {' | '.join(cells)} |", flush=True)


class Calibration:
    """LLMs with all six matrices; item parameters and abilities are the embedded bundle's."""

    def __init__(
        self,
        names: list[str],
        responses: dict[Benchmark, NDArray[np.int8]],
        theta: dict[Benchmark, Floats],
        scores: Scores,
    ) -> None:
        self.names, self.responses, self.theta, self.scores = names, responses, theta, scores
        self.groups = organisation_numbers(names)

    @classmethod
    def load(cls) -> Calibration:
        """Read the reference data."""
        models = load_bundle().benchmarks
        frames = {
            b: pd.read_parquet(SHARED / "llm-responses" / "B" / f"{b}.parquet") for b in BENCHMARKS
        }
        scores = pd.read_parquet(SHARED / "llm-scores.parquet").set_index("name")
        common = set(scores.index)
        for frame in frames.values():
            common &= set(frame.dropna().index)
        names = sorted(str(name) for name in common)
        responses = {
            b: frames[b].loc[names, list(models[b].parameters.items)].to_numpy(np.int8)
            for b in BENCHMARKS
        }
        stage = first_stage(responses, models, get_engine("native"))
        theta = {b: stage.abilities[b].theta for b in BENCHMARKS}
        return cls(
            names, responses, theta, {t: scores.loc[names, t].to_numpy(np.float64) for t in TARGETS}
        )

    def table(self, rows: NDArray[np.bool_], linear: dict[Benchmark, Floats]) -> dict[str, Floats]:
        """Join the features of some LLMs."""
        return join_features(
            {b: self.theta[b][rows] for b in BENCHMARKS},
            linear,
            {b: subscore(self.responses[b][rows]) for b in BENCHMARKS},
        )

    def inputs(self, rows: NDArray[np.bool_], linear: dict[Benchmark, Floats]) -> StackInputs:
        """Features and responses of some LLMs."""
        return StackInputs(
            self.table(rows, linear),
            {b: self.responses[b][rows].astype(np.float64) for b in BENCHMARKS},
        )

    def known(self, rows: NDArray[np.bool_]) -> Scores:
        """Scores of some LLMs."""
        return {t: self.scores[t][rows] for t in TARGETS}

    def new_linear(
        self, rest: NDArray[np.bool_], out: NDArray[np.bool_]
    ) -> dict[Benchmark, Floats]:
        """Linear predictors of LLMs, by models of the others."""
        return {
            b: fit_linear(self.responses[b][rest], self.scores[b][rest]).predict(
                self.responses[b][out]
            )
            for b in BENCHMARKS
        }


def few_llms(llms: Calibration, n: int, repeat: int, pool: Executor) -> tuple[float, float]:
    """Grand RMSE of a calibration of `n` random LLMs: on all others, and on new organisations'."""
    rng = np.random.default_rng([n, repeat])
    rest = np.zeros(len(llms.names), dtype=bool)
    rest[rng.permutation(len(rest))[:n]] = True
    names = [name for name, chosen in zip(llms.names, rest, strict=True) if chosen]
    fold = organisation_folds(names, FOLDS, 1)
    linear = {
        b: out_of_fold(llms.responses[b][rest], llms.scores[b][rest], fold) for b in BENCHMARKS
    }
    fit = fit_stack(
        llms.inputs(rest, linear),
        llms.known(rest),
        llms.groups[rest],
        StackOptions(seed=repeat + 1),
        executor=pool,
    )
    out = ~rest
    predicted = fit.stack.predict(llms.inputs(out, llms.new_linear(rest, out)))["grand"]
    square = (predicted - llms.scores["grand"][out]) ** 2
    strange = ~np.isin(llms.groups[out], llms.groups[rest])
    return float(np.sqrt(square.mean())), float(np.sqrt(square[strange].mean()))


def header() -> None:
    """Print the head of a table by target."""
    print("| | " + " | ".join(TARGETS[1:]) + " | grand (MAE) |")
    print("|---|" + "---:|" * len(TARGETS))


def row(name: str, predicted: Mapping[Target, Floats], truth: Mapping[Target, Floats]) -> None:
    """Print RMSE by target."""
    error = {t: predicted[t] - truth[t] for t in TARGETS}
    rmse = {t: float(np.sqrt(np.mean(error[t] ** 2))) for t in TARGETS}
    cells = " | ".join(f"{rmse[t]:.3f}" for t in TARGETS[1:])
    mae = float(np.mean(np.abs(error["grand"])))
    print(f"| {name} | {cells} | {rmse['grand']:.3f} ({mae:.3f}) |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
