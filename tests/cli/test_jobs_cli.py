"""Batch files ask of the single commands what the run's file asks of the run."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from helpers.leaderboard import write_leaderboard
from typer.testing import CliRunner

from metabench_py.benchmarks import BENCHMARKS
from metabench_py.calibration.run import run
from metabench_py.calibration.run_config import load_config
from metabench_py.cli.app import app
from metabench_py.cli.jobs import _NO_OPTION, _RENAMED, job_files
from metabench_py.errors import InputError


def small(folder: Path, *changes: tuple[str, str], benchmarks: Sequence[str] = BENCHMARKS) -> Path:
    """Write a leaderboard of 40 LLMs and its file, changed."""
    config = write_leaderboard(folder, benchmarks, n_llms=40, n_items=6)
    text = config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    config.write_text(text)
    return config


def words(config: Path, stage: str) -> list[str]:
    """The words of a stage's command."""
    for text in job_files(load_config(config), []).values():
        for line in text.splitlines():
            if f"metabench_py calibrate {stage} " in line:
                return shlex.split(line)
    raise AssertionError(stage)


def given(config: Path, stage: str, option: str) -> list[str]:
    """What an option is given in a stage's command."""
    said = words(config, stage)
    return [said[i + 1] for i, word in enumerate(said) if word == option]


def test_second_stages_are_one_option_in_their_order(tmp_path: Path) -> None:
    config = small(tmp_path, ('["stack"]', '["gam", "stack"]'))
    assert given(config, "bundle", "--second-stage") == ["gam,stack"]


def test_excluded_paths_are_relative_to_the_file_and_names_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(
        tmp_path / "run", ('name = "small"', 'name = "small"\nexclude = ["../old.csv", "B-200"]')
    )
    (tmp_path / "old.csv").write_text("benchmark,item\narc,1\n")
    monkeypatch.chdir("/")
    assert given(config, "select", "--exclude") == [str(tmp_path / "old.csv"), "B-200"]


def test_no_limit_of_its_own_is_said_as_the_general_one(tmp_path: Path) -> None:
    table = "[preprocess]\nleast_discrimination = 0.1\ndiscriminations = {}\n\n[select]"
    config = small(tmp_path / "none", ("[select]", table))
    assert given(config, "preprocess", "--least-discrimination-of") == ["winogrande=0.1"]
    own = "[preprocess]\ndiscriminations = { mmlu = 0.0123456789 }\n\n[select]"
    config = small(tmp_path / "own", ("[select]", own))
    assert given(config, "preprocess", "--least-discrimination-of") == ["mmlu=0.0123456789"]


def test_an_order_is_said_only_with_a_choice(tmp_path: Path) -> None:
    config = small(tmp_path / "a", ("[bundle]", '[bundle]\norder = "ridge"'))
    assert given(config, "bundle", "--order") == []
    config = small(tmp_path / "b", ("[bundle]", '[bundle]\norder = "ridge"\nchoose = 20'))
    assert given(config, "bundle", "--order") == ["ridge"]
    assert given(config, "bundle", "--choose") == ["20"]


def test_text_stays_as_it_is_and_an_empty_list_is_refused(tmp_path: Path) -> None:
    config = small(tmp_path / "a", ('"simulated"', '"two  blanks, it\'s  said"'))
    assert given(config, "bundle", "--source") == ["two  blanks, it's  said"]
    assert "" not in words(config, "bundle")
    config = small(tmp_path / "b", ('methods = ["MAP"]', "methods = []"))
    with pytest.raises(InputError, match=r"select\.methods is empty"):
        words(config, "select")


def test_results_lie_where_no_command_clears(tmp_path: Path) -> None:
    config = small(tmp_path)
    done = CliRunner().invoke(
        app, ["jobs", "template", "--config", str(config), "--partition", "batch"]
    )
    assert done.exit_code == 0
    jobs = tmp_path / ".bundle.jobs"
    assert f"go to {jobs}, the last one's to {tmp_path / 'bundle'}" in done.stderr
    assert given(config, "preprocess", "--out") == [str(jobs / "preprocessed")]
    assert given(config, "select", "--out") == [str(jobs / "selected")]
    assert given(config, "bundle", "--out") == [str(tmp_path / "bundle")]
    config.write_text('work = "elsewhere"\n' + config.read_text())
    assert given(config, "select", "--out") == [str(tmp_path / "elsewhere" / "jobs" / "selected")]


def test_every_setting_has_an_option(tmp_path: Path) -> None:
    config = small(tmp_path)
    config.write_text(config.read_text() + "\n[subsample]\n[fit]\n")
    parsed = load_config(config)
    root: Any = typer.main.get_command(app)
    for stage in ("preprocess", "split", "subsample", "fit", "select", "bundle"):
        command = root.commands["calibrate"].commands[stage]
        known = {option for one in command.params for option in one.opts}
        for one in fields(getattr(parsed, stage)):
            name = _RENAMED.get((stage, one.name), one.name.replace("_", "-"))
            assert (stage, one.name) in _NO_OPTION or f"--{name}" in known, (stage, name)


@pytest.mark.usefixtures("needs_r")
def test_the_items_of_other_benchmarks_arrive_at_out(tmp_path: Path) -> None:
    import pandas as pd

    config = write_leaderboard(tmp_path, ("mine",), n_llms=150, n_items=20, out="items")
    for name, text in job_files(load_config(config), []).items():
        if name[0].isdigit():
            path = tmp_path / name
            path.write_text(text)
            subprocess.run(
                ["sh", str(path)], check=True, env={**os.environ, "SLURM_CPUS_PER_TASK": "1"}
            )
    assert (tmp_path / ".items.jobs" / "preprocessed" / "split.parquet").is_file()
    by_jobs = pd.read_parquet(tmp_path / "items" / "items.parquet")
    config.write_text(config.read_text().replace('"items"', '"again"'))
    run(load_config(config))
    pd.testing.assert_frame_equal(by_jobs, pd.read_parquet(tmp_path / "again" / "items.parquet"))
