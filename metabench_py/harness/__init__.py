"""Runs lm-evaluation-harness on the metabench tasks and verifies what it wrote."""

from metabench_py.harness.settings import Settings
from metabench_py.harness.variants import Variant

__all__ = ["Settings", "Variant"]
