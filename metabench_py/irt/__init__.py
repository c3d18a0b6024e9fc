"""Item response theory: the model, the engine protocol, and two engines."""

from metabench_py.irt.engine import Abilities, Engine, FitOptions, IrtFit, ItemFit, get_engine
from metabench_py.irt.model import ItemParameters, information, probability

__all__ = [
    "Abilities",
    "Engine",
    "FitOptions",
    "IrtFit",
    "ItemFit",
    "ItemParameters",
    "get_engine",
    "information",
    "probability",
]
