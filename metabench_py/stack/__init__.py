"""The stacked second stage: several regressions, weighted by cross-validation, as plain arrays."""

from metabench_py.stack.inputs import StackInputs
from metabench_py.stack.model import Stack

__all__ = ["Stack", "StackInputs"]
