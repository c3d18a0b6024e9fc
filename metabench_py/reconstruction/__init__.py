"""Responses to scores: abilities, linear predictors and sub-scores, second stages, intervals."""

from metabench_py.reconstruction.api import reconstruct
from metabench_py.reconstruction.reconstructor import Reconstructor
from metabench_py.reconstruction.result import Reconstruction

__all__ = ["Reconstruction", "Reconstructor", "reconstruct"]
