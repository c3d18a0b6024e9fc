"""Finding sample logs by the names of folders and files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from helpers.bundles import tiny_bundle
from helpers.logs import write_model

from metabench_py.bundle import Bundle
from metabench_py.errors import ModelNotFoundError, StorageError
from metabench_py.logs import find_all, find_model
from metabench_py.logs.names import folder_name, parse_log_name


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results" / "org__model"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("samples_metabench_arc_2024-11-26T10-50-23.349203.jsonl", ("arc", "A", False)),
        ("samples_metabench_arc_secondary_2024-11-26T10-50-23.349203.jsonl", ("arc", "B", False)),
        ("samples_metabench_mmlu_permute_2025-01-02T03-04-05.6.jsonl", ("mmlu", "A", True)),
        ("samples_metabench_arc_secondary_permute_2025-01-02T03:04:05.jsonl", ("arc", "B", True)),
        ("samples_metabench_arc_tertiary_2024-11-26T10-50-23.349203.jsonl", None),
        ("samples_metabench_arc_secondary_2024-11-26T10-50-23.349203.jsonl.bak", None),
        ("samples_arc_challenge_2024-11-26T10-50-23.349203.jsonl", None),
        ("results_2024-11-26T10-50-23.349203.json", None),
    ],
)  # fmt: skip
def test_names(name: str, told: tuple[str, str, bool] | None) -> None:
    log = parse_log_name(Path(name))
    assert (log and (log.benchmark, log.version, log.permuted)) == told


def test_folder_name() -> None:
    assert folder_name("EleutherAI/pythia-14m") == "EleutherAI__pythia-14m"
    assert folder_name(r"C:\models\x?*[1]") == "C__models__x__1__"


def test_near_names(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    results = folder.parent
    with pytest.raises(ModelNotFoundError, match=r"did you mean org__model\?"):
        find_model("org__modle", results)
    with pytest.raises(ModelNotFoundError, match=r"did you mean org__model\?"):
        find_model("Model", results)
    with pytest.raises(ModelNotFoundError, match="there are: org__model"):
        find_model("zzz", results)
    with pytest.raises(ModelNotFoundError, match="nor a results folder"):
        find_model("zzz", results / "absent")
    assert find_model("org/model", results).folder == folder


def test_folders_without_logs_or_with_many(bundle: Bundle, folder: Path) -> None:
    folder.mkdir(parents=True)
    with pytest.raises(ModelNotFoundError, match="holds no metabench sample logs"):
        find_model("org__model", folder.parent)
    with pytest.raises(ModelNotFoundError, match="No metabench sample logs"):
        find_all(folder.parent)
    with pytest.raises(ModelNotFoundError, match="is not a folder"):
        find_all(folder.parent / "absent")
    write_model(folder, bundle)
    write_model(folder.parent / "other", bundle)
    with pytest.raises(ModelNotFoundError, match=r"logs of 2 models: org__model, other\."):
        find_model(str(folder.parent), Path("absent"))
    assert [found.model for found in find_all(folder.parent)] == ["org__model", "other"]


def test_unfinished_runs_are_nobody_s_logs(bundle: Bundle, folder: Path) -> None:
    write_model(folder, bundle)
    write_model(folder.parent / ".metabench-work" / "org__model" / "B", bundle)
    assert [found.model for found in find_all(folder.parent)] == ["org__model"]
    # lm-eval's folder of a model named ./rel/ is hidden, and a model's all the same.
    write_model(folder.parent / folder_name("./rel/"), bundle)
    assert [found.model for found in find_all(folder.parent)] == [".__rel__", "org__model"]


def test_links_to_folders_are_followed_once_and_in_no_circle(bundle: Bundle, folder: Path) -> None:
    results = folder.parent
    write_model(folder, bundle)
    elsewhere = results.parent / "elsewhere"
    write_model(elsewhere / "org__far", bundle)
    write_model(elsewhere / "more" / "org__deep", bundle)
    (results / "far").symlink_to(elsewhere / "org__far")
    assert [found.model for found in find_all(results)] == ["far", "org__model"]
    # Twice the same, and a name before the folder's own.
    (results / "again").symlink_to(elsewhere / "org__far")
    (results / "newest").symlink_to(folder)
    (results / "nowhere").symlink_to(elsewhere / "absent")
    (folder / "up").symlink_to("..")
    (results / "out").symlink_to(results.parent)
    assert [found.model for found in find_all(results)] == ["again", "org__model"]
    (results / "more").symlink_to(elsewhere / "more")
    (elsewhere / "more" / "back").symlink_to(results)
    names = ["again", "more/org__deep", "org__model"]
    assert [found.model for found in find_all(results)] == names
    link = results.parent / "link"
    link.symlink_to(results)
    assert [found.model for found in find_all(link)] == names


def test_a_folder_that_cannot_be_read_is_not_passed_over(
    bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(folder, bundle)
    write_model(folder.parent / "other", bundle)
    real = os.scandir

    def scandir(path: Any) -> Any:
        if Path(path).name == "other":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    # The superuser, who may run this test, reads whatever there is.
    monkeypatch.setattr(os, "scandir", scandir)
    for find in (lambda: find_all(folder.parent), lambda: find_model("other", folder.parent)):
        with pytest.raises(StorageError, match=r"other cannot be read \(Permission denied\)"):
            find()
