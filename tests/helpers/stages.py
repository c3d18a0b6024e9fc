"""Three small real stages, one after the other, for tests of the runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers import work
from metabench_py.calibration.stage_cache import Room, Stage, StageRunner

CODE = ("metabench_py.calibration.quantiles",)


def run_three(
    runner: StageRunner,
    source: Path,
    *,
    n: int = 5,
    scale: float = 1.0,
    seconds: float = 0.0,
    seen: Path | None = None,
) -> float:
    """Sort the numbers of a file, draw by each and a seed, sum what was drawn."""

    def sort(room: Room) -> None:
        numbers = sorted(int(word) for word in source.read_text().split())
        (room.out / "numbers.json").write_text(json.dumps(numbers))

    def draw(room: Room) -> None:
        numbers = json.loads((ordered / "numbers.json").read_text())
        seeds = [number + 100 * i for i in range(n) for number in numbers][:n]
        if seen is None:
            values: Any = room.executor.map(work.timed_draw, seeds, [seconds] * n)
        else:
            values = room.executor.map(work.slow_draw, seeds, [seconds] * n, [seen] * n)
        (room.out / "drawn.json").write_text(json.dumps([list(map(float, v)) for v in values]))

    def total(room: Room) -> None:
        numbers = json.loads((drawn / "drawn.json").read_text())
        result = scale * sum(sum(row) for row in numbers)
        (room.out / "sum.json").write_text(json.dumps(result))

    ordered = runner.run(Stage("sort", {"source": source}, {}, CODE, sort))
    drawn = runner.run(Stage("draw", {"numbers": ordered}, {"n": n}, CODE, draw))
    summed = runner.run(Stage("sum", {"drawn": drawn}, {"scale": scale}, CODE, total))
    result: float = json.loads((summed / "sum.json").read_text())
    return result
