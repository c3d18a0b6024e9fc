"""What so few LLMs cannot tell, and which models to leave out for them."""

from __future__ import annotations

from metabench_py.benchmarks import ItemType

# Sample sizes that textbooks ask for: a slope and an intercept need a few hundred people, a lower
# asymptote about 500 to 1,000, an upper one more (de Ayala 2009; Drasgow 1989).
LEAST_LLMS: dict[ItemType, int] = {"2PL": 150, "3PL": 500, "4PL": 1000}
_LEAST_JUDGES = 30


def affordable(item_types: tuple[ItemType, ...], n_llms: int) -> tuple[ItemType, ...]:
    """Leave out item types that need more LLMs; the smallest always stays."""
    kept = tuple(kind for kind in item_types if n_llms >= LEAST_LLMS[kind])
    return kept or (min(item_types, key=lambda kind: LEAST_LLMS[kind]),)


def warnings_for(
    benchmark: str, item_types: tuple[ItemType, ...], n_llms: int, n_judges: int | None, n_test: int
) -> list[str]:
    """Say what these numbers of LLMs cannot estimate.

    Parameters
    ----------
    n_llms
        LLMs that the model is fitted on.
    n_judges
        Validation LLMs; None where there are none by design.
    n_test
        Test LLMs; none: no figure is free of the choices made.
    """
    found = []
    for kind in item_types:
        least = LEAST_LLMS[kind]
        if n_llms >= least:
            continue
        what = {
            "2PL": "slopes are rough, so the order of items may be chance",
            "3PL": "lower asymptotes are mostly guesses of the optimiser",
            "4PL": "upper asymptotes are mostly guesses of the optimiser",
        }[kind]
        found.append(
            f"{benchmark}: {n_llms} LLMs are few for a {kind} (about {least} are wanted): {what}."
        )
    if n_judges is not None and n_judges < _LEAST_JUDGES:
        found.append(
            f"{benchmark}: {n_judges} validation LLMs tell an RMSE only to "
            f"± {100 / (2 * max(n_judges, 1)) ** 0.5:.0f} %, so near choices cannot be told apart."
        )
    if not n_test:
        found.append(
            f"{benchmark}: there are no test LLMs, so nothing says how the selection does on "
            "LLMs that it was not made with; run calibrate split first."
        )
    return found
