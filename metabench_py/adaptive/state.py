"""What is known of each LLM while it is being tested."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metabench_py.adaptive.settings import Estimator
from metabench_py.adaptive.tables import ItemTables
from metabench_py.irt.model import Floats

Integers = NDArray[np.int64]


class State:
    """Answers of some LLMs so far, and their abilities.

    Attributes
    ----------
    used, answers
        Items given and their answers in order, shape (n_llms, most); -1 where none.
    counts
        Number of items given, shape (n_llms,).
    log, slope, information, bias
        Sums over the items given at the nodes of ability, shape (n_llms, n_nodes); only those
        that the estimator needs.
    theta, se
        Estimates, shape (n_llms,); without an item the prior's 0 and 1 (WLE: an infinite se).
    """

    def __init__(self, tables: ItemTables, n_llms: int, most: int, estimator: Estimator) -> None:
        self.tables, self.estimator = tables, estimator
        p = tables.parameters
        self.bank = np.ascontiguousarray(np.stack([p.a1, p.d, p.g, p.u]))
        self.used = np.full((n_llms, most), -1, np.int64)
        self.answers = np.full((n_llms, most), -1, np.int8)
        self.counts = np.zeros(n_llms, np.int64)
        shape = (n_llms, len(tables.nodes))
        self.log, self.slope = np.zeros(shape), np.zeros(shape)
        self.information, self.bias = np.zeros(shape), np.zeros(shape)
        self.theta = np.zeros(n_llms)
        self.se = np.full(n_llms, np.inf if estimator == "WLE" else 1.0)

    def give(self, rows: Integers, items: Integers, answers: NDArray[np.int8]) -> None:
        """Note one more item and answer (0 or 1) for each of some LLMs; `rows` are distinct."""
        at = self.counts[rows]
        self.used[rows, at] = items
        self.answers[rows, at] = answers
        self.counts[rows] += 1
        tables = self.tables
        self.log[rows] += tables.log[answers.astype(np.int64), items]
        if self.estimator == "EAP":
            return
        self.slope[rows] += tables.slope[answers.astype(np.int64), items]
        if self.estimator == "MAP":
            return
        self.information[rows] += tables.information[items]
        self.bias[rows] += tables.bias[items]

    def give_all(self, values: NDArray[np.int8]) -> None:
        """Note all answers of all LLMs at once, shape (n_llms, n_items); -1 is none."""
        tables = self.tables
        right, wrong = (values == 1).astype(np.float64), (values == 0).astype(np.float64)
        known = right + wrong
        self.counts = known.sum(axis=1).astype(np.int64)
        # Answered items first, each LLM's in the bank's order.
        self.used = np.argsort(known < 1, axis=1, kind="stable").astype(np.int64)
        self.answers = np.take_along_axis(values, self.used, axis=1)
        self.log = right @ tables.log[1] + wrong @ tables.log[0]
        self.slope = right @ tables.slope[1] + wrong @ tables.slope[0]
        self.information = known @ tables.information
        self.bias = known @ tables.bias

    def estimate(self, rows: Integers) -> None:
        """Estimate the abilities of these LLMs, each of which has an item.

        Standard errors are of the expected information at the estimate, with the prior's for
        MAP; for EAP the posterior's standard deviation.
        """
        if self.estimator == "EAP":
            posterior = self.posterior(rows)
            theta = posterior @ self.tables.nodes
            apart = self.tables.nodes - theta[:, None]
            self.theta[rows] = theta
            self.se[rows] = np.sqrt(np.einsum("ij,ij->i", posterior, apart**2))
            return
        # Only modes are compiled; a test with EAP starts at once.
        from metabench_py.adaptive.kernels import modes

        theta, info = modes(
            rows, self.log, self.slope, self.information, self.bias, self.tables.nodes,
            self.used, self.answers, self.counts, self.bank, self.estimator == "WLE",
        )  # fmt: skip
        self.theta[rows] = theta
        with np.errstate(divide="ignore"):
            self.se[rows] = 1.0 / np.sqrt(info + (self.estimator == "MAP"))

    def likelihood(self, rows: Integers) -> Floats:
        """Likelihood at the nodes, its highest value 1, shape (n_rows, n_nodes)."""
        log = self.log[rows]
        result: Floats = np.exp(log - log.max(axis=1, keepdims=True))
        return result

    def posterior(self, rows: Integers) -> Floats:
        """Posterior at the nodes, its sum 1, shape (n_rows, n_nodes)."""
        weighted = self.likelihood(rows) * self.tables.weights
        result: Floats = weighted / weighted.sum(axis=1, keepdims=True)
        return result
