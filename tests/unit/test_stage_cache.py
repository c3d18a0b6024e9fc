"""Stages that are done once for their inputs, settings and code, and outlive kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from helpers import work
from helpers.stages import run_three

from metabench_py.calibration import code_version as code
from metabench_py.calibration.settings import options_from
from metabench_py.calibration.stage_cache import Quiet, Room, Stage, StageRunner, locked
from metabench_py.compute import LocalPool
from metabench_py.errors import InputError

CODE = ("metabench_py.calibration.quantiles",)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.txt"
    path.write_text("3 1 2")
    return path


class Counter(Quiet):
    def __init__(self) -> None:
        self.ended: list[tuple[str, bool]] = []

    def end(self, stage: str, seconds: float, cached: bool) -> None:
        assert seconds >= 0
        self.ended.append((stage, cached))


def stages_run(work_folder: Path, source: Path, **settings: Any) -> list[str]:
    """Names of the three stages that were done, not found."""
    counter = Counter()
    run_three(StageRunner(work_folder, None, counter), source, **settings)
    return [name for name, cached in counter.ended if not cached]


def test_a_changed_setting_runs_only_what_depends_on_it(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "work"
    assert stages_run(folder, source) == ["sort", "draw", "sum"]
    assert stages_run(folder, source) == []
    assert stages_run(folder, source, scale=2.0) == ["sum"]
    assert stages_run(folder, source, n=3) == ["draw", "sum"]
    # Back again: it is still there.
    assert stages_run(folder, source) == []
    # Another file with the same content after sorting: what follows is not done again.
    source.write_text("2 3 1")
    assert stages_run(folder, source) == ["sort"]
    source.write_text("2 3 4")
    assert stages_run(folder, source) == ["sort", "draw", "sum"]


def test_other_code_is_another_stage(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(stages_run(tmp_path / "work", source)) == 3
    monkeypatch.setattr(
        "metabench_py.calibration.stage_cache.code_version", lambda modules: "other"
    )
    assert len(stages_run(tmp_path / "work", source)) == 3


def test_the_version_follows_imports_and_code_not_comments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "metabench_py"
    (package / "calibration").mkdir(parents=True)
    one, two = package / "calibration" / "one.py", package / "two.py"
    one.write_text("from metabench_py import two\n\ndef f():\n    return two.g()\n")
    two.write_text("def g():\n    return 1\n")
    other = package / "three.py"
    other.write_text("x = 1\n")
    monkeypatch.setattr(code, "_PACKAGE", package)

    def now() -> str:
        code.code_version.cache_clear()
        code._read.cache_clear()
        return code.code_version(("metabench_py.calibration.one",))

    first = now()
    two.write_text('"""About g."""\n\n\ndef g():\n    """One."""\n    # one\n    return 1\n')
    other.write_text("x = 2\n")
    assert now() == first
    two.write_text("def g():\n    return 2\n")
    assert now() != first
    code.code_version.cache_clear()
    code._read.cache_clear()


def test_the_version_of_a_stage_that_uses_r_has_the_scripts() -> None:
    paths = {path.name for path in code.closure(("metabench_py.gam.mgcv",))}
    assert {"mgcv.py", "session.py"} <= paths
    assert "cli" not in {path.parts[-2] for path in code.closure(("metabench_py.gam.mgcv",))}


def test_a_damaged_stage_is_done_again(tmp_path: Path, source: Path) -> None:
    folder = tmp_path / "work"
    stages_run(folder, source)
    sums = next(folder.glob("sum-*/sum.json"))
    whole = sums.read_bytes()
    for damage in (
        lambda: sums.write_bytes(b"{}"),
        sums.unlink,
        lambda: sums.with_name("stage.json").write_text("{"),
        lambda: sums.with_name("more.json").write_text("{}"),
    ):
        damage()
        assert stages_run(folder, source) == ["sum"]
        assert sums.read_bytes() == whole
        assert sorted(p.name for p in sums.parent.iterdir()) == ["stage.json", "sum.json"]


def test_a_failed_stage_leaves_its_finished_calls_alone(tmp_path: Path, source: Path) -> None:
    tried = tmp_path / "tried"
    tried.mkdir()

    def function(room: Room) -> None:
        values = list(room.executor.map(work.slow_draw, range(5), [0.0] * 5, [tried] * 5))
        if not (tmp_path / "fixed").exists():
            raise InputError("not yet")
        (room.out / "values.json").write_text(json.dumps(values))

    stage = Stage("draw", {"source": source}, {}, CODE, function)
    runner = StageRunner(tmp_path / "work", None)
    with pytest.raises(InputError, match="not yet"):
        runner.run(stage)
    assert [p.name.endswith(".partial") for p in (tmp_path / "work").iterdir()] == [True]
    (tmp_path / "fixed").touch()
    folder = runner.run(stage)
    assert len(json.loads((folder / "values.json").read_text())) == 5
    assert {path.read_text() for path in tried.iterdir()} == {"x"}
    assert [p.name for p in (tmp_path / "work").iterdir()] == [folder.name]


def test_absent_inputs_and_a_second_run_are_refused(tmp_path: Path) -> None:
    stage = Stage("draw", {"source": tmp_path / "absent"}, {}, CODE, lambda room: None)
    with pytest.raises(InputError, match="no such file or folder"):
        StageRunner(tmp_path / "work", None).run(stage)
    with (
        locked(tmp_path / "work"),
        pytest.raises(InputError, match="Another run uses"),
        locked(tmp_path / "work"),
    ):
        pass


_MAIN = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from helpers.stages import run_three
from metabench_py.calibration.stage_cache import StageRunner, locked
from metabench_py.compute import LocalPool
work = Path({work!r})
with locked(work), LocalPool(2) as pool:
    print(run_three(StageRunner(work, pool), Path({source!r}), n=40, seconds=0.03))
"""


def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path, source: Path) -> None:
    with LocalPool(2) as pool:
        wanted = run_three(StageRunner(tmp_path / "undisturbed", pool), source, n=40)
    folder = tmp_path / "work"
    command = [
        sys.executable,
        "-c",
        _MAIN.format(
            tests=str(Path(work.__file__).parents[1]), work=str(folder), source=str(source)
        ),
    ]
    random = np.random.default_rng(7)
    kills = 0
    for _ in range(10):
        main = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(float(random.uniform(0.1, 0.8)))
        if main.poll() is None:
            kills += 1
        main.send_signal(signal.SIGKILL)
        main.communicate()
    assert kills >= 3
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(wanted)
    # Nothing half-written is left.
    assert sorted(p.name.split("-")[0] for p in folder.iterdir()) == [
        ".lock",
        "draw",
        "sort",
        "sum",
    ]
    one, two = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file() and p.suffix != ""}
        for f in (tmp_path / "undisturbed", folder)
    )
    # stage.json says how long it took.
    assert {k: v for k, v in one.items() if k.name != "stage.json"} == {
        k: v for k, v in two.items() if k.name != "stage.json"
    }


def test_every_call_is_done_once_over_all_interruptions(tmp_path: Path, source: Path) -> None:
    """Apart from the calls that a kill cut off."""
    folder, seen = tmp_path / "work", tmp_path / "seen"
    seen.mkdir()
    command = [
        sys.executable,
        "-c",
        _MAIN.format(
            tests=str(Path(work.__file__).parents[1]), work=str(folder), source=str(source)
        ).replace("seconds=0.03", f"seconds=0.05, seen=Path({str(seen)!r})"),
    ]
    kills = 0
    for _ in range(4):
        main = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        before = len(os.listdir(seen))
        until = time.monotonic() + 30
        while main.poll() is None and len(os.listdir(seen)) < before + 8:
            assert time.monotonic() < until
            time.sleep(0.01)
        kills += main.poll() is None
        main.kill()
        main.communicate()
    subprocess.run(command, capture_output=True, check=True)
    times = [len(path.read_text()) for path in seen.iterdir()]
    assert len(times) == 40
    # Two workers: a kill loses at most two calls, and one that was done but not yet taken each.
    assert sum(times) - 40 <= 4 * kills


@dataclass(frozen=True)
class Options:
    share: float = 0.5
    n: int | None = None
    rule: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    folder: Path | None = None
    deep: bool = False

    def __post_init__(self) -> None:
        if self.share > 1:
            raise InputError("share is above 1.")


def test_options_from_a_table(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    table = {"share": 1, "n": 3, "rule": "b", "names": ["x"], "limits": {"y": 1}, "folder": "data"}
    assert options_from(Options, table, "fit", path) == Options(
        1.0, 3, "b", ("x",), {"y": 1.0}, tmp_path / "data"
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"shore": 1}, r"fit\.shore is not known; known are share, n"),
        ({"share": "x"}, r"fit\.share is 'x'; give a number"),
        ({"n": 1.5}, r"fit\.n is 1\.5; give a whole number"),
        ({"n": True}, "give a whole number"),
        ({"deep": 1}, "give true or false"),
        ({"rule": "c"}, "one of a, b"),
        ({"names": "x"}, r'give a list, such as \["x"\]'),
        ({"names": [1]}, "give text"),
        ({"limits": 3}, "give a table"),
        ({"limits": {"y": "z"}}, r"limits\.y is 'z'"),
        ({"share": 2}, r"run\.toml: \[fit\]: share is above 1"),
    ],
)
def test_a_wrong_option_names_file_table_and_name(
    tmp_path: Path, table: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        options_from(Options, table, "fit", tmp_path / "run.toml")


def test_what_a_killed_run_left_half_written_is_cleared(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    stage = f"draw-{'01234' * 4}"
    (folder / f".{stage}.x7_bcd0e.unfinished").mkdir(parents=True)
    (folder / f"{stage}.partial").mkdir()
    # A file, too: a kill between its writing and its renaming.
    (folder / ".published.json.t5smk75r.unfinished").write_text("{")
    (folder / "published.json").write_text("{}")
    with locked(folder):
        assert [p.name for p in sorted(folder.iterdir())] == [
            ".lock", f"{stage}.partial", "published.json",
        ]  # fmt: skip
    shutil.rmtree(folder)


def test_a_work_folder_that_is_the_users_keeps_what_is_theirs(tmp_path: Path) -> None:
    """As with ``work = "."`` in a project's folder."""
    for name in (".venv.3.11", ".other-run.x7abcdef.unfinished"):
        (tmp_path / name).mkdir()
    (tmp_path / ".gitlab-ci.yml").write_text("test: {}")
    with locked(tmp_path):
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            ".gitlab-ci.yml", ".lock", ".other-run.x7abcdef.unfinished", ".venv.3.11",
        ]  # fmt: skip
