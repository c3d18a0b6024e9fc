"""Where work runs: processes of this machine, a Dask cluster, or Slurm.

Every place is a `concurrent.futures.Executor`. What it runs is a module-level function of
picklable values that carry their own seed, so the results are the same wherever it runs.
Nothing here starts a process, or imports Dask, before it is asked to.
"""

from metabench_py.compute.journal import Journal
from metabench_py.compute.local import LocalPool, available_cores
from metabench_py.compute.place import Place, open_executor
from metabench_py.compute.shared import Shared
from metabench_py.compute.tasks import Task, run_tasks

__all__ = [
    "Journal",
    "LocalPool",
    "Place",
    "Shared",
    "Task",
    "available_cores",
    "open_executor",
    "run_tasks",
]
