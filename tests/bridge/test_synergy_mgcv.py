"""One simulation of the synergy study with mgcv in place of our splines."""

from __future__ import annotations

import numpy as np
import pytest

from metabench_py.analysis.synergy_simulation import SynergyOptions, simulate, synergy_data
from metabench_py.gam.mgcv import fit_gam

pytestmark = pytest.mark.usefixtures("needs_r")


@pytest.mark.parametrize(("correlation", "dependence"), [(0.0, 0.4), (0.7, 0.2)])
def test_errors_are_those_of_mgcv(correlation: float, dependence: float) -> None:
    options = SynergyOptions(n_llms=300, n_items=50)
    data = synergy_data(options, correlation, dependence, 1)
    ours = simulate(options, correlation, dependence, 1)
    train = ~data.test
    for names, errors in (
        (("theta.1",), (ours.separate_train, ours.separate_test)),
        (("theta.1", "theta.2"), (ours.joint_train, ours.joint_test)),
    ):
        columns = {name: data.within()[name] for name in names}
        gam, _ = fit_gam(
            {name: column[train] for name, column in columns.items()}, data.score[train], "score",
            predictors=names,
        )  # fmt: skip
        left = gam.predict(columns) - data.score
        for part, error in zip((train, data.test), errors, strict=True):
            theirs = float(np.sqrt(np.mean(left[part] ** 2)))
            # mgcv's steps; where GCV is flat both round to another end.
            assert error == pytest.approx(theirs, abs=2e-3)
