"""The second stage: linear predictors, sub-scores and GAMs that map abilities to scores."""

from metabench_py.gam.features import FEATURES_COMMON, feature_names
from metabench_py.gam.portable import PortableGam, SplineTerm

__all__ = ["FEATURES_COMMON", "PortableGam", "SplineTerm", "feature_names"]
