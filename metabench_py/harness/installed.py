"""Finds the installed lm-evaluation-harness without importing it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from metabench_py.errors import MissingDependencyError

INSTALL = "pip install 'metabench-py[harness]'"
_OLDEST = (0, 4, 10)
_TORCH_BACKENDS = ("hf", "hf-auto", "huggingface", "vllm")


@dataclass(frozen=True)
class Installed:
    """The installed lm-eval.

    Attributes
    ----------
    tasks
        Folder of its metabench task files.
    """

    version: str
    tasks: Path


def find_lm_eval(backend: str = "dummy") -> Installed:
    """Find lm-eval and what a backend needs.

    Raises
    ------
    MissingDependencyError
        lm-eval (or torch, for a backend that needs it) is absent, or lm-eval is too old.
    """
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            f"lm-evaluation-harness is not installed; get it with: {INSTALL}", package="lm-eval"
        )
    version = importlib.metadata.version("lm_eval")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    tasks = Path(spec.origin).parent / "tasks" / "metabench"
    if numbers < _OLDEST or not tasks.is_dir():
        raise MissingDependencyError(
            f"lm-evaluation-harness {version} is too old, 0.4.10 is the oldest that works; "
            f"renew it with: {INSTALL}",
            package="lm-eval",
        )
    if backend in _TORCH_BACKENDS:
        for package in ("torch", "transformers"):
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(
                    f"The backend {backend!r} needs {package}, which is not installed; get it "
                    f"with: {INSTALL}",
                    package=package,
                )
    return Installed(version, tasks)
