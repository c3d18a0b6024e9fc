"""Where figures take their values from: a folder of data, saved results, a bundle, the example."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.errors import InputError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from pandas import DataFrame

    from metabench_py.bundle import Bundle
    from metabench_py.irt.model import Floats, ItemParameters
    from metabench_py.reconstruction.result import Reconstruction

Need = Literal[
    "features", "scores", "responses", "items", "leaderboard", "curve", "seeds", "synergy",
    "versions",
]  # fmt: skip
NEEDS: tuple[Need, ...] = get_args(Need)
# ``VERSION`` is that of the bundle.
_OF_DATA: dict[Need, tuple[str, ...]] = {
    "features": ("published/VERSION/features.parquet",),
    "scores": ("llm-scores.parquet",),
    "responses": tuple(f"llm-responses/VERSION/{b}.parquet" for b in BENCHMARKS),
    "items": ("published/VERSION/items-arc.parquet",),
    "leaderboard": ("open-llm-leaderboard.csv",),
}
_OF_RESULTS: dict[Need, tuple[tuple[str, ...], str]] = {
    "curve": (("curve.json",), "what `calibrate curve --json` printed"),
    "seeds": (("seeds",), "a folder of folders that `calibrate select` wrote"),
    "synergy": (("synergy.json",), "what `analyze synergy --json` printed"),
    "versions": (
        ("version-A.json", "version-B.json"),
        "what `reconstruct --all DIR A --json` printed, and with B",
    ),
}


@dataclass(frozen=True)
class Effort:
    """How much is computed where a figure computes.

    Attributes
    ----------
    llms
        LLMs that are taken at random for adaptive tests and random subsets.
    subsets
        Random subsets of each size.
    seed
        Of all that is random.
    """

    llms: int = 500
    subsets: int = 200
    seed: int = 1

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--llms", self.llms, 50), ("--subsets", self.subsets, 10), ("--seed", self.seed, 0),
        ):  # fmt: skip
            if value < least:
                raise InputError(f"{option} {value}: take {least} or more.", argument=option)


@dataclass(frozen=True, eq=False)
class Sources:
    """What is there; everything is read when it is first asked for.

    Attributes
    ----------
    data
        Folder laid out as the reference data; None: there is none.
    results
        Folder of what other commands wrote; None: there is none.
    new_executor
        Gives who computes; it is called when that is needed first. Left out: this process.
    progress
        Told of each step: what, done, total.
    """

    bundle: Bundle
    data: Path | None = None
    results: Path | None = None
    effort: Effort = Effort()
    new_executor: Callable[[], Executor] = ThreadPoolExecutor
    progress: Callable[[str, int, int], None] = lambda what, done, total: None

    def paths(self, need: Need) -> list[Path] | None:
        """Files or folders of a need; None: no folder was given that could hold them."""
        if need in _OF_DATA:
            root, names = self.data, _OF_DATA[need]
        else:
            root, names = self.results, _OF_RESULTS[need][0]
        if root is None:
            return None
        return [root / name.replace("VERSION", self.bundle.version) for name in names]

    def lack(self, need: Need) -> str | None:
        """Say what is absent of a need; None: nothing."""
        paths = self.paths(need)
        absent = None if paths is None else next((p for p in paths if not p.exists()), None)
        if paths is not None and absent is None:
            return None
        if need in _OF_DATA:
            name = _OF_DATA[need][0].replace("VERSION", self.bundle.version)
            return f"{name} (--data)" if absent is None else str(absent)
        names, what = _OF_RESULTS[need]
        where = f"{names[0]} (--results)" if absent is None else str(absent)
        return f"{where}, {what}"

    @cached_property
    def executor(self) -> Executor:
        """Who computes."""
        return self.new_executor()

    @cached_property
    def banks(self) -> dict[str, ItemParameters]:
        """Item parameters of the bundle, by benchmark in the usual order."""
        models = self.bundle.benchmarks
        return {b: models[b].parameters for b in BENCHMARKS if b in models}

    @cached_property
    def published_banks(self) -> dict[str, ItemParameters]:
        """Published item parameters, by benchmark; not all benchmarks have them."""
        from metabench_py.irt.model import ItemParameters

        found = {}
        numbers = ("a1", "d", "g", "u")
        for benchmark in BENCHMARKS:
            path = self.file("items").with_name(f"items-{benchmark}.parquet")
            if path.is_file():
                table = _read_parquet(path, ("item", *numbers))
                found[str(benchmark)] = ItemParameters(
                    tuple(map(str, table["item"])),
                    *(table[name].to_numpy(np.float64) for name in numbers),
                )
        return found

    @cached_property
    def features(self) -> DataFrame:
        """Abilities and other features of the published LLMs, with their full scores."""
        return self._table("features", (*BENCHMARKS, "grand", "split"))

    @cached_property
    def scores(self) -> DataFrame:
        """Full scores, indexed by LLM."""
        return self._table("scores", (*BENCHMARKS, "grand", "split"))

    def file(self, need: Need) -> Path:
        """Path of a need that is one file."""
        paths = self.paths(need)
        assert paths is not None
        return paths[0]

    def result(self, need: Need) -> Any:
        """Values of a saved JSON file."""
        return read_json(self.file(need))

    @cached_property
    def abilities(self) -> dict[str, Floats]:
        """Abilities of the LLMs with responses, by the bundle's items, shape (n_llms,) each."""
        from metabench_py.irt import get_engine
        from metabench_py.responses import ResponseMatrix

        paths = self.paths("responses")
        assert paths is not None
        engine = get_engine("native")
        found = {}
        for benchmark, path in zip(BENCHMARKS, paths, strict=True):
            model = self.bundle.benchmarks[benchmark]
            answers = ResponseMatrix.load(path).select(model.parameters.items)
            found[str(benchmark)] = engine.score(
                answers, model.parameters, model.score_method
            ).theta
        return found

    @cached_property
    def example(self) -> tuple[Reconstruction, Reconstruction]:
        """The shipped logs' results: plain, and with permuted answer options."""
        from metabench_py.reconstruction.api import reconstruct

        plain, permuted = (
            reconstruct("example", bundle=self.bundle, permuted=p, engine="native")
            for p in (False, True)
        )
        return plain, permuted

    def _table(self, need: Need, columns: tuple[str, ...]) -> DataFrame:
        return _read_parquet(self.file(need), ("name", *columns)).set_index("name")


def _read_parquet(path: Path, columns: tuple[str, ...]) -> DataFrame:
    import pandas as pd

    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(f"{path} is not a readable table ({first}).", path=str(path)) from error
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise InputError(f"{path} has no column {absent[0]!r}.", path=str(path))
    return table


def read_json(path: Path) -> Any:
    """Read JSON that another command printed.

    Raises
    ------
    InputError
        It is absent or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON ({error}).", path=str(path)) from error
