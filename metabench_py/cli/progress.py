"""Progress on stderr: a bar for people, a line now and then for log files."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_EVERY = 30.0


class Bar:
    """Counts of done, failed and skipped, with rate and time left.

    Parameters
    ----------
    live
        Draw a bar; left out, where stderr is a terminal.
    """

    def __init__(self, live: bool | None = None) -> None:
        self.live = sys.stderr.isatty() if live is None else live
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._what, self._total, self._skipped = "", 0, 0
        self._done = self._failed = 0
        self._since = self._said = 0.0

    def start(self, what: str, total: int, skipped: int) -> None:
        """Begin: `total` things to do, `skipped` more are there already."""
        self._what, self._total, self._skipped = what, total, skipped
        self._done = self._failed = 0
        self._since = self._said = time.monotonic()
        if not self.live:
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task(what, total=total, counts=self._counts())
        self._bar.start()

    def advance(self, done: int = 0, failed: int = 0) -> None:
        """Count so many more."""
        self._done += done
        self._failed += failed
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=done + failed, counts=self._counts())
        elif time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            self.say(self._line())

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            typer.echo(text, err=True)

    def stop(self) -> None:
        """Take the bar away and leave one line with the counts."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        typer.echo(self._line(), err=True)

    def _counts(self) -> str:
        return (
            f"{self._done} done, {self._failed} failed, {self._skipped} skipped, "
            f"{self._rate():.1f}/s"
        )

    def _rate(self) -> float:
        seconds = time.monotonic() - self._since
        return (self._done + self._failed) / seconds if seconds > 0 else 0.0

    def _line(self) -> str:
        return f"{self._what}: {self._done + self._failed} of {self._total}: {self._counts()}"


def table(rows: list[tuple[Any, ...]]) -> str:
    """Columns of text, the first left, the others right aligned."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
