"""Which files the original released for one version, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass

from metabench_py.benchmarks import BENCHMARKS, REDUCTIONS, TARGETS, Benchmark, Target, Version


@dataclass(frozen=True)
class ReleasedFiles:
    """Paths inside the original's repository.

    Attributes
    ----------
    reduced
        Items, IRT fit and thetas of the reduced benchmark.
    lms
        Linear model of the full score on the item responses.
    gams
        GAM of a target, with training and test data.
    """

    reduced: dict[Benchmark, str]
    lms: dict[Benchmark, str]
    gams: dict[Target, str]

    @property
    def paths(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.reduced.values(), *self.lms.values(), *self.gams.values())


def released_files(version: Version) -> ReleasedFiles:
    """Name the released files of a version (``-v2`` means version A)."""
    suffix = "-v2" if version == "A" else ""
    return ReleasedFiles(
        reduced={
            b: f"analysis/reduced/{b}-{r.item_type}-{r.score_method}-{r.penalty}-seed=1{suffix}.rds"
            for b, r in REDUCTIONS[version].items()
        },
        lms={b: f"analysis/lms/lm-{b}-seed=1{suffix}.rds" for b in BENCHMARKS},
        gams={t: f"analysis/gams/gam-{t}-seed=1{suffix}.rds" for t in TARGETS},
    )
