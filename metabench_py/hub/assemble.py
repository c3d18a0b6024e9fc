"""Makes response matrices of what the ledger holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metabench_py.benchmarks import TITLES, Benchmark
from metabench_py.hub.ledger import Ledger
from metabench_py.hub.sources import FULL_SIZE, PARTS
from metabench_py.responses import MISSING, ResponseMatrix


@dataclass(frozen=True)
class MatrixSummary:
    """One matrix that was written.

    Attributes
    ----------
    n_partial
        LLMs of which some files are there and others not; with ``partial`` they are in the
        matrix, else not.
    odd
        LLMs left out because a file has another number of items than most LLMs' files have.
    """

    benchmark: Benchmark
    path: str
    n_llms: int
    n_items: int
    n_partial: int
    odd: tuple[str, ...]

    def notes(self) -> list[str]:
        """Say what a user should know about it."""
        title, notes = TITLES[self.benchmark], []
        if self.n_items != FULL_SIZE[self.benchmark]:
            notes.append(
                f"{title}: {self.n_items} items; the whole benchmark has "
                f"{FULL_SIZE[self.benchmark]}."
            )
        if self.odd:
            notes.append(
                f"{title}: {len(self.odd)} LLMs left out, their files have another number of "
                f"items than the others'; the first is {self.odd[0]}."
            )
        if self.n_partial:
            notes.append(f"{title}: {self.n_partial} LLMs lack some of the files.")
        return notes


def write_matrix(
    ledger: Ledger, benchmark: Benchmark, path: Path, *, partial: bool = False
) -> MatrixSummary | None:
    """Write one benchmark's matrix; None if no LLM has what it takes.

    Parameters
    ----------
    partial
        Take LLMs that lack some files (MMLU subjects) too; their answers are missing there.

    Notes
    -----
    Rows are in case-insensitive order of the names. Needs about three times the matrix in
    memory: the int8 matrix is filled file by file, straight from the ledger.
    """
    parts = PARTS[benchmark]
    sizes = {part.config: ledger.sizes(part.config) for part in parts}
    present = [part for part in parts if sizes[part.config]]
    width: dict[str, int] = {}
    odd: set[str] = set()
    for part in present:
        counted = Counter(sizes[part.config].values())
        # The most frequent size; of equally frequent ones the larger.
        width[part.config] = max(counted, key=lambda n: (counted[n], n))
        odd |= {m for m, n in sizes[part.config].items() if n != width[part.config]}
    n_files = Counter(model for rows in sizes.values() for model in rows)
    whole = {model for model, n in n_files.items() if n == len(parts)} - odd
    some = set(n_files) - whole - odd
    models = sorted(whole | some if partial else whole, key=lambda name: (name.lower(), name))
    if not models:
        return None
    row_of = {model: row for row, model in enumerate(models)}
    values = np.full((len(models), sum(width.values())), MISSING, np.int8)
    items: list[str] = []
    for part in present:
        start, n = len(items), width[part.config]
        items += [part.item(row) for row in range(n)]
        for model, answers in ledger.answers(part.config):
            if (at := row_of.get(model)) is not None:
                values[at, start : start + n] = answers
    ResponseMatrix(tuple(models), tuple(items), values).save(path)
    return MatrixSummary(
        benchmark, str(path), len(models), len(items), len(some), tuple(sorted(odd))
    )
