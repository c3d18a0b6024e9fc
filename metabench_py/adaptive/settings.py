"""How an adaptive test begins, chooses, estimates and ends."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from metabench_py.errors import InputError
from metabench_py.irt.native.quadrature import LIMIT

Criterion = Literal["MFI", "KL", "KLP", "MEI", "random"]
Estimator = Literal["MAP", "EAP", "WLE"]
Exposure = Literal["none", "randomesque", "progressive", "sympson-hetter"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
EXPOSURES: tuple[Exposure, ...] = get_args(Exposure)


@dataclass(frozen=True)
class CatSettings:
    """Rules of one adaptive test.

    Attributes
    ----------
    criterion
        ``MFI``: maximum Fisher information (Lord 1980). ``KL``, ``KLP``: Kullback-Leibler
        information weighted by the likelihood or the posterior (Chang & Ying 1996). ``MEI``:
        maximum expected (observed) information (van der Linden 1998). ``random``: no adaptation.
    estimator
        ``MAP``, ``EAP`` or ``WLE`` (Warm 1989), while testing and at the end; prior N(0, 1).
    start
        For each of these abilities the first items hold the one most informative there.
    n_random
        Instead, begin with so many items at random.
    se
        Stop once the standard error is at most this; None: no such rule.
    max_items
        Stop at so many items; None: when all are used.
    min_items
        The standard error counts from so many items on.
    batch
        Items that are given before the ability is estimated again.
    exposure
        ``randomesque``: at random among the `pool` best (Kingsbury & Zara 1989). ``progressive``:
        the share of chance falls as the test goes on (Revuelta & Ponsoda 1998).
        ``sympson-hetter``: the best item is given with a probability of its own, found
        beforehand so that no item goes to more than `max_exposure` of the LLMs.
    pool, acceleration, max_exposure
        Of these three.
    seed
        Of all that is random.
    """

    criterion: Criterion = "MFI"
    estimator: Estimator = "MAP"
    start: tuple[float, ...] = (0.0,)
    n_random: int = 0
    se: float | None = None
    max_items: int | None = None
    min_items: int = 1
    batch: int = 1
    exposure: Exposure = "none"
    pool: int = 5
    acceleration: float = 1.0
    max_exposure: float = 0.5
    seed: int = 1

    def __post_init__(self) -> None:
        for what, value, known in (
            ("Criterion", self.criterion, CRITERIA),
            ("Estimator", self.estimator, ESTIMATORS),
            ("Exposure control", self.exposure, EXPOSURES),
        ):
            if value not in known:
                raise InputError(f"{what} {value!r}: choose {', '.join(known)}.")
        for what, number, least in (
            ("items at random to begin with", self.n_random, 0),
            ("items at most", self.max_items, 1),
            ("items at least", self.min_items, 1),
            ("items a batch", self.batch, 1),
            ("items to choose among", self.pool, 1),
            ("as a seed", self.seed, 0),
        ):
            if number is not None and number < least:
                raise InputError(f"{number} {what}: take {least} or more.")
        if self.max_items is not None and self.max_items < self.min_items:
            raise InputError(
                f"{self.min_items} items at least and {self.max_items} at most: no test is both."
            )
        if self.max_items is not None and self.max_items < self.n_random:
            raise InputError(
                f"{self.n_random} items at random to begin with and {self.max_items} at most: no "
                "test is both."
            )
        if self.se is not None and not self.se > 0:
            raise InputError(f"A standard error of {self.se!r} is no target; take one above 0.")
        if not self.start or not all(abs(theta) <= LIMIT for theta in self.start):
            raise InputError(
                f"A test starts at one ability or more, each from {-LIMIT:g} to {LIMIT:g}."
            )
        if not (math.isfinite(self.acceleration) and self.acceleration >= 0):
            raise InputError(f"An acceleration of {self.acceleration!r}: take 0 or more.")
        if not 0 < self.max_exposure <= 1:
            raise InputError(
                f"A largest exposure of {self.max_exposure!r}: take one above 0 and at most 1."
            )

    def longest(self, n_items: int) -> int:
        """Items that a test from a bank of `n_items` has at most."""
        return n_items if self.max_items is None else min(n_items, self.max_items)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "start": list(self.start)}

    def name(self) -> str:
        """Tell the settings from others in a few words."""
        words: list[str] = [self.criterion, self.estimator]
        if self.se is not None:
            words.append(f"se<={self.se:g}")
        if self.max_items is not None:
            words.append(f"n<={self.max_items}")
        if self.exposure != "none":
            words.append(self.exposure)
        if self.batch > 1:
            words.append(f"by {self.batch}")
        return " ".join(words)
