"""Functions that tests give to workers."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np

from metabench_py.compute import Shared
from metabench_py.errors import InputError


def draw(seed: int, n: int = 5) -> np.ndarray:
    """Numbers that the seed alone decides; through BLAS, so that its threads would show."""
    random = np.random.default_rng(seed)
    a = random.normal(size=(40, n))
    result: np.ndarray = np.linalg.solve(a.T @ a, a.T @ random.normal(size=40))
    return result


def sum_of(shared: Shared[np.ndarray], seed: int) -> float:
    """Sum of a random row of a shared matrix."""
    value = shared.value
    return float(value[np.random.default_rng(seed).integers(len(value))].sum())


def refuse(number: int) -> int:
    """Raise one of our errors for odd numbers."""
    if number % 2:
        raise InputError(f"{number} is odd.", number=number)
    return number


def warn(number: int) -> int:
    warnings.warn(f"number {number}", RuntimeWarning, stacklevel=1)
    return number


def pid(seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return os.getpid()


def die_once(marker: Path, value: int) -> int:
    """Kill this process, as the system does when memory is short, unless it was done before."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def slow_draw(seed: int, seconds: float, folder: Path) -> list[float]:
    """Take some time, and note in a folder that this was done once more."""
    with (folder / f"{seed}").open("a") as stream:
        stream.write("x")
    time.sleep(seconds)
    return [float(x) for x in draw(seed)]


def threads_seen() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS")}


def r_draw(seed: int) -> list[float]:
    """Fit a GAM in R on simulated numbers: R and mgcv in a worker."""
    from metabench_py.gam.mgcv import GamOptions, fit_gam

    random = np.random.default_rng(seed)
    x = random.uniform(size=60)
    y = 100 * (np.sin(3 * x) + 0.1 * random.normal(size=60))
    predictor, _ = fit_gam({"x": x}, y, "grand", predictors=("x",), options=GamOptions(k=8))
    return [float(v) for v in predictor.predict({"x": x})]


def timed_draw(seed: int, seconds: float) -> list[float]:
    time.sleep(seconds)
    return [float(x) for x in draw(seed)]
