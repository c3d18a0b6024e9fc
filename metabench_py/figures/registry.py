"""All figures by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metabench_py.errors import InputError
from metabench_py.figures import abilities, item_studies, items, studies

if TYPE_CHECKING:
    from metabench_py.figures.sources import Need, Sources


@dataclass(frozen=True)
class FigureSpec:
    """One figure.

    Attributes
    ----------
    about
        What it shows, in a few words.
    build
        Makes it; all of `needs` are there.
    needs
        Data without which it cannot be built.
    """

    name: str
    about: str
    build: Callable[[Sources], Any]
    needs: tuple[Need, ...] = ()

    def lacks(self, sources: Sources) -> list[str]:
        """Say what is absent, one text a need."""
        return [text for need in self.needs if (text := sources.lack(need)) is not None]

    def require(self, sources: Sources) -> None:
        """Refuse to be built without its data.

        Raises
        ------
        InputError
            Data are absent; the message says which.
        """
        if lacks := self.lacks(sources):
            raise InputError(
                f"The figure {self.name} needs {'; and '.join(lacks)}.", figure=self.name,
                lacks=lacks,
            )  # fmt: skip


_ALL = (
    FigureSpec("item-model", "slope and intercept of four items", items.item_model),
    FigureSpec("item-curves", "item characteristic curves", items.item_curves),
    FigureSpec("item-information", "information of each item", items.item_information),
    FigureSpec("test-information", "information of each benchmark", items.total_information),
    FigureSpec("expected-scores", "share right that an ability leads to", items.expected_scores),
    FigureSpec("recovery", "held-out scores, predicted and true, of the bundle", items.recovery),
    FigureSpec("score-distributions", "densities of the full scores", items.score_distributions),
    FigureSpec("example-scores", "the shipped example, plain and permuted", items.example_scores),
    FigureSpec("example-abilities", "its abilities, over information", items.example_abilities),
    FigureSpec(
        "item-parameters", "of the bundle against the published ones", items.item_parameters,
        ("items",),
    ),
    FigureSpec(
        "theta-score", "full scores over abilities", abilities.theta_score, ("features", "scores")
    ),
    FigureSpec(
        "recovery-test", "scores of the test LLMs, predicted and true", abilities.recovery_test,
        ("features", "scores"),
    ),
    FigureSpec(
        "correlations", "of abilities and of scores", abilities.correlations,
        ("features", "scores"),
    ),
    FigureSpec("factors", "loadings and eigenvalues", abilities.factors, ("features",)),
    FigureSpec(
        "architectures", "errors by kind and size of LLM", studies.architectures,
        ("features", "leaderboard"),
    ),
    FigureSpec(
        "random-subsets", "errors of random subsets of items", studies.random_subsets,
        ("responses", "scores"),
    ),
    FigureSpec(
        "adaptive", "adaptive tests by length, beside fixed subsets", studies.adaptive,
        ("responses", "scores"),
    ),
    FigureSpec(
        "adaptive-recovery", "scores from adaptive tests, predicted and true",
        studies.adaptive_recovery, ("responses", "scores"),
    ),
    FigureSpec(
        "logistic", "scores from logistic regressions of items", item_studies.logistic,
        ("responses", "scores"),
    ),
    FigureSpec(
        "answers", "items removed, answers to them predicted", item_studies.answers,
        ("responses", "scores"),
    ),
    FigureSpec(
        "clusters", "items drawn from clusters", item_studies.clusters,
        ("responses", "scores"),
    ),
    FigureSpec("item-budget", "errors by the number of items kept", studies.budget, ("curve",)),
    FigureSpec("versions", "version A against version B", studies.versions, ("versions",)),
    FigureSpec("seeds", "calibrations over seeds", studies.seeds, ("seeds",)),
    FigureSpec("synergy", "gain of a joint reconstruction", studies.synergy, ("synergy",)),
)  # fmt: skip
FIGURES: dict[str, FigureSpec] = {spec.name: spec for spec in _ALL}


def choose(names: list[str]) -> list[FigureSpec]:
    """Give figures by name, each once.

    Raises
    ------
    InputError
        There is no figure of a name.
    """
    odd = next((name for name in names if name not in FIGURES), None)
    if odd is not None:
        raise InputError(f"No figure {odd!r}; choose all or {', '.join(FIGURES)}.", figure=odd)
    return [FIGURES[name] for name in dict.fromkeys(names)]
