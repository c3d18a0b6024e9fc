"""The six source data sets, and which of their rows an item and its examples are.

The calibration LLMs were run by the lm-eval of the first Open LLM Leaderboard. It shuffled a
task's documents by ``random.Random(42)`` and then drew each document's examples by the same
generator, document by document. An item's number is its place in that order, from 1. Hence the
source row and the examples of every item, also of items that no one has published, follow from
the sizes of the data sets alone. (Held against the published items: all of GSM8K's 486 items, and
all but two of ARC's 245 and one of WinoGrande's 239, have exactly these examples.)
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from metabench_py.benchmarks import Benchmark
from metabench_py.errors import DownloadError, InputError, MissingDependencyError

Part = Literal["items", "examples"]
_SEED = 42


@dataclass(frozen=True)
class SourceSet:
    """A benchmark's data set on the Hub.

    Attributes
    ----------
    items, examples
        The splits that items and few-shot examples come from; no examples for TruthfulQA, whose
        six are part of the prompt.
    n_examples
        Examples in a prompt.
    columns
        What an item takes of a row.
    """

    path: str
    config: str
    items: str
    examples: str | None
    n_examples: int
    columns: tuple[str, ...]


SOURCES: dict[Benchmark, SourceSet] = {
    "arc": SourceSet(
        "allenai/ai2_arc", "ARC-Challenge", "test", "train", 25,
        ("id", "question", "choices", "answerKey"),
    ),
    "gsm8k": SourceSet("openai/gsm8k", "main", "test", "train", 5, ("question", "answer")),
    "hellaswag": SourceSet(
        "Rowan/hellaswag", "default", "validation", "train", 10,
        (
            "ind", "activity_label", "ctx_a", "ctx_b", "ctx", "endings", "source_id", "split",
            "split_type", "label",
        ),
    ),
    "mmlu": SourceSet(
        "cais/mmlu", "all", "test", "dev", 5, ("question", "subject", "choices", "answer")
    ),
    "truthfulqa": SourceSet(
        "truthfulqa/truthful_qa", "multiple_choice", "validation", None, 0,
        ("question", "mc1_targets", "mc2_targets"),
    ),
    "winogrande": SourceSet(
        "allenai/winogrande", "winogrande_xl", "validation", "train", 5,
        ("sentence", "option1", "option2", "answer"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """Where one item comes from.

    Attributes
    ----------
    row
        Row of the items' split.
    examples
        Rows of the examples' split, in the prompt's order.
    """

    row: int
    examples: tuple[int, ...]


def leaderboard_draws(n_items: int, n_pool: int, n_examples: int) -> list[Draw]:
    """Repeat the leaderboard's shuffle and draws (pure); item number k is at place k - 1."""
    generator = random.Random(_SEED)
    order = list(range(n_items))
    generator.shuffle(order)
    pool = range(n_pool)
    return [
        Draw(row, tuple(generator.sample(pool, n_examples)) if n_examples else ()) for row in order
    ]


class Sources(Protocol):
    """Where the source data sets are read."""

    def rows(self, benchmark: Benchmark, part: Part) -> Sequence[dict[str, Any]]:
        """Read all rows of a split, in its order; may be lazy."""


class HubSources:
    """The data sets on the Hub, by the `datasets` library and its cache."""

    def rows(self, benchmark: Benchmark, part: Part) -> Sequence[dict[str, Any]]:
        """Load a split.

        Raises
        ------
        MissingDependencyError
            `datasets` is not installed.
        DownloadError
            The Hub did not give it and the cache has not got it.
        """
        import importlib

        try:
            datasets: Any = importlib.import_module("datasets")
        except ImportError as error:
            raise MissingDependencyError(
                "The library datasets is not installed; get it with: "
                "pip install 'metabench-py[hub]'",
                package="datasets",
            ) from error
        source = SOURCES[benchmark]
        split = source.items if part == "items" else source.examples
        try:
            return datasets.load_dataset(source.path, source.config, split=split)  # type: ignore[no-any-return]
        # The library, its HTTP client and its file systems each have their own errors.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise DownloadError(
                f"The data set {source.path} ({source.config}) cannot be loaded from the Hub: "
                f"{type(error).__name__}: {reason.rstrip('.')}. Try again with a network, or give "
                "the data sets as files with --sources DIR.",
                url=source.path,
                attempts=1,
            ) from error


class FolderSources:
    """The same splits as Parquet files: ``<benchmark>-items.parquet``, ``…-examples.parquet``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rows(self, benchmark: Benchmark, part: Part) -> Sequence[dict[str, Any]]:
        """Read a file.

        Raises
        ------
        InputError
            It is absent or not readable.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._folder / f"{benchmark}-{part}.parquet"
        try:
            return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]
        except FileNotFoundError as error:
            split = SOURCES[benchmark].items if part == "items" else SOURCES[benchmark].examples
            raise InputError(
                f"{path} is absent; it should hold the split {split} of {SOURCES[benchmark].path}.",
                path=str(path),
            ) from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(
                f"{path} is no readable Parquet file ({str(error).splitlines()[0]}).",
                path=str(path),
            ) from error
