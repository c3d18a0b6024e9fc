"""Reads lm-eval sample logs, raw or reduced, into item responses."""

from metabench_py.logs.find import ModelLogs, find_all, find_model
from metabench_py.logs.model import ModelResponses, read_model

__all__ = ["ModelLogs", "ModelResponses", "find_all", "find_model", "read_model"]
