"""Builds figures and writes them to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metabench_py.errors import InputError
from metabench_py.report.canvas import FORMATS, save_figure, styled

if TYPE_CHECKING:
    from metabench_py.figures.registry import FigureSpec
    from metabench_py.figures.sources import Sources

KINDS = tuple(sorted(ending[1:] for ending in FORMATS))


def kinds_of(text: str) -> tuple[str, ...]:
    """Read a list of formats, ``pdf,svg``.

    Raises
    ------
    InputError
        One of them is unknown, or there is none.
    """
    kinds = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    odd = next((kind for kind in kinds if kind not in KINDS), None)
    if odd is not None or not kinds:
        raise InputError(f"--format {text}: choose among {', '.join(KINDS)}.", argument="--format")
    return kinds


def write_figure(
    spec: FigureSpec, sources: Sources, folder: Path, kinds: Sequence[str]
) -> list[Path]:
    """Build a figure and write ``NAME.pdf`` and the like into a folder.

    Raises
    ------
    InputError
        Data that the figure needs are absent; the message says which.
    """
    spec.require(sources)
    figure = styled(spec.build)(sources)
    paths = [folder / f"{spec.name}.{kind}" for kind in kinds]
    for path in paths:
        save_figure(figure, path)
    return paths
