"""metabench-py: sparse LLM benchmarks by item response theory.

The public functions are loaded on first use, so ``import metabench_py`` starts nothing:
no R, no network, no plotting library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "calibrate": "metabench_py.calibration",
    "load_bundle": "metabench_py.bundle",
    "reconstruct": "metabench_py.reconstruction",
    "ResponseMatrix": "metabench_py.responses",
}

__all__ = ["ResponseMatrix", "__version__", "calibrate", "load_bundle", "reconstruct"]

if TYPE_CHECKING:
    from metabench_py.bundle import load_bundle
    from metabench_py.calibration import calibrate
    from metabench_py.reconstruction import reconstruct
    from metabench_py.responses import ResponseMatrix


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'metabench_py' has no attribute {name!r}")
