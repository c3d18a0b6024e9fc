"""The native engine: scoring in NumPy, fitting in NumPy and numba."""

from __future__ import annotations

from numpy.typing import ArrayLike

from metabench_py import __version__
from metabench_py.benchmarks import ItemType, ScoreMethod
from metabench_py.irt.engine import Abilities, FitOptions, IrtFit, ItemFit
from metabench_py.irt.model import Floats, ItemParameters, information
from metabench_py.irt.native.item_fit import item_fit
from metabench_py.irt.native.scoring import score
from metabench_py.responses import ResponseMatrix


class NativeEngine:
    """Implements `metabench_py.irt.Engine` without R."""

    name = "native"
    version = __version__

    def fit(
        self, responses: ResponseMatrix, item_type: ItemType, options: FitOptions | None = None
    ) -> IrtFit:
        """Estimate item parameters by marginal maximum likelihood."""
        # numba takes half a second to import; scoring does without.
        from metabench_py.irt.native.fit import fit

        return fit(responses, item_type, options)

    def score(
        self, responses: ResponseMatrix, parameters: ItemParameters, method: ScoreMethod
    ) -> Abilities:
        """Estimate abilities; columns are matched to `parameters` by item id."""
        return score(responses, parameters, method)

    def information(self, parameters: ItemParameters, theta: ArrayLike) -> Floats:
        """Item information, shape (n_theta, n_items)."""
        return information(parameters, theta)

    def item_fit(
        self, responses: ResponseMatrix, parameters: ItemParameters, theta: ArrayLike
    ) -> ItemFit:
        """Infit and outfit of every item at given abilities."""
        return item_fit(responses, parameters, theta)
