"""Health check of a folder of response matrices and prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metabench_py.benchmarks import BENCHMARKS, Benchmark
from metabench_py.errors import InputError
from metabench_py.responses import MISSING, ResponseMatrix

Level = Literal["error", "warning", "note"]
# The same names as calibration looks for.
SUFFIXES = (".parquet", ".csv", ".csv.gz")
_EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (error: the data are not usable as they are) or worth knowing.

    Attributes
    ----------
    benchmark
        Empty for what concerns several.
    examples
        The first few items or LLMs.
    """

    level: Level
    benchmark: str
    text: str
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """One matrix in numbers; scores are percentages of right answers."""

    benchmark: Benchmark
    path: str
    n_llms: int
    n_items: int
    n_missing: int
    score_min: float
    score_median: float
    score_max: float


@dataclass
class Health:
    """All findings of a folder.

    Attributes
    ----------
    n_common
        LLMs that are in every matrix of the folder.
    """

    findings: list[Finding] = field(default_factory=list)
    summaries: list[Summary] = field(default_factory=list)
    n_common: int = 0

    @property
    def usable(self) -> bool:
        """Whether there is no error."""
        return all(finding.level != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "usable": self.usable,
            "n_common": self.n_common,
            "matrices": [asdict(summary) for summary in self.summaries],
            "findings": [asdict(finding) for finding in self.findings],
        }

    def add(self, level: Level, benchmark: str, text: str, examples: Iterable[object] = ()) -> None:
        """Note something."""
        shown = tuple(str(example) for example, _ in zip(examples, range(_EXAMPLES), strict=False))
        self.findings.append(Finding(level, benchmark, text, shown))


def check_folder(folder: Path, benchmarks: Sequence[Benchmark] = BENCHMARKS) -> Health:
    """Check the matrices ``<benchmark>.parquet`` (or long CSV) and their prompts.

    Matrices are read one after the other, so memory is that of the largest.

    Raises
    ------
    InputError
        No such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder.", path=str(folder))
    health = Health()
    llms: dict[Benchmark, set[str]] = {}
    for benchmark in benchmarks:
        found = [p for s in SUFFIXES if (p := folder / (benchmark + s)).is_file()]
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            health.add("error", benchmark, f"both {names} are there; keep one of them")
        elif found:
            try:
                matrix = ResponseMatrix.load(found[0])
            except InputError as error:
                health.add("error", benchmark, str(error).rstrip("."))
            else:
                llms[benchmark] = set(matrix.llms)
                check_matrix(health, benchmark, found[0], matrix)
                check_prompts(health, benchmark, folder, matrix.items)
    _check_together(health, folder, benchmarks, llms)
    return health


def check_matrix(health: Health, benchmark: Benchmark, path: Path, matrix: ResponseMatrix) -> None:
    """Look at one matrix by itself."""
    if not matrix.n_llms or not matrix.n_items:
        shape = f"{matrix.n_llms} LLMs and {matrix.n_items} items"
        health.add("error", benchmark, f"{path}: empty, {shape}")
        return
    right = (matrix.values == 1).sum(axis=0, dtype=np.int64)
    missing = matrix.values == MISSING
    absent = missing.sum(axis=0, dtype=np.int64)
    lacking = missing.sum(axis=1, dtype=np.int64)
    answered = matrix.n_llms - absent
    items, names = np.array(matrix.items, dtype=object), np.array(matrix.llms, dtype=object)
    n_right = (matrix.values == 1).sum(axis=1, dtype=np.int64)
    scores = 100.0 * n_right / np.maximum(matrix.n_items - lacking, 1)
    health.summaries.append(
        Summary(
            benchmark,
            str(path),
            matrix.n_llms,
            matrix.n_items,
            int(missing.sum()),
            float(scores.min()),
            float(np.median(scores)),
            float(scores.max()),
        )
    )
    if (answered == 0).any():
        text = f"{int((answered == 0).sum())} items that no LLM answered; drop them"
        health.add("error", benchmark, text, items[answered == 0])
    silent = lacking == matrix.n_items
    if silent.any():
        text = f"{int(silent.sum())} LLMs that answered nothing; drop them"
        health.add("error", benchmark, text, names[silent])
    some = (lacking > 0) & ~silent
    if some.any():
        text = (
            f"{int(absent.sum())} answers are missing, of {int(some.sum())} LLMs and "
            f"{int((absent > 0).sum())} items; second stages leave these LLMs out"
        )
        health.add("warning", benchmark, text, names[some])
    constant = (answered > 0) & ((right == 0) | (right == answered))
    if constant.any():
        text = f"{int(constant.sum())} items that every LLM, or none, has right; they tell nothing"
        health.add("warning", benchmark, text, items[constant])
    copies = _copies(matrix)
    if copies:
        text = f"{len(copies)} groups of LLMs with the same answers throughout"
        health.add("note", benchmark, text, map(_alike, copies))


def _copies(matrix: ResponseMatrix) -> list[tuple[str, ...]]:
    # Short rows agree by chance.
    if matrix.n_items < 50:
        return []
    seen: dict[bytes, list[str]] = {}
    for name, row in zip(matrix.llms, matrix.values, strict=True):
        seen.setdefault(row.tobytes(), []).append(name)
    return [tuple(group) for group in seen.values() if len(group) > 1]


def _alike(group: Sequence[str]) -> str:
    """Name a few of a group."""
    more = len(group) - _EXAMPLES
    return " = ".join(group[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")


def check_prompts(health: Health, benchmark: Benchmark, folder: Path, items: Sequence[str]) -> None:
    """Compare the items with the prompts, where there are any."""
    path = find_prompts(folder, benchmark)
    if path is None:
        health.add("note", benchmark, "no prompts to compare the items with (scrape prompts)")
        return
    try:
        prompts = read_prompts(path)
    except InputError as error:
        health.add("error", benchmark, str(error).rstrip("."))
        return
    ids = [item for item, _ in prompts]
    twice = sorted(item for item, n in Counter(ids).items() if n > 1)
    if twice:
        health.add("error", benchmark, f"{path}: {len(twice)} items have two prompts", twice)
    known = set(ids)
    unknown = [item for item in items if item not in known]
    if unknown:
        text = (
            f"{len(unknown)} items have no prompt in {path.name}, so the two do not belong together"
        )
        health.add("error", benchmark, text, unknown)
    rest = known.difference(items)
    if rest:
        text = f"{len(rest)} prompts of {path.name} belong to no item of the matrix"
        health.add("warning", benchmark, text, sorted(rest))
    groups: dict[str, list[str]] = {}
    for item, prompt in prompts:
        groups.setdefault(prompt, []).append(item)
    same = [group for group in groups.values() if len(group) > 1]
    if same:
        n = sum(len(group) - 1 for group in same)
        text = f"{n} items repeat another item's prompt; keep one of each"
        health.add("warning", benchmark, text, map(_alike, same))


def find_prompts(folder: Path, benchmark: Benchmark) -> Path | None:
    """Path of a benchmark's prompts, where calibration looks for them, too."""
    stems = (f"prompts/{benchmark}", f"{benchmark}-prompts", f"{benchmark}_prompts")
    paths = (folder / (stem + suffix) for stem in stems for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def read_prompts(path: Path) -> list[tuple[str, str]]:
    """Read a table with the columns ``item`` and ``prompt``.

    Raises
    ------
    InputError
        It is no such table.
    """
    import pandas as pd

    try:
        table = (
            pd.read_csv(path, dtype=str, keep_default_na=False)
            if ".csv" in path.suffixes
            else pd.read_parquet(path)
        )
        return list(zip(table["item"].astype(str), table["prompt"].astype(str), strict=True))
    except KeyError as error:
        raise InputError(f"{path}: no column {error}; needs item and prompt.") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable table of prompts ({error}).") from error


def _check_together(
    health: Health,
    folder: Path,
    benchmarks: Sequence[Benchmark],
    llms: dict[Benchmark, set[str]],
) -> None:
    seen = {f.benchmark for f in health.findings} | set(llms)
    absent = [b for b in benchmarks if b not in seen]
    if len(absent) == len(benchmarks):
        text = (
            f"{folder} holds no matrix of {', '.join(benchmarks)}; expected "
            f"{benchmarks[0]}.parquet and so on (calibrate preprocess reads any names)"
        )
        health.add("error", "", text)
    elif absent:
        health.add("warning", "", f"no matrix of {', '.join(absent)}")
    if not llms:
        return
    everybody = set().union(*llms.values())
    common = set.intersection(*llms.values())
    health.n_common = len(common)
    if not common and len(llms) > 1:
        health.add("error", "", "no LLM is in all matrices; names must be spelt alike")
        return
    for benchmark, names in llms.items():
        lacking = everybody - names
        if lacking:
            text = f"{len(lacking)} LLMs of other benchmarks are missing"
            health.add("warning", benchmark, text, sorted(lacking))
