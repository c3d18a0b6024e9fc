"""What every item says at the nodes of ability, computed once for all LLMs and steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metabench_py.irt.model import Floats, ItemParameters, information, probability
from metabench_py.irt.native.quadrature import LIMIT, NODES, grid


@dataclass(frozen=True, eq=False)
class ItemTables:
    """Curves of a bank; matrices have shape (n_items, n_nodes), pairs come first (wrong, right).

    Attributes
    ----------
    log
        Log of the probability of each answer, shape (2, n_items, n_nodes).
    slope
        Its derivative by theta, same shape.
    information
        Fisher information.
    bias
        P' P'' / (P Q): half its sum over the information corrects maximum likelihood (Warm 1989).
    nodes, weights
        Abilities and the prior there, shape (n_nodes,).
    """

    parameters: ItemParameters
    log: Floats
    slope: Floats
    information: Floats
    bias: Floats
    nodes: Floats
    weights: Floats

    @classmethod
    def of(cls, parameters: ItemParameters, n_nodes: int = NODES) -> ItemTables:
        """Compute them."""
        nodes, weights = grid(n_nodes)
        right = probability(parameters, nodes).T
        wrong = wrong_probability(parameters, nodes).T
        share = _share(parameters, nodes).T
        rest = _share(mirrored(parameters), nodes).T
        a1, span = parameters.a1[:, None], (parameters.u - parameters.g)[:, None]
        first = a1 * span * share * rest
        second = a1 * first * (rest - share)
        return cls(
            parameters=parameters,
            log=np.log(np.stack([wrong, right])),
            slope=np.stack([-first / wrong, first / right]),
            information=np.ascontiguousarray(information(parameters, nodes).T),
            bias=first * second / (right * wrong),
            nodes=nodes,
            weights=weights,
        )

    @property
    def n_items(self) -> int:
        """Items of the bank."""
        return len(self.parameters.items)

    @property
    def spacing(self) -> float:
        """Distance of two nodes."""
        return 2.0 * LIMIT / (len(self.nodes) - 1)


def mirrored(parameters: ItemParameters) -> ItemParameters:
    """Items whose probability of a right answer is these ones' of a wrong answer."""
    return ItemParameters(
        parameters.items, -parameters.a1, -parameters.d, 1.0 - parameters.u, 1.0 - parameters.g
    )


def wrong_probability(parameters: ItemParameters, theta: Floats) -> Floats:
    """Probability of a wrong answer without the cancellation of 1 - P, (n_theta, n_items)."""
    return probability(mirrored(parameters), theta)


def _share(parameters: ItemParameters, theta: Floats) -> Floats:
    """Logistic part of the curve alone."""
    n = len(parameters.items)
    plain = ItemParameters(parameters.items, parameters.a1, parameters.d, np.zeros(n), np.ones(n))
    return probability(plain, theta)
