"""Job arrays of Slurm: calls in files, one job a chunk, results in files."""

from __future__ import annotations

import hashlib
import os
import pickle
import shlex
import shutil
import subprocess  # noqa: TID251 - this room starts jobs
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metabench_py.compute.calls import ONE_THREAD, Call, Outcome, pack_outcome, run_call
from metabench_py.compute.calls import warn_again as _warn_again
from metabench_py.compute.journal import key_of
from metabench_py.errors import InputError, StorageError, WorkerError
from metabench_py.storage import atomic_path, write_text

# Below Slurm's own limit of 1001 jobs an array.
MOST_JOBS = 1000
_POLL_S = 1.0
_ASK_EVERY_S = 5.0
# squeue itself tries for minutes to reach a controller that is down.
_SQUEUE_S = 20.0
_CANCEL_TRIES = 10
# Between the end of a job and its file being seen over a network file system.
_GRACE_S = float(os.environ.get("METABENCH_ARRAY_GRACE", "60"))
_OVER = frozenset(
    {
        "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
        "PREEMPTED", "TIMEOUT",
    }
)  # fmt: skip
# Jobs that Slurm could not start, as after a crash of its controller; they wait for a person.
_HELD = frozenset({"launch failed requeued held", "JobHeldAdmin"})


@dataclass(frozen=True)
class SlurmJobs:
    """sbatch, squeue and scancel for one partition.

    Attributes
    ----------
    options
        Options of sbatch for every job.
    """

    partition: str
    options: tuple[str, ...]

    def submit(self, script: Path, indices: str, logs: Path) -> str:
        """Submit an array; give its number.

        Raises
        ------
        InputError
            sbatch refuses; the message has what it says.
        """
        command = ["sbatch", "--parsable", f"--partition={self.partition}", *self.options]
        # Slurm itself would wait two minutes before it starts a lost job again; we do not.
        command += ["--no-requeue", f"--array={indices}", f"--output={logs}/%a.txt", str(script)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(
                f"sbatch refuses: {done.stderr.strip() or done.stdout.strip()}. The command was: "
                f"{shlex.join(command)}",
                partition=self.partition,
            )
        return done.stdout.strip().split(";")[0]

    def alive(self, job: str) -> set[int] | None:
        """Give the indices of an array that wait or run; None if Slurm does not answer now."""
        command = ["squeue", "--noheader", "--array", f"--jobs={job}", "--format=%K|%T|%r"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=_SQUEUE_S
            )
        except subprocess.TimeoutExpired:
            return None
        if done.returncode:
            # What it says of a job that it has forgotten.
            return set() if "Invalid job id" in done.stderr else None
        rows = (line.strip().split("|") for line in done.stdout.splitlines())
        return {
            int(row[0])
            for row in rows
            if len(row) == 3 and row[1] not in _OVER and row[2] not in _HELD
        }

    def cancel(self, job: str) -> None:
        """Cancel what is left of an array, or one job of it (``7_2``)."""
        for _ in range(_CANCEL_TRIES):
            done = subprocess.run(["scancel", job], capture_output=True, text=True, check=False)
            if done.returncode == 0 or "Invalid job id" in done.stderr:
                return
            time.sleep(_POLL_S)
        warnings.warn(
            f"Slurm does not answer; cancel its job {job} by hand: scancel {job}", stacklevel=2
        )


@dataclass
class ArrayRun:
    """Calls that run as one array; its folder is named by them, so that they find it again.

    In the folder: ``in-N.pickle`` and ``out-N.pickle`` of chunk N, ``job`` with the array's
    numbers, one a line, ``job.sh``, ``logs``.
    """

    jobs: SlurmJobs
    folder: Path
    n_chunks: int
    at_a_time: int
    retries: int
    _jobs: dict[int, str] = field(default_factory=dict)
    _tries: dict[int, int] = field(default_factory=dict)
    _gone: dict[int, float] = field(default_factory=dict)
    _finished: bool = False

    @classmethod
    def begin(
        cls,
        jobs: SlurmJobs,
        place: Path,
        calls: Sequence[Call],
        *,
        at_a_time: int,
        retries: int,
    ) -> ArrayRun:
        """Write the calls and submit them; or take up the array of the same calls.

        Parameters
        ----------
        place
            Folder of all arrays, which the cluster's machines see.
        at_a_time
            Jobs that may run at the same time.
        retries
            How often a chunk is submitted again whose job ended without a result.
        """
        total = hashlib.sha256()
        for call in calls:
            total.update(key_of(call.function, call.args, dict(call.kwargs)))
        # At least four chunks a job slot, so that a slow one does not hold up the rest.
        n_chunks = min(len(calls), max(4 * at_a_time, 1), MOST_JOBS)
        folder = place / f"{total.hexdigest()[:20]}-{n_chunks}"
        run = cls(jobs, folder, n_chunks, at_a_time, retries)
        if not (folder / "ready").is_file():
            run._write(calls)
        waiting = run._alive() or set()
        missing = [n for n in range(n_chunks) if n not in waiting and not run._out(n).is_file()]
        if missing:
            run._submit(missing)
        return run

    def values(self, timeout: float | None = None) -> Iterator[Any]:
        """Values in the order of the calls, each chunk as soon as all before it are there."""
        until = None if timeout is None else time.monotonic() + timeout
        for n in range(self.n_chunks):
            for outcome in self._wait(n, until):
                _warn_again(outcome.warned)
                if outcome.error is not None:
                    raise outcome.error
                yield outcome.value
        if self._tries:
            # Of a job that was submitted again, the first may still wait.
            self.cancel()
        self._finished = True
        shutil.rmtree(self.folder, ignore_errors=True)

    def cancel(self) -> None:
        """Cancel what is left, unless all is there."""
        if not self._finished:
            for job in self._submitted():
                self.jobs.cancel(job)

    def _write(self, calls: Sequence[Call]) -> None:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        bounds = [round(n * len(calls) / self.n_chunks) for n in range(self.n_chunks + 1)]
        for n in range(self.n_chunks):
            chunk = list(calls[bounds[n] : bounds[n + 1]])
            with atomic_path(self.folder / f"in-{n}.pickle") as temporary:
                temporary.write_bytes(pickle.dumps([call.pack() for call in chunk], protocol=5))
        exports = [f"export {name}={value}" for name, value in ONE_THREAD.items()]
        path = os.pathsep.join(p for p in sys.path if p)
        write_text(
            self.folder / "job.sh",
            "\n".join(
                [
                    "#!/bin/sh",
                    *exports,
                    f"export PYTHONPATH={shlex.quote(path)}",
                    f"exec {shlex.quote(sys.executable)} -c 'from metabench_py.compute.arrays "
                    f"import run_chunk; run_chunk()' {shlex.quote(str(self.folder))}",
                    "",
                ]
            ),
        )
        write_text(self.folder / "ready", "")

    def _submit(self, indices: list[int]) -> None:
        job = self.jobs.submit(
            self.folder / "job.sh",
            f"{_ranges(indices)}%{self.at_a_time}",
            self.folder / "logs",
        )
        self._jobs |= dict.fromkeys(indices, job)
        write_text(self.folder / "job", "\n".join([*self._submitted(), job]) + "\n")

    def _last_job(self, n: int) -> str:
        return self._jobs.get(n) or self._submitted()[0]

    def _submitted(self) -> list[str]:
        try:
            return (self.folder / "job").read_text(encoding="utf-8").split()
        except OSError:
            return []

    def _alive(self) -> set[int] | None:
        alive: set[int] = set()
        for job in self._submitted():
            found = self.jobs.alive(job)
            if found is None:
                return None
            alive |= found
        return alive

    def _out(self, n: int) -> Path:
        return self.folder / f"out-{n}.pickle"

    def _wait(self, n: int, until: float | None) -> list[Outcome]:
        asked = time.monotonic()
        silent = False
        while not self._out(n).is_file():
            if until is not None and time.monotonic() > until:
                raise TimeoutError
            time.sleep(_POLL_S)
            if time.monotonic() - asked < _ASK_EVERY_S:
                continue
            asked = time.monotonic()
            alive = self._alive()
            if alive is None:
                if not silent:
                    warnings.warn("Slurm does not answer; waiting for it.", stacklevel=3)
                silent = True
                continue
            self._again(alive)
        try:
            outcomes: list[Outcome] = pickle.loads(self._out(n).read_bytes())
        except (OSError, pickle.UnpicklingError, EOFError) as error:
            raise StorageError(
                f"{self._out(n)}: not readable ({error}); remove it and run again.",
                path=str(self._out(n)),
            ) from error
        return outcomes

    def _again(self, alive: set[int]) -> None:
        """Submit again what has ended without a result."""
        now = time.monotonic()
        lost = []
        for n in range(self.n_chunks):
            if n in alive or self._out(n).is_file():
                self._gone.pop(n, None)
            elif now - self._gone.setdefault(n, now) >= _GRACE_S:
                self._gone.pop(n)
                self._tries[n] = self._tries.get(n, 0) + 1
                lost.append(n)
        for n in lost:
            # A held one would do it a second time.
            self.jobs.cancel(f"{self._last_job(n)}_{n}")
            if self._tries[n] > self.retries:
                raise WorkerError(
                    f"Slurm's job {self._last_job(n)}_{n} ended without a result, "
                    f"{self._tries[n]} times: {self._last_line(n)} See {self.folder}/logs/{n}.txt; "
                    "it may need more memory or time.",
                    status=-1,
                )
        if lost:
            self._submit(lost)

    def _last_line(self, n: int) -> str:
        try:
            text = (self.folder / "logs" / f"{n}.txt").read_text(encoding="utf-8").strip()
        except OSError:
            return "it wrote nothing."
        return text.splitlines()[-1] if text else "it wrote nothing."


def run_chunk() -> None:
    """Do one chunk: what a job of an array runs."""
    folder, n = Path(sys.argv[1]), int(os.environ["SLURM_ARRAY_TASK_ID"])
    outcomes = []
    for packed in pickle.loads((folder / f"in-{n}.pickle").read_bytes()):
        outcome = run_call(pickle.loads(packed))
        # What cannot travel becomes an error that says so, alone.
        outcomes.append(pickle.loads(pack_outcome(outcome)))
    with atomic_path(folder / f"out-{n}.pickle") as temporary:
        temporary.write_bytes(pickle.dumps(outcomes, protocol=5))
    # R's clean-up is not needed.
    sys.stdout.flush()
    os._exit(0)


def _ranges(indices: Sequence[int]) -> str:
    """Write 0,1,2,5 as 0-2,5: sbatch's command line is limited."""
    runs: list[list[int]] = []
    for n in sorted(indices):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
