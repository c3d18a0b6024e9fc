"""Which LLMs are held out for testing: a share of each quarter of the mean scores.

Only LLMs with a score in every benchmark can be test LLMs; all others are for training.
Source: Kipnis et al. (2025), metabench, and ``createDataPartition`` of R's caret.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from metabench_py.calibration.ordering import ORDERS, Order, sorted_names
from metabench_py.calibration.quantiles import quantiles
from metabench_py.errors import InputError, RUnavailableError
from metabench_py.irt.model import Floats

SplitRule = Literal["quarters", "original"]
Partitioner = Literal["caret", "base"]
SPLIT_RULES: tuple[SplitRule, ...] = get_args(SplitRule)
PARTITIONERS: tuple[Partitioner, ...] = get_args(Partitioner)

_BREAKS = 5


@dataclass(frozen=True)
class SplitOptions:
    """How test LLMs are drawn.

    Attributes
    ----------
    share
        Of each quarter of the common LLMs, rounded up.
    rule
        ``quarters``: needs no R, and depends on nothing but the scores, the names and the seed.
        ``original``: the LLMs that caret draws in R with this seed.
    order
        Order of the LLMs before the draw under ``original``: ``icu`` (what R's merge gives under
        most locales) or ``c`` (under ``LC_ALL=C``), see `sorted_names`.
    partitioner
        Who draws under ``original``: R's ``caret``, or ``base`` R, which draws the same.
    """

    share: float = 0.1
    seed: int = 1
    rule: SplitRule = "quarters"
    order: Order = "icu"
    partitioner: Partitioner = "caret"

    def __post_init__(self) -> None:
        for what, value, known in (
            ("Rule", self.rule, SPLIT_RULES),
            ("Order", self.order, ORDERS),
            ("Partitioner", self.partitioner, PARTITIONERS),
        ):
            if value not in known:
                raise InputError(f"{what} {value!r}: choose {', '.join(known)}.")
        if not 0 < self.share < 1:
            raise InputError(f"A share of {self.share:g} is not between 0 and 1.", option="share")
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}; give 0 or more.", option="seed")


@dataclass(frozen=True, eq=False)
class Split:
    """Training and test LLMs.

    Attributes
    ----------
    llms, test
        Every LLM in the order it was given, and whether it is held out; shape (n,).
    common
        LLMs with all scores, in the order in which they were drawn from.
    mean
        Their mean scores, shape (n_common,).
    breaks
        Ends of the quarters, in score points; equal ones are one.
    sizes, drawn
        LLMs in each quarter, and test LLMs of it.
    """

    llms: tuple[str, ...]
    test: NDArray[np.bool_]
    common: tuple[str, ...]
    mean: Floats
    breaks: Floats
    sizes: tuple[int, ...]
    drawn: tuple[int, ...]

    @property
    def test_llms(self) -> tuple[str, ...]:
        """Test LLMs in the order of `common`."""
        held = {name for name, out in zip(self.llms, self.test, strict=True) if out}
        return tuple(name for name in self.common if name in held)

    def to_dict(self, options: SplitOptions) -> dict[str, Any]:
        """For JSON."""
        return {
            "schema": 1,
            "stage": "split",
            "options": asdict(options),
            "llms": len(self.llms),
            "llms_common": len(self.common),
            "train": int((~self.test).sum()),
            "test": int(self.test.sum()),
            "quarters": [
                {"from": low, "to": high, "llms": size, "test": drawn}
                for low, high, size, drawn in zip(
                    self.breaks[:-1].tolist(), self.breaks[1:].tolist(), self.sizes, self.drawn,
                    strict=True,
                )
            ],
            "test_llms": list(self.test_llms),
        }  # fmt: skip


def split(
    llms: Sequence[str], scores: Mapping[str, Floats], options: SplitOptions | None = None
) -> Split:
    """Draw the test LLMs.

    The common LLMs are sorted by name and cut at the quartiles of their mean scores (R's type 7;
    a score at a cut belongs to the quarter below). Of each quarter the share, rounded up, is drawn
    without replacement: those with the smallest of uniform numbers, which one PCG64 generator gives
    through all quarters from the lowest; or by R.

    Parameters
    ----------
    llms
        Unique names, length n.
    scores
        By benchmark, shape (n,), NaN where an LLM lacks the benchmark.
    options
        None: the defaults.

    Raises
    ------
    InputError
        Too few LLMs are common, all of them score the same, or none is left for training.
    RUnavailableError
        The rule is ``original``, and R or caret is absent.
    """
    options = options or SplitOptions()
    if not scores:
        raise InputError("There are no scores to split by.")
    table = np.column_stack([np.asarray(column, np.float64) for column in scores.values()])
    position = {name: i for i, name in enumerate(llms)}
    whole = np.asarray(np.isfinite(table).all(axis=1))
    order: Order = options.order if options.rule == "original" else "c"
    common = sorted_names((name for name, full in zip(llms, whole, strict=True) if full), order)
    rows = np.array([position[name] for name in common], np.int64)
    mean = table[rows].mean(axis=1)
    if len(common) < 2 or np.ptp(mean) == 0:
        what = f"all have a mean of {mean[0]:g}" if len(common) > 1 else "two or more are needed"
        raise InputError(
            f"{len(common)} of {len(llms)} LLMs have a score in each of {', '.join(scores)}; "
            f"{what}. Names must be spelt alike in all benchmarks.",
            n_common=len(common),
        )
    breaks = np.unique(quantiles(mean, np.linspace(0, 1, min(_BREAKS, len(mean))).tolist()))
    # Each quarter holds its upper end; the lowest also its lower one.
    quarter = np.maximum(np.searchsorted(breaks, mean, side="left") - 1, 0)
    n_quarters = len(breaks) - 1
    if options.rule == "original":
        drawn = _by_r(mean, options)
    else:
        drawn = _by_numpy(quarter, n_quarters, options)
    test = np.zeros(len(llms), bool)
    test[rows[drawn]] = True
    if test[rows].all():
        raise InputError(
            f"All {len(common)} common LLMs would be test LLMs; take a smaller share.",
            n_common=len(common),
        )
    return Split(
        tuple(llms),
        test,
        tuple(common),
        mean,
        breaks,
        tuple(np.bincount(quarter, minlength=n_quarters).tolist()),
        tuple(np.bincount(quarter[drawn], minlength=n_quarters).tolist()),
    )


def _by_numpy(
    quarter: NDArray[np.int64], n_quarters: int, options: SplitOptions
) -> NDArray[np.int64]:
    generator = np.random.default_rng(options.seed)
    drawn = []
    for number in range(n_quarters):
        rows = np.flatnonzero(quarter == number)
        size = math.ceil(options.share * len(rows))
        # Raw uniform numbers: NumPy may change how it shuffles, not these.
        drawn.append(rows[np.argsort(generator.random(len(rows)), kind="stable")[:size]])
    return np.sort(np.concatenate(drawn))


def _by_r(mean: Floats, options: SplitOptions) -> NDArray[np.int64]:
    from metabench_py.rbridge.sampling import partition

    try:
        return partition(mean, options.share, options.seed, options.partitioner)
    except RUnavailableError as error:
        if error.facts.get("package") != "caret":
            raise
        raise RUnavailableError(
            f"{error} On Debian or Ubuntu also: apt-get install r-cran-caret. Or let R alone draw, "
            "which gives the same LLMs (partitioner base).",
            package="caret",
        ) from error
