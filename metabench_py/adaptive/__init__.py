"""Computerised adaptive testing: each LLM gets the items that tell most about it."""

from metabench_py.adaptive.engine import CatResult, simulate
from metabench_py.adaptive.settings import CatSettings

__all__ = ["CatResult", "CatSettings", "simulate"]
