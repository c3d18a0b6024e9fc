"""The whole pipeline by one command: cached, resumable, the same wherever it runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.leaderboard import write_leaderboard

from metabench_py.bundle import load_bundle

pytestmark = pytest.mark.usefixtures("needs_r")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "metabench_py", "calibrate", *map(str, arguments)]


def cli(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


def run_json(config: Path, *arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli("run", "--config", config, "--json", *arguments).stdout)
    return found


def done_now(report: dict[str, Any]) -> list[str]:
    return [stage["stage"] for stage in report["stages"] if not stage["cached"]]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished run of the six benchmarks."""
    config = write_leaderboard(tmp_path_factory.mktemp("run"))
    return config, run_json(config)


def test_a_run_makes_a_bundle_that_says_how(six: tuple[Path, dict[str, Any]]) -> None:
    config, report = six
    assert done_now(report) == ["preprocess", "split", "select", "bundle"]
    bundle = load_bundle(config.parent / "bundle")
    assert {len(model.parameters.items) for model in bundle.benchmarks.values()} == {15}
    manifest = json.loads((config.parent / "bundle" / "manifest.json").read_text())
    how = manifest["provenance"]["run"]
    assert how["select"]["budget"] == 15
    assert how["bundle"]["folds"] == 3
    assert how["bundle"]["second_stage"] == ["stack"]
    assert list(bundle.stages) == ["stack"]
    assert set(how) == {"benchmarks", "exclude", "preprocess", "split", "select", "bundle"}
    # Test LLMs have no part in it: 10 % of each quarter of those that preprocessing kept.
    assert 255 <= manifest["provenance"]["n_llms"] <= 272
    page = (config.parent / "bundle.html").read_text()
    for word in ("What preprocessing left out", "Selected items", "Grand", "data:image/png"):
        assert word in page
    assert len(page) < 600_000


def test_a_second_run_does_nothing_and_another_result_is_not_overwritten(
    six: tuple[Path, dict[str, Any]],
) -> None:
    config, _ = six
    before = contents(config.parent / "bundle")
    assert done_now(run_json(config)) == []
    assert contents(config.parent / "bundle") == before
    readme = config.parent / "bundle" / "README.md"
    readme.write_text("mine")
    said = cli("run", "--config", config, code=1).stderr
    assert "--replace" in said
    assert readme.read_text() == "mine"
    assert done_now(run_json(config, "--replace")) == []
    assert contents(config.parent / "bundle") == before


def test_a_changed_setting_runs_what_depends_on_it(
    six: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    config, _ = six
    before = contents(config.parent / "bundle")
    text = config.read_text()
    try:
        config.write_text(text.replace("folds = 3", "folds = 4"))
        assert done_now(run_json(config)) == ["bundle"]
        assert contents(config.parent / "bundle") != before
        config.write_text(text.replace("workers = 2", "workers = 1"))
        assert done_now(run_json(config)) == []
        assert contents(config.parent / "bundle") == before
    finally:
        config.write_text(text)


def test_other_benchmarks_end_with_selected_items(tmp_path: Path) -> None:
    config = write_leaderboard(tmp_path, ("mine", "yours"), out="items")
    config.write_text(config.read_text() + "\n[fit]\nitem_types = ['2PL']\nengine = 'native'\n")
    report = run_json(config)
    assert done_now(report) == ["preprocess", "split", "fit", "select"]
    assert not report["bundle"]
    assert (tmp_path / "items" / "items.parquet").is_file()
    assert "no bundle" in (tmp_path / "items.html").read_text()


def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path) -> None:
    """The main process, and a worker; the result is that of an undisturbed run."""
    undisturbed = write_leaderboard(tmp_path / "one", ("mine", "yours"), out="items")
    run_json(undisturbed)
    config = write_leaderboard(tmp_path / "two", ("mine", "yours"), out="items")
    random = np.random.default_rng(3)
    kills = 0
    for number in range(10):
        main = subprocess.Popen(
            command("run", "--config", config), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        time.sleep(float(random.uniform(0.3, 6.0)))
        if main.poll() is None:
            kills += 1
            workers = children(main.pid)
            if number % 3 == 2 and workers:
                os.kill(workers[0], signal.SIGKILL)
                time.sleep(0.3)
            main.kill()
        main.communicate()
    assert kills >= 2
    run_json(config)
    assert contents(tmp_path / "two" / "items") == contents(tmp_path / "one" / "items")
    # Nothing half-written.
    names = {p.name.split("-")[0] for p in (tmp_path / "two" / ".items.work").iterdir()}
    assert names == {".lock", "preprocess", "split", "select", "published.json", "scratch"} - (
        {"scratch"} - names
    )


def children(pid: int) -> list[int]:
    try:
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except FileNotFoundError:
        return []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("responses = 'x'\nout = 'y'\n[sellect]\n", r"\[sellect\] is not known"),
        ("responses = 'x'\nout = 'y'\n[select]\nbudgets = 3\n", "select.budgets is not known"),
        ("out = 'y'\n", "no 'responses'"),
        ("out = \n", "not a readable TOML"),
        ("responses = 'x'\nout = 'y'\n[split]\nshare = 2.0\n", "not between 0 and 1"),
        ("responses = 'absent'\nout = 'y'\n", "no such folder"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    import re

    path = tmp_path / "run.toml"
    path.write_text(text)
    said = cli("run", "--config", path, code=2).stderr
    assert re.search(message, said), said
    assert "Traceback" not in said


def test_what_a_bundle_says_about_itself_is_asked_for_first(tmp_path: Path) -> None:
    config = write_leaderboard(tmp_path)
    config.write_text(config.read_text().replace('licence = "CC0"\n', ""))
    said = cli("run", "--config", config, code=2).stderr
    assert "no 'licence'" in said
    assert not (tmp_path / ".bundle.work" / "preprocess").exists()


def test_a_second_stage_that_is_none_names_file_and_table(tmp_path: Path) -> None:
    from metabench_py.calibration.run_config import load_config
    from metabench_py.errors import InputError

    config = write_leaderboard(tmp_path)
    text = config.read_text()
    for stages, said in (
        ('["lm"]', "bundle.second_stage is 'lm'; give one of stack, gam, fast-gam"),
        ('["gam", "fast-gam"]', "one of gam and fast-gam"),
        ("[]", "choose stack, gam, fast-gam"),
    ):
        config.write_text(text.replace('["stack"]', stages))
        with pytest.raises(InputError, match=said):
            load_config(config)
    config.write_text(text.replace('["stack"]', '["stack", "fast-gam"]'))
    assert load_config(config).bundle.second_stage == ("stack", "fast-gam")


def test_the_template_is_a_file_that_reads_in(tmp_path: Path) -> None:
    from metabench_py.calibration.run_config import load_config

    path = tmp_path / "run.toml"
    path.write_text(cli("run", "--template").stdout)
    given = load_config(path)
    assert given.responses == tmp_path / "responses"
    # Every commented setting is its default, spelt as TOML.
    lines = [line.removeprefix("# ") for line in path.read_text().splitlines()]
    kept = [line for line in lines if " = " in line or line.startswith("[")]
    path.write_text("\n".join(line for line in kept if not line.endswith("= left out")))
    assert load_config(path).select == given.select
    assert load_config(path).place == given.place


def test_batch_files_do_what_run_does(six: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    made, _ = six
    config = write_leaderboard(tmp_path / "it's here")
    files = tmp_path / "jobs"
    done = subprocess.run(
        [sys.executable, "-m", "metabench_py", "jobs", "template", "--config", str(config),
         "--partition", "batch", "--account", "mine", "--out", str(files)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = ["1-preprocess.sbatch", "4-select.sbatch", "5-bundle.sbatch"]
    assert sorted(p.name for p in files.iterdir()) == sorted(
        [*names, "all-in-one.sbatch", "submit.sh"]
    )
    submit = (files / "submit.sh").read_text()
    assert submit.index(names[0]) < submit.index(names[1]) < submit.index(names[2])
    for name in names:
        assert "#SBATCH --account=mine\n" in (files / name).read_text()
        subprocess.run(
            ["sh", str(files / name)],
            check=True, capture_output=True, env={**os.environ, "SLURM_CPUS_PER_TASK": "2"},
        )  # fmt: skip
    one, two = contents(made.parent / "bundle"), contents(config.parent / "bundle")
    # The manifest also says by which settings, and the page about it is the run's.
    assert {k: v for k, v in one.items() if k != "manifest.json"} == {
        k: v for k, v in two.items() if k != "manifest.json"
    }


def test_a_plan_says_what_it_takes() -> None:
    known = json.loads(
        cli("plan", "--llms", 5000, "--items", 5000, "--cores", 100, "--json").stdout
    )
    stages = {stage["stage"]: stage for stage in known["stages"]}
    assert list(stages) == ["preprocess", "split", "subsample", "fit", "select", "bundle"]
    assert stages["subsample"]["tasks"] == 60_000
    assert known["hours"] < known["core_hours"]
    assert known["core_hours"] == pytest.approx(sum(s["core_hours"] for s in stages.values()))
    larger = json.loads(
        cli("plan", "--llms", 5000, "--items", 5000, "--subsets", 10_000_000, "--json").stdout
    )
    assert "--slurm" in larger["executor"]
    assert "no option" in known["executor"] or "cluster" in known["executor"]
    without = json.loads(cli("plan", "--llms", 300, "--items", 40, "--subset", 0, "--json").stdout)
    assert "subsample" not in [stage["stage"] for stage in without["stages"]]
    # Left out, the usual 350 items are not asked of fewer.
    few = json.loads(cli("plan", "--llms", 300, "--items", 350, "--json").stdout)
    assert "subsample" not in [stage["stage"] for stage in few["stages"]]
    more = json.loads(cli("plan", "--llms", 300, "--items", 351, "--json").stdout)
    assert "subsample" in [stage["stage"] for stage in more["stages"]]
    said = cli("plan", "--llms", 300, "--items", 50, "--subset", 60, code=2).stderr
    assert "subset is 60 of 50 items; give fewer" in said
    assert "llms is 0" in cli("plan", "--llms", 0, "--items", 5, code=2).stderr


def test_unit_costs_are_measured_here() -> None:
    from dataclasses import asdict

    from metabench_py.calibration.plan import Size, measure, plan

    costs = measure()
    assert all(value >= 0 for value in asdict(costs).values() if isinstance(value, float))
    assert min(costs.cell, costs.gam, costs.fit_cell, costs.recovery) > 0
    assert plan(Size(1000, 1000), 1, costs).core_hours > 0


def test_ctrl_c_ends_all_workers(tmp_path: Path) -> None:
    config = write_leaderboard(tmp_path, ("mine", "yours"), out="items")
    main = subprocess.Popen(
        command("run", "--config", config),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while len(workers := children(main.pid)) < 2:
        assert time.monotonic() < until
        assert main.poll() is None
        time.sleep(0.02)
    main.send_signal(signal.SIGINT)
    _, said = main.communicate(timeout=30)
    assert main.returncode not in (0, None)
    assert "Traceback" not in said
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not (tmp_path / "items").exists()
