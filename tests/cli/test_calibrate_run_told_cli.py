"""What a run and a plan tell: the page, warnings, what cannot work, the template."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from helpers.leaderboard import write_leaderboard
from typer.testing import CliRunner

from metabench_py.calibration.run import run
from metabench_py.calibration.run_config import General, load_config
from metabench_py.cli.app import app
from metabench_py.errors import InputError


def invoke(*arguments: object) -> Any:
    done = CliRunner().invoke(app, ["calibrate", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done


@pytest.mark.usefixtures("needs_r")
def test_page_and_warnings_are_those_of_the_settings_also_when_all_was_done_before(
    tmp_path: Path,
) -> None:
    config = write_leaderboard(tmp_path, ("mine",), n_llms=120, n_items=20, out="items")
    text = config.read_text().replace("workers = 2", "workers = 1")
    pages: dict[int, str] = {}
    for budget in (9, 7, 9):
        config.write_text(text.replace("budget = 15", f"budget = {budget}"))
        done = invoke("run", "--config", config)
        assert "LLMs are few for a 2PL" in done.stderr
        assert "Warning: mine: " in done.stderr
        page = (tmp_path / "items.html").read_text()
        assert f"{budget} items in all" in page
        pages.setdefault(budget, page)
    assert "9 items in all" not in pages[7]


@pytest.mark.usefixtures("needs_r")
@pytest.mark.parametrize(
    ("n_llms", "stages", "said"),
    [
        (30, '["stack"]', r"26 LLMs .* 17 without one of the 3 folds; the stack needs 20"),
        (150, '["gam"]', "LLMs are too few for gam"),
    ],
)
def test_too_few_llms_for_a_second_stage_are_refused_before_the_selection(
    tmp_path: Path, n_llms: int, stages: str, said: str
) -> None:
    config = write_leaderboard(tmp_path, n_llms=n_llms, n_items=12)
    text = config.read_text().replace('["stack"]', stages).replace("basis_size = 8\n", "")
    config.write_text("\n".join([text, "[preprocess]", "tail = 0.0"]))
    with pytest.raises(InputError, match=said):
        run(load_config(config))
    assert not list((tmp_path / ".bundle.work").glob("select-*"))


def test_another_stage_s_folder_is_not_replaced(tmp_path: Path) -> None:
    config = write_leaderboard(tmp_path, ("mine",), n_llms=40, n_items=12, out="items")
    (tmp_path / "items").mkdir()
    summary = tmp_path / "items" / "summary.json"
    summary.write_text('{"stage": "preprocess"}')
    with pytest.raises(InputError, match="items was not made by calibrate run"):
        run(load_config(config), replace=True)
    assert summary.read_text() == '{"stage": "preprocess"}'


def test_the_template_has_every_setting_of_the_top(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    text = invoke("run", "--template").stdout
    top = text.split("[preprocess]")[0]
    path.write_text(text)
    given = load_config(path)
    for one in fields(General):
        assert f"{one.name} = " in top
    # Uncommented, they say what holds without them.
    lines = [line.removeprefix("# ") for line in top.splitlines()]
    kept = [line for line in lines if " = " in line and not line.endswith("= left out")]
    path.write_text("\n".join(kept))
    spelt = load_config(path)
    assert (spelt.work, spelt.page) == (given.work, given.page)
    assert spelt.general.work == given.work


def test_a_work_folder_in_use_names_the_setting(tmp_path: Path) -> None:
    from metabench_py.calibration.stage_cache import locked

    with (
        locked(tmp_path / "work"),
        pytest.raises(InputError, match="another 'work' folder in this one's file"),
        locked(tmp_path / "work"),
    ):
        pass


def test_a_measured_plan_does_not_ask_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    from metabench_py.calibration import plan

    size = ("--llms", 300, "--items", 40)
    assert "--measure takes yours" in invoke("plan", *size).stdout
    monkeypatch.setattr(plan, "measure", lambda: plan.MEASURED)
    measured = invoke("plan", *size, "--measure").stdout
    assert "rough guide." in measured
    assert "--measure" not in measured
