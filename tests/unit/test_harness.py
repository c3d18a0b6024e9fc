"""What lm-eval is started with; no lm-eval needed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from metabench_py.errors import (
    InputError,
    MissingDependencyError,
)
from metabench_py.harness import Settings, Variant
from metabench_py.harness.child import environment
from metabench_py.harness.driver import Warnings
from metabench_py.harness.installed import Installed, find_lm_eval
from metabench_py.harness.plan import Plan, model_folder
from metabench_py.harness.settings import lm_eval_arguments
from metabench_py.harness.taskfiles import Scored, write_task_files


def arguments(settings: Settings) -> list[str]:
    return lm_eval_arguments(
        settings, ["metabench"], Path("/w/tasks"), Path("/w/output"), Path("/w/responses")
    )


def value(command: list[str], option: str) -> str:
    assert command.count(option) == 1
    return command[command.index(option) + 1]


def test_groups_and_tasks_are_lm_eval_s() -> None:
    variant = Variant("B", True)
    assert (variant.name, variant.group) == ("B-permuted", "metabench_secondary_permute")
    assert list(variant.tasks) == [
        "metabench_arc_secondary_permute", "metabench_hellaswag_secondary_permute",
        "metabench_mmlu_secondary_permute", "metabench_truthfulqa_secondary_permute",
        "metabench_winogrande_secondary_permute",
    ]  # fmt: skip
    assert variant.gsm8k_task == "metabench_gsm8k_secondary"
    assert Variant("A", False).group == "metabench"
    assert list(Variant("A", False).tasks)[1] == "metabench_gsm8k"


def test_arguments() -> None:
    command = arguments(
        Settings(
            "org/model",
            model_args=("dtype=float32",),
            device="cpu",
            batch_size="auto:4",
            limit=0.25,
            extra=("--gen_kwargs", "temperature=0"),
        )
    )
    assert command[:3] == ["run", "--model", "hf"]
    places = [i for i, word in enumerate(command) if word == "--model_args"]
    assert [command[i + 1] for i in places] == ['{"pretrained": "org/model"}', "dtype=float32"]
    assert value(command, "--tasks") == "metabench"
    assert value(command, "--include_path") == "/w/tasks"
    assert value(command, "--output_path") == "/w/output"
    assert value(command, "--use_cache") == "/w/responses"
    assert value(command, "--device") == "cpu"
    assert value(command, "--batch_size") == "auto:4"
    assert value(command, "--limit") == "0.25"
    assert value(command, "--seed") == "0,1234,1234,1234"
    assert "--log_samples" in command
    assert command[-2:] == ["--gen_kwargs", "temperature=0"]
    assert value(arguments(Settings("m", limit=8)), "--limit") == "8"


def test_model_s_name_goes_where_the_backend_wants_it() -> None:
    assert value(arguments(Settings("a,b=c")), "--model_args") == '{"pretrained": "a,b=c"}'
    api = arguments(Settings("gpt", backend="openai-chat-completions"))
    assert value(api, "--model_args") == '{"model": "gpt"}'
    # Who names it themselves is not corrected: MODEL is then the folder's name alone.
    for own in ("pretrained=/dir,gguf_file=x.gguf", '{"pretrained": "/dir"}'):
        assert value(arguments(Settings("smol", model_args=(own,))), "--model_args") == own


def test_user_s_own_options_come_first() -> None:
    command = arguments(Settings("m", extra=("--seed", "7", "-c", "/mine")))
    assert command.count("--seed") == 1
    assert "--use_cache" not in command


@pytest.mark.parametrize("owned", ["--tasks", "-t", "--output_path=x", "--predict_only", "-x"])
def test_what_evaluate_sets_cannot_be_set_again(owned: str) -> None:
    with pytest.raises(InputError, match="set by evaluate itself"):
        Settings("m", extra=(owned, "arc_easy"))


@pytest.mark.parametrize(("model", "limit"), [("", None), ("./", None), ("m", 0.0), ("m", -3.0)])
def test_settings_that_make_no_sense(model: str, limit: float | None) -> None:
    with pytest.raises(InputError):
        Settings(model, limit=limit)


@pytest.mark.parametrize(
    ("model", "folder"),
    [
        ("EleutherAI/pythia-14m", "EleutherAI__pythia-14m"),
        ("./models/mine/", "models__mine"),
        ("/abs/model", "__abs__model"),
        ("../up", "__up"),
        (r"C:\m?*", "C__m__"),
    ],
)
def test_folder_of_a_model(model: str, folder: str) -> None:
    assert model_folder(model) == folder


def test_environment_is_private_and_fixed(tmp_path: Path) -> None:
    plan = Plan(Variant("B", False), Settings("o/m"), tmp_path)
    made = environment(plan, {"PATH": "/bin", "HF_DATASETS_CACHE": "/shared"})
    work = tmp_path / ".metabench-work" / "o__m" / "B"
    assert made["HF_DATASETS_CACHE"] == str(work / "cache")
    assert made["PYTHONHASHSEED"] == "0"
    assert made["PATH"] == "/bin"
    assert Plan(Variant("B", True), plan.settings, tmp_path).work != plan.work


def test_task_files_include_the_installed_ones(tmp_path: Path) -> None:
    installed = Installed("0.4.13", Path("/lm/tasks/metabench"))
    names = write_task_files(tmp_path, installed, Variant("B", True), with_gsm8k=True)
    assert names == ["metabench_secondary_permute", "metabench_gsm8k_secondary"]
    assert len(list(tmp_path.iterdir())) == 7
    text = (tmp_path / "metabench_arc_secondary_permute.yaml").read_text()
    assert text == (
        'include: "/lm/tasks/metabench/metabench_arc_secondary_permute.yaml"\n'
        'task: "metabench_arc_secondary_permute"\n'
    )


def test_task_files_on_local_items_and_with_scores(tmp_path: Path) -> None:
    installed = Installed("0.4.13", Path("/lm/tasks/metabench"))
    variant = Variant("A", True)
    items = {b: tmp_path / f"{b}.parquet" for b in (*variant.tasks.values(), "gsm8k")}
    scored = Scored("metabench_py.plugin.ScoredTask", None, "metabench_grand")
    assert write_task_files(tmp_path, installed, variant, items, scored=scored) == [
        "metabench_permute"
    ]
    lines = (tmp_path / "metabench_mmlu_permute.yaml").read_text().splitlines()
    told = dict(line.split(": ", 1) for line in lines)
    assert told["dataset_path"] == '"parquet"'
    assert json.loads(told["dataset_kwargs"]) == {
        "data_files": {"primary": str(tmp_path / "mmlu.parquet")}
    }
    assert told["class"] == "!function metabench_py.plugin.ScoredTask"
    assert json.loads(told["metadata"])["metabench_benchmark"] == "mmlu"
    group = (tmp_path / "metabench_permute.yaml").read_text()
    assert "metabench_gsm8k" in group
    assert "metabench_grand" in group


def test_missing_packages_come_with_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    there: dict[str, Any] = {}
    monkeypatch.setattr("importlib.util.find_spec", there.get)
    with pytest.raises(MissingDependencyError, match=r"pip install 'metabench-py\[harness\]'"):
        find_lm_eval("hf")


@pytest.fixture
def lm_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the import system says of an installed lm-eval."""
    (tmp_path / "lm_eval" / "tasks" / "metabench").mkdir(parents=True)

    class Spec:
        origin = str(tmp_path / "lm_eval" / "__init__.py")

    about: dict[str, Any] = {"version": "0.4.13", "packages": {"lm_eval": Spec, "torch": Spec}}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: about["packages"].get(name))
    monkeypatch.setattr("importlib.metadata.version", lambda _name: about["version"])
    return about


def test_torch_is_asked_for_by_the_backends_that_need_it(lm_eval: dict[str, Any]) -> None:
    assert find_lm_eval("local-completions").version == "0.4.13"
    with pytest.raises(MissingDependencyError, match="'hf' needs transformers"):
        find_lm_eval("hf")
    del lm_eval["packages"]["torch"]
    with pytest.raises(MissingDependencyError, match="needs torch, which is not installed"):
        find_lm_eval("hf")


def test_old_lm_eval(lm_eval: dict[str, Any]) -> None:
    lm_eval["version"] = "0.4.9.1"
    with pytest.raises(MissingDependencyError, match=r"0\.4\.9\.1 is too old"):
        find_lm_eval()


def test_warnings_that_matter_are_counted() -> None:
    warnings = Warnings()
    logger = logging.Logger("lm_eval.models.huggingface")
    logger.addHandler(warnings)
    logger.warning("Combined length ... Truncating %s tokens from the left.", 5)
    logger.warning("Left truncation applied. ...")
    logger.warning("something else")
    logger.info("truncation=False")
    logger.warning("Could not save sample results")
    logger.info(repr(OSError(28, "No space left on device")))
    assert warnings.counts == {"truncated": 2}
    assert len(warnings.save_errors) == 1
    assert "No space left" in warnings.save_errors[0]
